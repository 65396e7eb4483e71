"""Tasks, waves and arrays: how orders are cut into pieces that a scheduler runs. Nothing is submitted here."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.running.cluster import Cluster
from benchmark.running.orders import Order, Submission
from benchmark.suites.resources import Resources, resources_of

#: Seconds that a task may take besides its cells: Python and its packages from a slow file system. Slurm's clock is
#: whole minutes, and its warning may come one of them early.
START_UP = 180
#: A task's limit is this many times its estimate: estimates are medians of earlier runs, perhaps of another machine.
SLACK = 3


@dataclass(eq=False)
class Task:
    """Cells of one scenario that run one after the other in one place; ``before``: tasks that build what they need."""

    scenario: str
    wave: int
    orders: list[Order] = field(default_factory=list)
    before: set[Task] = field(default_factory=set)
    seconds: float = 0.0

    def has_room(self, order: Order, most: float) -> bool:
        """Whether the order fits into ``most`` estimated seconds; a task has at least one."""
        return not self.orders or self.seconds + order.seconds <= most

    def add(self, order: Order) -> None:
        """Put an order behind the others."""
        self.orders.append(order)
        self.seconds += order.seconds

    @property
    def hashes(self) -> tuple[str, ...]:
        return tuple(order.cell.hash for order in self.orders)


@dataclass(frozen=True)
class Array:
    """Tasks that are submitted in one call, with the same limits. ``after``: positions of arrays that end first."""

    wave: int
    resources: Resources
    minutes: int
    tasks: list[Task]
    after: tuple[int, ...]


def arrange(orders: Sequence[Order], most: float) -> list[Task]:
    """Tasks of about ``most`` estimated seconds.

    An order goes where what it needs is built, behind the cell that builds it, as long as there is room: nothing waits.
    Else it goes into the next wave, where all that it needs is there. Nothing is built in two places.
    """
    homes: dict[str, Task] = {}
    open_tasks: dict[tuple[str, int], Task] = {}
    tasks: list[Task] = []
    for order in orders:
        built = {homes[need] for need in order.needs if need in homes}
        newest = max(built, key=lambda task: task.wave, default=None)
        joins = newest is not None and newest.has_room(order, most) and newest.scenario == order.cell.scenario
        if newest is not None and joins and all(task is newest or task.wave < newest.wave for task in built):
            task = newest
        else:
            key = order.cell.scenario, newest.wave + 1 if newest else 0
            if key not in open_tasks or not open_tasks[key].has_room(order, most):
                open_tasks[key] = Task(*key)
                tasks.append(open_tasks[key])
            task = open_tasks[key]
        task.add(order)
        task.before |= built - {task}
        for need in order.needs:
            homes.setdefault(need, task)
    return tasks


def arrays(submitted: Submission, resources: Mapping[str, Resources], cluster: Cluster) -> list[Array]:
    """The arrays of a submission, wave by wave: one a wave and kind of resources, more where it would be too long."""
    tasks = arrange(submitted.orders, cluster.minutes_a_task * 60)
    groups: dict[tuple[int, Resources], list[Task]] = defaultdict(list)
    for task in sorted(tasks, key=lambda task: task.wave):
        groups[task.wave, resources_of(task.scenario, resources, submitted.device)].append(task)
    found: list[Array] = []
    place: dict[Task, int] = {}
    for (wave, needed), members in groups.items():
        for first in range(0, len(members), cluster.max_array_size):
            part = members[first : first + cluster.max_array_size]
            after = tuple(sorted({place[earlier] for task in part for earlier in task.before}))
            minutes = max(limit(task, needed.minutes, submitted.timeout, cluster) for task in part)
            place.update(dict.fromkeys(part, len(found)))
            found.append(Array(wave, needed, minutes, part, after))
    return found


def limit(task: Task, minutes: int | None, timeout: float, cluster: Cluster) -> int:
    """Minutes of a task's limit: those that its hints name, or enough for one cell that takes all of its ``timeout``.

    ``timeout`` is in seconds. Never so few that the task would be told to end while it starts.
    """
    timeout *= max((order.cell.stacked for order in task.orders), default=1)
    seconds = minutes * 60 if minutes else max(timeout, SLACK * task.seconds) + START_UP + cluster.signal_seconds
    return math.ceil(max(seconds, START_UP + cluster.signal_seconds) / 60)
