"""Errors that a user can act on: what was wrong, where, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Bad input from outside: printed as one line; the command line exits with 2 and nothing is written."""


class AccessViolation(Exception):  # noqa: N818 - the design's name
    """A method asked for information that it did not declare; its cell is recorded as disqualified."""


class DivergenceError(Exception):
    """Training left the finite numbers; the cell is recorded as failed and says so."""


class WorkersLost(Exception):  # noqa: N818 - it names what happened
    """Worker processes cannot be kept alive on this machine."""


def unknown(kind: str, value: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not known, with its near misses."""
    names = sorted(known)
    begin = [name for name in names if value and name.startswith(value)]
    near = begin[:3] or difflib.get_close_matches(value, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
    return InputError(f"unknown {kind} {value!r}; {hint}")
