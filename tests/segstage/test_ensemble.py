"""Views and several runs: averaged, told apart in the fingerprint, and still out-of-fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lesioncore.cache import MaskCache
from lesioncore.errors import LesionError, UsageError
from lesioncore.images import read_image
from segstage.caching import cache
from segstage.commands import main
from segstage.config import CacheConfig, TrainConfig
from segstage.ensemble import JointProvenance
from segstage.predictor import LesionSegmenter
from segstage.views import VIEWS, disagreement
from tests.core.test_provenance import table
from tests.segstage.conftest import tiny
from weights.provenance import Provenance


@pytest.fixture(scope="module")
def other(archive: Path, held: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A finished run of one member: another input size, used with flips."""
    from segstage.train import train

    out = tmp_path_factory.mktemp("runs") / "other"
    config = tiny(archive, out, test_list=str(held), size=96, tta="flips", seed=5)
    assert train(config) == 0
    return config


@pytest.fixture(scope="module")
def image(manifest: pd.DataFrame) -> Any:
    return read_image(manifest["image"].iloc[0])


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_symmetries_and_come_back(name: str) -> None:
    picture = torch.arange(2 * 3 * 5 * 5).view(2, 3, 5, 5)
    views = VIEWS[name]
    assert len(views) == {"none": 1, "flips": 4, "d4": 8}[name]
    assert len({tuple(view.of(picture).flatten().tolist()) for view in views}) == len(views)
    assert all(torch.equal(view.back(view.of(picture)), picture) for view in views)


def test_disagreement_is_one_minus_the_mean_dice_of_all_pairs() -> None:
    half = torch.zeros(1, 4, 4)
    half[:, :2] = 1
    other, nothing, whole = 1 - half, torch.full_like(half, 1e-4), torch.ones_like(half)
    assert disagreement([half]) is None
    for maps, expected in (
        ([half, half], 0),
        ([half, other], 1),
        ([half, whole], 1 / 3),
        ([nothing, torch.zeros_like(half)], 0),
        ([half, nothing], 1),
        ([half, half, other], 2 / 3),
    ):
        assert float(disagreement(maps)) == pytest.approx(expected)


def test_views_are_averaged(run: TrainConfig, image: Any) -> None:
    turned = LesionSegmenter.load(run.out / "member-0", device="cpu", tta="d4")
    plain = LesionSegmenter.load(run.out / "member-0", device="cpu")
    pixels = torch.from_numpy(read_square(image, 64))
    maps = [
        np.asarray(back(plain.maps({64: np.ascontiguousarray(of(pixels).numpy())})[0]))
        for of, back in SYMMETRIES
    ]
    found, apart = turned.maps({64: pixels.numpy()})
    assert np.abs(found - np.mean(maps, axis=0)).max() <= 1
    assert 0 < apart[0] < 1
    # The mean of all symmetries has them too.
    mirrored, _ = turned.maps({64: np.ascontiguousarray(pixels.numpy()[:, :, ::-1])})
    assert np.abs(mirrored[:, :, ::-1].astype(int) - found).max() <= 1


def read_square(image: Any, size: int) -> Any:
    from segstage.stretch import stretch

    return stretch(image, size)[None]


SYMMETRIES = [
    (
        lambda x, k=k, flip=flip: torch.rot90(x.flip(2) if flip else x, k, (1, 2)),
        lambda m, k=k, flip=flip: (lambda r: r[:, :, ::-1] if flip else r)(np.rot90(m, -k, (1, 2))),
    )
    for k in range(4)
    for flip in (False, True)
]


def test_the_card_says_which_views_and_a_flag_wins(
    run: TrainConfig, other: TrainConfig, image: Any
) -> None:
    plain = LesionSegmenter.load(run.out, device="cpu")
    assert "tta" not in plain.fingerprint["preprocessing"]
    assert LesionSegmenter.load(run.out, device="cpu", tta="none").fingerprint == plain.fingerprint
    turned = LesionSegmenter.load(run.out, device="cpu", tta="d4")
    assert turned.fingerprint["preprocessing"] == plain.fingerprint["preprocessing"] | {"tta": "d4"}
    own = LesionSegmenter.load(other.out, device="cpu")
    assert own.fingerprint["preprocessing"]["tta"] == "flips"
    assert own.predict(image).disagreement is not None
    without = LesionSegmenter.load(other.out, device="cpu", tta="none")
    assert "tta" not in without.fingerprint["preprocessing"]
    assert without.predict(image).disagreement is None
    with pytest.raises(UsageError, match="flips, none"):
        LesionSegmenter.load(run.out, device="cpu", tta="d5")


def test_other_views_are_another_cache(run: TrainConfig, tmp_path: Path) -> None:
    def fill(**options: Any) -> int:
        return cache(
            CacheConfig(
                dataset="phantom", root=run.root, weights=run.out, out=tmp_path / "cache",
                limit=4, workers=0, device="cpu", **options,
            )
        )  # fmt: skip

    assert fill(tta="flips") == 0
    masks = MaskCache(tmp_path / "cache")
    assert all(0 < masks.read(image_id).disagreement < 1 for image_id in masks.ids())
    with pytest.raises(LesionError, match=r"preprocessing\.tta is \"flips\" in the cache"):
        fill()


def test_two_runs_of_other_sizes_segment_together(
    run: TrainConfig, other: TrainConfig, image: Any
) -> None:
    both = LesionSegmenter.load([run.out, other.out], device="cpu")
    assert (both.sizes, both.size, len(both.members)) == ((64, 96), 96, 3)
    entry = both.predict(image)
    assert entry.payload_shape == (96, 96)
    assert entry.member == "mean"
    assert 0 < entry.disagreement < 1
    first = LesionSegmenter.load(run.out, device="cpu")
    second = LesionSegmenter.load(other.out, device="cpu")
    small, _ = first.maps({64: read_square(image, 64)})
    large, _ = second.maps({96: read_square(image, 96)})
    grown = torch.nn.functional.interpolate(
        torch.from_numpy(small)[None].float(), (96, 96), mode="bilinear"
    )[0].numpy()
    found, _ = both.maps({64: read_square(image, 64), 96: read_square(image, 96)})
    # Runs count alike, however many members or views they have.
    assert np.abs(found - (grown + large) / 2).max() <= 1.01
    parts = both.fingerprint["segmenter"]["runs"]
    assert [part["weights_sha256"] for part in parts] == [
        segmenter.fingerprint["segmenter"]["weights_sha256"] for segmenter in (first, second)
    ]
    assert [part["preprocessing"].get("tta") for part in parts] == [None, "flips"]
    with pytest.raises(LesionError, match="given twice"):
        LesionSegmenter.load([run.out, run.out], device="cpu")


def test_with_several_runs_each_image_is_still_out_of_fold() -> None:
    joint = JointProvenance([Provenance(table(), 2), Provenance(None, 1), Provenance(table(), 2)])
    assert not joint.known
    seen = joint.assign("c")
    assert (seen.members, seen.label, seen.in_sample) == ((1, 2, 4), "1+0+1", False)
    new = joint.assign("stranger")
    assert (new.members, new.label, new.in_sample) == ((0, 1, 2, 3, 4), "mean", False)
    single = JointProvenance([Provenance(table(), 2), Provenance(table(), 1)])
    # Fold 1 trains the single member: nobody in that run can be asked.
    assert single.assign("c").in_sample
    assert not single.assign("a").in_sample


def test_the_commands_take_several_weights(
    run: TrainConfig, other: TrainConfig, tmp_path: Path
) -> None:
    data = ["--dataset", "phantom", "--root", str(run.root), "--limit", "8"]
    common = [
        "--weights", str(run.out), "--weights", str(other.out), "--device", "cpu", "--workers", "0",
    ]  # fmt: skip
    assert main(["cache", *common, *data, "--out", str(tmp_path / "cache")]) == 0
    masks = MaskCache(tmp_path / "cache")
    learned = Provenance(pd.read_csv(other.out / "provenance.csv"), 1)
    for entry in map(masks.read, masks.ids()):
        assert entry.payload_shape == (96, 96)
        assert entry.in_sample == learned.assign(entry.image_id).in_sample
        assert entry.member in ("mean", "0+0", "1+0")
    words = ["evaluate", *common, *data, "--subset", "all", "--tta", "none", "--resamples", "10"]
    assert main([*words, "--out", str(tmp_path / "scores")]) == 0
    photo = str(sorted((Path(run.root) / "images").iterdir())[0])
    assert main(["predict", photo, *common, "--out", str(tmp_path / "masks")]) == 0
    config = tmp_path / "cache.yaml"
    config.write_text(f"weights: {run.out}\n")  # one run needs no list
    words = ["predict", photo, "--config", str(config), "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "one")]) == 0
