"""`lesion prepare`: an archive in, its manifest and a page of checks out; or phantoms drawn."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lesioncore.config import DataOptions
from lesioncore.errors import LesionError
from lesioncore.files import write_json, write_text
from lesioncore.progress import log, track

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.prepare_config import PrepareConfig

_SHOWN = 8


def prepare(config: PrepareConfig) -> int:
    """Write `manifest.parquet`, `checks.json` and `checks.md` to `config.out`.

    Returns
    -------
    int
        1 when more than `config.max_failed` files are unreadable or do not fit their mask, else 0.

    Raises
    ------
    LesionError
        The archive cannot be read, or `out` holds something that phantoms must not be mixed with.
    """
    from lesioncore.records import write_manifest

    table = _read(config)
    missing = table["image"].isna()
    manifest = table[~missing].reset_index(drop=True) if config.images else table
    if manifest.empty:
        raise LesionError(
            f"{config.dataset}: none of the {len(table)} images of the table is in {config.root}",
            wanted="the images beside the table",
            mend="give --root the folder with the images, or --images false to keep the table",
        )
    checks = summarise(table, config.dataset)
    checks["files"] = check_files(manifest, config.check)
    write_manifest(config.out / "manifest.parquet", manifest)
    write_json(config.out / "checks.json", checks)
    page = checks_page(checks)
    write_text(config.out / "checks.md", page)
    print(page)
    log.info("manifest of %d images: %s", len(manifest), config.out / "manifest.parquet")
    failed = len(checks["files"]["problems"])
    if failed > config.max_failed:
        log.error(
            "%d files have problems, %d are allowed (--max-failed)", failed, config.max_failed
        )
        return 1
    return 0


def _read(config: PrepareConfig) -> pd.DataFrame:
    """Return all rows of the archive's table, those without an image included."""
    from lesioncore.readers import load_manifest

    options: DataOptions = config
    prevalence = 0.25 if config.prevalence is None else config.prevalence
    if config.patients is not None:
        return _stand_in(config, config.patients)
    if config.dataset == "phantom" and config.root is None:
        from lesioncore.phantoms import make_phantom_archive

        log.info("drawing %d synthetic lesions into %s", config.n, config.out)
        make_phantom_archive(config.out, config.n, config.seed, config.size, prevalence=prevalence)
        options = replace(config, root=config.out)
    return load_manifest(
        options,
        seed=config.seed,
        require_images=False,
        size=config.size,
        prevalence=prevalence,
    )


def _stand_in(config: PrepareConfig, patients: int) -> pd.DataFrame:
    """Draw a stand-in for ISIC 2024 into `config.out` and return its rows."""
    from lesioncore.devices import choose_workers
    from lesioncore.phantoms.standin import PREVALENCE, Plan, make_stand_in
    from lesioncore.readers import load_manifest

    prevalence = PREVALENCE if config.prevalence is None else config.prevalence
    plan = Plan(config.n, patients, config.seed, prevalence)
    log.info("drawing %d synthetic tiles of %d patients into %s", plan.n, patients, config.out)
    make_stand_in(config.out, plan, workers=choose_workers(config.workers))
    options = DataOptions(dataset="isic2024", root=config.out, limit=config.limit, split="train")
    return load_manifest(options, require_images=False)


def summarise(manifest: pd.DataFrame, dataset: str) -> dict[str, Any]:
    """Return counts of images, groups, labels under every policy, and what is missing.

    Parameters
    ----------
    manifest : DataFrame
        With all rows, `image` null where it is not on disk.
    dataset : str
        Name of the reader, for its default policy.
    """
    from lesioncore.diagnoses import POLICIES, labels
    from lesioncore.leaks import is_leaking, model_columns
    from lesioncore.readers import default_policy
    from lesioncore.records import CORE_COLUMNS

    absent = manifest.loc[manifest["image"].isna(), "image_id"]
    counts = {}
    for policy in POLICIES:
        values = labels(manifest, policy)
        malignant, benign = int((values == 1).sum()), int((values == 0).sum())
        counts[policy] = {
            "malignant": malignant,
            "benign": benign,
            "unknown": len(values) - malignant - benign,
        }
    others = [column for column in manifest.columns if column not in CORE_COLUMNS]
    return {
        "dataset": dataset,
        "rows": len(manifest),
        "images": int(manifest["image"].notna().sum()),
        "images_missing": {"count": len(absent), "first": absent.head(_SHOWN).tolist()},
        "masks": int(manifest["mask"].notna().sum()),
        "patients": int(manifest["patient_id"].nunique()),
        "lesions": int(manifest["lesion_id"].nunique()),
        "policy": default_policy(dataset),
        "labels": counts,
        "diagnoses": _counts(manifest["diagnosis"]),
        "sexes": _counts(manifest["sex"]),
        "sites": _counts(manifest["site"]),
        "values_missing": {
            column: int(manifest[column].isna().sum())
            for column in ("target", "diagnosis", "age", "sex", "site", "diameter_mm")
        },
        "model_columns": model_columns(manifest),
        "leaking_columns": [column for column in others if is_leaking(str(column))],
    }


def check_files(manifest: pd.DataFrame, depth: str) -> dict[str, Any]:
    """Look at the files that a manifest names.

    Parameters
    ----------
    manifest : DataFrame
    depth : {"none", "headers", "pixels"}

    Returns
    -------
    dict
        `checked` (files), `sizes` ("WxH" to count, most frequent first), `problems` (image_id to
        what is wrong), and with "pixels" `empty_masks` (ids) and `equal_files` (pairs of ids).
    """
    sizes: Counter[str] = Counter()
    problems: dict[str, str] = {}
    empty: list[str] = []
    checked = 0
    present = manifest[manifest["image"].notna()]
    if depth == "none":
        present = present.iloc[:0]
    columns = present[["image_id", "image", "mask"]].itertuples(index=False, name=None)
    for image_id, image, mask in track(columns, "checking files", len(present)):
        mask = mask if isinstance(mask, str) and mask else None
        try:
            if depth == "headers":
                height, width = image_size(image)
                if mask and image_size(mask) != (height, width):
                    found = "{0[1]}x{0[0]}".format(image_size(mask))
                    raise LesionError(f"mask of {found} for an image of {width}x{height}")
            else:
                from lesioncore.images import read_image, read_mask

                height, width = read_image(image).shape[:2]
                if mask and not read_mask(mask, (height, width)).any():
                    empty.append(str(image_id))
            sizes[f"{width}x{height}"] += 1
        except LesionError as error:
            problems[str(image_id)] = error.found
        checked += 1
    result: dict[str, Any] = {
        "depth": depth,
        "checked": checked,
        "sizes": dict(sizes.most_common()),
        "problems": problems,
    }
    if depth == "pixels":
        from lesioncore.duplicates import content_duplicates

        result["empty_masks"] = empty
        result["equal_files"] = [list(pair) for pair in content_duplicates(present)]
    return result


def image_size(reference: str) -> tuple[int, int]:
    """Return (height, width) from a file's header, upright by its EXIF orientation.

    Raises
    ------
    LesionError
        The file is missing or is no image.
    """
    from PIL import Image

    from lesioncore.images import read_image_bytes, split_reference

    path, key = split_reference(reference)
    try:
        source = path if key is None else io.BytesIO(read_image_bytes(reference))
        with Image.open(source) as picture:
            width, height = picture.size
            turned = picture.getexif().get(0x0112, 1) >= 5
    except LesionError:
        raise
    except Exception as error:  # Pillow raises many kinds for broken headers
        raise LesionError(f"cannot read {reference} as an image: {error}") from error
    return (width, height) if turned else (height, width)


def checks_page(checks: dict[str, Any]) -> str:
    """Return the checks as a page of Markdown for a person."""
    files, missing = checks["files"], checks["images_missing"]
    lines = [f"# {checks['dataset']}: {checks['images']:,} images", ""]
    if checks["dataset"] == "phantom":
        lines += ["Synthetic phantoms: drawn by a program, no pictures of people.", ""]
    lines += [
        f"- rows of the table: {checks['rows']:,}; without image on disk: {missing['count']:,}"
        + (f" (first: {', '.join(missing['first'])})" if missing["count"] else ""),
        f"- masks: {checks['masks']:,}",
        f"- patients: {checks['patients']:,}; lesions: {checks['lesions']:,}",
        "- missing values: "
        + ", ".join(f"{name} {count:,}" for name, count in checks["values_missing"].items()),
        f"- numeric columns for models: {', '.join(checks['model_columns']) or 'none'}",
        f"- columns kept from models (they give the answer away): "
        f"{', '.join(checks['leaking_columns']) or 'none'}",
        "",
        "| policy | malignant | benign | unknown |",
        "| --- | ---: | ---: | ---: |",
    ]
    for policy, count in checks["labels"].items():
        mark = " (default)" if policy == checks["policy"] else ""
        cells = (f"{count[key]:,}" for key in ("malignant", "benign", "unknown"))
        lines.append(f"| {policy}{mark} | {' | '.join(cells)} |")
    for name in ("diagnoses", "sexes", "sites"):
        if checks[name]:
            shown = ", ".join(f"{key} {count:,}" for key, count in checks[name].items())
            lines += ["", f"{name.capitalize()}: {shown}"]
    lines += ["", "## Files", "", f"- checked: {files['checked']:,} ({files['depth']})"]
    if files["sizes"]:
        common = list(files["sizes"].items())
        shown = ", ".join(f"{size} ({count:,})" for size, count in common[:_SHOWN])
        more = f", and {len(common) - _SHOWN} more sizes" if len(common) > _SHOWN else ""
        lines.append(f"- sizes, width x height: {shown}{more}")
    if files["depth"] == "pixels":
        lines.append(f"- empty masks: {len(files['empty_masks']):,}")
        lines.append(f"- pairs of equal files: {len(files['equal_files']):,}")
    lines.append(f"- problems: {len(files['problems']):,}")
    lines += [f"  - {name}: {text}" for name, text in list(files["problems"].items())[:_SHOWN]]
    return "\n".join(lines) + "\n"


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(key): int(count) for key, count in values.value_counts().items()}
