"""What a check of the audit is, and the registry that finds each by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from lesioncore.errors import UsageError
from lesioncore.registry import Registry

if TYPE_CHECKING:
    from pipelines.audit.data import AuditData
    from pipelines.audit.finding import Finding


class Check:
    """Looks for one kind of fault."""

    #: Set by `register`; what `--only` and `--skip` take.
    name: ClassVar[str] = ""
    #: Heading on the page.
    title: ClassVar[str] = ""
    #: Place on the page, low first.
    place: ClassVar[int] = 0

    def findings(self, data: AuditData) -> Iterator[Finding]:
        """Yield what was found; where nothing was, one finding of level "ok" or "note"."""
        raise NotImplementedError


_CHECKS: Registry[Check] = Registry("check", "pipelines.audit.checks")
register = _CHECKS.register
check_names = _CHECKS.names


def chosen_checks(only: Sequence[str] = (), skip: Sequence[str] = ()) -> list[Check]:
    """Return the checks that are wanted, in the order of the page.

    Raises
    ------
    UsageError
        A name that no check has, or nothing left.
    """
    for name in (*only, *skip):
        _CHECKS[name]
    names = [name for name in (only or check_names()) if name not in skip]
    if not names:
        raise UsageError("no check is left", wanted=f"some of: {', '.join(check_names())}")
    return sorted((_CHECKS[name]() for name in set(names)), key=lambda check: check.place)
