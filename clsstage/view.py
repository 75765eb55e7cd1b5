"""How a classifier looks at an image: focus, size and colour scale, the same at every place.

Training, prediction over an archive and the one-image call all go through `View.see`, so that a
network never meets pictures made in another way than those it learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsstage.focus import apply_focus
from clsstage.focus_names import FocusNames, parse_focus
from lesioncore.cache.entry import MaskEntry, threshold_level
from lesioncore.errors import LesionError, refuse_newer
from lesioncore.transforms import normalise

Augment = Callable[[NDArray[np.uint8], Any], tuple[NDArray[np.uint8], Any]]

# Raised when the same settings would give other pixels; kept in every card.
VERSION = 1


@dataclass(frozen=True)
class View:
    """The settings of `see`.

    Parameters
    ----------
    focus : str
        For example "dilated_crop+soft_background".
    margin, blur : float
        As in `clsstage.focus.apply_focus`.
    size : int
        Side of the square input, pixels.
    mean, std : tuple of float
        Of images in 0 to 1, one a plane.
    mask_plane : bool
        The soft mask goes with the image as its last plane, for a network that pools under it or
        learns it.
    version : int
        Of the algorithm.
    """

    focus: str
    margin: float
    blur: float
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mask_plane: bool = False
    version: int = VERSION

    @property
    def names(self) -> FocusNames:
        """The parts of the focus."""
        return parse_focus(self.focus)

    @property
    def needs_mask(self) -> bool:
        """Whether the mask changes what the network is given."""
        return self.names.needs_mask or self.mask_plane

    @property
    def planes(self) -> int:
        """Planes of the focused image: 3, or 4 with the mask."""
        return 4 if self.mask_plane else self.names.channels

    def picture(
        self,
        image: NDArray[np.uint8],
        mask: MaskEntry | None,
        *,
        margin: float | None = None,
        shift: tuple[float, float] = (0.0, 0.0),
        late: bool = False,
    ) -> NDArray[np.uint8]:
        """Return the focused image, (size, size, 3 or 4) uint8.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), uint8 RGB
        mask : MaskEntry or None
            Of the same image; None for the full image.
        margin, shift : float, (float, float)
            Other than the view's own, for the jitter of training.
        late : bool
            Keep the size of the frame; training resizes after its augmentation.

        Raises
        ------
        LesionError
            The mask is of an image of another size.
        """
        soft, box, level = None, None, 128
        if mask is not None and mask.area > 0:
            if tuple(mask.shape) != image.shape[:2]:
                raise LesionError(
                    f"the mask of {mask.image_id!r} is of a {mask.shape[0]} x {mask.shape[1]} "
                    f"image, the image is {image.shape[0]} x {image.shape[1]}",
                    wanted="the mask of this very image",
                    mend="run segstage cache again on these images",
                )
            soft, box, level = mask.soft(), mask.box, threshold_level(mask.threshold)
        return apply_focus(
            image,
            soft,
            replace(self.names, mask_channel=self.planes == 4),
            size=None if late else self.size,
            level=level,
            box=box,
            margin=self.margin if margin is None else margin,
            shift=shift,
            blur=self.blur,
        )

    def tensor(
        self, picture: NDArray[np.uint8], augment: Augment | None = None
    ) -> NDArray[np.float32]:
        """Return a picture as the network takes it, (C, size, size) float32, augmented if asked."""
        if augment is not None:
            extra = picture[..., 3] if picture.shape[2] == 4 else None
            picture, extra = augment(np.ascontiguousarray(picture[..., :3]), extra)
            if extra is not None:
                picture = np.dstack([picture, extra])
        # The mask has no statistics of its own; a half keeps it in the range of a channel.
        planes = picture.shape[2]
        return normalise(picture, (*self.mean, 0.5)[:planes], (*self.std, 0.5)[:planes])

    def see(self, image: NDArray[np.uint8], mask: MaskEntry | None) -> NDArray[np.float32]:
        """Return what the network sees of an image, (C, size, size) float32."""
        return self.tensor(self.picture(image, mask))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads back."""
        values = asdict(self)
        return values | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> View:
        """Return the view that `to_dict` described; unknown keys are left alone."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        refuse_newer(
            "the classifier sees images by version", known.get("version", VERSION), VERSION
        )
        known |= {"mean": tuple(known["mean"]), "std": tuple(known["std"])}
        return cls(**known)
