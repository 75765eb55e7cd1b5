"""One change at a time to a short training of stage 1 -> docs/reference/benchmarks.md.

    python benchmarks/recipe.py --data DIR --out runs/recipe

`DIR` holds `isic2018_task1_512/` (else $LESION_DATA is taken). Scores are of the validation part;
the test list is not looked at, since presets are chosen by this. Runs that are there are skipped.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
from page import write_section

from lesioncore.metrics import bootstrap, mean, paired_bootstrap

BASE = ("--limit", "900", "--size", "128", "--epochs", "3", "--val-fraction", "0.3",
        "--select", "last")  # fmt: skip
CHANGES = {
    "base": (),
    "lr 0.0003": ("--lr", "0.0003"),
    "lr 0.003": ("--lr", "0.003"),
    "encoder at the full rate": ("--encoder-lr-factor", "1"),
    "no warm-up": ("--warmup-epochs", "0"),
    "augment light": ("--augment", "light"),
    "augment strong": ("--augment", "strong"),
    "loss lovasz+bce": ("--loss", "lovasz+bce"),
    "loss focal_tversky+bce": ("--loss", "focal_tversky+bce"),
    "loss dice+bce+0.1*boundary": ("--loss", "dice+bce+0.1*boundary"),
    "ema 0.99": ("--ema", "0.99"),
    "multi-scale 0.25": ("--multi-scale", "0.25"),
    "size 192": ("--size", "192"),
}


def run_of(name: str, out: Path) -> Path:
    """Return the run folder of a change."""
    return out / "".join(c if c.isalnum() or c in ".+-" else "-" for c in name)


def train(name: str, data: Path, out: Path) -> None:
    """Train with one change; a finished run is left alone."""
    run = run_of(name, out)
    if (run / "metrics.json").is_file():
        return
    code = "import sys; from segstage.commands import main; sys.exit(main())"
    words = ["train", "--dataset", "isic-task1", "--root", str(data / "isic2018_task1_512"),
             "--out", str(run), *BASE, *CHANGES[name]]  # fmt: skip
    subprocess.run([sys.executable, "-c", code, *words], check=True)


def scores_of(name: str, out: Path) -> pd.DataFrame:
    """Return the validation scores of a run, in the order of the ids."""
    table = pd.read_csv(run_of(name, out) / "oof.csv", dtype={"image_id": str, "group": str})
    return table.sort_values("image_id", ignore_index=True)


def section(names: list[str], out: Path) -> str:
    """Return the part of the page that this script owns."""
    base = scores_of("base", out)
    lines = [
        f"Measured {datetime.date.today().isoformat()}, seed 0, by `python benchmarks/recipe.py`: "
        f"`unet` on 900 images of `isic-task1`, 128 px, 3 epochs, one change at a time, scored on "
        f"{len(base)} validation images (last epoch). One seed: a difference of less than about "
        "0.01 may be noise.",
        "",
        "| change | Jaccard | difference to base |",
        "| --- | --- | --- |",
    ]
    for name in names:
        table = scores_of(name, out)
        found = bootstrap(mean, table["jaccard"], groups=table["group"])
        gap = paired_bootstrap(
            lambda _y, values, weights=None: mean(values, weights=weights),
            base["jaccard"], table["jaccard"], base["jaccard"], base["group"],
        )  # fmt: skip
        apart = "" if name == "base" else f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
        lines.append(f"| {name} | {found.value:.4f} | {apart} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("LESION_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/recipe"))
    parser.add_argument("--only", nargs="+", choices=CHANGES, help="train some of them")
    parser.add_argument("--only-page", action="store_true", help="write the page from results")
    given = parser.parse_args()
    if not given.only_page:
        if given.data is None:
            parser.error("say where the archives are: --data DIR, or set LESION_DATA")
        for name in given.only or CHANGES:
            train(name, Path(given.data), given.out)
    there = [name for name in CHANGES if (run_of(name, given.out) / "metrics.json").is_file()]
    text = section(there, given.out)
    print(text)
    write_section("recipe", text)


if __name__ == "__main__":
    main()
