"""One image from pixels to what is said of it, whatever computes the probabilities.

Nothing here needs torch: `clsstage.predictor` runs networks, `clsstage.runtime` an exported graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clsstage.calibrated import calibrated_score
from clsstage.image_metadata import ReadsMetadata, is_missing, known_columns, metadata_row
from clsstage.masks import TRUSTED, MaskTrust
from clsstage.said import ClassPrediction
from clsstage.targets import Target
from clsstage.view import View
from lesioncore.cache.entry import MaskEntry
from lesioncore.calibration import Calibration


class Looks(ReadsMetadata, Protocol):
    """How a member looks at images, such as a `clsstage.members.Member`."""

    @property
    def view(self) -> View:
        """How it sees images."""
        ...

    @property
    def trust(self) -> MaskTrust:
        """Which masks it uses."""
        ...

    @property
    def target(self) -> Target:
        """What its outputs say."""
        ...

    @property
    def policy(self) -> str:
        """What it calls malignant."""
        ...


class ImageClassifier(ABC):
    """What classifiers share that say something of one image.

    Attributes
    ----------
    name : str
    members : sequence of Looks
        They look at images alike and may read metadata differently.
    calibration : Calibration or None
    """

    name: str
    members: Sequence[Looks]
    calibration: Calibration | None

    @property
    def policy(self) -> str:
        """What it calls malignant."""
        return self.members[0].policy

    @property
    def target(self) -> Target:
        """What it tells apart."""
        return self.members[0].target

    @property
    def needs_mask(self) -> bool:
        """Whether it looks at masks."""
        return self.members[0].view.needs_mask

    @property
    def metadata_columns(self) -> tuple[str, ...]:
        """The metadata that it uses."""
        return known_columns(self.members)

    def predict(
        self,
        image: NDArray[np.uint8],
        mask: MaskEntry | None = None,
        *,
        age: float | None = None,
        sex: str | None = None,
        site: str | None = None,
        views: int | None = None,
        **measurements: float | str | None,
    ) -> ClassPrediction:
        """Return the probability of one image.

        Parameters
        ----------
        image : (H, W, 3) uint8 RGB
        mask : MaskEntry, optional
            From a segmenter, of this very image; without it the full image is seen.
        age : float, optional
            Years.
        sex, site : str, optional
            In the words of `lesioncore.sites`, or those people use ("back", "f").
        views : int, optional
            Flips and transposes averaged, 1 to 8; left out, as its card says.
        **measurements
            Other columns the classifier was trained on, such as `diameter_mm`.

        Raises
        ------
        LesionError
            A measurement the classifier does not know, or a mask of another size.
        """
        row = metadata_row(self.members, age=age, sex=sex, site=site, **measurements)
        view = self.members[0].view
        status, reason = "none", "no mask was given"
        if mask is not None:
            status, reason = self.members[0].trust.judge(mask)
        used = mask if status in TRUSTED and view.needs_mask else None
        picture = view.picture(image, used)
        codes = [member.encoder.transform_row(row) for member in self.members]
        mean = self._chances(picture, codes, views)
        malignant, calibrated = float(mean[0]), None
        diagnoses = dict(zip(self.target.classes, map(float, mean[1:]), strict=True))
        if self.calibration is not None:
            calibrated, diagnoses = calibrated_score(
                malignant, diagnoses, self.calibration, self.target
            )
            malignant = calibrated.malignant
        return ClassPrediction(
            malignant=malignant,
            diagnoses=diagnoses,
            calibrated=calibrated,
            crop=picture[..., :3],
            focus=view.focus if used is not None or not view.needs_mask else "full",
            mask_status=status,
            reason=reason if used is None and view.needs_mask else "",
            missing=tuple(n for n in self.metadata_columns if is_missing(row.get(n))),
        )

    @abstractmethod
    def _chances(
        self, picture: NDArray[np.uint8], codes: Sequence[NDArray[np.float32]], views: int | None
    ) -> NDArray[np.float64]:
        """Return the mean probabilities of a picture (S, S, planes), (1 + classes,).

        `codes` are the metadata (width,), as each member reads it.
        """
