"""Weights that ship: made from a run, found without --weights, honest about what they learned."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import weights.resolve
import weights.shipping
from lesioncore.cache import MaskCache
from lesioncore.errors import LesionError
from lesioncore.files import read_json
from segstage.commands import main
from segstage.config import TrainConfig
from segstage.predictor import LesionSegmenter
from tests.conftest import ROOT
from weights.learned import DIGITS, FILE, read_learned
from weights.shipping import LICENCE, ship
from weights.store import load_weights, read_card, save_weights


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of shipped weights."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(weights.resolve, "SHIPPED", folder)
    monkeypatch.setattr(weights.shipping, "SHIPPED", folder)
    return folder


@pytest.fixture
def shipped(shelf: Path, run: TrainConfig) -> Path:
    """Member 0 of the run, as it would ship."""
    said = {"training_data": "phantoms of a test", "limits": "tests alone"}
    ship(run.out / "member-0", "tiny", metrics={"test": {"n": 3, "dice": 0.9}}, **said)
    return shelf / "tiny"


def test_kernels_are_16_bits_and_the_masks_stay(
    run: TrainConfig, shipped: Path, manifest: pd.DataFrame
) -> None:
    from lesioncore.images import read_image

    state, card = load_weights(shipped, kind="segmenter")
    whole, _ = load_weights(run.out / "member-0")
    for key, value in state.items():
        kernel = whole[key].ndim > 1
        assert value.dtype == (torch.float16 if kernel else whole[key].dtype)
    assert (card.name, card.licence, card.limits) == ("tiny", LICENCE, "tests alone")
    assert set(card.metrics) == {"validation", "test"}
    image = read_image(manifest["image"].iloc[0])
    small = LesionSegmenter.load(shipped, device="cpu")
    assert next(small.members[0].parameters()).dtype == torch.float32
    large = LesionSegmenter.load(run.out / "member-0", device="cpu")
    apart = abs(small.predict(image).payload.astype(int) - large.predict(image).payload)
    assert apart.mean() < 2
    assert (shipped / "quality.json").is_file() == (run.out / "quality.json").is_file()


def test_what_it_learned_from_is_in_sample(
    run: TrainConfig, shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = pd.read_csv(run.out / "split.csv", dtype={"image_id": str})
    learned = set(split[(split["role"] == "train") & (split["fold"] != 0)]["image_id"])
    table = read_learned(shipped)
    assert set(table["image_id"]) == learned
    assert set(table["image_sha256"].str.len()) == {DIGITS}
    words = ["cache", "--dataset", "phantom", "--root", str(run.root), "--device", "cpu"]
    assert main([*words, "--workers", "0", "--out", str(tmp_path / "cache")]) == 0
    masks = MaskCache(tmp_path / "cache")
    assert {i for i in masks.ids() if masks.read(i).in_sample} >= learned
    groups = split.set_index("image_id")["group"]
    apart = set(split["image_id"]) - set(groups[groups.isin(set(groups[list(learned)]))].index)
    assert apart
    assert not any(masks.read(image_id).in_sample for image_id in apart)
    said = capsys.readouterr().err.splitlines()
    lines = [line for line in said if "using the shipped weights tiny" in line]
    assert len(lines) == 1
    assert LICENCE in lines[0]


def test_they_are_taken_without_weights_and_by_name(
    run: TrainConfig, shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(sorted((Path(run.root) / "images").iterdir())[0])
    for number, named in enumerate(([], ["--weights", "tiny"])):
        words = ["predict", photo, *named, "--device", "cpu", "--out", str(tmp_path / str(number))]
        assert main(words) == 0
        assert len(list((tmp_path / str(number)).glob("*_segmentation.png"))) == 1
    capsys.readouterr()
    assert main(["models"]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("tiny "))
    assert "phantoms of a test" in line
    assert LICENCE in line
    assert main(["predict", photo, "--weights", "tinny", "--out", str(tmp_path / "x")]) == 2
    assert "tiny" in capsys.readouterr().err


def test_without_any_the_message_says_what_to_do(
    shelf: Path, run: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(sorted((Path(run.root) / "images").iterdir())[0])
    assert main(["predict", photo, "--out", str(tmp_path / "masks")]) == 1
    said = capsys.readouterr().err
    assert "no segmenter ships with this installation" in said
    assert "segstage train" in said


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: (w / "weights.safetensors").unlink(), "no weights in"),
        (lambda w: (w / "weights.safetensors").write_bytes(b"x" * 99), "wrong weights: .* sha256"),
        (lambda w: (w / FILE).write_text("image_id\na\n"), "lacks the columns image_sha256"),
        (lambda w: (w / "quality.json").write_text("{}"), "holds no quality model"),
    ],
)
def test_a_damaged_shipped_weight_is_told(shipped: Path, damage: Any, message: str) -> None:
    damage(shipped)
    with pytest.raises(LesionError, match=message):
        LesionSegmenter.load(device="cpu")


def test_what_cannot_ship(
    run: TrainConfig, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"training_data": "a", "limits": "b"}
    member = run.out / "member-0"
    with pytest.raises(LesionError, match="the name"):
        ship(member, "../x", **said)
    shutil.copytree(member, tmp_path / "alone")
    with pytest.raises(LesionError, match="is no member of a run"):
        ship(tmp_path / "alone", "x", **said)
    ship(member, "x", **said)
    with pytest.raises(LesionError, match="is there already"):
        ship(member, "x", **said)
    monkeypatch.setattr(weights.shipping, "MAX_BYTES", 1000)
    with pytest.raises(LesionError, match="at most"):
        ship(member, "y", **said)
    half = shutil.copytree(run.out, tmp_path / "half")
    state, card = load_weights(half / "member-0")
    key = next(key for key, value in state.items() if value.ndim > 1)
    save_weights(half / "member-0", {**state, key: state[key] + 1e6}, card)
    with pytest.raises(LesionError, match="16 bits cannot"):
        ship(half / "member-0", "z", **said)
    record = read_json(half / "run.json") | {"complete": False}
    (half / "run.json").write_text(json.dumps(record))
    with pytest.raises(LesionError, match="has not finished"):
        ship(half / "member-0", "z", **said)
    assert sorted(path.name for path in shelf.iterdir()) == ["x"]


def test_the_module_is_a_command(
    run: TrainConfig, shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(run.out / "member-1"), "one", "--training-data", "t", "--limits", "l"]
    assert weights.shipping.main([*words, "--tta", "flips"]) == 0
    assert json.loads(capsys.readouterr().out)["preprocessing"]["tta"] == "flips"
    assert read_card(shelf / "one").preprocessing["tta"] == "flips"
    assert weights.shipping.main(words) == 1
    assert "is there already" in capsys.readouterr().err


def test_the_licence_of_weights_states_the_terms() -> None:
    text = (ROOT / "weights" / "LICENSE").read_text(encoding="utf-8")
    for word in (
        "NonCommercial 4.0",
        "HAM10000",
        "ISIC",
        "Apache License",
        "not use them for comm",
    ):
        assert word in text


def test_a_wheel_holds_what_ships_and_works_without(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    tree = tmp_path / "tree"
    keep = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("lesioncore", "weights", "segstage", "clsstage", "pipelines"):
        shutil.copytree(ROOT / name, tree / name, ignore=keep)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    shutil.rmtree(tree / "weights" / "shipped", ignore_errors=True)
    found = {}
    for case in ("without", "with"):
        if case == "with":
            (tree / "weights" / "shipped" / "tiny").mkdir(parents=True)
            for name in ("weights.safetensors", "card.json", "quality.json", FILE):
                (tree / "weights" / "shipped" / "tiny" / name).write_text("{}")
        out = str(tmp_path / case)
        code = (
            "from setuptools import build_meta as b; "
            f"print(b.build_wheel({out!r}), b.build_sdist({out!r}))"
        )
        (tmp_path / case).mkdir()
        shutil.rmtree(tree / "build", ignore_errors=True)
        subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, capture_output=True)
        wheel = next((tmp_path / case).glob("*.whl"))
        found[case] = set(zipfile.ZipFile(wheel).namelist())
    assert "weights/LICENSE" in found["without"]
    assert not any("shipped/" in name for name in found["without"])
    parts = ("weights.safetensors", "card.json", "quality.json", FILE)
    assert {f"weights/shipped/tiny/{name}" for name in parts} <= found["with"]
    import tarfile

    (archive,) = (tmp_path / "with").glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    assert any(name.endswith("weights/shipped/tiny/weights.safetensors") for name in names)
    # The wheel of the code alone: it imports, lists what can be trained, and says what is lacking.
    home = tmp_path / "site"
    zipfile.ZipFile(next((tmp_path / "without").glob("*.whl"))).extractall(home)
    code = (
        "import weights.resolve as r; from lesioncore.errors import LesionError\n"
        "assert r.shipped_names() == ()\n"
        "try: r.resolve(None, kind='segmenter')\n"
        "except LesionError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=home, check=True, capture_output=True, text=True
    )
    assert "no segmenter ships" in run.stdout
