"""How orders become tasks and arrays: nothing is built twice, nothing is too long, and 10,000 cells are few calls."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from benchmark.running.cluster import Cluster
from benchmark.running.orders import Order, Submission
from benchmark.running.records import Cell
from benchmark.running.slurm import files
from benchmark.running.waves import Task, arrange, arrays, limit
from benchmark.suites.resources import Resources


def order(number: int, *needs: str, scenario: str = "c", seconds: float = 60.0) -> Order:
    cell = Cell(
        suite="s", task="t", scenario=scenario, settings={}, unit=f"u{number}", seed=number, method="m",
        kind="baseline", parameters={}, device="cpu", threads=1, versions={}, digests={}, packages={},
    )  # fmt: skip
    return Order(cell, "defaults", needs, seconds)


def submission(orders: list[Order], timeout: float = 600.0, device: str = "cpu") -> Submission:
    return Submission("id", "slurm", "", "s", device, 1, timeout, False, orders)


def seeds(tasks: Sequence[Task]) -> list[tuple[int, list[int]]]:
    return [(task.wave, [order.cell.seed for order in task.orders]) for task in tasks]


def test_cells_follow_what_builds_their_needs_in_the_same_task_while_there_is_room() -> None:
    orders = [order(0, "base"), order(1, "base"), order(2, "base", "stage"), order(3, "base", "stage")]
    assert seeds(arrange(orders, 240)) == [(0, [0, 1, 2, 3])]
    assert seeds(arrange(orders, 120)) == [(0, [0, 1]), (1, [2, 3])]


def test_a_cell_waits_for_everything_that_it_needs() -> None:
    orders = [
        order(0, "base"),
        order(1, "base", "stage"),
        order(2, "base", "stage"),
        order(3, "base"),
        order(4, "other"),
    ]
    tasks = arrange(orders, 60)
    assert seeds(tasks) == [(0, [0]), (1, [1]), (2, [2]), (1, [3]), (0, [4])]
    assert tasks[2].before == {tasks[0], tasks[1]}
    assert tasks[4].before == set()


def test_tasks_that_build_at_the_same_time_are_both_waited_for() -> None:
    orders = [order(0, "a"), order(1, "b"), order(2, "a", "b")]
    tasks = arrange(orders, 60)
    assert seeds(tasks) == [(0, [0]), (0, [1]), (1, [2])]
    assert tasks[2].before == {tasks[0], tasks[1]}


def test_a_task_has_one_scenario_and_at_least_one_cell() -> None:
    orders = [order(0, "base", scenario="c"), order(1, "base", scenario="d"), order(2, scenario="c", seconds=10_000)]
    assert [(task.scenario, len(task.orders)) for task in arrange(orders, 600)] == [("c", 1), ("d", 1), ("c", 1)]


def test_a_task_has_time_for_its_slowest_cell_and_for_more_than_its_estimate() -> None:
    cluster = Cluster(signal_seconds=60)
    assert limit(Task("c", 0, seconds=60.0), None, 3600.0, cluster) == 64
    assert limit(Task("c", 0, seconds=6000.0), None, 3600.0, cluster) == 304
    assert limit(Task("c", 0, seconds=6000.0), 30, 3600.0, cluster) == 30
    assert limit(Task("c", 0, seconds=6000.0), 1, 3600.0, cluster) == 4, "it is not told to end while it starts"


def test_arrays_are_of_one_wave_and_one_kind_of_machine() -> None:
    orders = [order(0, "a"), order(1, "a"), order(2, "b", scenario="big"), order(3, "b", scenario="big")]
    hints = {"default": Resources(memory_gb=4), "big": Resources(gpus=2, minutes=7)}
    found = arrays(submission(orders, device="cuda"), hints, Cluster(minutes_a_task=1))
    small, big = Resources(4.0, 1), Resources(4.0, 2, 7)
    assert [(a.wave, a.resources, a.after) for a in found] == [
        (0, small, ()),
        (0, big, ()),
        (1, small, (0,)),
        (1, big, (1,)),
    ]
    assert [a.minutes for a in found] == [15, 7, 15, 7]


def test_an_array_is_not_longer_than_a_site_allows() -> None:
    orders = [order(number, f"base {number}") for number in range(25)] + [order(30, "base 24")]
    found = arrays(submission(orders), {}, Cluster(minutes_a_task=1, max_array_size=10))
    assert [(a.wave, len(a.tasks), a.after) for a in found] == [(0, 10, ()), (0, 10, ()), (0, 5, ()), (1, 1, (2,))]


def test_ten_thousand_cells_are_few_calls_and_few_files_and_are_planned_at_once() -> None:
    orders = [
        order(seed, f"base {scenario} {seed}", *([f"stage {scenario} {seed}"] if method < 4 else []), scenario=scenario)
        for seed in range(25)
        for method in range(20)
        for scenario in (f"c{i}" for i in range(20))
    ]
    assert len(orders) == 10_000
    begun = time.perf_counter()
    found = arrays(submission(orders), {}, Cluster())
    assert time.perf_counter() - begun < 2
    tasks = [task for array in found for task in array.tasks]
    assert sorted(order.cell.hash for task in tasks for order in task.orders) == sorted(o.cell.hash for o in orders)
    assert all(task.seconds <= 20 * 60 for task in tasks)
    built: dict[str, tuple[int, int]] = {}
    for task in tasks:
        for each in task.orders:
            for need in each.needs:
                where = built.setdefault(need, (task.wave, id(task)))
                assert where[0] < task.wave or where[1] == id(task), "built in two places"
    assert (len(found), len(tasks), files(found)) == (1, 500, 1502)
    longer = arrays(submission([msgspec.structs.replace(each, seconds=600.0) for each in orders]), {}, Cluster())
    assert (len(longer), sum(len(array.tasks) for array in longer), files(longer)) == (6, 5000, 15_012)
