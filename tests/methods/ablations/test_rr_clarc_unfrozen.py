"""RR-ClArC with more of the network trained: what changes, what does not, and its limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.concepts.correction import class_weights
from benchmark.contracts import Access, BiasProblem
from benchmark.discovery.methods import METHODS
from benchmark.errors import InputError
from benchmark.models.split import split_at
from methods.ablations.rr_clarc import _Loss, rr_clarc_unfrozen
from methods.rr_clarc import annotated, rr_clarc

MakeBiasProblem = Callable[..., BiasProblem]
READS = Access(train="xy", concept="xa")
COUNTED = ("running_mean", "running_var", "num_batches_tracked")


def changed(
    make: MakeBiasProblem, method: Callable[..., nn.Module], **parameters: object
) -> tuple[set[str], dict[str, Tensor]]:
    """Names of parameters and statistics that training changed, and what they are after it."""
    problem = make("deep", READS)
    torch.manual_seed(3)  # dropout
    before = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    after = method(problem, **{"lr": 0.02, "epochs": 2, "batch_size": 30, **parameters}).state_dict()
    assert not any(module.training for module in problem.model.modules())
    assert all(parameter.requires_grad for parameter in problem.model.parameters())
    return {name for name in before if not torch.equal(before[name], after[name])}, after


def test_linear_is_the_paper_s_to_the_bit(make_bias_problem: MakeBiasProblem) -> None:
    _, expected = changed(make_bias_problem, rr_clarc)
    names, found = changed(make_bias_problem, rr_clarc_unfrozen, depth="linear")
    assert {name.split(".")[0] for name in names} == {"10", "13"}
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_of_the_head_everything_trains_and_nothing_before_it(make_bias_problem: MakeBiasProblem) -> None:
    names, found = changed(make_bias_problem, rr_clarc_unfrozen, depth="head")
    behind = {name for name in found if int(name.split(".")[0]) > 4 and not name.endswith(COUNTED)}
    assert names == behind
    assert {"5.weight", "7.weight", "10.weight", "13.bias"} <= behind


def test_all_is_everything_but_what_batch_norm_counted(make_bias_problem: MakeBiasProblem) -> None:
    names, found = changed(make_bias_problem, rr_clarc_unfrozen, depth="all")
    assert names == {name for name in found if not name.endswith(COUNTED)}


def test_where_only_a_linear_layer_follows_the_head_is_that(make_bias_problem: MakeBiasProblem) -> None:
    found = [
        rr_clarc_unfrozen(
            make_bias_problem("linear", READS), depth=depth, lr=0.02, epochs=2, batch_size=30
        ).state_dict()
        for depth in ("linear", "head")
    ]
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("depth", ["head", "all"])
def test_a_large_penalty_takes_the_gradient_along_the_vector(depth: str, make_bias_problem: MakeBiasProblem) -> None:
    def along(lam: float) -> float:
        problem = make_bias_problem("linear", READS)
        model = rr_clarc_unfrozen(problem, depth=depth, lam=lam, lr=0.01, epochs=30, batch_size=30)
        body, head = split_at(model, "4")
        a = body(problem.train.everything().x).detach().requires_grad_()
        h = model.concept.h  # type: ignore[union-attr]
        return sum(
            float((torch.autograd.grad(head(a)[:, k].sum(), a)[0].mean((2, 3)) @ h).abs().mean()) for k in range(3)
        )

    assert along(1e4) < 0.2 * along(0.0)


def test_the_loss_is_cross_entropy_and_the_weighed_penalty(make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem("linear", READS)
    body, head = split_at(problem.model.eval(), "4")
    batch = problem.train.everything()
    a, y = body(batch.x).detach().requires_grad_(), batch.y
    h = F.normalize(torch.arange(1.0, 9), dim=0)
    found = _Loss(problem, head, h, 50.0)(a, y)
    logits = head(a)
    weighed = annotated(logits, y, "signs", 1, problem.generator("annotation"))
    gradient = torch.autograd.grad(weighed.sum(), a)[0].mean((2, 3))
    expected = F.cross_entropy(logits, y, class_weights(problem)) + 50 * (gradient @ h).square().mean()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"depth": "heads"}, "unknown depth 'heads'; did you mean head"),
        ({"lam": -1.0, "depth": "all"}, "lam must be at least 0, not -1.0"),
    ],
)
def test_what_it_cannot_be(parameters: dict[str, object], message: str, make_bias_problem: MakeBiasProblem) -> None:
    with pytest.raises(InputError, match=message):
        rr_clarc_unfrozen(make_bias_problem(), **parameters)


def test_it_is_an_ablation_that_reads_what_the_method_reads() -> None:
    own, parent = (METHODS.get(name, "bias-correction") for name in ("rr-clarc+unfrozen", "rr-clarc"))
    assert own.kind == "ablation"
    assert own.access == parent.access
