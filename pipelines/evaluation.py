"""The evaluation step: every image with its subset, label, mask and probability, and the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lesioncore.errors import LesionError
from lesioncore.files import read_table, write_json, write_table
from lesioncore.metrics import MASK_METRICS, score_lines, score_malignancy, score_masks
from lesioncore.progress import log, track

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache
    from pipelines.datasets import RunData
    from pipelines.run_steps import RunPaths


def evaluate_run(
    paths: RunPaths, data: RunData, *, subset: str, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Write `evaluation/images.parquet` and `evaluation/scores.json`, print the scores.

    Parameters
    ----------
    paths : RunPaths
    data : RunData
    subset : str
        Which subset is scored, "test" or "validation".
    resamples, seed : int
        Of the bootstrap, by group.

    Returns
    -------
    dict
        As written to `scores.json`.
    """
    from lesioncore.cache import MaskCache

    images = image_table(paths, data, subset)
    cache = MaskCache(paths.cache)
    scored = images[images["subset"] == subset]
    masks = mask_scores_of(scored, cache)
    images = images.merge(masks, on="image_id", how="left", validate="one_to_one")
    predictions = read_table(paths.predictions, dtype={"image_id": str})
    images = images.merge(
        predictions[["image_id", "malignant", "focus"]],
        on="image_id", how="left", validate="one_to_one",
    )  # fmt: skip
    scores = scores_of(images[images["subset"] == subset], resamples, seed)
    scores = {"subset": subset, "policy": data.policy} | scores
    write_table(paths.evaluation / "images.parquet", images)
    write_json(paths.evaluation / "scores.json", scores)
    print("\n".join([_heading(scores), *score_lines(scores)]))
    return scores


def image_table(paths: RunPaths, data: RunData, subset: str) -> pd.DataFrame:
    """Return the manifest with `group`, `subset` ("train", "test", "validation", "excluded") and
    `label`, groups and parts as stage 2 split them."""
    import pandas as pd

    from lesioncore.splits import assign_groups, read_split
    from lesioncore.subsets import validated_ids

    images = data.manifest.copy()
    ids = images["image_id"].astype(str)
    whole = read_split(paths.classification / "split.csv")
    split = whole.set_index("image_id")
    groups = split["group"].reindex(ids).to_numpy(object)
    # Images without a label are in no split of stage 2, and still have a group.
    own = assign_groups(data.manifest).reindex(ids).to_numpy(object)
    images["group"] = np.where(split["group"].reindex(ids).isna(), own, groups)
    roles = split["role"].reindex(ids).to_numpy(object)
    roles = np.where(ids.isin(data.test), "test", np.where(pd.isna(roles), "train", roles))
    if subset == "validation":
        roles = np.where(ids.isin(validated_ids(paths.classification, whole)), "validation", roles)
    images["subset"] = roles
    images["label"] = data.labels
    return images


def mask_scores_of(images: pd.DataFrame, cache: MaskCache) -> pd.DataFrame:
    """Return `mask_status`, `mask_score`, `mask_quality` and, with a true mask, the overlaps.

    A failed mask counts as an empty one: nothing that the segmenter could not do is left out.
    """
    import pandas as pd

    from lesioncore.images import read_mask
    from lesioncore.metrics import mask_scores

    rows = []
    for image_id, path in track(
        list(zip(images["image_id"], images["mask"], strict=True)), "scoring masks"
    ):
        row: dict[str, Any] = {"image_id": image_id, "mask_status": "missing"}
        entry = cache.read(image_id) if image_id in cache else None
        if entry is not None:
            row |= {"mask_status": entry.status, "mask_score": entry.score}
            row["mask_quality"] = entry.quality
        if isinstance(path, str) and path:
            truth = read_mask(path)
            found = entry.mask() if entry is not None and entry.status != "failed" else None
            if found is not None and found.shape != truth.shape:
                raise LesionError(
                    f"the cached mask of {image_id} is {found.shape}, the true one {truth.shape}",
                    wanted="masks of the size of their image",
                    mend="lesion run ... --force cache",
                )
            row |= mask_scores(np.zeros_like(truth) if found is None else found, truth)
        rows.append(row)
    numbers = ["mask_score", "mask_quality", *MASK_METRICS]
    names = ["image_id", "mask_status", *numbers]
    frame = pd.DataFrame(rows).reindex(columns=names)
    frame[numbers] = frame[numbers].astype(float)
    return frame


def scores_of(images: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    """Return the counts and every score that is defined, with its interval by group."""
    known = images[images["malignant"].notna() & images["label"].notna()]
    result: dict[str, Any] = {"n": len(known), "positives": int((known["label"] == 1).sum())}
    if len(known):
        result |= score_malignancy(
            known["label"].to_numpy(float), known["malignant"].to_numpy(float),
            known["group"].to_numpy(), resamples=resamples, seed=seed,
        )  # fmt: skip
    drawn = images[images["dice"].notna()]
    result["n_masks"] = len(drawn)
    if len(drawn):
        result |= score_masks(drawn, drawn["group"], resamples=resamples, seed=seed)
    if not len(known) and not len(drawn):
        log.warning("nothing could be scored: no label and no true mask in this subset")
    return result


def _heading(scores: dict[str, Any]) -> str:
    subset = "test list" if scores["subset"] == "test" else f"{scores['subset']} images"
    return (
        f"Scores on the {subset} (research use, not a diagnosis): "
        f"{scores['n_masks']:,} true masks; "
        f"{scores['n']:,} labels, {scores['positives']:,} malignant by {scores['policy']!r}"
    )
