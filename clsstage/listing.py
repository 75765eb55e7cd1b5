"""`clsstage models`: what can be trained, on stdout."""

from __future__ import annotations

from clsstage.config import ModelsConfig
from lesioncore.errors import LesionError


def list_models(config: ModelsConfig) -> int:
    """Print one line a fusion, or one name a line of the encoders that match."""
    if config.encoders is None:
        from clsstage.fusion import fusion_class, fusion_names

        for name in fusion_names():
            print(f"{name:<16} {fusion_class(name).summary}")
        print("\nencoders: any timm image model; clsstage models --encoders TEXT lists some")
        return 0
    import timm

    names = [name for name in timm.list_models() if config.encoders.lower() in name]
    if not names:
        raise LesionError(
            f"no encoder's name holds {config.encoders!r}", mend="clsstage models --encoders net"
        )
    print("\n".join(names))
    return 0
