"""The data of a run: the manifest with groups, parts and labels, and what identifies it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lesioncore.files import sha256_file, sha256_json
from lesioncore.images import split_reference
from lesioncore.progress import track

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.config import DataOptions


@dataclass(frozen=True)
class RunData:
    """The archive of a run.

    Attributes
    ----------
    manifest : DataFrame
        As the reader gives it.
    policy : str
        What counts as malignant.
    labels : ndarray of shape (n,), float64
        1 malignant, 0 benign, NaN unknown, by the policy.
    test : set of str
        Ids of the test list that are in the manifest.
    fingerprint : dict
        What identifies images, masks and records; equal for equal data, wherever it lies.
    """

    manifest: pd.DataFrame
    policy: str
    labels: Any
    test: set[str]
    fingerprint: dict[str, Any]


def load_run_data(options: DataOptions, *, seed: int, policy: str, test_list: str) -> RunData:
    """Read the archive that the options name.

    Parameters
    ----------
    options : DataOptions
    seed : int
        For readers that make their images.
    policy : str
        What counts as malignant; "auto" is the archive's own choice.
    test_list : str
        "auto", "none" or a file of image ids.
    """
    from lesioncore.diagnoses import labels
    from lesioncore.holdout import test_ids
    from lesioncore.readers import load_manifest, policy_of

    manifest = load_manifest(options, seed=seed)
    chosen = policy_of(options.dataset, policy)
    test = set(test_ids(manifest, options.dataset, test_list))
    return RunData(
        manifest=manifest,
        policy=chosen,
        labels=labels(manifest, chosen),
        test=test & set(manifest["image_id"]),
        fingerprint=data_fingerprint(manifest, options.dataset),
    )


def data_fingerprint(manifest: pd.DataFrame, dataset: str) -> dict[str, Any]:
    """Return what identifies the data: the bytes of images and masks, and the records.

    Paths do not count, so an archive may be moved between two commands.
    """
    records = manifest.drop(columns=["image", "mask"], errors="ignore")
    return {
        "dataset": dataset,
        "rows": len(manifest),
        "records_sha256": sha256_json(records.to_csv(index=False)),
        "images_sha256": _content(manifest["image"]),
        "masks_sha256": _content(manifest["mask"]),
    }


def _content(references: pd.Series) -> str:
    """Return the SHA-256 over the files that the references name, in their order."""
    stores = [split_reference(ref)[0] if _given(ref) else "" for ref in references]
    paths = list(dict.fromkeys(path for path in stores if path))
    with ThreadPoolExecutor(4) as pool:  # hashing lets other threads run
        digests = list(track(pool.map(_digest, paths), "checking files", total=len(paths)))
    of = dict(zip(paths, digests, strict=True))
    return sha256_json([of.get(path, "") for path in stores])


def _digest(path: str) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return "unreadable"  # the step that needs the file says so, with what to do


def _given(reference: Any) -> bool:
    return isinstance(reference, str) and bool(reference)
