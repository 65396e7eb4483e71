"""Re-scoring bias-correction: accuracy, F1 and the attack, from kept logits of clean and attacked test samples."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.data import DATA, OWN
from benchmark.rescoring import known_data
from benchmark.rescoring.kept import Kept
from benchmark.rescoring.reported import Claim
from benchmark.running.arrays import ArraysError
from benchmark.tasks.bias_correction import BiasCorrection
from benchmark.tasks.correcting import scores

#: What takes the network itself, its activations, or the method's concept vector.
NOT_KEPT = {
    "tcav": "the amended model",
    "tcav.positions": "the amended model",
    "tcav.sensitivity": "the amended model",
    "tcav.sensitivity.positions": "the amended model",
    "relevance.in-mask": "the amended model",
    "cav.alignment": "the concept vector",
    "cav.alignment.individual": "the concept vector",
    "cav.seconds": "another run",
}
#: Data sets whose attacked samples are others than the clean ones, so that a difference says nothing.
UNPAIRED = ("celeba-collar", OWN)


def rescored(scenario: BiasCorrection, claim: Claim, kept: Kept) -> dict[str, Measured]:
    """Today's metrics of the kept logits; ArraysError where labels are not the scenario's."""
    classes = DATA.get(scenario.data).num_classes
    logits, attacked = kept.logits("clean.logits", classes), kept.logits("attacked.logits", classes)
    labels = kept.labels("clean.labels", len(logits), classes)
    attacked_labels = kept.labels("attacked.labels", len(attacked), classes)
    biased = scenario.biased(claim.seed)
    if kept.number("biased") != biased:
        raise ArraysError(f"biased is not {biased}, the class of seed {claim.seed}")
    theirs = _legitimate(scenario, biased, classes)
    legitimate = torch.isin(labels, torch.tensor(theirs, dtype=torch.int64))
    _check_data(scenario, labels, attacked_labels, legitimate, theirs)
    paired = not scenario.data.startswith(UNPAIRED)
    return scores(logits, labels, attacked, attacked_labels, biased, theirs, paired=paired)


def _legitimate(scenario: BiasCorrection, biased: int, classes: int) -> tuple[int, ...]:
    """The classes that the artefact is evidence for: the next two after the biased one, where there are any."""
    return tuple((biased + k) % classes for k in (1, 2)) if scenario.artefact.legitimate else ()


def _check_data(
    scenario: BiasCorrection, labels: Tensor, attacked: Tensor, legitimate: Tensor, theirs: tuple[int, ...]
) -> None:
    """ArraysError where attacked samples are not the clean ones that may be attacked, or data at hand differs.

    Images of legitimate classes, ``theirs``, are dealt anew between the two: which of them has which is not compared.
    """
    if not scenario.data.startswith(UNPAIRED) and not known_data.same(attacked, labels[~legitimate]):
        raise ArraysError("attacked.labels are not those of the clean samples")
    dataset = known_data.plain(scenario)
    if dataset is not None:
        true = dataset.test.labels
        dealt = torch.isin(true, torch.tensor(theirs, dtype=torch.int64))
        if not known_data.same(dealt, legitimate) or not known_data.same(labels[~dealt], true[~dealt]):
            raise ArraysError(f"clean.labels are not those of data set {scenario.data}")
