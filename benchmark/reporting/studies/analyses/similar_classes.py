"""Forgetting a class that others look like, against one that nothing looks like: Fashion-MNIST, all ten classes."""

from __future__ import annotations

from collections import defaultdict
from statistics import variance

from benchmark.reporting.studies.section import Section
from benchmark.reporting.studies.texts import number, spread
from benchmark.running.records import Record
from benchmark.stats import Interval, t_interval
from benchmark.studies.found import Found

SUITE, TASK_NAME, SCENARIO = "standard", "class-forget", "fashion-residual"
#: Of its ten classes the seed's is forgotten.
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
#: What is mistaken for each other, and what is not; a dress is something between.
SIMILAR, DISSIMILAR = (0, 2, 4, 6), (1, 5, 7, 8, 9)
METHODS = ("svd-forgetting", "svd-forgetting+search")
REFERENCE, ORIGINAL = "retrain", "original"
RETAIN, FORGET = "accuracy.test.retain", "accuracy.test.forget"
#: Values by seed.
BySeed = dict[int, float]

TEXT = """From the results of the suite standard, where seed *i* forgets class *i* of Fashion-MNIST. Shirt, T-shirt,
pullover and coat are the similar classes; trouser, sandal, sneaker, bag and boot the dissimilar ones. *Left* is what is
still known of the forgotten class on test samples (retraining leaves 0 %); *lost* what the other classes' accuracy is
below that of retraining without the class, in points. Means over classes with 95 % t intervals; the last column has the
difference of the two means with Welch's interval: classes are not pairs."""


def sections(found: Found) -> list[Section]:
    """By method: what is left and what is lost for similar and dissimilar classes; and each class by itself."""
    records = found.records(SUITE, TASK_NAME, SCENARIO)
    values = by_method(records)
    shown = [method for method in order(values) if method in values]
    if REFERENCE not in values or not shown:
        return []
    rows = tuple(_row(method, what, points) for method in shown for what, points in measures(values, method).items())
    headers = ("method", "", "similar classes", "dissimilar classes", "difference")
    return [
        Section("Similar and dissimilar classes", TEXT, headers, rows),
        Section("Each class", "", ("class", *_columns(shown)), _each(values, shown)),
    ]


def by_method(records: list[Record]) -> dict[str, dict[str, BySeed]]:
    """Test accuracies by method, metric and seed."""
    found: dict[str, dict[str, BySeed]] = defaultdict(lambda: {RETAIN: {}, FORGET: {}})
    for record in records:
        own = record.values()
        for metric in (RETAIN, FORGET):
            if (value := own.get(metric)) is not None:
                found[record.cell.method][metric][record.cell.seed] = value
    return dict(found)


def order(values: dict[str, dict[str, BySeed]]) -> list[str]:
    """The paper's method first, then the others by name; without references."""
    return [*METHODS, *sorted(values.keys() - {*METHODS, REFERENCE, ORIGINAL, "logit-mask"})]


def measures(values: dict[str, dict[str, BySeed]], method: str) -> dict[str, BySeed]:
    """``left`` and ``lost`` of a method, in percent and points, by seed."""
    retrained = values[REFERENCE][RETAIN]
    kept = values[method][RETAIN]
    return {
        "left": values[method][FORGET],
        "lost": {seed: retrained[seed] - kept[seed] for seed in kept if seed in retrained},
    }


def groups(points: BySeed) -> tuple[list[float], list[float]]:
    """The values of similar and of dissimilar classes."""
    similar, dissimilar = ([points[c] for c in classes if c in points] for classes in (SIMILAR, DISSIMILAR))
    return similar, dissimilar


def welch(a: list[float], b: list[float]) -> Interval | None:
    """Difference of the means of ``a`` and ``b`` with Welch's 95 % interval; None for fewer than two of either."""
    if min(len(a), len(b)) < 2:
        return None
    from scipy.stats import t

    mean = sum(a) / len(a) - sum(b) / len(b)
    shares = [variance(own) / len(own) for own in (a, b)]  # of the variance of the difference
    total = sum(shares)
    if total == 0:
        return Interval(mean, mean, mean, len(a) + len(b))
    freedom = total**2 / sum(s**2 / (len(own) - 1) for s, own in zip(shares, (a, b), strict=True))
    half = float(t.ppf(0.975, freedom)) * total**0.5
    return Interval(mean, mean - half, mean + half, len(a) + len(b))


def _row(method: str, what: str, points: BySeed) -> tuple[str, ...]:
    similar, dissimilar = groups(points)
    cells = [t_interval(own) if own else None for own in (similar, dissimilar)]
    return method, what, _shown(cells[0]), _shown(cells[1]), _shown(welch(similar, dissimilar), signed=True)


def _shown(interval: Interval | None, *, signed: bool = False) -> str:
    return "" if interval is None else spread(interval, RETAIN, signed=signed)


def _columns(methods: list[str]) -> list[str]:
    return [f"{method}: {what}" for method in methods if method in METHODS for what in ("left", "lost")]


def _each(values: dict[str, dict[str, BySeed]], methods: list[str]) -> tuple[tuple[str, ...], ...]:
    own = [points for method in methods if method in METHODS for points in measures(values, method).values()]
    return tuple(
        (name, *(number(points[seed], RETAIN) if seed in points else "" for points in own))
        for seed, name in enumerate(CLASSES)
    )
