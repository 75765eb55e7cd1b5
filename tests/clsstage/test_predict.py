"""Prediction: tables, submissions, out-of-fold members, one image, and what goes wrong."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

from clsstage.commands import main
from clsstage.config import EvaluateConfig, PredictConfig
from clsstage.evaluation import evaluate
from clsstage.prediction import predict
from clsstage.predictor import LesionClassifier
from lesioncore.cache import MaskCache
from lesioncore.errors import LesionError, UsageError
from lesioncore.files import read_json
from lesioncore.images import read_image, read_image_bytes
from tests.clsstage.conftest import COUNT, of_run, write_cache


@pytest.fixture(scope="module")
def classifier(two_folds) -> LesionClassifier:
    return LesionClassifier.load(two_folds.out, device="cpu")


def config(two_folds, out, **changes) -> PredictConfig:
    return PredictConfig(**of_run(two_folds, out) | changes)


def test_a_table_has_a_row_an_image_in_order(two_folds, tmp_path, manifest):
    assert predict(config(two_folds, tmp_path / "p.csv")) == 0
    table = pd.read_csv(tmp_path / "p.csv")
    assert list(table.columns)[:5] == ["image_id", "malignant", "mask_status", "focus", "model"]
    assert table["image_id"].tolist() == manifest["image_id"].tolist()
    assert table["malignant"].between(0, 1).all()
    assert set(table["model"]) == {"cls"}


def test_all_members_are_averaged_in_probability(two_folds, manifest, classifier, cache):
    both = classifier.predict_table(manifest, cache, workers=0)["malignant"]
    each = [
        classifier.predict_table(manifest, cache, member_of=np.full(COUNT, k), workers=0)
        for k in (0, 1)
    ]
    assert np.allclose(both, (each[0]["malignant"] + each[1]["malignant"]) / 2)
    assert set(each[1]["model"]) == {"cls/member-1"}


def test_out_of_fold_predictions_are_those_of_the_training(two_folds, tmp_path):
    predict(config(two_folds, tmp_path / "p.csv", members="out-of-fold"))
    table = pd.read_csv(tmp_path / "p.csv").set_index("image_id")
    held_out = pd.read_csv(two_folds.out / "oof.csv").set_index("image_id")
    assert np.allclose(table["malignant"].reindex(held_out.index), held_out["malignant"])


def test_training_images_are_noticed(two_folds, tmp_path, caplog):
    predict(config(two_folds, tmp_path / "p.csv"))
    assert f"{COUNT} of {COUNT} images were trained on" in caplog.text


def test_workers_and_batches_change_nothing(two_folds, manifest, classifier, cache):
    one = classifier.predict_table(manifest, cache, workers=0, batch_size=64)
    two = classifier.predict_table(manifest, cache, workers=2, batch_size=5)
    assert np.allclose(one["malignant"], two["malignant"], atol=1e-5)


def test_without_masks_the_full_image_is_seen_and_said(two_folds, tmp_path, caplog):
    predict(config(two_folds, tmp_path / "p.csv", masks=None))
    table = pd.read_csv(tmp_path / "p.csv")
    assert set(table["mask_status"]) == {"none"}
    assert set(table["focus"]) == {"full"}
    assert "every image is seen whole" in caplog.text


def test_masks_that_fail_fall_back_one_by_one(two_folds, tmp_path, manifest, classifier):
    cache = MaskCache(write_cache(tmp_path / "cache", manifest.iloc[:20], quality=0.1))
    table = classifier.predict_table(manifest, cache, workers=0)
    assert table["mask_status"].tolist() == ["distrusted"] * 20 + ["missing"] * (COUNT - 20)
    assert set(table["focus"]) == {"full"}
    assert table["reason"].str.contains("quality 0.10 is under 0.6|no mask of this image").all()


def test_masks_of_another_segmenter_are_noticed(two_folds, tmp_path, manifest, caplog):
    from tests.clsstage import conftest

    other = conftest.FINGERPRINT | {"preprocessing": {"size": 96}}
    kept, conftest.FINGERPRINT = conftest.FINGERPRINT, other
    try:
        folder = write_cache(tmp_path / "cache", manifest)
    finally:
        conftest.FINGERPRINT = kept
    predict(config(two_folds, tmp_path / "p.csv", masks=folder))
    assert "preprocessing.size" in caplog.text


def test_a_broken_image_is_a_row_with_a_reason(two_folds, tmp_path):
    root = tmp_path / "archive"
    shutil.copytree(two_folds.root, root)
    broken = sorted((root / "images").iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:300])
    assert predict(config(two_folds, tmp_path / "p.csv", root=root)) == 1
    assert predict(config(two_folds, tmp_path / "p.csv", root=root, max_failed=1)) == 0
    table = pd.read_csv(tmp_path / "p.csv")
    assert table["malignant"].isna().sum() == 1
    row = table[table["malignant"].isna()].iloc[0]
    assert (row["mask_status"], row["focus"]) == ("unread", "none")
    assert broken.name in row["reason"]


def test_a_mask_of_a_changed_image_is_not_used(two_folds, manifest, classifier, tmp_path):
    cache = MaskCache(write_cache(tmp_path / "cache", manifest.iloc[:2], image_sha256="ab" * 32))
    table = classifier.predict_table(manifest.iloc[:2], cache, workers=0)
    assert table["reason"].str.contains("has changed since its mask was made").all()


def test_one_image_is_predicted_as_in_a_table(two_folds, manifest, classifier, cache):
    table = classifier.predict_table(manifest, cache, workers=0)
    for number in (0, 7):
        row = manifest.iloc[number]
        more = {c: row[c] for c in classifier.metadata_columns if c not in ("age", "sex", "site")}
        found = classifier.predict(
            read_image(row["image"]),
            cache.read(row["image_id"]),
            age=row["age"],
            sex=row["sex"],
            site=row["site"],
            **more,
        )
        assert found.malignant == pytest.approx(table["malignant"].iloc[number], abs=1e-5)
        assert (found.focus, found.mask_status) == ("dilated_crop+soft_background", "ok")
        assert found.crop.shape == (32, 32, 3)
        assert found.missing == tuple(c for c in classifier.metadata_columns if pd.isna(row[c]))


def test_one_image_alone_says_what_it_lacks(two_folds, manifest, classifier):
    found = classifier.predict(read_image(manifest["image"].iloc[0]), site="back")
    assert (found.focus, found.mask_status) == ("full", "none")
    assert "age" in found.missing and "site" not in found.missing
    with pytest.raises(LesionError, match="does not use weight"):
        classifier.predict(read_image(manifest["image"].iloc[0]), weight=70)


def test_a_mask_of_another_size_is_refused(two_folds, manifest, classifier, cache):
    image = read_image(manifest["image"].iloc[0])[:-4]
    with pytest.raises(LesionError, match="64 x 64 image, the image is 60 x 64"):
        classifier.predict(image, cache.read(manifest["image_id"].iloc[0]))


@pytest.mark.parametrize("views", [2, 4, 8])
def test_views_are_averaged(two_folds, manifest, classifier, cache, views):
    table = classifier.predict_table(manifest.iloc[:4], cache, workers=0, views=views)
    assert table["malignant"].between(0, 1).all()


def test_a_mirrored_image_scores_the_same_with_eight_views(two_folds, manifest, classifier):
    image = read_image(manifest["image"].iloc[0])
    a, b = (classifier.predict(x, views=8).malignant for x in (image, image[:, ::-1]))
    assert a == pytest.approx(b, abs=1e-5)


@pytest.fixture
def competition(tmp_path, manifest):
    """A test set in the layout of the ISIC 2024 competition."""
    folder = tmp_path / "isic"
    folder.mkdir()
    rows = manifest.iloc[:6]
    with h5py.File(folder / "test-image.hdf5", "w") as store:
        for image_id, image in zip(rows["image_id"], rows["image"], strict=True):
            store[image_id] = np.void(read_image_bytes(image))
    pd.DataFrame(
        {
            "isic_id": rows["image_id"],
            "patient_id": [f"IP_{n}" for n in range(6)],
            "age_approx": [50.0] * 6,
            "sex": ["male"] * 6,
            "anatom_site_general": ["anterior torso"] * 6,
        }
    ).to_csv(folder / "test-metadata.csv", index=False)
    ids = rows["image_id"].tolist()[::-1]
    pd.DataFrame({"isic_id": ids, "target": 0.3}).to_csv(
        folder / "sample_submission.csv", index=False
    )
    return folder


def test_a_submission_has_the_ids_and_the_order_of_the_sample(
    two_folds, competition, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code = predict(
        config(two_folds, None, dataset="isic2024", root=competition, masks=None, format="kaggle")
    )
    assert code == 0
    found = pd.read_csv(tmp_path / "submission.csv")
    sample = pd.read_csv(competition / "sample_submission.csv")
    assert list(found.columns) == ["isic_id", "target"]
    assert found["isic_id"].tolist() == sample["isic_id"].tolist()
    assert found["target"].between(0, 1).all()
    assert found["target"].nunique() > 1


def test_ids_without_an_image_get_the_prevalence(two_folds, competition, tmp_path, caplog):
    sample = competition / "sample_submission.csv"
    sample.write_text(sample.read_text() + "ISIC_9999999,0.3\n")
    predict(
        config(
            two_folds,
            tmp_path / "s.csv",
            dataset="isic2024",
            root=competition,
            masks=None,
            format="kaggle",
        )
    )
    found = pd.read_csv(tmp_path / "s.csv").set_index("isic_id")["target"]
    prevalence = read_json(two_folds.out / "member-0" / "card.json")["preprocessing"]["prevalence"]
    assert found["ISIC_9999999"] == pytest.approx(prevalence)
    assert "1 of the 7 ids have no probability" in caplog.text


def test_a_submission_without_a_sample_is_refused_before_any_work(two_folds, tmp_path, monkeypatch):
    monkeypatch.setattr(LesionClassifier, "predict_table", lambda *a, **k: pytest.fail("worked"))
    with pytest.raises(LesionError, match=r"sample_submission\.csv"):
        predict(config(two_folds, tmp_path / "s.csv", format="kaggle"))


@pytest.mark.real_data
def test_the_example_test_set_of_the_competition(two_folds, real_data, tmp_path):
    root = real_data / "isic2024_slice3d_sample"
    predict(
        config(
            two_folds,
            tmp_path / "s.csv",
            dataset="isic2024",
            root=root,
            masks=None,
            format="kaggle",
        )
    )
    found, sample = (pd.read_csv(p) for p in (tmp_path / "s.csv", root / "sample_submission.csv"))
    assert found["isic_id"].tolist() == sample["isic_id"].tolist()
    assert list(found.columns) == list(sample.columns)


def test_evaluate_scores_the_subset_that_is_asked_for(two_folds, tmp_path, capsys):
    options = {
        "dataset": "phantom",
        "root": two_folds.root,
        "weights": two_folds.out,
        "masks": two_folds.masks,
        "workers": 0,
        "device": "cpu",
        "resamples": 50,
    }
    with pytest.raises(LesionError, match=r"(?s)kept back none of these 48 images"):
        evaluate(EvaluateConfig(**options))
    evaluate(
        EvaluateConfig(**options, subset="validation", members="out-of-fold", out=tmp_path / "e")
    )
    printed = json.loads(capsys.readouterr().out)
    assert printed == read_json(tmp_path / "e" / "scores.json")
    assert {"n", "positives", "policy", "auc", "pauc", "average_precision", "brier", "ece"} <= set(
        printed
    )
    assert printed["auc"]["value"] == pytest.approx(
        read_json(two_folds.out / "metrics.json")["auc"]["value"]
    )
    assert len(pd.read_csv(tmp_path / "e" / "predictions.csv")) == COUNT


def test_weights_alone_have_no_folds(two_folds, tmp_path):
    with pytest.raises(UsageError, match="no folds"):
        predict(
            config(
                two_folds,
                tmp_path / "p.csv",
                weights=two_folds.out / "member-0",
                members="out-of-fold",
            )
        )
    predict(config(two_folds, tmp_path / "p.csv", weights=two_folds.out / "member-0"))
    assert len(pd.read_csv(tmp_path / "p.csv")) == COUNT


@pytest.mark.parametrize("what", ["nothing", "segmenter", "tensors", "unfinished"])
def test_wrong_weights_are_refused(two_folds, tmp_path, what):
    folder = tmp_path / "weights"
    if what == "unfinished":
        shutil.copytree(two_folds.out, folder)
        record = read_json(folder / "run.json") | {"complete": False}
        (folder / "run.json").write_text(json.dumps(record))
    elif what != "nothing":
        shutil.copytree(two_folds.out / "member-0", folder)
        card = read_json(folder / "card.json")
        if what == "segmenter":
            card["kind"] = "segmenter"
        else:
            card["architecture"]["metadata_width"] = 0
        (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(LesionError):
        LesionClassifier.load(folder, device="cpu")


def test_the_commands_run_from_the_shell(two_folds, tmp_path, capsys):
    assert main(["models"]) == 0
    assert "concat" in capsys.readouterr().out
    assert main(["models", "--encoders", "test_res"]) == 0
    assert "test_resnet" in capsys.readouterr().out
    words = ["--weights", two_folds.out, "--dataset", "phantom", "--root", two_folds.root,
             "--masks", two_folds.masks, "--out", tmp_path / "p.csv", "--workers", "0",
             "--tta", "2"]  # fmt: skip
    assert main(["predict", *map(str, words)]) == 0
    assert main(["train", "--dataset", "phantom", "--focus", "blurred", "--out", "x"]) == 2
    assert "soft_background" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "kept"),
    [("none", None), ("[age]", ["age"]), ("age,sex", ["age", "sex"]), ("auto", ["auto"])],
)
def test_metadata_can_be_said_in_every_way(tmp_path, flag, kept):
    from clsstage.commands import COMMANDS
    from clsstage.config import TrainConfig
    from lesioncore.flags import parse_config

    parsed = parse_config(
        "clsstage train",
        COMMANDS["train"],
        ["--dataset", "phantom", "--out", str(tmp_path), "--metadata", flag],
    )
    assert isinstance(parsed, TrainConfig)
    assert parsed.metadata == kept
