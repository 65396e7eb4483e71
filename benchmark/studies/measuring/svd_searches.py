"""What a search of SVD class forgetting's scaling factors finds with so many evaluations (arXiv:2312.00761)."""

from __future__ import annotations

from typing import Any

import torch

from benchmark.contracts import Ledger
from benchmark.discovery.methods import METHODS, check_parameters
from benchmark.errors import InputError, unknown
from benchmark.models.edited import Weights
from benchmark.models.sampled_inputs import BATCH
from benchmark.running.amending import amend
from benchmark.studies.measuring.forget_problems import one_thread, posed, score
from benchmark.tasks import TASKS
from benchmark.timing import Stopwatch

#: Searches by name: the method, and what is set beside the number of evaluations.
SEARCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "algorithm 1": ("svd-forgetting+search", {}),
    "grid": ("svd-forgetting+grid", {}),
    "random": ("svd-forgetting+random-search", {}),
    "tpe": ("svd-forgetting+optuna", {"sampler": "tpe"}),
    "gp": ("svd-forgetting+optuna", {"sampler": "gp"}),
}
FIELDS = ("suite", "scenario", "search", "evaluations")


@one_thread
def measure(point: dict[str, Any], seed: int) -> dict[str, float]:
    """``selection`` and ``test``: ACC_r (1 - ACC_f) in percent of the pair found; ``seconds`` of the method's call.

    ``evaluations`` of the point is where the figure has it; Algorithm 1 makes as many as its pruning leaves of 25: they
    are in ``evaluations`` of what is measured.
    """
    for name in point:
        if name not in FIELDS:
            raise unknown("field of svd_searches", name, FIELDS)
    search, wanted = str(point["search"]), int(point["evaluations"])
    if search not in SEARCHES:
        raise unknown("search", search, SEARCHES)
    name, parameters = SEARCHES[search]
    info, task = METHODS.get(name, "class-forget"), TASKS.get("class-forget")
    given = parameters if search == "algorithm 1" else {**parameters, "evaluations": wanted}
    own = posed(point.get("suite", "embedded"), point["scenario"], name, seed)
    watch, ledgers, passes = Stopwatch(own.context.device), list[Ledger](), []
    counter = own.base.register_forward_pre_hook(lambda *_: passes.append(1))  # its copies count, too
    method = info, check_parameters(info, given, "svd_searches")
    amended = amend(method, task, own.settings, seed, own.base, own.context, watch, ledgers)
    counter.remove()
    made = _evaluations(len(passes), ledgers[0], len(own.chosen_by.x))
    if search != "algorithm 1" and made != wanted:
        raise InputError(f"{name} made {made} evaluations, not {wanted}")
    with torch.inference_mode():
        weights: Weights = dict(amended.named_parameters())
        return {
            "selection": score(own.chosen_by(weights)),
            "test": score(own.judged_by(weights)),
            "evaluations": float(made),
            "seconds": watch.seconds,
        }


def _evaluations(passes: int, ledger: Ledger, batches: int) -> int:
    """How many edits were scored: batches that are no sample's go through the selection split, at first unedited."""
    collected = sum(-(-ledger.reads[view]["samples"] // BATCH) for view in ("retain", "forget"))
    return (passes - collected) // batches - 1
