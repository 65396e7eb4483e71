"""The command line, run in this process."""

from __future__ import annotations

from benchmark.cli import main


def exit_code(*arguments: str) -> int:
    """What a command ends with; any exception but that end is one that a user would see as a traceback."""
    try:
        main([*arguments])
    except SystemExit as ended:
        if isinstance(ended.code, int):
            return ended.code
    raise AssertionError("a command ended without a code")
