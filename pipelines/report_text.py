"""The words and the plain tables of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.report_data import ReportData

CARDS = (
    ("dice", "Dice", 3, "overlap of mask and truth, mean over test images; 1 is perfect"),
    ("jaccard", "Jaccard", 3, "the same overlap as intersection over union"),
    ("auc", "AUC", 3, "chance that a malignant lesion is ranked above a benign one; 0.5 is a coin"),
    ("pauc", "pAUC", 3, "area of the ROC above 80% sensitivity; 0.2 is perfect, 0.02 is a coin"),
)

STATUS_MEANINGS = {
    "ok": "a lesion was found",
    "empty": "no lesion was found; stage 2 sees the whole image and says so",
    "failed": "the image could not be read or predicted; stage 2 sees the whole image",
    "edited": "a person drew or corrected it; it wins over any model",
}

LIMITS = (
    "Other clinics, cameras and skins. The test list comes from the same archive as the training "
    "images; expect less elsewhere, and measure it there.",
    "Skin tone. The archives carry no reliable record of it, so no claim is made for any tone.",
    "The prevalence of a clinic. Archives hold far more malignant lesions than a practice sees; "
    "a probability keeps its meaning only at a like prevalence.",
    "The noise of training. The intervals resample the test images of one trained model; another "
    "seed would move the scores as well.",
    "Fitness for any medical purpose. This is a research tool and no medical device.",
)


def data_section(data: ReportData) -> dict[str, Any]:
    """Return counts by subset and class, the diagnoses, and what is missing."""
    images = data.images
    parts = [
        {
            "name": {"train": "training", "test": "test list"}.get(subset, subset),
            "images": len(rows),
            "groups": rows["group"].nunique(),
            "malignant": int((rows["label"] == 1).sum()),
            "benign": int((rows["label"] == 0).sum()),
            "unknown": int(rows["label"].isna().sum()),
        }
        for subset in ("train", "validation", "test", "excluded")
        if len(rows := images[images["subset"] == subset])
    ]
    diagnosed = images["diagnosis"].notna().any()
    column = "diagnosis" if diagnosed else "site"
    counts = images[column].fillna("unknown").value_counts()
    shown: list[dict[str, Any]] = [
        {"name": str(name), "n": int(n)} for name, n in counts.head(9).items()
    ]
    if len(counts) > 9:
        shown.append({"name": f"{len(counts) - 9} more", "n": int(counts.iloc[9:].sum())})
    most = max((int(row["n"]) for row in shown), default=1)
    return {
        "lead": _lead(images),
        "parts": parts,
        "classes_title": "Images by diagnosis" if diagnosed else "Images by site",
        "classes": [row | {"width": round(100 * int(row["n"]) / most, 1)} for row in shown],
        "missing": _missing(images),
    }


def _lead(images: Any) -> str:
    pieces = [f"{len(images):,} images"]
    for column, name in (("lesion_id", "lesions"), ("patient_id", "patients")):
        if column in images and images[column].notna().any():
            pieces.append(f"{images[column].nunique():,} {name}")
    masks = int(images["mask"].notna().sum()) if "mask" in images else 0
    pieces.append(f"{masks:,} true masks")
    ages = images["age"].dropna()
    text = ", ".join(pieces) + "."
    if len(ages):
        low, middle, high = (f"{ages.quantile(q):.0f}" for q in (0.25, 0.5, 0.75))
        text += f" Median age {middle} years (half lie between {low} and {high})."
    return text


def _missing(images: Any) -> str:
    missing = [
        f"{column} {_percent(images[column].isna().mean())}"
        for column in ("age", "sex", "site")
        if column in images and images[column].isna().any()
    ]
    return f"Missing: {', '.join(missing)}." if missing else "No age, sex or site is missing."


def _percent(share: float) -> str:
    return "under 1%" if 0 < share < 0.01 else f"{share:.0%}"


def settings_sections(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the resolved config as tables: the run's own fields, then each nested section."""
    plain = {name: value for name, value in config.items() if not isinstance(value, dict)}
    nested = {name: value for name, value in config.items() if isinstance(value, dict)}
    names = {"segmentation": "Stage 1: segmentation", "classification": "Stage 2: classification"}
    return [{"name": "Run", "rows": _rows(plain)}] + [
        {"name": names.get(name, name), "rows": _rows(value)} for name, value in nested.items()
    ]


def _rows(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in values.items()
        if value is not None and value != []
    ]


def duration(seconds: float | None) -> str:
    """Return a time as a person says it: `42 s`, `12 min 5 s`, `1 h 7 min`."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
