"""Flags of `lesion audit`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lesioncore.config import Policy
from lesioncore.errors import UsageError

#: What `--split` takes beside a file: the archive's own parts, as of every command.
OWN_PARTS = ("auto", "train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """Look for what makes a score better than the model: leaks, copies, shortcuts, and faces.

    Args:
        dataset: name of a reader (isic2024, ham10000, folder, csv, phantom, ...)
        root: folder in which the archive lies, in its official layout
        also: further archives to look at together with this one, name to folder, such as
            {ham10000: DIR}
        columns: for `csv`: our column name to the file's, e.g. {image_id: id, target: label}
        n: for `phantom`: how many images to make where root does not hold any yet
        limit: use only N images of each archive, evenly spaced
        split: file that divides the images (split.csv of a run, or any table with an id and a
            column split, part, subset, set or fold); train, validation or test is the archive's own
            part, as of other commands
        run: run folder whose split, predictions and masks are taken where none are given
        predictions: table of ids and scores, for the performance of subgroups
        score_column: its column of scores; left out, the first of malignant, score, probability,
            prediction, prob
        threshold: score from which a lesion counts as found, for the sensitivity of subgroups
        masks: mask cache of these images, for what lies outside the lesion; left out, the archive's
            own masks
        policy: what counts as malignant; auto is the first archive's own choice
        hospital: column that names the hospital; left out, the first of hospital, institution,
            centre, center, clinic, attribution
        only: run this check and no other; may be said several times
        skip: leave this check out; may be said several times
        allow: accept the finding of this name, so that it is no error any more; may be said several
            times
        leave_out: write a test list for each value of this column (source is the archive, hospital
            the hospital's), to train without it; may be said several times
        images: false looks at the table alone, images on disk or not
        out: folder for audit.json, audit.html and what is kept of each image
        workers: processes that read images; -1 is one a core
        resamples: bootstrap draws of the intervals
        seed: seeds the bootstrap, the folds and the choice of rows where there are too many
        max_failed: accept up to this many images that cannot be read
    """

    dataset: str
    root: Path | None = None
    also: dict[str, Path] | None = None
    columns: dict[str, str] | None = None
    n: int = 400
    limit: int | None = None
    split: str = "auto"
    run: Path | None = None
    predictions: Path | None = None
    score_column: str | None = None
    threshold: float | None = None
    masks: Path | None = None
    policy: Policy = "auto"
    hospital: str | None = None
    only: list[str] = field(default_factory=list)
    skip: list[str] = field(default_factory=list)
    allow: list[str] = field(default_factory=list)
    leave_out: list[str] = field(default_factory=list)
    images: bool = True
    out: Path
    workers: int = -1
    resamples: int = 1000
    seed: int = 0
    max_failed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 100:
            raise UsageError(f"--resamples is {self.resamples}", wanted="100 or more")
        if self.threshold is not None and self.predictions is None and self.run is None:
            raise UsageError("--threshold without scores", wanted="--predictions FILE beside it")

    @property
    def split_file(self) -> Path | None:
        """The file that divides the images, None where `split` names the archive's own part."""
        return None if self.split in OWN_PARTS else Path(self.split)
