"""`lesion skin-check`: the known lesions by which `lesion serve` refuses what is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from lesioncore.errors import LesionError
from lesioncore.progress import log, track
from pipelines.serving.skin_check import (
    FILE,
    NEIGHBOUR,
    SkinReference,
    embed,
    limit_for,
    unit,
    unlikely_picture,
    write_reference,
)

if TYPE_CHECKING:
    import pandas as pd

    from clsstage.members import Member
    from pipelines.serving.config import SkinCheckConfig

#: Held-back lesions that measure the refusals, at most.
_MEASURED = 1000


def make_reference(config: SkinCheckConfig) -> int:
    """Write the reference and print what was measured; return 1 past `max_failed`.

    Raises
    ------
    LesionError
        No classifier, no archive, too few lesions.
    """
    from clsstage.members import read_members
    from lesioncore.archives import archive_names, load_archives
    from lesioncore.devices import choose_device
    from weights.resolve import resolve

    name, members = read_members(config.weights)
    device = choose_device(config.device)
    member = members[0]
    member.network.to(device)
    manifest = _one_of_a_kind(load_archives(config, seed=config.seed), config.seed)
    parts, notes = _parts(config, manifest, _learned(config.weights, manifest))
    read = _Reader(member, device)
    values = {part: read.all(rows, part) for part, rows in parts.items()}
    made_of = " and ".join(archive_names(config))
    reference = SkinReference(
        unit(values["reference"]).astype(np.float16), 0.0,
        {
            "weights_sha256": member.card.sha256,
            "model": name,
            "made_of": made_of,
            "false_refusals": config.false_refusals,
            "lesions": {part: len(found) for part, found in values.items()},
            "neighbour": NEIGHBOUR,
            "method": "cosine distance to the k-th nearest embedding of the whole picture",
            "embeddings": "unit embeddings at 16 bits, no pixels; little can be told of a picture "
            "from its embedding, but not nothing",
            "notes": notes,
        },
    )  # fmt: skip
    limit = limit_for(reference.distances(values["limit"]), config.false_refusals)
    reference = dataclasses.replace(reference, limit=limit)
    measured = {
        "refused_lesions": _refused_lesions(reference, values["measure"], read.unlikely["measure"]),
        "refused_other_pictures": _refused_others(reference, member, device),
    }
    reference = dataclasses.replace(reference, card={**reference.card, "measured": measured})
    home = resolve(config.weights, kind="classifier")
    out = config.out or (home if home.is_dir() else home.parent) / FILE
    write_reference(out, reference)
    _say(reference, out)
    if read.failed:
        log.warning("%d images could not be read", read.failed)
    return int(read.failed > config.max_failed)


def _one_of_a_kind(manifest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return one image of each patient or lesion: its like would make all distances too small."""
    from lesioncore.splits import assign_groups

    mixed = manifest.sample(frac=1, random_state=seed)
    return mixed[~assign_groups(mixed).duplicated().to_numpy()].reset_index(drop=True)


class _Reader:
    """Reads images and embeds them; keeps what of them could not be read or looks unlikely."""

    def __init__(self, member: Member, device: Any) -> None:
        self.member = member
        self.device = device
        self.failed = 0
        self.unlikely: dict[str, int] = {}

    def all(self, rows: pd.DataFrame, part: str) -> NDArray[np.float32]:
        """Return the embeddings of the images of some rows, (n, F)."""
        from lesioncore.images import read_image

        found, pictures = [], []
        self.unlikely[part] = 0
        for reference in track(rows["image"].tolist(), f"embedding ({part})"):
            try:
                pictures.append(read_image(reference))
            except LesionError as error:
                log.warning("%s", error.found)
                self.failed += 1
                continue
            self.unlikely[part] += unlikely_picture(pictures[-1]) is not None
            if len(pictures) == 32:
                found.append(embed(self.member, pictures, self.device))
                pictures = []
        if pictures:
            found.append(embed(self.member, pictures, self.device))
        if not found:
            raise LesionError("none of the images could be read", mend="check --root")
        return np.concatenate(found)


def _learned(weights: Path | None, manifest: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which images the classifier learned from, as far as it says."""
    from weights.provenance import learned_rows, read_provenance, seen_before
    from weights.resolve import resolve

    record = read_provenance(resolve(weights, kind="classifier"))
    if record is None:
        return np.zeros(len(manifest), bool)
    table = manifest.reindex(columns=["image_id", "patient_id", "lesion_id"])
    table = table.assign(image_sha256="", group=table["image_id"])
    known = seen_before(table, learned_rows(record))
    return manifest["image_id"].astype(str).isin(known).to_numpy()


def _parts(
    config: SkinCheckConfig, manifest: pd.DataFrame, learned: NDArray[np.bool_]
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return the rows that make the reference, set the limit and measure it, and what to note.

    What the classifier learned from lies nearer to its like than anything new; the limit is set by
    images that are new to it wherever there are enough.

    Raises
    ------
    LesionError
        Too few lesions.
    """
    rng = np.random.default_rng(config.seed)
    held = _held_back(config, manifest)
    order = rng.permutation(len(manifest))
    test = [row for row in order if held[row]]
    new = [row for row in order if not held[row] and not learned[row]]
    old = [row for row in order if not held[row] and learned[row]]
    notes = []
    limit = new[: config.calibrate]
    rest = old + new[config.calibrate :] if len(old) else new[config.calibrate :]
    if len(limit) < config.calibrate and old:
        notes.append(
            f"the classifier learned from {len(old)} of these images, and {len(new)} new ones set "
            "the limit: lesions that are new to it may be refused more often"
        )
        more = config.calibrate - len(limit)
        limit, rest = limit + old[:more], old[more:]
    reference = list(rng.permutation(rest))[: config.reference]
    if len(limit) < 1 / config.false_refusals:
        notes.append(f"{len(limit)} lesions are few for a rate of {config.false_refusals:.1%}")
    measure = test[:_MEASURED]
    if len(reference) < 10 or not limit:
        raise LesionError(
            f"{len(manifest)} images, {len(test)} of them held back: too few to refer to",
            wanted=f"about {config.reference + config.calibrate} others",
            mend="a larger archive, or smaller --reference and --calibrate",
        )
    if not measure:
        notes.append("nothing was held back: the refusals of lesions are those of the limit itself")
        measure = limit
    chosen = {"reference": reference, "limit": limit, "measure": measure}
    for note in notes:
        log.warning("%s", note)
    return {part: manifest.iloc[rows] for part, rows in chosen.items()}, notes


def _held_back(config: SkinCheckConfig, manifest: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which images the test lists of their archives hold."""
    from lesioncore.archives import archive_names
    from lesioncore.holdout import test_ids

    held: set[str] = set()
    for name in archive_names(config):
        held |= set(map(str, test_ids(manifest, name, config.test_list)))
    return manifest["image_id"].astype(str).isin(held).to_numpy()


def _refused_lesions(
    reference: SkinReference, values: NDArray[np.float32], unlikely: int
) -> dict[str, Any]:
    refused = int((reference.distances(values) > reference.limit).sum())
    interval = binomtest(refused, len(values)).proportion_ci(method="wilson")
    return {
        "n": len(values), "refused": refused, "low": interval.low, "high": interval.high,
        "refused_by_pixels_alone": unlikely,
    }  # fmt: skip


def _refused_others(reference: SkinReference, member: Member, device: Any) -> dict[str, Any]:
    found = {}
    for kind, pictures in other_pictures().items():
        far = reference.distances(embed(member, pictures, device)) > reference.limit
        pixels = np.array([unlikely_picture(picture) is not None for picture in pictures])
        found[kind] = {
            "n": len(pictures), "refused": int((far | pixels).sum()), "by_distance": int(far.sum())
        }  # fmt: skip
    return found


def other_pictures(seed: int = 0) -> dict[str, list[NDArray[np.uint8]]]:
    """Return pictures of no lesion, by kind: what scikit-image ships, noise, one colour, drawings.

    Returns
    -------
    dict of str to list of (H, W, 3) uint8 RGB
    """
    import skimage.data

    from lesioncore.images import read_image

    rng = np.random.default_rng(seed)
    folder = Path(skimage.data.__file__).parent
    files = sorted(p for p in folder.iterdir() if p.suffix in (".png", ".jpg"))
    # Slides of cells and a retina: what a clinic may upload by mistake.
    medical = {"cell", "ihc", "microaneurysms", "retina"}
    groups: dict[str, list[NDArray[np.uint8]]] = {"photographs": [], "medical": []}
    for path in files:
        picture = read_image(path)
        kind = "medical" if path.stem in medical else "photographs"
        groups[kind] += [picture, *_parts_of(picture, rng, 3)]
    skin = np.array([200, 150, 130])
    makers: dict[str, Callable[[], NDArray[Any]]] = {
        "noise": lambda: rng.integers(0, 256, (256, 256, 3)).astype(np.float64),
        "one colour": lambda: np.broadcast_to(rng.integers(0, 256, 3), (256, 256, 3)) * 1.0,
        "skin colour with noise": lambda: skin + rng.normal(0, 8, (256, 256, 3)),
        "text": lambda: _text(rng),
    }
    for kind, make in makers.items():
        groups[kind] = [np.clip(make(), 0, 255).astype(np.uint8) for _ in range(10)]
    return groups


def _parts_of(
    picture: NDArray[np.uint8], rng: np.random.Generator, count: int
) -> list[NDArray[np.uint8]]:
    height, width = picture.shape[:2]
    found = []
    for _ in range(count):
        side = int(min(height, width) * rng.uniform(0.4, 0.9))
        y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        found.append(picture[y : y + side, x : x + side])
    return found


def _text(rng: np.random.Generator) -> NDArray[np.uint8]:
    import cv2

    page = np.full((320, 320, 3), 250, np.uint8)
    for line in range(8):
        word = "".join(map(chr, rng.integers(97, 123, 16)))
        cv2.putText(page, word, (8, 40 + 34 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (30, 30, 30), 2)
    return page


def _say(reference: SkinReference, out: Path) -> None:
    """Print what was measured."""
    card, measured = reference.card, reference.card["measured"]
    lesions = measured["refused_lesions"]
    print(
        f"{out}: {len(reference.values)} known lesions of {card['made_of']}, "
        f"limit {reference.limit:.4f} for {card['false_refusals']:.1%} of lesions"
    )
    print(
        f"refused, of {lesions['n']} other lesions: {lesions['refused']} "
        f"({lesions['refused'] / lesions['n']:.1%}, 95% interval {lesions['low']:.1%} to "
        f"{lesions['high']:.1%}; by the pixels alone: {lesions['refused_by_pixels_alone']})"
    )
    for kind, found in measured["refused_other_pictures"].items():
        print(f"refused, of {found['n']} of {kind}: {found['refused']}")
