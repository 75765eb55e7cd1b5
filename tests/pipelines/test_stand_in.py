"""`lesion prepare --patients`: a stand-in in the layout of ISIC 2024, the same however made."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import h5py
import numpy as np
import pandas as pd
import pytest

from lesioncore.errors import LesionError, UsageError
from lesioncore.phantoms.standin import Plan, archive, make_stand_in, plan, tiles
from lesioncore.phantoms.standin.jobs import run_jobs
from lesioncore.readers import create_reader
from pipelines.commands import main
from pipelines.config import DoctorConfig
from pipelines.doctor_data import data_findings
from pipelines.prepare import prepare
from pipelines.prepare_config import PrepareConfig

OFFICIAL = [
    "isic_id", "target", "patient_id", "age_approx", "sex", "anatom_site_general",
    "clin_size_long_diam_mm", "image_type", "tbp_tile_type", "tbp_lv_A", "tbp_lv_Aext", "tbp_lv_B",
    "tbp_lv_Bext", "tbp_lv_C", "tbp_lv_Cext", "tbp_lv_H", "tbp_lv_Hext", "tbp_lv_L", "tbp_lv_Lext",
    "tbp_lv_areaMM2", "tbp_lv_area_perim_ratio", "tbp_lv_color_std_mean", "tbp_lv_deltaA",
    "tbp_lv_deltaB", "tbp_lv_deltaL", "tbp_lv_deltaLB", "tbp_lv_deltaLBnorm",
    "tbp_lv_eccentricity", "tbp_lv_location", "tbp_lv_location_simple", "tbp_lv_minorAxisMM",
    "tbp_lv_nevi_confidence", "tbp_lv_norm_border", "tbp_lv_norm_color", "tbp_lv_perimeterMM",
    "tbp_lv_radial_color_std_max", "tbp_lv_stdL", "tbp_lv_stdLExt", "tbp_lv_symm_2axis",
    "tbp_lv_symm_2axis_angle", "tbp_lv_x", "tbp_lv_y", "tbp_lv_z", "attribution",
    "copyright_license", "lesion_id", "iddx_full", "iddx_1", "iddx_2", "iddx_3", "iddx_4",
    "iddx_5", "mel_mitotic_index", "mel_thick_mm", "tbp_lv_dnn_lesion_confidence",
]  # fmt: skip
N, PATIENTS = 60, 3


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Parts of 16 tiles and files of one patient, so that 60 tiles come in several pieces."""
    for module in ("plan", "store", "table"):
        monkeypatch.setattr(f"lesioncore.phantoms.standin.{module}.BLOCK", 16)
    monkeypatch.setattr("lesioncore.phantoms.standin.pool.CHUNK", 1)


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    make_stand_in(tmp_path / "s", Plan(N, PATIENTS, seed=5, prevalence=0.1))
    return tmp_path / "s"


def _jpegs(root: Path) -> dict[str, bytes]:
    with h5py.File(root / "train-image.hdf5") as store:
        return {key: store[key][()] for key in store}


def _digests(root: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.iterdir()
        if path.is_file()
    }


def test_table_has_the_official_columns_and_says_synthetic(stand_in):
    assert len(OFFICIAL) == 55
    table = pd.read_csv(stand_in / "train-metadata.csv")
    assert list(table.columns) == OFFICIAL
    assert len(table) == N and table["isic_id"].is_unique
    assert table["target"].sum() == 6 and table["patient_id"].nunique() == PATIENTS
    for column in ("attribution", "copyright_license"):
        assert (table[column] == "synthetic phantom, made for benchmarks").all()
    assert table["isic_id"].str.startswith("PHANTOM_TILE_").all()
    assert "synthetic phantom, made for benchmarks" in (stand_in / "README.md").read_text()
    malignant = table["target"] == 1
    assert (table["iddx_1"] == np.where(malignant, "Malignant", "Benign")).all()
    assert table.loc[malignant, "lesion_id"].notna().all()
    assert (table["tbp_lv_areaMM2"].between(0.5, 150)).all()
    assert table.groupby("patient_id")["sex"].nunique(dropna=False).max() == 1
    assert sorted(item.name for item in stand_in.iterdir()) == [
        "README.md", "stand-in.json", "train-image.hdf5", "train-metadata.csv",
    ]  # fmt: skip


def test_store_holds_square_jpegs_as_the_official_one_does(stand_in):
    with h5py.File(stand_in / "train-image.hdf5") as store:
        table = pd.read_csv(stand_in / "train-metadata.csv")
        assert list(store) == sorted(table["isic_id"]) == list(table["isic_id"])
        first = store[table["isic_id"][0]]
        assert first.shape == () and first.dtype.kind == "S"  # as in the sample, |S3318
    data = _jpegs(stand_in)
    sides = []
    for encoded in data.values():
        picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[0] == picture.shape[1]
        sides.append(len(picture))
    assert 91 <= min(sides) < 115 < 145 < max(sides) <= 157
    # Official tiles of the same mean side take about 2.7 KB.
    assert 2200 < np.mean([len(encoded) for encoded in data.values()]) < 3300
    assert len(set(data.values())) == N


def test_reader_reads_it_and_calls_it_synthetic(stand_in):
    manifest = create_reader("isic2024", stand_in).read()
    assert len(manifest) == N and (manifest["source"] == "synthetic phantom").all()
    assert (manifest["modality"] == "tile").all() and manifest["target"].sum() == 6
    assert manifest["diagnosis"].notna().all()


def test_doctor_finds_nothing_wrong(stand_in):
    found = {
        finding.name: finding
        for finding in data_findings(DoctorConfig(dataset="isic2024", root=stand_in))
    }
    assert found["files"].state == "ok" and found["labels"].state == "ok"
    assert found["duplicates"].state == "ok"
    assert all(finding.state != "missing" for finding in found.values())


def test_tile_depends_on_seed_and_number_alone(stand_in, tmp_path):
    make_stand_in(tmp_path / "more", Plan(N + 30, PATIENTS, seed=5))
    mine, more = _jpegs(stand_in), _jpegs(tmp_path / "more")
    assert all(more[key] == mine[key] for key in mine)
    make_stand_in(tmp_path / "other", Plan(20, PATIENTS, seed=6))
    assert not set(_jpegs(tmp_path / "other").values()) & set(mine.values())


def test_every_patient_has_a_tile_and_few_have_many():
    wanted = Plan(400, 40, seed=1)
    patients = np.concatenate([wanted.draws(block).patient for block in wanted.blocks])
    counts = np.bincount(patients, minlength=40)
    assert counts.min() >= 1 and counts.max() > 4 * np.median(counts)
    assert Plan(401_059, 1042).positives == 393
    assert Plan(60, 3).positives == 1  # too few for the prevalence, but never none


def test_run_that_was_cut_off_goes_on_to_the_same_bytes(stand_in, tmp_path, monkeypatch):
    out, wanted = tmp_path / "cut", Plan(N, PATIENTS, seed=5, prevalence=0.1)
    drawn = []

    def draw_or_stop(*arguments):
        if len(drawn) == 25:
            raise KeyboardInterrupt
        drawn.append(arguments)
        return real(*arguments)

    real = tiles.draw_tile
    monkeypatch.setattr(tiles, "draw_tile", draw_or_stop)
    with pytest.raises(KeyboardInterrupt):
        make_stand_in(out, wanted)
    assert not (out / "train-image.hdf5").exists() and not (out / "train-metadata.csv").exists()
    drawn.clear()
    monkeypatch.setattr(tiles, "draw_tile", lambda *a: drawn.append(a) or real(*a))
    monkeypatch.setattr(
        archive, "draw_chunk", lambda *_: pytest.fail("the pool was finished already")
    )
    make_stand_in(out, wanted)
    assert len(drawn) == N - 16  # the finished part is not drawn again
    assert _digests(out) == _digests(stand_in)


def test_cut_while_the_store_is_written_leaves_no_store(stand_in, tmp_path, monkeypatch):
    out, wanted = tmp_path / "cut", Plan(N, PATIENTS, seed=5, prevalence=0.1)
    with monkeypatch.context() as patch:
        patch.setattr(
            "lesioncore.phantoms.standin.store.read_part", lambda *_: iter([b"half", 1 / 0])
        )
        with pytest.raises(ZeroDivisionError):
            make_stand_in(out, wanted)
    assert not (out / "train-image.hdf5").exists()
    part = tiles.part_path(out / "unfinished", 1)
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(LesionError, match="damaged"):
        make_stand_in(out, wanted)
    make_stand_in(out, wanted)
    assert _digests(out) == _digests(stand_in)


@pytest.mark.slow
def test_workers_change_nothing(tmp_path, monkeypatch):
    # The workers are processes of their own: they know nothing of the small pieces.
    monkeypatch.undo()
    wanted = Plan(plan.BLOCK + 40, 40, seed=2)
    make_stand_in(tmp_path / "one", wanted)
    make_stand_in(tmp_path / "two", wanted, workers=2)
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")


def test_killed_worker_is_named():
    with pytest.raises(LesionError, match="a process was killed while drawing tiles") as caught:
        run_jobs(os._exit, [3, 4, 5], 2, "drawing tiles")
    assert "same command again" in str(caught.value)


def test_command_writes_manifest_and_checks_and_repeats_for_nothing(tmp_path, capsys):
    out = tmp_path / "s"
    call = ["prepare", "--dataset", "phantom", "--n", "40", "--patients", "2", "--workers", "1"]
    assert main([*call, "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert "Synthetic" in page and "40 images" in page
    checks = json.loads((out / "checks.json").read_text())
    assert checks["labels"]["target"]["malignant"] == 1 and checks["patients"] == 2
    assert len(checks["model_columns"]) == 32  # as many as the official table has for models
    before = (out / "train-image.hdf5").stat().st_mtime_ns
    assert main([*call, "--out", str(out)]) == 0
    assert (out / "train-image.hdf5").stat().st_mtime_ns == before
    assert not (out / "images").exists() and not (out / "masks").exists()


def test_folder_with_something_else_is_refused(stand_in, tmp_path):
    with pytest.raises(LesionError, match=r"seed is 5, not 6"):
        make_stand_in(stand_in, Plan(N, PATIENTS, seed=6, prevalence=0.1))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(LesionError, match=r"not empty.*notes\.txt"):
        make_stand_in(tmp_path / "full", Plan(N, PATIENTS))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(LesionError, match="is a file"):
        make_stand_in(tmp_path / "file", Plan(N, PATIENTS))
    with pytest.raises(LesionError, match="holds no phantoms"):
        prepare(PrepareConfig(dataset="phantom", out=stand_in, n=9))


def test_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = SimpleNamespace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(LesionError, match=r"0\.93 GiB are free.*401,059 tiles.*3\.\d\d GiB"):
        make_stand_in(tmp_path / "s", Plan(401_059, 1042))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 400, "patients": 1042}, "1042 for 400 tiles"),
        ({"n": 40, "patients": 0}, "patients is 0"),
        ({"n": 1, "patients": 1}, "--n is 1"),
        ({"n": 10_000_000, "patients": 9}, "--n is 10000000"),
        ({"n": 40, "patients": 4, "prevalence": 1.0}, "prevalence"),
        ({"n": 40, "patients": 4, "seed": -1}, "seed"),
        ({"n": 40, "patients": 4, "size": 64}, "size"),
        ({"n": 40, "patients": 4, "dataset": "isic2024"}, "patients"),
        ({"n": 40, "patients": 4, "root": Path("there")}, "patients"),
    ],
)
def test_wrong_numbers_are_wrong_calls(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        prepare(PrepareConfig(**{"dataset": "phantom", "out": tmp_path / "s"} | options))
    assert not (tmp_path / "s").exists()
