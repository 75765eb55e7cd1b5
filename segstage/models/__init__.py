"""Segmenters: one public factory, each member registered beside its own code."""

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Segmenter": "segstage.models._registry",
        "create_segmenter": "segstage.models._registry",
        "register": "segstage.models._registry",
        "segmenter_names": "segstage.models._registry",
    },
)
