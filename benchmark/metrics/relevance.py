"""Where in an image a network finds what it says: layer-wise relevance propagation (LRP), and how much is in a mask.

The rules are zennit's composite EpsilonPlusFlat, as in Dreyer et al., "From hope to safety" (arXiv:2308.09437): flat in
the first layer, z+ in the other convolutions, epsilon in linear layers; average pooling and sums share relevance in
proportion to what they add; max pooling gives it to the largest entry; activations pass it on; for whatever is no
module, and modules that have no rule, it follows the gradient. ReLU as a function is fine with that: its gradient only
keeps relevance from units that are off, and these have none, since they add nothing to the layer above.

The rules want a network of a certain form, which zennit's canonizers give to a copy: batch norm is merged into the
convolution or linear layer that is defined before it, and residual sums become modules. The gradient of a plain ``+``
gives all relevance to both branches, so that it doubles in every block. Made explicit are the sums of our
ResidualBlock, of torchvision's ResNets and MobileNetV2 (whose pooling is a function, too), and those between two nodes
of a torch.fx.GraphModule. Those of other networks (all of timm's, torchvision's newer ones) are not: what is found for
them is off by how often relevance is counted, as it is where they call pooling as a function or one layer twice.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from importlib.util import find_spec
from types import MethodType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from benchmark import compat
from benchmark.contracts import Measured
from benchmark.models.classifiers import ResidualBlock

#: The paper's code widens masks of images of 224 x 224 by a Gaussian of this width, cut off at RADIUS; pixels.
SIDE, SIGMA, RADIUS = 224, 8.0, 20
#: What is still in a widened mask, relative to its maximum.
THRESHOLD = 0.3
NO_FORM = "LRP needs a network in which each batch norm follows the layer that is defined right before it"
#: How functions call a sum, ``a + b`` and ``a += b`` included.
_SUMS = (operator.add, operator.iadd, torch.add)


def available() -> bool:
    """Whether zennit (extra ``lrp``) can be imported, and torchvision, without which it cannot; imports neither."""
    return all(find_spec(name) is not None for name in ("zennit", "torchvision"))


def relevances(model: nn.Module, x: Tensor, targets: Tensor, batch: int = 100) -> Tensor:
    """(N, H, W) float32 on the CPU: the relevance of each pixel, summed over channels, for the logits ``targets``.

    x: (N, C, H, W); targets: (N,) int64. The initial relevance is 1 at the sample's target and 0 at other logits. The
    model is run in evaluation mode and left as it is. Raises ValueError where it cannot be brought into the form that
    the rules want.
    """

    def initial(logits: Tensor, part: slice) -> Tensor:
        return F.one_hot(targets[part].to(logits.device), logits.shape[1]).to(logits)

    return _propagate(model, x, initial, batch)


def concept_relevances(body: nn.Module, x: Tensor, direction: Tensor, batch: int = 100) -> Tensor:
    """(N, H, W) float32 on the CPU: the relevance of each pixel for the concept a . h, where a = body(x).

    x: (N, C', H, W); a: (N, C, H', W') or (N, C); direction: h, (C,). The initial relevance of an entry of a is what
    it contributes, a_c h_c, at every position. Otherwise as ``relevances``.
    """

    def initial(activations: Tensor, part: slice) -> Tensor:
        return activations * direction.to(activations).view(-1, *[1] * (activations.dim() - 2))

    return _propagate(body, x, initial, batch)


def smoothed(masks: Tensor) -> Tensor:
    """(N, H, W) bool: masks (N, H, W) widened as in the paper's code, so that edges of what they cover are in them.

    A Gaussian blur, of 8 pixels in images of 224 x 224 and in proportion in others, by the rows and by the columns;
    then what has more than 0.3 of the maximum. Empty masks stay empty.
    """
    blurred = masks.float()[:, None]
    for dim, padding in ((2, (0, 0, 1, 1)), (3, (1, 1, 0, 0))):
        scale = masks.shape[dim - 1] / SIDE
        radius = round(RADIUS * scale)
        kernel = torch.arange(-radius, radius + 1, device=masks.device).div(SIGMA * scale).square().mul(-0.5).softmax(0)
        wide = F.pad(blurred, [radius * side for side in padding], mode="reflect")
        blurred = F.conv2d(wide, kernel.view([-1 if d == dim else 1 for d in range(4)]))
    return (blurred > THRESHOLD * blurred.amax((1, 2, 3), keepdim=True))[:, 0]


def relevance_in_mask(relevance: Tensor, masks: Tensor) -> Measured:
    """R_bias in percent (arXiv:2308.09437, eq. A.7): the share of absolute relevance that lies in the mask.

    relevance: (N, H, W); masks: (N, H, W) bool. The mean over samples of sum_j |R_j M_j| / sum_j |R_j|; samples with an
    empty mask or with no relevance at all are left out, and n is how many were used. None where there are none, or
    where a relevance is not finite.
    """
    if relevance.shape != masks.shape:
        raise ValueError(f"relevance {tuple(relevance.shape)} and masks {tuple(masks.shape)} differ in shape")
    amount, inside = relevance.detach().cpu().double().abs().flatten(1), masks.cpu().bool().flatten(1)
    used = inside.any(1) & (amount > 0).any(1)
    if not amount.isfinite().all() or not used.any():
        return Measured(None, 0)
    shares = (amount * inside)[used].sum(1) / amount[used].sum(1)
    return Measured(100.0 * float(shares.mean()), int(used.sum()))


def _propagate(model: nn.Module, x: Tensor, initial: Callable[[Tensor, slice], Tensor], batch: int) -> Tensor:
    """(N, H, W): the relevance of x (N, C, H, W), summed over C, where ``initial`` gives that of the output."""
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    place = next(model.parameters(), x).device
    found = torch.empty(len(x), *x.shape[2:])
    before = copied(x[:2].to(place))
    _make_sums_modules(copied)
    with _composite().context(copied), torch.enable_grad():
        _check_same(before, copied(x[:2].to(place)))
        for start in range(0, len(x), batch):
            part = slice(start, start + batch)
            images = x[part].detach().to(place).clone().requires_grad_()
            output = copied(images)
            (relevance,) = torch.autograd.grad(output, images, initial(output.detach(), part))
            found[part] = relevance.sum(1).float().cpu()
    return found


def _check_same(before: Tensor, after: Tensor) -> None:
    """Raise ValueError unless the canonical form computes what the network did; not a number equals anything."""
    if (after - before).norm() > 1e-3 * before.norm() + 1e-6:
        raise ValueError(NO_FORM)


def _composite() -> Any:
    """zennit's EpsilonPlusFlat with the canonizers for the networks here; to be registered with a copy only."""
    compat.torchvision()  # first, since zennit imports it
    from zennit.canonizers import AttributeCanonizer, SequentialMergeBatchNorm
    from zennit.composites import EpsilonPlusFlat
    from zennit.torchvision import ResNetBasicBlockCanonizer, ResNetBottleneckCanonizer

    class Merge(SequentialMergeBatchNorm):
        """As zennit's, which leaves ``eps`` in a batch norm of variance 1, so that it shrinks every layer a little."""

        @staticmethod
        def merge_batch_norm(modules: list[nn.Module], batch_norm: nn.BatchNorm2d) -> None:
            for module in modules:
                if batch_norm.num_features != getattr(module, "out_channels", getattr(module, "out_features", None)):
                    raise ValueError(NO_FORM)
            SequentialMergeBatchNorm.merge_batch_norm(modules, batch_norm)
            assert batch_norm.running_var is not None
            batch_norm.running_var.data -= batch_norm.eps

    blocks = [AttributeCanonizer(_canonical), ResNetBasicBlockCanonizer(), ResNetBottleneckCanonizer()]
    return EpsilonPlusFlat(canonizers=[Merge(), *blocks])


def _canonical(_name: str, module: nn.Module) -> dict[str, Any] | None:
    """What an AttributeCanonizer sets: a forward that calls modules where the module's own calls functions."""
    from torchvision.models.mobilenetv2 import InvertedResidual, MobileNetV2
    from zennit.layer import Sum

    if isinstance(module, ResidualBlock):
        return {
            "forward": MethodType(_residual_block, module),
            "canonizer_sum": Sum(),
            "canonizer_relu": nn.ReLU(),
        }
    if isinstance(module, InvertedResidual) and module.use_res_connect:
        return {"forward": MethodType(_inverted_residual, module), "canonizer_sum": Sum()}
    if isinstance(module, MobileNetV2):
        return {"forward": MethodType(_mobilenet, module), "canonizer_pool": nn.AdaptiveAvgPool2d(1)}
    return None


def _residual_block(self: Any, x: Tensor) -> Tensor:
    """The forward of our ResidualBlock."""
    out = self.bn2(self.conv2(self.canonizer_relu(self.bn1(self.conv1(x)))))
    summed: Tensor = self.canonizer_relu(self.canonizer_sum(torch.stack([self.shortcut(x), out], -1)))
    return summed


def _inverted_residual(self: Any, x: Tensor) -> Tensor:
    """The forward of torchvision's InvertedResidual where it has a shortcut."""
    summed: Tensor = self.canonizer_sum(torch.stack([x, self.conv(x)], -1))
    return summed


def _mobilenet(self: Any, x: Tensor) -> Tensor:
    """The forward of torchvision's MobileNetV2."""
    logits: Tensor = self.classifier(self.canonizer_pool(self.features(x)).flatten(1))
    return logits


class _Addition(nn.Module):
    """a + b, with a module for the sum where both are tensors of one shape."""

    def __init__(self, total: nn.Module) -> None:
        super().__init__()
        self.total = total

    def forward(self, a: Any, b: Any) -> Any:
        if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape:
            return self.total(torch.stack([a, b], -1))
        return a + b


def _make_sums_modules(model: nn.Module) -> None:
    """Change the graphs in ``model`` in place, so that they call a module for every sum of two of their nodes."""
    compat.torchvision()
    from zennit.layer import Sum

    for module in [module for module in model.modules() if isinstance(module, fx.GraphModule)]:
        for node in module.graph.nodes:
            two = len(node.args) == 2 and all(isinstance(arg, fx.Node) for arg in node.args)
            if node.op == "call_function" and node.target in _SUMS and two and not node.kwargs:
                module.add_submodule(f"canonizer_{node.name}", _Addition(Sum()))
                node.op, node.target = "call_module", f"canonizer_{node.name}"
        module.recompile()
