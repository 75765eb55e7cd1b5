"""Names of the targets and their classes. Plain data, so that `--help` stays quick."""

from __future__ import annotations

#: Classes of each target in the order of the outputs; none for the plain logit of malignancy.
TARGETS: dict[str, tuple[str, ...]] = {
    "binary": (),
    "diagnosis-9": ("NV", "MEL", "BCC", "BKL", "AK", "SCC", "VASC", "DF", "unknown"),
    "diagnosis-4": ("NV", "MEL", "BKL", "unknown"),
}
