"""GAN feature removal: how problems are made and how amended generators are evaluated."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.contracts import Access, GanProblem, Ledger, Measured
from benchmark.data.feedback import Feedback, Mistaken
from benchmark.data.removal import Removal, load_removal, without
from benchmark.data.removal import shown as shows
from benchmark.data.views import Samples, View
from benchmark.errors import InputError
from benchmark.metrics import fidelity, removal
from benchmark.metrics.change import parameter_change
from benchmark.models.gan import Gan, Generator, build_gan
from benchmark.models.surgery import underlying
from benchmark.seeding import derive, generator
from benchmark.tasks import Evaluation, Guarded, Selected
from benchmark.tasks.companions import companion_metrics, learnt
from benchmark.tasks.gan_feature_removal import GanFeatureRemoval
from benchmark.tasks.judging import Stage, extractor, feedback, judge
from benchmark.tasks.made_images import images_of, judged
from benchmark.training.adversarial import Real, train_gan

if TYPE_CHECKING:
    from benchmark.artifacts.context import Context

#: Images that are kept where there are examples: of the first latents, and of the first that gave something undesired.
SHOWN = 12
#: Points that are kept where generators make points.
POINTS = 2000
#: What a generator without a value is worth to tuning, in percent.
WORST = -1000.0
#: Steps along a line in parameter space, in units of the distance to the adapted generators, and latents at each.
LINE = tuple(round(-2 + 0.2 * i, 1) for i in range(16))
ALONG = 2000


@lru_cache(maxsize=2)
def _on_device(data: str, feature: str, size: int, crop: int, device: torch.device) -> Removal:
    return load_removal(data, feature, size, crop).to(device)


def data_of(scenario: GanFeatureRemoval, device: torch.device) -> Removal:
    """The scenario's images on ``device``; kept, because a worker serves many cells."""
    return _on_device(scenario.data, scenario.feature, scenario.size, scenario.crop, device)


def data_checksum(scenario: GanFeatureRemoval) -> str:
    """That of the data set as it is without cutting and colouring."""
    return load_removal(scenario.data, scenario.feature, scenario.size, scenario.crop).checksum


def base_model(scenario: GanFeatureRemoval, seed: int, context: Context) -> Gan:
    """The GAN that has learnt everything."""
    samples, role = learnt(scenario, seed, data_of(scenario, context.device))
    return _trained(scenario, samples, seed, role, context)


def reference(scenario: GanFeatureRemoval, seed: int, context: Context) -> Gan:
    """A GAN that never saw what must go: what amended generators are compared with. It is no method's result."""
    kept = without(data_of(scenario, context.device).train, scenario.removed(seed))
    return _trained(scenario, kept, seed, f"reference without {scenario.removed(seed)}", context)


def _trained(scenario: GanFeatureRemoval, samples: Samples, seed: int, role: str, context: Context) -> Gan:
    """A GAN trained on ``samples``: from the artifact cache, or trained and kept there."""
    build = _builder(scenario, context)
    gan = build().to(context.device)

    def train() -> dict[str, Tensor]:
        torch.manual_seed(derive(seed, "gan", role, "init"))
        fresh = build().to(context.device)
        rng = generator(seed, "gan", role, "training")
        train_gan(fresh, drawn_from_samples(samples), scenario.training, scenario.training.steps, rng)
        return fresh.tensors()

    key = {
        "kind": "gan",
        "model": [scenario.model, scenario.latent_dim, scenario.width],
        "recipe": scenario.training,
        "seed": seed,
        "role": role,
        "data": [scenario.data, scenario.feature == "colour", scenario.size, scenario.crop],
        "checksum": data_checksum(scenario),
    }
    gan.restore(context.artifact("benchmark.tasks.generating", key, train))
    return gan.eval()


def _builder(scenario: GanFeatureRemoval, context: Context) -> Callable[[], Gan]:
    shape = data_of(scenario, context.device).shape
    return partial(build_gan, scenario.model, shape, scenario.latent_dim, scenario.width)


def drawn_from_samples(samples: Samples) -> Real:
    """Inputs of ``samples`` at random with replacement."""

    def real(n: int, rng: torch.Generator) -> Tensor:
        index = torch.randint(len(samples), (n,), generator=rng)
        return samples.inputs(index.to(samples.images.device))

    return real


def build(
    scenario: GanFeatureRemoval,
    seed: int,
    request: int,
    model: nn.Module,
    access: Access,
    ledger: Ledger,
    context: Context,
) -> Guarded:
    """The problem of one seed: a GAN and somebody to ask, and for references the real images without what must go."""
    data = data_of(scenario, context.device)
    own = copy.deepcopy(cast(Gan, model)).eval()
    asked = Feedback(_told(scenario, seed, data, context), access, ledger)
    real = View("real", without(data.train, scenario.removed(seed)), access, ledger)
    new = _builder(scenario, context)
    problem = GanProblem(
        model=own.average,
        gan=own,
        num_classes=2,
        device=context.device,
        seed=derive(seed, "problem", request),
        build_model=lambda: new().generator,
        build_gan=new,
        feedback=asked,
        real=real,
        recipe=scenario.training,
    )
    return Guarded(problem, (asked, real))


def _told(scenario: GanFeatureRemoval, seed: int, data: Removal, context: Context) -> nn.Module:
    """Who gives feedback, with as many errors beside their own as the scenario says."""
    own = copy.deepcopy(feedback(scenario, seed, data, context))
    return Mistaken(own, scenario.feedback_error, seed) if scenario.feedback_error else own


# Evaluation.


@dataclass(frozen=True)
class Measures:
    """What generators of one seed are measured with, and what the original and the real images give.

    ``before``: the original's verdicts (N,); ``desired``: features (n, F) of its images that were not judged undesired,
    which is what a filter behind it would let pass; ``real`` and ``retrained``: features (N, F).
    """

    latents: Tensor
    who: nn.Module
    where: fidelity.Extractor
    before: Tensor
    desired: Tensor
    real: Tensor
    retrained: Tensor | None


@lru_cache(maxsize=2)
def _measures(scenario: GanFeatureRemoval, seed: int, context: Context, stage: Stage) -> Measures:
    data = data_of(scenario, context.device)
    base = base_model(scenario, seed, context).average
    latents = base.latents(scenario.samples, generator(seed, "evaluation", "latents", stage))
    who, where = judge(scenario, seed, data, context, stage), extractor(scenario, data, context, stage)
    real = data.selection if stage == "selection" else data.test if scenario.real == "test" else data.train
    made, _ = images_of(base, latents)
    retrained = None
    if stage == "report":
        others = base.latents(scenario.samples, generator(seed, "evaluation", "latents of the reference"))
        retrained = where(images_of(reference(scenario, seed, context).average, others)[0])
    before, features = judged(who, made, data) > 0, where(made)
    return Measures(
        latents,
        who,
        where,
        before,
        features[~before],
        where(without(real, scenario.removed(seed)).images.cpu()),
        retrained,
    )


def selection_score(scenario: GanFeatureRemoval, seed: int, amended: nn.Module, context: Context) -> Selected:
    """PUL at quality as a fraction, with latents, a judge, features and real images of its own."""
    measures = _measures(scenario, seed, context, "selection")
    made, finite = images_of(amended, measures.latents)
    if not finite:
        return Selected(WORST / 100)
    after = judged(measures.who, made, data_of(scenario, context.device)) > 0
    found = _removed(measures, after, measures.where(made))
    values = {name: measured.value for name, measured in found.items() if measured.value is not None}
    return Selected(values.get("pul.at-quality", WORST) / 100, values)


def evaluate(
    scenario: GanFeatureRemoval, seed: int, base: nn.Module, amended: nn.Module, context: Context
) -> Evaluation:
    """Every metric of one amended generator."""
    data = data_of(scenario, context.device)
    measures = _measures(scenario, seed, context, "report")
    original = cast(Gan, base).average
    made, finite = images_of(amended, measures.latents)
    scores = judged(measures.who, made, data)
    features = measures.where(made)
    metrics = _removed(measures, scores > 0, features) | _judge(scenario, seed, measures, data)
    if not finite:  # black images, or points that are nowhere, show nothing: that removes nothing
        metrics |= {name: Measured(None, 0) for name in ("pul", "pul.at-quality", "undesired.after")}
    metrics |= _closeness(measures, features)
    if scenario.companion_share:
        verdicts = (measures.before, scores > 0)
        metrics |= companion_metrics(scenario, seed, original, made, verdicts, measures.latents, context, data)
    metrics["change.parameters"] = parameter_change(underlying(amended, original), original)
    arrays = {"scores": scores.half().numpy(), "before": measures.before.numpy()}
    arrays |= _line(amended, original, measures, data)
    arrays |= _pictures(scenario, made, measures)
    return Evaluation(metrics, arrays, [] if finite else ["the amended generator's images are not finite"])


def _removed(measures: Measures, after: Tensor, features: Tensor) -> dict[str, Measured]:
    """What is gone, and how the distance to real images has grown."""
    real = measures.real
    pul = removal.pul(measures.before, after)
    fid, fid_before = fidelity.frechet(features, real), _distance(fidelity.frechet, measures.desired, real)
    kid, kid_before = fidelity.kernel(features, real), _distance(fidelity.kernel, measures.desired, real)
    return {
        "pul": pul,
        "pul.at-quality": removal.at_quality(pul, fid, fid_before),
        "undesired.before": removal.share(measures.before),
        "undesired.after": removal.share(after),
        "fid": fid,
        "fid.ratio": removal.ratio(fid, fid_before),
        "kid": kid,
        "kid.ratio": removal.ratio(kid, kid_before),
    }


@lru_cache(maxsize=8)
def _distance(measure: Callable[[Tensor, Tensor], Measured], one: Tensor, other: Tensor) -> Measured:
    """The same of the same two tensors: those that are kept for a seed are measured once."""
    return measure(one, other)


def _judge(scenario: GanFeatureRemoval, seed: int, measures: Measures, data: Removal) -> dict[str, Measured]:
    """What the judge gets wrong of real test images."""
    said = judged(measures.who, data.test.images.cpu(), data) > 0
    true = shows(data.test, scenario.removed(seed)).cpu()
    false = removal.false_rates(said, true)
    names = ("judge.error", "judge.false-positives", "judge.false-negatives")
    return dict(zip(names, (removal.error_rate(said, true), *false), strict=True))


def _closeness(measures: Measures, features: Tensor) -> dict[str, Measured]:
    """Precision and recall against real images, and the distance to a generator retrained without what must go."""
    precision, recall = fidelity.precision_recall(features, measures.real)
    assert measures.retrained is not None
    return {"precision": precision, "recall": recall, "ret-fid": fidelity.frechet(features, measures.retrained)}


def _line(amended: nn.Module, original: Generator, measures: Measures, data: Removal) -> dict[str, np.ndarray]:
    """``line.s`` and ``line.undesired``: percent undesired along the line on which an extrapolated generator lies."""
    direction = getattr(amended, "direction", None)
    if direction is None:
        return {}
    shares = []
    for s in LINE:
        moved = copy.deepcopy(original)
        with torch.no_grad():
            for name, parameter in moved.named_parameters():
                parameter.add_(direction[name], alpha=s)
        made, _ = images_of(moved, measures.latents[:ALONG])
        shares.append(removal.share(judged(measures.who, made, data) > 0).value)
    return {"line.s": np.array(LINE), "line.undesired": np.array(shares, dtype=np.float64)}


def _pictures(scenario: GanFeatureRemoval, made: Tensor, measures: Measures) -> dict[str, np.ndarray]:
    """``example.any``: images of the first latents; ``example.undesired``: of the first whose original was undesired;
    ``points``: of generators that make points."""
    if made.dim() != 4:
        return {"points": made[:POINTS].half().numpy(), "real": fidelity.thinned(measures.real, POINTS).half().numpy()}
    if not scenario.examples:
        return {}
    undesired = measures.before.nonzero().squeeze(1)[:SHOWN]
    return {"example.any": made[:SHOWN].numpy(), "example.undesired": made[undesired].numpy()}


def members(scenario: GanFeatureRemoval, seed: int, amended: nn.Module, context: Context) -> dict[str, np.ndarray]:
    raise InputError(f"task {scenario.task} has no forget set: there is no ensemble to compare with")
