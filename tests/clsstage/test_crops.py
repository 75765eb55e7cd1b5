"""The crop cache: the same pictures as from the images, whole or resumed, never of other masks."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from clsstage.crops import CropCache, CropGeometry, build_crops, crop_source
from clsstage.crops import build as build_module
from clsstage.crops.crop import make_crop
from clsstage.crops.index import INDEX
from clsstage.crops.training import training_crops
from clsstage.crops.writer import CropWriter
from clsstage.dataset import Jitter, LesionDataset, TrainingDataset
from clsstage.focus import focus_box
from clsstage.mask_jitter import jitter_mask
from clsstage.masks import MaskChoices, MaskTrust, choose_masks
from clsstage.metadata import MetadataEncoder
from clsstage.view import View
from lesioncore.cache import MaskCache, MaskEntry
from lesioncore.cache.fingerprint import fingerprint_differences
from lesioncore.errors import LesionError
from lesioncore.files import read_json
from lesioncore.images import read_image
from lesioncore.loading import make_loader
from lesioncore.phantoms import make_phantom
from lesioncore.readers import create_reader
from lesioncore.transforms import classification_train
from tests.clsstage.conftest import tiny, write_cache

FOCUSES = (
    "full",
    "dilated_crop+soft_background",
    "crop+hard_background",
    "dilated_crop+lesion_only+mask_channel",
    "soft_background",
    "background_only+mask_channel",
)
MEAN, STD = (0.5,) * 4, (0.5,) * 4


def view_of(focus: str, size: int = 32, margin: float = 0.3) -> View:
    return View(focus, margin, 0.7, size, MEAN, STD)


def geometry_of(view: View, *jitter) -> CropGeometry:
    return CropGeometry.of(view.focus, view.margin, view.size, *jitter)


def entry_of(mask: np.ndarray, **changes) -> MaskEntry:
    soft = cv2.GaussianBlur(mask.astype(np.uint8) * 255, (0, 0), 1.5)
    values = {"image_id": "a", "image_sha256": "", "shape": mask.shape, "payload": soft}
    values |= {"score": 0.9, "member": "0", "in_sample": False}
    return MaskEntry.from_soft(**values | changes)


def blob(shape: tuple[int, int], centre: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def draws(margin: float, jitter: float, count: int, seed: int = 0):
    """Yield margins and shifts as training draws them."""
    rng = np.random.default_rng(seed)
    yield margin, (0.0, 0.0)
    for _ in range(count):
        varied = margin * (1 + rng.uniform(-jitter, jitter))
        reach = 0.5 * jitter * varied / (1 + 2 * varied)
        yield varied, (rng.uniform(-reach, reach), rng.uniform(-reach, reach))


@pytest.mark.parametrize("frame", ["crop", "dilated_crop"])
def test_a_crop_holds_each_frame_that_training_may_ask_for(frame):
    rng = np.random.default_rng(1)
    for _ in range(400):
        height, width = rng.integers(20, 200, 2).tolist()
        y0, x0 = int(rng.integers(0, height - 1)), int(rng.integers(0, width - 1))
        y1, x1 = int(rng.integers(y0 + 1, height + 1)), int(rng.integers(x0 + 1, width + 1))
        margin, jitter = float(rng.choice([0, 0.1, 0.3, 2])), float(rng.choice([0, 0.5, 1]))
        geometry = CropGeometry(frame, margin, jitter, mask_errors=False, size=1000)
        top, left, bottom, right = geometry.region((y0, x0, y1, x1), (height, width))
        for varied, shift in draws(margin, jitter, 4):
            wanted = focus_box((y0, x0, y1, x1), (height, width), frame, margin=varied, shift=shift)
            found = focus_box(
                (y0 - top, x0 - left, y1 - top, x1 - left),
                (bottom - top, right - left),
                frame,
                margin=varied,
                shift=shift,
            )
            moved = (found[0] + top, found[1] + left, found[2] + top, found[3] + left)
            assert moved == wanted


@pytest.mark.parametrize("focus", FOCUSES)
@pytest.mark.parametrize("centre", [(50, 60), (8, 7), (91, 60), (45, 111)])
def test_without_scaling_the_picture_is_exactly_the_one_of_the_image(focus, centre):
    image = np.random.default_rng(0).integers(0, 256, (101, 121, 3), dtype=np.uint8)
    mask = entry_of(blob((101, 121), centre, 9))
    view = view_of(focus, size=101)
    crop = make_crop(image, mask, geometry_of(view, 0.5), image_id="a")
    assert crop.scale == (1.0, 1.0)
    for late in (False, True):
        for margin, shift in draws(0.3, 0.5, 6):
            wanted = view.picture(image, mask, margin=margin, shift=shift, late=late)
            found = view.picture(*crop_source(crop), margin=margin, shift=shift, late=late)
            assert np.array_equal(found, wanted)


@pytest.mark.parametrize("centre", [(70, 80), (12, 13), (128, 80)])
def test_a_crop_holds_the_frames_of_disturbed_masks_and_the_whole_image(centre):
    shape = (141, 161)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    mask = entry_of(blob(shape, centre, 14))
    view = view_of("dilated_crop+soft_background", size=160)
    crop = make_crop(image, mask, geometry_of(view, 0.5, True), image_id="a")
    assert crop.scale == (1.0, 1.0)
    assert np.array_equal(view.picture(crop.whole, None), view.picture(image, None))
    source, entry = crop_source(crop)
    for seed, (margin, shift) in enumerate(draws(0.3, 0.5, 30)):
        wrong = jitter_mask(mask, np.random.default_rng(seed))
        same = jitter_mask(entry, np.random.default_rng(seed))
        assert (wrong is None) == (same is None)
        if wrong is not None and same is not None:
            wanted = view.picture(image, wrong, margin=margin, shift=shift)
            found = view.picture(source, same, margin=margin, shift=shift)
            assert np.array_equal(found, wanted)


@pytest.fixture(scope="module")
def large() -> tuple[np.ndarray, np.ndarray]:
    phantom = make_phantom(5, size=384)
    return phantom.image, phantom.mask


@pytest.mark.parametrize("focus", FOCUSES)
@pytest.mark.parametrize("place", ["middle", "border", "whole"])
def test_a_scaled_crop_gives_the_same_picture_up_to_resampling(large, focus, place):
    image, lesion = large
    if place == "border":
        y0, x0 = (np.flatnonzero(lesion.any(axis=axis))[0] for axis in (1, 0))
        image, lesion = image[y0:, x0:], lesion[y0:, x0:]
    mask = None if place == "whole" else entry_of(lesion)
    view = view_of(focus, size=96)
    crop = make_crop(image, mask, geometry_of(view, 0.5), image_id="a")
    assert crop.scale[0] < 0.8
    still = view.picture(*crop_source(crop)).astype(int) - view.picture(image, mask)
    assert np.abs(still).mean() < 2.0
    differences = []
    for margin, shift in draws(0.3, 0.5, 12):
        wanted = view.picture(image, mask, margin=margin, shift=shift).astype(int)
        found = view.picture(*crop_source(crop), margin=margin, shift=shift).astype(int)
        differences.append(np.abs(found - wanted).mean())
    # Half a pixel of the crop is what a rounded frame may move by.
    assert np.mean(differences) < 3.0
    assert max(differences) < 6.0


def test_a_crop_holds_a_pixel_for_each_of_the_network():
    image = np.zeros((900, 1200, 3), np.uint8)
    mask = entry_of(blob((900, 1200), (400, 700), 200))
    view = view_of("dilated_crop", size=64)
    crop = make_crop(image, mask, geometry_of(view, 0.5), image_id="a")
    source, entry = crop_source(crop)
    frame = focus_box(entry.box, source.shape[:2], "dilated_crop", margin=0.3)
    assert frame[2] - frame[0] == pytest.approx(64, abs=1)
    assert max(crop.shape) < 100
    late = make_crop(image, mask, geometry_of(view, 0.5, True, "late"), image_id="a")
    frame = focus_box(late.box, late.shape, "dilated_crop", margin=0.3)
    assert frame[2] - frame[0] == pytest.approx(96, abs=1)
    small = make_crop(image[::40, ::40], None, geometry_of(view, 0.5), image_id="b")
    assert small.shape == (23, 30)  # never upscaled


def test_a_lesion_thinner_than_a_pixel_of_the_crop_is_still_focused():
    lesion = np.zeros((600, 600), bool)
    lesion[300, 100:500] = True
    mask = MaskEntry.from_mask(
        image_id="a", image_sha256="", mask=lesion, member="0", in_sample=False
    )
    image = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    view = view_of("crop", size=32)
    crop = make_crop(image, mask, geometry_of(view), image_id="a")
    entry = crop_source(crop)[1]
    assert entry is not None and entry.area >= 1
    assert entry.box[2] > entry.box[0]


def make(folder, manifest, masks=None, focus="dilated_crop+soft_background", **options):
    """Build the crops of a manifest as a training does."""
    ids = manifest["image_id"].tolist()
    cache = None if masks is None else MaskCache(masks)
    choices = choose_masks(cache, ids, options.pop("trust", MaskTrust(0.0, 0.6)))
    jitter, size = options.pop("jitter", 0.5), options.pop("size", 32)
    return build_crops(
        folder,
        ids,
        manifest["image"].tolist(),
        CropGeometry.of(focus, 0.3, size, jitter, options.pop("mask_errors", False)),
        cache,
        choices,
        workers=options.pop("workers", 0),
        **options,
    )


@pytest.fixture(scope="module")
def crops(tmp_path_factory, manifest, masks) -> CropCache:
    return make(tmp_path_factory.mktemp("crops") / "c", manifest, masks, encoding="webp")


def test_crops_on_disk_are_the_crops_that_were_made(crops, manifest, cache):
    view = view_of("dilated_crop+soft_background")
    assert len(crops) == len(manifest)
    assert crops.counts == {"masked": len(manifest)}
    for image_id, path in zip(manifest["image_id"][:6], manifest["image"], strict=False):
        image, mask = read_image(path), cache.read(image_id)
        made = make_crop(image, mask, geometry_of(view, 0.5), image_id=image_id)
        found = crops.read(image_id)
        assert np.array_equal(found.image, made.image)
        assert np.array_equal(found.mask, made.mask)
        assert (found.box, found.area, found.level) == (made.box, made.area, 128)
        assert (found.region, found.source_shape) == (made.region, (64, 64))
        assert found.image_sha256 == mask.image_sha256


def test_whole_images_are_kept_where_training_leaves_masks_out(tmp_path, manifest, masks, crops):
    without = crops
    crops = make(
        tmp_path / "c", manifest.iloc[:3], masks, mask_errors=True, encoding="webp", size=64
    )
    for image_id, path in zip(manifest["image_id"][:3], manifest["image"], strict=False):
        assert crops.read(image_id).whole is None
        assert np.array_equal(crops.read_whole(image_id), read_image(path))
    refused = 0
    for image_id in manifest["image_id"]:
        try:
            # A large lesion's crop shows the whole image.
            assert without.read_whole(image_id).shape[0] <= without.row(image_id).shape[0]
        except LesionError as error:
            refused += "holds no whole images" in str(error)
    assert refused > len(manifest) // 4
    unmasked = make(tmp_path / "u", manifest.iloc[:1], encoding="webp", size=64)
    assert np.array_equal(
        unmasked.read_whole(manifest["image_id"].iloc[0]), read_image(manifest["image"].iloc[0])
    )


def test_a_crop_that_shows_the_whole_image_is_the_whole_image(tmp_path, manifest, masks):
    """Masks are left out in training with --focus full and --mask-pool too."""
    cache = MaskCache(masks)
    part = manifest.iloc[:2]
    ids = part["image_id"].tolist()
    crops = build_crops(
        tmp_path / "c",
        ids,
        part["image"].tolist(),
        CropGeometry.of("full", 0.3, 64, 0.5, True),
        cache,
        choose_masks(cache, ids, MaskTrust()),
        encoding="webp",
    )
    assert crops.row(ids[0]).status == "masked"
    assert np.array_equal(crops.read_whole(ids[0]), read_image(part["image"].iloc[0]))


def test_jpeg_keeps_the_mask_and_looks_the_same(tmp_path, manifest, masks, crops):
    folder = tmp_path / "c"
    lossy = make(folder, manifest.iloc[:8], masks)
    for image_id in manifest["image_id"][:8]:
        a, b = crops.read(image_id), lossy.read(image_id)
        assert np.array_equal(a.mask, b.mask)
        assert np.abs(a.image.astype(int) - b.image).mean() < 2.5
    assert lossy.fingerprint["encoding"] == "jpeg"
    with pytest.raises(LesionError, match="jpeg, webp"):
        make(folder, manifest, masks, encoding="gif")


def test_crops_are_read_by_workers_and_travel_by_pickle(crops, manifest):
    ids = manifest["image_id"].tolist()
    here = [crops.read(image_id).image.sum() for image_id in ids]
    again = pickle.loads(pickle.dumps(crops))
    assert [again.read(image_id).image.sum() for image_id in ids] == here

    class Sums:
        def __len__(self):
            return len(ids)

        def __getitem__(self, row):
            return int(crops.read(ids[row]).image.sum())

    loader = make_loader(Sums(), 8, workers=2, collate=list)
    assert [value for batch in loader for value in batch] == here


def test_masks_that_are_not_trusted_keep_the_whole_image(tmp_path, manifest):
    masks = write_cache(tmp_path / "m", manifest.iloc[:6], quality=0.1)
    crops = make(tmp_path / "c", manifest.iloc[:8], masks)
    assert crops.counts == {"unmasked": 8}
    table = crops.table()
    assert table["reason"].str.contains("quality 0.10 is under 0.6|no mask of this image").all()
    crop = crops.read(manifest["image_id"].iloc[0])
    assert crop.mask is None and crop.region == (0, 0, 64, 64)


def broken(manifest: pd.DataFrame, tmp_path, row: int) -> pd.DataFrame:
    """Return the manifest with one image cut short."""
    path = tmp_path / "cut.jpg"
    path.write_bytes(Path(manifest["image"].iloc[row]).read_bytes()[:300])
    changed = manifest.copy()
    changed.loc[changed.index[row], "image"] = str(path)
    return changed


def test_images_that_cannot_be_read_stay_failed_and_are_counted(tmp_path, manifest, caplog):
    part = broken(manifest.iloc[:6], tmp_path, 2)
    for _ in range(2):
        crops = make(tmp_path / "c", part)
        assert crops.counts == {"unmasked": 5, "failed": 1}
        with pytest.raises(LesionError, match=r"cut\.jpg"):
            crops.read(part["image_id"].iloc[2])
    assert "1 of 6 images gave no crop" in caplog.text


def test_an_image_that_changed_since_its_mask_is_not_kept(tmp_path, manifest):
    masks = write_cache(tmp_path / "m", manifest.iloc[:2], image_sha256="ab" * 32)
    crops = make(tmp_path / "c", manifest.iloc[:2], masks)
    assert crops.counts == {"failed": 2}
    assert crops.table()["reason"].str.contains("has changed since its mask was made").all()


class Stopped(Exception):
    """Stands for a kill."""


def stop_after(monkeypatch, count: int) -> list[str]:
    """Let the making of crops fail after `count`; return the ids that were made."""
    made: list[str] = []

    def counting(*args, **options):
        if len(made) == count:
            raise Stopped
        made.append(options["image_id"])
        return make_crop(*args, **options)

    monkeypatch.setattr(build_module, "make_crop", counting)
    return made


def test_a_build_that_was_cut_off_goes_on_and_ends_the_same(
    tmp_path, manifest, masks, crops, monkeypatch
):
    folder = tmp_path / "c"
    first = stop_after(monkeypatch, 20)
    with pytest.raises(Stopped):
        make(folder, manifest, masks, encoding="webp")
    assert read_json(folder / INDEX)["complete"] is False
    with pytest.raises(LesionError, match="are not complete"):
        CropCache(folder)
    (folder / ".crops-00001.1234abcd.h5").write_bytes(b"half a shard")

    second = stop_after(monkeypatch, 1000)
    done = make(folder, manifest, masks, encoding="webp")
    kept = read_json(folder / INDEX)["shards"][0]["rows"]
    assert first[:kept] + second == manifest["image_id"].tolist()
    assert 0 < kept <= 20
    assert not list(folder.glob(".crops*"))
    assert done.fingerprint == crops.fingerprint
    for image_id in manifest["image_id"]:
        assert np.array_equal(done.read(image_id).image, crops.read(image_id).image)


def test_what_is_there_is_used_again_without_reading_an_image(
    tmp_path, manifest, masks, monkeypatch
):
    make(tmp_path / "c", manifest, masks)
    monkeypatch.setattr(build_module, "read_source", lambda *a: pytest.fail("read an image"))
    monkeypatch.setattr(build_module, "image_sha256", lambda *a: pytest.fail("hashed an image"))
    assert len(make(tmp_path / "c", manifest, masks)) == len(manifest)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"jitter": 0.25}, r"geometry\.jitter is 0\.5 in the cache, 0\.25 now"),
        ({"mask_errors": True}, r"geometry\.mask_errors is false"),
        ({"size": 48}, r"geometry\.size is 32"),
        ({"focus": "crop"}, r"geometry\.frame is \"dilated_crop\""),
        ({"encoding": "webp"}, r"encoding is \"jpeg\""),
        ({"trust": MaskTrust(2.0, 0.0)}, r"masks is \{"),
        ({"rows": 40}, r"images\.count is 48 in the cache, 40 now"),
        ({"edited": True}, r"masks\.max_revision is 0 in the cache, 1 now"),
        ({"other": True}, r"masks\.fingerprint\.preprocessing\.size"),
    ],
)
def test_crops_of_something_else_are_refused_by_name(
    tmp_path, manifest, masks, crops, monkeypatch, change, named
):
    make(tmp_path / "c", manifest, masks)
    rows = change.pop("rows", len(manifest))
    if change.pop("edited", False):
        masks = write_cache(tmp_path / "m", manifest, revision=1)
    if change.pop("other", False):
        from tests.clsstage import conftest

        fingerprint = conftest.FINGERPRINT | {"preprocessing": {"size": 96}}
        monkeypatch.setattr(conftest, "FINGERPRINT", fingerprint)
        masks = write_cache(tmp_path / "m", manifest)
    before = sorted((tmp_path / "c").iterdir())
    with pytest.raises(LesionError, match=named) as error:
        make(tmp_path / "c", manifest.iloc[:rows], masks, **change)
    assert f"rm -r {tmp_path / 'c'}" in str(error.value)
    assert sorted((tmp_path / "c").iterdir()) == before


def test_what_acts_after_reading_is_no_part_of_the_fingerprint(tmp_path, manifest, masks):
    part = manifest.iloc[:4]
    one = make(tmp_path / "a", part, masks)
    two = make(tmp_path / "b", part, masks, focus="dilated_crop+lesion_only+mask_channel")
    assert not fingerprint_differences(one.fingerprint, two.fingerprint)


def test_a_lost_or_damaged_file_is_noticed_and_made_again(tmp_path, manifest, masks):
    folder = tmp_path / "c"
    make(folder, manifest, masks)
    shard = next(folder.glob("crops-*.h5"))
    good = shard.read_bytes()
    image_id = manifest["image_id"].iloc[0]
    jpeg = good.index(b"\xff\xd8\xff")
    shard.write_bytes(good[: jpeg + 200] + bytes([good[jpeg + 200] ^ 255]) + good[jpeg + 201 :])
    with pytest.raises(LesionError, match="it has changed"):
        CropCache(folder).read(image_id)
    shard.unlink()
    with pytest.raises(LesionError, match="lacks crops-00000"):
        CropCache(folder)
    assert make(folder, manifest, masks).read(image_id).shape
    assert shard.read_bytes() == good


def test_a_folder_of_something_else_is_left_alone(tmp_path, manifest):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(LesionError, match=r"holds no crops \(it has: notes\.txt"):
        make(tmp_path, manifest.iloc[:2])
    with pytest.raises(LesionError, match="no crops in"):
        CropCache(tmp_path)


def test_an_id_that_has_no_crop_is_named(crops):
    assert "nobody" not in crops
    with pytest.raises(LesionError, match="no crop of the image 'nobody'"):
        crops.read("nobody")


def test_edits_of_trusted_masks_only_count_where_they_are_used(manifest, masks, tmp_path):
    choices = MaskChoices(["none"] * 4, ["no masks were given"] * 4)
    part = manifest.iloc[:4]
    geometry = CropGeometry.of("full", 0.3, 32)
    found = build_crops(
        tmp_path / "c",
        part["image_id"].tolist(),
        part["image"].tolist(),
        geometry,
        MaskCache(masks),
        choices,
        workers=0,
    )
    assert found.fingerprint["masks"] is None
    assert found.counts == {"unmasked": 4}


def training_data(manifest, masks, crops: CropCache | None) -> TrainingDataset:
    cache, ids = MaskCache(masks), manifest["image_id"].tolist()
    encoder = MetadataEncoder.fit(manifest, ["age"])
    return TrainingDataset(
        ids,
        manifest["image"].tolist(),
        encoder.transform(manifest),
        view_of("dilated_crop+soft_background", size=64),
        cache,
        choose_masks(cache, ids, MaskTrust()),
        crops=crops,
        encoder=encoder,
        transform=classification_train(64, "light", resize="early", seed=0),
        jitter=Jitter(frame=0.5, mask=0.6),
    )


def test_training_sees_the_same_pictures_from_crops_as_from_images(
    tmp_path, manifest, masks, monkeypatch
):
    crops = make(tmp_path / "c", manifest, masks, mask_errors=True, encoding="webp", size=64)
    seen = []
    for given in (None, crops):
        data = training_data(manifest, masks, given)
        data.reseed(7)
        seen.append([data[row]["image"].numpy() for row in range(len(data))])
        # From here on there are no images to be read any more.
        monkeypatch.setattr("clsstage.dataset.read_source", lambda *a: pytest.fail("read"))
    assert all(np.array_equal(a, b) for a, b in zip(*seen, strict=True))


def test_an_image_that_gave_no_crop_is_told_as_one_that_cannot_be_read(tmp_path, manifest):
    part = broken(manifest.iloc[:3], tmp_path, 1)
    crops = make(tmp_path / "c", part)
    view = view_of("full")
    data = LesionDataset(part["image_id"], part["image"], np.zeros((3, 0)), view, crops=crops)
    assert [bool(data[row]["reason"]) for row in range(3)] == [False, True, False]
    assert "cut.jpg" in data[1]["reason"]


def test_a_training_makes_its_crops_and_takes_them_again(archive, masks, tmp_path, caplog):
    from clsstage.train import train

    shared = {"masks": masks, "crops": tmp_path / "crops", "epochs": 1}
    train(tiny(archive, tmp_path / "a", **shared))
    assert CropCache(tmp_path / "crops").counts == {"masked": 48}
    first = sorted((path.name, path.stat().st_mtime_ns) for path in shared["crops"].iterdir())
    images = create_reader("phantom", archive).read()
    other = tiny(archive, tmp_path / "b", **shared, focus="dilated_crop+hard_background")
    assert training_crops(other, images, MaskCache(masks)).counts == {"masked": 48}
    again = sorted((path.name, path.stat().st_mtime_ns) for path in shared["crops"].iterdir())
    assert again == first
    with pytest.raises(LesionError, match=r"geometry\.margin is 0\.3 in the cache, 0\.4 now"):
        train(tiny(archive, tmp_path / "c", **shared, margin=0.4))
    assert not (tmp_path / "c").exists()  # a mended command begins a new run


def test_one_writer_at_a_time(tmp_path):
    with (
        CropWriter(tmp_path / "c", {"a": 1}),
        pytest.raises(LesionError, match=r"the crop cache .* is being written by this process"),
    ):
        CropWriter(tmp_path / "c", {"a": 1})
    with CropWriter(tmp_path / "c", {"a": 1}) as writer:
        writer.complete()
    assert len(CropCache(tmp_path / "c")) == 0
