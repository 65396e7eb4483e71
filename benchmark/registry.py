"""One generic registry: filled on first use, frozen afterwards, a collision is an error, a miss says what is near."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from benchmark.errors import unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to entries of one kind.

    ``discover`` yields (name, entry) pairs and runs once, when the registry is first read: building a registry
    costs nothing, and what discovery imports is imported only by those who look.
    """

    def __init__(self, kind: str, discover: Callable[[], Iterable[tuple[str, T]]]) -> None:
        self.kind = kind
        self._discover = discover
        self._entries: dict[str, T] | None = None

    def _filled(self) -> dict[str, T]:
        if self._entries is None:
            entries: dict[str, T] = {}
            for name, entry in self._discover():
                if name in entries:
                    raise ValueError(f"two {self.kind}s are named {name!r}: {entries[name]} and {entry}")
                entries[name] = entry
            self._entries = entries
        return self._entries

    def get(self, name: str) -> T:
        """The entry called ``name``; raises InputError that names the near misses."""
        entries = self._filled()
        if name not in entries:
            raise unknown(self.kind, name, entries)
        return entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._filled()

    def __iter__(self) -> Iterator[str]:
        return iter(self._filled())

    def __len__(self) -> int:
        return len(self._filled())

    def values(self) -> list[T]:
        return list(self._filled().values())
