"""What the audit measures: parts of any split, columns alone, subgroups, backgrounds, faces."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lesioncore.errors import LesionError
from lesioncore.metrics import Interval, roc_auc
from lesioncore.phantoms import make_phantom
from lesioncore.splits import make_split, write_split
from pipelines.audit.background import FEATURES, ITA, background_figures
from pipelines.audit.checks.columns import level_of
from pipelines.audit.checks.subgroups import subgroup_rows
from pipelines.audit.face_finder import find_faces
from pipelines.audit.looks import FILE, look_at_images
from pipelines.audit.parts import read_parts, split_of_run
from pipelines.audit.predictive import (
    category_predictor,
    column_predictors,
    enough,
    number_predictor,
    out_of_fold_means,
    sample_rows,
)
from pipelines.audit.subgroup_scores import difference, is_far, with_ends
from tests.pipelines.audit_archives import face


def rows(count: int, positives: int, seed: int = 0):
    labels = np.zeros(count)
    labels[np.random.default_rng(seed).choice(count, positives, replace=False)] = 1
    return labels, np.array([f"patient {row // 2}" for row in range(count)], object)


@pytest.mark.parametrize("folds", [1, 3])
def test_a_split_of_ours_is_named_by_what_its_parts_are_for(folds: int, tmp_path: Path) -> None:
    ids = [f"i{row}" for row in range(40)]
    manifest = pd.DataFrame({"image_id": ids, "target": [0.0, 1.0] * 20})
    manifest["patient_id"] = [f"p{row // 2}" for row in range(40)]
    split = make_split(manifest, folds=folds, seed=0, test_ids=["i0", "i2"])
    write_split(tmp_path / "split.csv", split)
    parts = read_parts(tmp_path / "split.csv")
    names = {1: {"training", "validation"}, 3: {"fold 0", "fold 1", "fold 2"}}[folds]
    assert set(parts.of.dropna()) == {*names, "test list"}
    assert parts.of[["i0", "i2"]].tolist() == ["test list"] * 2
    assert parts.of[["i1", "i3"]].isna().all()  # their patients' other images: used for nothing
    assert split_of_run(tmp_path) == tmp_path / "split.csv"


def test_a_table_of_another_tool_is_a_split(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    table = pd.DataFrame({"isic_id": ["0001.jpg", "0002", "0003", "0003"]})
    table.assign(fold=[0, 1, 1, 2]).to_csv(path, index=False)
    parts = read_parts(path)
    assert parts.of.to_dict() == {"0001": "fold 0", "0002": "fold 1", "0003": "fold 1"}
    assert parts.torn == ["0003"]
    assert parts.named(["0002", "x"]).tolist() == ["fold 1", None] or parts.named(
        ["0002", "x"]
    ).isna().tolist() == [False, True]
    table.to_csv(path, index=False)
    with pytest.raises(LesionError, match="no column that divides the images"):
        read_parts(path)
    with pytest.raises(LesionError, match=r"no split\.csv"):
        split_of_run(tmp_path / "none")


def test_no_claim_is_made_of_few_rows_or_of_few_patients() -> None:
    labels, groups = rows(29, 14)
    assert enough(labels, groups) == "n = 29: too few"
    labels, groups = rows(200, 20)
    assert enough(labels, groups) == ""
    groups[labels == 1] = "one patient"
    assert enough(labels, groups) == "1 malignant cases: too few"
    assert number_predictor(labels, labels, groups) is None


def test_an_auc_has_its_direction_and_its_interval() -> None:
    labels, groups = rows(300, 60)
    values = -labels + np.random.default_rng(1).normal(0, 0.4, 300)
    values[:30] = np.nan
    one = number_predictor(values, labels, groups, resamples=200)
    assert one is not None
    kept = slice(30, None)
    assert one.auc.value == pytest.approx(1 - roc_auc(labels[kept], values[kept]))
    assert one.auc.low < one.auc.value < one.auc.high
    assert (one.rises, one.n, one.missing) == (False, 270, pytest.approx(0.1))


def test_noise_is_never_called_a_leak_however_few_the_positives() -> None:
    rng = np.random.default_rng(2)
    for positives in (5, 8, 20):
        labels, groups = rows(400, positives, positives)
        for number in range(40):
            kind = number % 3
            values = pd.Series(rng.normal(size=400))
            if kind == 1:
                values = pd.Series(rng.integers(0, 40, 400).astype(str))
            if kind == 2:
                values = values.mask(rng.random(400) < 0.3)
            found = column_predictors(values, labels, groups, resamples=200)
            assert [level_of(one) for one in found] == [None] * len(found)


def test_a_category_is_scored_by_what_other_folds_say() -> None:
    labels, groups = rows(400, 120)
    words = np.where(labels == 1, "biopsy", "expert")
    sure = category_predictor(pd.Series(words), labels, groups, resamples=100)
    assert sure is not None
    assert sure.auc.value == 1
    alone = np.array([f"case {row}" for row in range(400)], object)
    assert (out_of_fold_means(alone, labels, groups) == 0).all()  # unseen words say nothing


def test_rows_are_drawn_from_the_benign_ones() -> None:
    labels, _ = rows(1000, 30)
    labels[:100] = np.nan
    drawn = sample_rows(labels, 200)
    assert len(drawn) == 200
    assert (labels[drawn] == 1).sum() == np.nansum(labels)
    assert (sample_rows(labels, 200) == drawn).all()
    assert not np.isnan(labels[drawn]).any()


def audit_data(labels, scores, groups, table: pd.DataFrame, threshold: float | None = 0.5):
    """Return what the check of subgroups looks at."""
    empty = dict.fromkeys(("sex", "age", "site", "modality", "source"))
    manifest = pd.DataFrame({**empty, **table}, index=range(len(labels)))
    manifest["age"] = manifest["age"].astype(float)
    config = SimpleNamespace(threshold=threshold, resamples=200, seed=0)
    return SimpleNamespace(
        labels=labels, scores=scores, groups=groups, manifest=manifest, config=config,
        cache=None, outside=None, hospital="hospital" if "hospital" in table else None,
    )  # fmt: skip


def test_subgroups_that_differ_by_chance_alone_are_not_called_gaps() -> None:
    rng = np.random.default_rng(3)
    labels, groups = rows(1500, 300)
    scores = 1 / (1 + np.exp(-(rng.normal(size=1500) + labels)))
    table = pd.DataFrame({"sex": rng.choice(["female", "male"], 1500)})
    table["site"] = rng.choice([f"site {n}" for n in range(8)], 1500)
    table["hospital"] = rng.choice([f"hospital {n}" for n in range(8)], 1500)
    found = subgroup_rows(audit_data(labels, scores, groups, table), np.ones(1500, bool))
    assert len(found) == 19
    assert not [row for row in found if row.far]
    assert all(row.auc is not None and row.found is not None for row in found)


def test_skin_tone_comes_from_the_skin_around_the_lesion() -> None:
    labels, groups = rows(200, 50)
    table = pd.DataFrame({"tbp_lv_Lext": [70.0, 35.0] * 100, "tbp_lv_Bext": [10.0, 15.0] * 100})
    rng = np.random.default_rng(4)
    scores = np.where(np.arange(200) % 2 == 0, labels, rng.random(200)).astype(float)
    found = subgroup_rows(audit_data(labels, scores, groups, table), np.ones(200, bool))
    by_name = {row.name: row for row in found}
    assert set(by_name) == {"all images", "very light", "dark"}
    assert "AUC" in by_name["dark"].far
    gap = by_name["dark"].auc_gap
    assert gap is not None
    assert gap.high < 0


def test_the_background_is_what_lies_outside() -> None:
    phantom = make_phantom(4, 128)
    plain = background_figures(phantom.image, phantom.mask)
    assert not [name for name in FEATURES if np.isnan(plain[name])]
    assert -90 < plain[ITA] < 90
    stuck = phantom.image.copy()
    stuck[-20:, :20] = (30, 80, 220)
    changed = background_figures(stuck, phantom.mask)
    assert changed["strong_blue"] + changed["strong_violet"] > 0.02
    assert changed["bottom_left_b"] < plain["bottom_left_b"] - 20
    inside = phantom.image.copy()
    inside[phantom.mask] = (0, 0, 0)
    same = background_figures(inside, phantom.mask)
    assert same["l_mean"] == pytest.approx(plain["l_mean"], abs=0.05)
    nothing = background_figures(phantom.image, np.ones_like(phantom.mask))
    assert all(np.isnan(nothing[name]) for name in FEATURES)


def test_a_face_is_found_whatever_its_size_and_side_and_a_lesion_is_none() -> None:
    import cv2

    person = face()
    for image in (person, person[:, ::-1].copy(), cv2.resize(person, (900, 950))):
        (box,) = find_faces(image)
        y0, x0, y1, x1 = (edge / image.shape[0] for edge in box)
        assert 0.05 < y0 < y1 < 0.75
        assert 0.15 < x0 < x1 < 0.85
    assert not any(find_faces(make_phantom(seed, 128).image) for seed in range(12))


def test_a_look_that_was_cut_off_goes_on(phantoms: Path, tmp_path: Path, monkeypatch) -> None:
    from lesioncore.config import DataOptions
    from lesioncore.readers import load_manifest
    from pipelines.audit import looks

    manifest = load_manifest(DataOptions(dataset="phantom", root=phantoms, n=96))
    decode, decoded = looks.decode_image, []

    def until(limit: int):
        def wrapped(data: bytes, name: str):
            if len(decoded) == limit:
                raise KeyboardInterrupt
            decoded.append(name)
            return decode(data, name)

        monkeypatch.setattr(looks, "decode_image", wrapped)

    until(70)
    with pytest.raises(KeyboardInterrupt):
        look_at_images(manifest, tmp_path, faces=False, workers=0)
    kept = len(pd.read_parquet(tmp_path / FILE))
    assert kept == 64  # whole batches
    until(1000)
    table = look_at_images(manifest, tmp_path, faces=False, workers=0)
    assert len(decoded) == 70 + 96 - 64
    assert table["seen"].all()
    assert table["square_0"].dtype == np.uint64
    assert table["faces"].isna().all()
    # A changed file is another picture; a gone one is told.
    moved = manifest.copy()
    moved.loc[0, "image"] = str(tmp_path / "gone.jpg")
    again = look_at_images(moved, tmp_path, faces=False, workers=0)
    assert "no such image" in again["problem"][0]
    assert not again["seen"][0]
    assert again["square_0"][0] == 0


@pytest.mark.real_data
def test_real_lesions_raise_no_alarm_of_faces_or_copies(real_data: Path, tmp_path: Path) -> None:
    from lesioncore.config import DataOptions
    from lesioncore.readers import load_manifest
    from pipelines.audit.copies import find_copies

    manifest = load_manifest(
        DataOptions(dataset="ham10000", root=real_data / "ham10000_200x150", limit=300)
    )
    # Two lesions, by their ids, that are one picture in two lights.
    known = {"ISIC_0025226", "ISIC_0030074"}
    table = look_at_images(manifest, tmp_path, workers=0)
    assert (table["faces"] == "[]").all()
    copies = find_copies(manifest, table, workers=0)
    lesions = manifest["lesion_id"].to_numpy()
    ids = manifest["image_id"].to_numpy()
    across = {(ids[a], ids[b]) for a, b in copies.pairs if lesions[a] != lesions[b]}
    assert all(set(pair) <= known for pair in across)
    assert not copies.exact


@pytest.mark.real_data
def test_the_known_copies_of_isic_are_found(real_data: Path, tmp_path: Path) -> None:
    from lesioncore.config import DataOptions
    from lesioncore.readers import load_manifest
    from pipelines.audit.copies import find_copies

    manifest = load_manifest(
        DataOptions(dataset="isic-task1", root=real_data / "isic2018_task1_512")
    )
    known = [("ISIC_0012290", "ISIC_0013594"), ("ISIC_0000519", "ISIC_0011295"),
             ("ISIC_0012672", "ISIC_0012673"), ("ISIC_0000222", "ISIC_0014846")]  # fmt: skip
    wanted = {name for pair in known for name in pair}
    chosen = manifest["image_id"].isin(wanted) | (np.arange(len(manifest)) % 40 == 0)
    manifest = manifest[chosen].reset_index(drop=True)
    table = look_at_images(manifest, tmp_path, faces=False, workers=0)
    ids = manifest["image_id"].to_numpy()
    pairs = find_copies(manifest, table, workers=0).pairs
    assert {(ids[a], ids[b]) for a, b in pairs} == set(known)


def test_seven_of_seven_found_is_no_proof_that_all_are() -> None:
    few = with_ends(Interval(1.0, 1.0, 1.0), 7)
    assert few.low == pytest.approx(0.646, abs=0.001)
    assert few.high == pytest.approx(1)
    many = Interval(0.945, 0.92, 0.97)
    gap = difference(few, many)
    assert gap.value == pytest.approx(0.055)
    assert gap.low < 0 < gap.high
    assert not is_far(gap, 1)
    assert with_ends(many, 7) == many


def test_a_gap_must_be_wider_the_more_subgroups_are_compared() -> None:
    gap = difference(Interval(0.70, 0.62, 0.78), Interval(0.82, 0.79, 0.85))
    assert gap.high < 0
    assert is_far(gap, 1)
    assert not is_far(gap, 40)
    assert is_far(difference(Interval(0.5, 0.42, 0.58), Interval(0.82, 0.79, 0.85)), 40)
