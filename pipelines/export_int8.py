"""Graphs of 8-bit integers: onnxruntime's static quantization, ranges taken on photographs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsstage.runtime import RuntimeMember
from lesioncore.errors import LesionError
from lesioncore.files import atomic_path
from lesioncore.progress import log
from segstage.runtime import RuntimeSegmenter
from segstage.stretch import stretch

_NAMES = {"segmenter.onnx": "segmenter-int8.onnx", "classifier.onnx": "classifier-int8.onnx"}


def write_int8(out: Path, bundle: dict[str, Any], images: list[NDArray[np.uint8]]) -> None:
    """Write a second graph of each stage and name it in the bundle as `int8_graph`.

    Weights are 8-bit integers a channel, activations 8 bits by the range seen (entropy is not worth
    its hours here), both in QDQ form, which onnxruntime and OpenVINO read.

    Parameters
    ----------
    out : Path
        Folder of the bundle.
    bundle : dict
        Of the stages that were written.
    images : list of (H, W, 3) uint8 RGB
        Photographs like those that will come.

    Raises
    ------
    LesionError
        onnxruntime or onnx is not installed.
    """
    if "segmenter" in bundle:
        values = bundle["segmenter"]
        given = [{"image": stretch(image, values["size"])[None]} for image in images]
        values["int8_graph"] = _quantized(out, values["graph"], given)
    if "classifier" in bundle:
        values = bundle["classifier"]
        values["int8_graph"] = _quantized(out, values["graph"], _seen(out, bundle, images))


def _seen(
    out: Path, bundle: dict[str, Any], images: list[NDArray[np.uint8]]
) -> list[dict[str, NDArray[Any]]]:
    """Return what the classifier is given of photographs: focused by their masks, no metadata."""
    members = [RuntimeMember.read(one) for one in bundle["classifier"]["members"]]
    segmenter = RuntimeSegmenter(out, bundle["segmenter"]) if "segmenter" in bundle else None
    code = np.concatenate([np.zeros(0, np.float32), *(one.encoder.hidden() for one in members)])
    given = []
    for image in images:
        mask = segmenter.predict(image) if segmenter is not None else None
        usable = mask is not None and members[0].trust.judge(mask)[0] == "ok"
        picture = members[0].view.picture(image, mask if usable else None)
        one = {"image": picture[None]}
        given.append(one | {"metadata": code[None]} if len(code) else one)
    return given


def _quantized(out: Path, graph: str, given: list[dict[str, NDArray[Any]]]) -> str:
    try:
        from onnxruntime.quantization import (
            CalibrationDataReader,
            QuantFormat,
            QuantType,
            quantize_static,
        )
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError:
        raise LesionError(
            "onnxruntime or onnx is not installed", mend="pip install 'lesion-pipeline[export]'"
        ) from None

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[dict[str, NDArray[Any]]] = iter(given)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self.left, None)

    name = _NAMES[graph]
    log.info("writing %s, ranges by %d photographs", name, len(given))
    with TemporaryDirectory() as folder, atomic_path(out / name) as temporary:
        prepared = Path(folder) / graph
        quant_pre_process(str(out / graph), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(temporary), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        )  # fmt: skip
    return name
