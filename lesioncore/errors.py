"""Errors a person can act on: what was found, what was wanted, the command that mends it."""

from __future__ import annotations


class LesionError(Exception):
    """The work failed for a reason the user can see and mend (exit code 1).

    Parameters
    ----------
    found : str
        What was there, with names and numbers.
    wanted : str, optional
        What would have been right.
    mend : str, optional
        A command or an action that mends it.
    """

    exit_code = 1

    def __init__(self, found: str, *, wanted: str | None = None, mend: str | None = None) -> None:
        self.found = found
        self.wanted = wanted
        self.mend = mend
        lines = [found]
        if wanted:
            lines.append(f"  wanted: {wanted}")
        if mend:
            lines.append(f"  to mend: {mend}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        # Loader workers send errors by pickle; keyword arguments would be lost.
        return _rebuild, (type(self), self.found, self.wanted, self.mend)


class UsageError(LesionError):
    """The call itself was wrong: an unknown name, a bad flag (exit code 2)."""

    exit_code = 2


def _rebuild(
    kind: type[LesionError], found: str, wanted: str | None, mend: str | None
) -> LesionError:
    return kind(found, wanted=wanted, mend=mend)


def unknown_name(what: str, name: str, known: object) -> UsageError:
    """Return the error for a name that no registry knows, listing the known ones."""
    import difflib

    names = sorted(str(item) for item in known)  # type: ignore[attr-defined]
    close = difflib.get_close_matches(name, names, n=1)
    return UsageError(
        f"unknown {what} {name!r}",
        wanted=f"one of: {', '.join(names)}",
        mend=f"did you mean {close[0]!r}?" if close else None,
    )


def refuse_newer(what: str, version: object, known: int) -> None:
    """Raise a `LesionError` where a file's version is above the known one.

    Parameters
    ----------
    what : str
        Up to the version: "the crops in DIR have schema version".
    version : int
        The file's; what is no number is a ValueError.
    known : int
        The highest that this version of the tool reads.
    """
    if int(version) > known:  # type: ignore[call-overload]
        raise LesionError(
            f"{what} {version}",
            wanted=f"version {known} or older",
            mend="update lesion-pipeline",
        )
