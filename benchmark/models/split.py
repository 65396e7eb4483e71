"""A classifier in two parts at a named layer: f = head after body, which share its parameters."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from torch import Tensor, fx, nn

from benchmark.errors import InputError, unknown


class Split(NamedTuple):
    """``body``: inputs (B, ...) -> activations a(x), (B, C, H, W); ``head``: activations -> logits (B, k)."""

    body: nn.Module
    head: nn.Module


class ShiftedLayer(nn.Module):
    """A layer whose activations are moved along one direction before they go on: a' = a + gamma(a) h.

    gamma(a) is what it takes for maxpool(a') . h to be ``target`` (arXiv:2308.09437, the ClArC family): the shift is
    the same at all positions and h (C,) has unit norm, so that it is target - maxpool(a) . h.
    """

    h: Tensor

    def __init__(self, layer: nn.Module, h: Tensor, target: float) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("h", h.detach().clone())
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        return shifted(self.layer(x), self.h, self.target)


def shifted(a: Tensor, h: Tensor, target: float) -> Tensor:
    """a (B, C, H, W), moved along h (C,) at all positions alike until maxpool(a') . h = ``target``."""
    gamma = target - a.amax((2, 3)) @ h
    return a + gamma[:, None, None, None] * h[None, :, None, None]


def named_layer(model: nn.Module, name: str) -> nn.Module:
    """The module called ``name``; InputError that names the near misses."""
    found: dict[str, nn.Module] = dict(model.named_modules())
    if name not in found or not name:
        raise unknown("layer", name, (n for n in found if n))
    return found[name]


def rectify_again(model: nn.Module, name: str) -> str:
    """Put another ReLU behind the layer called ``name``, whose output comes out of one; its name from then on.

    No value changes. What is done to the activations is clipped at 0 as it would be before the first ReLU, and where
    one is 0 no gradient passes, as in RR-ClArC's code.
    """
    model.set_submodule(name, nn.Sequential(OrderedDict(layer=named_layer(model, name), again=nn.ReLU())))
    return f"{name}.layer"


def shift_layer(model: nn.Module, name: str, h: Tensor, target: float) -> None:
    """Put a :class:`ShiftedLayer` in the place of the layer called ``name``; in place."""
    model.set_submodule(name, ShiftedLayer(named_layer(model, name), h, target))


class _Tracer(fx.Tracer):
    """Traces with one module as a whole; of a shifted layer that is the layer inside."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m is self.layer or super().is_leaf_module(m, module_qualified_name)


def split_at(model: nn.Module, name: str, *, behind_shift: bool = False) -> Split:
    """``model`` in two parts at the output of the module called ``name``; its mode is taken as it is now.

    The parts hold the model's own modules: to train the head is to train the model. A shift of this layer belongs to
    the head, with ``behind_shift`` to the body. InputError where there is no such layer, where the model cannot be
    traced (torch.fx), or where something else than the layer's output leads from the input to the logits.
    """
    layer = named_layer(model, name)
    if isinstance(layer, ShiftedLayer) and not behind_shift:
        name, layer = f"{name}.layer", layer.layer
    try:
        graph = _Tracer(layer).trace(model)
    except Exception as error:  # tracing runs the model's own code, which may raise anything
        raise InputError(f"layer {name!r}: the network cannot be taken apart there: {error}") from error
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == name]
    if len(calls) != 1:
        raise InputError(f"layer {name!r} is passed {len(calls)} times on the way to the logits, not once")
    return Split(_body(model, graph, calls[0]), _head(model, graph, calls[0]))


def _body(model: nn.Module, graph: fx.Graph, layer: fx.Node) -> nn.Module:
    own = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        copies[node] = own.node_copy(node, lambda n: copies[n])
        if node is layer:
            break
    own.output(copies[layer])
    return fx.GraphModule(model, own)


def _head(model: nn.Module, graph: fx.Graph, layer: fx.Node) -> nn.Module:
    own = fx.Graph()
    # A copy: what comes next may work in place, on activations that somebody keeps or differentiates by.
    copies: dict[fx.Node, fx.Node] = {layer: own.call_method("clone", (own.placeholder("a"),))}

    def copied(node: fx.Node) -> fx.Node:
        if node not in copies:
            raise InputError(f"layer {layer.target!r}: {node.name!r} leads around it to the logits")
        return copies[node]

    after = False
    for node in graph.nodes:
        if after or node.op == "get_attr":
            copies[node] = own.node_copy(node, copied)
        after = after or node is layer
    return fx.GraphModule(model, own)
