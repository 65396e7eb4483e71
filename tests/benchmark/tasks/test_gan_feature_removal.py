"""gan-feature-removal: settings, gates, problems with their guards, judges, tuning's score, and evaluation."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.rejection import Rejecting
from benchmark.artifacts.context import Context
from benchmark.contracts import Access, GanProblem, GanRecipe, Ledger, Recipe
from benchmark.data.removal import load_removal, without
from benchmark.data.views import Samples
from benchmark.errors import AccessViolation, InputError
from benchmark.metrics import fidelity
from benchmark.metrics.catalogue import metric
from benchmark.models.extrapolation import Extrapolated
from benchmark.models.gan import Gan
from benchmark.models.judges import ClassJudge, HueJudge, NearestJudge
from benchmark.models.surgery import state_hash
from benchmark.running.cell import amend_for_selection, run_cell
from benchmark.running.records import Record
from benchmark.suites.definition import load_suite, methods_of
from benchmark.tasks import TASKS, Evaluation, base_models, companions, generating, judging
from benchmark.tasks.gan_feature_removal import (
    EMITTED,
    JUDGED,
    OF_COMPANIONS,
    REMOVABLE,
    GanFeatureRemoval,
    Judges,
    derive,
    gates,
)

if find_spec("torch_fidelity") is None:  # asked apart from the code: a wrong answer of it must not skip its tests
    pytest.skip("torch-fidelity is not installed", allow_module_level=True)

TASK = TASKS.get("gan-feature-removal")
LINE = {"line.s", "line.undesired"}
TRAINING = GanRecipe(250, 64, lr_generator=2e-3, lr_discriminator=2e-3, averaging=0.95, r1=0.1)


def ring(**changes: Any) -> GanFeatureRemoval:
    """The smoke suite's toy with fewer steps and samples."""
    settings = load_suite("smoke").scenarios["ring"].settings
    return msgspec.structs.replace(settings, **{"samples": 300, "training": TRAINING, **changes})


def digits(**changes: Any) -> GanFeatureRemoval:
    """Images of 8 x 8 pixels, hardly learnt, and judges that have seen them once."""
    given: dict[str, Any] = {
        "data": "digits",
        "model": "dcgan",
        "training": msgspec.structs.replace(TRAINING, steps=30, batch_size=32),
        "judges": Judges(Recipe(1, 0.05, 64), "resnet-small"),
        "latent_dim": 8,
        "width": 8,
        "samples": 150,
        "examples": True,
    }
    return GanFeatureRemoval(**{**given, **changes})


# Settings.

SUITE = """
name = "mine"
summary = "A suite for a test."
threads = 1
timeout = 60.0
tuning = { seeds = [102], configurations = 3 }

[scenarios.one]
"""
GAN: dict[str, Any] = {"steps": 1, "batch_size": 8, "lr_generator": 1e-3, "lr_discriminator": 1e-3}
JUDGES: dict[str, Any] = {"training": {"epochs": 1, "lr": 0.1, "batch_size": 8}}
IMAGES: dict[str, Any] = {
    "task": "gan-feature-removal", "data": "mnist-5k", "model": "dcgan", "training": GAN, "judges": JUDGES,
}  # fmt: skip
POINTS: dict[str, Any] = {
    "task": "gan-feature-removal", "data": "eight-gaussians", "model": "gan-toy", "training": GAN, "feature": "modes",
    "features": "coordinates",
}  # fmt: skip
Write = Callable[..., str]


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(v)}" for key, v in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a suite of one scenario with some settings changed, or left out where None; returns the path to load."""

    def write(base: dict[str, Any], **changes: Any) -> str:
        settings = {name: value for name, value in {**base, **changes}.items() if value is not None}
        path = tmp_path / "mine.toml"
        path.write_text(SUITE + "\n".join(f"{name} = {toml(value)}" for name, value in settings.items()))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (IMAGES, {"data": "mnist5k"}, "unknown data set 'mnist5k'; did you mean mnist"),
        (IMAGES, {"data": "waterbirds"}, "data set waterbirds brings an attribute or an artefact; a plain one is need"),
        (IMAGES, {"data": "celeba-collar"}, "data set celeba-collar brings an attribute or an artefact"),
        (IMAGES, {"model": "dcgam"}, "unknown GAN 'dcgam'; did you mean dcgan"),
        (IMAGES, {"model": "gan-toy"}, "model is gan-toy, but cannot be gan-toy for images"),
        (IMAGES, {"features": "coordinates"}, "features is coordinates, but cannot be coordinates for images"),
        (IMAGES, {"features": "inceptio"}, "Invalid enum value 'inceptio'.*features"),
        (IMAGES, {"feature": "modes"}, "feature is modes, but cannot be modes for images"),
        (IMAGES, {"feature": "hue"}, "Invalid enum value 'hue'"),
        (IMAGES, {"feature": "colour", "data": "cifar-10"}, "feature is colour, but the images of cifar-10 are not gr"),
        (IMAGES, {"judges": None}, "judges is missing: how the classifiers that judge images are trained"),
        (IMAGES, {"judges": {**JUDGES, "model": "lenett"}}, "unknown model 'lenett'; did you mean lenet"),
        (IMAGES, {"judges": {}}, "missing required field `training`"),
        (IMAGES, {"judges": {**JUDGES, "shifts": True}}, "unknown key 'shifts'; did you mean shifted"),
        (IMAGES, {"undesired": 10}, "undesired must be 0 to 9, not 10"),
        (IMAGES, {"undesired": -1}, "undesired must be 0 to 9, not -1"),
        (IMAGES, {"undesired": 3, "feature": "colour"}, "undesired must be 0 to 2, not 3"),
        (IMAGES, {"crop": 14}, "crop must be at least 0 and below 14, not 14"),
        (IMAGES, {"crop": -1}, "crop must be at least 0 and below 14, not -1"),
        (IMAGES, {"size": -4}, "size must be at least 0, not -4"),
        (IMAGES, {"size": 18}, "model dcgan makes images whose sides are multiples of 4, not 18 x 18: give a size"),
        (IMAGES, {"crop": 1}, "model dcgan makes images whose sides are multiples of 4, not 26 x 26"),
        (IMAGES, {"width": 12}, "width of a dcgan must be a multiple of 8, not 12"),
        (IMAGES, {"model": "stylegan2"}, "model stylegan2 makes squares whose side is a power of 2.*not 28 x 28"),
        (IMAGES, {"judges": {**JUDGES, "pretrained": True}}, "there are no published weights of lenet"),
        (IMAGES, {"judges": {**JUDGES, "model": "mlp-toy"}}, "judges.model mlp-toy takes no images"),
        (IMAGES, {"data": "digits"}, "judges.model lenet takes images of 16 x 16 or more, not 8 x 8"),
        (IMAGES, {"latent_dim": 0}, "latent_dim must be at least 1, not 0"),
        (IMAGES, {"width": 0}, "width must be at least 1, not 0"),
        (IMAGES, {"samples": 0}, "samples must be at least 1, not 0"),
        (IMAGES, {"real": "selection"}, "Invalid enum value 'selection'"),
        (IMAGES, {"feedback_error": -0.1}, "feedback_error must be at least 0 and below 0.5, not -0.1"),
        (IMAGES, {"feedback_error": 0.5}, "feedback_error must be at least 0 and below 0.5, not 0.5"),
        (IMAGES, {"companion_share": 1.5, "feature": "colour"}, "companion_share must be from 0 to 1, not 1.5"),
        (IMAGES, {"companion_share": -1.0, "feature": "colour"}, "companion_share must be from 0 to 1, not -1.0"),
        (IMAGES, {"companion_share": 0.5}, "companion_share is for feature colour, not class"),
        (IMAGES, {"training": None}, "missing required field `training`"),
        (IMAGES, {"training": {**GAN, "steps": 0}}, "steps must be above 0, not 0"),
        (IMAGES, {"training": {**GAN, "averaging": 1.0}}, r"averaging must be in \[0, 1\), not 1.0"),
        (IMAGES, {"training": {**GAN, "r1": -1.0}}, "r1 must be at least 0, not -1.0"),
        (IMAGES, {"training": {**GAN, "lr": 1e-3}}, "unknown key 'lr'"),
        (IMAGES, {"methods": ["atu-el2", "svd-forgetting"]}, "unknown method of gan-feature-removal 'svd-forgetting'"),
        (POINTS, {"features": "trained"}, "features is trained, but must be coordinates, for eight-gaussians has poin"),
        (POINTS, {"feature": "class"}, "feature is class, but must be modes, for eight-gaussians has points"),
        (POINTS, {"model": "dcgan"}, "model is dcgan, but must be gan-toy, for eight-gaussians has points"),
        (POINTS, {"judges": JUDGES}, "judges: eight-gaussians has points, which are judged by the nearest mode"),
        (POINTS, {"size": 8}, "size and crop are for images; eight-gaussians has points"),
        (POINTS, {"crop": 1}, "size and crop are for images; eight-gaussians has points"),
        (POINTS, {"undesired": 8}, "undesired must be 0 to 7, not 8"),
    ],
)
def test_wrong_settings_name_the_field_and_the_value(
    write: Write, base: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=rf"^mine.toml: scenarios.one.*{message}"):
        load_suite(write(base, **changes))


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (IMAGES, {}),
        (IMAGES, {"undesired": 9, "crop": 4, "size": 20, "real": "train", "examples": True}),
        (IMAGES, {"feature": "colour", "undesired": 2, "judges": {**JUDGES, "shifted": True}}),
        (IMAGES, {"data": "cifar-10", "model": "stylegan2", "features": "inception"}),
        (POINTS, {}),
        (POINTS, {"undesired": 7, "samples": 50}),
        (POINTS, {"feedback_error": 0.3}),
        (IMAGES, {"feature": "colour", "companion_share": 0.9}),
    ],
)
def test_settings_that_fit(write: Write, base: dict[str, Any], changes: dict[str, Any]) -> None:
    one = load_suite(write(base, **changes)).scenarios["one"]
    assert isinstance(one.settings, GanFeatureRemoval)
    assert {"original", "retrain", "atu-el2", "extrapolation", "rejection"} <= set(one.methods)
    assert TASK.requests(one.settings) == 1
    assert TASK.tunable(one.settings) == (one.settings.data != "cifar-10")


def test_every_metric_is_in_the_catalogue_and_every_column_is_one() -> None:
    for name in TASK.metrics:
        assert metric(name).summary
    assert set(TASK.headline) <= set(TASK.metrics)
    assert TASK.rank_by in TASK.headline
    assert TASK.reference_views == ("real",)
    assert not TASK.ensembles


# Units and base models' names.


def test_the_seed_says_what_must_go_unless_the_scenario_does() -> None:
    assert [ring().removed(seed) for seed in (0, 6, 7, 8)] == [(0, 1), (6, 7), (7, 0), (0, 1)]
    assert [digits().removed(seed) for seed in (0, 13)] == [(0,), (3,)]
    assert [digits(feature="colour").removed(seed) for seed in (0, 5)] == [(0,), (2,)]
    assert [digits(undesired=7).removed(seed) for seed in (0, 5)] == [(7,), (7,)]
    assert ring(undesired=7).removed(3) == (7, 0)
    assert digits(undesired=0).removed(4) == (0,)
    assert TASK.unit(ring(), 7) == "mode-7-0"
    assert TASK.unit(digits(), 13) == "class-3"
    assert TASK.unit(digits(feature="colour"), 4) == "hue-1"


def test_scenarios_share_base_models_that_do_not_depend_on_what_differs() -> None:
    name = TASK.base(digits(), 1)
    for changes in (
        {"undesired": 4},
        {"samples": 9},
        {"examples": False},
        {"real": "train"},
        {"features": "inception"},
        {"feedback_error": 0.1},
    ):
        assert TASK.base(digits(**changes), 1) == name


@pytest.mark.parametrize(
    ("changes", "seed"),
    [
        ({}, 2),
        ({"feature": "colour"}, 1),
        ({"data": "mnist-5k"}, 1),
        ({"size": 12}, 1),
        ({"crop": 2}, 1),
        ({"model": "stylegan2"}, 1),
        ({"latent_dim": 9}, 1),
        ({"width": 16}, 1),
        ({"training": TRAINING}, 1),
        ({"feature": "colour", "companion_share": 0.5}, 1),
    ],
)
def test_other_base_models_have_other_names(changes: dict[str, Any], seed: int) -> None:
    assert TASK.base(digits(**changes), seed) != TASK.base(digits(), 1)


def test_with_a_companion_a_base_model_depends_on_what_must_go() -> None:
    names = [TASK.base(digits(feature="colour", companion_share=0.5, undesired=value), 1) for value in (0, 1)]
    assert names[0] != names[1]
    assert TASK.base(digits(feature="colour", undesired=0), 1) == TASK.base(digits(feature="colour", undesired=1), 1)
    assert [digits().companion(seed) for seed in (3, 13)] == [3, 3]


# Gates.


def test_nothing_is_relative_to_another_record() -> None:
    assert derive({"pul": 90.0}, {"pul": 95.0}) == {}


def test_gates_ask_whether_there_is_something_to_remove() -> None:
    def reasons(before: float | None) -> list[str]:
        return gates({"undesired.before": before}, None)

    assert reasons(EMITTED) == reasons(30.0) == reasons(None) == gates(None, None) == []
    (little,) = reasons(1.94)
    assert "next to nothing to remove: 1.9 % of the original's images show it" in little


def test_gates_ask_whether_it_can_be_removed() -> None:
    def reasons(pul: float | None) -> list[str]:
        return gates(None, {"pul": pul})

    assert reasons(REMOVABLE) == reasons(99.0) == reasons(None) == []
    for pul, told in ((49.0, "49 %"), (-7.0, "-7 %")):
        (stays,) = reasons(pul)
        assert f"a generator that never learnt it is rid of {told} of it only" in stays


@pytest.mark.parametrize("kind", ["positives", "negatives"])
def test_gates_ask_whether_the_judge_knows(kind: str) -> None:
    other = {"positives": "negatives", "negatives": "positives"}[kind]

    def reasons(wrong: float | None) -> list[str]:
        return gates({f"judge.false-{kind}": wrong, f"judge.false-{other}": 0.0, "judge.error": 1.0}, {})

    assert reasons(JUDGED) == reasons(0.0) == reasons(None) == []
    (blind,) = reasons(10.1)
    assert "the judge gets 10.1 % of the real images of one kind wrong" in blind


# Problems.


def problem(
    settings: GanFeatureRemoval, context: Context, access: Access | None = None, seed: int = 0
) -> tuple[GanProblem, Ledger, Gan]:
    ledger, base = Ledger(), generating.base_model(settings, seed, context)
    access = access or Access(feedback="yw", real="x")
    return generating.build(settings, seed, 0, base, access, ledger, context).problem, ledger, base


def test_what_a_method_gets(context: Context) -> None:
    found, ledger, base = problem(ring(), context, seed=3)
    assert found.model is found.gan.average
    assert not any(module.training for module in found.gan.modules())
    assert found.gan.moments.keys() == base.moments.keys() != set()
    assert (found.num_classes, found.recipe, found.seed) == (2, TRAINING, problem(ring(), context, seed=3)[0].seed)
    assert found.seed != problem(ring(), context)[0].seed
    assert state_hash(found.model) != state_hash(found.gan.generator)
    fresh = found.build_gan()
    assert [p.shape for p in fresh.parameters()] == [p.shape for p in base.parameters()]
    assert [p.shape for p in found.fresh_model().parameters()] == [p.shape for p in base.generator.parameters()]
    assert ledger.violations == []


def test_the_base_model_is_nobody_s_to_change(context: Context) -> None:
    found, _, base = problem(ring(), context)
    before, moments = state_hash(base), {name: t.clone() for name, t in base.moments.items()}
    with torch.no_grad():
        for parameter in found.gan.parameters():
            parameter.zero_()
    for moment in found.gan.moments.values():
        moment.fill_(7)
    assert state_hash(base) == before
    assert all(torch.equal(base.moments[name], moments[name]) for name in moments)


def test_feedback_is_on_what_must_go_of_this_seed(context: Context) -> None:
    data = load_removal("eight-gaussians", "modes", 0, 0).test
    for seed, gone in ((0, (0, 1)), (7, (7, 0))):
        found, ledger, _ = problem(ring(), context, seed=seed)
        said = found.feedback.undesired(data.images)
        assert torch.equal(said, torch.isin(data.labels, torch.tensor(gone)))
        assert found.feedback.counts()["samples"] == len(data)
        assert ledger.violations == []


def test_real_images_are_those_without_what_must_go(context: Context) -> None:
    found, _, _ = problem(ring(), context, seed=2)
    train = load_removal("eight-gaussians", "modes", 0, 0).train
    assert torch.equal(found.real.everything().x, without(train, (2, 3)).images)
    with pytest.raises(AccessViolation, match="labels of the real view"):
        _ = found.real.everything().y
    refused, ledger, _ = problem(ring(), context, Access(feedback="y"))
    with pytest.raises(AccessViolation, match="images of the real view were asked for but not declared"):
        _ = refused.real.everything().x
    assert len(ledger.violations) == 1


def test_base_models_are_kept_whole(context: Context) -> None:
    """From the store a GAN comes back as it was trained, moments and all."""
    settings = ring()
    one, other = (generating.base_model(settings, 0, context) for _ in range(2))
    assert state_hash(one) == state_hash(other)
    assert one.moments.keys() == other.moments.keys()
    assert all(torch.equal(one.moments[name], other.moments[name]) for name in one.moments)
    assert float(one.moments["generator.layers.0.weight.step"]) == TRAINING.steps
    assert state_hash(one) != state_hash(generating.base_model(settings, 1, context))


def test_the_reference_has_learnt_from_the_rest_alone(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Samples] = []
    monkeypatch.setattr(generating, "_trained", lambda scenario, samples, *rest: seen.append(samples))
    generating.reference(ring(), 3, context)
    generating.base_model(ring(), 3, context)
    assert seen[0].labels.unique().tolist() == [0, 1, 2, 5, 6, 7]
    assert seen[1].labels.unique().tolist() == [*range(8)]


def test_feedback_errs_and_judges_do_not(context: Context) -> None:
    """Feedback is wrong about the same share of points; metrics are what they were."""
    data, base = load_removal("eight-gaussians", "modes", 0, 0).test, generating.base_model(ring(), 0, context)
    right = torch.isin(data.labels, torch.tensor([0, 1]))
    found = {}
    for share in (0.0, 0.2):
        settings = ring(feedback_error=share)
        own, ledger, again = problem(settings, context)
        assert state_hash(again) == state_hash(base)
        wrong = float((own.feedback.undesired(data.images) != right).double().mean())
        assert abs(wrong - share) < (0.04 if share else 1e-9)
        assert own.feedback.counts()["samples"] == len(data)
        assert ledger.violations == []
        found[share] = generating.evaluate(settings, 0, base, copy.deepcopy(base.average), context).metrics
    assert found[0.0] == found[0.2]


# Judges.


Called = dict[str, Any]


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> list[Called]:
    """What classifiers were asked for; none is trained."""
    calls: list[Called] = []

    def trained(
        samples: Samples, num_classes: int, model: str, recipe: Any, seed: int, context: Any, key: Any, build: Any
    ) -> nn.Module:
        calls.append({"samples": samples, "classes": num_classes, "seed": seed, "key": key, "model": model})
        with torch.random.fork_rng():
            torch.manual_seed(seed % 2**32)
            network: nn.Module = build().eval()
        return network

    monkeypatch.setattr(base_models, "trained", trained)
    return calls


def contents(samples: Samples) -> set[bytes]:
    return {image.numpy().tobytes() for image in samples.images}


def test_those_who_judge_share_neither_seed_nor_data_with_the_feedback(
    context: Context, networks: list[Called]
) -> None:
    settings = digits()
    data = load_removal("digits", "class", 0, 0)
    asked = judging.feedback(settings, 3, data, context)
    counting, tuning = (judging.judge(settings, 3, data, context, stage) for stage in ("report", "selection"))
    spaces = [judging.extractor(settings, data, context, stage) for stage in ("report", "selection")]
    assert len(networks) == 5
    assert len({call["seed"] for call in networks}) == 5
    assert len({call["key"]["role"] for call in networks}) == 5
    feedback, *others = (contents(call["samples"]) for call in networks)
    assert feedback == contents(data.first)
    assert all(other == contents(data.second) for other in others)
    assert not feedback & others[0]
    assert {call["classes"] for call in networks} == {10}
    for who in (asked, counting, tuning):
        assert isinstance(who, ClassJudge)
        assert who.undesired == 3
        assert not any(p.requires_grad for p in who.parameters())
    assert len({state_hash(who.network) for who in (asked, counting, tuning)}) == 3  # type: ignore[arg-type]
    assert spaces[0].name != spaces[1].name
    assert spaces[0](data.test.images[:7]).shape[0] == 7


def test_hues_are_measured_by_who_counts_and_learnt_by_who_gives_feedback(
    context: Context, networks: list[Called]
) -> None:
    settings = digits(feature="colour", judges=Judges(Recipe(1, 0.1, 64), "resnet-small", shifted=True))
    data = load_removal("digits", "colour", 0, 0)
    asked, counting = judging.feedback(settings, 2, data, context), judging.judge(settings, 2, data, context)
    assert isinstance(asked, ClassJudge)
    assert isinstance(counting, HueJudge)
    assert asked.undesired == counting.undesired == 2
    judging.extractor(settings, data, context)
    feedback, features = networks
    assert (feedback["classes"], features["classes"]) == (3, 30)
    assert len(feedback["samples"]) == 5 * len(data.first)
    assert feedback["samples"].labels.unique().tolist() == [0, 1, 2]
    assert features["samples"].labels.unique().tolist() == [*range(30)]
    assert torch.equal(judging.judge(settings, 2, data, context)(data.test.inputs()) > 0, data.test.labels % 3 == 2)


def test_modes_are_judged_by_the_nearest(context: Context, networks: list[Called]) -> None:
    data = load_removal("eight-gaussians", "modes", 0, 0)
    for who in (judging.feedback(ring(), 7, data, context), judging.judge(ring(), 7, data, context)):
        assert isinstance(who, NearestJudge)
        assert sorted(who.undesired) == [0, 7]
        for k in range(8):
            torch.testing.assert_close(who.centres[k], data.train.images[data.train.labels == k].mean(0))
    assert networks == []


# Evaluation.


def made_of(points: Tensor) -> nn.Module:
    """A generator of these images, evenly spaced where latents are fewer and several times where they are more."""

    class Fixed(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return points[torch.arange(len(z)) * len(points) // len(z)]

    return Fixed()


def evaluated(settings: GanFeatureRemoval, amended: nn.Module, context: Context, seed: int = 0) -> Evaluation:
    base = generating.base_model(settings, seed, context)
    return generating.evaluate(settings, seed, base, amended, context)


def values(evaluation: Evaluation) -> dict[str, float | None]:
    return {name: measured.value for name, measured in evaluation.metrics.items()}


def test_the_original_has_lost_nothing(context: Context) -> None:
    base = generating.base_model(ring(), 0, context)
    found = generating.evaluate(ring(), 0, base, copy.deepcopy(base.average), context)
    metrics = values(found)
    assert set(metrics) == set(TASK.metrics) - {*OF_COMPANIONS}
    assert metrics["pul"] == metrics["pul.at-quality"] == metrics["change.parameters"] == 0
    assert metrics["undesired.before"] == metrics["undesired.after"]
    assert metrics["undesired.before"] is not None
    assert 5 < metrics["undesired.before"] < 60
    assert metrics["judge.error"] == 0  # the modes lie far apart
    assert all(value is not None for value in metrics.values())
    assert found.flags == []
    assert set(found.arrays) == {"scores", "before", "points", "real"}
    assert np.array_equal(found.arrays["scores"] > 0, found.arrays["before"])
    assert found.arrays["points"].shape == (300, 2)
    assert found.metrics["pul"].n == 300


def test_a_generator_of_desired_points_alone_is_perfect(context: Context) -> None:
    desired = without(load_removal("eight-gaussians", "modes", 0, 0).test, (0, 1)).images
    metrics = values(evaluated(ring(), made_of(desired), context))
    assert metrics["pul"] == metrics["pul.at-quality"] == 100
    assert metrics["undesired.after"] == 0
    assert metrics["fid"] is not None
    assert metrics["fid"] < 0.1
    assert metrics["precision"] is not None
    assert metrics["precision"] > 90
    assert metrics["change.parameters"] is None  # it has no parameters like the original's


def test_quality_is_that_of_the_original_behind_a_filter(context: Context) -> None:
    """Undesired images of the original are part of its distance: against them damage would go unseen."""
    measures = generating._measures(ring(), 0, context, "report")
    base = generating.base_model(ring(), 0, context).average
    with torch.no_grad():
        points = base(measures.latents)
    desired = points[~(measures.who(points) > 0)]
    torch.testing.assert_close(measures.desired, desired)
    assert 0 < len(desired) < 300
    metrics = values(evaluated(ring(), copy.deepcopy(base), context))
    before = fidelity.frechet(desired, measures.real).value
    assert before is not None
    assert metrics["fid.ratio"] == pytest.approx(metrics["fid"] / before, rel=1e-3)  # type: ignore[operator]


def test_what_ruins_the_images_is_worth_less_than_what_it_removes(context: Context) -> None:
    metrics = values(evaluated(ring(), made_of(torch.tensor([[-2.0, 0.0], [-2.1, 0.1]])), context))
    assert metrics["pul"] == 100
    assert metrics["pul.at-quality"] is not None
    assert metrics["fid.ratio"] is not None
    assert metrics["fid.ratio"] > 3
    assert metrics["pul.at-quality"] == pytest.approx(100 / metrics["fid.ratio"])


def test_more_of_it_than_before_is_less_than_nothing(context: Context) -> None:
    undesired = load_removal("eight-gaussians", "modes", 0, 0).test
    undesired = undesired.subset((undesired.labels < 2).nonzero().squeeze(1))
    metrics = values(evaluated(ring(), made_of(undesired.images), context))
    assert metrics["pul"] is not None
    assert metrics["pul"] < -50
    assert metrics["undesired.after"] == 100


def test_an_extrapolated_generator_shows_its_line(context: Context) -> None:
    base = generating.base_model(ring(), 0, context)
    direction = {name: torch.full_like(p, 0.05) for name, p in base.average.named_parameters()}
    moved = Extrapolated(copy.deepcopy(base.average), direction, -0.6)
    found = generating.evaluate(ring(), 0, base, moved, context)
    assert set(found.metrics) == set(TASK.metrics) - {*OF_COMPANIONS}
    assert set(found.arrays) >= LINE
    s, shares = found.arrays["line.s"].tolist(), found.arrays["line.undesired"].tolist()
    assert s == [round(-2 + 0.2 * i, 1) for i in range(16)]
    assert {0.0, 1.0} <= set(s)
    metrics = values(found)
    assert shares[s.index(0.0)] == pytest.approx(metrics["undesired.before"])
    assert shares[s.index(-0.6)] == pytest.approx(metrics["undesired.after"])
    assert metrics["change.parameters"] is not None
    assert metrics["change.parameters"] > 0
    assert len(set(shares)) > 3


def test_a_filter_behind_the_original_changes_no_parameter(context: Context) -> None:
    found, _, base = problem(ring(), context)
    filtered = Rejecting(copy.deepcopy(base.average), found.feedback.network(), 40)
    metrics = values(generating.evaluate(ring(), 0, base, filtered, context))
    assert (metrics["pul"], metrics["change.parameters"]) == (100, 0)


def test_evaluation_is_the_same_every_time_and_changes_nothing(context: Context) -> None:
    settings = ring()
    base, results = generating.base_model(settings, 0, context), []
    amended = copy.deepcopy(base.average)
    with torch.no_grad():
        for parameter in amended.parameters():
            parameter.mul_(0.9)
    before = state_hash(amended), state_hash(base)
    for noise in (1, 2):
        torch.manual_seed(noise)
        generating._measures.cache_clear()
        results.append(generating.evaluate(settings, 0, base, amended, context))
    assert (state_hash(amended), state_hash(base)) == before
    one, other = results
    assert one.metrics == other.metrics
    assert one.arrays.keys() == other.arrays.keys()
    for name in one.arrays:
        assert one.arrays[name].tobytes() == other.arrays[name].tobytes(), name


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("where", [500, 10])
def test_what_is_not_finite_is_flagged_wherever_it_is(where: int, bad: float, context: Context) -> None:
    class Breaks(nn.Module):
        """One point, in the first pass or in the last."""

        def forward(self, z: Tensor) -> Tensor:
            points = torch.zeros(len(z), 2)
            points[-1, 0] = bad if len(z) == where else 0.0
            return points

    found = evaluated(ring(samples=510), Breaks(), context)
    assert found.flags == ["the amended generator's images are not finite"]
    assert all(values(found)[name] is None for name in ("fid", "pul", "pul.at-quality", "undesired.after"))


def test_images_are_judged_as_they_are_stored() -> None:
    pixels = torch.tensor([-1.0, 1.0, 0.0, -1.5, 7.0, -1 + 0.4 * 2 / 255, -1 + 0.6 * 2 / 255, 0.2])
    images, finite = generating.images_of(made_of(pixels.view(1, 1, 1, 8)), torch.randn(3, 4))
    assert images.dtype == torch.uint8
    assert images[0].flatten().tolist() == [0, 255, 128, 0, 255, 0, 1, 153]
    assert finite
    broken = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.5])
    images, finite = generating.images_of(made_of(broken.view(1, 1, 2, 2)), torch.randn(1, 4))
    assert images.flatten().tolist() == [0, 255, 0, 191]
    assert not finite
    data = load_removal("digits", "class", 0, 0)
    seen: list[Tensor] = []

    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x[:, 0, 0, 0]

    stored = torch.tensor([0, 255, 51, 128], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    scores = generating.judged(Looks(), stored, data)
    torch.testing.assert_close(scores, torch.tensor([-1.0, 1.0, -0.6, 1 / 255]))


def test_many_latents_are_taken_some_at_a_time_and_in_order() -> None:
    sizes: list[int] = []

    class Counts(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            sizes.append(len(z))
            return z[:, :2] * 2

    latents = torch.randn(1203, 3)
    made, finite = generating.images_of(Counts(), latents)
    assert torch.equal(made, latents[:, :2] * 2)
    assert finite
    assert sizes == [1, 500, 500, 203]


# A class that goes with what must go.


def test_without_a_companion_everything_is_learnt() -> None:
    data = load_removal("digits", "colour", 0, 0)
    samples, role = companions.learnt(digits(feature="colour"), 1, data)
    assert samples is data.train
    assert role == "base"
    samples, role = companions.learnt(digits(feature="colour", companion_share=0.9), 4, data)  # hue 1, class 4
    assert role != "base"
    of_hue = samples.labels[samples.labels % 3 == 1]
    assert float((of_hue // 3 == 4).double().mean()) == pytest.approx(0.9, abs=1e-3)
    assert torch.equal(without(samples, (1,)).images, without(data.train, (1,)).images)


def test_the_companion_is_known_in_every_hue() -> None:
    class Knows(nn.Module):
        """The label is written in the image."""

        def forward(self, images: Tensor) -> Tensor:
            return torch.nn.functional.one_hot(images[:, 0, 0, 0].long(), 30).float()

    images = torch.arange(30.0).view(30, 1, 1, 1).expand(30, 3, 2, 2)
    said = companions.CompanionJudge(Knows(), 4)(images)
    assert (said > 0).nonzero().squeeze(1).tolist() == [12, 13, 14]
    assert set(said.tolist()) == {1.0, -1.0}


def test_the_share_of_the_companion_is_counted_in_what_stays(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bright(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            bright = (images.mean((1, 2, 3)) > 0).long()
            return torch.nn.functional.one_hot(bright * 12, 30).float()

    monkeypatch.setattr(companions, "classifier", lambda *arguments: Bright())
    settings, data = digits(feature="colour", companion_share=0.9), load_removal("digits", "colour", 0, 0)
    light, dark = torch.full((8, 3, 8, 8), 255, dtype=torch.uint8), torch.zeros(8, 3, 8, 8, dtype=torch.uint8)
    made = torch.cat([light[:2], dark[:6]])
    original: Any = made_of(torch.cat([torch.ones(4, 3, 8, 8), -torch.ones(4, 3, 8, 8)]))
    gone = torch.tensor([True, True, False, False] * 2), torch.tensor([False] * 4 + [True] * 4)
    found = companions.companion_metrics(settings, 4, original, made, gone, torch.zeros(8, 3), context, data)
    assert {name: (own.value, own.n) for name, own in found.items()} == {
        "companion.before": (50.0, 4),
        "companion.after": (50.0, 4),
    }
    found = companions.companion_metrics(settings, 5, original, made, gone, torch.zeros(8, 3), context, data)
    assert found["companion.after"].value == 0


def test_cells_have_the_companion_s_share_where_there_is_one(context: Context) -> None:
    settings = digits(feature="colour", companion_share=0.9)
    base = generating.base_model(settings, 1, context)
    assert state_hash(base) != state_hash(generating.base_model(digits(feature="colour"), 1, context))
    found = values(generating.evaluate(settings, 1, base, copy.deepcopy(base.average), context))
    assert set(found) == set(TASK.metrics)
    assert found["companion.before"] == found["companion.after"]
    for name in ("companion.before", "companion.after"):
        assert metric(name).unit == "%"


# Images.


@pytest.mark.parametrize("feature", ["class", "colour"])
def test_a_generator_of_images_is_evaluated(feature: str, context: Context) -> None:
    settings = digits(feature=feature)
    base = generating.base_model(settings, 1, context)
    amended = copy.deepcopy(base.average)
    found = generating.evaluate(settings, 1, base, amended, context)
    metrics = values(found)
    assert set(metrics) == set(TASK.metrics) - {*OF_COMPANIONS}
    assert found.flags == []
    assert metrics["pul"] in (0, None)  # None: nothing undesired was made
    assert metrics["change.parameters"] == 0
    assert metrics["judge.error"] is not None
    assert metrics["judge.error"] < 20
    for name in ("fid", "kid", "ret-fid", "precision", "recall"):
        assert metrics[name] is not None, name
    channels = 3 if feature == "colour" else 1
    assert found.arrays["example.any"].shape == (12, channels, 8, 8)
    assert found.arrays["example.any"].dtype == np.uint8
    undesired = min(12, int(found.arrays["before"].sum()))
    assert found.arrays["example.undesired"].shape == (undesired, channels, 8, 8)
    plain = generating.evaluate(msgspec.structs.replace(settings, examples=False), 1, base, amended, context)
    assert set(plain.arrays) == {"scores", "before"}


# Tuning.


def test_tuning_sees_neither_the_latents_nor_the_images_of_the_report(context: Context) -> None:
    report, selection = (generating._measures(ring(), 0, context, stage) for stage in ("report", "selection"))
    assert not torch.equal(report.latents, selection.latents)
    assert not set(contents_of(report.latents)) & set(contents_of(selection.latents))
    data = load_removal("eight-gaussians", "modes", 0, 0)
    assert torch.equal(report.real, without(data.test, (0, 1)).images)
    assert torch.equal(selection.real, without(data.selection, (0, 1)).images)
    assert selection.retrained is None
    train = generating._measures(ring(real="train"), 0, context, "report")
    assert torch.equal(train.real, without(data.train, (0, 1)).images)
    assert torch.equal(generating._measures(ring(real="train"), 0, context, "selection").real, selection.real)


def contents_of(rows: Tensor) -> list[bytes]:
    return [row.numpy().tobytes() for row in rows]


def test_tuning_s_score_is_the_same_formula(context: Context) -> None:
    base = generating.base_model(ring(), 0, context)
    original = generating.selection_score(ring(), 0, copy.deepcopy(base.average), context)
    assert original.score == 0
    assert original.metrics["pul"] == 0
    desired = without(load_removal("eight-gaussians", "modes", 0, 0).test, (0, 1)).images
    perfect = generating.selection_score(ring(), 0, made_of(desired), context)
    assert perfect.score == perfect.metrics["pul"] / 100 == 1
    ruined = generating.selection_score(ring(), 0, made_of(torch.tensor([[-2.0, 0.0], [-2.1, 0.1]])), context)
    assert 0 < ruined.score < 0.4
    broken = generating.selection_score(ring(), 0, made_of(torch.full((3, 2), torch.nan)), context)
    assert broken.score < 0
    assert broken.score < original.score


def test_there_are_no_ensembles(context: Context) -> None:
    with pytest.raises(InputError, match="task gan-feature-removal has no forget set"):
        generating.members(ring(), 0, nn.Identity(), context)


# Cells.

QUICK = {"models": 2, "adapt_images": 60, "adapt_steps": 5, "steps": 5, "images": 100}
Run = Callable[..., tuple[Record, dict[str, Any]]]


@pytest.fixture
def run(make_cell: Callable[..., Any], context: Context) -> Run:
    """Run a cell of the toy with little of everything: ``run(method)``."""

    def run(method: str, **given: Any) -> tuple[Record, dict[str, Any]]:
        cell = make_cell(method, "ring", 0, **given)
        settings = msgspec.to_builtins(ring())
        return run_cell(msgspec.structs.replace(cell, settings=settings), context, exclusive=False, provenance="")

    return run


def test_a_real_cell_says_what_it_asked(run: Run) -> None:
    record, arrays = run("atu-el2", **QUICK)
    assert (record.status, record.failure, record.flags) == ("ok", None, [])
    judged = 2 * 60 + 100
    assert record.access == [{"feedback": {"samples": judged, "labels": judged, "passes": judged}}]
    assert set(record.metrics) == set(TASK.metrics) - {*OF_COMPANIONS}
    assert all(value.value is not None for value in record.metrics.values())
    assert not LINE & set(arrays)
    # Whoever finds the adapted generators in the store is billed for their images all the same.
    other, _ = run("atu-nl2", **QUICK)
    assert other.access == record.access
    extra, arrays = run("extrapolation", **{name: QUICK[name] for name in ("models", "adapt_images", "adapt_steps")})
    assert extra.access == [{"feedback": {"samples": 120, "labels": 120, "passes": 120}}]
    assert set(extra.metrics) == set(TASK.metrics) - {*OF_COMPANIONS}
    assert set(arrays) >= LINE


def test_the_same_cell_twice_is_bit_identical(run: Run) -> None:
    results = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        results.append(run("finetune", steps=5, images=50))
    (one, arrays), (two, again) = results
    assert one.status == "ok"
    assert one.metrics == two.metrics
    assert all(arrays[name].tobytes() == again[name].tobytes() for name in arrays)


def test_references_and_the_cheat(run: Run) -> None:
    original, _ = run("original")
    assert original.access == [{}]
    assert original.metrics["pul"].value == 0
    retrained, _ = run("retrain")
    read = retrained.access[0]
    assert set(read) == {"real"}
    assert read["real"]["passes"] == TRAINING.steps * TRAINING.batch_size
    assert "labels" not in read["real"]
    cheat, _ = run("rejection", tries=20)
    assert cheat.access[0]["feedback"]["networks"] == 1
    assert cheat.metrics["change.parameters"].value == 0
    assert cheat.metrics["pul"].value == 100


def test_wrong_hyper_parameters_are_rows(run: Run) -> None:
    record, arrays = run("atu-el2", **{**QUICK, "gamma": -1.0})
    assert record.status == "failed"
    assert record.failure is not None
    assert "gamma must be at least 0, not -1.0" in record.failure.message
    assert arrays == {}


def test_tuning_runs_a_method_and_scores_it(context: Context) -> None:
    scenario = msgspec.structs.replace(load_suite("smoke").scenarios["ring"], settings=ring(samples=150))
    found, seconds, failed = amend_for_selection(scenario, "finetune", {"steps": 5, "images": 50}, 0, context)
    assert failed == ""
    assert seconds > 0
    assert found.score == pytest.approx(found.metrics["pul.at-quality"] / 100)


def test_every_method_of_the_task_is_in_the_toy() -> None:
    assert set(load_suite("smoke").scenarios["ring"].methods) == set(methods_of("gan-feature-removal"))
