"""The crops that a training reads in place of its images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clsstage.config import TrainConfig
from clsstage.crops.build import build_crops
from clsstage.crops.cache import CropCache
from clsstage.crops.geometry import CropGeometry
from clsstage.encoders import encoder_size
from clsstage.masks import MaskTrust, choose_masks

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache


def training_crops(
    config: TrainConfig, manifest: pd.DataFrame, cache: MaskCache | None
) -> CropCache | None:
    """Return the crops of all images a run learns from or validates on; None without `--crops`.

    They are made where they are not there yet.

    Raises
    ------
    LesionError
        The folder holds crops of other images or masks, or for another focus, jitter or size.
    """
    if config.crops is None:
        return None
    ids = manifest["image_id"].tolist()
    return build_crops(
        config.crops,
        ids,
        manifest["image"].tolist(),
        CropGeometry.of(
            config.focus,
            config.margin,
            encoder_size(config.encoder) if config.size == "auto" else config.size,
            config.margin_jitter,
            config.mask_jitter > 0,
            config.resize,
        ),
        cache,
        choose_masks(cache, ids, MaskTrust(config.min_score, config.min_quality)),
        encoding=config.crop_encoding,
        workers=config.workers,
    )
