"""In which order masks are looked at: what seems wrong first, and a random sample all the way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

#: Measured shape and colour in which a bad mask stands out.
_MEASURED = {
    "asymmetry": "asymmetry", "compactness": "outline", "solidity": "outline",
    "radial_variation": "outline", "border_contact": "contact with the picture's border",
    "delta_e": "contrast with the skin", "colour_variegation": "colours",
}  # fmt: skip
#: Distances from the median, in robust standard deviations, from which a figure is called unusual.
_UNUSUAL = 3.5


@dataclass(frozen=True)
class Turn:
    """One image's place in the queue.

    Attributes
    ----------
    image_id : str
    why : str
        Why it comes now, for the page.
    audit : bool
        It belongs to the random sample.
    wanted : int
        How many reviewers are to look at it.
    version : str
        Which mask is judged; see `pipelines.qa.round`.
    """

    image_id: str
    why: str
    audit: bool
    wanted: int
    version: str


def order_of_review(
    table: pd.DataFrame,
    measured: pd.DataFrame | None = None,
    *,
    audit: float = 0.0,
    overlap: float = 0.0,
    seed: int = 0,
) -> list[Turn]:
    """Return every mask of a cache in the order of review.

    Masks that failed or are empty come first. Then the reasons for doubt take turns: lowest quality
    (score, where no quality is known), highest disagreement between members, most unusual
    measurement. Masks that people drew before come last. The random sample is spread evenly over
    all of it, so that whoever stops early has looked at a fair part of it.

    Parameters
    ----------
    table : DataFrame
        Of `MaskCache.table()`, with a column `version`.
    measured : DataFrame, optional
        Of `lesioncore.cache.measured.read_measurements`; without it only the size is known.
    audit, overlap : float
        Parts of the images that are in the random sample, and that two reviewers get. Both go by
        a hash of the id: more images later leave the earlier draw as it is.
    seed : int
        Of both draws.
    """
    ids = table["image_id"].astype(str).tolist()
    doubt, why = _doubts(table, measured)
    drawn = np.array([_fraction(f"audit {seed} {name}") for name in ids])
    twice = np.array([_fraction(f"overlap {seed} {name}") for name in ids]) < overlap
    sample = drawn < audit
    order = [at for at in np.lexsort((np.array(ids), -doubt)) if not sample[at]]
    spread = _spread(order, sorted(np.flatnonzero(sample), key=lambda at: drawn[at]))
    versions = table["version"].tolist()
    return [
        Turn(
            image_id=ids[at],
            why="drawn at random" if sample[at] else why[at],
            audit=bool(sample[at]),
            wanted=2 if twice[at] else 1,
            version=versions[at],
        )
        for at in spread
    ]


def _doubts(
    table: pd.DataFrame, measured: pd.DataFrame | None
) -> tuple[NDArray[np.float64], list[str]]:
    """Return how doubtful each mask is, and the reason in words."""
    status = table["status"].to_numpy(object)
    plain = np.isin(status, ["ok"])
    quality = table["quality"].to_numpy(float)
    score = table["score"].to_numpy(float)
    known = np.isfinite(quality)
    unusual, words = _unusual(table, measured)
    apart = table["disagreement"].to_numpy(float)
    reasons = [
        (
            -np.where(known, quality, score),
            [
                f"low quality, {q:.2f}" if has else f"low score, {s:.2f}"
                for q, has, s in zip(quality, known, score, strict=True)
            ],
        ),
        (apart, [f"members disagree, {a:.2f}" for a in apart]),
        (unusual, words),
    ]
    ranks = np.stack([_percentile(np.where(plain, value, np.nan)) for value, _ in reasons])
    first = ranks.argmax(axis=0)
    doubt = ranks.max(axis=0)
    why = [reasons[which][1][at] for at, which in enumerate(first)]
    for at in np.flatnonzero(~plain):
        doubt[at] = {"failed": 3.0, "empty": 2.0}.get(status[at], -1.0)
        why[at] = {"failed": "no mask: failed", "empty": "no mask: empty"}.get(
            status[at], "edited by a person before"
        )
    return doubt, why


def _unusual(
    table: pd.DataFrame, measured: pd.DataFrame | None
) -> tuple[NDArray[np.float64], list[str]]:
    """Return how many robust standard deviations each mask's strangest figure is off."""
    pixels = table["height"].to_numpy(float) * table["width"].to_numpy(float)
    fraction = table["area"].to_numpy(float) / np.where(pixels > 0, pixels, np.nan)
    figures = {"size": [np.log(np.where(fraction > 0, fraction, np.nan))]}
    if measured is not None:
        rows = measured.set_index("image_id").reindex(table["image_id"])
        for name, word in _MEASURED.items():
            if name in rows:
                figures.setdefault(word, []).append(rows[name].to_numpy(float))
    words = [word for word, values in figures.items() for _ in values]
    off = np.stack([_deviation(value) for values in figures.values() for value in values])
    which = off.argmax(axis=0)
    most = off.max(axis=0)
    said = [
        f"unusual {words[at]}" if far >= _UNUSUAL else f"{words[at]} somewhat unusual"
        for at, far in zip(which, most, strict=True)
    ]
    return most, said


def _deviation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return |x - median| in units of 1.4826 MAD; 0 where a figure is missing or never varies."""
    if not np.isfinite(values).any():
        return np.zeros(len(values))
    far = np.abs(values - np.nanmedian(values))
    spread = 1.4826 * float(np.nanmedian(far))
    return np.nan_to_num(far / spread) if spread > 0 else np.zeros(len(values))


def _percentile(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value, 0 lowest to 1 highest, equal ones alike; 0 where missing."""
    from scipy.stats import rankdata

    known = np.isfinite(values)
    ranks = np.zeros(len(values))
    if known.sum() > 1:
        ranks[known] = (rankdata(values[known]) - 1) / (known.sum() - 1)
    # What never varies tells nothing: `members disagree` of one member, say.
    return ranks if len(np.unique(values[known])) > 1 else np.zeros(len(values))


def _spread(order: list[int], sample: list[int]) -> list[int]:
    """Return both lists as one, the sample evenly between the others."""
    total = len(order) + len(sample)
    places = {round((number + 0.5) * total / len(sample)) for number in range(len(sample))}
    rest, drawn = iter(order), iter(sample)
    merged = [next(drawn, None) if at in places else next(rest, None) for at in range(total)]
    return [at for at in (*merged, *rest, *drawn) if at is not None]


def _fraction(text: str) -> float:
    """Return a number in [0, 1) that the text decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
