"""`lesion audit` finds every planted fault and names it, and finds nothing in a clean archive."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from lesioncore.errors import LesionError, UsageError
from pipelines.audit.audit import audit
from pipelines.audit_config import AuditConfig
from pipelines.commands import main
from tests.pipelines.audit_archives import Archive, clean_archive, faulty_archive


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return clean_archive(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="session")
def faulty(clean: Archive, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return faulty_archive(clean, tmp_path_factory.mktemp("audit") / "faulty")


def config(archive: Archive, out: Path, **options) -> AuditConfig:
    given = {
        "split": str(archive.root / "split.csv"),
        "predictions": archive.root / "predictions.csv",
        "threshold": 0.5,
        "resamples": 300,
        "workers": 0,
    }
    return AuditConfig(
        dataset="csv", root=archive.root / "manifest.csv", out=out, **given | options
    )


def findings(out: Path) -> dict[str, dict]:
    found = json.loads((out / "audit.json").read_text())["findings"]
    return {one["key"]: one for one in found}


@pytest.fixture(scope="session")
def clean_audit(clean: Archive, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    out = tmp_path_factory.mktemp("clean-audit")
    return audit(config(clean, out)), out


@pytest.fixture(scope="session")
def audited(faulty: Archive, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    out = tmp_path_factory.mktemp("faulty-audit")
    return audit(config(faulty, out, leave_out=["hospital"])), out


def test_nothing_is_found_in_a_clean_archive(clean_audit: tuple[int, Path]) -> None:
    code, out = clean_audit
    found = findings(out)
    wrong = {
        key: one["found"] for key, one in found.items() if one["level"] in ("error", "warning")
    }
    assert (code, wrong) == (0, {})


ERRORS = {
    "patient-overlap": "patient",
    "lesion-overlap": "lesion",
    "exact-duplicates-across-parts": "exact",
    "near-duplicates-across-parts": "near",
    "label-conflict-of-copies": "conflict",
    "faces": "face",
    "unreadable-images": "file",
}


@pytest.mark.parametrize("key", ERRORS)
def test_a_fault_of_images_is_an_error_that_names_them(
    key: str, faulty: Archive, audited: tuple[int, Path]
) -> None:
    code, out = audited
    one = findings(out)[key]
    assert code == 1
    assert one["level"] == "error"
    assert one["mend"]
    named = {name for group in one["examples"] for name in group}
    planted = set(faulty.planted[ERRORS[key]])
    if key in ("patient-overlap", "lesion-overlap"):
        assert named & planted  # one image of each part is named
    else:
        assert named == planted


def test_a_lesion_under_two_patients_is_told(faulty: Archive, audited: tuple[int, Path]) -> None:
    one = findings(audited[1])["lesions-of-several-patients"]
    assert (one["level"], one["count"]) == ("warning", 1)
    assert set(one["examples"][0]) == set(faulty.planted["lesion"])


def test_a_column_that_holds_the_answer_and_one_that_is_missing_with_it_are_found(
    audited: tuple[int, Path],
) -> None:
    found = findings(audited[1])
    leak = found["leaking-column:visit_score"]
    assert leak["level"] == "error"
    assert leak["figures"]["auc"]["low"] >= 0.95
    assert "leaking-missingness:months_followed" in found
    assert found["leaking-missingness:months_followed"]["figures"]["auc"]["low"] > 0.85
    assert not [key for key in found if key.startswith("leaking-column") and key != leak["key"]]


def test_the_background_and_the_hospital_are_found_to_tell_the_label(
    audited: tuple[int, Path],
) -> None:
    found = findings(audited[1])
    for name in ("background", "hospital"):
        one = found[f"shortcut:{name}"]
        assert one["level"] == "error", one["found"]
        assert one["figures"]["auc"]["low"] >= 0.9


def test_the_subgroup_that_the_model_fails_is_found(audited: tuple[int, Path]) -> None:
    found = findings(audited[1])
    gap = found["subgroup-gap:Sex=female/AUC"]
    assert gap["level"] == "warning"
    assert gap["figures"]["auc_gap"]["high"] < 0
    assert "subgroup-gap:Hospital=north/AUC" not in found


def test_no_score_is_claimed_of_few_images(clean_audit: tuple[int, Path]) -> None:
    rows = findings(clean_audit[1])["subgroups"]["figures"]["subgroups"]
    assert any(row["n"] < 30 for row in rows)
    for row in rows:
        assert ("auc" in row) == ("why" not in row)
        if row["n"] < 30:
            assert row["why"].endswith("too few")


def test_lists_to_leave_a_hospital_out_hold_its_images(
    faulty: Archive, audited: tuple[int, Path]
) -> None:
    from lesioncore.config import DataOptions
    from lesioncore.holdout import test_ids
    from lesioncore.readers import load_manifest

    written = json.loads((audited[1] / "audit.json").read_text())["leave_out"]
    assert [one["value"] for one in written] == ["south", "north"]
    manifest = load_manifest(DataOptions(dataset="csv", root=faulty.root / "manifest.csv"))
    for one in written:
        table = faulty.table
        wanted = set(table.loc[table["hospital"] == one["value"], "image_id"])
        assert test_ids(manifest, "csv", one["list"]) == wanted


def test_the_page_is_whole_and_shows_no_person(audited: tuple[int, Path]) -> None:
    page = (audited[1] / "audit.html").read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "do not believe a score" in page
    assert page.count("data:image/jpeg") >= 8
    assert 'alt="COPY_SMALL"' in page
    assert 'alt="FACE"' not in page


def test_a_finding_can_be_accepted_by_name(faulty: Archive, tmp_path: Path, audited) -> None:
    options = {"only": ["faces", "columns"], "skip": ["files"]}
    assert audit(config(faulty, tmp_path / "a", **options)) == 1
    allow = ["faces", "leaking-column:visit_score", "leaking-missingness"]
    assert audit(config(faulty, tmp_path / "a", allow=allow, **options)) == 0
    found = findings(tmp_path / "a")
    assert found["faces"]["accepted"] is True
    assert {one["check"] for one in found.values()} == {"faces", "columns"}


def test_a_second_audit_decodes_no_image_again(
    clean: Archive, clean_audit: tuple[int, Path], tmp_path: Path, monkeypatch
) -> None:
    import shutil

    shutil.copy(clean_audit[1] / "looks.parquet", tmp_path)
    before = findings(clean_audit[1])["near-duplicates"]

    def refuse(*_, **__):
        raise AssertionError("an image was decoded again")

    monkeypatch.setattr("pipelines.audit.looks.decode_image", refuse)
    assert audit(config(clean, tmp_path, only=["duplicates", "faces"])) == 0
    assert findings(tmp_path)["near-duplicates"] == before


def test_copies_between_archives_are_found_without_a_split(clean: Archive, tmp_path: Path) -> None:
    import cv2

    other = tmp_path / "other"
    other.mkdir()
    first = clean.root / "images" / f"{clean.table['image_id'][0]}.jpg"
    image = cv2.imread(str(first))
    cv2.imwrite(str(other / "again.jpg"), cv2.resize(image, (70, 70)))
    found = tmp_path / "out"
    options = {"split": "auto", "predictions": None, "threshold": None, "only": ["duplicates"]}
    assert audit(config(clean, found, also={"folder": other}, **options)) == 0
    one = findings(found)["near-duplicates-across-archives"]
    assert one["level"] == "warning"
    assert set(one["examples"][0]) == {"again", first.stem}


def test_a_run_gives_its_split_scores_and_masks(fake_run, tmp_path: Path) -> None:
    code = audit(
        AuditConfig(
            dataset="phantom", root=fake_run.root, run=fake_run.paths.folder, out=tmp_path,
            workers=0, resamples=200, only=["overlap", "subgroups", "shortcuts"],
        )
    )  # fmt: skip
    found = findings(tmp_path)
    assert code == 0
    assert set(found["split"]["figures"]["parts"]) == {"training", "validation", "test list"}
    assert found["patient-overlap"]["level"] == "ok"
    assert found["subgroups"]


def test_a_table_without_images_can_be_audited(clean: Archive, tmp_path: Path) -> None:
    table = clean.table.assign(image="gone.jpg", mask=None, dx_type="histo")
    table.to_csv(tmp_path / "manifest.csv", index=False)
    out = tmp_path / "out"
    code = audit(
        AuditConfig(dataset="csv", root=tmp_path / "manifest.csv", out=out, images=False,
                    workers=0, resamples=200)
    )  # fmt: skip
    found = findings(out)
    assert code == 0
    assert found["leaking-names"]["figures"]["columns"] == ["diagnosis_raw", "dx_type"]
    assert found["duplicates"]["level"] == "note"
    assert not (out / "looks.parquet").exists()


def test_wrong_calls_say_what_was_wanted(clean: Archive, tmp_path: Path, capsys) -> None:
    with pytest.raises(UsageError, match="unknown check 'leaks'"):
        audit(config(clean, tmp_path, only=["leaks"]))
    with pytest.raises(LesionError, match="names none of the 200 images"):
        foreign = tmp_path / "foreign.csv"
        pd.DataFrame({"image_id": ["x"], "split": ["train"]}).to_csv(foreign, index=False)
        audit(config(clean, tmp_path, split=str(foreign)))
    with pytest.raises(UsageError, match="no column 'ward' to leave out by"):
        audit(config(clean, tmp_path, only=["overlap"], leave_out=["ward"]))
    arguments = ["audit", "--dataset", "csv", "--root", str(clean.root), "--out", str(tmp_path)]
    assert main([*arguments, "--threshold", "0.5"]) == 2
    assert "--predictions FILE" in capsys.readouterr().err
