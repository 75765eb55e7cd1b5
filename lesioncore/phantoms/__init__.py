"""Synthetic lesion photographs with exact masks: made up, seeded, and never from a person."""

from __future__ import annotations

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Phantom": "lesioncore.phantoms.rendering",
        "make_phantom": "lesioncore.phantoms.rendering",
        "make_phantom_archive": "lesioncore.phantoms.archive",
    },
)
