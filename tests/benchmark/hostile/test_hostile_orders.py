"""Orders and turns from strangers, and odd hashes and names on the command line: one line each, and nothing runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from filelock import FileLock
from hostile_commands import exit_code
from hostile_values import NAMES, campaign, damaged, json_values, mutated
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import InputError
from benchmark.running import ensembles, orders, pool
from benchmark.running.plan import make_plan
from benchmark.running.records import RUN, Cell, NotKept, RecordStore
from benchmark.running.turns import Turn, Turns
from benchmark.suites.definition import load_suite, select

RESULTS = Path(__file__).parents[3] / "results"
ID = "20260101-000000-abcdef"
RAN: list[Cell] = []
STATUS = ("status", "--suite", "smoke", "--task", "class-forget", "--seeds", "1", "--results")


def submission(results: Path) -> Any:
    """A valid one of three cells, as its file has it."""
    suite = select(load_suite("smoke"), None, ["four-gaussians"], ["finetune"])
    plan = make_plan(suite, [0], "cpu", RecordStore(results))
    made = orders.submission(plan, suite, "slurm", "cpu", fresh=False)
    return msgspec.to_builtins(msgspec.structs.replace(made, id=ID))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return submission(tmp_path_factory.mktemp("none"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("orders") / "results"


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What would run is noted instead; boards are not drawn."""

    def run(cells: list[Cell], *_: Any) -> Iterator[Any]:
        RAN.extend(cells)
        return iter(())

    monkeypatch.setattr(pool, "run", run)
    monkeypatch.setattr("benchmark.commands.bench.show", lambda *_: None)
    RAN.clear()
    yield
    RAN.clear()


def kept(content: bytes, results: Path) -> None:
    shutil.rmtree(results, ignore_errors=True)
    (results / RUN / ID).mkdir(parents=True)
    (results / RUN / ID / orders.FILE).write_bytes(content)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run it here; what it printed. It ends with one of the known codes."""
    capsys.readouterr()
    assert exit_code(*arguments) in (0, 1, 2, 3)
    said = "".join(capsys.readouterr())
    assert all(c.isprintable() or c == "\n" for c in said)
    assert "Traceback" not in said
    return said


def check(content: bytes, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(content, results)
    before = sorted(results.rglob("*"))
    try:
        found = orders.read(results, ID)
    except InputError:
        found = None
    assert len(orders.read_all(results)) == (found is not None)
    command(capsys, *STATUS, str(results))
    hashes = [order.cell.hash for order in found.orders] if found else []
    for name in [*hashes[:1], "0" * 32]:
        command(capsys, "run-cell", "--results", str(results), "--", name)
    command(capsys, "collect", "--results", str(results), "--reports", str(results.parent / "reports"))
    assert all(cell.has_plain_names() for cell in RAN)
    assert sorted(results.rglob("*")) == before


@given(st.data())
@campaign(0.3)
def test_orders_with_odd_values(whole: Any, results: Path, capsys: pytest.CaptureFixture[str], data: Any) -> None:
    told = data.draw(mutated(st.just(whole), json_values()))
    check(json.dumps(told).encode(), results, capsys)


@given(st.data())
@campaign(0.2)
def test_orders_of_damaged_bytes(whole: Any, results: Path, capsys: pytest.CaptureFixture[str], data: Any) -> None:
    content = json.dumps(whole, indent=1).encode()
    check(data.draw(damaged(st.just(content), st.binary(max_size=6))), results, capsys)


@given(st.one_of(st.sampled_from(NAMES), st.text(max_size=40)), st.one_of(st.sampled_from(NAMES), st.text(max_size=40)))
@campaign(0.3)
def test_names_on_the_command_line(
    whole: Any, results: Path, capsys: pytest.CaptureFixture[str], hash: str, name: str
) -> None:
    kept(json.dumps(whole).encode(), results)
    command(capsys, "run-cell", "--results", str(results), "--submission", name, "--", hash)
    command(capsys, "run-cell", "--results", str(results), "--", hash)
    command(capsys, "collect", "--results", str(results), "--reports", str(results.parent / "reports"), "--", name)
    assert RAN == []


TURN = msgspec.to_builtins(Turn("0" * 32, "smoke/x.json", "host", 1, "2026-01-01T00:00:00+00:00"))


TIMES = ("", "now", "2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59")
BEGUN = st.sampled_from(TIMES).map(lambda started: {**TURN, "started": started})


@given(st.one_of(mutated(st.just(TURN), json_values()), BEGUN))
@campaign(0.5)
def test_turns_with_odd_values(results: Path, capsys: pytest.CaptureFixture[str], told: Any) -> None:
    shutil.rmtree(results, ignore_errors=True)
    turns = results / RUN / "turns"
    turns.mkdir(parents=True)
    (turns / "a.json").write_text(json.dumps(told))
    with FileLock(turns / "a.lock"):
        command(capsys, *STATUS, str(results))


def test_links_in_place_of_locks_and_orders(
    whole: Any, results: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What they lead to is neither read nor emptied, and nothing waits for a pipe."""
    kept(json.dumps(whole).encode(), results)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    turns = results / RUN / "turns"
    turns.mkdir()
    for name in ("link", "pipe", "folder", "gone"):
        (turns / f"{name}.json").write_text(json.dumps(TURN))
    (turns / "link.lock").symlink_to(precious)
    (turns / "gone.lock").symlink_to(tmp_path / "gone")
    os.mkfifo(turns / "pipe.lock")
    (turns / "folder.lock").mkdir()
    for name in ("a", "b", "c"):
        (results / RUN / name).mkdir()
    (results / RUN / "a" / orders.FILE).symlink_to(precious)
    os.mkfifo(results / RUN / "b" / orders.FILE)
    (results / RUN / "c" / orders.FILE).mkdir()
    (results / RUN / "d").symlink_to(tmp_path)
    said = command(capsys, *STATUS, str(results))
    assert ID in said
    assert precious.read_text() == "precious"
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("link", [RUN, f"{RUN}/turns", f"{RUN}/{ID}", "ensembles", "ensembles/smoke"])
def test_links_lead_no_writer_outside(whole: Any, tmp_path: Path, link: str) -> None:
    results, outside = tmp_path / "results", tmp_path / "outside"
    outside.mkdir()
    (results / link).parent.mkdir(parents=True)
    (results / link).symlink_to(outside)
    told = msgspec.convert(whole, orders.Submission)
    refused = 0
    writers = (
        partial(taken, results, told.orders[0].cell),
        partial(orders.keep, told, results),
        partial(compared, results),
    )
    for write in writers:
        try:
            write()
        except NotKept:
            refused += 1
    assert refused == (2 if link == RUN else 1)
    assert list(outside.iterdir()) == []


def taken(results: Path, cell: Cell) -> None:
    with Turns(results).hold(cell) as mine:
        assert mine


def compared(results: Path) -> None:
    path = next(RESULTS.glob("ensembles/smoke/*/*/*.json"))
    ensembles.write(msgspec.json.decode(path.read_bytes(), type=ensembles.EnsembleRecord), results)
