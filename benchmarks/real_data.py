"""Both stages on real archives, by the commands of the README -> docs/reference/benchmarks.md.

    python benchmarks/real_data.py --data DIR --out runs/benchmark

`DIR` holds `ham10000_200x150/` and `isic2018_task1_512/` (else $LESION_DATA is taken). Steps whose
results are there are skipped, so a killed benchmark goes on.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from page import write_section

from lesioncore.metrics import score_table


def command(program: str, *words: object) -> None:
    """Run a command of the project; its lines go to the terminal."""
    module = {"lesion": "pipelines", "segstage": "segstage"}[program]
    code = f"import sys; from {module}.commands import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code, *map(str, words)], check=True)


def run_all(data: Path, out: Path) -> None:
    """Give the commands; each of them skips what is done."""
    ham, task1 = data / "ham10000_200x150", data / "isic2018_task1_512"
    command(
        "lesion", "run", "--dataset", "ham10000", "--root", ham, "--preset", "cpu",
        "--out", out / "ham",
    )  # fmt: skip
    source = ("--dataset", "isic-task1", "--root", task1)
    command("segstage", "train", *source, "--out", out / "task1")
    if not (out / "task1_test" / "scores.json").is_file():
        command(
            "segstage", "evaluate", *source, "--weights", out / "task1", "--out",
            out / "task1_test",
        )  # fmt: skip


def minutes(folder: Path) -> float:
    """Return the minutes that a training took, by the seconds of its epochs."""
    total = 0.0
    for table in sorted(folder.glob("member-*/metrics.csv")):
        head, *body = (line.split(",") for line in table.read_text().splitlines())
        total += sum(float(line[head.index("seconds")]) for line in body)
    return total / 60


def section(out: Path) -> str:
    """Return the part of the page that this script owns."""
    ham = json.loads((out / "ham" / "evaluation" / "scores.json").read_text())
    task1 = json.loads((out / "task1_test" / "scores.json").read_text())
    steps = sorted(
        (json.loads(path.read_text()) for path in (out / "ham" / "steps").glob("*.json")),
        key=lambda step: step["number"],
    )
    took = ", ".join(f"{step['name']} {step['seconds'] / 60:.1f}" for step in steps)
    total = sum(step["seconds"] for step in steps) / 60
    today = datetime.date.today().isoformat()
    return "\n".join(
        [
            f"Measured {today} on {os.cpu_count()} cores ({platform.machine()}, no GPU), seed 0, "
            "by `python benchmarks/real_data.py`. Test lists are the committed ones; intervals are "
            "95% bootstrap intervals by lesion group.",
            "",
            "### HAM10000 (200 x 150 px), both stages, `lesion run --preset cpu`",
            "",
            f"{ham['n_masks']} test images for masks; {ham['n']} with a label, {ham['positives']} "
            f"malignant by `{ham['policy']}`.",
            "",
            *score_table(ham),
            "",
            f"Minutes: {total:.0f} in all ({took}).",
            "",
            "### ISIC 2018 task 1 (512 x 512 px), `segstage train` with its defaults",
            "",
            f"{task1['n']} test images.",
            "",
            *score_table(task1),
            "",
            f"Minutes of training: {minutes(out / 'task1'):.0f}.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("LESION_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--only-page", action="store_true", help="write the page from results")
    given = parser.parse_args()
    if not given.only_page:
        if given.data is None:
            parser.error("say where the archives are: --data DIR, or set LESION_DATA")
        run_all(given.data, given.out)
    text = section(given.out)
    print(text)
    write_section("real_data", text)


if __name__ == "__main__":
    main()
