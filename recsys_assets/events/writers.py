"""A day of canonical events as a file: row groups, refused lines, redelivered events taken out."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.contracts import CANONICAL_DTYPES
from recsys_assets.events.parse import RefusedLine
from recsys_assets.events.provenance import FOOTER_KEY

ROW_GROUP_ROWS: Final = 250_000
_REDELIVERY_BUCKET_ROWS: Final = 2_000_000
_REPEATING: Final = ["user_id", "session_id", "item_id", "rank", "file"]
_ASCENDING: Final = ["ts", "line"]  # more or less; the difference of neighbours is small
# Events that agree in these are the same event, delivered again.
_EVENT_FIELDS: Final = tuple(name for name in CANONICAL_DTYPES if name not in {"file", "line"})


class EventsWriter:
    """Write frames as row groups of equal size, so that the bytes do not depend on the chunks."""

    def __init__(self, path: Path) -> None:
        self.footer = b""
        self._schema = pl.DataFrame(schema=CANONICAL_DTYPES).to_arrow().schema
        # zstd 1: half of lz4's bytes for a tenth more time on the benchmark's events. Dictionaries
        # only where values repeat: tried in vain on the others, they took a third of the time.
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=_REPEATING,
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
    """Write refused lines as compressed JSON lines; the file is made at the first one."""

    _SHOWN = 10

    def __init__(self, path: Path) -> None:
        self.first: list[dict[str, Any]] = []
        self._path = path
        self._files = ExitStack()
        self._out: pa.CompressedOutputStream | None = None

    def __enter__(self) -> RefusedWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def write(self, file: str, line: RefusedLine) -> None:
        """Append a refused line of a file."""
        if self._out is None:
            raw = self._files.enter_context(pa.OSFile(str(self._path), "wb"))
            self._out = self._files.enter_context(pa.CompressedOutputStream(raw, "zstd"))
        entry = {"file": file, "line": line.line, "reason": line.reason, "detail": line.detail}
        if len(self.first) < self._SHOWN:
            self.first.append(entry | {"raw": line.raw[:200].decode(errors="backslashreplace")})
        try:
            raw_text = {"raw": line.raw.decode()}
        except UnicodeDecodeError:  # keeps the very bytes
            raw_text = {"raw_base64": base64.b64encode(line.raw).decode()}
        self._out.write(json.dumps(entry | raw_text).encode() + b"\n")


def event_hash() -> pl.Expr:
    """Give the hash of all that an event is known by."""
    return pl.struct(_EVENT_FIELDS).hash(seed=0).alias("hash")


def drop_redelivered(path: Path, hashes: list[pl.Series]) -> int:
    """Rewrite the staged file without redelivered events; return how many there were.

    Hashes only find the candidates; whether two events are equal is decided on their fields.
    Candidates are looked at in buckets of equal hashes, so a day that was delivered twice stays
    within memory.
    """
    if not hashes:
        return 0
    ordered = pl.concat(hashes).sort()
    repeated = ordered.filter(ordered == ordered.shift()).unique()
    if repeated.is_empty():
        return 0
    candidates = (
        pl.scan_parquet(path, glob=False)
        .filter(pl.col("request_id").is_not_null())
        .select(*_EVENT_FIELDS, "file", "line", event_hash())
        .filter(pl.col("hash").is_in(repeated.implode()))
    )
    buckets = 1 + 2 * repeated.len() // _REDELIVERY_BUCKET_ROWS
    repeats = pl.concat(
        candidates.filter(pl.col("hash") % buckets == bucket)
        .collect(engine="streaming")
        .sort("file", "line")
        .filter(~pl.struct(_EVENT_FIELDS).is_first_distinct())
        .select("file", "line")
        for bucket in range(buckets)
    )
    if repeats.is_empty():
        return 0
    kept = path.with_suffix(".kept")
    with pq.ParquetFile(path) as whole, EventsWriter(kept) as writer:
        for number in range(whole.num_row_groups):
            group = pl.DataFrame(whole.read_row_group(number))
            writer.write(
                group.join(repeats, on=["file", "line"], how="anti", maintain_order="left")
            )
        writer.footer = whole.metadata.metadata[FOOTER_KEY]
    kept.replace(path)
    return repeats.height
