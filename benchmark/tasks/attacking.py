"""Attacks on forgetting by somebody who wants the class back: relearning, and adaptive ones where they are asked for.

The attacker has the amended network, with its weights unless said otherwise, and ten labelled samples of every class
of the training set. Each attack is a metric in a file of its own; here they get their samples.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmark.contracts import Measured
from benchmark.data.packaged import Dataset
from benchmark.data.views import Samples
from benchmark.metrics.accuracy import rounded
from benchmark.metrics.lifted_logit import lifted_logit_auc
from benchmark.metrics.nearest_class import nearest_class
from benchmark.metrics.optimised_inputs import Network, brought_back, inversion_steps, universal_perturbation
from benchmark.metrics.relearning import MAX_STEPS, attack_set, relearn_steps
from benchmark.models.surgery import logits_and_features
from benchmark.seeding import derive, generator
from benchmark.tasks.forget_sets import ForgetSets

#: Inputs that are searched for from noise.
STARTS = 20
#: Inputs that a network is given at once.
BATCH = 500
#: Forget-set samples that the relearning attack is judged on at most, where it is judged on those.
RELEARN_JUDGED = 200
#: Steps of relearning wrong labels: what a few samples do not bring back at once they never do.
RELEARN_STEPS = 50


def attacks(
    amended: nn.Module, bare: nn.Module, logits: Tensor, features: Tensor, dataset: Dataset, sets: ForgetSets, seed: int
) -> dict[str, Measured]:
    """Every attack on ``amended``; ``bare`` is what is left of it without wrappers.

    logits: (M, C) and features: (M, D) of the test samples, as ``amended`` gives them, on the CPU.
    """
    chosen = attack_set(sets.labels, derive(seed, "attacks"))
    few = dataset.train.subset(chosen.to(dataset.train.images.device))
    told, gone, labels = sets.labels[chosen], sets.gone, dataset.test.labels.cpu()
    own_logits, own_features = logits_and_features(amended, few.inputs, len(few))
    # What a wrapper hides is there without it; rounded as the others are.
    bared = logits if bare is amended else rounded(logits_and_features(bare, dataset.test.inputs, len(labels))[0])
    return {
        "recovery.nearest-class": nearest_class(own_features, told, features[gone], labels[gone]),
        "recovery.nearest-class.outputs": nearest_class(own_logits, told, logits[gone], labels[gone]),
        "recovery.lifted-logit": lifted_logit_auc(bared, labels, sets.classes),
        **_optimised(bare, few, dataset.test, sets.classes, seed),
    }


def _optimised(
    bare: nn.Module, few: Samples, test: Samples, classes: tuple[int, ...], seed: int
) -> dict[str, Measured]:
    """The attacks that change inputs; they see pixels, and go through what normalises them."""
    network, own = of_pixels(bare, few), pixels_of(few)
    change = universal_perturbation(network, own, few.labels, classes)
    back = Measured(None, len(test))
    if change is not None:
        back = brought_back(_chosen(network, test, change), test.labels, classes)
    # The same noise on every device: it is drawn on the host.
    noise = torch.rand(STARTS, *own.shape[1:], generator=generator(seed, "inversion")).to(own.device)
    wanted = torch.tensor([classes[i % len(classes)] for i in range(STARTS)], device=own.device)
    return {"recovery.perturbation": back, "inversion.steps": inversion_steps(network, noise, wanted)}


@torch.no_grad()
def _chosen(network: Network, samples: Samples, change: Tensor) -> Tensor:
    """(N,) the classes that ``network`` gives samples with ``change`` (1, C, H, W) added to their pixels."""
    starts = range(0, len(samples), BATCH)
    parts = (pixels_of(samples, slice(start, min(start + BATCH, len(samples)))) for start in starts)
    return torch.cat([network((part + change).clamp(0, 1)).argmax(1) for part in parts])


def pixels_of(samples: Samples, index: slice = slice(None)) -> Tensor:
    """(N, C, H, W) float32 in [0, 1]."""
    return replace(samples, mean=(), std=()).inputs(index)


def of_pixels(model: nn.Module, samples: Samples) -> Network:
    """``model`` of pixels in [0, 1], normalised as ``samples`` are."""
    statistics = samples.mean or (0.0,), samples.std or (1.0,)
    mean, std = (torch.tensor(values, device=samples.device).view(1, -1, 1, 1) for values in statistics)

    def network(pixels: Tensor) -> Tensor:
        logits: Tensor = model((pixels - mean) / std)
        return logits

    return network


def relearning(bare: nn.Module, base: nn.Module, dataset: Dataset, sets: ForgetSets, seed: int) -> Measured:
    """Steps until half of what the base model knew is back: of removed classes' test samples, or of wrong labels.

    Where samples with right labels are removed nothing must be lost, so that nothing can come back: blank.
    """
    if sets.gone.any():
        judged = dataset.test.subset(sets.gone.nonzero().squeeze(1).to(dataset.test.images.device))
        inputs, labels = judged.inputs(), judged.labels
    elif not torch.equal(sets.labels, dataset.train.labels.cpu()):
        judged_on = sets.forget.index_fill(0, attack_set(sets.labels, derive(seed, "relearn")), False)
        index = judged_on.nonzero().squeeze(1)
        index = index[torch.randperm(len(index), generator=generator(seed, "relearn-judged"))[:RELEARN_JUDGED]]
        inputs, labels = dataset.train.inputs(index.to(dataset.train.images.device)), sets.labels[index]
        labels = labels.to(inputs.device)
    else:
        return Measured(None, 0)
    with torch.no_grad():
        known = 100 * float((base(inputs).argmax(1) == labels).float().mean())
    chosen = attack_set(sets.labels, derive(seed, "relearn")).to(dataset.train.images.device)
    few = dataset.train.subset(chosen)
    told = sets.labels.to(chosen.device)[chosen]
    cap = MAX_STEPS if sets.gone.any() else RELEARN_STEPS
    return relearn_steps(bare, few.inputs(), told, inputs, labels, target=known / 2, most=cap)
