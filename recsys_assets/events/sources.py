"""Raw files, or objects: which ones belong to a day, and their bytes as chunks of whole lines.

A chunk keeps memory bounded whatever the size of a file or of a line in it.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from fnmatch import translate
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import polars as pl
import pyarrow as pa

from recsys_assets.config import Surface, is_object_url
from recsys_assets.errors import RawEventsError, StorageError, StoreUnavailableError
from recsys_assets.storage import open_store
from recsys_assets.storage.store import Store, Stored

# 8 MiB measured best on two cores: smaller chunks pay per-call overhead, larger ones only memory.
CHUNK_BYTES = 8 * 2**20
MAX_LINE_BYTES = 4 * 2**20

_BOM = b"\xef\xbb\xbf"
_CODECS = {".gz": "gzip", ".zst": "zstd"}
Matcher = Callable[[str], bool]
_ANY_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
# Names under which common tools write a file that is not finished yet.
_UNFINISHED = (
    ".tmp",
    ".temp",
    ".part",
    ".partial",
    ".inprogress",
    ".crdownload",
    "._COPYING_",
    "~",
)


@dataclass(frozen=True)
class OversizedLine:
    """A line over MAX_LINE_BYTES: its number, its size and the bytes that were kept."""

    line: int
    size_bytes: int
    beginning: bytes


@dataclass(frozen=True)
class Chunk:
    """Whole lines of one raw file; an oversized line stands in `data` as an empty one."""

    first_line: int
    data: bytes
    oversized: list[OversizedLine] = field(default_factory=list)


@dataclass
class RawFile:
    """One raw file: `name` is its key in `store`, which is at `source.path`.

    `size_bytes` and `sha256`, of the bytes as they are stored, are set once it is read.
    """

    name: str
    store: Store
    size_bytes: int = 0
    sha256: str = ""

    @property
    def location(self) -> str:
        """Its path or URL."""
        return self.store.location(self.name)


def raw_files(surface: Surface, day: date) -> list[RawFile]:
    """List the finished raw files of a day, by the UTF-8 bytes of their name below `source.path`.

    Hidden files, files that are still being written by their name, and directories are left out.

    Raises:
        RawEventsError: `source.path` is no directory, or a file of the day is a link to nothing.
            Neither is an empty day: a mount or a landing job is broken.
        StorageError: the object store at `source.path` cannot be listed.
    """
    store = open_store(surface.source.path)
    pattern = _glob(surface, day.isoformat())
    names: Iterable[str] = (
        (stored.key for stored in _matching_objects(store, pattern))
        if is_object_url(surface.source.path)
        else _matching_files(Path(surface.source.path), pattern)
    )
    return [RawFile(name, store) for name in sorted(names, key=os.fsencode) if _is_finished(name)]


def landed_files(surface: Surface) -> dict[date, list[Stored]]:
    """List the finished raw files of every day, in one pass, as `raw_files` does for one.

    A link to nothing is left out: only its own day is broken, and says so when it is materialized.

    Raises:
        RawEventsError: `source.path` is no directory.
        StorageError: the object store at `source.path` cannot be listed.
    """
    store = open_store(surface.source.path)
    pattern = _glob(surface, _ANY_DAY)
    if is_object_url(surface.source.path):
        found = _matching_objects(store, pattern)
    else:
        names = _glob_files(Path(surface.source.path), pattern)
        found = (stored for name in names if (stored := store.stat(name)) is not None)
    matchers: dict[date, Matcher] = {}
    by_day: dict[date, list[Stored]] = {}
    for stored in found:
        if not _is_finished(stored.key):
            continue
        for day in _dates_in(stored.key):
            if day not in matchers:
                matchers[day] = _matcher(_glob(surface, day.isoformat()))
            if matchers[day](stored.key):
                by_day.setdefault(day, []).append(stored)
    for files in by_day.values():
        files.sort(key=lambda stored: os.fsencode(stored.key))
    return by_day


def _glob(surface: Surface, day: str) -> str:
    return surface.source.pattern.format(
        tenant=glob.escape(surface.tenant), surface=glob.escape(surface.surface), day=day
    )


def _dates_in(name: str) -> set[date]:
    """Return every date that a name holds, overlapping ones too."""
    found = set()
    for text in re.findall(r"(?=(\d{4}-\d\d-\d\d))", name, re.ASCII):
        with suppress(ValueError):
            found.add(date.fromisoformat(text))
    return found


def _is_finished(name: str) -> bool:
    return not name.endswith(_UNFINISHED) and not PurePosixPath(name).name.startswith((".", "_"))


def _matching_files(base: Path, pattern: str) -> Iterator[str]:
    for name in _glob_files(base, pattern):
        path = base / name
        if path.is_symlink() and not path.exists() and _is_finished(name):
            raise RawEventsError(
                f"{path} is a link to {path.readlink()}, which is not there: is it "
                "mounted? nothing was read"
            )
        if path.is_file():
            yield name


def _glob_files(base: Path, pattern: str) -> list[str]:
    if not base.is_dir():
        raise RawEventsError(
            f"source.path {base} is not a directory: is it mounted? nothing was read"
        )
    return glob.glob(pattern, root_dir=base)  # noqa: PTH207 (Path.glob cannot escape)


def _matching_objects(store: Store, pattern: str) -> Iterator[Stored]:
    folder = takewhile(
        lambda segment: not glob.has_magic(segment), PurePosixPath(pattern).parts[:-1]
    )
    matches = _matcher(pattern)
    return (stored for stored in store.list("/".join(folder)) if matches(stored.key))


def _matcher(pattern: str) -> Matcher:
    """Match as `glob.glob` does: segment by segment, and `*` finds nothing hidden."""
    segments = PurePosixPath(pattern).parts
    expressions = [re.compile(translate(segment)) for segment in segments]

    def matches(name: str) -> bool:
        parts = PurePosixPath(name).parts
        return len(parts) == len(segments) and all(
            expression.match(part) is not None
            and not (part.startswith(".") and segment[0] in "*?[")
            for expression, part, segment in zip(expressions, parts, segments, strict=True)
        )

    return matches


def read_chunks(file: RawFile) -> Iterator[Chunk]:
    """Yield a raw file as chunks of whole lines, decompressed by its suffix.

    A leading byte order mark is dropped; a last line without a newline is a line.

    Raises:
        RawEventsError: the file cannot be opened, or its compressed stream is damaged or of no
            bytes at all: even of nothing, a compressor writes a header.
        StoreUnavailableError: the object store does not answer.
    """
    try:
        with file.store.open(file.name)[0] as raw:
            hashing = _HashingReader(raw)
            codec = _CODECS.get(PurePosixPath(file.name).suffix)
            if codec is None:
                yield from _whole_lines(hashing)
            else:
                with pa.CompressedInputStream(pa.PythonFile(hashing, mode="r"), codec) as plain:
                    yield from _whole_lines(plain)
                if not hashing.size_bytes:
                    raise EOFError("0 bytes, as an aborted upload leaves it")
            file.size_bytes, file.sha256 = hashing.size_bytes, hashing.sha256
    except StoreUnavailableError:  # not the file's fault
        raise
    except (OSError, EOFError, pa.ArrowException, StorageError) as error:
        raise RawEventsError(
            f"{file.location}: cannot be read to its end ({error}). Nothing of the day was kept; "
            "land the file again and materialize the day."
        ) from error


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _HashingReader:
    """A readable file that hashes and counts what passes through it."""

    closed = False

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(size)
        self._digest.update(data)
        self.size_bytes += len(data)
        return data

    def flush(self) -> None:
        """Do nothing; pyarrow calls it on close."""

    def close(self) -> None:
        """Do nothing; the file is closed by who opened it."""


def _whole_lines(stream: _Readable) -> Iterator[Chunk]:
    first_line = 1
    carry = b""  # the unfinished last line of what was read
    skipped = 0  # bytes of an oversized line already dropped behind `carry`
    oversized: list[OversizedLine] = []
    at_start = True
    while data := stream.read(CHUNK_BYTES):
        if at_start:
            data, at_start = data.removeprefix(_BOM), False
        end = data.rfind(b"\n") + 1
        if not end:
            kept = data[: max(0, MAX_LINE_BYTES - len(carry) + 1)]
            skipped += len(data) - len(kept)
            carry += kept
            continue
        if skipped:
            rest_of_line = data.index(b"\n")
            size = len(carry) + skipped + rest_of_line
            oversized.append(OversizedLine(first_line, size, carry[:MAX_LINE_BYTES]))
            block, skipped = data[rest_of_line:end], 0
        else:
            block = b"".join((carry, memoryview(data)[:end]))
        carry = data[end:]
        yield (chunk := _without_oversized(first_line, block, oversized))
        oversized = []
        first_line += count_byte(chunk.data, b"\n")
    if skipped:
        oversized.append(OversizedLine(first_line, len(carry) + skipped, carry[:MAX_LINE_BYTES]))
        carry = b""
    if carry or oversized:
        yield _without_oversized(first_line, carry, oversized)


def count_byte(data: bytes, byte: bytes) -> int:
    """Count one byte in `data`; unlike `data.count`, not slower the more there are."""
    array = pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)])
    return int((pl.Series(array) == byte[0]).sum())


def _without_oversized(first_line: int, block: bytes, oversized: list[OversizedLine]) -> Chunk:
    if len(block) <= MAX_LINE_BYTES:
        return Chunk(first_line, block, oversized)
    found: dict[int, bytes] = {}
    lines = block.split(b"\n") if _has_long_line(block) else []
    for number, line in enumerate(lines):
        if len(line) > MAX_LINE_BYTES:
            found[number] = line
    if not found:
        return Chunk(first_line, block, oversized)
    kept = b"\n".join(b"" if number in found else line for number, line in enumerate(lines))
    return Chunk(
        first_line,
        kept,
        oversized
        + [
            OversizedLine(first_line + number, len(line), line[:MAX_LINE_BYTES])
            for number, line in found.items()
        ],
    )


def _has_long_line(block: bytes) -> bool:
    """Tell, in a few searches, whether any line of `block` is over MAX_LINE_BYTES."""
    start = 0
    while len(block) - start > MAX_LINE_BYTES:
        end = block.rfind(b"\n", start, start + MAX_LINE_BYTES + 1)
        if end < 0:
            return True
        start = end + 1
    return False
