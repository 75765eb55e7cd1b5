"""An ONNX graph at work, by the engine that is installed: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError

Engine = Literal["onnxruntime", "openvino"]
ENGINES: tuple[Engine, ...] = ("onnxruntime", "openvino")

Arrays = dict[str, NDArray[Any]]
Session = Callable[[Mapping[str, NDArray[Any]]], Arrays]


def open_session(path: Path, engine: Engine = "onnxruntime", threads: int = 0) -> Session:
    """Return a function from inputs by name to outputs by name.

    Parameters
    ----------
    path : Path
        ONNX file.
    engine : str
        onnxruntime or openvino.
    threads : int
        Of the CPU; 0 leaves it to the engine.

    Raises
    ------
    LesionError
        No such file, a file that is none, or an engine that is not installed.
    """
    if not path.is_file():
        raise LesionError(f"no such file: {path}", wanted="an ONNX file", mend="lesion export")
    opened = {"onnxruntime": _onnxruntime, "openvino": _openvino}[engine]
    try:
        return opened(path, threads)
    except ModuleNotFoundError:
        raise LesionError(
            f"{engine} is not installed",
            mend="pip install 'lesion-pipeline[runtime]'",
        ) from None
    except (RuntimeError, ValueError) as error:
        raise LesionError(f"{engine} cannot read {path}: {error}", mend="lesion export") from error


def _onnxruntime(path: Path, threads: int) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions share no other base
        raise RuntimeError(str(error)) from error
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


def _openvino(path: Path, threads: int) -> Session:
    import openvino

    core = openvino.Core()
    # A CPU plugin that rounds to bf16 by itself would not give the numbers that were tested.
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    read = core.read_model(str(path))
    # Compiling gives outputs further names.
    names = [output.get_any_name() for output in read.outputs]
    model = core.compile_model(read, "CPU", settings)

    def run(inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        request = model.create_infer_request()
        found = request.infer(dict(inputs))
        return {name: np.array(found[index]) for index, name in enumerate(names)}

    return run
