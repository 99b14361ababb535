"""A stream of bytes as chunks of whole lines, so that memory is bounded whatever a line's size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

# 8 MiB measured best on two cores: smaller chunks pay per-call overhead, larger ones only memory.
CHUNK_BYTES: Final = 8 * 2**20
MAX_LINE_BYTES: Final = 4 * 2**20
# What is held of a line besides its bytes must not add up: a chunk of events has fewer, since the
# shortest event takes 100 bytes.
MAX_CHUNK_LINES: Final = 2**17
BOM: Final = b"\xef\xbb\xbf"


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

    @property
    def size_bytes(self) -> int:
        """Size of the lines, each with its newline; the last one of a file may lack it."""
        beyond = sum(long.size_bytes for long in self.oversized)
        return len(self.data) + beyond + (not self.data.endswith(b"\n"))


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


def whole_lines(stream: Readable) -> Iterator[Chunk]:
    """Yield a stream as chunks of whole lines.

    A leading byte order mark is dropped; a last line without a newline is a line.
    """
    first_line = 1
    carry = b""  # the unfinished last line of what was read
    skipped = 0  # bytes of an oversized line already dropped behind `carry`
    oversized: list[OversizedLine] = []
    at_start = True
    while data := stream.read(CHUNK_BYTES):
        if at_start:
            data, at_start = data.removeprefix(BOM), False
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
        chunk = _without_oversized(first_line, block, oversized)
        oversized = []
        lines = count_byte(chunk.data, b"\n")
        yield from _of_few_lines(chunk, lines)
        first_line += lines
    if skipped:
        oversized.append(OversizedLine(first_line, len(carry) + skipped, carry[:MAX_LINE_BYTES]))
        carry = b""
    if carry or oversized:
        yield _without_oversized(first_line, carry, oversized)


def count_byte(data: bytes, byte: bytes) -> int:
    """Count one byte in `data`; unlike `data.count`, not slower the more there are."""
    return int(np.count_nonzero(_are(data, byte)))


def _are(data: bytes, byte: bytes) -> npt.NDArray[Any]:
    """Tell of each byte whether it is this one."""
    found: npt.NDArray[Any] = np.frombuffer(data, np.uint8) == byte[0]
    return found


def _of_few_lines(chunk: Chunk, lines: int) -> Iterator[Chunk]:
    """Yield a chunk, whose lines end in newlines, in parts of at most MAX_CHUNK_LINES."""
    if lines <= MAX_CHUNK_LINES:
        yield chunk
        return
    newlines = np.flatnonzero(_are(chunk.data, b"\n"))
    ends = newlines[MAX_CHUNK_LINES - 1 :: MAX_CHUNK_LINES].tolist()
    start = 0
    for number, end in enumerate([*(at + 1 for at in ends), len(chunk.data)]):
        first = chunk.first_line + number * MAX_CHUNK_LINES
        here = range(first, first + MAX_CHUNK_LINES)
        if start < end:
            yield Chunk(
                first,
                chunk.data[start:end],
                [long for long in chunk.oversized if long.line in here],
            )
        start = end


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
