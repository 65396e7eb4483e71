"""Scores over pairs of scaling factors, and what is lost with pairs that were chosen elsewhere."""

from __future__ import annotations

from collections import defaultdict

from benchmark.studies.measured import Measurement

#: The module of the measurements whose surfaces are compared, and the field that says where one was taken.
MODULE, PLACE = "svd_surface", "data"
Pair = tuple[str, str]
#: One problem: the score on the selection split and on test samples at every pair, in percent.
Surface = dict[Pair, tuple[float, float]]


def by_place(measurements: list[Measurement]) -> dict[str, dict[int, Surface]]:
    """Surfaces by place and seed."""
    found: dict[str, dict[int, Surface]] = defaultdict(dict)
    for one in measurements:
        pairs = [tuple(key.partition("@")[2].split("/")) for key in one.values if key.startswith("selection@")]
        found[str(one.point[PLACE])][one.seed] = {(r, f): _scores(one.values, f"{r}/{f}") for r, f in pairs}
    return dict(found)


def _scores(values: dict[str, float], at: str) -> tuple[float, float]:
    return values[f"selection@{at}"], values[f"retain@{at}"] * (1 - values[f"forget@{at}"] / 100)


def chosen(surface: Surface) -> list[Pair]:
    """The pairs with the best score on the selection split."""
    best = max(selection for selection, _ in surface.values())
    return [pair for pair, (selection, _) in surface.items() if selection == best]


def tested(surface: Surface, pairs: list[Pair]) -> float:
    """The score on test samples at pairs: the mean of them."""
    return sum(surface[pair][1] for pair in pairs) / len(pairs)


def losses(of: dict[int, Surface], at: dict[int, Surface], *, same: bool) -> list[float]:
    """For each seed of ``at`` what it loses with the pairs of the seeds of ``of``, on average; ``same``: of others."""
    found = []
    for seed, surface in at.items():
        own = tested(surface, chosen(surface))
        others = [own - tested(surface, chosen(source)) for s, source in of.items() if not same or s != seed]
        if others:
            found.append(sum(others) / len(others))
    return found


def fixed_losses(pair: Pair, at: dict[int, Surface]) -> list[float]:
    """For each seed of ``at`` what it loses with one pair."""
    return [tested(surface, chosen(surface)) - tested(surface, [pair]) for surface in at.values()]
