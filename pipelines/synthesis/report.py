"""What a synthesis leaves for people: report.json, summary.md and a sheet of pictures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lesioncore.files import atomic_path, write_json, write_text
from lesioncore.images import read_image, read_mask
from pipelines.contact_sheet import Tile, contact_sheet
from pipelines.contours import fit, outlined
from pipelines.synthesis.checks import frechet_check, nearest_neighbours
from pipelines.synthesis.crops import square_crop

if TYPE_CHECKING:
    from pipelines.synthesis.checks import Neighbours
    from pipelines.synthesis.features import FeatureNetwork
    from pipelines.synthesis.folder import Item, SynthesisFolder
    from pipelines.synthesis.material import Material
    from pipelines.synthesis_config import SynthesizeConfig

# Benign real images that are compared beside all malignant ones and all parents.
_MORE_REAL = 1000
_SHEET = 24
_TILE = 300


class RealPictures:
    """Real pictures in the form that the synthetic ones have: whole, or cropped for a network."""

    def __init__(self, material: Material, method: str, size: int) -> None:
        self._material, self._method, self._size = material, method, size

    def __call__(self, image_id: str) -> NDArray[np.uint8]:
        """Return (H, W, 3) uint8 RGB."""
        lesion = self._material.lesion(image_id)
        if self._method == "transplant":
            return lesion.image
        return square_crop(lesion, self._size)[0]


def reference_ids(material: Material, items: list[Item], seed: int) -> list[str]:
    """Return the real images to compare with: malignant ones, parents, and some benign ones."""
    rows = material.rows[material.rows["trusted"]]
    ids = rows["image_id"].astype(str)
    chosen = set(ids[rows["malignant"] == 1])
    chosen |= {name for item in items for name in (item.donor, item.recipient) if name}
    others = [name for name in ids if name not in chosen]
    more = np.random.default_rng([seed, len(others)]).permutation(len(others))[:_MORE_REAL]
    return sorted(chosen | {others[at] for at in more})


def check_images(
    config: SynthesizeConfig,
    material: Material,
    folder: SynthesisFolder,
    items: list[Item],
    network: FeatureNetwork,
) -> tuple[dict[str, Any], Neighbours, list[str]]:
    """Return the figures of both checks, the neighbours, and the ids of the real images.

    The Frechet distance is to the malignant real images, the neighbours are sought among all.
    """
    ids = reference_ids(material, items, config.seed)
    rows = material.rows.set_index("image_id").loc[ids]
    groups = rows["group"].astype(str).to_numpy()
    pictures = RealPictures(material, config.method, config.size)
    real = network.of(ids, pictures, config.workers, "features of real images")
    paths = [str(folder.image(item)) for item in items]
    ours = network.of(paths, read_image, config.workers, "features of synthetic images")
    near = nearest_neighbours(ours, real, groups, config.copy_percentile)
    malignant = (rows["malignant"] == 1).to_numpy()
    figures = {
        "features": network.name,
        "frechet": frechet_check(ours, real[malignant], groups[malignant], config.seed),
        "neighbours": {
            "real_images": len(ids),
            "percentile": config.copy_percentile,
            "limit": round(near.limit, 4),
            "real_median": round(near.real_median, 4),
            "synthetic_median": round(float(np.median(near.distance)), 4),
            "copies": [
                {"image_id": item.image_id, "of": ids[at], "distance": round(float(away), 4)}
                for item, at, away, copy in zip(
                    items, near.nearest, near.distance, near.copies, strict=True
                )
                if copy
            ],
        },
    }
    return figures, near, ids


def write_report(
    config: SynthesizeConfig,
    material: Material,
    folder: SynthesisFolder,
    figures: dict[str, Any],
) -> dict[str, Any]:
    """Write `report.json` and `summary.md`; return the report."""
    asked = folder.asked(config.n)
    made = folder.made(config.n)
    copies = len(figures["neighbours"]["copies"]) if figures else 0
    report = {
        "method": config.method,
        "dataset": config.dataset,
        "policy": material.policy,
        "fold": config.fold,
        "seed": config.seed,
        "material": material.counts(),
        "counts": {
            "asked": config.n,
            "in the manifest": len(made) - copies,
            "copies left out": copies,
            "failed": len(asked) - len(made),
        },
        "failed": {item.image_id: item.reason for item in asked if item.status != "ok"},
        "redrawn": folder.redrawn(config.n),
        "diagnoses": dict(Counter(item.diagnosis or "malignant" for item in made).most_common()),
        "donors": len({item.donor for item in made if item.donor}),
        "recipients": len({item.recipient for item in made if item.recipient}),
        "contrast": _contrast(made),
        **figures,
    }
    write_json(folder.home / "report.json", report)
    write_text(folder.home / "summary.md", summary_page(report))
    return report


def _contrast(items: list[Item]) -> dict[str, float]:
    ours = [item.measured["contrast"] for item in items]
    kept = {"median": round(float(np.median(ours)), 2)} if ours else {}
    pairs = [i.measured["contrast"] - i.measured["contrast_of_donor"]
             for i in items if "contrast_of_donor" in i.measured]  # fmt: skip
    if pairs:
        kept["median_change"] = round(float(np.median(pairs)), 2)
        kept["largest_change"] = round(float(np.abs(pairs).max()), 2)
    return kept


def summary_page(report: dict[str, Any]) -> str:
    """Return the report as a page of Markdown for a person."""
    lines = [
        f"# Synthetic malignant images by {report['method']}",
        "",
        "Made for experiments with training data. No picture here shows a patient's skin as it "
        "was, and none is evidence of anything but what a program did.",
        "",
        f"- archive {report['dataset']}, fold {report['fold']}, policy {report['policy']}, "
        f"seed {report['seed']}",
        "- material: " + ", ".join(f"{count:,} {name}" for name, count in
                                   report["material"].items()),
        "- images: " + ", ".join(f"{count:,} {name}" for name, count in report["counts"].items()),
        "- diagnoses: " + ", ".join(f"{name} {count}" for name, count in
                                    report["diagnoses"].items()),
    ]  # fmt: skip
    if report["donors"]:
        change = report["contrast"]
        lines.append(
            f"- parents: {report['donors']} donors, {report['recipients']} recipients; contrast "
            f"of lesion and skin changed by {change['median_change']} CIE76 (median), "
            f"{change['largest_change']} (most)"
        )
    if "neighbours" in report:
        lines += ["", "## Checks", "", f"Features: {report['features']}.", ""]
        lines += _check_lines(report["frechet"], report["neighbours"])
    if report["redrawn"]:
        lines += ["", "## Why draws were given up", "", "| reason | draws |", "| --- | ---: |"]
        lines += [f"| {reason} | {count:,} |" for reason, count in report["redrawn"].items()]
    if report["failed"]:
        lines += ["", "## Failed", ""]
        lines += [f"- {name}: {reason}" for name, reason in report["failed"].items()]
    return "\n".join(lines) + "\n"


def _check_lines(frechet: dict[str, Any], near: dict[str, Any]) -> list[str]:
    if "reason" in frechet:
        first = f"- Frechet distance: not computed ({frechet['reason']})"
    else:
        ours, floor = frechet["distance"], frechet["floor"]
        first = (
            f"- Frechet distance to real malignant images: {ours['mean']:.2f} (sd {ours['sd']:.2f} "
            f"over halves); real against real: {floor['mean']:.2f} (sd {floor['sd']:.2f}); "
            f"{frechet['images']} images a side"
        )
    return [
        first,
        f"- nearest real image: median distance {near['synthetic_median']:.3f}, real to real "
        f"{near['real_median']:.3f} ({near['real_images']:,} real images)",
        f"- copies, nearer than percentile {near['percentile']:g} of real to real "
        f"({near['limit']:.3f}): {len(near['copies'])}, left out of the manifest",
    ]


def write_sheet(
    config: SynthesizeConfig,
    material: Material,
    folder: SynthesisFolder,
    items: list[Item],
    nearest: list[str],
) -> None:
    """Write `sheet.png`: synthetic images beside their parents, or beside their nearest real one.

    Parameters
    ----------
    items : list of Item
    nearest : list of str
        Id of the real image nearest to each.
    """
    step = max(1, len(items) // _SHEET)
    tiles: list[Tile] = []
    transplants = config.method == "transplant"
    for item, neighbour in list(zip(items, nearest, strict=True))[::step][:_SHEET]:
        image = read_image(folder.image(item))
        mask = read_mask(folder.mask(item), image.shape[:2])
        number = f"no. {item.number}"
        detail = f"contrast {item.measured['contrast']:.0f}"
        tiles.append(Tile(_sized(image), f"{number}: {item.diagnosis or 'malignant'}", detail))
        if transplants:
            for name, what in ((item.donor, "donor"), (item.recipient, "recipient")):
                tiles.append(Tile(_sized(material.lesion(name).image), name, what))
        else:
            tiles.append(Tile(outlined(image, None, mask, _TILE), number, "its mask"))
            real = square_crop(material.lesion(neighbour), config.size)[0]
            tiles.append(Tile(_sized(real), neighbour, "nearest real lesion"))
    beside = "donor and recipient" if transplants else "mask and nearest real lesion"
    sheet = contact_sheet(
        tiles,
        title=f"Synthetic images by {config.method}",
        subtitle=f"each beside its {beside}; {config.dataset}, fold {config.fold}",
        columns=6,
        size=_TILE,
        legend=(False, False),
    )
    with atomic_path(folder.home / "sheet.png") as temporary:
        sheet.save(temporary)


def _sized(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if max(image.shape[:2]) < _TILE:
        scale = _TILE / max(image.shape[:2])
        shape = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        return np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_CUBIC), np.uint8)
    return fit(image, _TILE)[0]
