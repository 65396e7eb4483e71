"""The command line: python -m benchmark, or the console script amendbench.

Exit codes: 0 fine, 1 some cells failed or something regressed, 2 bad input, 3 nothing could be measured, 130
interrupted.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import typer

from benchmark.commands import amend, claims, data, methods, running, showing, speed, study, submit, trusting
from benchmark.commands.options import app
from benchmark.errors import InputError, WorkersLost
from benchmark.models.weights import tensors_only
from benchmark.running.records import NotKept
from benchmark.visible import log_visibly, visible

__all__ = [
    "amend",
    "app",
    "claims",
    "data",
    "main",
    "methods",
    "running",
    "showing",
    "speed",
    "study",
    "submit",
    "trusting",
]

#: Seconds after which a signal that would be lost is sent again.
AGAIN = 0.02
#: Of click, or of the copy of it that typer brings.
USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main(arguments: list[str] | None = None) -> None:
    """Entry point: bad input is one line on standard error and exit code 2."""
    log_visibly()
    tensors_only()
    command: Any = typer.main.get_command(app)
    try:
        given = sys.argv[1:] if arguments is None else arguments
        with terminated_like_interrupted():
            code = command.main(args=given or ["--help"], prog_name="amendbench", standalone_mode=False)
    except InputError as error:
        code = _bad_input(str(error))
    except USAGE_ERROR as error:
        code = _bad_input(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        print("amendbench: interrupted; what was written stays, and the same command does the rest", file=sys.stderr)
        code = 130
    except (WorkersLost, NotKept) as error:
        code = _stopped(f"{error}; what was finished is kept")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
            raise
        code = _stopped(f"{error}; what was finished is kept, and the same command does the rest")
    if arguments is None:
        _all_is_said()
    raise SystemExit(code if isinstance(code, int) else 0)


def _all_is_said() -> None:
    """What follows is Python's own end: a signal is not to take it for a killed run, nor what was printed with it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it is gone
            stream.flush()


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does.

    What is raised while an object is being disposed of is lost: there the signal is sent again a moment later.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        if _is_disposing(frame):
            threading.Timer(AGAIN, os.kill, (os.getpid(), signum)).start()
            return
        raise KeyboardInterrupt

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where Ctrl-C is left to somebody else
    signals = (signal.SIGTERM, *((signal.SIGINT,) if usual else ()))
    before = {each: signal.signal(each, stop) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _is_disposing(frame: FrameType | None) -> bool:
    """Whether a frame is in a finaliser or in the callback of a weak reference, whose exceptions Python drops."""
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code.co_filename == weakref.__file__:
            return True
        frame = frame.f_back
    return False


def _stopped(message: str) -> int:
    print(visible(f"amendbench: {message}"), file=sys.stderr)
    return 1


def _bad_input(message: str) -> int:
    print(visible(f"amendbench: {message}"), file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
