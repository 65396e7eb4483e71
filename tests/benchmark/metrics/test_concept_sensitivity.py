"""Derivatives along a concept in closed form, the shares that are positive, and what rounding must not decide."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmark.metrics.concept_sensitivity import (
    ZERO,
    directional,
    sensitivity,
    sensitivity_positions,
    tcav,
    tcav_positions,
)

N, C, SIDE, K = 7, 5, 3, 4
POSITIONS = SIDE * SIDE


class Head(nn.Module):
    """Sums over positions, with a ReLU before or without, then a linear layer."""

    def __init__(self, weight: Tensor, rectify: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(weight.shape[1], len(weight))
        with torch.no_grad():
            self.linear.weight.copy_(weight)
        self.rectify = rectify
        self.batches: list[int] = []

    def forward(self, a: Tensor) -> Tensor:
        self.batches.append(len(a))
        out: Tensor = self.linear((a.relu() if self.rectify else a).sum((2, 3)))
        return out


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(h: Tensor) -> Tensor:
    return h / h.norm()


A, W, H = normal(N, C, SIDE, SIDE), normal(K, C, seed=1), unit(normal(C, seed=2))


# Derivatives.


@pytest.mark.parametrize("target", range(K))
def test_under_a_linear_head_the_derivative_is_the_same_everywhere(target: int) -> None:
    found = directional(Head(W, rectify=False), A, H, target)
    assert found.shape == (N, POSITIONS)
    assert found.device.type == "cpu"
    assert torch.allclose(found, (W[target] @ H).double().expand(N, POSITIONS), rtol=1e-5)
    assert len(found.unique()) == 1


@pytest.mark.parametrize("target", range(K))
def test_a_relu_passes_the_channels_that_are_on(target: int) -> None:
    """W_c . (h * 1[a > 0]) at each position."""
    found = directional(Head(W, rectify=True), A, H, target)
    expected = torch.einsum("ncp,c->np", (A.flatten(2) > 0).double(), (W[target] * H).double())
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert 0 < int((found > 0).sum()) < N * POSITIONS
    off = directional(Head(W, rectify=True), -A.abs(), H, target)
    assert int(off.count_nonzero()) == 0


def test_positions_are_rows_of_the_activations_in_order() -> None:
    """Only the channels of one position are on."""
    a = torch.full((1, C, 2, 3), -1.0)
    a[:, :, 1, 2] = 1.0
    assert directional(Head(W, rectify=True), a, H, 0)[0].nonzero().tolist() == [[5]]


def test_a_gradient_is_the_samples_own() -> None:
    whole = directional(Head(W, rectify=True), A, H, 1)
    for n in range(N):
        assert torch.equal(directional(Head(W, rectify=True), A[n : n + 1], H, 1)[0], whole[n])


def test_batches_change_nothing() -> None:
    head = Head(W, rectify=True)
    assert torch.equal(directional(head, A, H, 2, batch=3), directional(head, A, H, 2))
    assert head.batches == [3, 3, 1, 7]


def test_the_network_and_the_activations_are_left_as_they_are() -> None:
    """Gradients are asked for, whether they are recorded around this or not."""
    head, a = Head(W, rectify=True), A.clone()
    with torch.no_grad():
        found = directional(head, a, H, 0)
    assert found.count_nonzero()
    assert torch.equal(a, A)
    assert not a.requires_grad
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in head.parameters())


def test_what_is_only_rounding_is_zero() -> None:
    """The rows are orthogonal to h but for single precision; with h added a little of it is left."""
    across = torch.stack([w - (w.double() @ H.double()).float() * H for w in W])
    assert float((across @ H).abs().max()) > 0
    for target in range(K):
        assert int(directional(Head(across, rectify=False), A, H, target).count_nonzero()) == 0
        slope = 10 * ZERO * float(across[target].norm())
        found = directional(Head(across + slope * H, rectify=False), A, H, target)
        assert bool((found > 0).all())
        assert torch.allclose(found, torch.tensor(slope, dtype=torch.float64), rtol=0.05)
        found = directional(Head(across - slope * H, rectify=False), A, H, target)
        assert bool((found < 0).all())


def test_how_long_gradient_and_direction_are_does_not_matter_to_what_is_zero() -> None:
    for scale in (1e-12, 1e12):
        found = directional(Head(scale * W, rectify=False), A, H, 0)
        assert torch.allclose(found, (scale * W[0] @ H).double().expand(N, POSITIONS), rtol=1e-4, atol=0.0)
        longer = directional(Head(W, rectify=False), A, scale * H, 0)
        assert torch.allclose(longer, (scale * W[0] @ H).double().expand(N, POSITIONS), rtol=1e-4, atol=0.0)


# Shares.


@pytest.mark.parametrize(
    ("rows", "share", "n"),
    [
        ([[1.0, 2.0], [0.5, -0.1]], 1.0, 2),
        ([[-1.0, 2.0], [-0.5, -0.1]], 0.5, 2),
        ([[-1.0, 0.5], [-0.5, -0.1]], 0.0, 2),
        ([[3.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [2.0, 0.0]], 2 / 3, 3),
        ([[0.0, 0.0], [1.0, -1.0]], None, 0),
        ([[0.0, 0.0], [1.0, -1.0], [0.0, 1e-9]], 1.0, 1),
    ],
)
def test_the_share_of_samples(rows: list[list[float]], share: float | None, n: int) -> None:
    found = tcav(torch.tensor(rows, dtype=torch.float64))
    assert found == (pytest.approx(share), n)


@pytest.mark.parametrize(
    ("rows", "share", "n"),
    [
        ([[1.0, 2.0], [0.5, 0.1]], 1.0, 4),
        ([[-1.0, 2.0], [-0.5, -0.1]], 0.25, 4),
        ([[-1.0, 0.0], [-0.5, -0.1]], 0.0, 3),
        ([[0.0, 0.0], [0.0, 0.0]], None, 0),
        ([[1.0, -1.0], [0.0, 0.0]], 0.5, 2),
    ],
)
def test_the_share_of_positions(rows: list[list[float]], share: float | None, n: int) -> None:
    assert tcav_positions(torch.tensor(rows, dtype=torch.float64)) == (pytest.approx(share), n)


def test_a_sample_whose_positions_cancel_but_for_rounding_does_not_count() -> None:
    tenths = torch.tensor([[0.1, 0.2, -0.3]], dtype=torch.float64)
    assert float(tenths.sum()) > 0
    assert tcav(tenths) == (None, 0)
    assert tcav(-tenths) == (None, 0)
    assert tcav(torch.tensor([[0.1, 0.2, -0.2999]], dtype=torch.float64)) == (1.0, 1)


def test_samples_and_positions_may_disagree() -> None:
    """One strong position outweighs many weak ones of the other sign."""
    derivatives = torch.tensor([[5.0, -1.0, -1.0, -1.0]] * 3 + [[-5.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    assert tcav(derivatives) == (0.75, 4)
    assert tcav_positions(derivatives) == (0.375, 16)


def test_linear_heads_have_extreme_shares() -> None:
    for target in range(K):
        derivatives = directional(Head(W, rectify=False), A, H, target)
        expected = float(W[target] @ H > 0)
        assert tcav(derivatives) == (expected, N)
        assert tcav_positions(derivatives) == (expected, N * POSITIONS)


# Sensitivity.


def test_sensitivity_by_hand() -> None:
    derivatives = torch.tensor([[1.0, 2.0], [-4.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    assert sensitivity(derivatives) == (pytest.approx((3 + 3 + 0) / 3), 3)
    assert sensitivity(torch.zeros(5, 2, dtype=torch.float64)) == (0.0, 5)


def test_sensitivity_is_what_a_unit_s_shift_at_all_positions_does_to_a_linear_logit() -> None:
    head = Head(W, rectify=False)
    with torch.no_grad():
        moved = head(A + H[None, :, None, None])[:, 3] - head(A)[:, 3]
    found = sensitivity(directional(head, A, H, 3))
    assert found.value == pytest.approx(float(moved.abs().mean()), rel=1e-4)
    assert found.value == pytest.approx(POSITIONS * abs(float(W[3] @ H)), rel=1e-4)


def test_sensitivity_of_positions_by_hand() -> None:
    derivatives = torch.tensor([[1.0, 2.0], [-4.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    assert sensitivity_positions(derivatives).value == pytest.approx(8 / 6)
    assert sensitivity_positions(torch.zeros(5, 2, dtype=torch.float64)).value == 0.0


def test_the_mean_over_positions_is_the_sum_over_their_number_where_signs_agree() -> None:
    """The mean is what the paper's code has."""
    derivatives = directional(Head(W, rectify=False), A, H, 0)
    assert (sensitivity(derivatives).value or 0) / (sensitivity_positions(derivatives).value or 1) == pytest.approx(9)
    mixed = directional(Head(W, rectify=True), A, H, 0)
    assert (mixed > 0).any()
    assert (mixed < 0).any()
    assert (sensitivity(mixed).value or 0) < 0.95 * POSITIONS * (sensitivity_positions(mixed).value or 0)
    opposed = torch.tensor([[2.0, -2.0]])
    assert (sensitivity(opposed).value, sensitivity_positions(opposed).value) == (0.0, 2.0)


# What is not a number.


def test_a_head_that_is_not_finite_is_not_insensitive() -> None:
    weight = W.clone()
    weight[0, 0] = float("nan")
    derivatives = directional(Head(weight, rectify=False), A, H, 0)
    assert not derivatives.isfinite().any()
    assert sensitivity(derivatives).value is None or sensitivity(derivatives).value != 0
