"""The command line: python -m benchmark, or the console script amendbench.

Exit codes: 0 fine, 1 some cells failed or something regressed, 2 bad input, 3 nothing could be measured, 130
interrupted.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import typer

from benchmark.commands import running, showing
from benchmark.commands.options import app
from benchmark.errors import InputError, WorkersLost
from benchmark.running.records import NotKept

__all__ = ["app", "main", "running", "showing"]

#: Of click, or of the copy of it that typer brings.
USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main(arguments: list[str] | None = None) -> None:
    """Entry point: bad input is one line on standard error and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    command: Any = typer.main.get_command(app)
    try:
        given = sys.argv[1:] if arguments is None else arguments
        code = command.main(args=given or ["--help"], prog_name="amendbench", standalone_mode=False)
    except InputError as error:
        code = _bad_input(str(error))
    except USAGE_ERROR as error:
        code = _bad_input(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        print("amendbench: interrupted; what was written stays, and the same command does the rest", file=sys.stderr)
        code = 130
    except (WorkersLost, NotKept) as error:
        print(f"amendbench: {error}; what was finished is kept", file=sys.stderr)
        code = 1
    raise SystemExit(code if isinstance(code, int) else 0)


def _bad_input(message: str) -> int:
    print(f"amendbench: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
