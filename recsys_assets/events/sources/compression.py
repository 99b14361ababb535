"""Compressed raw files: which compressions are read, and their bytes as they were before."""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Final

import pyarrow as pa

from recsys_assets.errors import RawEventsError
from recsys_assets.events.chunks import CHUNK_BYTES, Readable
from recsys_assets.events.sources.hashing import HashingReader

# By the ending of the name, whatever its case; all but xz are read by pyarrow.
CODECS: Final = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".xz": "xz"}
# Endings of those, and of archives, that are not read.
_NOT_READ: Final = (
    ".lz4", ".br", ".snappy", ".sz", ".lzo", ".lzma", ".z",
    ".tar", ".tgz", ".tbz2", ".txz", ".zip", ".7z", ".rar",
)  # fmt: skip
# How files begin that hold no lines, or lines that were compressed once more.
_NO_TEXT: Final = {
    rb"\x1f\x8b": "compressed by gzip",
    rb"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    rb"\xfd7zXZ\x00": "compressed by xz",
    rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)": "compressed by bzip2",
    rb"\x04\x22\x4d\x18": "compressed by LZ4",
    rb"\xff\x06\x00\x00sNaPpY": "compressed by Snappy",
    rb"\x1f\x9d": "compressed by compress",
    rb"PK\x03\x04": "a zip archive",
    rb"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    rb".{257}ustar": "a tar archive",
    rb"PAR1": "Parquet",
    rb"Obj\x01": "Avro",
    rb"\xff\xfe|\xfe\xff": "UTF-16",
}
# Events that were compressed well expand some 20 times; what expands far more is made to.
MOST_TIMES: Final = 200
# What a decoder may hold of what it has written, and a little: as pyarrow allows zstd.
_XZ_MEMORY_BYTES: Final = 2**27 + 2**20
# What decoders say of more; pyarrow's zstd and the standard library's xz have no error for it.
TOO_MUCH_MEMORY: Final = ("requires too much memory", "Memory usage limit")
_PIECE_BYTES: Final = 2**18
_LAND: Final = f"land it plain, or compressed once as {', '.join(CODECS)}, and materialize the day."


def without_ending(name: str) -> str:
    """Return a name without the ending of a compression that is read."""
    return name[: -len(ending)] if (ending := _ending(name)) in CODECS else name


def form(name: str) -> str:
    """Return how a file is compressed, "" for what was read when there were no forms."""
    known = PurePosixPath(name).suffix in {".gz", ".zst"}
    return "" if known else CODECS.get(_ending(name), "")


def most_bytes(stored_bytes: int) -> int:
    """Return how many bytes a compressed file of a size may hold."""
    return max(CHUNK_BYTES, MOST_TIMES * stored_bytes)


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


@contextmanager
def decompressed(
    stored: HashingReader, name: str, size_bytes: int, location: str
) -> Iterator[HashingReader]:
    """Give what a file holds; the ending of its name says how it is compressed.

    Args:
        stored: its bytes.
        name: of the file.
        size_bytes: how many there are.
        location: what errors call it.

    Raises:
        RawEventsError: it is of a compression that is not read, or expands beyond any measure.
        EOFError: it has no bytes at all: even of nothing, a compressor writes a header.
    """
    ending = _ending(name)
    if ending in _NOT_READ:
        raise _no_lines(location, f"{ending} is no compression that is read")
    if ending not in CODECS:
        yield stored
        return
    if not size_bytes:
        raise EOFError("0 bytes, as an aborted upload leaves it")
    if CODECS[ending] == "xz":
        yield _Bounded(_Xz(stored), size_bytes, location)
        return
    with pa.CompressedInputStream(pa.PythonFile(stored, mode="r"), CODECS[ending]) as plain:
        yield _Bounded(plain, size_bytes, location)


def refuse_what_is_no_text(beginning: bytes, location: str) -> None:
    """Refuse a file by its first bytes.

    Raises:
        RawEventsError: they are of a format that holds no lines of text.
    """
    for pattern, what in _NO_TEXT.items():
        if re.match(pattern, beginning, re.DOTALL):
            raise _no_lines(location, f"what it holds is {what}, and no lines of text")


def _no_lines(location: str, problem: str) -> RawEventsError:
    return RawEventsError(f"{location}: {problem}. Nothing of the day was kept; {_LAND}")


class _Bounded(HashingReader):
    """What a compressed file holds, as long as it is in proportion to its bytes."""

    def __init__(self, plain: Readable, size_bytes: int, location: str) -> None:
        super().__init__(plain)
        self._stored_bytes = size_bytes
        self._location = location

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        if self.size_bytes > most_bytes(self._stored_bytes):
            raise RawEventsError(
                f"{self._location}: its {self._stored_bytes:,} bytes expand to more than "
                f"{MOST_TIMES} times as many, as events hardly do. Nothing of the day was kept; "
                "if they are right, land the file decompressed and materialize the day."
            )
        return data


class _Xz:
    """The streams of an xz file, one behind the other; the standard library has no such limit."""

    def __init__(self, stored: Readable) -> None:
        self._stored = stored
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_BYTES)

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        while True:
            data = b""
            if self._stream.eof:
                data = self._after_stream()
                if not data:
                    return b""
                self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_BYTES)
            elif self._stream.needs_input and not (data := self._stored.read(_PIECE_BYTES)):
                raise EOFError("Truncated compressed stream")
            if plain := self._stream.decompress(data, size):
                return plain

    def _after_stream(self) -> bytes:
        """Return what follows a stream: another one, behind NUL bytes that may stand between."""
        data = self._stream.unused_data.lstrip(b"\0")
        while not data and (read := self._stored.read(_PIECE_BYTES)):
            data = read.lstrip(b"\0")
        return data
