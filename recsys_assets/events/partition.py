"""One day of canonical events: raw files in, one staged Parquet file out, in bounded memory.

What is held at a time is a few chunks (8 MiB each) and one row group, plus 8 bytes for each event
that carries a request_id. Nothing becomes visible here: the caller decides whether the staged file
is accepted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.config import Surface
from recsys_assets.contracts import CANONICAL_DTYPES
from recsys_assets.errors import StorageError
from recsys_assets.events.parse import ParsedChunk, RefusedLine, parse_chunk
from recsys_assets.events.sources import RawFile, raw_files, read_chunks
from recsys_assets.storage.store import Store

# Part of the fingerprint and of the assets' code version: raise it when the same raw lines would
# give other canonical events.
CANONICAL_FORMAT: Final = 1
# Accepted days of an older format are refused. A day of this format or a later one is read as it
# is, a column it lacks as nulls: raise this too when that would be wrong.
OLDEST_READABLE_FORMAT: Final = 1
FOOTER_KEY: Final = b"recsys_assets"

_ROW_GROUP_ROWS: Final = 250_000
_PARSERS: Final = 2
_PROGRESS_SECONDS: Final = 5.0
_REDELIVERY_BUCKET_ROWS: Final = 2_000_000
_REPEATING: Final = ["user_id", "session_id", "item_id", "rank", "file"]
_ASCENDING: Final = ["ts", "line"]  # more or less; the difference of neighbours is small
# Events that agree in these are the same event, delivered again.
_EVENT_FIELDS: Final = tuple(name for name in CANONICAL_DTYPES if name not in {"file", "line"})

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StagedPartition:
    """A day of canonical events on disk, not accepted yet, and what was counted on the way.

    Every raw line that is not blank is in exactly one of `events`, `redelivered`, `outside_window`,
    `other_surface` and `refused`.
    """

    day: date
    path: Path
    rejected_path: Path | None
    fingerprint: str
    files: list[RawFile]
    lines: int
    events: int
    refused: Counter[str]
    first_refused: list[dict[str, Any]]
    redelivered: int
    outside_window: int
    other_surface: int
    seconds: float

    @property
    def rejected_share(self) -> float:
        """Refused lines as a share of the day's raw lines; 0 for a day without lines."""
        return self.refused.total() / self.lines if self.lines else 0.0

    @property
    def frame(self) -> pl.LazyFrame:
        """The events, contract `canonical_event`."""
        return pl.scan_parquet(self.path, glob=False)

    def groups(self) -> Iterator[pl.DataFrame]:
        """Yield the events as frames of bounded size, in source order."""
        start = 0
        while (group := self.frame.slice(start, _ROW_GROUP_ROWS).collect()).height:
            yield group
            start += group.height


@dataclass
class _Tally:
    lines: int = 0
    events: int = 0
    outside_window: int = 0
    other_surface: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def stage_partition(surface: Surface, day: date, *, scratch: Path) -> StagedPartition:
    """Read the day's raw files into a staged Parquet file of canonical events.

    The same raw bytes give the same file. A repeat of an event that carries a request_id and is
    equal in every field is left out and counted; its first occurrence in source order stays.

    Args:
        surface: whose events to keep.
        day: UTC day to keep.
        scratch: an existing directory, on the filesystem the result will be moved within.

    Raises:
        RawEventsError: a raw file cannot be read to its end; nothing is kept.
    """
    started = time.monotonic()
    files = raw_files(surface, day)
    staged, rejected = scratch / f"{day}.parquet", scratch / f"{day}.rejected.jsonl.zst"
    tally, hashes = _Tally(), []
    with _Writer(staged) as writer, _RejectedWriter(rejected) as refusals:
        for index, parsed in _parse_all(files, surface, day):
            tally.lines += parsed.lines
            tally.outside_window += parsed.outside_window
            tally.other_surface += parsed.other_surface
            for line in parsed.refused:
                tally.refused[line.reason] += 1
                refusals.write(files[index].name, line)
            events = parsed.events.with_columns(file=pl.lit(index, pl.Int32))
            tally.events += events.height
            hashes.append(
                events.filter(pl.col("request_id").is_not_null()).select(_hash()).to_series()
            )
            writer.write(events.select(CANONICAL_DTYPES.names()))
        fingerprint = _fingerprint(surface, day, files)
        writer.footer = _footer(surface, day, files, fingerprint)
        first_refused = refusals.first
    redelivered = _drop_redelivered(staged, hashes)
    return StagedPartition(
        day=day,
        path=staged,
        rejected_path=rejected if tally.refused else None,
        fingerprint=fingerprint,
        files=files,
        lines=tally.lines,
        events=tally.events - redelivered,
        refused=tally.refused,
        first_refused=first_refused,
        redelivered=redelivered,
        outside_window=tally.outside_window,
        other_surface=tally.other_surface,
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True)
class Provenance:
    """What an accepted partition says of itself: its fingerprint, and the raw files it is made of.

    `files` are in the order that the events' `file` counts in.
    """

    fingerprint: str
    files: list[RawFileSeen]


@dataclass(frozen=True)
class RawFileSeen:
    """A raw file as it was when it was read."""

    name: str
    size_bytes: int
    sha256: str


def read_provenance(store: Store, key: str) -> Provenance:
    """Return what the footer of an accepted partition says.

    Raises:
        FileNotFoundError: the partition is absent.
        StorageError: it is damaged, not a canonical partition, or of a format that is not read.
    """
    readable = range(OLDEST_READABLE_FORMAT, CANONICAL_FORMAT + 1)
    try:
        file, _ = store.open(key)
        with file:
            footer: dict[str, Any] = json.loads(pq.read_metadata(file).metadata[FOOTER_KEY])
        files = [RawFileSeen(**seen) for seen in footer["files"]]
        provenance = Provenance(str(footer["fingerprint"]), files)
        is_readable = readable.start <= footer["format"] < readable.stop
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{store.location(key)} is not a readable canonical partition: {error!r}. Materialize "
            f"canonical_events of {PurePosixPath(key).stem} again; it replaces it."
        ) from None
    if not is_readable:
        raise StorageError(
            f"{store.location(key)} is of format {footer['format']}, this project reads "
            f"{' or '.join(map(str, readable))}. Materialize canonical_events of "
            f"{PurePosixPath(key).stem} again; it replaces it."
        )
    return provenance


def _fingerprint(surface: Surface, day: date, files: list[RawFile]) -> str:
    """Hash what the partition is a function of, so that equal fingerprints mean equal events."""
    identity = {
        "format": CANONICAL_FORMAT,
        "tenant": surface.tenant,
        "surface": surface.surface,
        "day": day.isoformat(),
        "files": [(file.name, file.sha256) for file in files],
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _footer(surface: Surface, day: date, files: list[RawFile], fingerprint: str) -> bytes:
    return json.dumps(
        {
            "format": CANONICAL_FORMAT,
            "tenant": surface.tenant,
            "surface": surface.surface,
            "day": day.isoformat(),
            "fingerprint": fingerprint,
            "files": [
                asdict(RawFileSeen(file.name, file.size_bytes, file.sha256)) for file in files
            ],
        }
    ).encode()


def _parse_all(
    files: list[RawFile], surface: Surface, day: date
) -> Iterator[tuple[int, ParsedChunk]]:
    """Yield (file index, parsed chunk) in source order, parsing a few chunks ahead."""
    parse = partial(parse_chunk, tenant=surface.tenant, surface=surface.surface, day=day)
    ahead: deque[tuple[int, Future[ParsedChunk]]] = deque()
    said, lines = time.monotonic(), 0
    with ThreadPoolExecutor(_PARSERS, thread_name_prefix="parse") as pool:
        for index, file in enumerate(files):
            for chunk in read_chunks(file):
                ahead.append((index, pool.submit(parse, chunk)))
                if len(ahead) > _PARSERS:
                    number, parsed = ahead.popleft()
                    result = parsed.result()
                    lines += result.lines
                    yield number, result
                if time.monotonic() - said > _PROGRESS_SECONDS:
                    said = time.monotonic()
                    _LOG.info("%s %s: %d lines read, now %s", surface.name, day, lines, file.name)
        while ahead:
            number, parsed = ahead.popleft()
            yield number, parsed.result()


class _Writer:
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

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is None:
            self._write_groups(smallest=1)
            self._writer.add_key_value_metadata({FOOTER_KEY: self.footer})
        self._writer.close()

    def write(self, frame: pl.DataFrame) -> None:
        self._pending.append(frame)
        self._rows += frame.height
        if self._rows >= _ROW_GROUP_ROWS:
            self._write_groups(smallest=_ROW_GROUP_ROWS)

    def _write_groups(self, *, smallest: int) -> None:
        if not self._pending:
            return
        frame = pl.concat(self._pending)
        while frame.height >= smallest:
            group, frame = frame.head(_ROW_GROUP_ROWS), frame.slice(_ROW_GROUP_ROWS)
            # rechunk: a table's pages end where its chunks do.
            self._writer.write_table(group.rechunk().to_arrow().cast(self._schema))
        self._pending, self._rows = [frame], frame.height


class _RejectedWriter:
    """Write refused lines as compressed JSON lines; the file is made at the first one."""

    _SHOWN = 10

    def __init__(self, path: Path) -> None:
        self.first: list[dict[str, Any]] = []
        self._path = path
        self._files = ExitStack()
        self._out: pa.CompressedOutputStream | None = None

    def __enter__(self) -> _RejectedWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def write(self, file: str, line: RefusedLine) -> None:
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


def _hash() -> pl.Expr:
    return pl.struct(_EVENT_FIELDS).hash(seed=0).alias("hash")


def _drop_redelivered(path: Path, hashes: list[pl.Series]) -> int:
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
        .select(*_EVENT_FIELDS, "file", "line", _hash())
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
    with pq.ParquetFile(path) as whole, _Writer(kept) as writer:
        for number in range(whole.num_row_groups):
            group = pl.DataFrame(whole.read_row_group(number))
            writer.write(
                group.join(repeats, on=["file", "line"], how="anti", maintain_order="left")
            )
        writer.footer = whole.metadata.metadata[FOOTER_KEY]
    kept.replace(path)
    return repeats.height
