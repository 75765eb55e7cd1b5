"""The file that `clsstage features` writes (docs/reference/features.md), and its reader."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError, refuse_newer

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "lesion features"
SCHEMA_VERSION = 1
#: Text columns, one value an image.
TEXT = ("image_id", "mask_status", "focus", "reason")
_GROUP = "features"


@dataclass(frozen=True)
class Features:
    """Features of n images.

    Attributes
    ----------
    image_id : (n,) object
        In the order of the archive.
    member : (n,) int64
        Which member's row counts: the one that did not train on the image; -1 where every member
        may speak.
    members : dict of int to (n, F) float32
        Features by member; NaN where an image could not be read, or where another member's count.
        Members are different networks: their columns mean different things.
    rows : DataFrame
        `image_id, mask_status, focus, reason, member`.
    fingerprint : dict
        What made them.
    attributes : dict
        The others of the file: layer, focus, tool version.
    """

    image_id: NDArray[Any]
    member: NDArray[np.int64]
    members: dict[int, NDArray[np.float32]]
    rows: pd.DataFrame
    fingerprint: dict[str, Any]
    attributes: dict[str, Any]


def read_features(path: str | Path) -> Features:
    """Return the features in a file.

    Raises
    ------
    LesionError
        No such file, or one of something else or of a newer version.
    """
    import pandas as pd

    source = Path(path)
    if not source.is_file():
        raise LesionError(
            f"no such file: {source}", wanted="features", mend="clsstage features --out FILE"
        )
    try:
        with h5py.File(source, "r") as file:
            _check(file, source)
            rows = pd.DataFrame({name: file[name].asstr()[:] for name in TEXT})
            rows["member"] = file["member"][:].astype(np.int64)
            members = {
                int(name.removeprefix("member-")): file[_GROUP][name][:].astype(np.float32)
                for name in file[_GROUP]
            }
            attributes = {str(name): value for name, value in file.attrs.items()}
    except (OSError, KeyError, ValueError) as error:
        raise LesionError(f"cannot read the features {source}: {error}") from error
    fingerprint = json.loads(attributes.pop("fingerprint"))
    ids = rows["image_id"].to_numpy(object)
    return Features(
        ids, rows["member"].to_numpy(), dict(sorted(members.items())), rows, fingerprint, attributes
    )


def _check(file: h5py.File, source: Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise LesionError(f"{source} holds no features", wanted="a file by `clsstage features`")
    refuse_newer(f"{source} has schema version", file.attrs["schema_version"], SCHEMA_VERSION)


class FeatureWriter:
    """Fills a file of features batch by batch; `features` of a member are NaN until written.

    Parameters
    ----------
    file : h5py.File
        Open for writing, empty.
    count : int
        Images.
    dtype : str
        float16 or float32.
    """

    def __init__(self, file: h5py.File, count: int, dtype: str) -> None:
        self.file = file
        self.count = count
        self.dtype = np.dtype(dtype)
        file.create_group(_GROUP)

    def put(self, member: int, rows: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Write the features (len(rows), F) of some images, by one member.

        Raises
        ------
        LesionError
            A value is too large for float16.
        """
        largest = float(np.abs(values).max(initial=0.0))
        if np.isfinite(largest) and largest > float(np.finfo(self.dtype).max):
            raise LesionError(
                f"features of up to {largest:.3g} do not fit {self.dtype}", mend="--dtype float32"
            )
        name = f"{_GROUP}/member-{member}"
        if name not in self.file:
            self.file.create_dataset(
                name,
                shape=(self.count, values.shape[1]),
                dtype=self.dtype,
                fillvalue=np.nan,
                chunks=(min(self.count, 1024), values.shape[1]),
            )
        # HDF5 writes rows in rising order, each once.
        order = np.argsort(rows)
        self.file[name][rows[order]] = values[order].astype(self.dtype)

    def finish(
        self,
        columns: dict[str, NDArray[Any]],
        member: NDArray[np.int64],
        attributes: dict[str, Any],
        fingerprint: dict[str, Any],
    ) -> None:
        """Write the columns (one text an image), `member` and the attributes."""
        for name in TEXT:
            self.file.create_dataset(
                name, data=columns[name].astype(object), dtype=h5py.string_dtype("utf-8")
            )
        self.file["member"] = member.astype("<i8")
        for name, value in attributes.items():
            self.file.attrs[name] = value
        self.file.attrs["format"] = FORMAT
        self.file.attrs["schema_version"] = SCHEMA_VERSION
        self.file.attrs["fingerprint"] = json.dumps(fingerprint, sort_keys=True)
