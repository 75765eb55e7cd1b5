"""Optional libraries, asked for before the work begins."""

from __future__ import annotations

from importlib.util import find_spec

from lesioncore.errors import LesionError


def require(extra: str, *modules: str) -> None:
    """Refuse to go on without the modules of an extra, none of which is imported here.

    Raises
    ------
    LesionError
        Naming the first one that is not installed, and what installs it.
    """
    for module in modules:
        if find_spec(module) is None:
            raise LesionError(
                f"the package {module} is not installed",
                wanted=f"the extra `{extra}`",
                mend=f"pip install 'lesion-pipeline[{extra}]'",
            )
