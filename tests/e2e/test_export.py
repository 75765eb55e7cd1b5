"""Exported graphs say what PyTorch says, with any batch, by themselves and without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.errors import LesionError
from lesioncore.images import read_image
from pipelines import LesionPipeline
from pipelines.bundle import load_bundle
from pipelines.commands import main
from tests.e2e.conftest import TinyRun

pytestmark = pytest.mark.slow

SAID = {"age": 61, "sex": "female", "site": "back"}


@pytest.fixture(scope="module")
def photos(tiny_run: TinyRun) -> list[Path]:
    return sorted((tiny_run.root / "images").iterdir())[:6]


@pytest.fixture(scope="module")
def bundle(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "bundle"
    images = str(tiny_run.root / "images")
    # Small networks after one epoch: nearly every pixel is at the threshold.
    given = ["--run", str(tiny_run.folder), "--out", str(out), "--photos", images, "--limit=8"]
    assert main(["export", *given, "--int8=true", "--min-iou=0.9"]) == 0
    return out


def test_the_bundle_says_what_the_run_says(tiny_run, bundle, photos) -> None:
    run, exported = LesionPipeline.load(tiny_run.folder, device="cpu"), LesionPipeline.load(bundle)
    for photo in photos:
        one, other = run(photo, **SAID), exported(photo, **SAID)
        assert other.probability == pytest.approx(one.probability, abs=1e-3)
        assert (other.status, other.focus, other.missing) == (one.status, one.focus, one.missing)
        assert (other.mask == one.mask).mean() > 0.995
        assert other.entry.quality == pytest.approx(one.entry.quality, abs=0.02)
    known, unknown = exported(photos[0], **SAID), exported(photos[0])
    assert {"age", "sex", "site"} <= set(unknown.missing) and not set(SAID) & set(known.missing)
    assert known.probability != unknown.probability


def test_graphs_take_any_batch(bundle, photos) -> None:
    segmenter = load_bundle(bundle).segmenter
    images = [read_image(str(photo)) for photo in photos]
    together = segmenter.predict_batch(images)
    for image, entry in zip(images, together, strict=True):
        alone = segmenter.predict(image)
        assert np.abs(alone.soft().astype(int) - entry.soft()).max() <= 1
        assert alone.disagreement == pytest.approx(entry.disagreement, abs=1e-5)


def test_the_bundle_keeps_how_far_it_is_from_pytorch(bundle) -> None:
    said = json.loads((bundle / "bundle.json").read_text())
    assert said["parity"]["images"] == 8
    assert said["parity"]["classifier"]["graph"]["difference_max"] <= 1e-3
    assert 0 <= said["parity"]["segmenter"]["int8_graph"]["iou_mean"] <= 1
    assert said["segmenter"]["cards"][0]["licence"]


def test_int8_graphs_are_smaller_and_answer(bundle, photos) -> None:
    for stage in ("segmenter", "classifier"):
        whole, small = (bundle / f"{stage}{suffix}.onnx" for suffix in ("", "-int8"))
        assert small.stat().st_size < whole.stat().st_size
    assert 0 < load_bundle(bundle, int8=True)(photos[0]).probability < 1


def test_predict_takes_a_bundle_where_there_is_no_torch(bundle, photos, tmp_path) -> None:
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        blocked = ('torch', 'torchvision', 'timm', 'lightning', 'onnx', 'onnxscript')\n"
        "        if name.split('.')[0] in blocked:\n"
        "            raise ModuleNotFoundError(f'no {name} here')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from pipelines.commands import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    out = tmp_path / "predictions.csv"
    given = [
        "predict", *map(str, photos[:2]), "--run", str(bundle), "--age=61", "--out", str(out),
        "--overlays", str(tmp_path / "overlays"),
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("not a diagnosis") >= 2
    assert pd.read_csv(out)["malignant"].between(0, 1).all()


def test_openvino_says_the_same(bundle, photos) -> None:
    pytest.importorskip("openvino", reason="pip install 'lesion-pipeline[openvino]'")
    one, other = (
        load_bundle(bundle, engine=engine)(photos[0], **SAID)
        for engine in ("onnxruntime", "openvino")
    )
    assert other.probability == pytest.approx(one.probability, abs=1e-3)


def test_what_cannot_be_done_is_said(tiny_run, bundle, photos, tmp_path, capsys) -> None:
    run = ["--run", str(tiny_run.folder)]
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    assert main(["export", *run, "--out", str(full)]) == 1
    assert main(["export", *run, "--out", str(tmp_path / "new"), "--int8=true"]) == 2
    assert main(["export", "--stage=segmenter", "--segmenter=otsu", f"--out={tmp_path / 'o'}"]) == 2
    assert "otsu" in capsys.readouterr().err
    assert main(["explain", str(photos[0]), "--run", str(bundle)]) == 2
    broken = shutil.copytree(bundle, tmp_path / "broken")
    (broken / "segmenter.onnx").write_bytes(b"no graph")
    with pytest.raises(LesionError, match="cannot read"):
        load_bundle(broken)
    (broken / "bundle.json").write_text('{"schema_version": 99}')
    with pytest.raises(LesionError, match="schema version"):
        load_bundle(broken)
