"""The folder of a synthesis: what was asked, a line an image made, and the manifest at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError
from lesioncore.files import read_json, write_bytes, write_json, write_table, writing_to
from lesioncore.images import write_mask
from lesioncore.runs import config_differences, now, tool_version
from lesioncore.synthetic import MANIFEST, PARENT_COLUMNS, RECORD

if TYPE_CHECKING:
    import pandas as pd

ITEMS = "items.jsonl"
KIND = "synthesis"
# The parents' own JPEG is of about this quality; a better one would tell synthetic from real.
_JPEG_QUALITY = 95
_FROM_DONOR = ("patient_id", "lesion_id", "diagnosis", "age", "sex", "site", "modality")


@dataclass(frozen=True)
class Item:
    """What became of one image.

    Attributes
    ----------
    number : int
        With the seed it decides the image.
    image_id : str
    status : {"ok", "failed"}
    reason : str
        Why it failed.
    donor, recipient : str
        Ids of the parents; empty for images of a network.
    diagnosis : str
        Empty where unknown.
    redrawn : dict
        Why earlier draws of this image were given up, and how often.
    measured : dict
        Figures of the method.
    """

    number: int
    image_id: str
    status: str
    reason: str = ""
    donor: str = ""
    recipient: str = ""
    diagnosis: str = ""
    redrawn: dict[str, int] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """An item with its picture, (H, W, 3) uint8 RGB, and its mask, (H, W) bool; None if failed."""

    item: Item
    image: NDArray[np.uint8] | None = None
    mask: NDArray[np.bool_] | None = None


class SynthesisFolder:
    """Takes images in, one by one; what was added survives a kill.

    Parameters
    ----------
    home : Path
    settings : dict
        All that decides the images, as plain values; a folder of other settings is refused.
    suffix : str
        Of the pictures, ".jpg" or ".png".

    Raises
    ------
    LesionError
        The folder holds something else, or images of other settings (the fields are named).
    """

    def __init__(self, home: Path, settings: dict[str, Any], suffix: str) -> None:
        self.home = home
        self.suffix = suffix
        self.items: dict[int, Item] = {}
        record = self._record(settings)
        if record is None:
            with writing_to(home):
                home.mkdir(parents=True, exist_ok=True)
            record = {"kind": KIND, "tool_version": tool_version(), "created": now()}
        else:
            self.items = _read_items(home / ITEMS)
        self.record: dict[str, Any] = record | {"settings": settings, "complete": False}
        write_json(home / RECORD, self.record)

    def _record(self, settings: dict[str, Any]) -> dict[str, Any] | None:
        path = self.home / RECORD
        if path.is_file():
            record = read_json(path)
            kept = record.get("settings", {}) if isinstance(record, dict) else {}
            differing = config_differences(kept, json.loads(json.dumps(settings)))
            if differing:
                raise LesionError(
                    f"{self.home} holds images made in another way: {'; '.join(differing)}",
                    wanted="the same command, to go on with these images",
                    mend=f"choose another --out, or remove {self.home}",
                )
            return dict(record)
        if self.home.exists() and (not self.home.is_dir() or any(self.home.iterdir())):
            raise LesionError(
                f"{self.home} is not empty and holds no synthetic images",
                wanted="an empty or a new folder",
                mend="choose another --out",
            )
        return None

    def add(self, drawn: Drawn) -> None:
        """Write picture and mask, then the item's line; in this order, so a line means both."""
        item = drawn.item
        if drawn.image is not None and drawn.mask is not None:
            write_bytes(self.image(item), _encoded(drawn.image, self.suffix))
            write_mask(self.mask(item), drawn.mask)
        with writing_to(self.home), (self.home / ITEMS).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")
        self.items[item.number] = item

    def image(self, item: Item) -> Path:
        """Return where the picture of an item lies."""
        return self.home / "images" / f"{item.image_id}{self.suffix}"

    def mask(self, item: Item) -> Path:
        """Return where the mask of an item lies."""
        return self.home / "masks" / f"{item.image_id}_segmentation.png"

    def made(self, n: int) -> list[Item]:
        """Return the items with a picture among the first `n` numbers, in order."""
        return [item for item in self.asked(n) if item.status == "ok"]

    def asked(self, n: int) -> list[Item]:
        """Return all items among the first `n` numbers, in order."""
        return [self.items[number] for number in range(n) if number in self.items]

    def redrawn(self, n: int) -> dict[str, int]:
        """Return why draws were given up, and how often."""
        counts: Counter[str] = Counter()
        for item in self.asked(n):
            counts.update(item.redrawn)
        return dict(counts.most_common())

    def write_manifest(
        self, items: Sequence[Item], parents: pd.DataFrame, method: str, learned: str | None
    ) -> None:
        """Write `manifest.csv`: a row an image, with what it has from its donor and its parents.

        Parameters
        ----------
        items : sequence of Item
            Those to be used.
        parents : DataFrame
            Manifest of the training images.
        method : str
        learned : str or None
            Name of the file of ids that a network learned from.
        """
        import pandas as pd

        if not items:
            raise LesionError(
                "no synthetic image is left: all failed or are copies of real ones",
                wanted="at least one",
                mend=f"see {self.home / 'report.json'}; --copy-percentile 0 keeps copies",
            )
        known = parents.set_index("image_id")
        rows = []
        for item in items:
            row: dict[str, Any] = dict.fromkeys(_FROM_DONOR)
            if item.donor:
                row |= {name: known.at[item.donor, name] for name in _FROM_DONOR}
            row |= {
                "image_id": item.image_id,
                "image": self.image(item).relative_to(self.home).as_posix(),
                "mask": self.mask(item).relative_to(self.home).as_posix(),
                "target": 1,
                "diagnosis": item.diagnosis or None,
                **dict(
                    zip(
                        PARENT_COLUMNS,
                        (method, item.donor or None, item.recipient or None, learned),
                        strict=True,
                    )
                ),
            }
            rows.append(row)
        order = ["image_id", "image", "mask", "target", *_FROM_DONOR, *PARENT_COLUMNS]
        write_table(self.home / MANIFEST, pd.DataFrame(rows)[order])

    def finish(self, **figures: Any) -> None:
        """Mark the folder complete, the last thing written."""
        self.record |= {"complete": True, "finished": now(), **figures}
        write_json(self.home / RECORD, self.record)


def _read_items(path: Path) -> dict[int, Item]:
    """Return the items of a journal; a last line cut off by a kill is made again."""
    items: dict[int, Item] = {}
    if not path.is_file():
        return items
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        write_bytes(path, whole)
    for line in whole.decode("utf-8").splitlines():
        item = Item(**json.loads(line))
        items[item.number] = item
    return items


def _encoded(image: NDArray[np.uint8], suffix: str) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    done, data = cv2.imencode(suffix, image[..., ::-1], options)
    if not done:
        raise LesionError(f"cannot encode a picture of shape {image.shape} as {suffix}")
    return bytes(data.tobytes())
