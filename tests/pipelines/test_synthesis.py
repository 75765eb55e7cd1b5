"""`lesion synthesize`: transplants on the training fold's skin, by seed and number alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.cache import MaskCacheWriter, MaskEntry
from lesioncore.config import DataOptions
from lesioncore.errors import LesionError, UsageError
from lesioncore.images import read_image, read_mask
from lesioncore.readers import load_manifest
from lesioncore.splits import assign_groups, make_split, member_ids, read_split, write_split
from lesioncore.synthetic import load_synthetic, usable
from pipelines.synthesis.folder import ITEMS
from pipelines.synthesis.material import load_material
from pipelines.synthesis.synthesize import synthesize
from pipelines.synthesis_config import SynthesizeConfig

COUNT = 48


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms, and their split into two folds."""
    from lesioncore.phantoms.archive import make_phantom_archive

    root = tmp_path_factory.mktemp("synthesis") / "phantoms"
    make_phantom_archive(root, COUNT, 3, 96, prevalence=0.5, artefacts=0.0)
    manifest = load_manifest(DataOptions(dataset="phantom", root=root, n=COUNT))
    split = make_split(manifest, folds=2, seed=0, labels=manifest["target"])
    write_split(root.parent / "split.csv", split)
    return root


@pytest.fixture(scope="module", autouse=True)
def tiny_features():
    """Compare pictures by a network that costs nothing; lite0 has its own test."""
    import timm

    from pipelines.synthesis import features

    def tiny(_source: str) -> features._Network:
        network = timm.create_model("test_resnet.r160_in1k", pretrained=False, num_classes=0)
        return features._Network(network, "tiny", 32, (0.5,) * 3, (0.5,) * 3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "_of_imagenet", tiny)
        yield


def _config(archive: Path, out: Path, **more: object) -> SynthesizeConfig:
    options: dict[str, object] = {
        "method": "transplant", "dataset": "phantom", "root": archive,
        "split": archive.parent / "split.csv", "out": out, "n": 4, "max_failed": 4,
        "feature_weights": "none", "copy_percentile": 0.0, "workers": 0,
    }  # fmt: skip
    return SynthesizeConfig(**(options | more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> SynthesizeConfig:
    """A finished synthesis of four transplants."""
    config = _config(archive, tmp_path_factory.mktemp("made") / "out")
    assert synthesize(config) == 0
    return config


def _files(out: Path) -> dict[str, bytes]:
    parts = [path for name in ("images", "masks") for path in sorted((out / name).iterdir())]
    return {path.name: path.read_bytes() for path in [*parts, out / "manifest.csv"]}


def test_a_synthesis_leaves_images_masks_manifest_report_and_sheet(made: SynthesizeConfig):
    table = load_synthetic(made.out)
    assert len(table) >= 2
    for row in table.itertuples():
        image = read_image(row.image)
        assert read_mask(row.mask, image.shape[:2]).any()
        assert Path(row.mask).name == f"{row.image_id}_segmentation.png"
    report = json.loads((made.out / "report.json").read_text())
    assert report["counts"]["in the manifest"] == len(table)
    assert report["counts"]["asked"] == 4
    assert report["neighbours"]["real_images"] > 10
    assert (made.out / "sheet.png").is_file()
    assert "not" in (made.out / "summary.md").read_text() and "redrawn" in report


def test_rows_are_the_donors_and_name_both_parents(made: SynthesizeConfig, archive: Path):
    real = load_manifest(DataOptions(dataset="phantom", root=archive)).set_index("image_id")
    for row in load_synthetic(made.out).itertuples():
        donor, recipient = real.loc[row.parent_donor], real.loc[row.parent_recipient]
        assert (row.target, row.synthetic, row.source) == (1, "transplant", "synthetic")
        assert donor["target"] == 1 and recipient["target"] == 0
        assert row.diagnosis == donor["diagnosis"]
        assert row.lesion_id == donor["lesion_id"] and row.patient_id == donor["patient_id"]
        assert recipient["patient_id"] != donor["patient_id"]


def test_a_split_of_all_images_keeps_a_transplant_with_its_donor(made, archive):
    real = load_manifest(DataOptions(dataset="phantom", root=archive))
    synthetic = load_synthetic(made.out)
    groups = assign_groups(pd.concat([real, synthetic], ignore_index=True))
    for row in synthetic.itertuples():
        assert groups[row.image_id] == groups[row.parent_donor]


def test_only_training_images_of_the_fold_are_read(archive: Path, tmp_path: Path, monkeypatch):
    from pipelines.synthesis import material

    training, validation = member_ids(read_split(archive.parent / "split.csv"), 1)
    read: set[str] = set()

    def noted(function):
        def call(path, *more):
            read.add(Path(path).stem.removesuffix("_segmentation"))
            return function(path, *more)

        return call

    monkeypatch.setattr(material, "read_image", noted(read_image))
    monkeypatch.setattr(material, "read_mask", noted(read_mask))
    config = _config(archive, tmp_path / "out", fold=1, n=2)
    assert synthesize(config) == 0
    assert read and read <= set(training) and not read & set(validation)
    with pytest.raises(LesionError, match="no training image of this fold"):
        load_material(config).lesion(validation[0])


def test_synthetic_images_are_usable_only_where_both_parents_train(made: SynthesizeConfig):
    table = load_synthetic(made.out)
    training, validation = member_ids(read_split(made.split), 0)
    assert usable(table, training).all()
    assert not usable(table, validation).any()
    without = set(training) - {table["parent_recipient"].iloc[0]}
    assert not usable(table, without)[0]
    assert not set(table["image_id"]) & {*training, *validation}


def test_seed_and_number_alone_decide_an_image_and_a_killed_run_resumes(
    made: SynthesizeConfig, tmp_path: Path
):
    part = dataclasses.replace(made, out=tmp_path / "out", n=2)
    synthesize(part)
    # Killed while the third was written: a line without its end, a picture without a line.
    with (part.out / ITEMS).open("a") as lines:
        lines.write('{"number": 2, "image_')
    (part.out / "manifest.csv").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in (part.out / "images").iterdir()}
    synthesize(dataclasses.replace(part, n=4))
    assert _files(part.out) == _files(made.out)
    for name, time in before.items():
        assert (part.out / "images" / name).stat().st_mtime_ns == time
    other = dataclasses.replace(made, out=tmp_path / "other", seed=1)
    synthesize(other)
    assert set(_files(other.out)) != set(_files(made.out))


def test_loader_processes_change_nothing(made: SynthesizeConfig, tmp_path: Path):
    config = dataclasses.replace(made, out=tmp_path / "out", workers=2)
    synthesize(config)
    assert _files(config.out) == _files(made.out)


def test_an_unfinished_synthesis_is_not_learned_from(made: SynthesizeConfig, tmp_path: Path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(made.out, copy)
    record = json.loads((copy / "synthesis.json").read_text())
    (copy / "synthesis.json").write_text(json.dumps(record | {"complete": False}))
    with pytest.raises(LesionError, match="has not finished"):
        load_synthetic(copy)
    with pytest.raises(LesionError, match="holds no synthetic images"):
        load_synthetic(tmp_path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"parent_donor": None}, "no parents"),
        ({"target": 0}, "`target` is not 1"),
        ({"synthetic": "painted"}, "`synthetic` is not one of"),
        ({"mask": None}, "no mask"),
    ],
)
def test_a_manifest_that_hides_its_parents_is_refused(made, tmp_path: Path, change, what):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(made.out, copy)
    table = pd.read_csv(copy / "manifest.csv")
    table.assign(**change).to_csv(copy / "manifest.csv", index=False)
    with pytest.raises(LesionError, match=what):
        load_synthetic(copy)


def test_an_archive_without_malignant_lesions_has_no_donors(archive: Path, tmp_path: Path):
    table = pd.read_csv(archive / "metadata.csv", dtype=str)
    table = table.assign(
        image="images/" + table["image_id"] + ".jpg",
        mask="masks/" + table["image_id"] + "_segmentation.png",
        target=0,
        diagnosis="nevus",
    )
    path = archive.parent / "benign.csv"
    table.assign(**{name: str(archive) + "/" + table[name] for name in ("image", "mask")}).to_csv(
        path, index=False
    )
    config = _config(archive, tmp_path / "out", dataset="csv", root=path, policy="cancer")
    with pytest.raises(LesionError, match="no malignant donor"):
        synthesize(config)
    assert not config.out.exists()


def test_a_split_of_another_archive_is_refused(archive: Path, tmp_path: Path):
    split = read_split(archive.parent / "split.csv")
    other = split.assign(image_id="other_" + split["image_id"])
    write_split(tmp_path / "split.csv", other)
    with pytest.raises(LesionError, match=r"none of the .* training images .* is in phantom"):
        synthesize(_config(archive, tmp_path / "out", split=tmp_path / "split.csv"))
    with pytest.raises(LesionError, match="no member 2"):
        synthesize(_config(archive, tmp_path / "out", fold=2))


def test_folders_of_something_else_and_other_settings_are_refused(made, tmp_path: Path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(LesionError, match="holds no synthetic images"):
        synthesize(dataclasses.replace(made, out=tmp_path))
    with pytest.raises(LesionError, match="seed: 0 -> 5"):
        synthesize(dataclasses.replace(made, seed=5))


def _cache(archive: Path, folder: Path, **odd: object) -> Path:
    manifest = load_manifest(DataOptions(dataset="phantom", root=archive))
    with MaskCacheWriter(folder, {"segmenter": "truth"}) as writer:
        for row in manifest.itertuples():
            mask = read_mask(row.mask)
            common = {"image_id": row.image_id, "image_sha256": "0" * 64, "member": "0"}
            if odd.get("failed"):
                writer.add(MaskEntry.failed(**common, reason="no such lesion"))
            else:
                writer.add(
                    MaskEntry.from_mask(
                        **common, mask=mask, in_sample=False, quality=odd.get("quality", 0.9)
                    )
                )
        writer.complete()
    return folder


def test_masks_of_a_cache_are_used_as_far_as_they_are_trusted(archive: Path, tmp_path: Path):
    cache = _cache(archive, tmp_path / "cache")
    config = _config(archive, tmp_path / "out", masks=cache)
    material = load_material(config)
    files = load_material(dataclasses.replace(config, masks=None))
    assert material.counts() == files.counts()
    assert material.counts()["donors"] > 3
    name = material.donors["image_id"].iloc[0]
    np.testing.assert_array_equal(material.lesion(name).mask, files.lesion(name).mask)
    with pytest.raises(LesionError, match="mask that can be trusted"):
        load_material(dataclasses.replace(config, min_quality=0.95))
    bad = _cache(archive, tmp_path / "bad", failed=True)
    with pytest.raises(LesionError, match="no such lesion"):
        synthesize(dataclasses.replace(config, masks=bad))


def test_lesions_at_the_border_are_no_donors(archive: Path, tmp_path: Path):
    material = load_material(_config(archive, tmp_path / "out"))
    for image_id in material.donors["image_id"]:
        mask = material.lesion(image_id).mask
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def test_flags_out_of_range_are_refused(archive: Path, tmp_path: Path):
    for wrong in ({"n": 0}, {"size": 60}, {"min_quality": 1.5}, {"seed": -1}):
        with pytest.raises(UsageError):
            _config(archive, tmp_path, **wrong)
