"""How well the pipeline that ships tells malignant lesions of HAM10000's test list -> the page.

    python benchmarks/shipped_classifier.py --data DIR --out runs/shipped

`DIR` holds `ham10000_200x150/` (else $LESION_DATA is taken). Masks are those of the shipped
segmenter, probabilities those of the shipped classifier, or of `--weights`. Neither has seen the
test list. `--metrics FILE` writes the scores, whole and by subgroup, as a card keeps them.
"""

from __future__ import annotations

import argparse
import datetime
import os
from pathlib import Path
from typing import Any

import pandas as pd
from malignancy import ham_of, write_truth
from page import write_section

from lesioncore.files import write_json
from lesioncore.metrics import TITLES, score_malignancy, score_text

NAME = "lesion-classifier"
KNOWN, UNKNOWN = "with age, sex, site", "without metadata"
TEST_LIST = Path(__file__).resolve().parent.parent / "lesioncore" / "testlists" / "ham10000.txt"


def predictions(data: Path, weights: str, out: Path) -> dict[str, pd.DataFrame]:
    """Return the test list's predictions with all metadata and without any, with labels."""
    from clsstage.predictor import LesionClassifier
    from lesioncore.config import DataOptions
    from lesioncore.images import read_image
    from lesioncore.progress import track
    from lesioncore.readers import load_manifest
    from segstage.predictor import LesionSegmenter

    ham = ham_of(data)
    write_truth(ham, out)
    truth = pd.read_csv(out / "truth.csv", dtype={"image_id": str})
    manifest = load_manifest(DataOptions(dataset="ham10000", root=Path(ham[3])))
    rows = manifest[manifest["image_id"].isin(set(TEST_LIST.read_text().split()))]
    segmenter, classifier = (
        LesionSegmenter.load(device="cpu"),
        LesionClassifier.load(weights, "cpu"),
    )
    said: dict[str, list[dict[str, Any]]] = {KNOWN: [], UNKNOWN: []}
    for row in track(list(rows.itertuples()), "predicting"):
        pixels = read_image(row.image)
        mask = segmenter.predict(pixels)
        known = {name: _plain(getattr(row, name)) for name in ("age", "sex", "site")}
        for name, metadata in ((KNOWN, known), (UNKNOWN, {})):
            found = classifier.predict(pixels, mask, **metadata)
            said[name].append({"image_id": row.image_id, "malignant": found.malignant, **known})
    return {name: pd.DataFrame(found).merge(truth, on="image_id") for name, found in said.items()}


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value


def scores(table: pd.DataFrame) -> dict[str, Any]:
    """Return the scores of a table, whole and by subgroup, as a card keeps them."""
    from pipelines.subgroups import subgroup_table

    said: dict[str, Any] = {
        "n": len(table), "positives": int(table["target"].sum()), "policy": "cancer+ak",
        **score_malignancy(table["target"], table["malignant"], table["group"]),
    }  # fmt: skip
    groups: dict[str, Any] = {}
    for part, rows in subgroup_table(table.rename(columns={"target": "label"})):
        for row in rows:
            if part:
                entry = row.auc.score.to_dict() if row.auc.score is not None else row.auc.why
                groups[f"{part}: {row.name}"] = {
                    "n": row.n,
                    "positives": row.malignant,
                    "auc": entry,
                }
    return said | {"subgroups": groups}


def section(found: dict[str, dict[str, Any]]) -> str:
    """Return the part of the page that this script owns."""
    example = next(iter(found.values()))
    lines = [
        f"Measured {datetime.date.today().isoformat()} on {os.cpu_count()} cores by "
        "`python benchmarks/shipped_classifier.py`: the shipped segmenter and the shipped "
        f"classifier on the test list of HAM10000 (200 x 150 px), {example['n']} images, "
        f"{example['positives']} malignant by `{example['policy']}`, 95% bootstrap by lesion.",
        "",
        "| | "
        + " | ".join(TITLES[name] for name in ("auc", "pauc", "average_precision", "ece"))
        + " |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, said in found.items():
        cells = [score_text(said[key]) for key in ("auc", "pauc", "average_precision", "ece")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| subgroup | n | malignant | AUC |", "| --- | --- | --- | --- |"]
    for name, said in example["subgroups"].items():
        auc = said["auc"] if isinstance(said["auc"], str) else score_text(said["auc"])
        lines.append(f"| {name} | {said['n']} | {said['positives']} | {auc} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("LESION_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/shipped"))
    parser.add_argument("--weights", default=NAME, help="a run, a weights folder or a shipped name")
    parser.add_argument("--metrics", type=Path, help="file for the scores, as a card keeps them")
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the archives are: --data DIR, or set LESION_DATA")
    tables = predictions(Path(given.data), given.weights, given.out)
    found = {name: scores(table) for name, table in tables.items()}
    if given.metrics is not None:
        write_json(given.metrics, {f"test ham10000, {name}": said for name, said in found.items()})
    text = section(found)
    print(text)
    if given.weights == NAME:
        write_section("shipped_classifier", text)


if __name__ == "__main__":
    main()
