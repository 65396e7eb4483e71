"""What is collected is exactly what each weight sees."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import compat
from benchmark.models.layer_inputs import (
    InputMatrix,
    attended,
    input_matrices,
    matrix_weight,
    patches,
    sample_positions,
    weight_matrix,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def collected(model: nn.Module, batches: Iterable[Tensor], total: int, **options: int) -> dict[str, InputMatrix]:
    settings = {"max_rows": 10**6, **options}
    seed = settings.pop("seed", 0)
    return input_matrices(model.eval(), batches, total, generator=seeded(seed), dtype=torch.float64, **settings)


def unfolded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """All patches by F.unfold, reordered to (row, column, channel): (groups, n, d)."""
    kernel = layer.kernel_size
    padding = layer.padding
    if isinstance(padding, str):
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(layer.dilation, kernel, strict=True)]
        x = F.pad(x, [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2])
        padding = 0
    columns = F.unfold(x, kernel, dilation=layer.dilation, padding=padding, stride=layer.stride)
    taps = kernel[0] * kernel[1]
    rows = columns.view(len(x), layer.groups, -1, taps, columns.shape[2]).permute(1, 0, 4, 3, 2)
    return rows.reshape(layer.groups, len(x) * columns.shape[2], -1)


CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": (3, 2), "padding": (2, 1), "stride": (1, 3), "dilation": (2, 1)},
    {"kernel_size": 1, "stride": 2},
    {"kernel_size": 4, "padding": "same", "dilation": (1, 2)},
    {"kernel_size": 3, "padding": "valid"},
    {"kernel_size": 3, "padding": 1, "groups": 2},
    {"kernel_size": 3, "padding": 1, "groups": 4, "stride": 2},
]


@pytest.mark.filterwarnings("ignore:Using padding=")
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_patches_are_those_of_unfold_and_of_the_layer(options: dict, channels_last: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, **options, dtype=torch.float64)
    x = torch.randn(3, 4, 9, 8, dtype=torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    output = layer(x)
    height, width = output.shape[2:]
    every = torch.cartesian_prod(torch.arange(3), torch.arange(height), torch.arange(width)).T
    rows = patches(layer, x, every)
    torch.testing.assert_close(rows, unfolded(layer, x), rtol=0, atol=0)
    by_matrix = rows @ weight_matrix(layer.weight, layer.groups).mT  # (groups, n, out / groups)
    by_matrix = by_matrix.permute(1, 0, 2).reshape(3, height, width, 8).permute(0, 3, 1, 2)
    torch.testing.assert_close(by_matrix + layer.bias[:, None, None], output)
    gram = collected(layer, [x], 3)["weight"].gram
    torch.testing.assert_close(gram, rows.mT @ rows if rows.shape[1] >= rows.shape[2] else rows @ rows.mT)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes(mode: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, padding=1, padding_mode=mode)
    x = torch.randn(2, 2, 5, 5)
    every = torch.cartesian_prod(torch.arange(2), torch.arange(5), torch.arange(5)).T
    product = patches(layer, x, every)[0] @ weight_matrix(layer.weight)[0].T + layer.bias
    torch.testing.assert_close(product.view(2, 5, 5, 3).permute(0, 3, 1, 2), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("stride", "side"), [(1, 7), (2, 4)])
def test_window_is_one_block_of_patches_that_the_layer_sees(stride: int, side: int) -> None:
    layer = nn.Conv2d(1, 200, 3, stride=stride, padding=1, dtype=torch.float64)
    x = torch.arange(1.0, 20 * 20 + 1, dtype=torch.float64).view(1, 1, 20, 20).repeat(2, 1, 1, 1)
    all_rows = unfolded(layer, x)[0]
    places = set()
    for seed in range(6):
        matrix = input_matrices(layer, x.split(1), 2, max_rows=999, window=3, generator=seeded(seed))["weight"]
        assert matrix.n == 2 * side * side
        width = (20 + 1) // stride if stride == 2 else 20
        candidates = [(row, column) for row in range(width - side + 1) for column in range(width - side + 1)]
        maps = all_rows.view(2, width, width, -1)
        for row, column in candidates:
            block = maps[:, row : row + side, column : column + side].reshape(-1, 9)
            if torch.allclose((block.T @ block).float(), matrix.gram[0].float(), rtol=1e-6):
                places.add((row, column))
    assert len(places) > 1  # drawn by the generator; the same place in both batches, or no block would agree


def test_window_leaves_maps_alone_that_are_no_wider() -> None:
    layer = nn.Conv2d(1, 2, 3, padding=1)
    x = torch.randn(2, 1, 9, 9)
    assert collected(layer, [x], 2, window=3)["weight"].n == 2 * 81


def test_sampled_positions_are_distinct_sorted_and_uniform() -> None:
    for n, k in ((10, 4), (100, 3), (100000, 500), (5, 9)):
        chosen = sample_positions(n, k, seeded())
        assert len(chosen) == min(n, k)
        assert (chosen.diff() > 0).all()
        assert chosen.min() >= 0
        assert chosen.max() < n
    generator = seeded()
    for n, k in ((6, 3), (20, 2)):
        counts = sum(torch.bincount(sample_positions(n, k, generator), minlength=n) for _ in range(3000))
        assert ((counts / 3000 - k / n).abs() < 0.04).all()


def test_batches_share_the_bound_and_add_up() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5)).double()
    x = torch.randn(50, 1, 8, 8, dtype=torch.float64)
    whole, parts = collected(model, [x], 50), collected(model, x.split(7), 50)
    for name in ("0.weight", "2.weight"):
        torch.testing.assert_close(whole[name].gram, parts[name].gram)
    assert whole["0.weight"].rows is None
    assert whole["2.weight"].rows is not None  # 50 rows of 144 coordinates
    assert collected(model, x.split(7), 50, max_rows=333)["0.weight"].n == 333
    assert collected(model, x.split(7), 50, max_rows=333)["2.weight"].n == 50


def test_rows_become_a_gram_matrix_once_there_are_enough() -> None:
    rows = torch.randn(1, 7, 4, dtype=torch.float64)
    matrix = InputMatrix()
    for part in rows.split(3, 1):
        matrix.add(part)
    assert (matrix.n, matrix.rows, matrix.groups) == (7, None, 1)
    torch.testing.assert_close(matrix.gram, rows.mT @ rows)
    with pytest.raises(ValueError, match="nothing"):
        _ = InputMatrix().gram


def test_large_gram_matrices_are_those_of_a_matmul() -> None:
    rows = torch.randn(2, 700, 611)
    matrix = InputMatrix()
    matrix.add(rows)
    torch.testing.assert_close(matrix.gram, rows.mT @ rows, rtol=1e-4, atol=1e-3)
    assert torch.equal(matrix.gram.tril(-600), matrix.gram.mT.tril(-600))


def test_weights_survive_the_way_to_a_matrix_and_back() -> None:
    for weight, groups in ((torch.randn(6, 2, 3, 2), 3), (torch.randn(6, 4), 1), (torch.randn(6, 4), 3)):
        assert torch.equal(matrix_weight(weight_matrix(weight, groups), weight), weight)


class Twice(nn.Module):
    """A layer called twice, one that shares its weight, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.unused, self.tied = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
        self.tied.weight = self.shared.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.tied(self.shared(self.shared(x)))


def test_repeated_calls_and_tied_weights_add_up() -> None:
    model = Twice().double()
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    found = collected(model, [x], 5)
    seen = torch.cat([x, model.shared(x), model.shared(model.shared(x))]).reshape(-1, 3)
    assert list(found) == ["shared.weight"]
    torch.testing.assert_close(found["shared.weight"].gram[0], seen.T @ seen)


def test_computed_weights_are_refused_and_hooks_removed() -> None:
    model = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="computed"):
        collected(model, [torch.randn(5, 3)], 5)
    assert not model._forward_hooks
    assert torch.backends.mha.get_fastpath_enabled()


def spy_on_linear(monkeypatch: pytest.MonkeyPatch, weight: Tensor) -> list[Tensor]:
    """What really reaches a weight that a library uses through the function and not through a module."""
    seen: list[Tensor] = []
    plain = F.linear

    def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        if w is weight:
            seen.append(x)
        return plain(x, w, b)

    monkeypatch.setattr(F, "linear", linear)
    return seen


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("cross", ["", "same length", "other length", "other width"])
def test_attention_inputs(monkeypatch: pytest.MonkeyPatch, batch_first: bool, cross: str) -> None:
    torch.manual_seed(0)
    width = 5 if cross == "other width" else 8
    block = nn.MultiheadAttention(8, 2, batch_first=batch_first, kdim=width, vdim=width, dtype=torch.float64).eval()
    nn.init.normal_(block.out_proj.bias)
    query = torch.randn(4, 6, 8, dtype=torch.float64)
    length = (4, 3) if cross in ("other length", "other width") and batch_first else (4, 6)
    other = torch.randn(*length, width, dtype=torch.float64) if cross else query
    call = (query, other, other)
    with torch.no_grad():
        output = block(*call, need_weights=False)[0]
        out_input = attended(block, call, {})
        torch.testing.assert_close(block.out_proj(out_input), output)
    seen = spy_on_linear(monkeypatch, block.out_proj.weight)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = block

        def forward(self, x: Tensor) -> Tensor:
            return self.block(x, key=x if other is query else other, value=x if other is query else other)[0]

    found = collected(Model(), [query], 4)
    truth = seen[0].reshape(-1, 8)
    torch.testing.assert_close(found["block.out_proj.weight"].gram[0], truth.T @ truth)
    flat = [x.reshape(-1, x.shape[-1]) for x in call]
    grams = [x.T @ x for x in flat]
    if cross == "other width":
        for letter, gram in zip("qkv", grams, strict=True):
            torch.testing.assert_close(found[f"block.{letter}_proj_weight"].gram[0], gram)
    else:
        expected = torch.stack(grams if cross else grams[:1])
        torch.testing.assert_close(found["block.in_proj_weight"].gram, expected)


def test_transformer_layers_are_seen_despite_the_fused_kernel() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dtype=torch.float64)
    found = collected(nn.TransformerEncoder(layer, 2), [torch.randn(3, 5, 8, dtype=torch.float64)], 3)
    assert len(found) == 2 * 4


def test_tokens_are_sampled_beyond_the_bound() -> None:
    vit = compat.torchvision().models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4)
    found = collected(vit, [torch.randn(6, 3, 32, 32)], 6, max_rows=50)
    assert found["encoder.layers.encoder_layer_0.self_attention.in_proj_weight"].n == 50  # of 6 * 17
    assert found["heads.head.weight"].n == 6
    assert found["conv_proj.weight"].n == 50
    assert len(found) == 1 + 2 * 4 + 1
