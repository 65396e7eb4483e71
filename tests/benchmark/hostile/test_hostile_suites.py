"""Suites from strangers: a clear error that names the file, or a suite whose plan is quick and stays in its folder."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hostile_values import campaign, damaged, mutated, toml_text, toml_values
from hypothesis import given
from hypothesis import strategies as st

from benchmark.discovery.methods import METHODS
from benchmark.errors import InputError
from benchmark.running.cluster import load_cluster
from benchmark.running.plan import make_plan
from benchmark.running.records import Cell, RecordStore
from benchmark.suites.alike import patterns
from benchmark.suites.definition import FOLDER, load_suite, suite_names
from benchmark.tuning import spaces as search_spaces
from benchmark.visible import visible

#: Seconds that a suite of one scenario may take at most; it takes a hundredth of that.
LONGEST = 5.0


def small_suites() -> Iterator[dict[str, Any]]:
    """Every scenario of the suites that come with the package, as a suite of its own with those that it is like."""
    for name in suite_names():
        whole = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
        above = patterns(whole["scenarios"], name)
        for scenario in whole["scenarios"]:
            chain = [scenario]
            while other := above[chain[-1]]:
                chain.append(other)
            parts = ("scenarios", "hyperparameters", "stacked")
            chosen = {part: {each: whole.get(part, {}).get(each) for each in chain} for part in parts}
            some = {part: {each: told for each, told in inner.items() if told} for part, inner in chosen.items()}
            suite = {**whole, "name": "mine", **some}
            if not some["hyperparameters"]:
                del suite["hyperparameters"]
            yield suite


SUITES = list(small_suites())
FRAGMENTS = (
    b"=", b"[", b"]", b"{", b"}", b'"', b"'''", b'"""', b"\n", b"#", b",", b".", b"\\", b"\\ud800", b"\\u0000", b"\0",
    b"\xff", b"\xed\xa0\x80", b"nan", b"-inf", b"0x" + b"f" * 4_000, b"1" * 5_000, b"9" * 20, b"1e999", b"-0", b"1_0",
    b"1979-05-27", b"07:32:00", b"../", b"[" * 2_000, b"{a=" * 2_000, b"a." * 2_000, b"[[x]]", b"true", b"\x1b[2J",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("suites")


def planned(path: Path) -> tuple[list[Cell], str | None]:
    """The cells of one seed, or what is wrong."""
    try:
        return make_plan(load_suite(str(path)), [7], "cpu", RecordStore(path.parent / "results")).cells, None
    except InputError as error:
        return [], str(error)


def check(content: bytes, folder: Path) -> None:
    """The whole of what a stranger's suite may do: one short error, or a plan."""
    path = folder / "mine.toml"
    path.write_bytes(content)
    started = time.perf_counter()
    cells, said = planned(path)
    if said is not None:
        assert "mine" in said
        assert len(visible(said)) < 10_000
        assert visible(said).isprintable()
    for cell in cells:
        assert cell.has_plain_names()
        inside = Path(os.path.normpath(folder / "results" / cell.file))
        assert inside.is_relative_to(folder / "results" / cell.suite)
        assert len(inside.name.encode()) < 256
    assert time.perf_counter() - started < LONGEST
    assert sorted(p.name for p in folder.iterdir()) == ["mine.toml"]


def test_whole_suites_have_plans(folder: Path) -> None:
    """What the other tests begin with."""
    for suite in SUITES[::7]:
        (folder / "mine.toml").write_text(toml_text(suite))
        cells, said = planned(folder / "mine.toml")
        assert said is None
        assert cells


@given(mutated(st.sampled_from(SUITES), toml_values()))
@campaign()
def test_suites_with_odd_values(folder: Path, suite: dict[str, Any]) -> None:
    check(toml_text(suite).encode("utf-8", "surrogatepass"), folder)


@given(
    damaged(
        st.sampled_from([toml_text(suite).encode() for suite in SUITES]),
        st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=6)),
    )
)
@campaign()
def test_suites_of_damaged_text(folder: Path, content: bytes) -> None:
    check(content, folder)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("model", '"transformers:"', "unknown model"),
        ("classes", "998", "classes must be 1 to 8"),
        ("forget_seed", "10000000000000000000000", "at most 64 bits"),
        ("forget_seed", f"0x{'f' * 9_000}", "at most 64 bits"),
        ("forget_seed", "9" * 9_000, "Exceeds the limit"),
        ("attack_fit_samples", "nan", "finite number"),
        ("requests", '"at\\u0000once"', "Invalid enum"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, field: str, value: str, said: str) -> None:
    suite = next(s for s in SUITES if "mnist5k-three-at-once" in s["scenarios"])
    text = toml_text({**suite, "scenarios": {}}).replace("scenarios = {}", "")
    settings = {key: inner for key, inner in suite["scenarios"]["mnist5k-three-at-once"].items() if key != field}
    text = text[: text.index('"hyperparameters"')] + "[scenarios.one]\n" + toml_text(settings) + f"{field} = {value}\n"
    (folder / "mine.toml").write_text(text.replace('"scenarios" = {}', ""))
    assert said in str(planned(folder / "mine.toml")[1])


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_no_suite(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "mine.toml")
    with pytest.raises(InputError, match="not a regular file"):
        load_suite(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" + b".a" * 500_000, "more than 200 dots"),
        (b"#" * 2**20 + b"\n", "more than 1,048,576"),
        (b"a = " + b"[" * 10_000, "recursion"),
        (b"".join(b"[a" + b".b" * n + b"]\n" for n in range(40)), "more than 32 levels"),
    ],
)
def test_what_takes_long_to_read_is_not_read(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    started = time.perf_counter()
    with pytest.raises(InputError, match=said):
        load_suite(str(tmp_path / "mine.toml"))
    assert time.perf_counter() - started < LONGEST


# Other files of the same kind.

CLUSTER = {
    "partition": "gpu", "account": "me", "qos": "long", "constraint": "a100|h100", "gres": "gpu:a100", "parallel": 8,
    "setup": ["module load cuda", "source env/bin/activate"], "minutes_a_task": 20.0, "max_array_size": 100,
}  # fmt: skip


@given(mutated(st.just(CLUSTER), toml_values()))
@campaign(0.5)
def test_clusters(tmp_path_factory: pytest.TempPathFactory, told: dict[str, Any]) -> None:
    """None of its names can end a line of a job script."""
    path = tmp_path_factory.getbasetemp() / "cluster.toml"
    path.write_bytes(toml_text(told).encode("utf-8", "surrogatepass"))
    try:
        cluster = load_cluster(path)
    except InputError as error:
        said = str(error)
    else:
        said = "cluster.toml"
        names = (cluster.partition, cluster.account, cluster.qos, cluster.constraint, cluster.gres, *cluster.setup)
        assert all(name.isprintable() for name in names if name is not None)
    assert "cluster.toml" in said


SPACES = tomllib.loads((FOLDER / "spaces.toml").read_text("utf-8"))


@given(mutated(st.just(SPACES), toml_values()))
@campaign(0.5)
def test_search_spaces(tmp_path_factory: pytest.TempPathFactory, told: dict[str, Any]) -> None:
    """A space gives every hyper-parameter's default a place."""
    folder = tmp_path_factory.getbasetemp()
    (folder / "spaces.toml").write_bytes(toml_text(told).encode("utf-8", "surrogatepass"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_spaces, "FOLDER", folder)
        try:
            found = search_spaces.spaces("class-forget")
        except InputError:
            return
    for method, ranges in found.items():
        name = method.partition("@")[0]
        task = next(task for task in search_spaces.FORGETTING if METHODS.has(name, task))
        known = METHODS.get(name, task).defaults()
        assert all(space.nearest(known[parameter]) is not None for parameter, space in ranges.items())


def test_a_record_that_no_file_can_be_called_is_said_before_anything_runs(folder: Path) -> None:
    """A thousand classes at once would be the name of a file."""
    suite = load_suite("embedded")
    one = suite.scenarios["mnist5k-three-at-once"]
    settings = msgspec.structs.replace(one.settings, data="imagenet-tench", classes=900)
    many = msgspec.structs.replace(
        suite, scenarios={"many": msgspec.structs.replace(one, name="many", settings=settings)}
    )
    with pytest.raises(InputError, match="no file can be called"):
        make_plan(many, [0], "cpu", RecordStore(folder / "results"))
