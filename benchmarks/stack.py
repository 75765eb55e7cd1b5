"""Metadata alone, image score alone, and the stack of both, on real rows of ISIC 2024.

    python benchmarks/stack.py --data DIR --out runs/benchmark-stack

`DIR` holds `isic2024_slice3d_sample/` (else $LESION_DATA is taken): rows of the official table, and
out-of-fold scores of an image network by a third party (`384_v2b1_5k.csv`). Every patient is held
out once, so the committed test list takes part: nothing was chosen by these scores, which are
nested (rounds and settings come from inner folds). A second part joins the four models of
`third_party_predictions_4models.csv`. What is there already is not made again. The result is
written to docs/reference/benchmarks.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from malignancy import give
from page import write_section

from lesioncore.metrics import bootstrap, paired_bootstrap, partial_auc, roc_auc
from lesioncore.splits import read_split

SAMPLE = "isic2024_slice3d_sample"
SCORES, MODELS = "384_v2b1_5k.csv", "third_party_predictions_4models.csv"
METRICS = {"AUC": roc_auc, "pAUC": partial_auc}
_SIZE = "clin_size_long_diam_mm"
#: Size (mm) at which benign lesions set in.
FLOOR = 2.5
ARMS = ("metadata", "image", "stack")


def run_all(root: Path, out: Path) -> None:
    """Give the commands."""
    # Two rows of the table have no score; all arms leave them out.
    common = (
        "stack", "train", "--dataset", "isic2024", "--root", root, "--split", "train",
        "--test-list", "none", "--scores", root / SCORES, "--max-failed", 2, "--workers", 1,
    )  # fmt: skip
    arms = {"stack": (), "metadata": ("--without", "scores", "--start", "rate")}
    arms |= {
        "stack_without_patient": ("--without", "patient", "outlier", "--algorithms", "lightgbm")
    }
    for name, words in arms.items():
        if not finished(out / name):
            begin = os.times()
            give("lesion", *common, *words, "--out", out / name)
            spent = os.times()
            seconds = spent.children_user - begin.children_user
            (out / name / "processor-seconds").write_text(f"{seconds:.0f}\n")
    columns = [name for name in pd.read_csv(root / MODELS, nrows=1) if name.startswith("prob_")]
    members = [f"{root / MODELS}::{name}" for name in columns]
    for method in ("rank", "mean", "logit", "weights"):
        table = out / "ensembles" / f"{method}.csv"
        if not table.with_suffix(".json").is_file():
            give("lesion", "ensemble", "--members", *members, "--method", method, "--out", table)


def finished(run: Path) -> bool:
    """Whether a run is complete."""
    path = run / "run.json"
    return path.is_file() and bool(json.loads(path.read_text())["complete"])


def arms_of(root: Path, out: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Return labels and the scores of the arms for the same rows, and their patients."""
    table = pd.read_csv(out / "stack" / "oof.csv", dtype={"image_id": str})
    table = table.rename(columns={"malignant": "stack"}).set_index("image_id")
    for name in ("metadata", "stack_without_patient"):
        other = pd.read_csv(out / name / "oof.csv", dtype={"image_id": str})
        table[name] = other.set_index("image_id")["malignant"]
    scores = pd.read_csv(root / SCORES, dtype={"isic_id": str}).set_index("isic_id")
    table["image"] = scores["oof_prediction"]
    if table[[*ARMS]].isna().any(axis=None):
        raise SystemExit("the arms do not score the same rows: remove --out and run again")
    groups = read_split(out / "stack" / "split.csv").set_index("image_id")["group"]
    return table, groups.reindex(table.index).to_numpy()


def section(root: Path, out: Path) -> str:
    """Return the part of the page that this script owns."""
    table, groups = arms_of(root, out)
    y = table["target"]
    spent = sum(int((out / arm / "processor-seconds").read_text()) for arm in ("stack", "metadata"))
    lines = [
        f"Measured {datetime.date.today().isoformat()} ({platform.machine()}), seed 0, by "
        f"`python benchmarks/stack.py`: {len(table):,} rows of ISIC 2024, {int(y.sum())} "
        f"malignant, {len(set(groups))} patients, benign lesions thinned to about one in 87. Five "
        "folds by patient; rounds and settings from inner folds; 95% intervals by patient. The "
        "image score is a third party's, out-of-fold as well. The trainings of stack and metadata "
        f"took {spent / 60:.1f} minutes of one core.",
        "",
        "| scored by | AUC | pAUC above 80% TPR (best 0.2) |",
        "| --- | --- | --- |",
    ]
    names = {"metadata": "metadata alone", "image": "image score alone", "stack": "the stack"}
    for arm in ARMS:
        lines.append(f"| {names[arm]} | {' | '.join(_interval(y, table[arm], groups))} |")
    lines += ["", "Differences, over the same resamples:", ""]
    for minuend, other in (("stack", "image"), ("stack", "metadata"), ("image", "metadata")):
        gaps = _gaps(y, table[minuend], table[other], groups)
        lines.append(f"- {names[minuend]} - {names[other]}: {gaps}")
    record = json.loads((out / "stack" / "metrics.json").read_text())
    by_fold = [_by_fold(table, arm) for arm in ("stack", "image")]
    alone = {name: one for name, one in record["alone"].items() if name != _START}
    parts = ", ".join(f"{name} {one['pauc']['value']:.4f}" for name, one in alone.items())
    importance = pd.read_csv(out / "stack" / "importance.csv")
    families = importance.groupby("family")["share"].sum().sort_values(ascending=False)
    without = _gaps(y, pd.read_csv(out / "stack" / "oof.csv").set_index("image_id")["lightgbm"]
                    .reindex(table.index), table["stack_without_patient"], groups)  # fmt: skip
    counts = pd.Series(groups).map(pd.Series(groups).value_counts()).to_numpy()
    few = max(roc_auc(y, counts), roc_auc(y, -counts))
    lines += [
        "",
        f"- pAUC of each fold: the stack {by_fold[0]}; the image score {by_fold[1]}.",
        f"- pAUC of each algorithm of the stack: {parts}.",
        f"- What moves the log-odds: {', '.join(f'{n} {s:.0%}' for n, s in families.items())}.",
        f"- LightGBM with patient-relative features minus without them: {without}. A patient has "
        f"{len(table) / len(set(groups)):.1f} lesions here, against 385 in the archive: there is "
        "little to compare with.",
        *floor_lines(root, table, groups),
        f"- How many lesions a patient has in this sample (which follows the thinning, and is no "
        f"feature) has an AUC of {few:.3f} by itself.",
        "",
        *ensemble_lines(root, out),
    ]
    return "\n".join(lines)


_START = "the image scores alone"


def floor_lines(root: Path, table: pd.DataFrame, groups: np.ndarray) -> list[str]:
    """Return what is left of the stack's gain where a lesion's size does not give it away.

    Benign lesions set in sharply at 2.5 mm, malignant ones do not: it looks as if whole-body
    photography reports lesions from there on, and biopsied ones were added whatever their size.
    """
    official = pd.read_csv(root / "train-metadata.csv", usecols=["isic_id", _SIZE])
    size = official.set_index("isic_id")[_SIZE].reindex(table.index).to_numpy()
    small = size < FLOOR
    rows, y = table[~small], table["target"]
    gaps = _gaps(rows["target"], rows["stack"], rows["image"], groups[~small])
    return [
        f"- **Size gives some lesions away.** Below {FLOOR} mm lie {int(y[small].sum())} malignant "
        f"and {int((y[small] == 0).sum())} benign lesions, as if the cameras reported lesions from "
        "there on and smaller ones had been added because they were biopsied. On the "
        f"{len(rows):,} lesions from {FLOOR} mm on ({int(rows['target'].sum())} malignant), the "
        f"stack - image score alone is {gaps}.",
    ]


def ensemble_lines(root: Path, out: Path) -> list[str]:
    """Return the table of ensembles of the four third-party models."""
    records = {
        path.stem: json.loads(path.read_text())
        for path in sorted((out / "ensembles").glob("*.json"))
    }
    first = next(iter(records.values()))
    lines = [
        f"`lesion ensemble` on `{MODELS}`: {first['labelled']:,} rows, {first['positives']} "
        "malignant, patients unknown; weights are nested.",
        "",
        "| method | AUC | pAUC |",
        "| --- | --- | --- |",
    ]
    for one in first["scores"]["members"]:
        lines.append(f"| {one['name']} alone | {_said(one['auc'])} | {_said(one['pauc'])} |")
    for method, record in records.items():
        whole = record["scores"]["ensemble"]
        lines.append(f"| `{method}` | {_said(whole['auc'])} | {_said(whole['pauc'])} |")
    return lines


def _interval(y: Sequence[float], scores: Sequence[float], groups: np.ndarray) -> list[str]:
    return [str(bootstrap(metric, y, scores, groups=groups)) for metric in METRICS.values()]


def _gaps(y: Any, a: Any, b: Any, groups: np.ndarray) -> str:
    found = []
    for name, metric in METRICS.items():
        gap = paired_bootstrap(metric, y, a, b, groups)
        found.append(f"{name} {gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]")
    return ", ".join(found)


def _by_fold(table: pd.DataFrame, arm: str) -> str:
    found = [partial_auc(rows["target"], rows[arm]) for _, rows in table.groupby("fold")]
    return f"{np.mean(found):.4f} ± {np.std(found, ddof=1):.4f}"


def _said(score: dict[str, Any]) -> str:
    return f"{score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("LESION_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-stack"))
    parser.add_argument("--only-page", action="store_true", help="write the page from results")
    parser.add_argument("--dry-run", action="store_true", help="leave the page alone")
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the archives are: --data DIR, or set LESION_DATA")
    root = Path(given.data).absolute() / SAMPLE
    begin = time.perf_counter()
    if not given.only_page:
        run_all(root, given.out.absolute())
    text = section(root, given.out.absolute())
    print(text)
    print(f"\n{time.perf_counter() - begin:.0f} s by the clock")
    if not given.dry_run:
        write_section("stack", text)


if __name__ == "__main__":
    main()
