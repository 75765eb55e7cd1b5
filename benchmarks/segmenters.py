"""Every segmenter on the same real images -> docs/reference/benchmarks.md.

    python benchmarks/segmenters.py --data DIR --out runs/segmenters

`DIR` holds `isic2018_task1_512/` and `ham10000_200x150/` (else $LESION_DATA is taken). Members are
trained alike: same images, same seed, size and epochs. Steps whose results are there are skipped,
so a killed benchmark goes on. What was measured is kept in benchmarks/segmenters.json, so that
`--only` measures some members anew and leaves the rows of the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from page import write_section

from lesioncore.metrics import bootstrap, mean, paired_bootstrap, score_text

ALIKE = ("--size", "128", "--epochs", "5", "--val-fraction", "0.1")
#: LiteMedSAM's own resolution; its decoder learns from cached embeddings.
PROMPTED = ("--size", "256", "--val-fraction", "0.1")
#: What learns nothing need not be validated on more than a few images.
UNTRAINED = ("--limit", "100")


@dataclasses.dataclass(frozen=True)
class Member:
    """A row of the table: how it is trained, or which weights it has.

    Attributes
    ----------
    name, about : str
    flags : tuple of str
        Of `segstage train`; `{out}` stands for the folder of this benchmark.
    weights : str
        Weights to score instead of a training ("shipped" takes none).
    slow : bool
        Its encoder takes seconds an image: scored on every third image of the list.
    """

    name: str
    about: str
    flags: tuple[str, ...] = ()
    weights: str = ""
    slow: bool = False


def alike(name: str, about: str, options: str = "") -> Member:
    """Return a member that is trained as all others are."""
    arch = name.split(" ")[0]
    more = ("--arch_options", options) if options else ()
    return Member(name, about, ("--arch", arch, *ALIKE, *more))


_COARSE = '{"coarse": "{out}/unet", "prompted": '
MEMBERS = (
    Member("otsu", "classical, no training", weights="otsu"),
    alike("unet", "the reference"),
    alike("attention_unet", "gates on the skips"),
    alike("attention_unet deep", "and deep supervision", '{"deep_supervision": true}'),
    alike("unetplusplus", "nested skips"),
    alike("fpn", "feature pyramid"),
    alike("deeplabv3plus", "atrous pyramid"),
    alike("segformer", "all-MLP decoder"),
    # Several times slower than the others; at their rate its losses do not come down at first.
    Member(
        "mask_rcnn",
        "box, then mask; three epochs, lr 3e-4",
        ("--arch", "mask_rcnn", *ALIKE[:2], "--epochs", "3", *ALIKE[4:], "--lr", "0.0003"),
    ),
    Member(
        "lite_medsam zero-shot",
        "box from saliency",
        ("--arch", "lite_medsam", *PROMPTED, *UNTRAINED, "--arch_options", '{"tune": "none"}'),
        slow=True,
    ),
    Member(
        "cascade zero-shot",
        "box from `unet`, then LiteMedSAM",
        (
            "--arch",
            "cascade",
            *PROMPTED,
            *UNTRAINED,
            "--arch_options",
            _COARSE + '{"name": "lite_medsam", "tune": "none"}}',
        ),
        slow=True,
    ),
    Member(
        "cascade",
        "its decoder trained, 5 epochs of part of the images",
        (
            "--arch",
            "cascade",
            *PROMPTED,
            "--limit",
            "300",
            "--epochs",
            "5",
            "--arch_options",
            _COARSE + '"lite_medsam"}',
        ),
        slow=True,
    ),
    Member("foundation", "`unet`, 192 px, 6 epochs", ("--size", "192", "--epochs", "6")),
    Member("shipped", "the weights that come with the project", weights="shipped"),
)
RESULTS = Path(__file__).with_suffix(".json")
LIST = Path(str(files("lesioncore.testlists") / "isic2018_task1.txt"))
#: Pairs whose difference is printed: the first minus the second.
PAIRS = (
    ("attention_unet", "unet"),
    ("attention_unet deep", "unet"),
    ("unet", "otsu"),
    ("cascade zero-shot", "lite_medsam zero-shot"),
    ("cascade", "lite_medsam zero-shot"),
    ("cascade", "unet"),
    ("shipped", "foundation"),
)


def segstage(*words: object) -> None:
    """Give a command; its lines go to the terminal."""
    code = "import sys; from segstage.commands import main; sys.exit(main())"
    subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], check=True, stdout=subprocess.DEVNULL
    )


def folder_of(member: Member, out: Path) -> Path:
    """Return the run folder of a member."""
    return out / member.name.replace(" ", "-")


def weights_of(member: Member, out: Path) -> tuple[str, ...]:
    """Return the flags that name a member's weights."""
    if member.weights == "shipped":
        return ()
    return ("--weights", member.weights or str(folder_of(member, out)))


def third(out: Path) -> Path:
    """Return a list of every third image of the test list."""
    ids = [line for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    path = out / "every-third.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(ids[::3]) + "\n")
    return path


def score(member: Member, data: Path, out: Path) -> None:
    """Train a member where that is needed, and score the committed test list."""
    task1 = ("--dataset", "isic-task1", "--root", data / "isic2018_task1_512")
    run = folder_of(member, out)
    if member.flags:
        flags = (flag.replace("{out}", str(out)) for flag in member.flags)
        segstage("train", *task1, "--out", run, *flags)
    where = out / "scores" / run.name
    # The list itself: a run of fewer images would score only those of it that it met.
    listed = ("--test_list", third(out) if member.slow else LIST)
    if not (where / "images.csv").is_file():
        segstage("evaluate", *task1, *listed, "--out", where, *weights_of(member, out))
    if member.weights == "shipped" and not (out / "scores" / "shipped-ham").is_dir():
        ham = ("--dataset", "ham10000", "--root", data / "ham10000_200x150")
        segstage("evaluate", *ham, "--out", out / "scores" / "shipped-ham")


def time_members(members: list[Member], data: Path, out: Path, rounds: int = 5) -> dict[str, Any]:
    """Return each member's CPU milliseconds an image, and its parameters.

    One thread, one image a call, as `LesionSegmenter.predict` is called, rounds of all members in
    turn, medians. CPU time is measured, since other work may share the machine.
    """
    import torch

    from lesioncore.images import read_image
    from segstage.predictor import LesionSegmenter

    torch.set_num_threads(1)
    photos = sorted((data / "isic2018_task1_512" / "ISIC2018_Task1-2_Training_Input").glob("*.jpg"))
    images = [read_image(str(path)) for path in photos[:: len(photos) // rounds][:rounds]]
    loaded = {
        member.name: LesionSegmenter.load(*(weights_of(member, out)[1:]), device="cpu")
        for member in members
    }
    for segmenter in loaded.values():
        segmenter.predict(images[0])
    spent: dict[str, list[float]] = {member.name: [] for member in members}
    for image in images:
        for name, segmenter in loaded.items():
            start = time.process_time()
            segmenter.predict(image)
            spent[name].append(1000 * (time.process_time() - start))
    return {
        name: {
            "ms": float(np.median(spent[name])),
            "parameters": sum(p.numel() for one in segmenter.members for p in one.parameters()),
            "size": segmenter.size,
        }
        for name, segmenter in loaded.items()
    }


def images_of(name: str, out: Path) -> pd.DataFrame:
    """Return the scores of a member's images, in the order of their ids."""
    path = out / "scores" / name.replace(" ", "-") / "images.csv"
    return pd.read_csv(path, dtype={"image_id": str, "group": str}).sort_values("image_id")


def measured(members: list[Member], costs: dict[str, Any], out: Path) -> dict[str, Any]:
    """Return the kept results with those of `members` in place of older ones."""
    today = datetime.date.today().isoformat()
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"rows": {}, "differences": {}}
    for member in members:
        table = images_of(member.name, out)
        cells = []
        for metric in ("dice", "jaccard", "thresholded_jaccard"):
            found = bootstrap(mean, table[metric], groups=table["group"])
            cells.append(f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")
        cost = costs[member.name]
        cells += [f"{cost['ms']:.0f}", f"{cost['parameters'] / 1e6:.1f}"]
        kept["rows"][member.name] = {"measured": today, "images": len(table), "cells": cells}
    for a, b in PAIRS:
        one, other = (_scores(name, out) for name in (a, b))
        if one is None or other is None:
            continue
        both = set(one["image_id"]) & set(other["image_id"])
        one, other = (table[table["image_id"].isin(both)] for table in (one, other))
        gap = paired_bootstrap(
            lambda y, values, weights=None: mean(values, weights=weights),
            one["jaccard"], one["jaccard"], other["jaccard"], one["group"],
        )  # fmt: skip
        kept["differences"][f"`{a}` - `{b}`"] = (
            f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] ({len(both)} images)"
        )
    ham = out / "scores" / "shipped-ham" / "scores.json"
    if ham.is_file():
        scores = json.loads(ham.read_text())
        kept["ham"] = (
            f"The shipped weights on the test list of HAM10000 ({scores['n']} images of 200 x 150 "
            f"px): Dice {score_text(scores['dice'])}, Jaccard {score_text(scores['jaccard'])}."
        )
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    return kept


def _scores(name: str, out: Path) -> pd.DataFrame | None:
    path = out / "scores" / name.replace(" ", "-") / "images.csv"
    return images_of(name, out) if path.is_file() else None


def section(kept: dict[str, Any]) -> str:
    """Return the part of the page that this script owns."""
    most = max(row["images"] for row in kept["rows"].values())
    lines = [
        f"By `python benchmarks/segmenters.py` on {os.cpu_count()} cores ({platform.machine()}, no "
        f"GPU), seed 0: the {most} images of the committed test list of "
        "`isic-task1`, with 95% bootstrap intervals by lesion group. Members of the first rows "
        "learn alike: five epochs at 128 px from its training images. Prompts are always found "
        "without a hand; prompted members, whose encoder is slow, are scored on every third image. "
        "Milliseconds are CPU time of one thread, one image at a time; machines differ from day "
        "to day, so compare them within a day.",
        "",
        "| segmenter | about | Dice | Jaccard | below 0.65 as 0 | ms | million parameters | "
        "measured |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for member in MEMBERS:
        row = kept["rows"].get(member.name)
        if row:
            cells = " | ".join([*row["cells"], row["measured"]])
            lines.append(f"| `{member.name}` | {member.about} | {cells} |")
    lines += ["", "Differences of the mean Jaccard, image by image:", ""]
    lines += [f"- {pair}: {found}" for pair, found in kept["differences"].items()]
    if "ham" in kept:
        lines += ["", kept["ham"]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("LESION_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/segmenters"))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some members, by name")
    parser.add_argument("--only-page", action="store_true", help="write the page from results")
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the archives are: --data DIR, or set LESION_DATA")
    data = Path(given.data)
    unknown = set(given.only or ()) - {member.name for member in MEMBERS}
    if unknown:
        parser.error(f"unknown members {sorted(unknown)}; known: {[m.name for m in MEMBERS]}")
    chosen = [member for member in MEMBERS if given.only is None or member.name in given.only]
    costs_file = given.out / "costs.json"
    if not given.only_page:
        for member in chosen:
            score(member, data, given.out)
        costs_file.write_text(json.dumps(time_members(chosen, data, given.out), indent=1))
    text = section(measured(chosen, json.loads(costs_file.read_text()), given.out))
    print(text)
    write_section("segmenters", text)


if __name__ == "__main__":
    main()
