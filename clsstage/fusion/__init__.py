"""How metadata joins the image: one member a module, each registered beside its own code."""

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Fusion": "clsstage.fusion._registry",
        "Widths": "clsstage.fusion._registry",
        "fusion_class": "clsstage.fusion._registry",
        "fusion_names": "clsstage.fusion._registry",
        "register": "clsstage.fusion._registry",
    },
)
