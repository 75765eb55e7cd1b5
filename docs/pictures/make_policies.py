"""Draw docs/pictures/augmentations.png: each step of `isic2020`, and whole policies, on a phantom.

Run from the repository: ``python docs/pictures/make_policies.py``. No picture of a person is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lesioncore.phantoms import make_phantom
from lesioncore.transforms import JointTransform, alb, classification_train

SIDE, GAP, LABEL, COLUMNS = 132, 6, 30, 6
SOURCE = 264  # steps act on twice the side, as with a late resize, and are shown reduced
PHANTOM = 7
DETAIL = np.s_[66:132, 66:132]  # what is shown of steps too fine for the whole picture
FINE = ("MotionBlur", "MedianBlur", "GaussianBlur", "GaussNoise")
OUT = Path(__file__).with_name("augmentations.png")

# What is drawn of each step, in the policy's order: name, strength and a seed that shows it well.
STEPS = (
    ("Transpose", "p 0.5", 0),
    ("VerticalFlip", "p 0.5", 0),
    ("HorizontalFlip", "p 0.5", 0),
    ("Brightness", "±20 %, p 0.75", 0),
    ("Contrast", "±20 %, p 0.75", 4),
    ("MotionBlur", "3-5 px, one of 4", 1),
    ("MedianBlur", "3-5 px, one of 4", 1),
    ("GaussianBlur", "3-5 px, one of 4", 1),
    ("GaussNoise", "var 5-30, one of 4", 1),
    ("OpticalDistortion", "±1, one of 3", 3),
    ("GridDistortion", "5 steps, ±1, one of 3", 2),
    ("ElasticTransform", "alpha 3, one of 3", 4),
    ("CLAHE", "clip 1-4, p 0.7", 1),
    ("HueSaturationValue", "10/20/10, p 0.5", 2),
    ("ShiftScaleRotate", ".1/.1/15°, p 0.85", 4),
    ("Cutout", "37.5 %, p 0.7", 1),
)
POLICIES = ("light", "medium", "strong", "isic2020")


def sixteen(size: int) -> list[Any]:
    """Return the augmentations of `isic2020` one by one, each with probability 1."""
    steps: list[Any] = []
    for step in classification_train(size, "isic2020", seed=0)._chain.transforms:
        steps += list(step.transforms) if isinstance(step, alb.OneOf) else [step]
    steps = [step for step in steps if not isinstance(step, alb.Resize)]
    for step in steps:
        step.p = 1.0
    return steps


def tiles() -> list[tuple[str, str, np.ndarray]]:
    """Return (name, strength, picture) of every tile, row by row."""
    before = make_phantom(PHANTOM, size=SOURCE).image
    found = [("before", "synthetic phantom", before)]
    for (name, strength, seed), step in zip(STEPS, sixteen(SOURCE), strict=True):
        after, _ = JointTransform([step], SOURCE, seed=seed)(before)
        if name == FINE[0]:
            found.append(("before", "detail, for the next 4", before[DETAIL]))
        found.append((name, strength, after[DETAIL] if name in FINE else after))
    for policy in POLICIES:
        chain = classification_train(SOURCE, policy, resize="late", seed=5)
        found += [(policy, f"draw {k + 1}", chain(before)[0]) for k in range(COLUMNS)]
    return found


def main() -> None:
    """Write the picture."""
    bold, plain = ImageFont.load_default(12.5), ImageFont.load_default(10.5)
    drawn = tiles()
    rows = -(-len(drawn) // COLUMNS)
    pitch = SIDE + LABEL + GAP
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, rows * pitch + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for k, (name, strength, picture) in enumerate(drawn):
        x, y = GAP + k % COLUMNS * (SIDE + GAP), GAP + k // COLUMNS * pitch
        pen.text((x, y), name, "black", bold)
        pen.text((x, y + 15), strength, (90, 90, 90), plain)
        small = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX)
        sheet.paste(small, (x, y + LABEL))
    # One table of colours for all keeps the file small.
    sheet.quantize(256, dither=Image.Dither.NONE).save(OUT, optimize=True)
    print(f"{OUT.name}: {OUT.stat().st_size // 1000} kB, {sheet.width} x {sheet.height}")


if __name__ == "__main__":
    main()
