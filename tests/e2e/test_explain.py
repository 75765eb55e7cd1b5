"""`lesion explain` on a finished run: a picture and a row a photograph, with known lesions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from clsstage.commands import main as clsstage
from pipelines.commands import main
from tests.e2e.conftest import TinyRun


@pytest.fixture(scope="module")
def photos(tiny_run: TinyRun) -> list[Path]:
    return sorted((tiny_run.root / "images").iterdir())[:2]


def test_a_picture_and_a_row_each_with_the_nearest_lesions(tiny_run, photos, tmp_path, capsys):
    features = tmp_path / "features.h5"
    archive = ["--dataset=phantom", f"--root={tiny_run.root}"]
    weights = f"--weights={tiny_run.folder / 'classification'}"
    more = [f"--masks={tiny_run.folder / 'cache'}", "--workers=0", "--device=cpu"]
    assert clsstage(["features", *archive, weights, f"--out={features}", *more]) == 0
    out = tmp_path / "out"
    given = [
        *map(str, photos), f"--run={tiny_run.folder}", f"--out={out}", "--age=61", "--sex=female",
        f"--features={features}", *archive, "--nearest=3", "--device=cpu",
    ]  # fmt: skip
    assert main(["explain", *given]) == 0
    said = capsys.readouterr().out
    assert said.count("not a diagnosis") == 2
    rows = pd.read_csv(out / "explanations.csv")
    assert rows["image_id"].tolist() == [photo.stem for photo in photos]
    assert rows["evidence_inside"].dropna().between(0, 1).all()
    assert {"effect_age", "effect_sex", "deletion_gain"} <= set(rows)
    assert "effect_site" not in rows
    for photo, nearest in zip(photos, rows["nearest"], strict=True):
        assert len(nearest.split()) == 3 and photo.stem not in nearest.split()
        assert Image.open(out / f"{photo.stem}.png").width > 1000
    # What it wrote among the photographs is not explained when it is called again.
    assert main(["explain", str(out), f"--run={tiny_run.folder}", f"--out={out}"]) == 2


def test_calls_that_cannot_be_answered_are_refused(tiny_run, photos, tmp_path, capsys) -> None:
    given = [
        str(photos[0]),
        f"--run={tiny_run.folder}",
        f"--out={tmp_path / 'out'}",
        "--device=cpu",
    ]
    assert main(["explain", *given, "--method=rollout"]) == 2
    assert "grad_cam" in capsys.readouterr().err
    assert main(["explain", *given, "--dataset=phantom"]) == 2
    assert main(["explain", *given, "--features=nowhere.h5"]) == 1
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    assert main(["explain", str(broken), *given[1:]]) == 1
    assert "Traceback" not in capsys.readouterr().err
