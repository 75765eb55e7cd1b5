"""`lesion qa` and `lesion qa export`: the way in, which looks for the libraries first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lesioncore.extras import require

if TYPE_CHECKING:
    from pipelines.qa.config import QaConfig, QaExportConfig


def review(config: QaConfig) -> int:
    """Serve the pages, see `pipelines.qa.serve.serve`."""
    require("serve", "fastapi", "uvicorn", "python_multipart", "sqlalchemy")
    from pipelines.qa.serve import serve

    return serve(config)


def export(config: QaExportConfig) -> int:
    """Write what was decided, see `pipelines.qa.export.export`."""
    require("serve", "sqlalchemy")
    from pipelines.qa.export import export

    return export(config)
