"""A day of canonical events as a file: row groups, refused lines, redelivered events taken out."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.events.parsed import RefusedLine
from recsys_assets.events.provenance import FOOTER_KEY

ROW_GROUP_ROWS: Final = 250_000
# Of a day's refused lines, so many are kept: enough to see what is wrong, and to send it again.
MOST_KEPT_LINES: Final = 100_000
MOST_KEPT_BYTES: Final = 64 * 2**20
_REDELIVERY_BUCKET_ROWS: Final = 2_000_000
_REPEATING: Final = ["user_id", "session_id", "item_id", "rank", "file", "part", "weight"]
_ASCENDING: Final = ["ts", "line"]  # more or less; the difference of neighbours is small
# Where an event stands; all else is what it is known by.
_STANDS_AT: Final = {"file", "line"}


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

    def __enter__(self) -> EventsWriter:
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
            self.first.append(entry | {"raw": line.raw[:200].decode(errors="backslashreplace")})
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


def event_fields(columns: Iterable[str]) -> list[str]:
    """Return the columns that an event is known by; those that agree in them are the same event."""
    return [name for name in columns if name not in _STANDS_AT]


def event_hash(columns: Iterable[str]) -> pl.Expr:
    """Give the hash of all that an event is known by, of its columns."""
    return pl.struct(event_fields(columns)).hash(seed=0).alias("hash")


def drop_redelivered(path: Path, hashes: list[pl.Series], dtypes: Mapping[str, Any]) -> int:
    """Rewrite the staged file without redelivered events; return how many there were.

    Hashes only find the candidates; whether two events are equal is decided on their fields.
    Candidates are looked at in buckets of hashes, row group by row group, of which each event goes
    on once: so neither a day that was delivered twice nor an event that was repeated for hours
    takes more memory than a bucket.

    Args:
        path: the events.
        hashes: `event_hash` of those with a request_id, in source order, a series a chunk.
        dtypes: the columns of the events.
    """
    if not hashes:
        return 0
    in_order = pl.concat(hashes)
    ordered = in_order.sort()
    repeated = ordered.filter(ordered == ordered.shift()).unique()
    if repeated.is_empty():
        return 0
    is_repeated = in_order.is_in(repeated.implode())
    # About as many as go on from the row groups, which are somewhat larger than chunks.
    candidates, start = 0, 0
    for chunk in hashes:
        candidates += chunk.filter(is_repeated.slice(start, chunk.len())).n_unique()
        start += chunk.len()
    buckets = 1 + candidates // _REDELIVERY_BUCKET_ROWS
    with pq.ParquetFile(path) as whole:
        repeats = pl.concat(
            _repeats(whole, is_repeated & (in_order % buckets == bucket))
            for bucket in range(buckets)
        )
        rows = whole.metadata.num_rows
    if repeats.is_empty():
        return 0
    is_kept = pl.repeat(value=True, n=rows, eager=True).scatter(repeats, False)
    rewrite(path, dtypes, lambda start, group: group.filter(is_kept.slice(start, group.height)))
    return len(repeats)


def rewrite(
    path: Path, dtypes: Mapping[str, Any], change: Callable[[int, pl.DataFrame], pl.DataFrame]
) -> None:
    """Put other events in the place of those of a staged file, a row group at a time.

    Args:
        path: the events.
        dtypes: the columns of the events.
        change: returns what becomes of a row group, given the number of its first row.
    """
    changed = path.with_suffix(".changed")
    with pq.ParquetFile(path) as whole, EventsWriter(changed, dtypes) as writer:
        for start, group in _numbered(whole):
            writer.write(change(start, group))
        writer.footer = whole.metadata.metadata[FOOTER_KEY]
    changed.replace(path)


def _repeats(whole: pq.ParquetFile, is_candidate: pl.Series) -> pl.Series:
    """Return the rows, in any order, that repeat an earlier one of the candidates.

    Args:
        whole: the events.
        is_candidate: of each event with a request_id, in source order, whether it is looked at.
    """
    fields = event_fields(whole.schema_arrow.names)
    is_first = pl.struct(fields).is_first_distinct()
    repeats, firsts, passed = [], [], 0
    for start, group in _numbered(whole):
        known = group.with_row_index("row", start).filter(pl.col("request_id").is_not_null())
        candidates = known.filter(is_candidate.slice(passed, known.height))
        candidates = candidates.with_columns(first=is_first)
        passed += known.height
        repeats.append(candidates.filter(~pl.col("first"))["row"])
        firsts.append(candidates.filter("first").select("row", *fields))
    repeats.append(pl.concat(firsts).filter(~is_first)["row"])
    return pl.concat(repeats)


def _numbered(whole: pq.ParquetFile) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the row groups, each with the number of its first row."""
    start = 0
    for number in range(whole.num_row_groups):
        yield start, (group := pl.DataFrame(whole.read_row_group(number)))
        start += group.height
