"""An exported run: graphs and what stands around them, opened as a `LesionPipeline` without torch.

A bundle is a folder of `bundle.json` (what each stage does to pixels and metadata, cards, how far
the graphs are from PyTorch), `segmenter.onnx`, `classifier.onnx`, and where there are any
`quality.json` and `calibration.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clsstage.runtime import RuntimeClassifier
from lesioncore.calibration import CALIBRATION_FILE, Calibration, read_calibration
from lesioncore.errors import LesionError, refuse_newer
from lesioncore.files import read_json
from lesioncore.onnx_session import Engine
from pipelines.pipeline import LesionPipeline
from segstage.runtime import RuntimeSegmenter

FILE = "bundle.json"
SCHEMA_VERSION = 1


def is_bundle(folder: Path) -> bool:
    """Whether a folder is one that `lesion export` wrote."""
    return (folder / FILE).is_file()


def read_bundle(folder: Path) -> dict[str, Any]:
    """Return what `bundle.json` holds.

    Raises
    ------
    LesionError
        No bundle, or one of a newer version.
    """
    if not is_bundle(folder):
        raise LesionError(f"{folder} has no {FILE}", wanted="a folder by lesion export")
    values = read_json(folder / FILE)
    refuse_newer(f"{folder / FILE} has schema version", values["schema_version"], SCHEMA_VERSION)
    return dict(values)


def load_bundle(
    folder: Path,
    *,
    engine: Engine = "onnxruntime",
    threads: int = 0,
    int8: bool = False,
    calibration: str = "auto",
    prevalence: float | None = None,
) -> LesionPipeline:
    """Return the pipeline of an exported run.

    Parameters
    ----------
    folder : Path
    engine : str
        See `lesioncore.onnx_session.ENGINES`.
    threads : int
        0 leaves them to the engine.
    int8 : bool
        Take the graphs of 8-bit integers.
    calibration, prevalence
        As of `LesionPipeline.load`.

    Raises
    ------
    LesionError
        One stage alone was exported, no graphs of 8 bits, an engine that is not installed.
    """
    values = read_bundle(folder)
    for stage in ("segmenter", "classifier"):
        if stage not in values:
            raise LesionError(
                f"{folder} holds no {stage}",
                wanted="both stages",
                mend="lesion export --stage both",
            )
    parts = {stage: _chosen(folder, values[stage], int8) for stage in ("segmenter", "classifier")}
    return LesionPipeline(
        RuntimeSegmenter(folder, parts["segmenter"], engine, threads),
        RuntimeClassifier(
            folder, parts["classifier"], engine, threads,
            _calibration(folder, calibration, prevalence),
        ),
    )  # fmt: skip


def _chosen(folder: Path, values: dict[str, Any], int8: bool) -> dict[str, Any]:
    if not int8:
        return values
    if "int8_graph" not in values:
        raise LesionError(
            f"{folder} has no graphs of 8-bit integers",
            mend="lesion export --int8 true --photos FOLDER",
        )
    return {**values, "graph": values["int8_graph"]}


def _calibration(folder: Path, word: str, prevalence: float | None) -> Calibration | None:
    path = folder / CALIBRATION_FILE if word == "auto" else Path(word)
    found = None if word == "none" or (word == "auto" and not path.is_file()) else path
    calibration = None if found is None else read_calibration(found)
    if prevalence is None:
        return calibration
    if calibration is None:
        raise LesionError(
            "--prevalence with an exported run that has no calibration",
            wanted="a calibration, which says at which prevalence the scores hold",
            mend="--calibration FILE of lesion calibrate",
        )
    return calibration.at(prevalence)
