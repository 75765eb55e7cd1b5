"""Figures of the background of many images, and what they tell of the label together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from lesioncore.devices import choose_workers
from lesioncore.errors import LesionError
from lesioncore.images import read_image, read_mask
from lesioncore.loading import make_loader
from lesioncore.progress import log, track
from pipelines.audit.background import FEATURES, ITA, background_figures
from pipelines.audit.predictive import sample_rows

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache
    from pipelines.audit.data import AuditData

#: Images whose background is looked at: malignant ones first, benign ones drawn from the rest.
MOST_IMAGES = 5000
_BATCH = 16
_FOLDS = 5


def look_outside(data: AuditData) -> pd.DataFrame | None:
    """Return figures of the background, one row an image, index the manifest's rows.

    Labelled images with a mask are looked at: one of the cache, else the archive's own.

    Returns
    -------
    DataFrame or None
        `FEATURES` and `ITA` of `pipelines.audit.background`; None where no image has a mask.
    """
    import pandas as pd

    masks = _masks(data)
    known = np.where(masks.notna().to_numpy(), data.labels, np.nan)
    rows = sample_rows(known, MOST_IMAGES, data.config.seed)
    if not len(rows):
        return None
    looks: Any = _Backgrounds(data.manifest["image"].iloc[rows], masks.iloc[rows], data.cache)
    workers = choose_workers(data.config.workers) if len(rows) > 4 * _BATCH else 0
    loader = make_loader(looks, _BATCH, workers=workers, collate=list)
    found = [one for batch in track(loader, "looking outside the lesions") for one in batch]
    problems = [one for one in found if isinstance(one, str)]
    for problem in problems[:5]:
        log.warning("left out: %s", problem)
    empty = dict.fromkeys((*FEATURES, ITA), float("nan"))
    return pd.DataFrame([empty if isinstance(one, str) else one for one in found], index=rows)


def background_scores(
    figures: pd.DataFrame, labels: npt.NDArray[np.float64], groups: npt.NDArray[Any], seed: int = 0
) -> npt.NDArray[np.float64]:
    """Return how malignant each background looks to a model that learned from other groups.

    A forest of shallow knowledge: figures that are missing take their median, folds keep groups
    together and the share of malignant ones.

    Parameters
    ----------
    figures : DataFrame of (n, features)
    labels : (n,) of 0 and 1
    groups : (n,)
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    names = groups.astype(str)
    smallest = min(len(np.unique(names[labels == value])) for value in (0, 1))
    folds = StratifiedGroupKFold(min(_FOLDS, smallest), shuffle=True, random_state=seed)
    forest = ExtraTreesClassifier(
        200, min_samples_leaf=3, class_weight="balanced", random_state=seed, n_jobs=1
    )
    model = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), forest)
    chances = cross_val_predict(
        model, figures.to_numpy(np.float64), labels.astype(int), groups=names, cv=folds,
        method="predict_proba",
    )  # fmt: skip
    return np.asarray(chances[:, 1], np.float64)


class _Backgrounds(Dataset[Any]):
    """Items are figures of one image, or why there are none."""

    def __init__(self, images: pd.Series, masks: pd.Series, cache: MaskCache | None) -> None:
        self.images = np.asarray(images, dtype=np.str_)
        self.masks = np.asarray(masks, dtype=np.str_)
        self.cache = cache

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> dict[str, float] | str:
        name, mask = str(self.images[row]), str(self.masks[row])
        try:
            image = read_image(name)
            size = (image.shape[0], image.shape[1])
            drawn = read_mask(mask, size) if self.cache is None else self.cache.read(mask).mask()
            if drawn.shape != size:
                return f"{name}: its mask is {drawn.shape}, it is {size}"
            return background_figures(image, drawn)
        except LesionError as error:
            return error.found


def _masks(data: AuditData) -> pd.Series[Any]:
    """Return the id in the cache, or the path of the mask, of each image; null where none."""
    import pandas as pd

    there = data.manifest["image"].notna()
    if data.cache is None:
        return data.manifest["mask"].where(there)
    table = data.cache.table()
    good = set(table.loc[table["status"].isin(("ok", "edited")), "image_id"])
    ids = pd.Series(data.ids, index=data.manifest.index)
    return ids.where(ids.isin(good) & there)
