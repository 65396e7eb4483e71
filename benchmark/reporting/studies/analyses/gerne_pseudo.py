"""GERNE without attributes: its pseudo-minority beside the paper's figure 3, and what t = 1/2 does with beta."""

from __future__ import annotations

from benchmark.reporting.studies.analyses.gerne_extrapolation import BALANCED, by_seed, paired, shown
from benchmark.reporting.studies.section import Section
from benchmark.stats import t_interval
from benchmark.studies.found import Found

#: t -> precision, recall and best test accuracy in percent, read by eye off figure 3 of arXiv:2503.13236.
FIGURE_3 = {0.0005: (100, 13, 70), 0.001: (100, 25, 75), 0.003: (99, 70, 77), 0.005: (78, 89, 74), 0.01: (37, 95, 66)}


def sections(found: Found) -> list[Section]:
    """Three tables, of those that there is something for."""
    made = (beside_figure_3(found), best_share(found), halves(found))
    return [section for section in made if section.rows]


def beside_figure_3(found: Found) -> Section:
    """Precision and recall where the paper measured them."""
    rows = []
    for t, published in FIGURE_3.items():
        own = [one.values for one in found.measurements("quality-paper") if one.point["t"] == t]
        if own:
            ours = (
                shown(t_interval([values[name] for values in own]), signed=False) for name in ("precision", "recall")
            )
            rows.append((f"{t:g}", *ours, f"about {published[0]}", f"about {published[1]}"))
    return Section(
        "Pseudo-attributes beside the paper's figure 3",
        "Complete coloured MNIST with 0.5 % conflicting samples, in percent; the paper's values are off its figure.",
        ("t", "precision", "recall", "precision (paper)", "recall (paper)"),
        tuple(rows),
    )


def best_share(found: Found) -> Section:
    """For every s: which t is best by test accuracy, and what the scenario's rule would say of it."""
    rows = []
    for sweep, method in (("share", "gerne"), ("share-weighted", "gerne+weighted")):
        cells = found.cells(sweep)
        for s in dict.fromkeys(float(cell.parameters["s"]) for cell in cells):
            own = [cell for cell in cells if cell.parameters["s"] == s]
            means = {}
            for metric in (BALANCED, "selection.score"):
                by_t = {float(cell.point["t"]): by_seed(own, metric, t=cell.point["t"]) for cell in own}
                means[metric] = {t: sum(v.values()) / len(v) for t, v in by_t.items() if v}
            if all(means.values()):
                best, chosen = (max(by_t, key=by_t.__getitem__) for by_t in means.values())
                scores = (list(by_seed(own, BALANCED, t=t).values()) for t in (best, chosen))
                accuracies = (shown(t_interval(values), signed=False) for values in scores)
                rows.append((method, f"{s:g}", f"{best:g}", f"{chosen:g}", *accuracies))
    return Section(
        "Which t is best",
        "By test accuracy, which nobody may choose by, and by the scenario's rule on held-out samples with attributes; "
        "group-balanced test accuracy at both.",
        ("method", "s", "best t", "chosen t", "accuracy at the best", "accuracy at the chosen"),
        tuple(rows),
    )


def halves(found: Found) -> Section:
    """t = 1/2: the expected gradient does not depend on s."""
    rows = []
    cells = [cell for cell in found.cells("share") if cell.point["t"] == 0.5]
    values = sorted({float(cell.parameters["s"]) for cell in cells})
    for s in values[1:]:
        one, other = (by_seed([cell for cell in cells if cell.parameters["s"] == x], BALANCED) for x in (s, values[0]))
        difference = paired(one, other)
        if difference is not None:
            rows.append((f"{s:g}", f"{values[0]:g}", shown(difference)))
    return Section(
        "t = 1/2",
        "With equal halves the expected gradient is that of class-balanced ERM for every s: what differs is noise. "
        "Paired differences of group-balanced accuracy in points.",
        ("s", "against s", "difference"),
        tuple(rows),
    )
