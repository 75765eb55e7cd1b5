"""The picture of an explanation: photograph, what was seen, evidence, metadata, known lesions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.files import atomic_path
from pipelines.contours import PREDICTION_COLOUR, contour_paths, fit, outlined
from pipelines.pipeline import NOTICE

if TYPE_CHECKING:
    from pipelines.explanation import Explanation

_INK, _QUIET, _FOR, _AGAINST = "#1c1b1f", "#5e5c64", "#b23b3b", "#2f6f9f"
# How opaque the strongest evidence is, and how soon weaker evidence shows.
_STRENGTH, _SOFTNESS = 0.75, 0.7
_YELLOW = "#" + "".join(f"{value:02x}" for value in PREDICTION_COLOUR)


def save_picture(path: Path, pixels: NDArray[np.uint8], found: Explanation) -> None:
    """Write the picture of an explanation as PNG.

    Parameters
    ----------
    path : Path
    pixels : (H, W, 3) uint8 RGB
        The photograph.
    found : Explanation
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = 2 + bool(found.nearest)
    figure = plt.figure(figsize=(11, 3.7 * rows), layout="constrained", facecolor="white")
    parts: Any = figure.subfigures(rows, 1, height_ratios=[1.15, 1, 1][:rows])
    top = parts[0].subplots(1, 3)
    mask = found.result.mask if found.result.mask.any() else None
    _image(top[0], outlined(pixels, None, mask, 480), "photograph and mask")
    _image(top[1], found.result.crop, f"what the network saw ({found.result.focus})")
    _evidence(top[2], found)
    below = parts[1].subplots(1, 2)
    _effects(below[0], found)
    _curves(below[1], found)
    if found.nearest:
        _nearest(parts[2], found)
    figure.suptitle(
        f"{found.result.image_id}: probability of malignancy {found.result.probability:.3f}   "
        f"({NOTICE})",
        fontsize=13, color=_INK,
    )  # fmt: skip
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)


def evidence_picture(found: Explanation, size: int = 480) -> NDArray[np.uint8]:
    """Return the evidence over what the network saw, with the outline of the mask, as a picture.

    Parameters
    ----------
    found : Explanation
    size : int
        Longer side, pixels.

    Returns
    -------
    (h, w, 3) uint8 RGB
    """
    import cv2

    crop, _ = fit(found.result.crop, size)
    heat = np.clip(cv2.resize(found.heat, crop.shape[1::-1]), 0, 1)
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = (_STRENGTH * heat**_SOFTNESS)[..., None]
    blended = (crop * (1 - weight) + colours * weight).round().astype(np.uint8)
    mask = cv2.resize(found.mask, crop.shape[1::-1]) >= 0.5
    return outlined(blended, None, mask if mask.any() else None, size)


def _image(axis: Any, picture: NDArray[np.uint8], title: str) -> None:
    axis.imshow(picture)
    axis.set_title(title, fontsize=10, color=_INK)
    axis.set_axis_off()


def _evidence(axis: Any, found: Explanation) -> None:
    """Draw the heat over the crop: only where there is some, so that the lesion stays visible."""
    import matplotlib

    share = found.inside.evidence
    said = "none" if np.isnan(share) else f"{share:.0%} inside, area {found.inside.area:.0%}"
    _image(axis, found.result.crop, f"evidence for malignancy: {said}")
    colours = matplotlib.colormaps["inferno"](found.heat)
    colours[..., 3] = _STRENGTH * np.clip(found.heat, 0, 1) ** _SOFTNESS
    axis.imshow(colours)
    for path in contour_paths(found.mask >= 0.5, found.mask.shape):
        axis.plot(path[:, 0], path[:, 1], color="black", linewidth=2.6)
        axis.plot(path[:, 0], path[:, 1], color=_YELLOW, linewidth=1.2)
    side = found.heat.shape[0]
    axis.set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))


def _effects(axis: Any, found: Explanation) -> None:
    axis.set_title("what the metadata adds (log-odds)", fontsize=10, color=_INK)
    _plain(axis)
    if not found.effects:
        axis.set_axis_off()
        missing = ", ".join(found.result.missing)
        axis.text(
            0.5, 0.5, f"nothing known ({missing} missing)" if missing else "none is used",
            ha="center", va="center", color=_QUIET, transform=axis.transAxes,
        )  # fmt: skip
        return
    shown = list(found.effects.items())[:12]
    names, values = [name for name, _ in shown], np.array([value for _, value in shown])
    axis.barh(names, values, color=[_FOR if value > 0 else _AGAINST for value in values])
    axis.axvline(0, color=_QUIET, linewidth=0.8)
    axis.invert_yaxis()
    limit = max(0.5, float(np.abs(values).max()) * 1.25)
    axis.set_xlim(-limit, limit)
    axis.set_xlabel("towards benign  |  towards malignant", fontsize=9, color=_QUIET)


def _curves(axis: Any, found: Explanation) -> None:
    curve = found.deletion
    axis.set_title(f"deletion: {curve.gain:+.2f} against chance", fontsize=10, color=_INK)
    _plain(axis)
    axis.plot(curve.removed, curve.by_evidence, color=_FOR, label="strongest evidence first")
    axis.plot(curve.removed, curve.by_chance, color=_QUIET, linestyle="--", label="in random order")
    axis.set_xlabel("part of the picture blurred away", fontsize=9, color=_QUIET)
    axis.set_ylabel("log-odds of malignancy", fontsize=9, color=_QUIET)
    axis.legend(frameon=False, fontsize=9)


def _nearest(part: Any, found: Explanation) -> None:
    part.suptitle("known lesions most alike to this classifier", fontsize=10, color=_INK)
    axes = np.atleast_1d(part.subplots(1, len(found.nearest)))
    for axis, one in zip(axes, found.nearest, strict=True):
        axis.set_axis_off()
        if one.picture is not None:
            axis.imshow(one.picture)
        label = "\n".join(filter(None, [one.image_id, one.diagnosis, f"{one.similarity:.2f}"]))
        axis.set_title(label, fontsize=8.5, color=_INK)


def _plain(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9, colors=_QUIET)
