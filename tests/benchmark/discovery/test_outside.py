"""Methods from outside: found without being run, known by names that say nothing of where they lie."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.discovery import outside, source
from benchmark.discovery.methods import METHODS, from_outside, load
from benchmark.errors import InputError

LookAgain = Callable[[], None]
HEAD = "from torch import nn\nfrom benchmark.contracts import Access, ForgetProblem, method\n\n"
METHOD = (
    '@method("{name}", tasks="class-forget", paper="", access=Access())\n'
    "def f(problem: ForgetProblem, *, lr: float = 0.1) -> nn.Module:\n"
    '    """What it does."""\n'
    "    return problem.model\n"
)
PLAIN = HEAD + METHOD.format(name="mine")


@pytest.fixture
def named(tmp_path: Path, outsiders: LookAgain, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a file, and name it and those before in the environment."""

    def write(text: str = PLAIN, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        paths = [part for part in os.environ[outside.VARIABLE].split(os.pathsep) if part]
        monkeypatch.setenv(outside.VARIABLE, os.pathsep.join(dict.fromkeys([*paths, str(path)])))
        outsiders()
        return path

    return write


def test_a_named_file_is_read_and_not_run(named: Callable[..., Path]) -> None:
    named("raise RuntimeError('it was run')\n" + PLAIN)
    info = METHODS.get("mine", "class-forget")
    assert (info.module, info.kind, info.summary, info.defaults()) == (
        "external.mine", "baseline", "What it does.", {"lr": 0.1},
    )  # fmt: skip
    assert from_outside(info)
    assert not from_outside(METHODS.get("scrub", "class-forget"))
    with pytest.raises(RuntimeError, match="it was run"):
        load(info)
    assert info.module not in sys.modules


def test_the_kind_is_what_the_decorator_says(named: Callable[..., Path]) -> None:
    named(PLAIN.replace('paper=""', 'paper="arXiv:2501.00001", kind="paper"'))
    assert METHODS.get("mine", "class-forget").kind == "paper"


def test_the_digest_is_of_the_content_and_not_of_the_place(named: Callable[..., Path], outsiders: LookAgain) -> None:
    path = named()
    first = source.digest("external.mine")
    assert {"external.mine", "benchmark.contracts"} <= set(source.closure("external.mine"))
    other = path.parent / "elsewhere" / "mine.py"
    other.parent.mkdir()
    other.write_text(PLAIN)
    os.environ[outside.VARIABLE] = str(other)
    outsiders()
    assert source.digest("external.mine") == first
    other.write_text(PLAIN.replace("0.1", "0.2"))
    outsiders()
    assert source.digest("external.mine") != first
    other.write_text("from benchmark.training.sampling import fit\n" + PLAIN)
    outsiders()
    assert "benchmark.training.sampling" in source.closure("external.mine")


def test_what_is_loaded_is_what_was_read(named: Callable[..., Path], outsiders: LookAgain) -> None:
    """Bytecode of an edit within the same second, of the same length, is not taken for the file."""
    path = named()
    assert load(METHODS.get("mine", "class-forget")).__kwdefaults__ == {"lr": 0.1}  # type: ignore[attr-defined]
    status = path.stat()
    path.write_text(PLAIN.replace("0.1", "0.3"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    outsiders()
    assert load(METHODS.get("mine", "class-forget")).__kwdefaults__ == {"lr": 0.3}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", "mine.py: invalid syntax"),
        ("x = 1\n", "mine.py: it declares no method"),
        (HEAD + METHOD.format(name="scrub"), r"class-forget has a method 'scrub' already \(baselines.scrub"),
        (HEAD + 2 * METHOD.format(name="twice"), r"has a method 'twice' already \(external.mine.f\)"),
        (HEAD + METHOD.format(name="No Name"), "'No Name' is no name"),
        (PLAIN.replace('paper=""', "paper=7"), "paper cannot be 7"),
        (PLAIN.replace('paper=""', 'paper="", colour="red"'), "it takes no colour"),
        (PLAIN.replace('paper=""', 'paper="", kind="best"'), "kind cannot be 'best'"),
        (PLAIN.replace('paper=""', 'paper="", version=0'), "version cannot be 0"),
        (PLAIN.replace('tasks="class-forget"', "tasks=()"), r"tasks cannot be \(\)"),
        (PLAIN.replace("Access()", 'Access("xy")'), r"Access\('xy'\): .*positional"),
        (PLAIN.replace("Access()", "Access(retain=5)"), "Access"),
        ("x = " + "(" * 5000 + "\n", "mine.py: "),
    ],
)
def test_a_file_that_cannot_be_one_is_refused(named: Callable[..., Path], text: str, said: str) -> None:
    named(text)
    with pytest.raises(InputError, match=said):
        METHODS.get("retrain", "class-forget")


def test_two_files_of_one_name_are_refused(named: Callable[..., Path]) -> None:
    named()
    named(HEAD + METHOD.format(name="other"), "there/mine.py")
    with pytest.raises(InputError, match=r"mine\.py: two files of methods have this name"):
        METHODS.values()


@pytest.mark.parametrize("path", ["mine.py", "/nowhere/mine.py", "/etc/passwd", "/a b.py"])
def test_the_variable_names_absolute_paths_of_files(
    path: str, named: Callable[..., Path], outsiders: LookAgain
) -> None:
    os.environ[outside.VARIABLE] = path
    outsiders()
    with pytest.raises(InputError, match=f"{outside.VARIABLE}: '{path}' is no"):
        METHODS.values()


# Packages.


@pytest.fixture
def installed(tmp_path: Path, outsiders: LookAgain, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a package ``lab`` of these files, which offers ``lab.ideas``."""

    def install(offered: str = "lab.ideas", **files: str) -> None:
        texts = {"__init__": "raise RuntimeError('imported')\n", **files}
        for name, text in texts.items():
            path = tmp_path / "lab" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        about = tmp_path / "lab-1.0.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{outside.GROUP}]\nideas = {offered}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        outsiders()

    return install


def test_a_package_offers_methods_and_is_not_imported(installed: Callable[..., None], outsiders: LookAgain) -> None:
    installed(ideas="from lab.parts import x\n" + PLAIN, parts="x = 1\n")
    info = METHODS.get("mine", "class-forget")
    assert info.module == "lab.ideas"
    assert from_outside(info)
    first = source.digest(info.module)
    assert {"lab.ideas", "lab.parts"} <= set(source.closure(info.module))
    installed(parts="x = 2\n")
    assert source.digest(info.module) != first
    assert "lab" not in sys.modules
    with pytest.raises(RuntimeError, match="imported"):
        load(info)


@pytest.mark.parametrize(
    ("offered", "ideas", "said"),
    [
        ("lab.ideas", "def f(:\n", "ideas.py: invalid syntax"),
        ("lab.ideas", HEAD + METHOD.format(name="scrub"), "has a method 'scrub' already"),
        ("lab.gone", PLAIN, "lab.gone: there is no such module"),
        ("vanished.ideas", PLAIN, "vanished.ideas: there is no such module"),
    ],
)
def test_a_broken_package_is_left_out(
    installed: Callable[..., None], caplog: pytest.LogCaptureFixture, offered: str, ideas: str, said: str
) -> None:
    """Nobody's package keeps the rest from working."""
    with caplog.at_level(logging.WARNING):
        installed(offered, ideas=ideas)
        assert METHODS.has("scrub", "class-forget")
    assert not METHODS.has("mine", "class-forget")
    assert said in caplog.text


def test_nobody_offers_what_is_ours(installed: Callable[..., None]) -> None:
    installed("benchmark.discovery.methods", ideas=PLAIN)
    assert outside.offered() == ()
