"""What is said of one image, as a row that a classifier's members can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from clsstage.metadata import MetadataEncoder
from lesioncore.errors import LesionError


class ReadsMetadata(Protocol):
    """Anything with a fitted encoder, such as a `clsstage.members.Member`."""

    @property
    def encoder(self) -> MetadataEncoder:
        """How it reads metadata."""
        ...


def metadata_row(
    members: Sequence[ReadsMetadata],
    *,
    age: float | None = None,
    sex: str | None = None,
    site: str | None = None,
    **measurements: float | str | None,
) -> dict[str, Any]:
    """Return age, sex, site and measurements in the words of a manifest.

    Raises
    ------
    LesionError
        A measurement that no member uses, what is no number, or an age that nobody has.
    """
    from lesioncore.sites import harmonise_sex, harmonise_site

    columns = known_columns(members)
    unknown = [name for name in measurements if name not in columns]
    if unknown:
        raise LesionError(
            f"the classifier does not use {', '.join(unknown)}",
            wanted=f"some of: {', '.join(columns) or 'no metadata at all'}",
        )
    row: dict[str, Any] = {"age": age, "sex": None, "site": None, **measurements}
    row |= {"sex": harmonise_sex(sex), "site": harmonise_site(site)}
    for name in columns:
        numeric = any(member.encoder.is_number(name) for member in members)
        if numeric and not is_missing(row.get(name)):
            _check_number(name, row.get(name))
    return row


def known_columns(members: Sequence[ReadsMetadata]) -> tuple[str, ...]:
    """Return the metadata that any of the members uses, in their order."""
    return tuple(dict.fromkeys(name for member in members for name in member.encoder.columns))


def is_missing(value: Any) -> bool:
    """Return whether a value is None or NaN."""
    return value is None or value != value


def _check_number(name: str, value: Any) -> None:
    """Refuse what would silently count as missing, or as an age that nobody has."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise LesionError(f"{name} is {value!r}", wanted="a number") from None
    if name == "age" and not 0 <= number <= 130:
        raise LesionError(f"age is {number:g}", wanted="years, 0 to 130")
