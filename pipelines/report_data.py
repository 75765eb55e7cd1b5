"""What the report tells, gathered from the folder of a `lesion run`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.errors import LesionError
from lesioncore.files import read_json, read_table
from pipelines.overlay import is_synthetic

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache

# Files of the evaluation step, all in RUN/evaluation/.
IMAGES_FILE = "images.parquet"
SCORES_FILE = "scores.json"


@dataclass(frozen=True)
class ReportData:
    """The evidence of a run.

    Attributes
    ----------
    title : str
        Name of the run.
    images : DataFrame
        One row an image of the archive: the manifest's columns, `group`, `subset` ("train", "test",
        "excluded"), `label` (1, 0, NaN) and, on the test list, `dice`, `jaccard`, `mask_score`,
        `mask_status`, `malignant` (NaN where there is none).
    scores : dict
        `scores.json`: counts, and `value`, `low`, `high` of each metric.
    config : dict
        The resolved config of the run.
    steps : list of dict
        State of each step, in order.
    cache : MaskCache or None
        For the overlays.
    statuses : dict of str to int
        How many cached masks ended in each status.
    curves : dict
        Stage to member to (epochs, scores), with the score's name.
    """

    title: str
    images: pd.DataFrame
    scores: dict[str, Any]
    config: dict[str, Any]
    steps: list[dict[str, Any]] = field(default_factory=list)
    cache: MaskCache | None = None
    statuses: dict[str, int] = field(default_factory=dict)
    curves: dict[str, tuple[str, dict[str, tuple[Any, Any]]]] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        """Whether any image was made by the phantom generator."""
        return is_synthetic(self.images["source"].unique().tolist())

    @property
    def subset(self) -> str:
        """The subset of the archive that was scored, "test" or "validation"."""
        return str(self.scores.get("subset", "test"))


def read_run(folder: Path) -> ReportData:
    """Return the evidence in the folder of a `lesion run`.

    Raises
    ------
    LesionError
        It is no such folder, or the run has not been evaluated.
    """
    from lesioncore.cache import MaskCache

    evaluation = folder / "evaluation"
    if not (evaluation / SCORES_FILE).is_file() or not (evaluation / IMAGES_FILE).is_file():
        found = "an unfinished run" if (folder / "run.yaml").is_file() else "no run"
        raise LesionError(
            f"{folder} holds {found}: there is no {evaluation / SCORES_FILE}",
            wanted="the --out folder of a finished `lesion run`",
            mend=f"lesion run --config {folder / 'run.yaml'}"
            if found != "no run"
            else "lesion run --dataset NAME --root DIR --out DIR",
        )
    import yaml

    cache = MaskCache(folder / "cache") if (folder / "cache" / "index.json").is_file() else None
    config = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
    states = [read_json(path) for path in sorted((folder / "steps").glob("*.json"))]
    # The step that writes the page is not done while it reads this.
    states = [state for state in states if state["complete"]]
    return ReportData(
        title=folder.absolute().name,
        images=read_table(evaluation / IMAGES_FILE),
        scores=read_json(evaluation / SCORES_FILE),
        config=config,
        steps=sorted(states, key=lambda state: int(state["number"])),
        cache=cache,
        statuses=cache.counts if cache is not None else {},
        curves={
            name: curve
            for name in ("segmentation", "classification")
            if (curve := _curves(folder / name)) is not None
        },
    )


def _curves(stage: Path) -> tuple[str, dict[str, tuple[Any, Any]]] | None:
    """Return the validation score by epoch of every member that logged one."""
    members: dict[str, tuple[Any, Any]] = {}
    score = ""
    for path in sorted(stage.glob("member-*/metrics.csv")):
        table = read_table(path)
        names = [name for name in table.columns if name.startswith("val_") and "loss" not in name]
        preferred = [name for name in names if name.removeprefix("val_") in _DRAWN]
        if not names or "epoch" not in table:
            continue
        score = (preferred or names)[0]
        kept = table.dropna(subset=[score]).drop_duplicates("epoch", keep="last")
        values = kept[score].to_numpy(float)
        members[path.parent.name.removeprefix("member-")] = (
            kept["epoch"].to_numpy(float),
            values,
        )
    name = score.removeprefix("val_")
    # A curve of one point shows nothing.
    drawn = any(len(epochs) > 1 for epochs, _ in members.values())
    return (_DRAWN.get(name, name.replace("_", " ")), members) if drawn else None


# The scores that are drawn, of either stage, as people write them.
_DRAWN = {"dice": "Dice", "auc": "AUC"}
