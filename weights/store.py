"""Weights on disk: ``weights.safetensors`` beside ``card.json``. Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.errors import LesionError
from lesioncore.files import (
    PathLike,
    atomic_path,
    read_json,
    sha256_file,
    write_json,
)
from weights.card import WeightCard

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "weights.safetensors"
CARD = "card.json"


def save_weights(folder: PathLike, state_dict: dict[str, Tensor], card: WeightCard) -> WeightCard:
    """Write ``weights.safetensors`` and ``card.json``; return the card with its sha256 filled in.

    Parameters
    ----------
    folder : path
        Made when missing; earlier weights in it are replaced.
    state_dict : dict of str to Tensor
        Parameters and buffers; kept in their dtype, on the CPU, contiguous.
    card : WeightCard
        Its `sha256`, `created` and `tool_version` are filled in here.
    """
    from safetensors.torch import save_file

    from lesioncore.runs import now, tool_version

    home = Path(folder)
    # Copies, because safetensors refuses tensors that share memory or lie channels-last.
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in state_dict.items()}
    with atomic_path(home / FILE) as temporary:
        # One entry only: safetensors writes several in a random order, and equal weights must be
        # equal bytes, since the hash of the file is part of every fingerprint.
        save_file(plain, str(temporary), metadata={"kind": card.kind})
        # Safetensors lets nobody else read its files; a group shares weights.
        Path(temporary).chmod(0o644)
    full = dataclasses.replace(
        card,
        sha256=sha256_file(home / FILE),
        created=card.created or now(),
        tool_version=tool_version(),
    )
    # The card last: a folder with a card is a finished weight.
    write_json(home / CARD, full.to_dict())
    return full


def rewrite_card(folder: PathLike, card: WeightCard) -> None:
    """Replace the card of a weight whose tensors stay (to add its scores, say)."""
    write_json(Path(folder) / CARD, card.to_dict())


def read_card(path: PathLike) -> WeightCard:
    """Return the card in a folder, or beside a ``.safetensors`` file."""
    _, card = _locate(Path(path))
    return WeightCard.from_dict(read_json(card), card)


def load_weights(
    path: PathLike, *, kind: str | None = None
) -> tuple[dict[str, Tensor], WeightCard]:
    """Return the tensors (on the CPU) and the card of a weight.

    Parameters
    ----------
    path : path
        Folder with ``weights.safetensors`` and ``card.json``, or the file itself.
    kind : str, optional
        "segmenter" or "classifier": refuse any other.

    Raises
    ------
    LesionError
        No weights there, another kind, no card, or a file that is not the one the card speaks of.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file, card_path = _locate(Path(path))
    card = WeightCard.from_dict(read_json(card_path), card_path)
    if kind is not None and card.kind != kind:
        raise LesionError(
            f"wrong weights: {path} holds a {card.kind}",
            wanted=f"the weights of a {kind}",
            mend="give --weights the run folder of the other stage",
        )
    digest = sha256_file(file)
    if card.sha256 and digest != card.sha256:
        raise LesionError(
            f"wrong weights: {file} has sha256 {digest[:12]}..., its card says "
            f"{card.sha256[:12]}...",
            wanted="the file that the card was written for",
            mend="copy weights.safetensors and card.json together again, or train anew",
        )
    try:
        return load_file(str(file)), card
    except (SafetensorError, OSError) as error:
        raise LesionError(
            f"wrong weights: cannot read {file}: {error}", wanted="a safetensors file"
        ) from error


def fill_network(network: nn.Module, state: dict[str, Tensor], path: PathLike) -> None:
    """Load the tensors of the weight in `path` into the network that its card describes.

    Raises
    ------
    LesionError
        They do not fit.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise LesionError(
            f"wrong weights: {path} does not fit its card: {str(error).splitlines()[0]}",
            wanted="the weights and card of one training",
        ) from error


def _locate(path: Path) -> tuple[Path, Path]:
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise LesionError(
            f"no weights in {path}",
            wanted=f"a folder with {FILE} and {CARD}",
            mend="give --weights a run folder made by `segstage train` or `clsstage train`",
        )
    card = file.with_name(CARD)
    if not card.is_file():
        raise LesionError(
            f"wrong weights: no {CARD} beside {file}",
            wanted="the card that says how to rebuild the network",
        )
    return file, card
