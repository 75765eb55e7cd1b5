"""`segstage models`: what can be trained, on stdout."""

from __future__ import annotations

from lesioncore.errors import LesionError
from segstage.config import ModelsConfig


def list_models(config: ModelsConfig) -> int:
    """Print one line a segmenter, or one name a line of the encoders that match."""
    if config.encoders is not None:
        names = _encoders(config.encoders.lower())
        if not names:
            raise LesionError(
                f"no encoder's name holds {config.encoders!r}",
                mend="segstage models --encoders net",
            )
        print("\n".join(names))
        return 0
    from segstage.models._registry import segmenter_class, segmenter_names
    from weights.resolve import SHIPPED, shipped_names
    from weights.store import read_card

    for name in segmenter_names():
        print(f"{name:<16} {segmenter_class(name).summary}")
    for name in shipped_names():
        card = read_card(SHIPPED / name)
        print(f"{name:<16} shipped {card.kind}: {card.training_data} (licence: {card.licence})")
    return 0


def _encoders(text: str) -> list[str]:
    import timm

    from segstage.models._encoders import encoder_names

    own = [name for name in encoder_names() if text in name]
    return own + [f"tu-{name}" for name in timm.list_models() if text in name]
