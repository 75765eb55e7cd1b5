"""A submission to the ISIC 2024 competition on Kaggle: `isic_id,target`, no more and no less."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clsstage.config import PredictConfig
from clsstage.predictor import LesionClassifier
from lesioncore.errors import LesionError
from lesioncore.files import read_table
from lesioncore.progress import log

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = "sample_submission.csv"


def submission(
    table: pd.DataFrame, sample: pd.DataFrame, classifier: LesionClassifier
) -> pd.DataFrame:
    """Return the ids of the sample submission, in its order, with their probabilities.

    An image that could not be read gets the prevalence of the training archive, with a warning,
    because a submission must have a number for every id.
    """
    chance = table.set_index("image_id")["malignant"].reindex(sample["isic_id"])
    lacking = chance.isna()
    if lacking.any():
        prevalence = float(classifier.members[0].card.preprocessing.get("prevalence", 0.0))
        log.warning(
            "%d of the %d ids have no probability (first: %s); they get the prevalence of the "
            "training archive, %.4f",
            int(lacking.sum()),
            len(sample),
            chance.index[lacking][0],
            prevalence,
        )
        chance = chance.fillna(prevalence)
    return sample[["isic_id"]].assign(target=chance.to_numpy())


def read_sample(config: PredictConfig) -> pd.DataFrame:
    """Return the sample submission that a config names, or the one in its root.

    Raises
    ------
    LesionError
        There is none, or it has no column `isic_id`.
    """
    path = config.sample_submission or (config.root or Path()) / SAMPLE
    if not path.is_file():
        raise LesionError(
            f"no {path}",
            wanted="the sample submission of the competition, which says the ids and their order",
            mend="--sample-submission FILE, or --format csv",
        )
    sample = read_table(path, dtype=str)
    if "isic_id" not in sample:
        raise LesionError(
            f"{path} has no column isic_id (it has {', '.join(sample.columns)})",
            wanted="the sample_submission.csv of the competition",
        )
    return sample
