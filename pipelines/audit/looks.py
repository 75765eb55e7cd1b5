"""One look at every image: what its file and its pixels say, kept so that it is taken once."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from lesioncore.devices import choose_workers
from lesioncore.errors import LesionError
from lesioncore.files import read_table, sha256_bytes, write_table
from lesioncore.images import decode_image, read_image_bytes
from lesioncore.loading import make_loader
from lesioncore.picture_hash import HASH_VERSION, WORDS, both_hashes
from lesioncore.progress import log, track
from pipelines.audit.face_finder import FINDER_VERSION, find_faces

if TYPE_CHECKING:
    import pandas as pd

#: What the looks are kept in, keyed by the bytes of the image, so that files may be renamed.
FILE = "looks.parquet"
_VERSION = f"1.{HASH_VERSION}.{FINDER_VERSION}"
SQUARE = tuple(f"square_{number}" for number in range(WORDS))
WHOLE = tuple(f"whole_{number}" for number in range(WORDS))
#: What is known of the pixels and of the file.
FACTS = ("height", "width", "bytes", "pixels_sha256", *SQUARE, *WHOLE, "flat", "camera", "gps",
         "faces")  # fmt: skip
_COLUMNS = ("sha256", "version", *FACTS)
#: What is seen is written out this often, so that a kill loses little.
_SECONDS = 120.0
_BATCH = 64
_MAKE, _MODEL, _GPS = 271, 272, 34853


class Look(NamedTuple):
    """One image: the hash of its bytes, why it cannot be used, and its facts where they are new."""

    sha256: str
    problem: str
    facts: dict[str, Any] | None


def look_at_images(
    manifest: pd.DataFrame, folder: Path, *, faces: bool = True, workers: int = -1
) -> pd.DataFrame:
    """Return what is known of each image, in the manifest's order.

    Bytes are read and hashed each time; pixels are decoded only of images that `folder` does not
    know yet. A run that was cut off goes on.

    Parameters
    ----------
    manifest : DataFrame
        With `image_id`, `image` and `modality`; rows without an image have no facts.
    folder : path
        Where the looks are kept (`FILE`).
    faces : bool
        Look for faces too, except on tiles of total body photography: those show 15 mm of skin.
    workers : int
        Processes; -1 chooses.

    Returns
    -------
    DataFrame
        `image_id`, `sha256`, `problem` ("" where there is none), `seen` (whether there are facts)
        and `FACTS`, null (of hashes 0) where unknown: `height`, `width` in pixels and `bytes` of
        the file; `pixels_sha256` of the decoded picture; the words of its two hashes
        (`lesioncore.picture_hash`) and whether it is `flat`; `camera` and `gps` from its EXIF;
        `faces`, JSON of boxes ``[y0, x0, y1, x1]`` in pixels.
    """
    import pandas as pd

    there = _stored(folder / FILE)
    rows = manifest["image"].notna().to_numpy()
    wants = faces & (manifest["modality"] != "tile").to_numpy()[rows]
    looks = _Looks(manifest["image"][rows], wants, there)
    loader = make_loader(
        looks,
        _BATCH,
        workers=choose_workers(workers) if len(looks) > 4 * _BATCH else 0,
        collate=list,
    )
    seen: list[Look] = []
    fresh: list[Look] = []
    written = time.monotonic()
    try:
        for batch in track(loader, "looking at images"):
            seen += [look._replace(facts=None) for look in batch]
            fresh += [look for look in batch if look.facts is not None]
            if time.monotonic() - written > _SECONDS:
                there, fresh = _kept(folder / FILE, there, fresh), []
                written = time.monotonic()
    finally:
        there = _kept(folder / FILE, there, fresh)
    log.info("%d images looked at, kept in %s", len(seen), folder / FILE)
    found = pd.DataFrame(
        {"image_id": manifest["image_id"].astype(str), "sha256": "", "problem": ""}
    )
    found.loc[rows, "sha256"] = [look.sha256 for look in seen]
    found.loc[rows, "problem"] = [look.problem for look in seen]
    return found.join(_facts_by_digest(there, found["sha256"], found["problem"] == ""))


def _facts_by_digest(there: pd.DataFrame, digests: pd.Series, good: pd.Series) -> pd.DataFrame:
    """Return `seen` and `FACTS` for each digest; hashes stay whole numbers, 0 where not seen."""
    import pandas as pd

    at = pd.Index(there["sha256"]).get_indexer(pd.Index(digests))
    seen = (at >= 0) & good.to_numpy()
    facts = there[list(FACTS)].take(np.maximum(at, 0)) if len(there) else there[list(FACTS)]
    facts = facts.reset_index(drop=True).reindex(range(len(digests)), fill_value=0)
    hashes = [*SQUARE, *WHOLE]
    facts[hashes] = facts[hashes].where(pd.Series(seen), np.uint64(0))
    unknown = [name for name in FACTS if name not in hashes]
    facts[unknown] = facts[unknown].where(pd.Series(seen), None)
    facts.insert(0, "seen", seen)
    return facts


class _Looks(Dataset[Look]):
    def __init__(
        self, images: pd.Series, wants: npt.NDArray[np.bool_], there: pd.DataFrame
    ) -> None:
        # Plain arrays: a forked worker would copy the pages of a table by counting references.
        self.images = np.asarray(images, dtype=np.str_)
        self.wants = wants
        with_faces = there["faces"].notna().to_numpy()
        self.known = np.sort(there["sha256"].to_numpy(dtype="S64"))
        self.known_faces = np.sort(there["sha256"].to_numpy(dtype="S64")[with_faces])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Look:
        name, faces = str(self.images[row]), bool(self.wants[row])
        digest = ""
        try:
            data = read_image_bytes(name)
            digest = sha256_bytes(data)
            if _holds(self.known_faces if faces else self.known, digest):
                return Look(digest, "", None)
            return Look(digest, "", facts_of(data, name, faces=faces))
        except LesionError as error:
            return Look(digest, error.found, None)


def facts_of(data: bytes, name: str, *, faces: bool) -> dict[str, Any]:
    """Return `FACTS` of the bytes of an image file; `name` is what an error calls it.

    Raises
    ------
    LesionError
        It cannot be decoded.
    """
    image = decode_image(data, name)
    square, whole, flat = both_hashes(image)
    camera, gps = _exif(data)
    return {
        "height": image.shape[0],
        "width": image.shape[1],
        "bytes": len(data),
        "pixels_sha256": sha256_bytes(str(image.shape).encode() + image.tobytes()),
        **dict(zip(SQUARE, square.tolist(), strict=True)),
        **dict(zip(WHOLE, whole.tolist(), strict=True)),
        "flat": flat,
        "camera": camera,
        "gps": gps,
        "faces": json.dumps(find_faces(image)) if faces else None,
    }


def _exif(data: bytes) -> tuple[str, bool]:
    """Return make and model of the camera ("" where unknown), and whether a place is written."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            exif = picture.getexif()
            words = [str(exif.get(tag, "")).strip("\0 ") for tag in (_MAKE, _MODEL)]
            return " ".join(word for word in words if word), bool(exif.get_ifd(_GPS))
    except Exception:  # Pillow raises many kinds for broken EXIF; the pixels are fine
        return "", False


def _holds(known: npt.NDArray[np.bytes_], digest: str) -> bool:
    at = int(np.searchsorted(known, digest.encode()))
    return at < len(known) and bool(known[at] == digest.encode())


def _stored(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.is_file():
        table = read_table(path)
        if {*_COLUMNS} <= {*table.columns}:
            return table.loc[table["version"] == _VERSION, list(_COLUMNS)].reset_index(drop=True)
    return pd.DataFrame({name: pd.Series(dtype=_TYPES.get(name, "object")) for name in _COLUMNS})


_TYPES = {
    **dict.fromkeys((*SQUARE, *WHOLE), "uint64"),
    **dict.fromkeys(("height", "width", "bytes"), "int64"),
    **dict.fromkeys(("flat", "gps"), "bool"),
}


def _kept(path: Path, there: pd.DataFrame, fresh: list[Look]) -> pd.DataFrame:
    """Write what is known with what is new, and return it."""
    import pandas as pd

    if not fresh:
        return there
    new = pd.DataFrame([{"sha256": look.sha256, **(look.facts or {})} for look in fresh])
    new = new.assign(version=_VERSION)[list(_COLUMNS)].astype(_TYPES)
    table = pd.concat([there, new], ignore_index=True) if len(there) else new
    # Later looks of the same bytes may know of faces too.
    table = table.drop_duplicates("sha256", keep="last").reset_index(drop=True)
    write_table(path, table)
    return table
