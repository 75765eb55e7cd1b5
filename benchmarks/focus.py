"""What the mask buys: every focus, with and without metadata, on HAM10000 -> the benchmarks page.

    python benchmarks/focus.py --data DIR --out runs/focus --jobs 2

`DIR` holds `ham10000_200x150/` (else $LESION_DATA is taken). Masks of training images are
out-of-fold: two members segment each other's half. All arms learn from the same images, on the same
split, with the same seeds; they are scored on the committed test list, and differences are paired
by lesion. Arms kept in `focus.json` are skipped, so that it can be measured in parts (`--again`
measures all anew); `--jobs` arms train at once, one thread each.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from malignancy import (
    METRICS,
    KeptPredictions,
    arguments,
    compared,
    give,
    ham_of,
    make_masks,
    scored,
    write_truth,
)
from page import PAGE, write_section

from lesioncore.metrics import bootstrap, paired_bootstrap, roc_auc

DOCS = PAGE.parent.parent / "pictures" / "focus.png"
ALIKE = (
    "--size", "128", "--epochs", "5", "--batch-size", "32", "--lr", "0.0006",
    "--warmup-epochs", "0", "--target", "diagnosis-9", "--val-fraction", "0.1", "--select", "last",
    "--split-seed", "0", "--workers", "0", "--min-quality", "0",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to use the mask.

    Attributes
    ----------
    name : str
        As the table shows it.
    flags : tuple of str
        Of `clsstage train`.
    control : bool
        It is there to show what should not help.
    """

    name: str
    flags: tuple[str, ...]
    control: bool = False


PLAIN = ("--focus", "full")


def focused(focus: str, *, control: bool = False) -> Arm:
    """Return the arm of a focus."""
    return Arm(focus, ("--focus", focus), control)


ARMS = (
    focused("full"),
    focused("crop"),
    focused("dilated_crop"),
    focused("soft_background"),
    focused("dilated_crop+soft_background"),
    focused("dilated_crop+hard_background"),
    focused("dilated_crop+mask_channel"),
    Arm("full, aux_mask", ("--focus", "full", "--aux-mask", "0.4")),
    Arm("full, mask_pool", ("--focus", "full", "--mask-pool", "true")),
    Arm(
        "dilated_crop, aux_mask, mask_pool",
        ("--focus", "dilated_crop", "--aux-mask", "0.4", "--mask-pool", "true"),
    ),
    focused("lesion_only", control=True),
    focused("background_only", control=True),
)
#: The arms that are trained on true masks too, to tell the use of a mask from its errors.
TRUE = ("crop", "dilated_crop", "dilated_crop+soft_background", "dilated_crop+hard_background")
#: The two arms whose difference is the headline, over all seeds.
BASE, BEST = ("full", "none"), ("dilated_crop, aux_mask, mask_pool", "auto")


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: an arm, its metadata, its masks and its seed."""

    arm: Arm
    metadata: str
    masks: str
    seed: int

    @property
    def folder(self) -> str:
        """Name of its run."""
        word = "".join(c if c.isalnum() or c == "_" else "-" for c in self.arm.name)
        return f"{word}--{self.metadata}--{self.masks}--{self.seed}"


def jobs(seeds: int) -> list[Job]:
    """Return all trainings, the headline's first, then the table's."""
    found = [
        Job(arm, metadata, "predicted", seed)
        for seed in range(seeds)
        for arm in ARMS
        for metadata in ("none", "auto")
        if seed == 0 or (arm.name, metadata) in (BASE, BEST)
    ]
    found += [Job(arm, "none", "true", 0) for arm in ARMS if arm.name in TRUE]
    return sorted(found, key=lambda job: (job.arm.name, job.metadata) not in (BASE, BEST))


def train(job: Job, ham: tuple[str, ...], out: Path, kept: KeptPredictions) -> None:
    """Train an arm, predict the test list and keep that."""
    if job.folder in kept:
        return
    run, table = out / "runs" / job.folder, out / "predictions" / f"{job.folder}.csv"
    # A plain network is not even shown where the masks are.
    masks = () if job.arm.flags == PLAIN else ("--masks", out / job.masks)
    give(
        "clsstage", "train", *ham, *masks, "--out", run, "--metadata", job.metadata,
        "--seed", job.seed, *ALIKE, *job.arm.flags,
    )  # fmt: skip
    give(
        "clsstage", "predict", *ham, *masks, "--weights", run, "--subset", "test", "--tta", 4,
        "--workers", 0, "--out", table,
    )  # fmt: skip
    kept.keep(job.folder, scored(table, out))


def group_of(
    arm: str, metadata: str, masks: str, seeds: int, kept: KeptPredictions
) -> list[pd.DataFrame]:
    """Return the scored tables of an arm, one a seed that is there."""
    chosen = next(a for a in ARMS if a.name == arm)
    found = [Job(chosen, metadata, masks, seed) for seed in range(seeds)]
    return [kept.table(job.folder) for job in found if job.folder in kept]


def against_base(arm: str, metadata: str, masks: str, kept: KeptPredictions, base: str) -> str:
    """Return the difference of an arm's AUC to the full image with the same metadata, one seed."""
    one, other = (
        group_of(name, metadata, m, 1, kept) for name, m in ((arm, masks), (base, "predicted"))
    )
    if not one or not other or (arm == base and masks == "predicted"):
        return ""
    gap = paired_bootstrap(
        roc_auc, one[0]["target"], one[0]["malignant"], other[0]["malignant"], one[0]["group"]
    )
    return f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"


def section(seeds: int, kept: KeptPredictions) -> str:
    """Return the part of the page that this script owns, and draw its plot."""
    done = [job for job in jobs(seeds) if job.folder in kept]
    example = kept.table(done[0].folder)
    lines = [
        f"Measured {datetime.date.today().isoformat()} on {os.cpu_count()} cores "
        f"({platform.machine()}, no GPU) by `python benchmarks/focus.py`: HAM10000 at 200 x 150 "
        f"px, {len(example)} images of the committed test list, "
        f"{int(example['target'].sum())} malignant by `cancer+ak`. Every arm: "
        "`tf_efficientnet_lite0` at 128 px, five epochs, nine diagnoses as targets, the same "
        "split; four views at prediction. Masks are out-of-fold by two small U-Nets unless it "
        "says true. Intervals are 95% bootstrap by lesion; differences are paired, to the full "
        "image with the same metadata, seed 0.",
        "",
        "| use of the mask | metadata | masks | AUC | to `full` | average precision | pAUC |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for job in sorted((j for j in done if j.seed == 0), key=_order):
        table = kept.table(job.folder)
        cells = []
        for name in ("AUC", "average precision", "pAUC"):
            found = bootstrap(
                METRICS[name], table["target"], table["malignant"], groups=table["group"]
            )
            cells.append(f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")
        cells.insert(1, against_base(job.arm.name, job.metadata, job.masks, kept, "full"))
        control = " (control)" if job.arm.control else ""
        lines.append(
            f"| `{job.arm.name}`{control} | {job.metadata} | {job.masks} | {' | '.join(cells)} |"
        )
    lines += ["", *headline(seeds, kept)]
    left = [job for job in jobs(seeds) if job.folder not in kept]
    if left:
        lines += ["", f"{len(left)} of {len(left) + len(done)} trainings are not measured yet."]
    draw(done, kept)
    lines += ["", f"![AUC of every use of the mask](../{DOCS.parent.name}/{DOCS.name})"]
    return "\n".join(lines)


def _order(job: Job) -> tuple[bool, bool, int]:
    return (
        job.masks == "true",
        job.metadata == "auto",
        [arm.name for arm in ARMS].index(job.arm.name),
    )


def headline(seeds: int, kept: KeptPredictions) -> list[str]:
    """Return the lines on the two arms of the headline over all seeds."""
    plain = group_of(*BASE, "predicted", seeds, kept)
    best = group_of(*BEST, "predicted", seeds, kept)
    count = min(len(plain), len(best))
    if not count:
        return []
    return [
        f"Over {count} seeds, `{BEST[0]}` with metadata against the plain full image without:",
        "",
        *compared(best, plain),
    ]


def draw(done: list[Job], kept: KeptPredictions) -> None:
    """Draw the AUC of every arm with its interval, with and without metadata."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 5.5), layout="constrained")
    names = [arm.name for arm in ARMS]
    styles = {
        ("none", "predicted"): ("#4477aa", "o", -0.2, "no metadata"),
        ("auto", "predicted"): ("#ee6677", "s", 0.2, "with metadata"),
        ("none", "true"): ("#999999", "^", 0.0, "no metadata, true masks"),
    }
    for (metadata, masks), (colour, marker, shift, label) in styles.items():
        chosen = [j for j in done if (j.metadata, j.masks, j.seed) == (metadata, masks, 0)]
        if not chosen:
            continue
        found = []
        for job in chosen:
            table = kept.table(job.folder)
            measured = bootstrap(
                roc_auc, table["target"], table["malignant"], groups=table["group"]
            )
            found.append(measured)
        values = np.array([f.value for f in found])
        spread = np.abs(np.array([[f.low, f.high] for f in found]).T - values)
        places = [names.index(job.arm.name) + shift for job in chosen]
        axis.errorbar(
            values, places, xerr=spread, fmt=marker, color=colour, label=label, capsize=2
        )  # fmt: skip
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlabel("AUC on the test list, 95% interval by lesion")
    axis.grid(axis="x", color="#dddddd")
    axis.legend(loc="lower left")
    DOCS.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(DOCS, dpi=110)
    plt.close(figure)


def main() -> None:
    given = arguments(str(__doc__), "runs/focus")
    kept = KeptPredictions("focus", again=given.again)
    if not given.only_page:
        ham = ham_of(Path(given.data))
        write_truth(ham, given.out)
        make_masks(ham, given.out)
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(lambda job: train(job, ham, given.out, kept), jobs(given.seeds)))
    text = section(given.seeds, kept)
    print(text)
    write_section("focus", text)


if __name__ == "__main__":
    main()
