"""Do the tests notice? Lines of methods, metrics and baselines are changed at random, one at a time, in a copy.

    .venv/bin/python tests/mutate.py --seed 7 --lines 10

takes ten lines of each, some minutes, and prints a Markdown table of what was changed and which test failed. The tests
nearest to a file run first; only what they let pass is put to all tests of the harness.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
#: What lines are taken from, and the tests that are near to them.
ROOMS = {
    "methods": ("methods/**/*.py", ("tests/benchmark/discovery/test_defaults.py", "tests/methods")),
    "metrics": ("benchmark/metrics/*.py", ("tests/benchmark/metrics", "tests/benchmark/checking")),
    "baselines": ("baselines/*.py", ("tests/benchmark/discovery/test_defaults.py", "tests/baselines")),
}
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Add, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
CALLS = {
    "sum": "mean", "mean": "sum", "max": "min", "min": "max", "argmax": "argmin", "argmin": "argmax", "log": "exp",
    "exp": "log", "softmax": "log_softmax", "log_softmax": "softmax", "amax": "amin", "amin": "amax", "abs": "square",
    "square": "abs", "relu": "abs", "sigmoid": "tanh", "clamp_min": "clamp_max", "train": "eval", "sqrt": "square",
}  # fmt: skip
#: No behaviour is in these.
SILENT = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.Assert)


class Mutation(NamedTuple):
    """A line of a file below the root, before and after."""

    file: str
    line: int
    before: str
    after: str


def changed(node: ast.AST) -> ast.AST | None:
    """The node with one thing changed; None where nothing is to be changed in it."""
    new: Any = copy.deepcopy(node)
    match node:
        case ast.Compare(ops=[operator, *_]) if type(operator) in COMPARISONS:
            new.ops[0] = COMPARISONS[type(operator)]()
        case ast.BinOp(op=operator, left=left) if type(operator) in OPERATORS and not isinstance(left, ast.Constant):
            new.op = OPERATORS[type(operator)]()
        case ast.BoolOp(op=operator):
            new.op = ast.Or() if isinstance(operator, ast.And) else ast.And()
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand) if not isinstance(operand, ast.Constant):
            new = new.operand
        case ast.Constant(value=bool(value)):
            new.value = not value
        case ast.Constant(value=int(value)):
            new.value = value + 1
        case ast.Constant(value=float(value)):
            new.value = value * 2 or 0.5
        case ast.IfExp():
            new.body, new.orelse = new.orelse, new.body
        case ast.Call(func=ast.Attribute(attr=name)) if name in CALLS:
            new.func.attr = CALLS[name]
        case _:
            return None
    found: ast.AST = new
    return found


def silent(tree: ast.Module) -> set[int]:
    """Identities of nodes that say nothing of what the code does: annotations, declarations, messages."""
    parts: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, SILENT):
            parts.append(node)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            parts += node.decorator_list
        if isinstance(node, ast.FunctionDef):
            parts += [
                node.returns,
                *(argument.annotation for argument in ast.walk(node.args) if isinstance(argument, ast.arg)),
            ]
        if isinstance(node, ast.AnnAssign):
            parts.append(node.annotation)
    return {id(inner) for part in parts if part is not None for inner in ast.walk(part)}


def mutations(path: Path) -> Iterator[Mutation]:
    """Every change of one line of a file that leaves it Python."""
    text = path.read_text("utf-8")
    tree, lines = ast.parse(text), text.split("\n")
    skipped = silent(tree)
    for node in ast.walk(tree):
        if id(node) in skipped or not isinstance(node, ast.expr) or node.lineno != node.end_lineno:
            continue
        new = changed(node)
        if new is None:
            continue
        line, put = lines[node.lineno - 1].encode(), ast.unparse(new)
        put = put if isinstance(new, (ast.Constant, ast.Call, ast.Name)) else f"({put})"
        after = (line[: node.col_offset] + put.encode() + line[node.end_col_offset :]).decode()
        try:
            ast.parse("\n".join([*lines[: node.lineno - 1], after, *lines[node.lineno :]]))
        except SyntaxError:
            continue
        yield Mutation(path.relative_to(ROOT).as_posix(), node.lineno, lines[node.lineno - 1], after)


def drawn(pattern: str, count: int, rng: random.Random) -> list[Mutation]:
    """``count`` lines of the files, each equally likely, and one change of each."""
    by_line: dict[tuple[str, int], list[Mutation]] = {}
    for path in sorted(ROOT.glob(pattern)):
        for mutation in mutations(path):
            by_line.setdefault((mutation.file, mutation.line), []).append(mutation)
    return [rng.choice(by_line[line]) for line in rng.sample(sorted(by_line), count)]


def first_failure(folder: Path, tests: list[str], but: list[str]) -> str:
    """The first of the tests, ``but`` some, that fails in the copy; empty where none does."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not long",
        "--tb=no",
        *tests,
    ]
    command += [f"--deselect={test}" for test in but]
    own = {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=folder, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", ran.stdout, re.MULTILINE)
    fine = ran.returncode in (0, pytest.ExitCode.NO_TESTS_COLLECTED)  # none: those of the file are long ones
    return failed[1] if failed else "" if fine else f"pytest ended with {ran.returncode}"


def catcher(folder: Path, mutation: Mutation, near: tuple[str, ...], but: list[str]) -> str:
    """The test that notices the mutation; empty where none does. What fails without it, too, is added to ``but``."""
    path = folder / mutation.file
    text = path.read_text("utf-8")
    lines = text.split("\n")
    lines[mutation.line - 1] = mutation.after
    own = [str(found.relative_to(folder)) for found in folder.glob(f"tests/**/test_{path.stem}*.py")]
    for tests in ([own] if own else []) + [[*near], ["tests/benchmark"]]:
        while True:
            path.write_text("\n".join(lines), "utf-8")
            try:
                found = first_failure(folder, tests, but)
            finally:
                path.write_text(text, "utf-8")
            if not found:
                break
            if not first_failure(folder, [found], []):
                return found
            print(f"{found} fails without a mutation, too", file=sys.stderr)
            but.append(found)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", type=int, default=10, help="of each of methods, metrics and baselines")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    chosen = [(mutation, near) for pattern, near in ROOMS.values() for mutation in drawn(pattern, given.lines, rng)]
    print("| line | before | after | caught by |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "copy"
        left = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "build", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT, folder, ignore=left)
        caught, but = 0, list[str]()
        for mutation, near in chosen:
            by = catcher(folder, mutation, near, but)
            caught += bool(by)
            where = f"{mutation.file}:{mutation.line}"
            print(
                f"| `{where}` | `{mutation.before.strip()}` | `{mutation.after.strip()}` | {by or '**nobody**'} |",
                flush=True,
            )
    print(f"\n{caught} of {len(chosen)} were caught")


if __name__ == "__main__":
    main()
