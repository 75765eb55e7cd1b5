"""From what follows `--weights` to a folder: a path, or the name of a shipped weight."""

from __future__ import annotations

from pathlib import Path

from lesioncore.errors import LesionError, unknown_name
from lesioncore.files import PathLike

SHIPPED = Path(__file__).parent / "shipped"


def shipped_names() -> tuple[str, ...]:
    """Return the names of the weights that ship in this package (none in a wheel of the code)."""
    return tuple(sorted(card.parent.name for card in SHIPPED.glob("*/card.json")))


def is_shipped(folder: PathLike) -> bool:
    """Return whether a folder is one of the weights that ship."""
    return Path(folder).resolve().parent == SHIPPED.resolve()


def resolve(name_or_path: PathLike | None, *, kind: str | None = None) -> Path:
    """Return the folder (or file) of a weight.

    Parameters
    ----------
    name_or_path : path, str or None
        An existing path wins over a shipped name; None means the shipped weight of that `kind`.
    kind : str, optional
        "segmenter" or "classifier", used where nothing was named.

    Raises
    ------
    UsageError
        Neither a path nor a shipped name; the shipped ones are listed.
    LesionError
        Nothing was named and no weight of that kind ships.
    """
    if name_or_path is not None:
        path = Path(name_or_path)
        if path.exists():
            return path
        known = shipped_names()
        if path.name != str(name_or_path) or not known:
            raise LesionError(
                f"no such weights: {name_or_path}",
                wanted="a run folder, a folder with weights.safetensors, or a shipped name"
                + (f" ({', '.join(known)})" if known else ""),
            )
        if str(name_or_path) not in known:
            raise unknown_name("weights", str(name_or_path), known)
        return SHIPPED / str(name_or_path)
    from weights.store import read_card

    for name in shipped_names():
        if kind is None or read_card(SHIPPED / name).kind == kind:
            return SHIPPED / name
    stage = "clsstage" if kind == "classifier" else "segstage"
    raise LesionError(
        f"no weights were given and no {kind or 'weight'} ships with this installation",
        wanted="--weights PATH",
        mend=f"{stage} train --dataset NAME --root DIR --out runs/{stage[:3]}",
    )
