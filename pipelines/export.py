"""`lesion export`: both stages as ONNX graphs, with all they need to run without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.errors import LesionError, UsageError
from lesioncore.files import atomic_path, write_json
from lesioncore.progress import log
from lesioncore.runs import tool_version
from pipelines.bundle import FILE, SCHEMA_VERSION
from pipelines.photo_inputs import chosen_stages

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clsstage.predictor import LesionClassifier
    from pipelines.export_config import ExportConfig
    from segstage.predictor import LesionSegmenter

_OPSET = 20


def export(config: ExportConfig) -> int:
    """Write a bundle; return 1 where its graphs say something else than PyTorch.

    Raises
    ------
    LesionError
        No trained stage, a folder that holds something else, photographs that cannot be read.
    UsageError
        A segmenter that is no fixed graph, or int8 without photographs.
    """
    from pipelines.export_parity import compare, pictures

    if config.int8 and not config.photos:
        raise UsageError(
            "--int8 without --photos",
            wanted="photographs like those that will come, to choose the ranges of 8 bits",
        )
    if config.out.exists() and any(config.out.iterdir()) and not (config.out / FILE).is_file():
        raise LesionError(f"{config.out} holds something else", wanted="a new or empty folder")
    first, second = _stages(config)
    images = pictures(config.photos, config.limit)
    config.out.mkdir(parents=True, exist_ok=True)
    bundle: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "tool_version": tool_version()}
    if first is not None:
        bundle["segmenter"] = write_segmenter(first, config.out)
    if second is not None:
        bundle["classifier"] = write_classifier(second, config.out, config.views)
    if config.int8:
        from pipelines.export_int8 import write_int8

        write_int8(config.out, bundle, images)
    parity, agreed = compare(config, bundle, first, second, images)
    # Last, so that a folder with it is whole.
    write_json(config.out / FILE, bundle | {"parity": parity})
    log.info("wrote %s", config.out)
    return 0 if agreed else 1


def _stages(config: ExportConfig) -> tuple[LesionSegmenter | None, LesionClassifier | None]:
    from clsstage.predictor import LesionClassifier
    from segstage.predictor import LesionSegmenter

    if config.stage == "both" or config.run is not None:
        folders = chosen_stages(config)
    else:
        folders = (config.segmenter, config.classifier)
    segmenter = classifier = None
    if config.stage != "classifier":
        segmenter = LesionSegmenter.load(folders[0], "cpu", "fp32", tta=config.tta)
    if config.stage != "segmenter":
        classifier = LesionClassifier.load(folders[1], "cpu", "fp32")
    return segmenter, classifier


def write_segmenter(segmenter: LesionSegmenter, out: Path) -> dict[str, Any]:
    """Write `segmenter.onnx` and `quality.json`; return the segmenter's part of the bundle.

    Raises
    ------
    UsageError
        It is no fixed graph.
    """
    import torch

    from segstage.graph import INPUTS, OUTPUTS, SegmenterGraph

    side = segmenter.size
    example = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8)
    write_graph(SegmenterGraph(segmenter), (example,), INPUTS, OUTPUTS, out / "segmenter.onnx")
    if segmenter.quality is not None:
        write_json(out / "quality.json", segmenter.quality.to_dict())
    return {
        "name": segmenter.cards[0].name,
        "graph": "segmenter.onnx",
        "inputs": {"image": f"(batch, {side}, {side}, 3) uint8 RGB, stretched"},
        "outputs": {
            "probability": f"(batch, {side}, {side}) float32, probability * 255",
            "disagreement": "(batch,) float32, 0 to 1, -1 for a single map",
        },
        "size": side,
        "tta": segmenter.runs[0].tta,
        "member": "mean" if len(segmenter.members) > 1 else "0",
        "postprocessing": segmenter.postprocessing.to_dict(),
        "fingerprint": segmenter.fingerprint,
        "cards": [card.to_dict() for card in segmenter.cards],
    }


def write_classifier(
    classifier: LesionClassifier, out: Path, views: int | None = None
) -> dict[str, Any]:
    """Write `classifier.onnx` and `calibration.json`; return the classifier's part of the bundle.

    Parameters
    ----------
    classifier : LesionClassifier
    out : Path
    views : int, optional
        As of `clsstage.graph.ClassifierGraph`.
    """
    import torch

    from clsstage.graph import INPUTS, OUTPUTS, ClassifierGraph
    from lesioncore.calibration import CALIBRATION_FILE, write_calibration

    view = classifier.members[0].view
    width = sum(member.encoder.width for member in classifier.members)
    image = torch.randint(0, 256, (2, view.size, view.size, view.planes), dtype=torch.uint8)
    graph = ClassifierGraph(classifier, views)
    write_graph(graph, (image, torch.zeros(2, width)), INPUTS, OUTPUTS, out / "classifier.onnx")
    if classifier.calibration is not None:
        write_calibration(out / CALIBRATION_FILE, classifier.calibration)
    return {
        "name": classifier.name,
        "graph": "classifier.onnx",
        "inputs": {
            "image": f"(batch, {view.size}, {view.size}, {view.planes}) uint8, focused",
            "metadata": f"(batch, {width}) float32, encoded by each member, side by side",
        },
        "outputs": {
            "probabilities": "(batch, 1 + classes) float32: malignancy, "
            + (", ".join(classifier.target.classes) or "no classes")
            + "; not calibrated"
        },
        "views": graph.views,
        "members": [dict(member.card.preprocessing) for member in classifier.members],
        "cards": [member.card.to_dict() for member in classifier.members],
    }


def write_graph(
    network: nn.Module,
    example: tuple[Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    path: Path,
) -> None:
    """Write a network as an ONNX file whose batch may be of any size.

    Parameters
    ----------
    network : Module
        In evaluation mode afterwards.
    example : tuple of Tensor
        Inputs, two images.
    inputs, outputs : tuple of str
        Their names.
    path : Path
    """
    import logging

    import torch

    log.info("writing %s", path.name)
    # The exporter tells of every pass that it makes.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    program = torch.onnx.export(
        network.eval(),
        example,
        dynamo=True,
        verbose=False,
        opset_version=_OPSET,
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_shapes=tuple({0: "batch"} for _ in example),
        external_data=False,
    )
    with atomic_path(path) as temporary:
        program.save(temporary)  # type: ignore[union-attr]
