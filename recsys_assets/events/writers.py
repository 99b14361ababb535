"""A day of canonical events as a file, and its refused lines as another one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.events.parsed import RefusedLine
from recsys_assets.events.provenance import FOOTER_KEY
from recsys_assets.texts import cut_between_values

ROW_GROUP_ROWS: Final = 250_000
# Of a day's refused lines, so many are kept: enough to see what is wrong, and to send it again.
MOST_KEPT_LINES: Final = 100_000
MOST_KEPT_BYTES: Final = 64 * 2**20
_SHOWN_CHARACTERS: Final = 200
_REPEATING: Final = ["user_id", "session_id", "item_id", "rank", "file", "part", "weight"]
_ASCENDING: Final = ["ts", "line"]  # more or less; the difference of neighbours is small


@dataclass
class NotKept:
    """Refused lines of a file that are counted only: the first and last of them, and how many."""

    line: int
    last_line: int = 0
    lines: int = 0

    def add(self, line: int) -> None:
        """Count one more, which comes after the others."""
        self.last_line = line
        self.lines += 1


class EventsWriter:
    """Write frames as row groups of equal size, so that the bytes do not depend on the chunks."""

    def __init__(self, path: Path, dtypes: Mapping[str, Any]) -> None:
        """Begin a file with columns of some types, in their order."""
        self.footer = b""
        self._schema = pl.DataFrame(schema=dtypes).to_arrow().schema
        # zstd 1: half of lz4's bytes for a tenth more time on the benchmark's events. Dictionaries
        # only where values repeat: tried in vain on the others, they took a third of the time.
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in _REPEATING if name in dtypes],
            column_encoding=dict.fromkeys(_ASCENDING, "DELTA_BINARY_PACKED"),
            write_statistics=_ASCENDING,  # of ids in any order, they help no reader
        )
        self._pending: list[pl.DataFrame] = []
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is None:
            self._write_groups(smallest=1)
            self._writer.add_key_value_metadata({FOOTER_KEY: self.footer})
        self._writer.close()

    def write(self, frame: pl.DataFrame) -> None:
        """Append events, every canonical column."""
        self._pending.append(frame)
        self._rows += frame.height
        if self._rows >= ROW_GROUP_ROWS:
            self._write_groups(smallest=ROW_GROUP_ROWS)

    def _write_groups(self, *, smallest: int) -> None:
        if not self._pending:
            return
        frame = pl.concat(self._pending)
        while frame.height >= smallest:
            group, frame = frame.head(ROW_GROUP_ROWS), frame.slice(ROW_GROUP_ROWS)
            # rechunk: a table's pages end where its chunks do.
            self._writer.write_table(group.rechunk().to_arrow().cast(self._schema))
        self._pending, self._rows = [frame], frame.height


class RefusedWriter:
    """Write refused lines as compressed JSON lines; the file is made at the first one.

    Only so many are kept: of the others, the last entries of the file say where they are.

    Attributes:
        first: the first lines, for people.
        not_kept: of each file whose lines are not all kept, how many are not, and their range.
    """

    _SHOWN = 10

    def __init__(self, path: Path) -> None:
        self.first: list[dict[str, Any]] = []
        self.not_kept: dict[str, NotKept] = {}
        self._path = path
        self._files = ExitStack()
        self._out: pa.CompressedOutputStream | None = None
        self._kept_lines = self._kept_bytes = 0

    def __enter__(self) -> RefusedWriter:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        with self._files:
            if failed is None:
                for file, lines in self.not_kept.items():
                    self._append({"file": file, **asdict(lines), "reason": "not_kept"})

    def write(self, file: str, line: RefusedLine) -> None:
        """Append a refused line of a file, or count it where enough are kept."""
        if self._kept_lines >= MOST_KEPT_LINES or self._kept_bytes >= MOST_KEPT_BYTES:
            self.not_kept.setdefault(file, NotKept(line.line)).add(line.line)
            return
        self._kept_lines += 1
        self._kept_bytes += len(line.raw)
        entry = {"file": file, "line": line.line, "reason": line.reason, "detail": line.detail}
        if len(self.first) < self._SHOWN:
            raw = line.raw[: 8 * _SHOWN_CHARACTERS].decode(errors="backslashreplace")
            self.first.append(entry | {"raw": cut_between_values(raw, _SHOWN_CHARACTERS)})
        try:
            raw_text = {"raw": line.raw.decode()}
        except UnicodeDecodeError:  # keeps the very bytes
            raw_text = {"raw_base64": base64.b64encode(line.raw).decode()}
        self._append(entry | raw_text)

    def _append(self, entry: Mapping[str, Any]) -> None:
        if self._out is None:
            raw = self._files.enter_context(pa.OSFile(str(self._path), "wb"))
            self._out = self._files.enter_context(pa.CompressedOutputStream(raw, "zstd"))
        self._out.write(json.dumps(entry).encode() + b"\n")


def rewrite(
    path: Path,
    dtypes: Mapping[str, Any],
    change: Callable[[int, pl.DataFrame], pl.DataFrame],
    *,
    footer: bytes | None = None,
) -> None:
    """Put other events in the place of those of a staged file, a row group at a time.

    Args:
        path: the events.
        dtypes: the columns of the events.
        change: returns what becomes of a row group, given the number of its first row.
        footer: in place of the one that the file has.
    """
    changed = path.with_suffix(".changed")
    with pq.ParquetFile(path) as whole, EventsWriter(changed, dtypes) as writer:
        for start, group in numbered(whole):
            writer.write(change(start, group))
        writer.footer = whole.metadata.metadata[FOOTER_KEY] if footer is None else footer
    changed.replace(path)


def numbered(whole: pq.ParquetFile) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the row groups, each with the number of its first row."""
    start = 0
    for number in range(whole.num_row_groups):
        yield start, (group := pl.DataFrame(whole.read_row_group(number)))
        start += group.height
