"""What is kept of a run of ``amendbench speed``, read again, and what the page and the exit code make of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from benchmark.commands import measure_speed as command
from benchmark.errors import InputError
from benchmark.hardware import Hardware, hardware
from benchmark.reporting.speed import page_of, print_speeds, seconds_text, write_page
from benchmark.speed import timed
from benchmark.speed.measured import FOLDER, Limited, Pair, Speeds, read_all, read_report, write
from benchmark.speed.timed import Broken, Failed

HERE = Hardware(
    processor="A | processor", capability="AVX2", model="", flags="", platform="Linux", device="cpu", cores=2
)


def pair(ours: list[float], plain: list[float], **more: Any) -> Pair:
    return Pair("test_x", "a <b>path</b>", "a | loop", ours, plain, **more)


def speeds(*works: Pair | Limited, here: Hardware = HERE) -> Speeds:
    pairs = [work for work in works if isinstance(work, Pair)]
    limits = [work for work in works if isinstance(work, Limited)]
    return Speeds(1, here, "2026-01-02T03:04:05+00:00", {"torch": "2"}, pairs, limits)


def report(*extra: dict[str, Any], data: tuple[float, ...] = (1.0, 2.0)) -> bytes:
    """pytest-benchmark's JSON with what the fixtures note."""
    benchmarks = [{"name": f"test_{i}", "stats": {"data": data}, "extra_info": own} for i, own in enumerate(extra)]
    return msgspec.json.encode({"benchmarks": benchmarks, "machine_info": {}})


PAIR = {"title": "t", "way": "w", "plain": [4.0, 6.0], "bar": 3.0, "amount": None, "unit": ""}


def test_ratios_are_round_by_round() -> None:
    found = pair([1.0, 2.0, 1.0], [4.0, 4.0, 9.0], bar=4.5)
    assert found.ratios == [4.0, 2.0, 9.0]
    assert (found.ratio, found.missed) == (4.0, True)
    assert not pair([1.0], [4.5], bar=4.5).missed
    assert not pair([1.0], [0.5]).missed
    assert Limited("n", "t", [1.0, 3.0, 2.0], 1.9).missed
    assert not Limited("n", "t", [1.0, 3.0, 2.0], 2.0).missed
    assert not Limited("n", "t", [1.0]).missed


def test_reports_of_pytest_benchmark() -> None:
    pairs, limits = read_report(report(PAIR, {"title": "u", "limit": 0.3}, {"calibration": [1.0]}))
    assert pairs == [Pair("test_0", "t", "w", [1.0, 2.0], [4.0, 6.0], 3.0)]
    assert limits == [Limited("test_1", "u", [1.0, 2.0], 0.3)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        report(),
        report({"calibration": [1.0]}),
        report({**PAIR, "plain": [1.0]}),
        report({**PAIR, "plain": [1.0, 0.0]}),
        report({**PAIR, "bar": "high"}),
        report({"title": "u", "limit": 1.0}, data=()),
        report({"title": "u", "limit": 1.0}, data=(-1.0,)),
    ],
)
def test_reports_that_are_none(content: bytes) -> None:
    with pytest.raises(Broken, match="benchmarks"):
        read_report(content)


def test_kept_and_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One file a kind of machine; what is damaged or lies under another's name is reported and left out."""
    first = speeds(pair([0.123456], [1.0], bar=2.0), Limited("n", "t", [0.5], 1.0))
    path = write(first, tmp_path)
    other = write(speeds(pair([1.0], [2.0]), here=msgspec.structs.replace(HERE, device="H200")), tmp_path)
    (kept, second) = sorted(read_all(tmp_path), key=lambda one: one.hardware.device != "cpu")
    assert kept.pairs[0].ours == [0.1235]
    assert (kept.device, second.device) == ("A | processor, 2 cores", "H200")
    other.write_bytes(path.read_bytes())
    bad = [
        b"{",
        path.read_bytes().replace(b"0.1235", b"0.0"),
        path.read_bytes().replace(b'"schema": 1', b'"schema": 2'),
    ]
    for number, content in enumerate(bad):
        (tmp_path / FOLDER / f"{number}.json").write_bytes(content)
    path.write_bytes(bad[1])
    with caplog.at_level(logging.WARNING):
        assert list(read_all(tmp_path)) == []
    assert len(caplog.records) == 5


def test_page(tmp_path: Path) -> None:
    """Ratios with their range, rates, bars; text from outside is escaped; without results there is no page."""
    works = (
        pair([0.5, 1.0], [10.0, 10.0], bar=20.0, amount=100.0, unit="images/s"),
        pair([1.0], [2.5], bar=2.0),
        Limited("n", "planning", [0.2], 2.0),
        Limited("n", "reading", [3.0], 2.0),
    )
    write(speeds(*works), tmp_path / "results")
    path = write_page(tmp_path / "results", tmp_path)
    assert path is not None
    lines = path.read_text().splitlines()
    assert "## A \\| processor, 2 cores" in lines
    first, second = (line for line in lines if "path" in line and "b&gt;" in line)
    assert "a &lt;b&gt;path&lt;/b&gt; | a \\| loop" in first
    assert "| 750 ms (133 images/s) | 10 s | 15x (10x to 20x) | 20x, NOT REACHED |" in first
    assert "| 1 s | 2.5 s | 2.5x (2.5x to 2.5x) | 2x |" in second
    assert "| planning | 200 ms | 2 s |" in lines
    assert "| reading | 3 s | 2 s, NOT REACHED |" in lines
    assert "make speed`" in path.read_text()
    (next((tmp_path / "results" / FOLDER).iterdir())).unlink()
    assert write_page(tmp_path / "results", tmp_path) is None
    assert not path.exists()
    path.write_text("# Somebody's page\n")
    assert write_page(tmp_path / "results", tmp_path) is None
    assert path.exists()
    assert page_of([]) == ""


def test_seconds_text() -> None:
    assert [seconds_text(s) for s in (12.345, 0.0456, 7.89e-6, 2e-9)] == ["12.3 s", "45.6 ms", "7.89 µs", "2 ns"]


def test_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_speeds(speeds(pair([1.0], [3.0]), Limited("n", "[red]x", [1.0])), Console(width=200))
    told = capsys.readouterr().out
    assert "a <b>path</b>" in told
    assert "[red]x" in told
    assert "3x (3x to 3x)" in told


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | Exception, only: tuple[str, ...] = ()) -> int:
    def given(*arguments: Any, **more: Any) -> bytes:
        assert more["full"]
        if isinstance(content, Exception):
            raise content
        return content

    monkeypatch.setattr(timed, "run_benchmarks", given)
    return command.measure(tmp_path / "results", tmp_path / "reports", Console(), device="cpu", only=only)


def test_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, monkeypatch, report(PAIR)) == 0
    assert (tmp_path / "results" / FOLDER / f"{hardware('cpu').fingerprint}.json").exists()
    assert (tmp_path / "reports" / "speed.md").exists()
    assert run(tmp_path / "b", monkeypatch, report({**PAIR, "bar": 4.0})) == 1
    assert (tmp_path / "b" / "reports" / "speed.md").exists()
    assert run(tmp_path / "c", monkeypatch, report(PAIR), only=("t",)) == 0
    assert run(tmp_path / "c", monkeypatch, timed.Unmeasured("no package")) == 3
    assert run(tmp_path / "c", monkeypatch, Broken("crashed")) == 1
    assert run(tmp_path / "c", monkeypatch, b"", only=("t",)) == 3  # nothing of it runs here
    assert run(tmp_path / "c", monkeypatch, Failed("x is wrong", ["test_0"], report(PAIR))) == 1
    assert not list((tmp_path / "c").rglob("*.*"))
    told = capsys.readouterr().out
    assert "bars that are not reached: t" in told
    assert "none of these works runs on cpu" in told
    assert "nothing was kept: x is wrong" in told
    with pytest.raises(InputError, match="tpu"):
        command.measure(tmp_path, tmp_path, Console(), device="tpu")


def test_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real pair in a process of its own, small; a bar is told how far it is, and a failing test is told."""
    told: list[tuple[str, int]] = []
    monkeypatch.setenv(timed.FULL, "1")  # is not handed on where small works are asked for
    content = timed.run_benchmarks(
        "tests/speed/pairs", "cpu", ["group_draws"], 2, watch=lambda name, percent: told.append((name, percent))
    )
    ((found,), limits) = read_report(content)
    assert found.name == "test_group_draws"
    assert len(found.ours) == len(found.plain) == 2
    assert limits == []
    assert told == [("test_group_draws", 100)]
    assert max(found.plain) < 1  # the full work takes seconds
    with pytest.raises(Broken, match="did not end"):
        timed.run_benchmarks("tests/speed/pairs", "cpu", ["group_draws"], 1, longest=0.01)


def test_numbers_that_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Bars, limits and amounts below 0 are left out; a bar that says nothing is told in few digits."""
    path = write(speeds(pair([1.0], [2.0], bar=3.0, amount=4.0), Limited("n", "t", [0.5], 5.0)), tmp_path)
    good = path.read_bytes()
    for number in (b"3.0", b"4.0", b"5.0"):
        assert good.count(number) == 1
        path.write_bytes(good.replace(number, b"-1.0"))
        assert list(read_all(tmp_path)) == []
    assert len(caplog.records) == 3
    path.write_bytes(good.replace(b"3.0", b"1e308").replace(b"4.0", b"1e307"))
    page = page_of(list(read_all(tmp_path)))
    assert "| 1e+308x, NOT REACHED |" in page
    assert "| 1 s (1e+307 ) |" in page


def test_links_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a folder nor a file elsewhere is read in the place of what was measured."""
    path = write(speeds(pair([1.0], [2.0])), tmp_path / "elsewhere")
    (tmp_path / "folder" / FOLDER.parent).mkdir(parents=True)
    (tmp_path / "folder" / FOLDER).symlink_to(path.parent)
    (tmp_path / "file" / FOLDER).mkdir(parents=True)
    (tmp_path / "file" / FOLDER / path.name).symlink_to(path)
    (tmp_path / "results").symlink_to(tmp_path / "elsewhere")
    assert list(read_all(tmp_path / "folder")) == list(read_all(tmp_path / "file")) == []
    assert len(caplog.records) == 2
    assert len(list(read_all(tmp_path / "results"))) == 1  # the results folder itself may be one
