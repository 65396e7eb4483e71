"""The suites standard and paper: what is promised of them, networks that can be built, docs that say what is there."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.data import DATA
from benchmark.models import GANS, MODELS
from benchmark.models.classifiers import build_classifier
from benchmark.models.layer_inputs import input_matrices
from benchmark.models.surgery import head, weight_layers
from benchmark.suites import definition as suites
from benchmark.suites.definition import Scenario, load_suite
from benchmark.tasks import TASKS

DOCS = Path(suites.__file__).parents[2] / "docs" / "suites.md"
SUITES = ("standard", "paper")
#: Parameters up to which a network is run, not only built.
SMALL = 1_000_000

needs_vision = pytest.mark.skipif(
    find_spec("torchvision") is None or find_spec("timm") is None, reason="torchvision or timm is not installed"
)
Built = tuple[str, tuple[int, ...], int]


def scenarios() -> Iterator[Scenario]:
    for name in SUITES:
        yield from load_suite(name).scenarios.values()


def built(scenario: Scenario) -> Built:
    """Network, shape of one input and number of classes."""
    settings = scenario.settings
    source = DATA.get(settings.data)
    coloured = scenario.task.startswith("debias") and settings.bias.kind == "colour"
    return settings.model, (3, *source.shape[1:]) if coloured else source.shape, source.num_classes


def classifiers() -> dict[Built, list[Any]]:
    """Every distinct classifier of images, with the settings of its scenarios."""
    found = defaultdict(list)
    for scenario in scenarios():
        if scenario.settings.model not in GANS and not scenario.settings.model.startswith("transformers:"):
            found[built(scenario)].append(scenario.settings)
    return found


CLASSIFIERS = classifiers()


@needs_vision
@pytest.mark.parametrize("what", CLASSIFIERS, ids=str)
def test_every_network_can_be_built_and_takes_its_data(what: Built) -> None:
    """Without memory for its weights: shapes alone are computed."""
    name, shape, num_classes = what
    with torch.device("meta"):
        model = build_classifier(name, num_classes, shape).eval()
        assert model(torch.empty(2, *shape)).shape == (2, num_classes)
    assert weight_layers(head(model))[-1].out_features == num_classes
    layers = {settings.layer for settings in CLASSIFIERS[what] if hasattr(settings, "layer")}
    assert layers <= {position for position, _ in model.named_modules()}


@pytest.mark.parametrize("name", ["resnet-small", "laf-cnn", "cmnist-mlp", "mlp-toy"])
def test_the_small_ones_run(name: str) -> None:
    what = next(what for what in CLASSIFIERS if what[0] == name)
    torch.manual_seed(0)
    model = build_classifier(name, what[2], what[1]).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) < SMALL
    logits = model(torch.randn(3, *what[1]))
    assert logits.isfinite().all()
    assert len(logits.unique(dim=0)) == 3


@needs_vision
@pytest.mark.parametrize("name", ["vgg11-cifar", "vit-cifar"])
def test_class_forgetting_reads_what_enters_every_weight(name: str) -> None:
    model = build_classifier(name, 10, (3, 32, 32)).eval()
    found = input_matrices(model, [torch.randn(4, 3, 32, 32)], 4, 100, torch.Generator().manual_seed(0))
    weights = {f"{position}.weight" for position, module in model.named_modules() if module in weight_layers(model)}
    assert set(found) == weights


@pytest.mark.parametrize("name", SUITES)
def test_every_task_has_scenarios(name: str) -> None:
    assert {scenario.task for scenario in load_suite(name).scenarios.values()} == set(TASKS)


def test_the_standard_suite_has_what_is_promised() -> None:
    found = load_suite("standard").scenarios.values()
    data = {scenario.settings.data for scenario in found}
    lesions = {"isic-2017", "isic-2017-official", "isic-2017-patches"}
    assert data == {"mnist", "fashion-mnist", "cifar-10", "svhn", "cifar-100"} | lesions
    networks = {scenario.settings.model for scenario in found}
    wanted = {"vgg11-cifar", "resnet18-cifar", "vit-cifar"} | {
        f"torchvision:{name}"
        for name in ("vgg16", "vgg16_bn", "resnet18", "efficientnet_b0", "mobilenet_v2", "vit_b_16")
    }
    assert wanted <= networks


def test_the_paper_suite_has_every_data_set_of_the_papers() -> None:
    by_task = defaultdict(set)
    for scenario in load_suite("paper").scenarios.values():
        by_task[scenario.task].add(scenario.settings.data)
    hidden = {"mnist", "cifar-10", "bffhq", "waterbirds", "celeba-blond", "civil-comments"}
    assert by_task == {
        "bias-correction": {"isic-2019", "bone-age", "imagenet-tench", "celeba-collar"},
        "gan-feature-removal": {"mnist", "afhq-256"}
        | {f"celeba-hq-{feature}" for feature in ("bangs", "hat", "bald", "eyeglasses")},
        "class-forget": {"cifar-10", "cifar-100", "imagenet", "four-gaussians"},
        "label-free-forget": {"mnist", "fashion-mnist", "cifar-10", "svhn"},
        "debias-known": hidden,
        "debias-unknown": hidden,
    }


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize(
    ("data", "alphas", "per_class"),
    [("cifar-10", (100, 3), 100), ("cifar-100", (1000, 30), 10), ("imagenet", (100, 10), 1)],
)
def test_class_forgetting_has_the_papers_factors(
    name: str, data: str, alphas: tuple[float, float], per_class: int
) -> None:
    found = [s for s in load_suite(name).scenarios.values() if (s.task, s.settings.data) == ("class-forget", data)]
    assert found or (name, data) == ("standard", "imagenet")
    for scenario in found:
        own = scenario.methods["svd-forgetting"]
        assert (own["alpha_r"], own["alpha_f"], own["retain_per_class"]) == (*alphas, per_class)
        assert scenario.methods["svd-forgetting+search"]["retain_per_class"] == per_class
        assert TASKS.get(scenario.task).tunable(scenario.settings)
        classes = {scenario.settings.forgotten(seed)[0] for seed in range(10)}
        assert len(classes) == (1 if scenario.settings.forget or scenario.settings.forget_seed == 0 else 10)


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize(
    ("data", "kind", "rates", "temperature"),
    [
        ("mnist", "data-removal", (20, 5e-5, 1e-4), 5),
        ("fashion-mnist", "class-removal", (20, 5e-5, 1e-4), 20),
        ("mnist", "noisy-labels", (20, 5e-5, 1e-4), 20),
        ("cifar-10", "data-removal", (40, 1e-5, 4e-5), 20),
        ("svhn", "class-removal", (40, 1e-5, 5e-5), 20),
        ("svhn", "noisy-labels", (40, 1e-5, 4e-5), 5),
    ],
)
def test_label_agnostic_forgetting_has_the_papers_rates(
    name: str, data: str, kind: str, rates: tuple[int, float, float], temperature: float
) -> None:
    found = [s for s in load_suite(name).scenarios.values() if getattr(s.settings, "kind", "") == kind]
    for method in ("laf", "laf-r", "laf-r+few-labels"):
        (own,) = [s.methods[method] for s in found if s.settings.data == data]
        assert (own["epochs"], own["lr_unlearn"], own["lr_align"]) == rates
        assert (own["temperature"], own["latent_dim"]) == (temperature, 8 if "mnist" in data else 16)


@pytest.mark.parametrize(
    ("data", "epochs", "rates", "corrected"),
    [
        ("isic-2019", 150, (5e-3, 5e-3, 1e-3), ((1e-4, 10), (1e-4, 10), (1e-4, 10))),
        ("bone-age", 100, (5e-3, 5e-3, 1e-3), ((1e-4, 10), (1e-4, 10), (1e-4, 10))),
        ("imagenet-tench", 20, (5e-4, 5e-4, 1e-4), ((1e-4, 10), (1e-4, 10), (1e-4, 10))),
        ("celeba-collar", 40, (5e-3, 5e-3, 1e-3), ((1e-4, 1), (2e-5, 1), (1e-4, 1))),
    ],
)
def test_bias_correction_has_the_papers_rates(
    data: str, epochs: int, rates: tuple[float, ...], corrected: tuple[tuple[float, int], ...]
) -> None:
    """Of VGG-16, ResNet-18 and EfficientNet-B0, which alone is trained with Adam."""
    found = [s for s in load_suite("paper").scenarios.values() if s.settings.data == data]
    assert [s.settings.model for s in found] == [
        f"torchvision:{name}" for name in ("vgg16", "resnet18", "efficientnet_b0")
    ]
    for scenario, rate, own in zip(found, rates, corrected, strict=True):
        recipe = scenario.settings.training
        assert (recipe.epochs, recipe.lr, recipe.batch_size, recipe.weighted) == (epochs, rate, 128, True)
        assert recipe.optimiser == ("adam" if "efficientnet" in scenario.settings.model else "sgd")
        trained = {name: values for name, values in scenario.methods.items() if "epochs" in values}
        assert {"rr-clarc", "a-clarc", "p-clarc-finetuned", "finetune"} <= set(trained)
        assert {(v["lr"], v["epochs"], v["batch_size"]) for v in trained.values()} == {(*own, 64)}


@pytest.mark.parametrize(
    ("data", "known", "hidden"),
    [
        ("mnist", (0.1, 1000), (0.01, 200)),
        ("cifar-10", (1e-4, 1000), (1e-4, 200)),
        ("bffhq", (1e-4, 64), (1e-4, 64)),
        ("waterbirds", (1e-4, 64), (1e-4, 64)),
        ("celeba-blond", (1e-4, 64), (1e-4, 64)),
        ("civil-comments", (1e-5, 10), (1e-5, 32)),
    ],
)
def test_debiasing_has_the_papers_rates_and_batches(
    data: str, known: tuple[float, int], hidden: tuple[float, int]
) -> None:
    """Samples of a class are those of a group, or pseudo-group, times their number in a class."""
    expected = {"debias-known": known, "debias-unknown": hidden}
    for scenario in (s for s in load_suite("paper").scenarios.values() if s.task in expected):
        recipe = scenario.settings.training
        if scenario.settings.data == data:
            assert (recipe.lr, recipe.per_class) == expected[scenario.task]
            assert recipe.weight_decay == (1e-4 if recipe.optimiser == "adamw" else 0.01)
            assert recipe.optimiser == ("adamw" if data == "civil-comments" else "sgd")
            assert scenario.methods["gerne"]["c"] == 0.5


@pytest.mark.parametrize(
    ("name", "trained", "adapted", "unlearned", "alpha"),
    [
        ("mnist-class-8-stylegan2", 200_000, (200, 2001), 1001, 1),
        ("afhq-cat", 200_000, (300, 5000), 3000, 10),
        ("afhq-dog", 200_000, (300, 5000), 3000, 1),
        ("afhq-wild", 200_000, (300, 5000), 3000, 100),
        ("celeba-hq-bald", 360_000, (300, 5000), 4001, 0.8),
        ("celeba-hq-eyeglasses", 360_000, (300, 9000), 4001, 0.8),
    ],
)
def test_generator_unlearning_has_the_papers_steps(
    name: str, trained: int, adapted: tuple[int, int], unlearned: int, alpha: float
) -> None:
    scenario = load_suite("paper").scenarios[name]
    assert (scenario.settings.training.steps, scenario.settings.training.batch_size) == (trained, 16)
    for method in ("atu-il2", "atu-nl2", "atu-el2"):
        own = scenario.methods[method]
        assert (own["models"], own["lam"], own["images"], own["scale"]) == (5, 5e8, 5000, "official")
        assert (own["adapt_images"], own["adapt_steps"], own["steps"]) == (*adapted, unlearned)
    assert (scenario.methods["atu-el2"]["gamma"], scenario.methods["atu-el2"]["alpha"]) == (100, alpha)


# The docs.


def rows(name: str) -> Iterator[list[set[str]]]:
    """Of each row of a suite's table what is named in its first three cells: scenarios, data sets, networks."""
    text = DOCS.read_text("utf-8").partition(f"## The suite {name}\n")[2].partition("\n## ")[0]
    for line in text.splitlines():
        cells = [set(re.findall(r"`([^`]+)`", cell)) for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            yield cells[:3]


@pytest.mark.parametrize("name", SUITES)
def test_the_docs_say_what_is_there(name: str) -> None:
    known = load_suite(name).scenarios
    named: list[str] = []
    for scenarios, data, networks in rows(name):
        assert {known[scenario].settings.data for scenario in scenarios} == data
        assert {known[scenario].settings.model for scenario in scenarios} == networks
        assert len({known[scenario].task.partition("-")[0] for scenario in scenarios}) == 1
        named += scenarios
    assert sorted(named) == sorted(known)


def test_own_networks_of_the_suites_are_registered() -> None:
    own = {name for name, _, _ in CLASSIFIERS if ":" not in name}
    assert own <= set(MODELS)
