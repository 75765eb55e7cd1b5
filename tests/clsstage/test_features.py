"""`clsstage features`: rows, ids, members and values are those of the networks."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
import torch

from clsstage.commands import main
from clsstage.feature_file import FeatureWriter, read_features
from clsstage.features import FeatureMaker, features
from clsstage.features_config import FeaturesConfig
from clsstage.members import read_members
from lesioncore.cache import MaskCache
from lesioncore.errors import LesionError, UsageError
from lesioncore.images import read_image
from lesioncore.splits import read_split
from tests.clsstage.conftest import COUNT, of_run, write_cache


def config(two_folds, out, **changes) -> FeaturesConfig:
    return FeaturesConfig(**of_run(two_folds, out) | {"dtype": "float32"} | changes)


@pytest.fixture(scope="module")
def written(two_folds, tmp_path_factory):
    """The fused features of every member, in float32."""
    path = tmp_path_factory.mktemp("features") / "f.h5"
    assert features(config(two_folds, path)) == 0
    return path


def seen_by(member, manifest, masks, rows):
    """Return images and metadata of some rows as a member sees them."""
    cache = MaskCache(masks)
    part = manifest.iloc[rows]
    images = [
        member.view.see(read_image(image), cache.read(image_id))
        for image, image_id in zip(part["image"], part["image_id"], strict=True)
    ]
    return torch.from_numpy(np.stack(images)), torch.from_numpy(member.encoder.transform(part))


def test_a_row_an_image_in_the_order_of_the_archive(written, manifest):
    found = read_features(written)
    assert found.image_id.tolist() == manifest["image_id"].tolist()
    assert sorted(found.members) == [0, 1]
    assert all(
        len(values) == COUNT and np.isfinite(values).all() for values in found.members.values()
    )
    assert set(found.member) == {-1}
    assert set(found.rows["mask_status"]) == {"ok"}
    assert set(found.rows["focus"]) == {"dilated_crop+soft_background"}


@pytest.mark.parametrize("layer", ["fused", "image"])
def test_features_are_those_of_the_networks(two_folds, manifest, tmp_path, layer):
    features(config(two_folds, tmp_path / "f.h5", layer=layer))
    found = read_features(tmp_path / "f.h5")
    assert found.attributes["layer"] == layer
    rows = [0, 5, 20]
    for member in read_members(two_folds.out)[1]:
        network = member.network
        images, codes = seen_by(member, manifest, two_folds.masks, rows)
        with torch.no_grad():
            wanted = network.features(images, codes)
            if layer == "image":
                wanted = network.encoder.forward_head(network.encoder.forward_features(images))
        assert np.allclose(found.members[member.number][rows], wanted.numpy(), atol=1e-4)


def test_fused_features_give_the_classifiers_logits(written, two_folds, manifest):
    found = read_features(written)
    member = read_members(two_folds.out)[1][1]
    images, codes = seen_by(member, manifest, two_folds.masks, [3, 4])
    with torch.no_grad():
        wanted = member.network(images, codes)
        logits = member.network.classify(torch.from_numpy(found.members[1][[3, 4]]))
    assert torch.allclose(logits, wanted, atol=1e-4)


def test_float16_is_near_enough(two_folds, written, tmp_path):
    features(config(two_folds, tmp_path / "f.h5", dtype="float16"))
    with h5py.File(tmp_path / "f.h5") as file:
        assert file["features/member-0"].dtype == np.float16
    half, full = read_features(tmp_path / "f.h5").members[0], read_features(written).members[0]
    assert np.allclose(half, full, rtol=2e-3, atol=1e-3)


def test_values_too_large_for_float16_are_refused(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        writer = FeatureWriter(file, 2, "float16")
        with pytest.raises(LesionError, match=r"7e\+04 do not fit float16"):
            writer.put(0, np.array([0]), np.array([[7e4]], np.float32))


def test_out_of_fold_rows_are_of_the_member_that_did_not_see_them(two_folds, written, tmp_path):
    features(config(two_folds, tmp_path / "f.h5", members="out-of-fold"))
    found, every = read_features(tmp_path / "f.h5"), read_features(written)
    fold = read_split(two_folds.out / "split.csv").set_index("image_id")["fold"]
    assert found.member.tolist() == fold.reindex(found.image_id).tolist()
    for number, values in found.members.items():
        own = found.member == number
        assert own.any()
        assert np.allclose(values[own], every.members[number][own], atol=1e-4)
        assert np.isnan(values[~own]).all()


def test_workers_and_batches_change_nothing(two_folds, written, tmp_path):
    features(config(two_folds, tmp_path / "f.h5", workers=2, batch_size=5))
    one, two = read_features(written), read_features(tmp_path / "f.h5")
    assert np.allclose(one.members[1], two.members[1], atol=1e-4)


def test_images_that_cannot_be_read_are_rows_with_a_reason(two_folds, tmp_path):
    root = tmp_path / "archive"
    shutil.copytree(two_folds.root, root)
    broken = sorted((root / "images").iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:300])
    assert features(config(two_folds, tmp_path / "f.h5", root=root)) == 1
    assert features(config(two_folds, tmp_path / "f.h5", root=root, max_failed=1)) == 0
    found = read_features(tmp_path / "f.h5")
    failed = np.isnan(found.members[0]).all(axis=1)
    assert failed.sum() == 1
    row = found.rows[failed].iloc[0]
    assert (row["mask_status"], row["focus"]) == ("unread", "none")
    assert broken.name in row["reason"]


def test_masks_that_are_not_trusted_are_told_row_by_row(two_folds, manifest, tmp_path):
    masks = write_cache(tmp_path / "m", manifest.iloc[:20], quality=0.1)
    features(config(two_folds, tmp_path / "f.h5", masks=masks))
    rows = read_features(tmp_path / "f.h5").rows
    assert rows["mask_status"].tolist() == ["distrusted"] * 20 + ["missing"] * (COUNT - 20)
    assert set(rows["focus"]) == {"full"}
    assert (rows["reason"] != "").all()


def test_the_fingerprint_names_weights_view_and_masks(two_folds, written, manifest, tmp_path):
    first = read_features(written)
    members = read_members(two_folds.out)[1]
    assert first.fingerprint["networks"] == [{"weights_sha256": m.card.sha256} for m in members]
    assert first.fingerprint["view"]["focus"] == "dilated_crop+soft_background"
    edited = write_cache(tmp_path / "m", manifest, revision=1)
    features(config(two_folds, tmp_path / "f.h5", masks=edited))
    second = read_features(tmp_path / "f.h5")
    assert second.fingerprint["masks"]["max_revision"] == 1
    assert first.attributes["fingerprint_sha256"] != second.attributes["fingerprint_sha256"]


def test_an_encoder_without_training_has_features_too(two_folds, manifest, tmp_path):
    options = {"weights": None, "encoder": "test_resnet", "encoder_weights": "none", "size": 32}
    torch.manual_seed(0)
    given = config(two_folds, tmp_path / "f.h5", **options)
    assert features(given) == 0
    found = read_features(tmp_path / "f.h5")
    torch.manual_seed(0)
    maker = FeatureMaker.untrained(given)
    image, mask = read_image(manifest["image"].iloc[7]), MaskCache(two_folds.masks)
    seen = maker.view.see(image, mask.read(manifest["image_id"].iloc[7]))
    wanted = maker.compute(0, torch.from_numpy(seen)[None], torch.zeros(1, 0))[0].numpy()
    assert np.allclose(found.members[0][7], wanted, atol=1e-4)
    assert found.attributes["layer"] == "image"
    assert found.fingerprint["networks"][0]["encoder"] == "test_resnet"


def test_contradictions_are_refused(two_folds, tmp_path):
    with pytest.raises(UsageError, match="are both given"):
        config(two_folds, tmp_path / "f.h5", encoder="test_resnet")
    for wrong in ({"layer": "fused"}, {"members": "out-of-fold"}):
        with pytest.raises(UsageError, match="no fusion and no folds"):
            config(two_folds, tmp_path / "f.h5", weights=None, encoder="test_resnet", **wrong)


def test_a_failure_leaves_no_file_and_the_old_one_as_it_was(two_folds, tmp_path, monkeypatch):
    path = tmp_path / "f.h5"
    path.write_bytes(b"old")
    monkeypatch.setattr(FeatureWriter, "finish", lambda *a: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(RuntimeError):
        features(config(two_folds, path))
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["f.h5"]


def test_the_reader_refuses_what_is_no_file_of_features(tmp_path):
    with pytest.raises(LesionError, match="no such file"):
        read_features(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(LesionError, match="holds no features"):
        read_features(tmp_path / "other.h5")
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file.attrs["format"], file.attrs["schema_version"] = "lesion features", 99
    with pytest.raises(LesionError, match="schema version 99"):
        read_features(tmp_path / "new.h5")


def test_the_command_writes_a_file(two_folds, tmp_path):
    words = ["features", "--dataset", "phantom", "--root", str(two_folds.root), "--limit", "6"]
    words += ["--weights", str(two_folds.out), "--masks", str(two_folds.masks), "--device", "cpu"]
    assert main([*words, "--workers", "0", "--out", str(tmp_path / "f.h5")]) == 0
    assert len(read_features(tmp_path / "f.h5").image_id) == 6
