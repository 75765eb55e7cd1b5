"""What a check says: a name to refer to, how bad it is, counts, examples, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning", "note", "ok"]
#: Worst first.
LEVELS: tuple[Level, ...] = ("error", "warning", "note", "ok")
#: Ids, pairs or groups that are named as examples; audit.json holds `MOST_LISTED`.
SHOWN, MOST_LISTED = 8, 1000


def counted(number: int, noun: str) -> str:
    """Return a number with what it counts: `1 image`, `1,204 images`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


@dataclass(frozen=True)
class Table:
    """Figures under a finding.

    Attributes
    ----------
    columns : sequence of str
    rows : sequence of sequences of str
        Cells as they are printed.
    marked : collection of int
        Rows that stand out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Finding:
    """One line of the audit.

    Attributes
    ----------
    name : str
        Of the kind, such as "patient-overlap".
    level : str
        "error": scores on these data cannot be believed, or people can be recognised; "warning":
        a person should look; "note": worth knowing; "ok": looked for and not there.
    found : str
        One sentence with numbers.
    about : str
        The column or the subgroup, where a kind is found several times.
    count, of : int
        How many images (or groups, as `found` says) of how many.
    examples : list of list of str
        Image ids, those that belong together in one list; at most `MOST_LISTED`.
    why : str
        What it does to scores.
    mend : str
        What to do about it.
    figures : dict
        Numbers for programs.
    table : Table, optional
        Numbers for people.
    pictured : bool
        Whether the page shows the examples as pictures. Never those of people.
    accepted : bool
        Named by `--allow`.
    """

    name: str
    level: Level
    found: str
    about: str = ""
    count: int = 0
    of: int = 0
    examples: Sequence[Sequence[str]] = ()
    why: str = ""
    mend: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    table: Table | None = None
    pictured: bool = False
    accepted: bool = False

    @property
    def key(self) -> str:
        """The name to give `--allow`: of the kind, with what it is about where that differs."""
        return f"{self.name}:{self.about}" if self.about else self.name

    @property
    def anchor(self) -> str:
        """The key as the name of a place on a page."""
        return "-".join(re.findall(r"[A-Za-z0-9]+", self.key)).lower()

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as it stands in audit.json."""
        plain = asdict(self) | {"key": self.key}
        plain["examples"] = [list(group) for group in self.examples[:MOST_LISTED]]
        for name in ("table", "pictured"):
            plain.pop(name)
        return {name: value for name, value in plain.items() if value not in ("", None, [], {}, ())}
