"""How often an epoch shows each class, and how outputs are moved from that to the archive's own.

A network believes in the frequencies it was shown. Sampling changes them, and some losses take
them out of the network; what is kept in the card is added to its outputs (Saerens et al. 2002).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsstage.losses import training_offset
from clsstage.sampling import ClassSampling
from clsstage.targets import Target


def class_priors(
    target: Target,
    classes: NDArray[np.int64],
    labels: NDArray[np.floating],
    sampling: ClassSampling,
) -> tuple[float, ...]:
    """Return the part of an epoch that each output's class has; of `binary` (malignant,).

    Parameters
    ----------
    target : Target
    classes : (n,) int64
        Of the training rows.
    labels : (n,) float
        1 malignant, 0 benign: sampling looks at these.
    sampling : ClassSampling
    """
    benign, malignant = sampling.counts(labels)
    if not target.classes:
        return (malignant / (benign + malignant),)
    there = [max(1, int((labels == value).sum())) for value in (0, 1)]
    weight = np.where(labels == 1, malignant / there[1], benign / there[0])
    shown = np.bincount(classes, weights=weight, minlength=target.outputs)
    return tuple(float(part) for part in shown / shown.sum())


def first_bias(loss: str, priors: tuple[float, ...]) -> Tensor:
    """Return the logits (K,) at which training starts: those of the priors."""
    frequency = torch.tensor(priors, dtype=torch.float32).clamp(1e-6, 1 - 1e-6)
    logits = frequency.logit() if len(priors) == 1 else frequency.log()
    return logits - training_offset(loss, torch.tensor(priors, dtype=torch.float32))


def output_offset(
    loss: str, target: Target, priors: tuple[float, ...], prior: float
) -> tuple[float, ...]:
    """Return what is added to the outputs of a trained network, (outputs,).

    Parameters
    ----------
    loss : str
        Name of the loss it learned by.
    target : Target
    priors : tuple of float
        Of `class_priors`.
    prior : float
        `ClassSampling.prior_offset`, for the logit of malignancy.
    """
    offset = training_offset(loss, torch.tensor(priors, dtype=torch.float64))
    bad = [target.classes.index(name) for name in target.malignant] if target.classes else [0]
    offset[bad] += prior
    return tuple(round(float(value), 9) for value in offset)
