"""What benchmarks of stage 2 share: giving commands, labels of HAM10000, scores by lesion."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesioncore.metrics import average_precision, paired_bootstrap, partial_auc, roc_auc

METRICS = {"AUC": roc_auc, "pAUC": partial_auc, "average precision": average_precision}


def arguments(about: str, out: str) -> argparse.Namespace:
    """Return the flags of a benchmark of many trainings, `data` checked where it is needed."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("LESION_DATA"))
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once, one thread each")
    parser.add_argument("--only-page", action="store_true", help="write the page from results")
    parser.add_argument("--again", action="store_true", help="train what is kept already anew")
    given = parser.parse_args()
    if given.data is None and not given.only_page:
        parser.error("say where the archives are: --data DIR, or set LESION_DATA")
    return given


def give(program: str, *words: object) -> None:
    """Give a command of the project, with one thread."""
    module = {"lesion": "pipelines"}.get(program, program)
    code = f"import sys; from {module}.commands import main; sys.exit(main())"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        check=True, env=environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def ham_of(data: Path) -> tuple[str, ...]:
    """Return the flags that name HAM10000 in the folder of all archives."""
    return ("--dataset", "ham10000", "--root", str(data / "ham10000_200x150"))


def make_masks(ham: Sequence[str], out: Path) -> None:
    """Train two segmenters on a half each and cache out-of-fold masks; import the true ones."""
    give("segstage", "train", *ham, "--preset", "cpu", "--out", out / "segmenter")
    give("segstage", "cache", *ham, "--weights", out / "segmenter", "--out", out / "predicted")
    give("segstage", "import-masks", *ham, "--out", out / "true")


def write_truth(ham: Sequence[str], out: Path) -> None:
    """Keep the labels of the archive under its own policy, with the lesion of each image."""
    from lesioncore.config import DataOptions
    from lesioncore.diagnoses import labels
    from lesioncore.readers import load_manifest, policy_of
    from lesioncore.splits import assign_groups

    manifest = load_manifest(DataOptions(dataset="ham10000", root=Path(ham[3])))
    table = pd.DataFrame(
        {
            "image_id": manifest["image_id"],
            "target": labels(manifest, policy_of("ham10000", "auto")),
            "group": assign_groups(manifest).to_numpy(),
        }
    )
    out.mkdir(parents=True, exist_ok=True)
    table.dropna().to_csv(out / "truth.csv", index=False)


def scored(predictions: Path, out: Path) -> pd.DataFrame:
    """Return a table of predictions with `target` and `group`, sorted by id."""
    truth = pd.read_csv(out / "truth.csv", dtype={"image_id": str})
    table = pd.read_csv(predictions, dtype={"image_id": str})
    return table.merge(truth, on="image_id").sort_values("image_id", ignore_index=True)


class KeptPredictions:
    """Predictions of the test list, kept beside the scripts so that arms can be measured apart.

    Parameters
    ----------
    script : str
        Name of the benchmark; its file is ``benchmarks/<script>.json``.
    again : bool
        Forget what is kept.
    """

    def __init__(self, script: str, *, again: bool = False) -> None:
        self.path = Path(__file__).with_name(f"{script}.json")
        self.lock = threading.Lock()
        known = self.path.is_file() and not again
        self.values: dict[str, Any] = json.loads(self.path.read_text()) if known else {"runs": {}}

    def __contains__(self, name: str) -> bool:
        return name in self.values["runs"]

    def keep(self, name: str, table: pd.DataFrame) -> None:
        """Keep a scored table (see `scored`) under a name, probabilities to four digits."""
        with self.lock:
            rows = {
                "image_id": table["image_id"].tolist(),
                "target": table["target"].astype(int).tolist(),
                "group": pd.factorize(table["group"])[0].tolist(),
            }
            if self.values.setdefault("rows", rows) != rows:
                raise SystemExit(f"{self.path} is of other rows: give --again")
            chances = [round(float(value), 4) for value in table["malignant"]]
            today = datetime.date.today().isoformat()
            self.values["runs"][name] = {"measured": today, "malignant": chances}
            self.path.write_text(json.dumps(self.values, separators=(",", ":")) + "\n")

    def table(self, name: str) -> pd.DataFrame:
        """Return `image_id, target, group, malignant` of a kept name."""
        return pd.DataFrame(
            self.values["rows"] | {"malignant": self.values["runs"][name]["malignant"]}
        )


def over_seeds(metric: Any) -> Any:
    """Return the metric of (n, seeds) scores: the mean over seeds."""

    def found(y: Any, scores: Any, weights: Any = None) -> Any:
        return np.mean([metric(y, one, weights=weights) for one in np.asarray(scores).T], axis=0)

    return found


def compared(ours: Sequence[pd.DataFrame], others: Sequence[pd.DataFrame]) -> list[str]:
    """Return a line a metric: mean over seeds of two arms, each seed, and the paired difference."""
    count = min(len(ours), len(others))
    y, lesion = ours[0]["target"], ours[0]["group"]
    columns = [
        np.stack([table["malignant"] for table in tables[:count]], 1) for tables in (ours, others)
    ]
    lines = []
    for name, metric in METRICS.items():
        each = [[float(metric(y, one)) for one in scores.T] for scores in columns]
        gap = paired_bootstrap(over_seeds(metric), y, *columns, lesion)
        shown = [", ".join(f"{value:.3f}" for value in values) for values in each]
        lines.append(
            f"- {name}: {np.mean(each[0]):.3f} ({shown[0]}) against {np.mean(each[1]):.3f} "
            f"({shown[1]}); difference {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
        )
    return lines
