"""What every segmenter must hold. A member's test file subclasses `SegmenterFamily`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from lesioncore.cache import MaskCache
from lesioncore.errors import LesionError, UsageError
from lesioncore.training import EpochTable
from segstage.config import CacheConfig, ModelsConfig, TrainConfig
from segstage.losses import create_loss
from segstage.models import create_segmenter, segmenter_names
from segstage.models._registry import segmenter_class
from segstage.postprocess import PostProcessing
from segstage.predictor import KIND, LesionSegmenter
from segstage.train import train
from tests.segstage.conftest import tiny
from weights.card import WeightCard
from weights.store import load_weights, save_weights

SIZE = 64


class SegmenterFamily:
    """Save, load, rebuild, train, cache, resume and list one member of the family.

    Attributes
    ----------
    name : str
        As registered.
    options : dict
        The smallest network there is, without downloads.
    """

    name: ClassVar[str]
    options: ClassVar[dict[str, Any]]

    def build(self) -> Any:
        torch.manual_seed(0)
        return create_segmenter(self.name, **self.options).eval()

    @pytest.fixture
    def weights(self, tmp_path: Path) -> Path:
        """A saved, untrained member."""
        segmenter = self.build()
        card = WeightCard(
            name=self.name,
            kind=KIND,
            architecture=segmenter.architecture,
            preprocessing={"size": SIZE, **segmenter.normalisation},
            postprocessing=PostProcessing(largest_component=False).to_dict(),
        )
        save_weights(tmp_path / "weights", segmenter.state_dict(), card)
        return tmp_path / "weights"

    def test_is_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        from segstage.listing import list_models

        assert self.name in segmenter_names()
        assert list_models(ModelsConfig()) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line.split()[0] == self.name]

    def test_gives_one_logit_a_pixel_and_learns(self) -> None:
        segmenter = self.build()
        pixels = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8)
        with torch.inference_mode():
            logits = segmenter(segmenter.prepare(pixels))
        assert logits.shape == (2, 1, SIZE, SIZE)
        assert logits.dtype == torch.float32
        if not segmenter.trainable:
            return
        truth = torch.zeros(2, 1, SIZE, SIZE)
        truth[0, :, 8:50, 12:40] = truth[1, :, 20:40, 20:60] = 1
        segmenter.train()
        segmenter.loss(segmenter.prepare(pixels), truth, create_loss("dice+bce")).backward()
        assert all(p.grad is not None for p in segmenter.parameters() if p.requires_grad)
        own = {id(p) for p in segmenter.parameters()}
        assert {id(p) for p in segmenter.encoder_parameters()} <= own

    def test_training_goes_on_where_it_was_interrupted(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = {k: v for k, v in self.options.items() if k != "encoder_weights"}
        changes = {k: options.pop(k) for k in ("encoder",) if k in options}
        if not segmenter_class(self.name).has_encoder:
            options, changes = options | changes, {}

        def config(name: str) -> TrainConfig:
            return tiny(
                archive,
                tmp_path / name,
                arch=self.name,
                arch_options=options,
                encoder_weights=self.options.get("encoder_weights", "none"),
                epochs=2,
                limit=16,
                test_list="none",
                **changes,
            )

        assert train(config("whole")) == 0
        if segmenter_class(self.name).trainable:
            starts = EpochTable.on_train_epoch_start

            def stop(table: EpochTable, trainer: Any, module: Any) -> None:
                if trainer.current_epoch == 1:
                    raise KeyboardInterrupt
                starts(table, trainer, module)

            monkeypatch.setattr(EpochTable, "on_train_epoch_start", stop)
            with pytest.raises(KeyboardInterrupt):
                train(config("cut"))
            monkeypatch.undo()
        assert train(config("cut")) == 0
        expected, _ = load_weights(tmp_path / "whole" / "member-0")
        found, _ = load_weights(tmp_path / "cut" / "member-0")
        assert all(torch.equal(expected[key], found[key]) for key in expected)

    def test_pixels_are_normalised_as_the_card_says(self) -> None:
        segmenter = self.build()
        pixels = torch.randint(0, 256, (1, 4, 4, 3), dtype=torch.uint8)
        mean, std = (np.array(segmenter.normalisation[key]) for key in ("mean", "std"))
        expected = (pixels.numpy()[0] / 255 - mean) / std
        found = segmenter.prepare(pixels)[0].permute(1, 2, 0).numpy()
        assert found == pytest.approx(expected, abs=1e-4)

    def test_is_rebuilt_from_its_architecture(self) -> None:
        segmenter = self.build()
        again = create_segmenter(**segmenter.architecture, encoder_weights="none").eval()
        again.load_state_dict(segmenter.state_dict())
        images = torch.rand(1, 3, SIZE, SIZE)
        with torch.inference_mode():
            assert torch.equal(again(images), segmenter(images))

    def test_saved_and_loaded_it_gives_the_same_masks(self, weights: Path, manifest: Any) -> None:
        from lesioncore.images import read_image

        image = read_image(manifest["image"].iloc[0])
        first = LesionSegmenter.load(weights, device="cpu").predict(image)
        second = LesionSegmenter.load(weights, device="cpu").predict(image)
        assert first.shape == image.shape[:2]
        assert first.soft().shape == image.shape[:2]
        assert np.array_equal(first.payload, second.payload)
        assert 0 <= first.score <= 1

    def test_an_unknown_option_is_refused(self) -> None:
        with pytest.raises(UsageError, match="nonsense"):
            create_segmenter(self.name, **self.options, nonsense=1)

    def test_weights_of_another_architecture_are_refused(self, weights: Path) -> None:
        state = {"other.weight": torch.zeros(3)}
        card = LesionSegmenter.load(weights, device="cpu").cards[0]
        save_weights(weights, state, card)
        with pytest.raises(LesionError, match="wrong weights"):
            LesionSegmenter.load(weights, device="cpu")

    def test_a_cache_goes_on_where_it_stopped(
        self, weights: Path, archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        from segstage.caching import cache

        def fill(limit: int | None) -> int:
            return cache(
                CacheConfig(
                    dataset="phantom",
                    root=archive,
                    weights=str(weights),
                    out=tmp_path / "cache",
                    limit=limit,
                    workers=0,
                    device="cpu",
                )
            )

        assert fill(4) == 0
        first = MaskCache(tmp_path / "cache")
        before = {i: first.payload_bytes(i) for i in first.ids()}
        assert len(before) == 4
        assert fill(10) == 0
        second = MaskCache(tmp_path / "cache")
        assert second.complete
        assert len(second) >= 10
        assert all(second.payload_bytes(i) == data for i, data in before.items())
        assert f"{len(second) - 4} made now" in caplog.text
