"""Digests change with code, near and far, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmark.discovery import source
from benchmark.discovery.methods import METHODS
from benchmark.tasks import TASKS

FILES = {
    "__init__.py": "",
    "top.py": (
        '"""About top."""\n'
        "from __future__ import annotations\n"
        "import torch\n"
        "from typing import TYPE_CHECKING\n"
        "from fake.middle import helper\n"
        "if TYPE_CHECKING:\n"
        "    from fake.types import Thing\n"
        "def f(x):\n"
        '    """Doubled, in a way."""\n'
        "    return helper(x) * 2\n"
        "class C:\n"
        '    """A class."""\n'
        "    y = 1\n"
    ),
    "middle.py": "def helper(x):\n    from fake.sub import deep\n    return deep.value + x\n",
    "types.py": "class Thing: ...\n",
    "sub/__init__.py": "",
    "sub/deep.py": "value = 1\n",
    "other.py": "unrelated = 1\n",
}
CACHED = (source.digest, source.closure, source._path, source._tree, source._imports, source._own_digest)


@pytest.fixture
def digest_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Digest of fake.top after the given files are written into the package."""
    folder = tmp_path / "fake"
    monkeypatch.setattr(source, "FIRST_PARTY", ("fake",))
    monkeypatch.setattr(source, "package_folder", lambda name: tmp_path / name)

    def digest(changed: dict[str, str] | None = None, module: str = "fake.top") -> str:
        for name, text in {**FILES, **(changed or {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        for function in CACHED:
            function.cache_clear()
        return source.digest(module)

    yield digest
    for function in CACHED:
        function.cache_clear()


def edited(name: str, old: str, new: str) -> dict[str, str]:
    assert old in FILES[name]
    return {name: FILES[name].replace(old, new)}


@pytest.mark.parametrize(
    "change",
    [
        edited("top.py", "* 2", "* 3"),
        edited("top.py", "* 2", "+ 2"),
        edited("top.py", "y = 1", "y = 1.0"),
        edited("top.py", "y = 1", "y = True"),
        edited("top.py", "y = 1", "z = 1"),
        edited("top.py", "import torch\n", ""),
        edited("middle.py", "+ x", "- x"),
        edited("sub/deep.py", "1", "2"),
        {"sub/__init__.py": "import os\n"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_code_of_a_module_or_of_what_it_imports_counts(digest_with: Callable[..., str], change: dict[str, str]) -> None:
    assert digest_with(change) != digest_with()


@pytest.mark.parametrize(
    "change",
    [
        edited("top.py", "About top.", "About something else."),
        edited("top.py", '"""About top."""\n', ""),
        edited("top.py", "Doubled, in a way.", "Twice."),
        edited("top.py", "A class.", "The class."),
        edited("top.py", "    return helper(x) * 2", "    # a comment\n\n    return (helper( x )\n            *2)"),
        edited("top.py", "import torch\n", "import torch  # heavy\n\n\n"),
        edited("types.py", "...", "x = 1"),
        {"other.py": "unrelated = 2\n"},
    ],
)
def test_docstrings_comments_layout_types_and_strangers_do_not(
    digest_with: Callable[..., str], change: dict[str, str]
) -> None:
    assert digest_with(change) == digest_with()


def test_a_string_that_is_no_docstring_counts(digest_with: Callable[..., str]) -> None:
    assert digest_with({"top.py": 'x = 1\n"loose"\n'}) != digest_with({"top.py": "x = 1\n"})
    assert digest_with({"top.py": 'x = "a"\n'}) != digest_with({"top.py": 'x = "b"\n'})


def test_renaming_the_module_counts(digest_with: Callable[..., str]) -> None:
    same = {"one.py": "x = 1\n", "two.py": "x = 1\n"}
    assert digest_with(same, "fake.one") != digest_with(same, "fake.two")


def test_modules_that_import_each_other_have_digests(digest_with: Callable[..., str]) -> None:
    ring = {"top.py": "import fake.middle\n", "middle.py": "import fake.top\n"}
    assert len(digest_with(ring)) == 16


@pytest.mark.parametrize("line", ["from .middle import helper", "from . import middle", "from .sub.deep import value"])
def test_relative_imports_are_followed(digest_with: Callable[..., str], line: str) -> None:
    """Otherwise changed code would read an old result as its own."""
    text = {"top.py": f"{line}\n"}
    before = digest_with(text)
    assert digest_with({**text, "middle.py": "helper = 3\n", "sub/deep.py": "value = 3\n"}) != before


def test_the_real_closures_hold_what_results_depend_on() -> None:
    task = source.closure(TASKS.get("class-forget").implementation)
    for needed in (
        "benchmark.tasks.forgetting",
        "benchmark.tasks.base_models",
        "benchmark.data.packaged",
        "benchmark.data.views",
        "benchmark.metrics.relearning",
        "benchmark.models.classifiers",
        "benchmark.training.loop",
        "benchmark.seeding",
    ):
        assert needed in task
    for info in METHODS.values():
        assert {info.module, "benchmark.contracts"} <= set(source.closure(info.module))
    assert not [name for name in task if name.startswith(("benchmark.reporting", "benchmark.cli", "methods"))]
