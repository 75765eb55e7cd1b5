"""The calibration of a run: from its held-out scores, kept beside them, found again at prediction.

A run of several members is calibrated as one, by the scores that each image got from the member
that did not see it. At prediction the members' scores are averaged first and the average is
calibrated. An average is steadier than any of its members, so a map fitted on single members makes
it too timid, and a threshold finds and flags more than was promised; a note says so. To calibrate
each member and average after that is no better. Refitting on images that no member saw
(`lesion calibrate`) mends it.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from clsstage.members import KIND, Member
from lesioncore.archives import archive_names
from lesioncore.calibration import (
    Calibration,
    FittedOn,
    calibrator_class,
    fit_calibration,
    read_calibration,
)
from lesioncore.calibration.prior import far_apart
from lesioncore.calibration.record import calibration_in
from lesioncore.calibration.text import statement
from lesioncore.config import CalibrationMethod, FitOptions
from lesioncore.errors import LesionError
from lesioncore.files import read_table
from lesioncore.progress import log
from lesioncore.runs import OUT_OF_FOLD, Run
from lesioncore.splits import member_count, read_split
from lesioncore.training import keeps_best
from weights.provenance import member_of
from weights.resolve import resolve
from weights.store import read_card


def calibrate_run(
    run: Run,
    method: CalibrationMethod = "auto",
    *,
    sensitivity: float = 0.9,
    alpha: float = 0.1,
    resamples: int | None = None,
    seed: int = 0,
) -> Calibration:
    """Return the calibration that a run's own held-out scores give.

    Parameters
    ----------
    run : Run
        With its `oof.csv` and split.
    method : str
        Of `lesioncore.calibration.choice.choose`.
    sensitivity : float
        That the operating point is fitted for.
    alpha : float
        Of the prediction sets.
    resamples, seed : int
        As of `fit_calibration`.

    Raises
    ------
    LesionError
        The run has no held-out scores.
    """
    path = run.path(OUT_OF_FOLD)
    if not path.is_file():
        raise LesionError(
            f"{run.folder} has no {OUT_OF_FOLD}: there are no scores to calibrate on",
            wanted="a finished run of clsstage train, or predictions with labels",
            mend="lesion calibrate --predictions P.csv --labels L.csv",
        )
    held_out = read_table(path, dtype={"image_id": str})
    split = read_split(run.path("split.csv"))
    # Runs of older versions lack options that came later.
    said = {"also": None, "select": "auto", **run.record["config"]}
    options = cast(FitOptions, SimpleNamespace(**said))
    archives = " and ".join(archive_names(cast(Any, options)))
    members = member_count(split)
    kind = "out-of-fold" if members > 1 else "validation"
    notes = []
    if keeps_best(options):
        notes.append("the epoch was chosen on these images, which flatters their scores a little")
    if members > 1:
        notes.append(
            f"fitted on scores of single members: where all {members} are averaged, probabilities "
            "are a little timid, and more is found and flagged than stated"
        )
    return fit_calibration(
        held_out["target"],
        held_out["malignant"],
        split.set_index("image_id")["group"].reindex(held_out["image_id"]).to_numpy(),
        name=f"{archives}, {kind} images",
        model=run.folder.resolve().name,
        policy=str(read_card(run.member(0)).preprocessing["policy"]),
        method=method,
        sensitivity=sensitivity,
        alpha=alpha,
        resamples=resamples,
        seed=seed,
        notes=tuple(notes),
    )


def chosen_calibration(
    word: str,
    prevalence: float | None,
    weights: str | Path | None,
    name: str,
    members: list[Member],
) -> Calibration | None:
    """Return what a classifier's scores go through, None where they stay as they are.

    Parameters
    ----------
    word : str
        "auto" (what the run or the weights hold), "none", or a file.
    prevalence : float or None
        Of malignancy where the images are from.
    weights : path or None
        As of `read_members`.
    name, members : str, list of Member
        What was read there.

    Raises
    ------
    LesionError
        No such file, or a prevalence and nothing that says at which one the scores hold.
    """
    found = None
    if word == "auto":
        found = own_calibration(weights)
    elif word != "none":
        found = read_calibration(word)
        _compare(found, word, name, members[0].policy)
    if prevalence is not None:
        found = (found or _uncalibrated(members)).at(prevalence)
        if far_apart(prevalence, found.fitted_on.prevalence):
            log.warning(
                "the stated prevalence is %.2f%%, that of the set behind the probabilities %.2f%%: "
                "they are moved from one to the other, which is right only if lesions of each kind "
                "look alike in both places",
                100 * prevalence,
                100 * found.fitted_on.prevalence,
            )
    return found


def _compare(calibration: Calibration, path: str, name: str, policy: str) -> None:
    """Warn where a calibration seems to be that of another classifier."""
    on = calibration.fitted_on
    if on.model and on.model != name:
        log.warning("%s was fitted on scores of %r, and this is %r", path, on.model, name)
    if on.policy not in (policy, "target"):
        log.warning(
            "%s calls malignant what the policy %r does, the classifier what %r does",
            path,
            on.policy,
            policy,
        )


def own_calibration(weights: str | Path | None) -> Calibration | None:
    """Return the calibration of a run, of one of its members, or of a folder of weights."""
    path = resolve(weights, kind=KIND)
    home = path if path.is_dir() else path.parent
    return calibration_in(home) or calibration_in(member_of(home)[0])


def _uncalibrated(members: list[Member]) -> Calibration:
    """Return the calibration that changes nothing, at the prevalence that the members learned at.

    Raises
    ------
    LesionError
        Their cards do not say.
    """
    card = members[0].card
    shares = [
        float(member.card.preprocessing["prevalence"])
        for member in members
        if "prevalence" in member.card.preprocessing
    ]
    if len(shares) < len(members):
        raise LesionError(
            f"{card.name} does not say at which prevalence it learned",
            wanted="a calibration, whose set says",
            mend="lesion calibrate, then --calibration FILE",
        )
    return Calibration(
        method=calibrator_class("none").fit([], []),
        fitted_on=FittedOn(
            name=f"nothing: scores as trained on {card.training_data}",
            model=card.name,
            n=0,
            positives=0,
            prevalence=float(np.mean(shares)),
            policy=members[0].policy,
            grouped_by="",
            groups=0,
        ),
    )


def log_statement(calibration: Calibration) -> None:
    """Log what stands behind the probabilities."""
    for line in statement(calibration):
        log.info("%s", line)
