"""Splits: who trains, who validates, who is kept back. Plain tables, grouped and stratified.

A split has one row an image: `image_id`, `group`, `fold`, `role` and `members`.

- role `train`: the image belongs to `fold`. With several folds (`members` = K) member k validates
  on fold k and trains on the others. With a single split (`members` = 1) fold 0 validates and
  fold 1 trains.
- role `test`: kept back (fold -1). No training, early stop or choice of preset sees it.
- role `excluded`: shares a group with a test image without being one (fold -1), so it can be used
  for nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError
from lesioncore.files import PathLike, read_table, write_table
from lesioncore.stratification import deal

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("image_id", "group", "fold", "role", "members")
ROLES = ("train", "test", "excluded")


def assign_groups(
    manifest: pd.DataFrame, duplicates: Sequence[tuple[str, str]] = ()
) -> pd.Series[str]:
    """Return the group of each image: what must never be divided between training and testing.

    Images of one patient are a group, as are images of one lesion and duplicates, and whatever
    these join in chains. An image with none of them is alone.

    Parameters
    ----------
    manifest : DataFrame
        With `image_id` and, where known, `patient_id` and `lesion_id` (null or "" is unknown).
    duplicates : sequence of (image_id, image_id)
        Pairs to join, from `lesioncore.duplicates`; ids that the manifest lacks are left out.

    Returns
    -------
    Series of str, index image_id in the manifest's order
        Named by the least patient of the group (`patient:IP_1`), else the least lesion
        (`lesion:HAM_2`), else the least image (`image:ISIC_3`), so a name does not depend on the
        order of the rows.
    """
    import pandas as pd

    ids = pd.Index(manifest["image_id"].astype(str), name="image_id")
    group = _components(manifest, ids, duplicates)
    name = np.full(len(ids), None, dtype=object)
    for kind, keys in (
        ("patient", _known(manifest, "patient_id")),
        ("lesion", _known(manifest, "lesion_id")),
        ("image", pd.Series(ids)),
    ):
        codes, values = pd.factorize(keys, sort=True)
        codes = np.where(codes < 0, len(values), codes)
        least = np.full(group.max(initial=0) + 1, len(values))
        np.minimum.at(least, group, codes)
        fill = np.flatnonzero((name == None) & (least[group] < len(values)))  # noqa: E711
        name[fill] = (f"{kind}:" + pd.Series(values, dtype=object)).to_numpy()[least[group[fill]]]
    return pd.Series(name, index=ids, name="group", dtype=object)


def make_split(
    manifest: pd.DataFrame,
    *,
    folds: int,
    seed: int,
    val_fraction: float = 0.2,
    labels: npt.ArrayLike | None = None,
    test_ids: Collection[str] = (),
    groups: pd.Series[str] | None = None,
) -> pd.DataFrame:
    """Return a grouped, stratified split of a manifest. The same call gives the same split.

    Parameters
    ----------
    manifest : DataFrame
        A checked manifest.
    folds : int
        Members to train; 1 is a single split in which `val_fraction` of the groups validates.
    seed : int
        Deals groups of equal size and labels in another order.
    labels : array_like (rows,), optional
        Class of each row; NaN is a class of its own. Each known class must have at least as many
        groups as there are parts. Left out, `target` is balanced as far as its groups allow.
    test_ids : collection of str
        Images kept back. The rest of their groups is excluded.
    groups : Series, optional
        From `assign_groups`; left out it is made from the manifest.

    Returns
    -------
    DataFrame with `COLUMNS`, in the manifest's order

    Raises
    ------
    LesionError
        Too few groups for the folds, or a class with too few.
    """
    import pandas as pd

    if folds < 1:
        raise LesionError(f"{folds} folds", wanted="1 (a single split) or more")
    if folds == 1 and not 0 < val_fraction < 1:
        raise LesionError(f"val_fraction is {val_fraction}", wanted="a part between 0 and 1")
    ids = manifest["image_id"].astype(str).to_numpy()
    if groups is None:
        groups = assign_groups(manifest)
    group = groups.reindex(ids).to_numpy()
    if pd.isna(group).any():
        raise LesionError(f"{int(pd.isna(group).sum())} images have no group", wanted="one each")
    is_test = np.isin(ids, sorted(test_ids))
    held = np.isin(group, np.unique(group[is_test].astype(str))) if is_test.any() else is_test
    role = np.where(is_test, "test", np.where(held, "excluded", "train"))
    fold = np.full(len(ids), -1, dtype=np.int64)
    free = ~held
    shares = np.full(folds, 1 / folds) if folds > 1 else np.array([val_fraction, 1 - val_fraction])
    strict = labels is not None
    if labels is None:
        labels = manifest["target"] if "target" in manifest else np.full(len(ids), np.nan)
    given = np.asarray(labels).reshape(-1)
    if len(given) != len(ids):
        raise LesionError(f"{len(given)} labels for {len(ids)} images", wanted="one an image")
    fold[free] = deal(group[free], given[free], shares, seed, strict=strict)
    return pd.DataFrame(
        {"image_id": ids, "group": group, "fold": fold, "role": role, "members": folds}
    )


def check_split(
    split: pd.DataFrame,
    manifest: pd.DataFrame,
    duplicates: Sequence[tuple[str, str]] = (),
) -> None:
    """Refuse a split that leaks or does not belong to the manifest.

    Groups are worked out again from the manifest's patients and lesions (and `duplicates`), so a
    split edited by hand is caught too.

    Raises
    ------
    LesionError
        A column is missing, an id is listed twice, unknown or left out, a part is empty, or a
        group lies in two folds, or in training and in the test list.
    """
    _check_form(split)
    ids = split["image_id"].astype(str)
    ours = set(manifest["image_id"].astype(str))
    for what, lost in (
        ("images of the manifest are not in the split", ours - set(ids)),
        ("images of the split are not in the manifest", set(ids) - ours),
    ):
        if lost:
            raise LesionError(
                f"{len(lost)} {what} (first: {min(lost)})",
                wanted="a split made from this manifest",
                mend="use a new --out, or delete split.csv to have it made again",
            )
    place = np.where(split["role"] == "test", "the test list", "fold " + split["fold"].astype(str))
    used = (split["role"] != "excluded").to_numpy()
    worked_out = assign_groups(manifest, duplicates).reindex(ids).to_numpy()
    for group in (split["group"].to_numpy(), worked_out):
        _refuse_overlap(ids.to_numpy()[used], group[used], place[used])


def member_count(split: pd.DataFrame) -> int:
    """Return how many members are trained on this split."""
    return int(split["members"].iloc[0])


def member_ids(split: pd.DataFrame, member: int) -> tuple[list[str], list[str]]:
    """Return the image ids that member number `member` trains on and validates on."""
    count = member_count(split)
    if not 0 <= member < count:
        raise LesionError(f"there is no member {member}", wanted=f"0 to {count - 1}")
    rows = split[split["role"] == "train"]
    validates = rows["fold"] == member
    return rows.loc[~validates, "image_id"].tolist(), rows.loc[validates, "image_id"].tolist()


def write_split(path: PathLike, split: pd.DataFrame) -> None:
    """Write a split as CSV or Parquet, by the suffix of `path`."""
    _check_form(split)
    write_table(path, split[list(COLUMNS)])


def read_split(path: PathLike) -> pd.DataFrame:
    """Return the split in a file; `members` may be missing and is then the number of folds."""
    text = {"image_id": str, "group": str, "role": str}
    options: dict[str, Any] = {} if str(path).endswith(".parquet") else {"dtype": text}
    split = read_table(path, **options)
    if "members" not in split and "fold" in split and len(split):
        split["members"] = int(split["fold"].max()) + 1
    _check_form(split)
    return split[list(COLUMNS)]


def _check_form(split: pd.DataFrame) -> None:
    missing = [name for name in COLUMNS if name not in split]
    if missing:
        raise LesionError(
            f"the split has no column {', '.join(missing)}", wanted=", ".join(COLUMNS)
        )
    if split.empty:
        raise LesionError("the split is empty", wanted="a row for each image")
    twice = split["image_id"].duplicated()
    if twice.any():
        raise LesionError(
            f"the split lists {int(twice.sum())} images twice "
            f"(first: {split['image_id'][twice].iloc[0]})",
            wanted="one row an image",
        )
    strange = sorted(set(split["role"]) - set(ROLES))
    if strange:
        raise LesionError(
            f"the split has the role {strange[0]!r}", wanted=f"one of: {', '.join(ROLES)}"
        )
    if split["members"].nunique() != 1:
        raise LesionError("the split has several values of `members`", wanted="one for all rows")
    parts = max(member_count(split), 2)
    folds = set(split.loc[split["role"] == "train", "fold"])
    if folds != set(range(parts)):
        raise LesionError(
            f"the training rows lie in folds {sorted(folds)}",
            wanted=f"folds 0 to {parts - 1}, none of them empty",
        )


def _refuse_overlap(
    ids: npt.NDArray[Any], group: npt.NDArray[Any], place: npt.NDArray[Any]
) -> None:
    import pandas as pd

    table = pd.DataFrame({"id": ids, "group": group, "place": place}).astype(str)
    places = table.drop_duplicates(["group", "place"])
    torn = places[places["group"].duplicated(keep=False)].sort_values(["group", "place"])
    if torn.empty:
        return
    first = torn[torn["group"] == torn["group"].iloc[0]]
    raise LesionError(
        f"{torn['group'].nunique()} groups lie on both sides of the split: "
        f"{first['group'].iloc[0]} is in {' and '.join(first['place'])} "
        f"(images {', '.join(first['id'])})",
        wanted="each patient, lesion and set of duplicates in one fold, or in the test list alone",
        mend="use a new --out, or delete split.csv to have it made again",
    )


def _known(manifest: pd.DataFrame, column: str) -> pd.Series[Any]:
    """Return a text column with null where it is unknown, index 0 to rows - 1."""
    import pandas as pd

    if column not in manifest:
        return pd.Series([None] * len(manifest), dtype=object)
    values = manifest[column].reset_index(drop=True)
    text = values.astype(str).str.strip().astype(object)
    return text.where(values.notna() & (text != ""), None)


def _components(
    manifest: pd.DataFrame, ids: pd.Index, duplicates: Sequence[tuple[str, str]]
) -> npt.NDArray[np.int64]:
    """Return the number of each row's connected component."""
    import pandas as pd
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = len(ids)
    left, right, nodes = [np.arange(0)], [np.arange(0)], rows
    # Each patient and each lesion is a node beside the images, joined to each of its images.
    for column in ("patient_id", "lesion_id"):
        codes, values = pd.factorize(_known(manifest, column))
        known = np.flatnonzero(codes >= 0)
        left.append(known)
        right.append(codes[known] + nodes)
        nodes += len(values)
    if len(duplicates):
        flat = pd.Index(np.asarray(duplicates, dtype=object).reshape(-1))
        pairs = ids.get_indexer(flat).reshape(-1, 2)
        pairs = pairs[(pairs >= 0).all(axis=1)]
        left.append(pairs[:, 0])
        right.append(pairs[:, 1])
    edges = np.concatenate(left), np.concatenate(right)
    graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(nodes, nodes))
    return connected_components(graph, directed=False)[1][:rows].astype(np.int64)
