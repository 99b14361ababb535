"""The SHA-256 of raw bytes, as they are stored, and of the lines that they are read as."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from recsys_assets.events.chunks import CHUNK_BYTES, Chunk, Readable
from recsys_assets.storage import open_store


class HashingReader:
    """A readable stream that hashes and counts what passes through it."""

    closed = False

    def __init__(self, raw: Readable) -> None:
        self._raw = raw
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """Of what has passed."""
        return self._digest.hexdigest()

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, none at the end."""
        data = self._raw.read(size)
        self._digest.update(data)
        self.size_bytes += len(data)
        return data

    def read_all(self) -> None:
        """Read to the end, for the hash alone."""
        while self.read(2**20):
            pass

    def flush(self) -> None:
        """Do nothing; pyarrow calls it on close."""

    def close(self) -> None:
        """Do nothing; the file is closed by who opened it."""


class LinesHash:
    """Hashes the lines of a file, not how they end, nor what is blank before and behind them."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._is_empty = True
        self._newlines = 0  # since the end of the last line that is not blank

    def update(self, chunk: Chunk) -> None:
        """Add the next lines."""
        data = chunk.data.replace(b"\r\n", b"\n") if b"\r" in chunk.data else chunk.data
        if self._is_empty:
            data = data.lstrip(b"\n")
        # Only where blank lines are behind it is the text copied to find its end.
        blank = data.endswith(b"\n\n")
        end = len(data.rstrip(b"\n")) if blank else len(data) - data.endswith(b"\n")
        if end:
            while self._newlines:
                few = min(self._newlines, CHUNK_BYTES)
                self._digest.update(b"\n" * few)
                self._newlines -= few
            self._digest.update(memoryview(data)[:end])
            self._is_empty = False
        self._newlines += len(data) - end
        for long in chunk.oversized:  # which `data` holds as blank lines
            self._digest.update(b"%d " % long.size_bytes)

    def hexdigest(self) -> str:
        """Return the SHA-256."""
        return self._digest.hexdigest()


@lru_cache(maxsize=10_000)  # a day that takes several ticks is not begun again in each
def sha256_of(root: str, name: str, tag: str) -> str:
    """Return the SHA-256 of a file or object below a root, whose tag is this.

    Raises:
        FileNotFoundError: it is not there.
    """
    with open_store(root).open(name)[0] as opened:
        reader = HashingReader(opened)
        reader.read_all()
    return reader.sha256
