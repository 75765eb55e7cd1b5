"""How well quality and score tell Dice: `python benchmarks/mask_quality.py SCORES/images.csv`.

Reads what `segstage evaluate` writes, on images that neither the segmenter nor its quality model
saw (the committed test list), and prints rank correlations with intervals, quintiles, and what the
limit of stage 2 would catch.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from segstage.quality import LOW_QUALITY
from segstage.quality_fit import rank_correlation

DRAWS = 1000


def main(path: str) -> None:
    """Print the table of one `images.csv`."""
    rows = pd.read_csv(path, dtype={"image_id": str, "group": str}).dropna(subset=["dice"])
    if rows["quality"].isna().all():
        raise SystemExit("no quality in this table: the run has no quality.json")
    rows = rows.dropna(subset=["quality"])
    dice, groups = rows["dice"].to_numpy(), rows["group"].to_numpy()
    print(
        f"{len(rows)} images, mean Dice {dice.mean():.3f}, mean quality {rows.quality.mean():.3f}"
    )
    for name in ("quality", "score"):
        found = rank_correlation(rows[name].to_numpy(), dice, groups)
        error = np.abs(rows[name] - dice).mean()
        print(
            f"| {name} | {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f}) "
            f"| {error:.3f} |"
        )
    low, high = difference(rows, groups)
    print(f"quality minus score: {low:+.3f} to {high:+.3f}")
    for part in np.array_split(np.argsort(rows["quality"].to_numpy(), kind="stable"), 5):
        print(f"| {rows['quality'].iloc[part].mean():.3f} | {dice[part].mean():.3f} |")
    poor = rows[rows["quality"] < LOW_QUALITY]
    print(f"quality under {LOW_QUALITY}: {len(poor)}, mean Dice {poor['dice'].mean():.3f}")


def difference(rows: pd.DataFrame, groups: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the paired difference of the two rank correlations."""
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        chosen = np.concatenate([members[n] for n in rng.integers(0, len(members), len(members))])
        ranks = rows[["quality", "score", "dice"]].iloc[chosen].rank().corr()
        drawn.append(ranks.loc["quality", "dice"] - ranks.loc["score", "dice"])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main(sys.argv[1])
