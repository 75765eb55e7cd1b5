"""Kept embeddings: as good as the encoder, made once, keyed by what decides them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lesioncore.errors import LesionError
from lesioncore.files import sha256_file
from segstage.embeddings import EmbeddingStore, embedded
from segstage.losses import create_loss
from segstage.models import create_segmenter
from segstage.train import train
from tests.segstage.conftest import tiny

ARCH: dict[str, Any] = {
    "arch": "sam",
    "encoder": "tiny",
    "arch_options": {"prompt": "centre", "box_jitter": 0.0},
}

LOSS = create_loss("dice+bce")


@pytest.fixture
def few(manifest: pd.DataFrame) -> pd.DataFrame:
    return manifest.head(4).reset_index(drop=True)


def segmenter(**options: Any) -> Any:
    torch.manual_seed(0)
    return create_segmenter("sam", encoder="tiny", encoder_weights="none", **options)


def store(folder: Path, few: pd.DataFrame, made: Any, size: int = 64) -> EmbeddingStore:
    digests = {str(row.image_id): sha256_file(row.image) for row in few.itertuples()}
    return EmbeddingStore(folder, made, size, digests)


def fill(kept: EmbeddingStore, made: Any, rows: pd.DataFrame) -> int:
    return kept.fill(made, rows, device="cpu", workers=0)


def test_the_loss_is_that_of_the_encoder(tmp_path: Path, few: pd.DataFrame) -> None:
    made = segmenter(prompt="centre", box_jitter=0.0)
    kept = store(tmp_path, few, made)
    assert fill(kept, made, few) == 4
    images, masks, embeddings = zip(*embedded(few, kept), strict=True)
    assert embeddings[0].dtype == torch.float16
    prepared = made.prepare(torch.stack(images))
    truth = torch.stack(masks)[:, None].float() / 255
    made.train()
    direct = float(made.loss(prepared, truth, LOSS).detach())
    kept_loss = float(made.loss(prepared, truth, LOSS, torch.stack(embeddings)).detach())
    assert kept_loss == pytest.approx(direct, abs=1e-3)


def test_what_is_there_is_not_made_again(tmp_path: Path, few: pd.DataFrame) -> None:
    made = segmenter()
    kept = store(tmp_path, few, made)
    assert fill(kept, made, few.head(3)) == 3
    before = {path: path.stat().st_mtime_ns for path in kept.folder.rglob("*.npy")}
    assert fill(kept, made, few) == 1
    assert fill(kept, made, few) == 0
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())


def test_the_key_is_of_encoder_and_size(tmp_path: Path, few: pd.DataFrame) -> None:
    made = segmenter()
    first = store(tmp_path, few, made).folder
    assert store(tmp_path, few, segmenter(prompt="image")).folder == first
    assert store(tmp_path, few, made, size=96).folder != first
    with torch.no_grad():
        made.network.image_encoder.pos_embed += 1
    assert store(tmp_path, few, made).folder != first


def test_an_encoder_that_learns_is_refused(tmp_path: Path, few: pd.DataFrame) -> None:
    with pytest.raises(LesionError, match="--embeddings off"):
        store(tmp_path, few, segmenter(lora_rank=1))


def test_an_image_is_embedded_once_whatever_the_epochs(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segment_anything.modeling import ImageEncoderViT

    seen: list[int] = []
    plain = ImageEncoderViT.forward

    def counted(self: Any, images: torch.Tensor) -> Any:
        seen.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(ImageEncoderViT, "forward", counted)
    monkeypatch.setattr("segstage.train.score_images", scored := Scored())
    folder = tmp_path / "kept"
    first = tiny(archive, tmp_path / "a", epochs=3, embeddings=str(folder), **ARCH)
    with pytest.raises(Stop):
        train(first)
    count = len(list(folder.rglob("*.npy")))
    assert sum(seen) == count == scored.images
    with pytest.raises(Stop):
        train(tiny(archive, tmp_path / "b", epochs=2, seed=1, embeddings=str(folder), **ARCH))
    # The seed draws another encoder, so nothing of the first run is taken for it.
    assert len(list(folder.iterdir())) == 2


class Stop(Exception):
    """Training is over; scoring is another matter."""


class Scored:
    """Stands in for the scoring, which runs the encoder on each image by itself."""

    images = 0

    def __call__(self, *_args: Any, **_options: Any) -> Any:
        self.images = 40
        raise Stop


def test_a_run_leaves_no_embeddings_behind(
    archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert train(tiny(archive, tmp_path / "run", **ARCH)) == 0
    assert "embedding 40 images" in caplog.text
    assert "not augmented" in caplog.text
    assert not (tmp_path / "run" / "embeddings").exists()


def test_without_them_images_are_augmented(
    archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert train(tiny(archive, tmp_path / "run", embeddings="off", **ARCH)) == 0
    assert "embedding" not in caplog.text


def test_a_folder_for_a_segmenter_without_a_frozen_encoder_is_refused(
    archive: Path, tmp_path: Path
) -> None:
    config = tiny(archive, tmp_path / "run", embeddings=str(tmp_path / "kept"))
    with pytest.raises(LesionError, match="frozen encoder"):
        train(config)


def test_a_torn_file_is_never_left(
    tmp_path: Path, few: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = segmenter()
    kept = store(tmp_path, few, made)

    def torn(path: Path, _array: Any) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", torn)
        with pytest.raises(KeyboardInterrupt):
            fill(kept, made, few)
    assert not list(kept.folder.rglob("*.npy"))
    assert fill(kept, made, few) == 4
