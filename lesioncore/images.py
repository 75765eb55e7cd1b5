"""The image store: pictures from files or from HDF5, masks as PNG. Handles open once a process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesioncore.errors import LesionError
from lesioncore.files import PathLike, sha256_bytes, write_bytes
from lesioncore.integrity import defect

if TYPE_CHECKING:
    import numpy.typing as npt

_SEPARATOR = "::"
# (process id, path) -> open file. A child of a fork finds no handle under its own id and opens one:
# HDF5 state that is shared across a fork corrupts reads.
_HANDLES: dict[tuple[int, str], Any] = {}


def split_reference(reference: str) -> tuple[str, str | None]:
    """Return (file, key) of an image reference; the key is None for a plain file.

    `/data/train-image.hdf5::ISIC_0015670` names the JPEG bytes under that key.
    """
    path, separator, key = str(reference).rpartition(_SEPARATOR)
    if separator and path.lower().endswith((".hdf5", ".h5")):
        return path, key
    return str(reference), None


def read_image(reference: PathLike) -> npt.NDArray[np.uint8]:
    """Return the picture that a path or a `store.hdf5::key` names.

    Returns
    -------
    (H, W, 3) uint8 RGB array, 0 to 255, turned upright by its EXIF orientation. Grey pictures are
    repeated over the channels, alpha is dropped, 16-bit pictures are scaled to 8.

    Raises
    ------
    LesionError
        No such file or key, a truncated or corrupt file, or not a picture; it names the file.
    """
    return decode_image(read_image_bytes(reference), str(reference))


def read_image_bytes(reference: PathLike) -> bytes:
    """Return the bytes of the image file as stored (a file's content, or an HDF5 entry).

    Raises
    ------
    LesionError
        No such file or key, or it cannot be read.
    """
    path, key = split_reference(os.fspath(reference))
    if key is not None:
        return _read_hdf5(path, key)
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise LesionError(
            f"no such image: {path}",
            wanted="the file that the manifest names",
            mend="check --root, or whether the download is complete",
        ) from None
    except OSError as error:
        raise LesionError(f"cannot read {path}: {error.strerror}") from error


def decode_image(data: bytes, name: str = "image") -> npt.NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB from the bytes of an image file; see `read_image`.

    `name` is what the error calls it.
    """
    import cv2

    problem = defect(data)
    picture = None
    if problem is None:
        with contextlib.suppress(cv2.error):
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if picture is None:
            problem = "not a picture that can be decoded"
    if problem is not None or picture is None:
        raise LesionError(
            f"cannot read {name}: {problem}",
            wanted="a whole JPEG, PNG, BMP, TIFF or WebP",
            mend="fetch the file again, or take it out of the archive",
        )
    return picture  # type: ignore[return-value]


def image_sha256(reference: PathLike) -> str:
    """Return the SHA-256 of the image's bytes as stored, 64 hex digits."""
    return sha256_bytes(read_image_bytes(reference))


def list_hdf5(path: PathLike) -> list[str]:
    """Return the keys of an HDF5 image store, in its own order (by name in ISIC 2024's files)."""
    names: list[bytes] = []
    # Group.keys() asks for each link again: 2.5 times as slow on 400,000 keys.
    _hdf5(os.fspath(path)).id.links.iterate(names.append)
    return [name.decode() for name in names]


def read_mask(path: PathLike, shape: tuple[int, int] | None = None) -> npt.NDArray[np.bool_]:
    """Return a mask file as (H, W) bool, True on the lesion.

    Files hold 0/1, 0/255 or grey values; above half of the format's range is lesion.

    Parameters
    ----------
    path : path
        PNG, BMP or any picture, 8 or 16 bits.
    shape : (height, width), optional
        Size of the image that it belongs to, pixels.

    Raises
    ------
    LesionError
        No such file, not a picture, of another size than the image, or with values that are neither
        0/1 nor 0/255 (a class map, for one).
    """
    import cv2

    data = read_image_bytes(path)
    problem = defect(data)
    values: Any = None
    if problem is None:
        with contextlib.suppress(cv2.error):
            values = cv2.imdecode(
                np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
            )
    if values is None:
        raise LesionError(
            f"cannot read the mask {path}: {problem or 'not a picture that can be decoded'}",
            wanted="a PNG with 0 outside and 255 on the lesion",
        )
    if shape is not None and values.shape != tuple(shape):
        raise LesionError(
            f"the mask {path} is {values.shape[1]} x {values.shape[0]} pixels, "
            f"its image is {shape[1]} x {shape[0]}",
            wanted="a mask of the size of its image",
            mend="export the mask again at the size of the image",
        )
    top = int(values.max(initial=0))
    if top <= 1:
        return np.asarray(values > 0)
    half = np.iinfo(values.dtype).max // 2 if values.dtype.kind == "u" else 0.5
    if top <= half:
        raise LesionError(
            f"the mask {path} holds values up to {top}",
            wanted="0/1 or 0/255: one lesion against its surroundings",
            mend="a map of several classes has to be reduced to lesion or not",
        )
    return np.asarray(values > half)


def write_mask(path: PathLike, mask: npt.NDArray[Any]) -> None:
    """Write a mask as 8-bit PNG, 0 outside and 255 on the lesion, whole or not at all.

    Parameters
    ----------
    mask : (H, W) bool array, or integers of which all but 0 are lesion
    """
    import cv2

    done, data = cv2.imencode(".png", np.asarray(mask != 0, dtype=np.uint8) * 255)
    if not done:
        raise LesionError(f"cannot encode a mask of shape {mask.shape} as PNG")
    write_bytes(Path(path), data.tobytes())


def _read_hdf5(path: str, key: str) -> bytes:
    store = _hdf5(path)
    try:
        value = store[key][()]
    except KeyError:
        raise LesionError(
            f"no image {key!r} in {path} ({len(store)} images)",
            wanted="the key that the manifest names",
        ) from None
    except OSError as error:
        raise LesionError(
            f"cannot read {key!r} from {path}: {error}", mend="fetch the file again"
        ) from error
    # Scalars of fixed-length bytes (ISIC 2024), of opaque bytes, or a flat array of uint8.
    return value if isinstance(value, bytes) else np.asarray(value).tobytes()


def _hdf5(path: str) -> Any:
    key = (os.getpid(), path)
    handle = _HANDLES.get(key)
    if handle is None:
        import h5py

        if not Path(path).is_file():
            raise LesionError(f"no such image store: {path}", wanted="an HDF5 file of JPEG bytes")
        try:
            # Competition inputs lie on read-only mounts, where locking fails.
            handle = h5py.File(path, "r", locking="best-effort")
        except OSError as error:
            raise LesionError(
                f"cannot read {path} as HDF5: {error}",
                wanted="an HDF5 file of JPEG bytes, whole",
                mend="fetch the file again",
            ) from error
        _HANDLES[key] = handle
    return handle
