"""Hair, rulers, bubbles, ink and dark frames drawn over real photographs, as augmentation."""

from __future__ import annotations

from typing import Any

import albumentations as alb
import numpy as np
import numpy.typing as npt

from lesioncore.phantoms.artefacts import add_artefacts, draw_artefacts, frame_visibility

Image = npt.NDArray[np.uint8]
# A camera's tone curve to a fair approximation; what matters is that light is mixed linearly.
_GAMMA = 2.2
_TO_LINEAR = ((np.arange(256) / 255) ** _GAMMA).astype(np.float32)
_LEVELS = 4096
_TO_BYTES = np.round(255 * (np.arange(_LEVELS) / (_LEVELS - 1)) ** (1 / _GAMMA)).astype(np.uint8)


def overlay_artefacts(image: Image, seed: int) -> Image:
    """Return a photograph with what may lie over a lesion drawn on it, as the phantoms have it.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    seed : int
        The same seed draws the same hairs.

    Returns
    -------
    (H, W, 3) uint8 RGB
        The lesion's outline is where it was. A seed may draw nothing at all.
    """
    rng = np.random.default_rng([seed, 17])
    drawn = draw_artefacts(rng, hairiness=float(rng.beta(1.2, 1.8)), strength=1.5)
    field_mm = float(rng.uniform(8, 25))
    # The artefacts are drawn on squares: a square around the picture, cut back at the end.
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    light = np.zeros((3, side, side), np.float32)
    inside = np.s_[:, top : top + height, left : left + width]
    light[inside] = _TO_LINEAR[image].transpose(2, 0, 1)
    light = add_artefacts(light, drawn, field_mm)
    visible = frame_visibility(drawn, side)
    if visible is not None:
        light = light * visible
    level = np.clip(light[inside] * (_LEVELS - 1) + 0.5, 0, _LEVELS - 1).astype(np.int32)
    return np.ascontiguousarray(_TO_BYTES[level].transpose(1, 2, 0))


class Artefacts(alb.ImageOnlyTransform):  # type: ignore[misc]
    """`overlay_artefacts` as a step of a chain."""

    def get_params(self) -> dict[str, Any]:
        """Draw the seed from the chain's generator."""
        return {"seed": int(self.py_random.getrandbits(31))}

    def apply(self, img: Image, seed: int, **_params: Any) -> Image:
        """Return the picture with artefacts."""
        return overlay_artefacts(img, seed)
