"""Who may compute at the same time, by the memory that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, Semaphore
from typing import Final

_AT_ONCE: Final = 2
# An artifact of more events takes what there is by itself: 30 million take 3 GB.
_ALONE_FROM: Final = 2_000_000


@dataclass(frozen=True)
class Turns:
    """Turns at computing in one process: two small artifacts at a time, or one large one."""

    _free: Semaphore = field(default_factory=lambda: Semaphore(_AT_ONCE))
    _next: Lock = field(default_factory=Lock)

    @contextmanager
    def taken(self, events: int) -> Iterator[None]:
        """Wait for a turn at what is made of so many events, and hold it."""
        parts = 1 if events < _ALONE_FROM else _AT_ONCE
        with self._next:  # of two large ones, neither waits for the part that the other has
            for _ in range(parts):
                self._free.acquire()
        try:
            yield
        finally:
            self._free.release(parts)
