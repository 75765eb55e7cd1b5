"""`summary.md` of a stack: what it learned from, how well it does, what it looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lesioncore.metrics import score_table, score_text
from lesioncore.splits import member_count
from pipelines.stack_config import StackTrainConfig

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_SHOWN = 25


def summary(
    config: StackTrainConfig,
    folder: Path,
    split: pd.DataFrame,
    scores: dict[str, Any],
    importance: pd.DataFrame,
    records: list[dict[str, Any]],
) -> str:
    """Return the page, Markdown.

    Parameters
    ----------
    config : StackTrainConfig
    folder : Path
    split : DataFrame
    scores : dict
        Content of `metrics.json`.
    importance : DataFrame
        From `importance_table`.
    records : list of dict
        What each member's algorithms wrote.
    """
    roles = split["role"].value_counts()
    used = ", ".join(scores["image_scores"]) or "none"
    # A stand-in for an archive says that it is synthetic.
    others = [source for source in scores["sources"] if source != config.dataset]
    dataset = config.dataset + (f" ({', '.join(others)})" if others else "")
    lines = [
        f"# {folder.name}: a stack",
        "",
        "A research tool, never a diagnosis.",
        "",
        f"- data: {dataset}, {roles.get('train', 0)} lesions of "
        f"{split.loc[split['role'] == 'train', 'group'].nunique()} patients or groups to train and "
        f"validate, {roles.get('test', 0)} kept back as test images, "
        f"{roles.get('excluded', 0)} left out because they share a group with one",
        f"- malignant: policy `{scores['policy']}`, {scores['positives']} of {scores['n']}",
        f"- image scores: {used}; masks: {'measured' if config.masks else 'none'}; "
        f"{scores['features']} features"
        + (f", without {', '.join(config.without)}" if config.without else ""),
        f"- {member_count(split)} members of {', '.join(config.algorithms)}, "
        f"{config.seeds} boosters each; rounds and settings chosen on {config.inner_folds} inner "
        "folds of each member's training patients",
        "",
        "## Scores of held-out lesions",
        "",
        "Each lesion was scored by the member that saw none of its patient. Intervals are "
        "bootstraps by patient.",
        "",
        *score_table(scores),
        "",
    ]
    lines += _parts(scores)
    lines += [
        "## What it looks at",
        "",
        "Mean movement of the log-odds by each feature (exact Shapley values of the trees), on "
        "lesions that were not learned from; `importance.csv` has all of them, "
        "[shap.png](shap.png) every lesion.",
        "",
        "| feature | family | log-odds | share |",
        "| --- | --- | ---: | ---: |",
    ]
    for row in importance.head(_SHOWN).itertuples():
        lines.append(
            f"| {row.feature} | {row.family} | {row.mean_abs_log_odds:.3f} | {row.share:.1%} |"
        )
    by_family = importance.groupby("family")["share"].sum().sort_values(ascending=False)
    lines += ["", "By family: " + ", ".join(f"{n} {s:.0%}" for n, s in by_family.items()), ""]
    lines += ["## Boosters", "", "| member | algorithm | settings | rounds | inner AUC |"]
    lines += ["| ---: | --- | --- | ---: | ---: |"]
    for record in records:
        said = ", ".join(f"{key} {value:g}" for key, value in record["settings"].items())
        lines.append(
            f"| {record['member']} | {record['algorithm']} | {said} | {record['rounds']} | "
            f"{record['inner_auc']:.4f} |"
        )
    return "\n".join([*lines, ""])


def _parts(scores: dict[str, Any]) -> list[str]:
    """Return the scores of each algorithm alone and of the start, and what the stack adds."""
    lines = ["| alone | AUC | pAUC above 80% TPR |", "| --- | --- | --- |"]
    for name, one in scores["alone"].items():
        lines.append(f"| {name} | {score_text(one['auc'])} | {score_text(one['pauc'])} |")
    lines.append("")
    for name, one in scores["differences"].items():
        lines.append(
            f"- stack minus {name}: AUC {score_text(one['auc'])}, pAUC {score_text(one['pauc'])}"
        )
    return [*lines, ""] if scores["differences"] else lines
