"""What a study found, in words: templates whose numbers come from its records when the page is written.

A template knows ``mean(sweep, method, metric, at)`` (mean and half-width of the 95 % t interval over seeds), ``value``
(the bare mean, for comparisons), ``gain(..., versus=(sweep, method, at))`` (a paired difference with its interval),
``gain_value``, ``clear`` (whether that interval is on one side of 0), ``measured(name, metric, at)`` and
``measured_value``, ``best(sweep, method, metric)`` (the place on the axis of the best mean) ``n(sweep, method)`` and
``n_at(sweep, method, at)``, the seeds that have a result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from benchmark.errors import InputError
from benchmark.metrics.catalogue import metric as known
from benchmark.stats import Interval, t_interval
from benchmark.studies.found import Found, is_at

At = Mapping[str, Any] | float | str | None
Versus = tuple[str, str, At]


def written(template: str, found: Found) -> str:
    """A template with the study's numbers; InputError where a number that it names is not there."""
    environment: Environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    try:
        return environment.from_string(template).render(**_Words(found).functions()).strip()
    except TemplateError as error:
        raise InputError(f"{found.study.name}: the text cannot be written: {error}") from error


class _Words:
    """The functions of templates."""

    def __init__(self, found: Found) -> None:
        self.found = found

    def functions(self) -> dict[str, Callable[..., Any]]:
        own = (
            self.mean,
            self.value,
            self.gain,
            self.gain_value,
            self.clear,
            self.measured,
            self.measured_value,
            self.best,
            self.n,
            self.n_at,
        )
        return {function.__name__: function for function in own}

    def mean(self, sweep: str, method: str, metric: str, at: At = None) -> str:
        return spread(self.found.interval(sweep, method, metric, at), metric)

    def value(self, sweep: str, method: str, metric: str, at: At = None) -> float:
        return self.found.interval(sweep, method, metric, at).mean

    def gain(self, sweep: str, method: str, metric: str, at: At = None, *, versus: Versus) -> str:
        return spread(self._difference(sweep, method, metric, at, versus), metric, signed=True)

    def gain_value(self, sweep: str, method: str, metric: str, at: At = None, *, versus: Versus) -> float:
        return self._difference(sweep, method, metric, at, versus).mean

    def clear(self, sweep: str, method: str, metric: str, at: At = None, *, versus: Versus) -> bool:
        interval = self._difference(sweep, method, metric, at, versus)
        return interval.low is not None and interval.high is not None and (interval.low > 0 or interval.high < 0)

    def _difference(self, sweep: str, method: str, metric: str, at: At, versus: Versus) -> Interval:
        own = self.found.by_seed(sweep, method, metric, at)
        other = self.found.by_seed(versus[0], versus[1], metric, versus[2])
        both = [own[seed] - other[seed] for seed in own.keys() & other.keys()]
        if not both:
            raise InputError(f"{self.found.study.name}: {method} and {versus[1]} have no seed in common for {metric}")
        return t_interval(both)

    def measured(self, name: str, metric: str, at: At = None) -> str:
        return spread(self._measured(name, metric, at), metric)

    def measured_value(self, name: str, metric: str, at: At = None) -> float:
        return self._measured(name, metric, at).mean

    def _measured(self, name: str, metric: str, at: At) -> Interval:
        axis = self.found.study.file.measurements[name].x
        own = [one for one in self.found.measurements(name) if is_at(one.point.get(axis, ""), one.point, at)]
        if len({json.dumps(one.point, sort_keys=True) for one in own}) > 1:
            raise InputError(f"{self.found.study.name}: {at} is no single point of {name}")
        values = [one.values[metric] for one in own if metric in one.values]
        if not values:
            raise InputError(f"{self.found.study.name}: there is no {metric} in {name} at {at}")
        return t_interval(values)

    def best(self, sweep: str, method: str, metric: str) -> float | str:
        """The place on the axis where the mean is best; of equal ones the first."""
        places = list(dict.fromkeys(cell.x for cell in self.found.cells(sweep) if cell.method == method))
        means = {x: self.found.interval(sweep, method, metric, x).mean for x in places}
        choose = max if known(metric).better == "higher" else min
        return choose(means, key=lambda x: means[x])

    def n(self, sweep: str, method: str) -> int:
        return len({cell.seed for cell in self.found.cells(sweep) if cell.method == method})

    def n_at(self, sweep: str, method: str, at: At) -> int:
        cells = self.found.cells(sweep)
        return len({cell.seed for cell in cells if cell.method == method and is_at(cell.x, cell.point, at)})


def spread(interval: Interval, metric: str = "", *, signed: bool = False) -> str:
    """Mean and half-width of an interval as pages print them; the mean alone where there was no spread."""
    mean = number(interval.mean, metric, signed=signed)
    if interval.low is None or interval.high is None or interval.high == interval.low:
        return mean
    half = (interval.high - interval.low) / 2
    decimals = len(mean.partition(".")[2])
    return f"{mean} ± {number(half, metric) if 'e' in mean else f'{half:.{decimals}f}'}"


def number(value: float, metric: str = "", *, signed: bool = False) -> str:
    """A value as pages print it: percent with a decimal, others with three digits."""
    try:
        percent = known(metric).unit in ("%", "points") if metric else False
    except InputError:
        percent = False
    shown = f"{value:.1f}" if percent or 100 <= abs(value) < 1e5 else f"{value:.3g}"
    shown = "0.0" if shown == "-0.0" else shown
    return f"+{shown}" if signed and value > 0 else shown
