"""What makes a training win: averaged weights, sizes drawn anew, several archives together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lesioncore.archives import load_archives
from lesioncore.config import DataOptions
from lesioncore.errors import LesionError, UsageError
from lesioncore.readers import create_reader
from lesioncore.training import WeightEma
from segstage.config import TrainConfig
from segstage.task import SegmentationTask
from segstage.train import new_segmenter, train
from tests.segstage.conftest import tiny
from weights.store import load_weights


def test_averaged_weights_are_kept_and_differ_from_the_last(archive: Path, tmp_path: Path) -> None:
    plain = tiny(archive, tmp_path / "plain", epochs=2, select="last", test_list="none")
    averaged = tiny(archive, tmp_path / "ema", epochs=2, ema=0.99, select="last", test_list="none")
    assert train(plain) == train(averaged) == 0
    last, _ = load_weights(tmp_path / "plain" / "member-0")
    mean, _ = load_weights(tmp_path / "ema" / "member-0")
    assert last.keys() == mean.keys()
    moved = [k for k in last if last[k].is_floating_point() and not torch.equal(last[k], mean[k])]
    assert len(moved) > len(last) / 2


def test_the_average_forgets_its_start_and_leaves_constants_alone() -> None:
    average = WeightEma(0.999)._kwargs["avg_fn"]
    value, constant = torch.zeros(1), torch.tensor([123.675])
    for step in range(1, 200):
        value = average(value, torch.ones(1), torch.tensor(step))
        constant = average(constant, torch.tensor([123.675]), torch.tensor(step))
    # A plain average of decay 0.999 would stand at 0.18.
    assert value.item() > 0.95
    assert torch.equal(constant, torch.tensor([123.675]))


def test_sizes_are_drawn_within_their_spread_and_repeat_with_the_seed() -> None:
    config = TrainConfig(
        dataset="phantom", out=Path("x"), encoder="tu-test_resnet", encoder_weights="none",
        size=128, multi_scale=0.3,
    )  # fmt: skip
    task = SegmentationTask(new_segmenter(config), config)
    batch = (
        torch.randint(0, 256, (2, 128, 128, 3), dtype=torch.uint8),
        torch.full((2, 128, 128), 255, dtype=torch.uint8),
    )

    def sides() -> list[int]:
        torch.manual_seed(3)
        found = []
        for _ in range(30):
            images, truth = task._scaled(*batch)
            assert images.dtype == torch.uint8
            assert images.shape[1:3] == truth.shape[2:]
            assert truth.min() == 1
            found.append(images.shape[1])
        return found

    first = sides()
    assert set(first) == {96, 128, 160}
    assert sides() == first


def _second_archive(folder: Path) -> Path:
    """A `folder` archive whose images bear names of their own."""
    rng = np.random.default_rng(5)
    import cv2

    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number in range(12):
        image = rng.integers(120, 200, (64, 80, 3)).astype(np.uint8)
        mask = np.zeros((64, 80), np.uint8)
        cv2.circle(mask, (30 + number, 30), 12, 255, -1)
        image[mask > 0] //= 3
        cv2.imwrite(str(folder / "images" / f"other_{number}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"other_{number}_segmentation.png"), mask)
    return folder


def test_archives_are_learned_from_together(
    archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = _second_archive(tmp_path / "other")
    config = tiny(archive, tmp_path / "run", also={"folder": other})
    assert train(config) == 0
    split = pd.read_csv(tmp_path / "run" / "split.csv")
    assert split["image_id"].str.startswith("other_").sum() == 12
    assert split["image_id"].is_unique
    learned = split[(split["role"] == "train") & (split["fold"] == 1)]["image_id"]
    assert learned.str.startswith("other_").any() and not learned.str.startswith("other_").all()
    card = json.loads((tmp_path / "run" / "member-0" / "card.json").read_text())
    assert "phantom and folder" in card["training_data"]
    assert "`phantom` and `folder`" in (tmp_path / "run" / "summary.md").read_text()


def test_an_image_of_two_archives_is_taken_once(archive: Path, tmp_path: Path) -> None:
    table = create_reader("phantom", archive).read()
    copy = tmp_path / "copy.csv"
    table[["image_id", "image", "mask"]].to_csv(copy, index=False)
    options = TrainConfig(dataset="phantom", root=archive, out=tmp_path, also={"csv": copy})
    mixed = load_archives(options)
    assert len(mixed) == len(table)
    assert set(mixed["source"]) == {"synthetic phantom"}


def test_an_archive_is_named_once(archive: Path, tmp_path: Path) -> None:
    options = TrainConfig(dataset="phantom", root=archive, out=tmp_path, also={"phantom": archive})
    with pytest.raises(UsageError, match="each archive once"):
        load_archives(options)
    with pytest.raises(UsageError, match="isic2024"):
        load_archives(
            TrainConfig(dataset="phantom", root=archive, out=tmp_path, also={"nonsense": archive})
        )
    assert len(load_archives(DataOptions(dataset="phantom", root=archive))) > 0


def test_a_training_goes_on_from_trained_weights(archive: Path, tmp_path: Path) -> None:
    first = tiny(archive, tmp_path / "first", test_list="none")
    assert train(first) == 0
    gently = {"lr": 1e-9, "ema": 0.0, "test_list": "none", "augment": "none"}
    second = tiny(archive, tmp_path / "second", start=str(tmp_path / "first"), **gently)
    assert train(second) == 0
    before, _ = load_weights(tmp_path / "first" / "member-0")
    after, card = load_weights(tmp_path / "second" / "member-0")
    kernels = [key for key in before if key.endswith("weight")]
    assert all(torch.allclose(before[key], after[key], atol=1e-5) for key in kernels)
    assert card.first_weights["source"].endswith("then first")


def test_what_the_first_weights_learned_from_stays_seen(
    archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from segstage.predictor import LesionSegmenter

    half = {"val_fraction": 0.5, "test_list": "none"}
    assert train(tiny(archive, tmp_path / "first", seed=1, **half)) == 0
    assert train(tiny(archive, tmp_path / "second", start=str(tmp_path / "first"), **half)) == 0
    assert "their scores and masks flatter" in caplog.text
    split = pd.read_csv(tmp_path / "first" / "split.csv")
    provenance = LesionSegmenter.load(tmp_path / "second", device="cpu").provenance
    for row in split[split["fold"] == 1].itertuples():
        assert provenance.assign(row.image_id).in_sample


def test_weights_of_another_network_are_no_start(archive: Path, tmp_path: Path) -> None:
    assert train(tiny(archive, tmp_path / "first")) == 0
    other = tiny(
        archive,
        tmp_path / "second",
        start=str(tmp_path / "first"),
        arch_options={"decoder_channels": [8, 8, 8, 8, 8]},
    )
    with pytest.raises(LesionError, match="as the flags say"):
        train(other)
    assert not (tmp_path / "second").exists()
