"""The crop cache: what training looks at, cut out once (docs/reference/crop-cache.md)."""

from __future__ import annotations

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Crop": "clsstage.crops.crop",
        "CropCache": "clsstage.crops.cache",
        "CropGeometry": "clsstage.crops.geometry",
        "build_crops": "clsstage.crops.build",
        "crop_source": "clsstage.crops.crop",
        "read_source": "clsstage.crops.source",
    },
)
