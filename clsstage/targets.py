"""What a classifier learns to tell apart: malignant or not, or a list of diagnoses.

The ISIC 2020 winners learned nine diagnoses, one model four, and took the probability of melanoma
from them: more classes give the encoder more to learn than one bit an image. Here the probability
of malignancy is the sum over the classes that the policy calls malignant.

Source: Ha, Liu and Liu, arXiv 2010.05351.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clsstage.target_names import TARGETS
from lesioncore.errors import LesionError, unknown_name
from lesioncore.progress import log

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

UNKNOWN = "unknown"
#: Class of each harmonised diagnosis; what is not here is of no class of its own: unknown.
_CLASS_OF = {
    "melanoma": "MEL",
    "nevus": "NV",
    "basal cell carcinoma": "BCC",
    "squamous cell carcinoma": "SCC",
    "actinic keratosis": "AK",
    # Cannot be told apart in HAM10000; ISIC 2019 has no other place for actinic keratosis.
    "actinic keratosis or intraepithelial carcinoma": "AK",
    "benign keratosis": "BKL",
    "dermatofibroma": "DF",
    "vascular lesion": "VASC",
}
_MALIGNANT = {
    "melanoma": {"MEL"},
    "cancer": {"MEL", "BCC", "SCC"},
    "cancer+ak": {"MEL", "BCC", "SCC", "AK"},
    "target": {"MEL", "BCC", "SCC"},
}


@dataclass(frozen=True)
class Target:
    """The outputs of a network and what they say of malignancy.

    Attributes
    ----------
    name : str
        A name of `clsstage.target_names.TARGETS`.
    classes : tuple of str
        One an output; empty for `binary`, which has one output, the logit of malignancy.
    malignant : tuple of str
        The classes that count as malignant.
    """

    name: str = "binary"
    classes: tuple[str, ...] = ()
    malignant: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """How many numbers the network gives an image."""
        return len(self.classes) or 1

    def logit(self, outputs: Tensor) -> Tensor:
        """Return the logit of malignancy: (B, outputs) to (B,).

        Of classes it is the logarithm of the odds of the malignant ones to the others.
        """
        if not self.classes:
            return outputs[:, 0]
        import torch

        bad = [self.classes.index(name) for name in self.malignant]
        good = [index for index in range(len(self.classes)) if index not in bad]
        return torch.logsumexp(outputs[:, bad], 1) - torch.logsumexp(outputs[:, good], 1)

    def truth(self, manifest: pd.DataFrame, labels: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the class number of each row, (n,) int64; of `binary` the label, 0 or 1.

        Parameters
        ----------
        manifest : DataFrame
            With `diagnosis`, harmonised.
        labels : (n,) float
            1 malignant, 0 benign, under the policy.

        Raises
        ------
        LesionError
            No row has a diagnosis that is a class of this target.
        """
        if not self.classes:
            return labels.astype(np.int64)
        names = [_CLASS_OF.get(str(word), UNKNOWN) for word in manifest["diagnosis"].tolist()]
        names = [name if name in self.classes else UNKNOWN for name in names]
        if set(names) == {UNKNOWN}:
            raise LesionError(
                f"no image has a diagnosis among {', '.join(self.classes[:-1])}",
                wanted="an archive with diagnoses",
                mend="--target binary",
            )
        malignant, unknown = np.isin(names, self.malignant), np.array(names) == UNKNOWN
        other = int((~unknown & (malignant != (labels == 1))).sum())
        if other:
            log.warning(
                "%d images have a diagnosis that does not go with their label: the probability is "
                "the sum over %s, and they are scored by the label",
                other,
                ", ".join(self.malignant),
            )
        strays = int((unknown & (labels == 1)).sum())
        if strays:
            log.warning(
                "%d malignant images are of no class of %s and learned as %r, which counts as "
                "benign: the probability leaves them out",
                strays,
                self.name,
                UNKNOWN,
            )
        return np.array([self.classes.index(name) for name in names], np.int64)


def create_target(name: str, policy: str) -> Target:
    """Return the target called `name` under a policy of malignancy.

    Raises
    ------
    UsageError
        An unknown name, or a policy none of whose diseases is a class.
    """
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS)
    classes = TARGETS[name]
    wanted = _MALIGNANT[policy] if classes else set()
    return Target(name, classes, tuple(c for c in classes if c in wanted))
