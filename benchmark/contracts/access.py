"""What a method may read, and the ledger of what it has read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmark.errors import AccessViolation

#: What can be read of a sample: images, labels, attributes, masks; and of who gives feedback, the network itself.
FIELDS = {"x": "images", "y": "labels", "a": "attributes", "m": "masks", "w": "network"}


@dataclass(frozen=True, init=False)
class Access:
    """Which views a method reads, and of each which fields.

    ``Access(retain="xy", forget="x", max_samples={"retain": 1000})`` reads images and labels of the retain view,
    at most 1,000 distinct samples of it, and images only of the forget view; no other view may be touched.
    With ``few_labels`` the views whose labels are declared hold only those samples that are labelled: the scenario
    says what share that is. ``optional={"train": "a"}`` adds what is read where the task offers it, and done without
    where it does not.
    """

    views: Mapping[str, str]
    max_samples: Mapping[str, int]
    few_labels: bool
    optional: Mapping[str, str]

    def __init__(
        self,
        *,
        max_samples: Mapping[str, int] | None = None,
        few_labels: bool = False,
        optional: Mapping[str, str] | None = None,
        **views: str,
    ) -> None:
        for name, fields in (*views.items(), *(optional or {}).items()):
            if not fields or set(fields) - set(FIELDS):
                raise ValueError(f"access to {name}: {fields!r} is not made of {''.join(FIELDS)}")
        object.__setattr__(self, "views", dict(views))
        object.__setattr__(self, "max_samples", dict(max_samples or {}))
        object.__setattr__(self, "few_labels", few_labels)
        object.__setattr__(self, "optional", dict(optional or {}))

    def granted(self, offered: Mapping[str, str]) -> Access:
        """What is read of a task that offers ``offered``: what is optional becomes declared, or is left out."""
        views = dict(self.views)
        for name, fields in self.optional.items():
            given = "".join(f for f in fields if f in offered.get(name, ""))
            if given:
                views[name] = views.get(name, "") + given
        granted = Access(max_samples=self.max_samples, few_labels=self.few_labels)
        object.__setattr__(granted, "views", views)
        return granted

    @property
    def label_free(self) -> bool:
        """Whether no label and no attribute of any view is read, and no network that knows them is taken."""
        return not any(set("yaw") & set(fields) for fields in self.views.values())

    def __str__(self) -> str:
        parts = []
        for name, fields in self.views.items():
            limit = self.max_samples.get(name)
            what = " + ".join(FIELDS[f] for f in fields)
            few = " (labelled samples only)" if self.few_labels and "y" in fields else ""
            parts.append(f"{name}: {what}{few}" + (f" (at most {limit:,})" if limit else ""))
        for name, fields in self.optional.items():
            parts.append(f"{name}: {' + '.join(FIELDS[f] for f in fields)} where the task gives them")
        return "; ".join(parts) or "the model only"


@dataclass
class Ledger:
    """What a method has read, counted by the views themselves.

    ``reads[view]`` maps ``samples``, ``labels``, ``attributes`` and ``masks`` to distinct samples, and ``passes`` to
    image reads with repetition. ``violations`` keeps every refused read, even where a method swallowed the error.
    """

    reads: dict[str, dict[str, int]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def refuse(self, message: str) -> AccessViolation:
        self.violations.append(message)
        return AccessViolation(message)
