"""Flags of `lesion report`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.scoring_config import ScoringOptions


@dataclass(frozen=True, kw_only=True)
class ReportConfig(ScoringOptions):
    """Write one HTML file with everything in it: of a run, or of any table of predictions.

    Args:
        run: folder of a finished `lesion run`
        predictions: in place of a run, a CSV or Parquet file with an id and one or more scores a
            row, from any tool; the flags that name its columns are those of `lesion evaluate`
        out: page to write; left out, report.html in the run's folder, or here
        title: what the page is called; left out, the name of the run or of the file
        tiles: how many of a run's worst masks to show
    """

    run: Path | None = None
    predictions: Path | None = None
    out: Path | None = None
    title: str | None = None
    tiles: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.run is None) == (self.predictions is None):
            both = self.run is not None
            raise ValueError(
                f"{'both' if both else 'neither'} --run and --predictions: wanted one of them"
            )
        if self.run is not None and (self.labels is not None or self.against):
            raise ValueError("--labels and --against go with --predictions: a run has its own")
