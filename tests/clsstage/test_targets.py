"""What is learned and by which loss, and how outputs become probabilities of the archive."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from clsstage.losses import create_loss, training_offset
from clsstage.priors import class_priors, first_bias, output_offset
from clsstage.sampling import ClassSampling
from clsstage.targets import create_target
from lesioncore.errors import LesionError, UsageError

NINE = create_target("diagnosis-9", "cancer+ak")
ROWS = pd.DataFrame(
    {"diagnosis": ["nevus", "melanoma", "actinic keratosis", None, "dermatofibroma"]}
)
LABELS = np.array([0.0, 1.0, 1.0, 0.0, 0.0])


def test_the_probability_of_malignancy_is_the_sum_of_the_malignant_classes():
    torch.manual_seed(0)
    outputs = torch.randn(5, 9)
    chance = torch.sigmoid(NINE.logit(outputs))
    classes = outputs.softmax(1)
    wanted = sum(classes[:, NINE.classes.index(name)] for name in ("MEL", "BCC", "SCC", "AK"))
    assert torch.allclose(chance, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("policy", "malignant"),
    [("melanoma", {"MEL"}), ("cancer", {"MEL", "BCC", "SCC"}), ("target", {"MEL", "BCC", "SCC"})],
)
def test_the_policy_decides_which_classes_are_malignant(policy, malignant):
    assert set(create_target("diagnosis-9", policy).malignant) == malignant


def test_diagnoses_become_classes_and_what_has_none_is_unknown():
    names = [NINE.classes[i] for i in NINE.truth(ROWS, LABELS)]
    assert names == ["NV", "MEL", "AK", "unknown", "DF"]
    four = create_target("diagnosis-4", "melanoma")
    named = [four.classes[i] for i in four.truth(ROWS, LABELS)]
    assert named == ["NV", "MEL", "unknown", "unknown", "unknown"]


def test_malignant_images_outside_the_classes_are_told(caplog):
    create_target("diagnosis-4", "cancer+ak").truth(ROWS, LABELS)
    assert "1 malignant images are of no class" in caplog.text


def test_an_archive_without_diagnoses_is_refused():
    with pytest.raises(LesionError, match="no image has a diagnosis"):
        NINE.truth(pd.DataFrame({"diagnosis": [None, None]}), np.zeros(2))
    with pytest.raises(UsageError, match="diagnosis-9"):
        create_target("diagnosis", "cancer")


def test_losses_are_those_of_their_papers():
    torch.manual_seed(1)
    one, many = torch.randn(6, 1), torch.randn(6, 4)
    label = torch.randint(0, 2, (6, 1)).float()
    classes = torch.randint(0, 4, (6,))
    hot = F.one_hot(classes, 4).float()
    plain = create_loss("cross_entropy", torch.tensor([0.5]))
    assert torch.allclose(plain(one, label), F.binary_cross_entropy_with_logits(one, label))
    assert torch.allclose(plain(many, hot), F.cross_entropy(many, classes))

    chance = torch.where(label == 1, one.sigmoid(), 1 - one.sigmoid())
    focal = create_loss("focal", torch.tensor([0.5]))
    assert torch.allclose(focal(one, label), (-((1 - chance) ** 2) * chance.log()).mean())
    told = many.softmax(1)[torch.arange(6), classes]
    assert torch.allclose(focal(many, hot), (-((1 - told) ** 2) * told.log()).mean())

    priors = torch.tensor([0.7, 0.1, 0.1, 0.1])
    adjusted = create_loss("logit_adjusted", priors)
    assert torch.allclose(adjusted(many, hot), F.cross_entropy(many + priors.log(), classes))
    with pytest.raises(UsageError, match="focal"):
        create_loss("hinge", priors)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "logit_adjusted"])
@pytest.mark.parametrize("name", ["binary", "diagnosis-9"])
def test_a_network_that_knows_nothing_predicts_the_prevalence_of_its_archive(name, loss):
    """Whatever sampling and loss, first biases plus the kept offset give the archive's own rate."""
    target = create_target(name, "cancer+ak")
    manifest = pd.DataFrame(
        {"diagnosis": ["nevus"] * 90 + ["melanoma"] * 6 + ["basal cell carcinoma"] * 4}
    )
    labels = np.array([0.0] * 90 + [1.0] * 10)
    sampling = ClassSampling(negative_ratio=2.0, positive_ratio=3.0)
    priors = class_priors(target, target.truth(manifest, labels), labels, sampling)
    offset = output_offset(loss, target, priors, sampling.prior_offset(labels))
    logits = first_bias(loss, priors) + torch.tensor(offset)
    chance = torch.sigmoid(target.logit(logits[None].float()))
    assert float(chance) == pytest.approx(0.1, abs=1e-3)


def test_only_logit_adjustment_leaves_the_frequencies_out_of_the_network():
    priors = torch.tensor([0.2])
    assert float(training_offset("cross_entropy", priors)) == 0
    assert float(training_offset("logit_adjusted", priors)) == pytest.approx(np.log(0.25))


def test_labels_that_the_classes_contradict_are_told(caplog):
    """The archive's own label may call malignant what the classes do not, and the other way."""
    create_target("diagnosis-9", "target").truth(ROWS, np.array([0.0, 0.0, 1.0, 0.0, 0.0]))
    assert "2 images have a diagnosis that does not go with their label" in caplog.text
    caplog.clear()
    NINE.truth(ROWS, LABELS)
    assert not caplog.text
