"""Make the committed test lists of lesioncore/testlists from the archives in a data folder.

    python benchmarks/make_test_lists.py DATA_FOLDER [--out lesioncore/testlists]

The lists are committed so that nobody has to run this; it is here to show how they were made.
Run on more of an archive it gives other lists, whose scores cannot be compared with earlier ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from lesioncore.duplicates import grey_copy, near_duplicates
from lesioncore.files import write_text
from lesioncore.holdout import TEST_SHARE, canonical_id, is_test_group
from lesioncore.images import read_image
from lesioncore.progress import track
from lesioncore.splits import assign_groups

# list -> tables: (pattern under the data folder, image id, patient id, lesion id)
TABLES: dict[str, list[tuple[str, str, str | None, str | None]]] = {
    "isic2018_task1": [
        ("isic2018_task1_512/ISIC_2019_Training_Metadata.csv", "image", None, "lesion_id"),
        ("isic2018_task1_512/ISIC-2017_*_metadata.csv", "image_id", None, None),
        ("isic2017_validation_fullsize/*_metadata.csv", "image_id", None, None),
    ],
    "ham10000": [("ham10000_*/HAM10000_metadata.csv", "image_id", None, "lesion_id")],
    "isic2019": [
        ("metadata_only/isic2019/ISIC_2019_Training_Metadata.csv", "image", None, "lesion_id")
    ],
    "isic2020": [
        (
            "metadata_only/isic2020/ISIC_2020_Training_GroundTruth.csv",
            "image_name",
            "patient_id",
            None,
        )
    ],
    "isic2024": [("isic2024_*/train-metadata.csv", "isic_id", "patient_id", "lesion_id")],
    "pad-ufes-20": [
        ("metadata_only/pad_ufes_20/metadata.csv", "img_id", "patient_id", "lesion_id")
    ],
    "milk10k": [
        ("metadata_only/milk10k/MILK10k_Training_Metadata.csv", "isic_id", None, "lesion_id")
    ],
}
# Where pictures are, copies of one another are looked for as well.
PICTURES = {
    "isic2018_task1": "isic2018_task1_512/ISIC2018_Task1-2_Training_Input/*.jpg",
    "ham10000": "ham10000_*/HAM10000_images/*.jpg",
}


def read_tables(data: Path) -> pd.DataFrame:
    """Return archive, image_id, patient_id, lesion_id, one row an image of an archive."""
    parts = []
    for archive, tables in TABLES.items():
        for pattern, image, patient, lesion in tables:
            for path in sorted(data.glob(pattern)):
                table = pd.read_csv(path, low_memory=False)
                names = table[image].astype(str).map(lambda name: canonical_id(Path(name).stem))
                part = pd.DataFrame({"archive": archive, "image_id": names})
                part["patient_id"] = table[patient] if patient else None
                part["lesion_id"] = table[lesion] if lesion else None
                parts.append(part.astype({"patient_id": object, "lesion_id": object}))
    rows = pd.concat(parts, ignore_index=True)
    # PAD-UFES-20 numbers its lesions; elsewhere the same number would be another lesion.
    pad = rows["archive"] == "pad-ufes-20"
    rows.loc[pad, "lesion_id"] = "PAD_" + rows.loc[pad, "lesion_id"].astype(str)
    return rows.groupby(["archive", "image_id"], sort=False, as_index=False).first()


def similar_pictures(data: Path) -> list[tuple[str, str]]:
    """Return pairs of image ids whose pictures are nearly the same."""
    paths = [path for pattern in PICTURES.values() for path in sorted(data.glob(pattern))]
    copies = np.stack([grey_copy(read_image(path)) for path in track(paths, "grey copies")])
    return near_duplicates([canonical_id(path.stem) for path in paths], copies)


def choose(rows: pd.DataFrame, pairs: list[tuple[str, str]]) -> pd.Series:
    """Return whether each row is kept back: by its group over all archives."""
    # One node an image of an archive; the copies in other archives are joined to the first.
    node = rows["archive"] + ":" + rows["image_id"]
    first = node.groupby(rows["image_id"]).transform("first")
    node_of = dict(zip(rows["image_id"], first, strict=True))
    joins = list(zip(first, node, strict=True))
    joins += [(node_of[a], node_of[b]) for a, b in pairs if a in node_of and b in node_of]
    groups = assign_groups(rows.assign(image_id=node), joins)
    sizes = groups.value_counts()
    print(f"{len(groups)} images in {len(sizes)} groups; the largest: {dict(sizes.head(3))}")
    # An image alone is named after itself, not after the archive in which it was met first.
    names = groups.str.replace(r"^image:[^:]+:", "image:", regex=True)
    return pd.Series(names.map(is_test_group).to_numpy(), index=rows.index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("lesioncore/testlists"))
    arguments = parser.parse_args()
    rows = read_tables(arguments.data)
    pairs = similar_pictures(arguments.data)
    print(f"{len(pairs)} pairs of similar pictures")
    kept_back = choose(rows, pairs)
    for archive, part in rows.groupby("archive", sort=False):
        listed = sorted(part.loc[kept_back[part.index], "image_id"])
        write_text(
            arguments.out / f"{archive}.txt",
            f"# Test list of {archive}: {len(listed)} of {len(part)} images, never used for\n"
            "# training, early stopping or the choice of presets. Made by\n"
            "# benchmarks/make_test_lists.py: images are grouped over all archives by image\n"
            "# id, patient, lesion and nearly equal pictures; a group is listed when the SHA-256\n"
            f"# of its name falls in the lowest {TEST_SHARE:.0%}. Ids only.\n"
            + "".join(f"{image_id}\n" for image_id in listed),
        )
        print(f"{archive}: {len(listed)} of {len(part)} images ({len(listed) / len(part):.1%})")


if __name__ == "__main__":
    main()
