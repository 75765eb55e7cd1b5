"""Classifier families, one a module; `create_classifier` makes them by name."""

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Classifier": "clsstage.models.classifier",
        "classifier_lines": "clsstage.models._registry",
        "classifier_names": "clsstage.models._registry",
        "create_classifier": "clsstage.models._registry",
        "register_classifier": "clsstage.models._registry",
    },
)
