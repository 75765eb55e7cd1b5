"""Flags of `lesion`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from clsstage.config import TrainConfig as ClassifierTraining
from lesioncore.config import CalibrationOptions, ComputeOptions, DataOptions
from segstage.config import TrainConfig as SegmenterTraining
from segstage.config import Tta

# What a run decides once for both stages; the rest of a stage's options is a section of its own.
_SHARED = (
    *(item.name for kind in (DataOptions, ComputeOptions) for item in dataclasses.fields(kind)),
    "out",
    "masks",
    "seed",
    "test_list",
    "max_failed",
)


def stage_section(name: str, source: type, **other_defaults: Any) -> Any:
    """Return a frozen dataclass with the fields of `source` but those that a run decides.

    The names, defaults and help of a stage's options are written once, beside the stage;
    `other_defaults` are those that a run needs otherwise.
    """
    hints = typing.get_type_hints(source)
    fields: list[Any] = []
    for item in dataclasses.fields(source):
        if item.name in _SHARED:
            continue
        if item.name in other_defaults:
            given = field(default=other_defaults[item.name])
        else:
            given = field(default=item.default, default_factory=item.default_factory)  # type: ignore[call-overload]
        fields.append((item.name, hints[item.name], given))
    documented = [kind.__doc__ or "" for kind in source.__mro__ if dataclasses.is_dataclass(kind)]
    arguments = "\n".join(text.partition("Args:\n")[2].rstrip() for text in documented)
    return dataclasses.make_dataclass(
        name,
        fields,
        frozen=True,
        kw_only=True,
        namespace={
            "__doc__": f"{(documented[0]).splitlines()[0]}\n\nArgs:\n{arguments}\n",
            "__module__": __name__,
        },
    )


# A name that only mypy takes for true: jsonargparse looks into TYPE_CHECKING blocks, and would
# believe what stands here.
MYPY = False
if MYPY:
    SegmentationOptions = Any
    ClassificationOptions = Any
else:
    # Two members, so that every image has a mask by one that has not seen it.
    SegmentationOptions = stage_section("SegmentationOptions", SegmenterTraining, folds=2)
    ClassificationOptions = stage_section("ClassificationOptions", ClassifierTraining)


@dataclass(frozen=True, kw_only=True)
class RunConfig(DataOptions, ComputeOptions):
    """Do all of it: segment, cache, classify, predict, evaluate, overlay, report.

    Args:
        out: folder of the run; the same command on it again goes on where it stopped
        test_list: auto (the archive's committed list), none, or a file of image ids
        seed: seeds both stages and the bootstrap
        segmentation: options of stage 1, as of `segstage train`
        classification: options of stage 2, as of `clsstage train`
        resamples: bootstrap draws of the intervals
        tiles: pictures on a contact sheet
        max_failed: go on without unreadable images or masks, up to this many
        force: do this step again whatever its state; may be said several times
        dry_run: print what would be done and why, and do nothing
    """

    out: Path
    test_list: str = "auto"
    seed: int = 0
    segmentation: SegmentationOptions = field(default_factory=SegmentationOptions)
    classification: ClassificationOptions = field(default_factory=ClassificationOptions)
    resamples: int = 1000
    tiles: int = 24
    max_failed: int = 0
    force: list[str] = field(default_factory=list)
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class DemoConfig(ComputeOptions):
    """Run the whole pipeline on generated lesions.

    Args:
        out: folder of the run; the same command on it again goes on where it stopped
        n: how many lesion photographs to make
        seed: seeds the photographs, both stages and the bootstrap
        force: do this step again whatever its state; may be said several times
        dry_run: print what would be done and why, and do nothing
    """

    out: Path = Path("runs/demo")
    n: int = 800
    seed: int = 0
    force: list[str] = field(default_factory=list)
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class StageOptions(ComputeOptions):
    """The two stages that look at photographs.

    Args:
        segmenter: run folder of `segstage train` (RUN/segmentation of a `lesion run`), or the name
            of weights that ship; left out, those
        classifier: run folder of `clsstage train` (RUN/classification of a `lesion run`), or the
            name of weights that ship; left out, those
        run: folder of a `lesion run` or of a `lesion export`, in place of segmenter and classifier
        tta: average masks over views, the four mirrorings (flips) or all eight symmetries (d4)
        engine: what runs the graphs of a `lesion export`
    """

    segmenter: Path | None = None
    classifier: Path | None = None
    run: Path | None = None
    tta: Tta | None = None
    engine: Literal["onnxruntime", "openvino"] = "onnxruntime"


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(StageOptions):
    """Photographs, what is known of them, and the two stages that look at them.

    Args:
        photos: image files, or folders of them (with their subfolders)
        age: age in years of the person on all these photographs
        sex: female or male
        site: where the lesion is, e.g. back, face, "lower extremity"
        metadata: CSV with image_id and any of age, sex, site, one row a photograph; what it says
            wins over the flags
        limit: only the first N photographs
        max_failed: exit with 1 when more photographs than this could not be read
    """

    photos: list[Path] = field(default_factory=list)
    age: float | None = None
    sex: str | None = None
    site: str | None = None
    metadata: Path | None = None
    limit: int | None = None
    max_failed: int = 0

    def __post_init__(self) -> None:
        if self.age is not None and not 0 <= self.age <= 130:
            raise ValueError(f"age is {self.age}: wanted years, 0 to 130")


@dataclass(frozen=True, kw_only=True)
class PredictConfig(PhotoOptions, CalibrationOptions):
    """Give photographs a probability of malignancy. Research use, not a diagnosis.

    Args:
        out: table to write
        overlays: folder for a picture of each photograph with its mask outlined; null for none
    """

    out: Path = Path("predictions.csv")
    overlays: Path | None = Path("overlays")

    def __post_init__(self) -> None:
        PhotoOptions.__post_init__(self)
        CalibrationOptions.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class OverlayConfig(DataOptions):
    """Draw cached masks over their images, worst first, on a contact sheet.

    Args:
        masks: mask cache of these images
        out: picture to write (.png or .jpg), or a page that opens anywhere, with the pictures
            inside (.html)
        tiles: how many images to show
        per_row: tiles a row
        tile: side of a tile in pixels
        only: show only masks of these statuses (ok, empty, failed, edited); may be said several
            times
        order: worst is lowest Dice first where there is a true mask, lowest quality first
            elsewhere; best the other way round; random is seeded
        subset: test is the archive's held-back list; all is every image
        test_list: auto (the archive's committed list), none, or a file of image ids
        predictions: table of probabilities to write under the tiles
        ids: show exactly these images, in this order; may be said several times
        seed: of the random order
    """

    masks: Path
    out: Path
    tiles: int = 24
    per_row: int = 6
    tile: int = 256
    only: list[str] = field(default_factory=list)
    order: Literal["worst", "best", "random"] = "worst"
    subset: Literal["test", "all"] = "all"
    test_list: str = "auto"
    predictions: Path | None = None
    ids: list[str] = field(default_factory=list)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tiles < 1 or self.per_row < 1:
            raise ValueError("tiles and per_row must be 1 or more")
        if not 48 <= self.tile <= 2048:
            raise ValueError(f"tile is {self.tile}: wanted 48 to 2048 pixels")
        if self.out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".html"):
            raise ValueError(f"out is {self.out}: wanted a .png, .jpg or .html file")


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Check what this machine has, and a data set if one is named.

    Args:
        dataset: name of a reader, to check a data set as well
        root: folder in which that archive lies
        columns: for `csv`: our column name to the file's, e.g. {image_id: id, target: label}
        n: for `phantom`: how many images it holds
        split: which of the archive's own parts (train, validation, test), where it has several
        images: how many of its images to open (0 for all)
        out: folder whose disk is checked for room
        json: print the findings as JSON
    """

    dataset: str | None = None
    root: Path | None = None
    columns: dict[str, str] | None = None
    n: int = 400
    split: Literal["auto", "train", "validation", "test"] = "auto"
    images: int = 200
    out: Path = Path("runs")
    json: bool = False
