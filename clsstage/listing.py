"""`clsstage models`: what can be trained, on stdout."""

from __future__ import annotations

from clsstage.config import ModelsConfig
from lesioncore.errors import LesionError


def list_models(config: ModelsConfig) -> int:
    """Print a line a fusion and a line a tested encoder, or the names of encoders that match."""
    if config.encoders is None:
        _list_fusions()
        print()
        _list_presets()
        return 0
    import timm

    from clsstage.encoders.records import ALEXNET

    known = [*timm.list_models(), ALEXNET]
    names = [name for name in known if config.encoders.lower() in name]
    if not names:
        raise LesionError(
            f"no encoder's name holds {config.encoders!r}", mend="clsstage models --encoders net"
        )
    print("\n".join(names))
    return 0


def _list_fusions() -> None:
    from clsstage.fusion import fusion_class, fusion_names

    print("fusions:")
    for name in fusion_names():
        print(f"  {name:<16} {fusion_class(name).summary}")


def _list_presets() -> None:
    from clsstage.encoders import encoder_presets

    print(f"{'encoders:':<36}{'size':>4}  parameters  {'licence':<13} what for")
    for preset in encoder_presets():
        record = preset.record
        print(
            f"  {preset.name:<34}{record.size:>4}  {preset.parameters:>8.1f} M  "
            f"{record.licence:<13} {preset.role}"
        )
    print("  and any timm image model; clsstage models --encoders TEXT lists some")
