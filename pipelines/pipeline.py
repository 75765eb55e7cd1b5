"""`LesionPipeline`: one photograph in, mask, crop and probability out."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError

if TYPE_CHECKING:
    from clsstage.one_image import ImageClassifier
    from lesioncore.cache import MaskEntry
    from lesioncore.calibration import Calibrated
    from lesioncore.onnx_session import Engine
    from segstage.predictor import LesionSegmenter
    from segstage.runtime import RuntimeSegmenter

NOTICE = "research use, not a diagnosis"


@dataclass(frozen=True)
class PipelineResult:
    """What the pipeline says of one photograph. Research use, not a diagnosis.

    Attributes
    ----------
    image_id : str
        Name of the file without its suffix, or "image" for an array.
    probability : float
        Of malignancy, 0 to 1, at the prevalence of the training archive or of the calibration.
    mask : ndarray of shape (H, W), bool
        The lesion, in the pixels of the photograph; all False when none was found.
    crop : ndarray of shape (S, S, 3), uint8 RGB
        What the classifier saw.
    status : str
        Of the mask: "ok"; or "empty", "failed" or "distrusted", and the classifier then saw the
        whole photograph.
    focus : str
        How the photograph was focused on the lesion; "full" where the mask was not used.
    missing : tuple of str
        Metadata that the classifier can use and did not get.
    entry : MaskEntry
        The mask as a cache would keep it: box, area, score, soft mask.
    reason : str
        Why the mask was not used; empty where it was.
    diagnoses : dict of str to float
        Probability of each class, where the classifier tells diagnoses apart.
    calibrated : Calibrated or None
        The score before its calibration, with interval, flag and prediction set; None where the
        classifier has no calibration.
    """

    image_id: str
    probability: float
    mask: NDArray[np.bool_]
    crop: NDArray[np.uint8]
    status: str
    focus: str
    missing: tuple[str, ...]
    entry: MaskEntry
    reason: str = ""
    diagnoses: dict[str, float] = field(default_factory=dict)
    calibrated: Calibrated | None = None

    def __str__(self) -> str:
        used = f"mask {self.status}" + (f" ({self.reason})" if self.reason else "")
        lacking = f", without {', '.join(self.missing)}" if self.missing else ""
        return (
            f"{self.image_id}: probability of malignancy {self.probability:.3f}{self._decided()}, "
            f"{used}{lacking} ({NOTICE})"
        )

    def _decided(self) -> str:
        """Return interval, flag and prediction set, as far as there is a calibration."""
        found = self.calibrated
        if found is None:
            return ""
        interval = "" if np.isnan(found.low) else f" [{found.low:.3f}, {found.high:.3f}]"
        flag = {True: ", flagged", False: ", not flagged", None: ""}[found.flagged]
        sets = found.prediction_set
        return interval + flag + ("" if sets is None else f", prediction set: {sets}")


class LesionPipeline:
    """Both stages on one photograph at a time.

    Examples
    --------
    >>> pipeline = LesionPipeline.load("runs/ham/segmentation", "runs/ham/classification")
    >>> result = pipeline("photo.jpg", age=61, sex="female", site="back")
    >>> result.probability, result.status                               # doctest: +SKIP
    (0.07, 'ok')
    """

    def __init__(
        self, segmenter: LesionSegmenter | RuntimeSegmenter, classifier: ImageClassifier
    ) -> None:
        self.segmenter = segmenter
        self.classifier = classifier

    @classmethod
    def load(
        cls,
        segmenter: str | PathLike[str] | None = None,
        classifier: str | PathLike[str] | None = None,
        *,
        tta: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        calibration: str = "auto",
        prevalence: float | None = None,
        engine: Engine = "onnxruntime",
    ) -> LesionPipeline:
        """Return the pipeline of two trained stages.

        Parameters
        ----------
        segmenter : path
            Run folder of `segstage train` or a weights folder. The folder of a `lesion run` or of
            a `lesion export` holds both stages, and `classifier` is then left out. None takes the
            weights that ship.
        classifier : path, optional
            Run folder of `clsstage train` or a weights folder. With neither, both are those that
            ship.
        tta : str, optional
            Views that masks are averaged over, "none", "flips" or "d4"; left out, the segmenter's.
        device : str
            "auto", "cpu", "cuda" or "mps".
        precision : str
            "auto", "fp32", "bf16" or "fp16".
        calibration : str
            "auto" (what the classifier's run or weights hold), "none", or a file of
            `lesion calibrate`.
        prevalence : float, optional
            Part of the lesions here that is malignant; probabilities are moved to it.
        engine : str
            What runs an exported run: "onnxruntime" or "openvino".

        Raises
        ------
        LesionError
            No weights there, an unfinished run, or the two folders the wrong way round.
        """
        first, second = stage_folders(segmenter, classifier)
        if first is not None and first == second:
            from pipelines.bundle import load_bundle

            return load_bundle(first, engine=engine, calibration=calibration, prevalence=prevalence)
        from clsstage.predictor import LesionClassifier
        from segstage.predictor import LesionSegmenter

        return cls(
            LesionSegmenter.load(first, device, precision, tta=tta),
            LesionClassifier.load(
                second, device, precision, calibration=calibration, prevalence=prevalence
            ),
        )

    def __call__(
        self,
        image: str | PathLike[str] | NDArray[np.uint8],
        *,
        age: float | None = None,
        sex: str | None = None,
        site: str | None = None,
        image_id: str | None = None,
        **measurements: Any,
    ) -> PipelineResult:
        """Return mask, crop and probability of one photograph.

        Parameters
        ----------
        image : path, or ndarray of shape (H, W, 3), uint8 RGB
            A path may also be `store.hdf5::key`.
        age : float, optional
            Years.
        sex, site : str, optional
            In the words of an archive or of people ("f", "back").
        image_id : str, optional
            Name for the result.
        **measurements
            Other columns that the classifier was trained on, such as `diameter_mm`.

        Raises
        ------
        LesionError
            The file cannot be read, the array is no RGB image, or a measurement is unknown.
        """
        pixels, name = read_photo(image)
        entry = self.segmenter.predict(pixels, image_id or name)
        return self.judge(pixels, entry, age=age, sex=sex, site=site, **measurements)

    def judge(self, pixels: NDArray[np.uint8], entry: MaskEntry, **metadata: Any) -> PipelineResult:
        """Return what stage 2 makes of a photograph whose mask is known.

        Parameters
        ----------
        pixels : (H, W, 3) uint8 RGB
        entry : MaskEntry
            Of this photograph; its `image_id` names the result.
        **metadata
            age, sex, site and measurements, as of a call.

        Raises
        ------
        LesionError
            A measurement is unknown, or the mask is of another size.
        """
        said = self.classifier.predict(pixels, entry, **metadata)
        found = entry.status in ("ok", "edited")
        return PipelineResult(
            image_id=entry.image_id,
            probability=said.malignant,
            mask=entry.mask() if found else np.zeros(pixels.shape[:2], bool),
            crop=said.crop,
            status=said.mask_status,
            focus=said.focus,
            missing=said.missing,
            entry=entry,
            reason=said.reason,
            diagnoses=said.diagnoses,
            calibrated=said.calibrated,
        )


def read_photo(image: Any) -> tuple[NDArray[np.uint8], str]:
    """Return (H, W, 3) uint8 RGB and a name for a path or an array."""
    from lesioncore.images import read_image, split_reference

    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise LesionError(
                f"an array of shape {image.shape} and type {image.dtype}",
                wanted="one photograph, (H, W, 3) uint8 RGB",
            )
        return image, "image"
    path, key = split_reference(fspath(image))
    return read_image(fspath(image)), key or Path(path).stem


def stage_folders(
    segmenter: str | PathLike[str] | None, classifier: str | PathLike[str] | None
) -> tuple[Path | None, Path | None]:
    """Return the folders of both stages; the folder of a `lesion run` holds both.

    None is the weights that ship. The folder of a `lesion export` stands for both.

    Raises
    ------
    LesionError
        One folder was given and it is no `lesion run`.
    """
    if classifier is not None:
        return None if segmenter is None else Path(fspath(segmenter)), Path(fspath(classifier))
    if segmenter is None:
        return None, None
    segmenter = Path(fspath(segmenter))
    if (segmenter / "bundle.json").is_file():
        return segmenter, segmenter
    stages = segmenter / "segmentation", segmenter / "classification"
    for stage in stages:
        if not (stage / "run.json").is_file():
            raise LesionError(
                f"{segmenter} is not the folder of a `lesion run`: it has no {stage.name}/run.json",
                wanted="such a folder, one of lesion export, or a segmenter and a classifier",
                mend="lesion run --dataset NAME --root DIR --out DIR",
            )
    return stages
