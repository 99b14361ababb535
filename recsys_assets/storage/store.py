"""What the project asks of a place to keep objects in.

`local.LocalStore` is one, `objects.ObjectStore` the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol, TypeVar

READERS: Final = 16  # an object store answers one at a time slowly, many at once well

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Versioned:
    """The bytes of an object and the tag of exactly these bytes, for `compare_and_swap`."""

    data: bytes
    tag: str


class Stored(NamedTuple):
    """An object in a listing."""

    key: str
    size_bytes: int
    modified: datetime  # UTC, by the clock of the store
    tag: str  # another one whenever the bytes are others; also when only their times are


class Store(Protocol):
    """Objects by key below one root. A write that returns is durable; readers never see half."""

    def uri(self, key: str) -> str:
        """Return the URI that the online service opens; no percent-encoding."""

    def key(self, uri: str) -> str:
        """Return the key behind a URI of this store, or raise StorageError when it is another's."""

    def read(self, key: str) -> Versioned | None:
        """Return a small object whole, or None when it is absent."""

    def open(self, key: str) -> tuple[BinaryIO, int]:
        """Return an object for reading and its size in bytes, or raise FileNotFoundError."""

    def location(self, key: str) -> str:
        """Return what Polars scans for the object, with `glob=False`; it may be absent."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield the objects below a prefix, which ends where a path segment does, in any order."""

    def stat(self, key: str) -> Stored | None:
        """Return what a listing says of one object, or None when it is absent; follows links."""

    def put_new(self, key: str, content: bytes | Path) -> bool:
        """Write an object unless it is there already; return whether it was written.

        When it was not, an object is there: another writer's, or our own of an attempt whose answer
        was lost. Its bytes are for the caller to look at: `registry.write_once` does.

        A Path is a file in a `scratch` directory, which the store may take over.
        """

    def replace(self, key: str, content: bytes | Path) -> None:
        """Write an object, whatever was there."""

    def write_derived(self, key: str, data: bytes) -> None:
        """Write what can be made again, whatever was there.

        Readers see it whole or not at all, as long as there is power: after a cut it may be gone,
        or damaged, so they must be able to tell.
        """

    def delete(self, key: str) -> None:
        """Remove an object; absent is fine."""

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        """Write an object if its tag is still `expected`; None means that it must be absent.

        Raises:
            ManifestConflictError: it is not; nothing was changed.
            PublishOutcomeUnknownError: the new bytes may be visible, now or after a restart.
        """

    def settle(self, key: str) -> None:
        """Make what readers see of an object durable; cheap when it is.

        Raises:
            PublishOutcomeUnknownError: it could not be; what is visible may not survive a restart.
        """

    def left_behind(self, *, before: datetime) -> Iterator[Stored]:
        """Yield what killed processes left of unfinished writes; `delete` removes it."""

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a private directory for files to hand over; removed afterwards."""


def read_each(read: Callable[[K], V], keys: Sequence[K]) -> list[V]:
    """Return what is read for each key, in order; many at once, where there are many."""
    if len(keys) < 2:
        return [read(key) for key in keys]  # a thread takes longer to start than a file to be read
    with ThreadPoolExecutor(min(READERS, len(keys))) as pool:
        return list(pool.map(read, keys))
