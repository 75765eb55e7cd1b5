"""How far exported graphs are from PyTorch, measured on photographs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clsstage.runtime import RuntimeClassifier
from lesioncore.images import read_image
from lesioncore.photos import find_photos
from segstage.runtime import RuntimeSegmenter

if TYPE_CHECKING:
    from clsstage.predictor import LesionClassifier
    from lesioncore.cache import MaskEntry
    from pipelines.export_config import ExportConfig
    from segstage.predictor import LesionSegmenter

Picture = NDArray[np.uint8]
_DRAWN = 12
#: Metadata that goes with the pictures in turn: known, partly known, unknown.
_SAID: tuple[dict[str, Any], ...] = (
    {"age": 61, "sex": "female", "site": "back"}, {"age": 34, "sex": "male"}, {},
)  # fmt: skip


def pictures(photos: list[Path], limit: int) -> list[Picture]:
    """Return photographs, or drawn lesions where none are named.

    Parameters
    ----------
    photos : list of Path
        Files, or folders of them.
    limit : int
        At most so many, spread evenly.

    Raises
    ------
    LesionError
        Nothing there, or a file that is no image.
    """
    if not photos:
        from lesioncore.phantoms import make_phantom

        return [make_phantom(seed, size=256).image for seed in range(min(limit, _DRAWN))]
    found = find_photos(photos)
    rows = np.unique(np.linspace(0, len(found) - 1, min(limit, len(found))).round().astype(int))
    return [read_image(str(found[row])) for row in rows]


def compare(
    config: ExportConfig,
    bundle: dict[str, Any],
    segmenter: LesionSegmenter | None,
    classifier: LesionClassifier | None,
    images: list[Picture],
) -> tuple[dict[str, Any], bool]:
    """Print and return how far the graphs are from PyTorch, and whether that is near enough.

    Graphs of 8-bit integers are compared too; what they lose is said, not judged.
    """
    where = f"{len(images)} {'photographs' if config.photos else 'drawn lesions'}"
    said: dict[str, Any] = {"images": len(images), "drawn": not config.photos}
    agreed = True
    masks: list[MaskEntry | None] = [None] * len(images)
    graphs = ("graph", "int8_graph") if config.int8 else ("graph",)
    if segmenter is not None:
        truth = [segmenter.predict(image) for image in images]
        masks = list(truth)
        for graph in graphs:
            values = {**bundle["segmenter"], "graph": bundle["segmenter"][graph]}
            runtime = RuntimeSegmenter(config.out, values)
            overlaps = [
                _iou(runtime.predict(image), other)
                for image, other in zip(images, truth, strict=True)
            ]
            found = {"iou_mean": float(np.mean(overlaps)), "iou_min": float(np.min(overlaps))}
            said.setdefault("segmenter", {})[graph] = found
            agreed &= graph != "graph" or found["iou_min"] >= config.min_iou
            print(
                f"{values['graph']} against PyTorch on {where}: mask IoU mean "
                f"{found['iou_mean']:.4f}, smallest {found['iou_min']:.4f}"
            )
    if classifier is not None:
        given = list(zip(images, masks, itertools.cycle(_SAID), strict=False))
        truth_p = np.array([_chance(classifier, *one, views=config.views) for one in given])
        for graph in graphs:
            values = {**bundle["classifier"], "graph": bundle["classifier"][graph]}
            again = RuntimeClassifier(config.out, values, calibration=classifier.calibration)
            apart = np.abs(np.array([_chance(again, *one) for one in given]) - truth_p)
            found = {"difference_mean": float(apart.mean()), "difference_max": float(apart.max())}
            said.setdefault("classifier", {})[graph] = found
            agreed &= graph != "graph" or found["difference_max"] <= config.tolerance
            print(
                f"{values['graph']} against PyTorch on {where}: probability apart by "
                f"{found['difference_mean']:.2g} in the mean, at most {found['difference_max']:.2g}"
            )
    if not agreed:
        print(
            f"the graphs are not near enough: wanted a mask IoU of at least {config.min_iou:g} and "
            f"probabilities within {config.tolerance:g}"
        )
    return said, agreed


def _iou(one: MaskEntry, other: MaskEntry) -> float:
    first, second = one.mask(), other.mask()
    either = int((first | second).sum())
    return 1.0 if not either else int((first & second).sum()) / either


def _chance(
    classifier: LesionClassifier | RuntimeClassifier,
    image: Picture,
    mask: MaskEntry | None,
    said: dict[str, Any],
    views: int | None = None,
) -> float:
    return classifier.predict(image, mask, **said, views=views).malignant
