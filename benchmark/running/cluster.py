"""A site's settings for its cluster: one TOML file, ``--cluster cluster.toml`` or AMENDBENCH_CLUSTER."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import msgspec

from benchmark.config import convert, read_toml
from benchmark.errors import InputError

VARIABLE = "AMENDBENCH_CLUSTER"
#: What names of a scheduler look like. They become lines of a job script: nothing in them may start another one.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,:@+-]{0,199}")
#: Features may be joined: ``a100|h100``, ``[rack1*2&rack2]``.
CONSTRAINT = re.compile(r"[A-Za-z0-9_(\[][A-Za-z0-9_.,:&|*()\[\]-]{0,199}")
PATTERNS = {"partition": NAME, "account": NAME, "qos": NAME, "constraint": CONSTRAINT, "gres": NAME}


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to use a cluster; every field may be left out.

    ``partition``, ``account``, ``qos`` and ``constraint`` are passed on. ``gres`` is what GPUs are called here, such as
    ``gpu:a100``, without their number; without it they are asked for by number alone. ``setup`` has lines of shell that
    run before each task, such as ``module load``.

    ``parallel`` tasks of an array run at once. A task has cells of about ``minutes_a_task`` estimated minutes. An array
    has at most ``max_array_size`` tasks. A task is told ``signal_seconds`` before its time limit and is put back
    ``requeues`` times.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = None
    setup: list[str] = []
    parallel: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 64
    minutes_a_task: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 20.0
    max_array_size: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1_000
    requeues: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 3
    signal_seconds: Annotated[int, msgspec.Meta(ge=10, le=3_600)] = 90


def load_cluster(path: Path | None) -> Cluster:
    """The settings in ``path``, or in the file that AMENDBENCH_CLUSTER names, or the defaults; InputError if wrong."""
    if path is None:
        named = os.environ.get(VARIABLE)
        if not named:
            return Cluster()
        path = Path(named)
    cluster = convert(read_toml(path), Cluster, path.name)
    _check(cluster, path.name)
    return cluster


def _check(cluster: Cluster, where: str) -> None:
    for field, pattern in PATTERNS.items():
        value = getattr(cluster, field)
        if value is not None and not pattern.fullmatch(value):
            raise InputError(f"{where}: {field}: {value!r} is nothing that Slurm calls by this name")
    for line in cluster.setup:
        if not line.isprintable() or line.lstrip().startswith("#"):
            raise InputError(f"{where}: setup: {line!r} is no single line of shell")
