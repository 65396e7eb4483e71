"""What is printed of names from outside is one line that does nothing to a terminal."""

from __future__ import annotations

import io
import logging

import pytest
from hostile_commands import exit_code
from hostile_values import NAMES, campaign
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from benchmark.commands.console import VisibleConsole
from benchmark.visible import BEGINNING, END, _Formatter, visible, visible_lines


@given(st.text())
@campaign()
def test_any_text_is_printable(text: str) -> None:
    assert visible(text).isprintable()
    assert visible_lines(text).replace("\n", "").isprintable()


def test_printable_text_stays_as_it_is() -> None:
    for text in ("", "results/ä/日本.json: 3 µs", "a" * (BEGINNING + END)):
        assert visible(text) == visible_lines(text) == text
    assert visible("a\nb\x1b[31m\u202e\ud800") == "a\\nb\\x1b[31m\\u202e\\ud800"
    assert visible_lines("a\nb\x1b") == "a\nb\\x1b"


def test_long_text_keeps_both_ends() -> None:
    text = visible(f"begin {'x' * 100_000} end")
    assert text.startswith("begin xxx")
    assert text.endswith("xxx end")
    assert len(text) < 2 * (BEGINNING + END)


def test_a_warning_is_one_line() -> None:
    record = logging.LogRecord("amendbench", logging.WARNING, "", 0, "%s is left out: %s", ("a\nb\x1b", "why"), None)
    assert _Formatter().format(record) == "a\\nb\\x1b is left out: why"


@given(st.sampled_from(NAMES), st.text(max_size=30))
@campaign(0.5)
def test_what_a_console_shows(name: str, text: str) -> None:
    from rich.markup import escape

    shown = io.StringIO()
    console = VisibleConsole(file=shown, width=200, force_terminal=False)
    table = Table("name", title=escape(name))
    table.add_row(escape(text))
    console.print(table)
    console.print(f"[bold]{escape(text)}[/] {escape(name)}")
    assert all(c.isprintable() or c == "\n" for c in shown.getvalue())


@pytest.mark.parametrize("name", [name for name in NAMES if "\0" not in name])
def test_names_on_the_command_line_are_one_line_of_error(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["leaderboard", "--suite", f"x{name}"],
        ["leaderboard", "--suite", f"x{name}.toml"],
        ["leaderboard", "--task", f"x{name}"],
        ["leaderboard", "--format", f"x{name}"],
        ["status", "--device", f"x{name}"],
        ["status", "--seeds", f"x{name}"],
        ["export", "--suite", "smoke", "--methods", f"x{name}"],
        ["list", f"x{name}"],
    ):
        code, said = exit_code(*arguments), capsys.readouterr()
        assert (code, said.out, said.err.count("\n")) == (2, "", 1)
        assert said.err.startswith("amendbench: ")
        assert said.err.strip("\n").isprintable()
