"""Weights: safetensors with a card that says what made them and how they are used."""

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ImageNetRecord": "weights.imagenet",
        "WeightCard": "weights.card",
        "imagenet_preprocessing": "weights.imagenet",
        "load_imagenet": "weights.imagenet",
        "load_weights": "weights.store",
        "read_card": "weights.store",
        "resolve": "weights.resolve",
        "save_weights": "weights.store",
        "shipped_names": "weights.resolve",
    },
)
