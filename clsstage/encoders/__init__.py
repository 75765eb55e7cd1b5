"""Image encoders by name, their weights, and how fast their layers learn."""

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "EncoderPreset": "clsstage.encoders.presets",
        "create_encoder": "clsstage.encoders.factory",
        "encoder_preset": "clsstage.encoders.presets",
        "encoder_presets": "clsstage.encoders.presets",
        "encoder_record": "clsstage.encoders.records",
        "encoder_size": "clsstage.encoders.records",
        "load_encoder": "clsstage.encoders.factory",
        "rate_groups": "clsstage.encoders.rates",
    },
)
