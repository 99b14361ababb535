"""What the project asks of a place to keep objects in; `local.LocalStore` is one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class Versioned:
    """The bytes of an object and the tag of exactly these bytes, for `compare_and_swap`."""

    data: bytes
    tag: str


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

    def path(self, key: str) -> Path | None:
        """Return where Polars finds the object, or None when it is absent."""

    def put_new(self, key: str, content: bytes | Path) -> bool:
        """Write an object unless it is there already; return whether it was written.

        A Path is a file in a `scratch` directory, which the store may take over.
        """

    def replace(self, key: str, content: bytes | Path) -> None:
        """Write an object, whatever was there."""

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

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a private directory for files to hand over; removed afterwards."""
