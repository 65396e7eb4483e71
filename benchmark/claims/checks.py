"""The kinds of checks: what each computes, where, and between which limits it must lie."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

#: A point of a sweep: values of its fields, or its place on the axis; None where the sweep has one point only.
At = dict[str, Any] | float | str | None


def point_text(where: str, at: At) -> str:
    """A point of a sweep or a measurement in words."""
    values = [f"{name} = {_number(value)}" for name, value in at.items()] if isinstance(at, dict) else [_number(at)]
    return ", ".join(part for part in (where, *([] if at is None else values)) if part)


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """Something to compute, and between which limits it must lie for the claim to hold.

    Where: ``suite`` and ``scenarios``, each of which is judged alone, or ``study`` and ``sweep``, at one point (``at``)
    or several ``points``, each judged alone, or ``study`` and ``measurement``: what was measured has no method, and its
    metrics are the measurement's own, in the ``unit`` that is given. Limits: ``above`` and ``below`` are strict,
    ``least`` and ``most`` are not; ``tolerance`` makes all of them milder. ``threshold``: where the number is from.
    """

    method: str = ""
    suite: str = ""
    scenarios: list[str] = []
    study: str = ""
    sweep: str = ""
    measurement: str = ""
    at: At = None
    points: list[dict[str, Any] | float | str] = []
    unit: str = ""
    above: float | None = None
    least: float | None = None
    most: float | None = None
    below: float | None = None
    tolerance: float = 0.0
    threshold: str = ""

    @property
    def kind(self) -> str:
        """The check's name in files."""
        return str(self.__struct_config__.tag)

    @property
    def methods(self) -> list[str]:
        """Every method that it takes results of, its own first."""
        return list(dict.fromkeys([self.method, *getattr(self, "versus", ())]))

    @property
    def places(self) -> list[tuple[str, At]]:
        """Scenario and point of each place that it is made at: one of the two, or none where a sweep has one point."""
        return [(name, None) for name in self.scenarios] or [("", at) for at in self.points] or [("", self.at)]

    @property
    def part(self) -> str:
        """The part of its study that it is made in."""
        return self.sweep or self.measurement

    @property
    def subject(self) -> str:
        """What it is about: a method, or what was measured."""
        return self.method or self.measurement

    @property
    def statistic(self) -> str:
        """What it computes, in words; kinds that compute more than one number of one thing say what."""
        return f"{self.kind} of {self.subject}"

    @property
    def limits(self) -> str:
        """Between what it must lie, in words, with the tolerance and where the number is from."""
        words = {"above": self.above, "at least": self.least, "at most": self.most, "below": self.below}
        text = " and ".join(f"{word} {limit:g}" for word, limit in words.items() if limit is not None)
        text += f", with a tolerance of {self.tolerance:g}" if self.tolerance else ""
        return text + (f" (the paper: {self.threshold})" if self.threshold else "")


class Bound(Check, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="bound"):
    """The mean of a metric over base models."""

    metric: str

    @property
    def statistic(self) -> str:
        return f"{self.metric} of {self.subject}, mean over base models"


class Difference(Check, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="difference"):
    """A metric of ``method`` less that of ``versus``, paired by seed.

    ``against``: ``each`` of several methods, one after the other, or the ``median`` of them, taken for each seed. In a
    study ``versus`` may be the method itself at another point (``versus_at``) or in another sweep (``versus_sweep``).
    ``less``: another metric of the same cells is taken from it, and nothing is compared with other methods.
    """

    metric: str
    versus: list[str] = []
    against: Literal["each", "median"] = "each"
    versus_at: At = None
    versus_sweep: str = ""
    less: str = ""

    @property
    def statistic(self) -> str:
        elsewhere = point_text(self.versus_sweep, self.versus_at)
        others = self.less or ", ".join([*(self.versus or ["itself"]), *([f"at {elsewhere}"] if elsewhere else [])])
        others = others.replace("itself, at", "itself at")
        several = "the median of " if self.against == "median" else "each of " if len(self.versus) > 1 else ""
        return f"{self.metric} of {self.subject} less {several}{others}, paired by seed"


class Ratio(Check, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="ratio"):
    """Device seconds of ``method`` over those of each of ``versus``, paired by seed, of runs on one machine.

    ``per``: a hyper-parameter that both have, by which each method's seconds are divided, such as ``epochs``.
    """

    versus: list[str]
    per: str = ""

    @property
    def statistic(self) -> str:
        one = f" / {self.per}" if self.per else ""
        return f"device seconds{one} of {self.subject} over those of {', '.join(self.versus)}, paired by seed"


class Reads(Check, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="reads"):
    """What the ledger says was read: ``what`` of the ``views`` (all if none are named), summed over requests.

    Alone it is a count, with ``versus`` a ratio to what each of these read, with ``per`` one to another count of the
    same cells.
    """

    what: Literal["samples", "labels", "attributes", "masks", "passes"]
    views: list[str] = []
    versus: list[str] = []
    per: Literal["", "samples", "labels"] = ""

    @property
    def statistic(self) -> str:
        views = f" of {' and '.join(self.views)}" if self.views else ""
        over = f" over {self.per}" if self.per else f" over those of {', '.join(self.versus)}" if self.versus else ""
        return f"{self.what} that {self.subject} reads{views}{over}"


class Divergence(Check, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="divergence"):
    """The share of runs, in percent, that left the finite numbers or ended with a ``metric`` of ``useless`` or less."""

    metric: str
    useless: float

    @property
    def statistic(self) -> str:
        return f"share of runs of {self.subject} that diverged, or ended with {self.metric} of {self.useless:g} or less"


class Transfer(Check, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="transfer"):
    """Points that scaling factors lose on test samples where they are not chosen but come from elsewhere.

    Of a ``measurement`` of scores over pairs of factors (``benchmark.studies.transfer``): ``of`` is the place
    that they come from, ``to`` the one that uses them; where these are the same, another class.
    """

    of: str
    to: list[str]

    @property
    def statistic(self) -> str:
        return f"points lost with the factors of {self.of}, mean over base models"


class Trend(Check, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="trend"):
    """Spearman's correlation of a metric with a field ``over`` the points of a sweep, one a seed.

    ``within``: only points with these values of other fields; ``low`` and ``high``: only those between.
    """

    metric: str
    over: str
    within: dict[str, Any] = {}
    low: float | None = None
    high: float | None = None

    @property
    def statistic(self) -> str:
        ends = [f"{end} {value:g}" for end, value in (("from", self.low), ("to", self.high)) if value is not None]
        where = f", {' '.join(ends)}" if ends else ""
        return f"rank correlation of {self.metric} of {self.subject} with {self.over}{where}, mean over seeds"


Kind = Bound | Difference | Ratio | Reads | Divergence | Transfer | Trend
KINDS: dict[str, type[Check]] = {
    "bound": Bound,
    "difference": Difference,
    "ratio": Ratio,
    "reads": Reads,
    "divergence": Divergence,
    "transfer": Transfer,
    "trend": Trend,
}
