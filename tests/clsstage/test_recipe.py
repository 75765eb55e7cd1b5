"""The parts of the recipe, each in a whole training that resumes and predicts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from clsstage.examples import load_examples
from clsstage.hard_negatives import HardNegatives, HardNegativeSampler
from clsstage.members import read_member
from clsstage.prediction import out_of_fold_members
from clsstage.predictor import LesionClassifier
from clsstage.sampling import ClassSampling
from clsstage.task import _mixed
from clsstage.train import train
from lesioncore.errors import LesionError, UsageError
from lesioncore.phantoms import make_phantom_archive
from lesioncore.readers import create_reader
from lesioncore.subsets import choose_subset
from weights.store import load_weights

from .conftest import tiny


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "diagnosis-9", "label_smoothing": 0.1, "mixup": 0.4},
        {"loss": "focal", "encoder_lr_factor": 0.1, "layer_decay": 0.8},
        {"loss": "logit_adjusted", "size": "auto", "encoder": "test_efficientnet.r160_in1k"},
        {"negative_ratio": 1.0, "hard_negatives": 0.5, "epochs": 3},
    ],
    ids=["diagnoses", "focal", "adjusted", "hard"],
)
def test_every_part_trains_and_predicts(archive, manifest, tmp_path, changes):
    config = tiny(archive, tmp_path / "cls", focus="full", **changes)
    train(config)
    table = LesionClassifier.load(config.out, device="cpu").predict_table(manifest, workers=0)
    assert table["malignant"].between(0, 1).all()
    classes = [name for name in table if name.startswith("p_")]
    if config.target == "binary":
        assert not classes
    else:
        assert np.allclose(table[classes].sum(axis=1), 1, atol=1e-5)
        malignant = table[["p_MEL", "p_BCC", "p_SCC"]].sum(axis=1)
        assert np.allclose(malignant, table["malignant"], atol=1e-5)
    if config.size == "auto":
        assert read_member(config.out / "member-0").view.size == 160
    assert not list(config.out.rglob("hardness-*"))


def test_mixing_keeps_image_metadata_and_truth_together():
    torch.manual_seed(0)
    values = torch.arange(6.0)
    image = values[:, None, None, None].expand(6, 1, 2, 2)
    rows = torch.arange(6)
    mixed, metadata, truth, known, by = _mixed(
        0.4, image, values[:, None], values[:, None], torch.tensor([True] * 5 + [False]), rows
    )
    assert torch.allclose(mixed[:, 0, 0, 0], metadata[:, 0])
    assert torch.allclose(metadata, truth)
    assert not torch.equal(truth[:, 0], values)
    assert float(truth.sum()) == pytest.approx(float(values.sum()))
    assert int((~known).sum()) in (1, 2)
    assert bool(((truth[:, 0] - values[by]).abs() <= 2.5).all())
    assert sorted(by.tolist()) == list(range(6))


def test_an_epoch_shows_the_hardest_benign_images_again_also_after_a_resume(tmp_path):
    labels = np.array([1.0] * 4 + [0.0] * 40)
    sampling = ClassSampling(negative_ratio=2.0)
    hard = HardNegatives(tmp_path, len(labels))
    sampler = HardNegativeSampler(sampling, labels, hard, 0.5, seed=7)
    assert len(sampler) == 12
    hard.record(torch.arange(44), torch.arange(44.0))
    hard.save(0)
    sampler.set_epoch(1)
    drawn = list(sampler)
    assert {40, 41, 42, 43} <= set(drawn)
    assert len(set(drawn)) == 12
    other = HardNegativeSampler(sampling, labels, HardNegatives(tmp_path, 44), 0.5, seed=7)
    other.set_epoch(1)
    assert list(other) == drawn


def test_one_split_seed_gives_seeds_the_same_split(archive, tmp_path):
    splits = []
    for seed in (0, 1):
        config = tiny(
            archive, tmp_path / str(seed), focus="full", seed=seed, split_seed=5, epochs=1
        )
        train(config)
        splits.append((config.out / "split.csv").read_text())
    assert splits[0] == splits[1]


def test_without_metadata_the_prediction_says_what_is_missing(archive, manifest, tmp_path):
    config = tiny(archive, tmp_path / "cls", focus="full", metadata="age,sex", modality_dropout=0.5)
    train(config)
    classifier = LesionClassifier.load(config.out, device="cpu")
    table = classifier.predict_table(manifest.assign(age=None), workers=0)
    assert set(table["missing"]) <= {"age", "age sex"}
    assert set(
        classifier.predict_table(manifest.drop(columns=["age", "sex"]), workers=0)["missing"]
    ) == {"age sex"}


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A classifier trained on another archive, of other people."""
    root = tmp_path_factory.mktemp("old")
    make_phantom_archive(root, n=40, seed=99, size=64)
    table = create_reader("phantom", root).read()
    for name in ("image_id", "patient_id", "lesion_id"):
        table[name] = "OLD_" + table[name].astype(str)
    table.drop(columns="diagnosis_raw").to_csv(root / "manifest.csv", index=False)
    return tiny(
        root / "manifest.csv",
        tmp_path_factory.mktemp("runs") / "old",
        dataset="csv",
        focus="full",
        metadata="age,site",
        epochs=1,
    )


def test_two_archives_train_together_with_a_token_of_their_source(archive, old, tmp_path):
    config = tiny(
        archive,
        tmp_path / "cls",
        also={"csv": old.root},
        focus="full",
        metadata="age,source",
        policy="cancer",
    )
    train(config)
    ids = pd.read_csv(config.out / "split.csv")["image_id"]
    assert ids.str.startswith("OLD_").sum() == 40
    encoder = read_member(config.out / "member-0").encoder
    assert sum(name.startswith("source=") for name in encoder.inputs) == 4
    assert "phantom and csv" in read_member(config.out / "member-0").card.training_data


def test_an_archive_without_labels_under_the_policy_is_told(archive, old, tmp_path, caplog):
    table = pd.read_csv(old.root).assign(target=None)
    table["image"] = [str(old.root.parent / name) for name in table["image"]]
    table.to_csv(tmp_path / "none.csv", index=False)
    config = tiny(archive, tmp_path / "cls", also={"csv": tmp_path / "none.csv"}, policy="target")
    assert len(load_examples(config, "target")) == 48
    assert "csv: no image has a label under the policy 'target'" in caplog.text


def test_a_training_goes_on_from_an_older_archive(archive, old, tmp_path):
    train(old)
    config = tiny(
        archive, tmp_path / "cls", focus="full", start=str(old.out), lr=1e-6, epochs=1, ema=0.0
    )
    train(config)
    before, _ = load_weights(old.out / "member-0", kind="classifier")
    after, card = load_weights(config.out / "member-0", kind="classifier")
    key = "encoder.conv1.0.weight" if "encoder.conv1.0.weight" in before else "encoder.conv1.weight"
    assert torch.allclose(before[key], after[key], atol=1e-3)
    assert "then old member 0" in card.first_weights["source"]


def test_images_that_the_start_has_seen_validate_nothing(archive, tmp_path):
    first = tiny(archive, tmp_path / "first", focus="full", epochs=1, val_fraction=0.3)
    train(first)
    second = tiny(
        archive, tmp_path / "second", focus="full", epochs=1, start=str(first.out), seed=3
    )
    train(second)
    split = pd.read_csv(first.out / "split.csv")
    learned = set(split.loc[split["fold"] == 1, "image_id"])
    assert not learned & set(pd.read_csv(second.out / "oof.csv")["image_id"])


def test_a_run_from_a_start_goes_on_and_is_judged_by_what_the_start_has_not_seen(
    archive, manifest, tmp_path
):
    first = tiny(archive, tmp_path / "1", focus="full", epochs=1, val_fraction=0.5)
    train(first)
    config = tiny(
        archive, tmp_path / "second", focus="full", epochs=1, start=str(first.out), folds=2, seed=3
    )
    train(config)
    held_out = set(pd.read_csv(config.out / "oof.csv")["image_id"])
    record = json.loads((config.out / "run.json").read_text())
    (config.out / "run.json").write_text(json.dumps(record | {"complete": False}))
    (config.out / "member-1" / "validation.csv").unlink()
    train(config)
    assert set(pd.read_csv(config.out / "oof.csv")["image_id"]) == held_out
    chosen = choose_subset(manifest, "validation", dataset="phantom", weights=config.out)
    assert set(chosen["image_id"]) == held_out
    with pytest.raises(UsageError, match="started from"):
        out_of_fold_members(manifest, config.out)
    assert len(out_of_fold_members(chosen, config.out)) == len(held_out)


def test_a_start_that_knows_every_validation_image_is_refused(archive, manifest, tmp_path):
    first = tiny(archive, tmp_path / "first", focus="full", epochs=1)
    train(first)
    record = pd.read_csv(first.out / "provenance.csv").assign(fold=1)
    record.to_csv(first.out / "provenance.csv", index=False)
    with pytest.raises(LesionError, match="has learned from all images"):
        train(tiny(archive, tmp_path / "second", focus="full", start=str(first.out), folds=2))


def test_an_encoder_that_cannot_draw_masks_is_refused_before_there_is_a_run(
    archive, masks, tmp_path
):
    config = tiny(archive, tmp_path / "cls", masks=masks, aux_mask=0.4, encoder="alexnet")
    with pytest.raises(UsageError, match="intermediate maps"):
        train(config)
    assert not config.out.exists()


def test_hard_negatives_without_a_choice_of_benign_images_are_told(archive, tmp_path, caplog):
    train(tiny(archive, tmp_path / "cls", focus="full", epochs=1, hard_negatives=0.5))
    assert "--hard-negatives does nothing" in caplog.text


def test_a_start_that_has_seen_the_test_list_is_refused(archive, manifest, tmp_path):
    first = tiny(archive, tmp_path / "first", focus="full", epochs=1)
    train(first)
    split = pd.read_csv(first.out / "split.csv")
    listed = tmp_path / "test.txt"
    listed.write_text(split.loc[split["fold"] == 1, "image_id"].iloc[0] + "\n")
    with pytest.raises(LesionError, match="test list"):
        train(
            tiny(
                archive,
                tmp_path / "second",
                focus="full",
                start=str(first.out),
                test_list=str(listed),
            )
        )


def test_another_encoder_is_refused_as_a_start(archive, old, tmp_path):
    train(old)
    with pytest.raises(LesionError, match="test_resnet"):
        train(
            tiny(
                archive,
                tmp_path / "cls",
                focus="full",
                start=str(old.out),
                encoder="test_efficientnet",
            )
        )
