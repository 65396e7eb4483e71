"""Warnings of thousands of examples: each is one line, and none is kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from benchmark.visible import visible


def _is_one_line(record: logging.LogRecord) -> bool:
    """Nothing is logged: pytest would keep errors, and with them all that they were about."""
    assert visible(record.getMessage()).isprintable()
    return False


@pytest.fixture(autouse=True)
def _one_line() -> Iterator[None]:
    log = logging.getLogger("amendbench")
    log.addFilter(_is_one_line)
    yield
    log.removeFilter(_is_one_line)
