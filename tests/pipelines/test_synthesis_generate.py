"""`lesion synthesize --method generate`: learns the fold's lesions, resumes, samples by class."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lesioncore.config import DataOptions
from lesioncore.errors import LesionError
from lesioncore.images import read_image, read_mask
from lesioncore.readers import load_manifest
from lesioncore.splits import make_split, member_ids, read_split, write_split
from lesioncore.synthetic import LEARNED, load_synthetic, usable
from pipelines.synthesis import generated
from pipelines.synthesis.generated import LesionGenerator, clean_mask, judge
from pipelines.synthesis.material import load_material
from pipelines.synthesis.synthesize import synthesize
from pipelines.synthesis_config import SynthesizeConfig
from tests.pipelines.test_synthesis import tiny_features  # noqa: F401  # a fixture of the module

pytest.importorskip("diffusers", reason="the extra `synthesis` is not installed")

COUNT = 36


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms, and their split."""
    from lesioncore.phantoms.archive import make_phantom_archive

    root = tmp_path_factory.mktemp("generate") / "phantoms"
    make_phantom_archive(root, COUNT, 5, 48, prevalence=0.6, artefacts=0.0)
    manifest = load_manifest(DataOptions(dataset="phantom", root=root, n=COUNT))
    write_split(
        root.parent / "split.csv", make_split(manifest, folds=2, seed=0, labels=manifest["target"])
    )
    return root


def _config(archive: Path, out: Path, **more: object) -> SynthesizeConfig:
    options: dict[str, object] = {
        "method": "generate", "dataset": "phantom", "root": archive, "out": out,
        "split": archive.parent / "split.csv", "n": 5, "max_failed": 5, "workers": 0,
        "feature_weights": "none", "copy_percentile": 0.0, "epochs": 2, "size": 16,
        "batch_size": 4, "device": "cpu",
    }  # fmt: skip
    return SynthesizeConfig(**(options | more))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch):
    """Few steps, and pictures of an untrained network pass as lesions."""
    monkeypatch.setattr(generated, "SAMPLING_STEPS", 2)
    monkeypatch.setattr(generated, "_MIN_CONTRAST", 0.0)
    monkeypatch.setattr(generated, "_MIN_SHARE", 0.0)
    monkeypatch.setattr(generated, "_MAX_SHARE", 1.0)


def test_training_sampling_and_manifest(archive: Path, tmp_path: Path):
    config = _config(archive, tmp_path / "out")
    synthesize(config)
    table = load_synthetic(config.out)
    training, validation = member_ids(read_split(config.split), 0)
    learned = set((config.out / LEARNED).read_text().split())
    assert learned <= set(training) and not learned & set(validation)
    assert (table["synthetic"] == "generate").all() and (table["target"] == 1).all()
    assert table["parent_donor"].isna().all() and table["lesion_id"].isna().all()
    assert set(table["diagnosis"]) <= {"melanoma", "basal cell carcinoma"}
    assert usable(table, training).all()
    # The network saw every one of them: without one of its parents nothing is left.
    assert not usable(table, set(training) - {min(learned)}).any()
    for row in table.itertuples():
        assert read_image(row.image).shape == (16, 16, 3)
        read_mask(row.mask, (16, 16))
    assert json.loads((config.out / "report.json").read_text())["neighbours"]["real_images"]


def test_numbers_decide_images_whatever_was_made_before(archive: Path, tmp_path: Path):
    config = _config(archive, tmp_path / "out")
    generator = LesionGenerator(load_material(config), config)
    network = generator.train()
    whole = {d.item.number: d for d in generator.draw(network, list(range(10)))}
    again = {d.item.number: d for d in generator.draw(network, [9, 3])}
    assert set(again) == {3, 9}
    for number, drawn in again.items():
        assert drawn.item == whole[number].item
        np.testing.assert_array_equal(drawn.image, whole[number].image)
    assert (generator.train().training, generator.classes) == (False, sorted(generator.classes))


def test_a_killed_training_goes_on_to_the_same_network(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import torch

    from pipelines.synthesis.diffusion import DiffusionTask

    def trained(out: Path) -> dict[str, torch.Tensor]:
        config = _config(archive, out)
        return LesionGenerator(load_material(config), config).train().state_dict()

    straight = trained(tmp_path / "straight")
    step = DiffusionTask.training_step

    def killed(self, batch, number):
        if self.current_epoch == 1:
            raise RuntimeError("killed")
        return step(self, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTask, "training_step", killed)
        with pytest.raises(RuntimeError, match="killed"):
            trained(tmp_path / "resumed")
    resumed = trained(tmp_path / "resumed")
    for name, tensor in straight.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-5, atol=1e-6)


def test_other_epochs_need_another_folder(archive: Path, tmp_path: Path):
    config = _config(archive, tmp_path / "out", n=1)
    synthesize(config)
    with pytest.raises(LesionError, match="epochs: 2 -> 3"):
        synthesize(dataclasses.replace(config, epochs=3))


def test_without_malignant_lesions_there_is_nothing_to_learn(archive: Path, tmp_path: Path):
    material = load_material(_config(archive, tmp_path / "out"))
    benign = material.rows[material.rows["malignant"] == 0].reset_index(drop=True)
    with pytest.raises(LesionError, match="too few malignant lesions"):
        LesionGenerator(
            dataclasses.replace(material, rows=benign), _config(archive, tmp_path / "out")
        )


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    import importlib.util

    from pipelines.synthesis.diffusion import check_diffusers

    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(LesionError, match="diffusers is not installed") as error:
        check_diffusers()
    assert "[synthesis]" in str(error.value)


def test_the_largest_part_of_a_mask_is_kept_without_holes():
    mask = np.zeros((20, 20), bool)
    mask[2:5, 2:5] = True
    mask[8:18, 8:18] = True
    mask[12, 12] = False
    kept = clean_mask(mask)
    assert kept[12, 12] and not kept[3, 3] and kept.sum() == 100


def test_pictures_without_a_lesion_are_drawn_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    skin = np.full((32, 32, 3), (220, 180, 160), np.uint8)
    mask = np.zeros((32, 32), bool)
    assert judge(skin, mask)[0] == "the mask is empty, tiny or covers all"
    cv2.circle(view := mask.astype(np.uint8), (16, 16), 8, 1, -1)
    mask = view.astype(bool)
    assert judge(skin, mask)[0] == "no lesion to be seen under the mask"
    lesion = skin.copy()
    lesion[mask] = (120, 70, 55)
    reason, contrast = judge(lesion, mask)
    assert reason == "" and contrast > 30


@pytest.mark.parametrize("centre", [(20, 30), (8, 50), (32, 32)])
def test_crops_hold_the_lesion_and_never_leave_the_picture(centre):
    from pipelines.synthesis.crops import square_box, square_crop
    from pipelines.synthesis.transplant import Lesion

    mask = np.zeros((40, 60), bool)
    mask[centre[0] - 6 : centre[0] + 6, centre[1] - 8 : centre[1] + 8] = True
    y0, x0, y1, x1 = square_box(mask)
    assert 0 <= y0 < y1 <= 40 and 0 <= x0 < x1 <= 60 and y1 - y0 == x1 - x0
    assert mask[y0:y1, x0:x1].sum() == mask.sum()
    image = np.dstack([mask * 200] * 3).astype(np.uint8)
    small, part = square_crop(Lesion(image, mask), 32)
    assert small.shape == (32, 32, 3) and part.mean() == pytest.approx(0.31, abs=0.12)


def test_a_lesion_larger_than_the_short_side_is_cut_to_it():
    from pipelines.synthesis.crops import square_box

    mask = np.zeros((40, 60), bool)
    mask[2:38, 2:58] = True
    assert square_box(mask) == (0, 10, 40, 50)
