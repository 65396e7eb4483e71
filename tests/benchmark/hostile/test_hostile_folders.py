"""Results folders from strangers: links, pipes, devices, holes and odd names where records should be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile_commands import exit_code
from hostile_values import NAMES, campaign
from hypothesis import given
from hypothesis import strategies as st

from benchmark.reporting.sweeps import sweeps
from benchmark.running import ensembles
from benchmark.running.records import RUN, RecordStore

RESULTS = Path(__file__).parents[3] / "results"
KEPT = "smoke/class-forget/four-gaussians"
ORIGINAL = f"{KEPT}/original/class-0-seed0-cpu.json"
RETRAIN = f"{KEPT}/retrain/class-0-seed0-cpu.json"
METHOD = f"{KEPT}/svd-forgetting/class-0-seed0-cpu.json"
ENSEMBLE = "ensembles/smoke/class-forget/digits/retrain-cpu.json"
STUDY = "tuning/smoke/bias-correction/digits-patch/rr-clarc.json"
FILES = (ORIGINAL, RETRAIN, METHOD, ENSEMBLE)
#: Seconds after which a command is said to hang.
LONGEST = 20


def link(to: str) -> Callable[[Path, Path], None]:
    def make(path: Path, outside: Path) -> None:
        path.symlink_to(to.format(outside=outside, here=path.name))

    return make


def pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def plug(path: Path, outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path is a short one
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def folder(path: Path, outside: Path) -> None:
    path.mkdir()


def hole(path: Path, outside: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**43)


def forbidden(path: Path, outside: Path) -> None:
    path.write_bytes(b"{}")
    path.chmod(0)


def written(content: bytes) -> Callable[[Path, Path], None]:
    return lambda path, outside: path.write_bytes(content) and None


KINDS: dict[str, Callable[[Path, Path], None]] = {
    "link to a record": link("{outside}/record.json"),
    "link to a secret": link("{outside}/secret"),
    "link to a folder": link("{outside}"),
    "link to everything": link("/"),
    "link to itself": link("{here}"),
    "link to its parent": link(".."),
    "link to nothing": link("/nowhere/at/all"),
    "link to zeros": link("/dev/zero"),
    "link to a terminal": link("/dev/tty"),
    "pipe": pipe,
    "socket": plug,
    "folder": folder,
    "hole": hole,
    "forbidden": forbidden,
    "empty": written(b""),
    "text": written(b"\x1b[2Jhello\n"),
    "list": written(b"[]"),
}
PLACES = (
    ORIGINAL, METHOD, METHOD.replace(".json", ".npz"), ENSEMBLE, STUDY, f"{KEPT}/svd-forgetting", f"{KEPT}/x.json",
    KEPT, "smoke/class-forget", "smoke", "embedded", "ensembles", "tuning", "tuning/smoke", "ensembles/x.json", RUN,
    f"{RUN}/claims", f"{RUN}/claims/a.json", f"{RUN}/claims/a.lock", f"{RUN}/x", f"{RUN}/x/orders.json", "x.json",
)  # fmt: skip
FIT = [
    name for name in NAMES if name not in ("", ".", "..") and "/" not in name and "\0" not in name and len(name) < 99
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what lies outside of the results, which a link may lead to."""
    root = tmp_path_factory.mktemp("hostile")
    outside = root / "outside"
    (outside / "folder").mkdir(parents=True)
    shutil.copy(RESULTS / ORIGINAL, outside / "record.json")
    (outside / "secret").write_text("secret")
    return root


@pytest.fixture(autouse=True)
def _hangs() -> Iterator[None]:
    """What waits for a pipe waits for ever: the test fails instead."""

    def stop(signum: int, frame: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def fill(root: Path, odd: list[tuple[str, str]]) -> Path:
    results = root / "results"
    shutil.rmtree(results, ignore_errors=True)
    for file in FILES:
        (results / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(RESULTS / file, results / file)
    for where, kind in odd:
        path = results / where
        above = [parent for parent in path.parents if parent.is_relative_to(results) and os.path.lexists(parent)]
        if any(parent.is_symlink() or not parent.is_dir() for parent in above):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        KINDS[kind](path, root / "outside")
    return results


def state(root: Path) -> dict[str, tuple[int, int]]:
    """What is there, and when it was written."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in [".", *names]:
            told = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (told.st_size, told.st_mtime_ns)
    return found


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    signal.alarm(LONGEST)
    code = exit_code(*arguments)
    signal.alarm(0)
    assert code in (0, 1, 2, 3)
    said = "".join(capsys.readouterr())
    assert all(c.isprintable() or c == "\n" for c in said)
    assert "secret" not in said.replace("/secret", "")
    return code, said


def odd_places() -> st.SearchStrategy[list[tuple[str, str]]]:
    named = st.builds(
        lambda place, name: f"{place.rpartition('/')[0]}/{name}".lstrip("/"),
        st.sampled_from(PLACES),
        st.one_of(st.sampled_from(FIT), st.sampled_from(FIT).map(lambda name: f"{name}.json")),
    )
    return st.lists(
        st.tuples(st.one_of(st.sampled_from(PLACES), named), st.sampled_from([*KINDS])), min_size=1, max_size=4
    )


READING = (
    ("leaderboard", "--suite", "smoke"),
    ("leaderboard", "--suite", "smoke", "--format", "json"),
    ("export", "--suite", "smoke", "--format", "json"),
    ("export", "--suite", "smoke"),
    ("status", "--suite", "smoke", "--task", "class-forget", "--seeds", "1"),
    ("collect",),
    ("verify",),
)


@given(odd_places(), st.sampled_from(READING))
@campaign(0.5)
def test_commands_that_read(
    here: Path, capsys: pytest.CaptureFixture[str], odd: list[tuple[str, str]], arguments: tuple[str, ...]
) -> None:
    results = fill(here, odd)
    before = state(here)
    command(capsys, *arguments, "--results", str(results))
    assert state(here) == before


@given(odd_places())
@campaign(0.5)
def test_all_readers(here: Path, odd: list[tuple[str, str]]) -> None:
    results = fill(here, odd)
    before = state(here)
    signal.alarm(LONGEST)
    store = RecordStore(results)
    for record in store.all():
        store.arrays(record)
    for record in [*store.all("smoke"), *store.all("embedded")]:
        store.arrays(record)
    list(ensembles.read_all(results))
    sweeps(results, "smoke")
    signal.alarm(0)
    assert state(here) == before


@given(odd_places())
@campaign(0.1)
def test_reports(here: Path, capsys: pytest.CaptureFixture[str], odd: list[tuple[str, str]]) -> None:
    results = fill(here, odd)
    shutil.rmtree(here / "reports", ignore_errors=True)
    before = state(results)
    command(capsys, "report", "--results", str(results), "--reports", str(here / "reports"))
    assert state(results) == before
    assert {path.name for path in here.iterdir()} <= {"results", "reports", "outside"}
    assert state(here / "outside") == {k: v for k, v in state(here).items() if k.startswith(str(here / "outside"))}


def test_what_is_whole_is_shown_beside_what_is_not(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = fill(here, [(METHOD, "pipe"), (f"{KEPT}/x.json", "link to zeros"), ("embedded", "link to everything")])
    code, said = command(capsys, "leaderboard", "--suite", "smoke", "--format", "json", "--results", str(results))
    assert code == 0
    assert {row["method"] for row in json.loads(said[said.index("[\n") :])} == {"original", "retrain"}
