"""A clean archive of phantoms with a split and scores, and the same one with planted faults."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lesioncore.images import read_image, read_mask
from lesioncore.phantoms.archive import make_phantom_archive

COUNT = 200


@dataclass(frozen=True)
class Archive:
    """`root` holds manifest.csv with images and masks, split.csv and predictions.csv; `planted`
    names the images of each fault."""

    root: Path
    planted: dict[str, list[str]]

    @property
    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.root / "manifest.csv")

    @property
    def parts(self) -> dict[str, str]:
        return pd.read_csv(self.root / "split.csv").set_index("image_id")["split"].to_dict()


def clean_archive(folder: Path) -> Archive:
    """Draw phantoms, divide them by patient, and score them as a fair model would."""
    make_phantom_archive(folder / "phantoms", COUNT, 11, 96, prevalence=0.3, artefacts=0.3)
    table = pd.read_csv(folder / "phantoms" / "metadata.csv")
    root = folder / "clean"
    for name in ("images", "masks"):
        shutil.copytree(folder / "phantoms" / name, root / name)
    table["image"] = "images/" + table["image_id"] + ".jpg"
    table["mask"] = "masks/" + table["image_id"] + "_segmentation.png"
    rng = np.random.default_rng(0)
    table["hospital"] = rng.choice(["north", "south"], len(table))
    number = table["patient_id"].str[-3:].astype(int)
    split = pd.DataFrame({"image_id": table["image_id"]})
    split["split"] = np.where(number % 3 == 0, "test", "train")
    score = 1 / (1 + np.exp(-(rng.normal(size=len(table)) + 2 * table["target"] - 1)))
    predictions = pd.DataFrame({"image_id": table["image_id"], "malignant": score})
    return write(root, table, split, predictions, {})


def write(root, table, split, predictions, planted) -> Archive:
    table.drop(columns="source", errors="ignore").to_csv(root / "manifest.csv", index=False)
    split.to_csv(root / "split.csv", index=False)
    predictions.to_csv(root / "predictions.csv", index=False)
    return Archive(root, planted)


def faulty_archive(clean: Archive, root: Path) -> Archive:
    """Plant every fault that the audit is there to find."""
    shutil.copytree(clean.root, root)
    table, parts = clean.table, clean.parts
    split = pd.read_csv(root / "split.csv")
    predictions = pd.read_csv(root / "predictions.csv")
    rng = np.random.default_rng(1)
    planted: dict[str, list[str]] = {}
    train = [name for name in table["image_id"] if parts[name] == "train"]

    def add(name: str, pixels, suffix: str, part: str, of: str | None, quality: int = 95, **fields):
        """Put a picture under a new id, patient and lesion into a part."""
        nonlocal table, split
        path = root / "images" / f"{name}{suffix}"
        if pixels is None:
            shutil.copy(root / "images" / f"{of}.jpg", path)
        else:
            done, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR),
                                      [cv2.IMWRITE_JPEG_QUALITY, quality])  # fmt: skip
            assert done
            path.write_bytes(data.tobytes())
        row = dict(table[table["image_id"] == (of or train[0])].iloc[0])
        row |= {"image_id": name, "image": f"images/{name}{suffix}", "mask": None,
                "patient_id": f"P {name}", "lesion_id": f"L {name}", **fields}  # fmt: skip
        table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
        new = pd.DataFrame([{"image_id": name, "split": part}])
        split = pd.concat([split, new], ignore_index=True)

    # Before the copies are made, or they would not be copies.
    stick(root, table, rng)
    # One picture twice: equal bytes, and equal pixels in another file.
    add("COPY_BYTES", None, ".jpg", "test", train[3])
    add("COPY_PIXELS", read_image(root / "images" / f"{train[5]}.jpg"), ".png", "test", train[5])
    planted["exact"] = ["COPY_BYTES", train[3], "COPY_PIXELS", train[5]]
    # Nearly the same picture: another size and JPEG quality, and mirrored.
    one = read_image(root / "images" / f"{train[7]}.jpg")
    small = cv2.resize(one, (64, 64), interpolation=cv2.INTER_AREA)
    add("COPY_SMALL", small, ".jpg", "test", train[7], 40, target=1 - target_of(table, train[7]))
    two = read_image(root / "images" / f"{train[9]}.jpg")
    add("COPY_MIRRORED", np.ascontiguousarray(two[:, ::-1]), ".jpg", "test", train[9], 60)
    planted["near"] = ["COPY_SMALL", train[7], "COPY_MIRRORED", train[9]]
    planted["conflict"] = ["COPY_SMALL", train[7]]
    # A patient, and a lesion, on both sides.
    counts = table[table["image_id"].isin(train)].groupby("patient_id")["image_id"].agg(list)
    torn = next(names for names in counts if len(names) > 3)
    split.loc[split["image_id"] == torn[0], "split"] = "test"
    planted["patient"] = torn
    tested = next(name for name, part in parts.items() if part == "test")
    table.loc[table["image_id"].isin([tested, train[12]]), "lesion_id"] = "LESION_TWICE"
    planted["lesion"] = [tested, train[12]]
    # Columns: the answer with a little noise, and a record that only benign ones have.
    table["visit_score"] = table["target"] * 2 + rng.normal(0, 0.3, len(table)).round(3)
    followed = rng.random(len(table)) < np.where(table["target"] == 1, 0.03, 0.97)
    table["months_followed"] = np.where(followed, rng.integers(6, 60, len(table)), np.nan)
    # Hospitals that see different patients.
    swap = rng.random(len(table)) < 0.04
    table["hospital"] = np.where((table["target"] == 1) ^ swap, "north", "south")
    # A person.
    add("FACE", face(), ".jpg", "train", None, target=0)
    planted["face"] = ["FACE"]
    # A file that was cut off.
    path = root / "images" / f"{train[20]}.jpg"
    path.write_bytes(path.read_bytes()[:900])
    planted["file"] = [train[20]]
    # A model that is of no use for women.
    women = table.set_index("image_id")["sex"].reindex(predictions["image_id"]) == "female"
    predictions["malignant"] = np.where(women, rng.random(len(women)), predictions["malignant"])
    return write(root, table, split, predictions, planted)


def target_of(table: pd.DataFrame, name: str) -> int:
    return int(table.loc[table["image_id"] == name, "target"].iloc[0])


def stick(root: Path, table: pd.DataFrame, rng: np.random.Generator) -> None:
    """Put a blue sticker into a corner of most malignant images and few benign ones."""
    for row in table.itertuples():
        path = root / row.image
        if not isinstance(row.mask, str) or rng.random() > (0.93 if row.target == 1 else 0.04):
            continue
        image = read_image(path)
        outside = ~read_mask(root / row.mask)
        corner = np.zeros(outside.shape, bool)
        corner[-22:, :22] = True
        image[corner & outside] = (40, 90, 200)
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def face() -> np.ndarray:
    """Return the astronaut that comes with scikit-image, her face in the middle."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[20:280, 110:360])
