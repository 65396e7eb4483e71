"""What enters every weight of a network: patches of convolutions, vectors of linear layers, tokens of attention.

A weight is identified by its parameter name and seen as matrices of shape (groups, out / groups, d); what enters it is
an :class:`InputMatrix` of rows with the same d coordinates, in the same order. Groups are those of a grouped
convolution, or query, key and value of a fused projection where the three differ; otherwise there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class InputMatrix:
    """The inputs of one weight, one a row: A^T of the papers that write them as columns.

    Kept as ``rows`` (groups, n, d) while n < d, and as their ``gram`` (groups, d, d) from n >= d on, where ``rows`` is
    None: whatever is computed from the inputs then costs no more than the smaller of the two sides.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.n = 0
        self.rows: Tensor | None = None
        self._gram: Tensor | None = None
        self._dtype = dtype

    def add(self, rows: Tensor) -> None:
        """Further ``rows`` (groups, m, d), in at least the matrix's own precision."""
        rows = rows.to(torch.promote_types(rows.dtype, self._dtype))
        if self.rows is not None:  # few so far: not summed yet
            rows, self._gram = torch.cat([self.rows, rows], 1), None
        self.n = self.n + rows.shape[1] if self.rows is None else rows.shape[1]
        if self.n < rows.shape[2]:
            self.rows = rows.clone()
            return
        self.rows = None
        gram = products(rows)
        self._gram = gram if self._gram is None else self._gram.add_(gram)

    @property
    def gram(self) -> Tensor:
        """Products of coordinates (groups, d, d), or of rows (groups, n, n) while ``rows`` are kept."""
        if self._gram is None:
            if self.rows is None:
                raise ValueError("nothing has entered this weight")
            self._gram = products(self.rows.mT)
        return self._gram

    @property
    def groups(self) -> int:
        return len(self.gram if self.rows is None else self.rows)

    @property
    def dtype(self) -> torch.dtype:
        return (self.gram if self.rows is None else self.rows).dtype


def products(rows: Tensor) -> Tensor:
    """``rows``^T ``rows`` (groups, d, d); of mirrored blocks one is computed, in 0.6 of a matmul's time."""
    d = rows.shape[2]
    block = max(96, -(-d // 6))
    gram = rows.new_empty(len(rows), d, d)
    for start in range(0, d, block):
        part = rows[:, :, start:].mT @ rows[:, :, start : start + block]
        gram[:, start:, start : start + block] = part
        gram[:, start : start + block, start:] = part.mT
    return gram


def weight_matrix(weight: Tensor, groups: int = 1) -> Tensor:
    """A weight as (groups, out / groups, d); of convolutions, d runs over row, column, channel of the kernel."""
    flat = weight.permute(0, 2, 3, 1) if weight.dim() == 4 else weight
    return flat.reshape(groups, len(weight) // groups, -1)


def weight_matrices(model: nn.Module, inputs: Mapping[str, InputMatrix]) -> dict[str, Tensor]:
    """The weights that ``inputs`` enter as matrices, with the groups and in the precision of their inputs."""
    layers = {name: weight_matrix(model.get_parameter(name), matrix.groups) for name, matrix in inputs.items()}
    return {name: weight.to(inputs[name].dtype) for name, weight in layers.items()}


def matrix_weight(matrix: Tensor, like: Tensor) -> Tensor:
    """The inverse of :func:`weight_matrix`: shape and type of ``like``, channels-last memory for convolutions."""
    matrix = matrix.to(like.dtype)
    if like.dim() != 4:
        return matrix.reshape(like.shape)
    out, channels, height, width = like.shape
    return matrix.reshape(out, height, width, channels).permute(0, 3, 1, 2)


def sample_positions(n: int, k: int, generator: torch.Generator) -> Tensor:
    """``k`` distinct numbers of range(n) in ascending order, every subset equally likely; all of them if k >= n.

    Where n is large, what is drawn with replacement is made distinct and thinned to k, because a permutation of all
    positions of all feature maps costs more than the patches that it selects.
    """
    if k >= n:
        return torch.arange(n)
    if n < 4 * k:
        return torch.randperm(n, generator=generator)[:k].sort().values
    chosen = torch.empty(0, dtype=torch.int64)
    while len(chosen) < k:
        chosen = torch.cat([chosen, torch.randint(n, (k + k // 4,), generator=generator)]).unique()
    return chosen[torch.randperm(len(chosen), generator=generator)[:k]].sort().values


def pad_as(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """``x`` padded as the layer pads it."""
    if layer.padding == "valid":
        sides = [0, 0, 0, 0]
    elif isinstance(layer.padding, str):  # "same": the odd one of the zeros goes to the right
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        sides = [side for total in reversed(totals) for side in (total // 2, total - total // 2)]
    else:
        sides = [side for side in reversed(layer.padding) for _ in range(2)]
    if not any(sides):
        return x
    return F.pad(x, sides, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)


class _Collector:
    """Forward hooks that add what enters each weight to its input matrix."""

    def __init__(self, model: nn.Module, window: int, generator: torch.Generator, dtype: torch.dtype) -> None:
        self.matrices: dict[str, InputMatrix] = {}
        self.quota = 0  # rows that one call of a layer may add
        self._window = window
        self._corners: dict[tuple[str, int, int], list[int]] = {}
        self._generator = generator
        self._dtype = dtype
        self._names = {id(weight): name for name, weight in model.named_parameters()}

    def _name(self, weight: Tensor) -> str:
        if id(weight) not in self._names:
            raise ValueError(f"a weight of shape {tuple(weight.shape)} is computed, not a parameter of the model")
        return self._names[id(weight)]

    def _add(self, weight: Tensor, rows: Tensor) -> None:
        """By parameter and not by module, so that shared weights and repeated calls accumulate."""
        self.matrices.setdefault(self._name(weight), InputMatrix(self._dtype)).add(rows)

    def _sample(self, n: int, device: torch.device) -> Tensor:
        return sample_positions(n, self.quota, self._generator).to(device)

    def _tokens(self, *inputs: Tensor) -> Tensor:
        """Vectors of all leading dimensions, sampled: (inputs, n, d); rows of zeros level different lengths."""
        flat = [x.reshape(-1, x.shape[-1]) for x in inputs]
        flat = [x if len(x) <= self.quota else x[self._sample(len(x), x.device)] for x in flat]
        return flat[0][None] if len(flat) == 1 else nn.utils.rnn.pad_sequence(flat, batch_first=True)

    def linear(self, layer: nn.Linear, args: Any, kwargs: Any, output: Tensor) -> None:
        self._add(layer.weight, self._tokens(args[0] if args else kwargs["input"]))

    def attention(self, block: nn.MultiheadAttention, args: Any, kwargs: Any, output: Any) -> None:
        named = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        inputs = [named["query"], named["key"], named["value"]]
        if block.in_proj_weight is None:
            weights = (block.q_proj_weight, block.k_proj_weight, block.v_proj_weight)
            for weight, x in zip(weights, inputs, strict=True):
                self._add(weight, self._tokens(x))
        else:
            shared = inputs[0] is inputs[1] and inputs[1] is inputs[2]
            self._add(block.in_proj_weight, self._tokens(*inputs[: 1 if shared else 3]))
        self._add(block.out_proj.weight, self._tokens(attended(block, args, kwargs)))

    def convolution(self, layer: nn.Conv2d, args: Any, kwargs: Any, output: Tensor) -> None:
        x = args[0] if args else kwargs["input"]
        rows, columns = output.shape[2:]
        corner = [0, 0]
        if self._window and x.shape[3] > self._window * layer.kernel_size[1]:
            cut = [min(n, _inside(layer, i, self._window)) for i, n in enumerate((rows, columns))]
            key = (self._name(layer.weight), rows, columns)
            if key not in self._corners:
                free = (rows - cut[0], columns - cut[1])
                self._corners[key] = [int(torch.randint(n + 1, (), generator=self._generator)) for n in free]
            corner, (rows, columns) = self._corners[key], cut
        index = self._sample(len(x) * rows * columns, x.device)
        image, place = index // (rows * columns), index % (rows * columns)
        where = torch.stack([image, place // columns + corner[0], place % columns + corner[1]])
        self._add(layer.weight, patches(layer, x, where))


def _inside(layer: nn.Conv2d, axis: int, window: int) -> int:
    """Positions of the kernel within a window of ``window`` kernels along one axis, at least one."""
    kernel, stride, dilation = layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis]
    return max((window * kernel - dilation * (kernel - 1) - 1) // stride + 1, 1)


def patches(layer: nn.Conv2d, x: Tensor, where: Tensor) -> Tensor:
    """The patches that ``layer`` sees at ``where`` (image, output row, output column; 3 x n): (groups, n, d).

    Only these are read from the padded input (B, C, H, W); the others are never unfolded.
    """
    padded = pad_as(layer, x)
    height, width = padded.shape[2:]
    if int(where[1].max()) > (height - layer.dilation[0] * (layer.kernel_size[0] - 1) - 1) // layer.stride[0]:
        raise ValueError(f"{type(layer).__name__} pads its input within its forward pass: its patches are not known")
    pixels = padded.permute(0, 2, 3, 1).reshape(-1, padded.shape[1])
    first = (where[0] * height + where[1] * layer.stride[0]) * width + where[2] * layer.stride[1]
    down, right = (torch.arange(k, device=x.device) * d for k, d in zip(layer.kernel_size, layer.dilation, strict=True))
    taps = (down[:, None] * width + right).flatten()
    rows = pixels.index_select(0, (first[:, None] + taps).flatten())
    rows = rows.view(len(first), len(taps), layer.groups, -1).permute(2, 0, 1, 3)
    return rows.reshape(layer.groups, len(first), -1)


def attended(block: nn.MultiheadAttention, args: Any, kwargs: Any) -> Tensor:
    """What enters the output projection of an attention block called with ``args`` and ``kwargs``.

    The block uses that projection's weight without calling it, so no hook on it ever fires; but what the block yields
    with the identity in its place is just its input.
    """
    identity = nn.Linear(block.embed_dim, block.embed_dim).to(block.out_proj.weight)
    with torch.no_grad():
        nn.init.eye_(identity.weight)
        nn.init.zeros_(identity.bias)
    projection = block.out_proj
    block.out_proj = identity  # type: ignore[assignment]
    try:
        return block.forward(*args, **kwargs)[0]  # not block(...): hooks would fire again
    finally:
        block.out_proj = projection


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Without the fused kernels that run whole transformer layers in evaluation mode and call no submodule."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@torch.no_grad()
def input_matrices(
    model: nn.Module,
    batches: Iterable[Tensor],
    total: int,
    max_rows: int,
    generator: torch.Generator,
    *,
    window: int = 0,
    dtype: torch.dtype = torch.float32,
) -> dict[str, InputMatrix]:
    """Input matrices by parameter name, of every convolution, linear layer and attention block that is called.

    One forward pass over ``batches``, which hold ``total`` samples together; ``model`` runs in the mode in which it
    is. ``max_rows`` bounds what a layer keeps of the whole set, each batch giving its share. ``window`` > 0 keeps, of
    maps wider than ``window`` kernels, the patches in one random window of that size; its place is the same in all
    images, is drawn anew for every layer, and lies on the layer's own stride after padding. ``dtype`` is the least
    precision of the matrices. Raises ValueError for weights that are no parameters (parametrised layers).
    """
    collect = _Collector(model, window, generator, dtype)
    hooks: dict[type[nn.Module], Callable[..., None]] = {
        nn.Conv2d: collect.convolution,
        nn.Linear: collect.linear,
        nn.MultiheadAttention: collect.attention,
    }
    handles = [
        module.register_forward_hook(hook, with_kwargs=True)
        for module in model.modules()
        for kind, hook in hooks.items()
        if isinstance(module, kind)
    ]
    done = 0
    try:
        with _plain_attention():
            for x in batches:
                collect.quota = max_rows * (done + len(x)) // total - max_rows * done // total
                done += len(x)
                model(x)
    finally:
        for handle in handles:
            handle.remove()
    return collect.matrices
