"""`segstage cache`: out of fold, resumable, and honest about what failed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lesioncore.cache import MaskCache
from lesioncore.errors import LesionError
from lesioncore.images import read_image
from segstage.caching import cache
from segstage.commands import main
from segstage.config import CacheConfig, TrainConfig
from segstage.predictor import LesionSegmenter
from segstage.stretch import stretch


def fill(run: TrainConfig, out: Path, **changes: Any) -> int:
    values: dict[str, Any] = {
        "dataset": "phantom",
        "root": run.root,
        "weights": str(run.out),
        "out": out,
        "workers": 0,
        "batch_size": 7,
        "device": "cpu",
    }
    return cache(CacheConfig(**(values | changes)))


@pytest.fixture(scope="module")
def filled(run: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("caches") / "cache"
    assert fill(run, out) == 0
    return out


def test_each_mask_is_made_by_the_member_that_did_not_see_the_image(
    run: TrainConfig, filled: Path
) -> None:
    rows = MaskCache(filled).table().set_index("image_id")
    split = pd.read_csv(run.out / "split.csv").set_index("image_id")
    for image_id, row in split.iterrows():
        expected = str(row["fold"]) if row["role"] == "train" else "mean"
        assert rows.loc[image_id, "member"] == expected
    assert not rows["in_sample"].any()


def test_masks_equal_those_of_the_member_called_by_hand(
    run: TrainConfig, filled: Path, manifest: pd.DataFrame
) -> None:
    masks = MaskCache(filled)
    segmenter = LesionSegmenter.load(run.out, device="cpu")
    for row in manifest.head(6).itertuples():
        entry = masks.read(row.image_id)
        members = range(2) if entry.member == "mean" else [int(entry.member)]
        image = read_image(row.image)
        alone = segmenter.predict_batch([image], [row.image_id], members=list(members))[0]
        # Batches of another size may add in another order.
        assert np.abs(alone.payload.astype(int) - entry.payload.astype(int)).max() <= 1
        assert entry.shape == image.shape[:2]


def test_a_second_call_makes_nothing(
    run: TrainConfig, filled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = MaskCache(filled).snapshot
    assert fill(run, filled) == 0
    assert "0 made now" in caplog.text
    assert MaskCache(filled).snapshot == before


def test_a_changed_image_is_done_again(
    run: TrainConfig, own_archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "cache"
    assert fill(run, out, root=own_archive) == 0
    one, two = sorted((own_archive / "images").iterdir())[:2]
    shutil.copy(two, one)
    assert fill(run, out, root=own_archive) == 0
    assert "1 made now" in caplog.text
    assert MaskCache(out).row(one.stem).image_sha256 == MaskCache(out).row(two.stem).image_sha256


def test_a_training_image_in_another_archive_is_recognised_by_its_bytes(
    run: TrainConfig, own_archive: Path, tmp_path: Path
) -> None:
    """The same pictures under other names, without patients: still out of fold."""
    table = pd.read_csv(own_archive / "metadata.csv", dtype=str)
    renamed = {old: f"other_{number}" for number, old in enumerate(table["image_id"])}
    for path in [*(own_archive / "images").iterdir(), *(own_archive / "masks").iterdir()]:
        stem = next(old for old in renamed if path.stem.startswith(old))
        path.rename(path.with_name(path.name.replace(stem, renamed[stem])))
    table["image_id"] = table["image_id"].map(renamed)
    table["patient_id"] = table["lesion_id"] = [f"new_{n}" for n in range(len(table))]
    table.to_csv(own_archive / "metadata.csv", index=False)
    assert fill(run, tmp_path / "cache", root=own_archive) == 0
    rows = MaskCache(tmp_path / "cache").table().set_index("image_id")
    split = pd.read_csv(run.out / "split.csv").set_index("image_id")
    for old, new in renamed.items():
        fold, role = split.loc[old, ["fold", "role"]]
        assert rows.loc[new, "member"] == (str(fold) if role == "train" else "mean")


def test_a_single_split_marks_what_it_learned_from(archive: Path, tmp_path: Path) -> None:
    from segstage.train import train
    from tests.segstage.conftest import tiny

    config = tiny(archive, tmp_path / "run", test_list="none")
    train(config)
    assert fill(config, tmp_path / "cache") == 0
    rows = MaskCache(tmp_path / "cache").table().set_index("image_id")
    split = pd.read_csv(config.out / "split.csv").set_index("image_id")
    expected = split.loc[rows.index, "fold"] == 1
    assert (rows["in_sample"].to_numpy() == expected.to_numpy()).all()


def test_corrupt_images_fail_with_a_reason_and_an_exit_code(
    run: TrainConfig, own_archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = sorted((own_archive / "images").iterdir())[5]
    bad.write_bytes(bad.read_bytes()[:300])
    assert fill(run, tmp_path / "cache", root=own_archive) == 1
    masks = MaskCache(tmp_path / "cache")
    assert masks.complete
    row = masks.row(bad.stem)
    assert row.status == "failed"
    assert bad.name in row.reason
    assert "39 ok" in caplog.text or "1 failed" in caplog.text
    assert fill(run, tmp_path / "cache", root=own_archive, max_failed=1) == 0


def test_a_cache_of_another_segmenter_is_refused(
    run: TrainConfig, filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LesionError, match="weights_sha256"):
        fill(run, filled, weights=str(run.out / "member-0"))
    common = ["--dataset", "phantom", "--root", str(run.root), "--out", str(filled)]
    assert main(["cache", "--weights", str(run.out), *common, "--threshold", "0.3"]) == 1
    assert "postprocessing.threshold" in capsys.readouterr().err


def test_binary_payloads(run: TrainConfig, filled: Path, tmp_path: Path) -> None:
    assert fill(run, tmp_path / "cache", encoding="bin1", limit=5) == 0
    binary, soft = MaskCache(tmp_path / "cache"), MaskCache(filled)
    for image_id in binary.ids():
        assert binary.read(image_id).encoding == "bin1"
        assert set(np.unique(binary.read(image_id).payload)) <= {0, 255}
        level = soft.read(image_id).payload >= 128
        assert np.array_equal(binary.read(image_id).payload > 0, level)


def test_post_processing_is_part_of_the_fingerprint(run: TrainConfig) -> None:
    plain = LesionSegmenter.load(run.out, device="cpu")
    other = LesionSegmenter.load(run.out, device="cpu", largest_component=False)
    assert plain.fingerprint["postprocessing"]["largest_component"] is True
    assert other.fingerprint != plain.fingerprint
    assert len(plain.fingerprint["segmenter"]["weights_sha256"]) == 2


@pytest.mark.parametrize("shape", [(96, 96), (64, 64), (40, 200), (30, 30), (500, 333)])
def test_images_are_stretched_as_in_training(shape: tuple[int, int]) -> None:
    from lesioncore.transforms import stretch_only

    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.array_equal(stretch(image, 64), stretch_only(64)(image)[0])


def test_weights_of_a_classifier_or_none_are_refused(tmp_path: Path, archive: Path) -> None:
    import torch

    from weights.card import WeightCard
    from weights.store import save_weights

    card = WeightCard(name="x", kind="classifier", architecture={}, preprocessing={})
    save_weights(tmp_path / "cls", {"a": torch.zeros(1)}, card)
    with pytest.raises(LesionError, match=r"wrong weights: .* holds a classifier"):
        LesionSegmenter.load(tmp_path / "cls")
    with pytest.raises(LesionError, match="no such weights"):
        LesionSegmenter.load(tmp_path / "nothing")
    with pytest.raises(LesionError, match="no weights in"):
        LesionSegmenter.load(archive)
