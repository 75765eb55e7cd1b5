"""The image store: colours, orientation, damage, masks, HDF5 across processes."""

from __future__ import annotations

import io
import multiprocessing
import pickle

import cv2
import h5py
import numpy as np
import pytest
from PIL import Image

from lesioncore import images
from lesioncore.errors import LesionError
from lesioncore.images import (
    decode_image,
    image_sha256,
    list_hdf5,
    read_image,
    read_image_bytes,
    read_mask,
    split_reference,
    write_mask,
)


def picture(height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    """A smooth colour picture with texture, red on the left and blue on the right."""
    random = np.random.default_rng(seed)
    x = np.linspace(0, 1, width)[None, :, None]
    base = np.concatenate([220 * (1 - x), 0 * x + 60, 220 * x], axis=2)
    noise = random.normal(0, 12, (height, width, 1))
    return np.clip(np.broadcast_to(base, (height, width, 3)) + noise, 0, 255).astype(np.uint8)


def encoded(array: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_files_come_back_as_rgb(tmp_path, kind):
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(encoded(picture(), kind))
    np.testing.assert_array_equal(read_image(path), picture())


def test_jpeg_channels_are_red_green_blue(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture(), quality=95))
    image = read_image(str(path))
    assert image.shape == (60, 80, 3) and image.dtype == np.uint8
    assert image[:, :8, 0].mean() > 180 and image[:, :8, 2].mean() < 60


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_grey_alpha_and_palette_become_three_channels(tmp_path, mode):
    path = tmp_path / "a.png"
    Image.fromarray(picture()).convert(mode).save(path)
    assert read_image(path).shape == (60, 80, 3)


def test_exif_orientation_is_applied(tmp_path):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees to the right
    path.write_bytes(encoded(picture(), quality=95, exif=exif.tobytes()))
    image = read_image(path)
    assert image.shape == (80, 60, 3)
    assert image[:8, :, 0].mean() > 180  # red, on the left as stored, is on top


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_is_named_and_refused(tmp_path, progressive):
    data = encoded(picture(200, 260), quality=90, progressive=progressive)
    path = tmp_path / "cut.jpg"
    for part in np.linspace(0.02, 0.999, 25):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(LesionError, match=r"cut\.jpg: (truncated|corrupt) JPEG"):
            read_image(path)
    path.write_bytes(data)
    assert read_image(path).shape == (200, 260, 3)


def test_a_jpeg_whose_thumbnail_is_whole_but_itself_cut_is_refused():
    thumbnail = encoded(picture(12, 16))
    exif = b"Exif\x00\x00" + thumbnail  # holds an end-of-image marker of its own
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    data = encoded(picture(200, 260))
    whole = data[:2] + segment + data[2:]
    assert decode_image(whole).shape == (200, 260, 3)
    with pytest.raises(LesionError, match="truncated JPEG"):
        decode_image(whole[: len(whole) // 2])


def test_a_zero_filled_download_is_refused():
    data = encoded(picture(200, 260))
    half = len(data) // 2
    with pytest.raises(LesionError, match="JPEG"):
        decode_image(data[:half] + bytes(len(data) - half))


def test_a_jpeg_overwritten_with_other_bytes_is_refused():
    data = encoded(picture(200, 260), quality=95)
    noise = np.random.default_rng(0).bytes(4000)
    with pytest.raises(LesionError, match="corrupt JPEG: illegal marker"):
        decode_image(data[:2000] + noise + data[6000:])


def test_bytes_after_the_end_of_a_jpeg_are_forgiven():
    assert decode_image(encoded(picture()) + b"\x00" * 100 + b"maker notes").shape == (60, 80, 3)


def test_restart_markers_are_legal():
    data = cv2.imencode(".jpg", picture(64, 64), [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes()
    assert b"\xff\xd0" in data
    assert decode_image(data).shape == (64, 64, 3)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_other_formats_that_were_cut_are_refused(kind):
    data = encoded(picture(), kind)
    with pytest.raises(LesionError, match=f"truncated {kind}"):
        decode_image(data[: len(data) * 2 // 3], "x")


def test_a_png_with_a_flipped_byte_is_refused():
    data = bytearray(encoded(picture(), "PNG"))
    data[len(data) // 2] ^= 255
    with pytest.raises(LesionError, match="corrupt PNG: wrong checksum"):
        decode_image(bytes(data))


@pytest.mark.parametrize("data", [b"", b"hello, this is no picture"])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(LesionError, match=r"cannot read note\.txt"):
        decode_image(data, "note.txt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LesionError, match=r"no such image: .*gone\.jpg"):
        read_image(tmp_path / "gone.jpg")


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "store.hdf5"
    with h5py.File(path, "w") as file:
        for i in range(4):
            data = encoded(picture(seed=i), quality=95)
            if i == 3:
                file.create_dataset(f"ISIC_{i}", data=np.frombuffer(data, np.uint8))
            else:
                file.create_dataset(f"ISIC_{i}", data=np.bytes_(data))
    return path


def test_hdf5_entries_are_read_by_reference(store):
    reference = f"{store}::ISIC_0"
    assert split_reference(reference) == (str(store), "ISIC_0")
    assert read_image(reference).shape == (60, 80, 3)
    assert read_image_bytes(reference) == encoded(picture(seed=0), quality=95)
    assert read_image_bytes(f"{store}::ISIC_3") == encoded(picture(seed=3), quality=95)
    assert list_hdf5(store) == ["ISIC_0", "ISIC_1", "ISIC_2", "ISIC_3"]


def test_a_missing_key_and_a_broken_store_are_named(store, tmp_path):
    with pytest.raises(LesionError, match=r"no image 'ISIC_9' in .*store\.hdf5 \(4 images\)"):
        read_image(f"{store}::ISIC_9")
    broken = tmp_path / "broken.hdf5"
    broken.write_bytes(store.read_bytes()[:300])
    with pytest.raises(LesionError, match=r"broken\.hdf5 as HDF5"):
        read_image(f"{broken}::ISIC_0")
    with pytest.raises(LesionError, match="no such image store"):
        read_image(f"{tmp_path}/none.hdf5::ISIC_0")


def test_the_digest_is_of_the_bytes_as_stored(store, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(read_image_bytes(f"{store}::ISIC_1"))
    assert (
        image_sha256(path) == image_sha256(f"{store}::ISIC_1") != image_sha256(f"{store}::ISIC_2")
    )


def _mean_in_child(reference: str) -> tuple[float, int]:
    return float(read_image(reference).mean()), len(images._HANDLES)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_opens_its_own_handle(store, method):
    reference = f"{store}::ISIC_0"
    here = float(read_image(reference).mean())  # the parent's handle is open when workers start
    with multiprocessing.get_context(method).Pool(2) as pool:
        answers = pool.map(_mean_in_child, [reference] * 6)
    assert {mean for mean, _ in answers} == {here}
    assert pickle.loads(pickle.dumps(reference)) == reference


def disc(height: int = 60, width: int = 80) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (y - 30) ** 2 + (x - 40) ** 2 < 300


def test_a_written_mask_comes_back_and_is_0_255(tmp_path):
    path = tmp_path / "deep" / "a_segmentation.png"
    write_mask(path, disc())
    np.testing.assert_array_equal(read_mask(path, (60, 80)), disc())
    assert set(np.unique(np.asarray(Image.open(path)))) == {0, 255}
    assert Image.open(path).mode == "L"


@pytest.mark.parametrize(
    ("values", "dtype"), [(1, np.uint8), (255, np.uint8), (200, np.uint8), (65535, np.uint16)]
)
def test_masks_of_other_scales_are_read(tmp_path, values, dtype):
    path = tmp_path / "m.png"
    cv2.imwrite(str(path), disc().astype(dtype) * dtype(values))
    np.testing.assert_array_equal(read_mask(path), disc())


def test_colour_and_one_bit_masks_are_read(tmp_path):
    Image.fromarray(disc()).save(tmp_path / "bit.png")
    Image.fromarray(disc()).save(tmp_path / "bit.bmp")
    Image.fromarray(disc()[..., None] * np.uint8([255, 255, 255])).save(tmp_path / "rgb.png")
    for name in ("bit.png", "bit.bmp", "rgb.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), disc())


def test_an_empty_mask_is_empty(tmp_path):
    write_mask(tmp_path / "m.png", np.zeros((60, 80), bool))
    assert not read_mask(tmp_path / "m.png").any()


def test_a_mask_of_another_size_says_both_sizes(tmp_path):
    write_mask(tmp_path / "m.png", disc())
    with pytest.raises(LesionError, match=r"m\.png is 80 x 60 pixels, its image is 100 x 50"):
        read_mask(tmp_path / "m.png", (50, 100))


def test_a_class_map_is_not_taken_for_a_mask(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), disc().astype(np.uint8) * 3)
    with pytest.raises(LesionError, match="holds values up to 3"):
        read_mask(tmp_path / "m.png")


@pytest.mark.real_data
def test_the_example_test_set_of_isic_2024_reads_from_hdf5(real_data):
    store = real_data / "isic2024_slice3d_sample" / "test-image.hdf5"
    keys = list_hdf5(store)
    assert keys == ["ISIC_0015657", "ISIC_0015729", "ISIC_0015740"]
    for key in keys:
        image = read_image(f"{store}::{key}")
        assert image.shape[2] == 3 and 91 <= image.shape[0] <= 157


@pytest.mark.real_data
def test_real_images_pass_the_integrity_check(real_data):
    folder = real_data / "isic2017_validation_fullsize" / "ISIC-2017_Validation_Data"
    for path in sorted(folder.glob("*.jpg"))[:3]:
        assert read_image(path).shape[0] >= 768
