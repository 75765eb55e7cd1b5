"""Several runs that segment together: their members, and who of them did not see an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesioncore.errors import LesionError
from lesioncore.files import PathLike
from lesioncore.progress import log
from lesioncore.runs import Run
from segstage.models._registry import Segmenter, create_segmenter
from segstage.models._untrained import untrained_member
from segstage.quality import QualityModel, load_quality
from segstage.views import View, views_of
from weights.card import WeightCard
from weights.provenance import KEYS, Assignment, Provenance, read_provenance
from weights.resolve import is_shipped, resolve
from weights.store import fill_network, load_weights

KIND = "segmenter"


@dataclass
class SegmenterRun:
    """The members of one run (or one weight): one architecture, one input size.

    Attributes
    ----------
    members : list of Segmenter
    cards : list of WeightCard
        One a member.
    provenance : Provenance
        What the members learned from.
    tta : str
        "none", "flips" or "d4".
    quality : QualityModel or None
        Judges the masks of this run.
    """

    members: list[Segmenter]
    cards: list[WeightCard]
    provenance: Provenance
    tta: str = "none"
    quality: QualityModel | None = None

    @property
    def size(self) -> int:
        """Side in pixels to which this run's images are stretched."""
        return int(self.cards[0].preprocessing["size"])

    @property
    def views(self) -> tuple[View, ...]:
        """The views whose maps are averaged."""
        return views_of(self.tta)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """The card's, with the views in use; without any, no key, as cards always were."""
        said = {k: v for k, v in self.cards[0].preprocessing.items() if k != "tta"}
        return said if self.tta == "none" else {**said, "tta": self.tta}

    @property
    def identity(self) -> dict[str, Any]:
        """Architecture and weights, for the fingerprint."""
        return {
            "arch": dict(self.cards[0].architecture),
            "weights_sha256": [card.sha256 for card in self.cards],
        }


def load_run(path: PathLike | None, tta: str | None = None) -> SegmenterRun:
    """Return the members of a run folder, a weights folder or a shipped name (None: the shipped).

    The name of a segmenter that learns nothing ("otsu") stands for itself.

    Parameters
    ----------
    tta : str, optional
        Views other than the card says.
    """
    known = untrained_member(path)
    if known is not None:
        return SegmenterRun([known[0]], [known[1]], _nothing_learned(), tta or "none")
    home = resolve(path, kind=KIND)
    loaded = [_load_member(folder) for folder in _member_folders(home)]
    card = loaded[0][1]
    if is_shipped(home):
        log.info("using the shipped weights %s (licence: %s)", home.name, card.licence)
    chosen = tta or str(card.preprocessing.get("tta", "none"))
    views_of(chosen)
    folder = home if home.is_dir() else home.parent
    return SegmenterRun(
        [member for member, _ in loaded],
        [card for _, card in loaded],
        Provenance(read_provenance(folder), len(loaded)),
        chosen,
        load_quality(folder),
    )


class JointProvenance:
    """Who segments an image with several runs: in each, the member that did not see it.

    Parameters
    ----------
    parts : sequence of Provenance
        One a run; members are numbered through all runs.
    """

    def __init__(self, parts: Sequence[Provenance]) -> None:
        self.parts = list(parts)
        self.members = sum(part.members for part in parts)
        self.known = all(part.known for part in parts)

    def assign(
        self, image_id: str, image_sha256: str = "", patient_id: Any = None, lesion_id: Any = None
    ) -> Assignment:
        """Return who segments an image; in sample where one run has no member that did not see it.

        The label is "mean" where every member takes part, else what each run said, joined by "+"
        ("1+mean": member 1 of the first run with all of the second).
        """
        found = [part.assign(image_id, image_sha256, patient_id, lesion_id) for part in self.parts]
        chosen: list[int] = []
        first = 0
        for part, one in zip(self.parts, found, strict=True):
            chosen += [first + member for member in one.members]
            first += part.members
        return Assignment(
            tuple(chosen),
            "mean" if len(chosen) == self.members else "+".join(one.label for one in found),
            any(one.in_sample for one in found),
            next((one.group for one in found if one.group), ""),
        )


def _nothing_learned() -> Provenance:
    """Return the record of a member that saw no image."""
    import pandas as pd

    return Provenance(pd.DataFrame(columns=[*KEYS, "group", "fold", "role"]), 1)


def _member_folders(home: Path) -> list[Path]:
    """Return the folders of the members of a run, or `home` itself when it is one weight."""
    if home.is_dir() and (home / "run.json").is_file():
        run = Run.load(home, "segstage")
        return [run.member(number) for number in range(run.members)]
    return [home]


def _load_member(folder: Path) -> tuple[Segmenter, WeightCard]:
    state, card = load_weights(folder, kind=KIND)
    options = dict(card.architecture)
    member = create_segmenter(options.pop("name"), **options, encoder_weights="none")
    fill_network(member, state, folder)
    return member, card


def refuse_twice(paths: Sequence[PathLike]) -> None:
    """Refuse the same weights said twice: they would count double and never disagree."""
    homes = [Path(path).resolve() for path in paths]
    twice = next((path for n, path in enumerate(homes) if path in homes[:n]), None)
    if twice is not None:
        raise LesionError(f"--weights {twice} was given twice", wanted="each run once")
