"""What the distilling baselines share: a frozen teacher, and how far a student is from it."""

from __future__ import annotations

import copy

import torch.nn.functional as F
from torch import Tensor, nn


def frozen_copy(model: nn.Module) -> nn.Module:
    """A copy of ``model`` in evaluation mode that takes no gradients: a teacher, or a model to attack."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def kl_to_teacher(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) of logits (B, C), in nats, mean over the batch.

    The factor T^2 keeps the size of the gradient independent of T (Hinton et al., 2015, arXiv:1503.02531, sec. 2).
    """
    log_q = F.log_softmax(student / temperature, dim=1)
    log_p = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True) * temperature**2
