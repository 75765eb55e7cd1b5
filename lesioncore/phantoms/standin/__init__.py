"""A stand-in of full size for ISIC 2024: synthetic tiles in its layout, for benchmarks only."""

from __future__ import annotations

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "COLUMNS": "lesioncore.phantoms.standin.table",
        "PREVALENCE": "lesioncore.phantoms.standin.plan",
        "Plan": "lesioncore.phantoms.standin.plan",
        "make_stand_in": "lesioncore.phantoms.standin.archive",
    },
)
