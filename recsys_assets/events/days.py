"""One day of canonical events: raw events in, one Parquet file out, in bounded memory.

What is held at a time is a few pieces (8 MiB each) and one row group, plus 8 bytes for each event
that carries a request_id. Nothing becomes visible here: the caller decides whether the day is
accepted.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from recsys_assets.config import Surface
from recsys_assets.contracts import CANONICAL_DTYPES
from recsys_assets.events.parse import ParsedChunk
from recsys_assets.events.provenance import Provenance, footer, provenance_of
from recsys_assets.events.sources import InputSeen, Source, open_source
from recsys_assets.events.writers import (
    ROW_GROUP_ROWS,
    EventsWriter,
    RefusedWriter,
    drop_redelivered,
    event_hash,
)

_PARSERS: Final = 2
_PROGRESS_SECONDS: Final = 5.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParsedDay:
    """A day of canonical events on disk, not accepted yet, and what was counted on the way.

    Every raw line that is not blank is in exactly one of `events`, `redelivered`, `outside_window`,
    `other_surface` and `refused`. `wanted` says what was looked for, should there be no files.
    """

    day: date
    path: Path
    rejected_path: Path | None
    provenance: Provenance
    wanted: str
    lines: int
    events: int
    refused: Counter[str]
    first_refused: list[dict[str, Any]]
    redelivered: int
    outside_window: int
    other_surface: int
    seconds: float

    @property
    def fingerprint(self) -> str:
        """Equal ones mean equal events."""
        return self.provenance.fingerprint

    @property
    def files(self) -> Sequence[InputSeen]:
        """The inputs, in source order."""
        return self.provenance.files

    @property
    def outside_window_share(self) -> float:
        """Lines outside the day as a share of the surface's readable lines; 0 without such."""
        lines = self.events + self.redelivered + self.outside_window
        return self.outside_window / lines if lines else 0.0

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
        while (group := self.frame.slice(start, ROW_GROUP_ROWS).collect()).height:
            yield group
            start += group.height


@dataclass
class _Tally:
    lines: int = 0
    events: int = 0
    outside_window: int = 0
    other_surface: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def parse_day(surface: Surface, day: date, *, scratch: Path) -> ParsedDay:
    """Read the day's raw events into a Parquet file of canonical events.

    The same raw bytes give the same file. A repeat of an event that carries a request_id and is
    equal in every field is left out and counted; its first occurrence in source order stays.

    Args:
        surface: whose events to keep.
        day: UTC day to keep.
        scratch: an existing directory, on the filesystem the result will be moved within.

    Raises:
        RawEventsError: an input cannot be read to its end; nothing is kept.
    """
    started = time.monotonic()
    source = open_source(surface)
    names, seen = source.inputs(day), list[InputSeen]()
    path, rejected = scratch / f"{day}.parquet", scratch / f"{day}.rejected.jsonl.zst"
    tally, hashes = _Tally(), []
    with EventsWriter(path) as writer, RefusedWriter(rejected) as refusals:
        for index, parsed in _parse_all(source, names, surface.name, day):
            if isinstance(parsed, InputSeen):
                seen.append(parsed)
                continue
            tally.lines += parsed.lines
            tally.outside_window += parsed.outside_window
            tally.other_surface += parsed.other_surface
            for line in parsed.refused:
                tally.refused[line.reason] += 1
                refusals.write(names[index], line)
            events = parsed.events.with_columns(file=pl.lit(index, pl.Int32))
            tally.events += events.height
            hashes.append(
                events.filter(pl.col("request_id").is_not_null()).select(event_hash()).to_series()
            )
            writer.write(events.select(CANONICAL_DTYPES.names()))
        provenance = provenance_of(surface.place, day, seen, source.identity)
        writer.footer = footer(surface.place, day, provenance)
        first_refused = refusals.first
    redelivered = drop_redelivered(path, hashes)
    return ParsedDay(
        day=day,
        path=path,
        rejected_path=rejected if tally.refused else None,
        provenance=provenance,
        wanted=source.wanted(day),
        lines=tally.lines,
        events=tally.events - redelivered,
        refused=tally.refused,
        first_refused=first_refused,
        redelivered=redelivered,
        outside_window=tally.outside_window,
        other_surface=tally.other_surface,
        seconds=time.monotonic() - started,
    )


def _parse_all(
    source: Source, names: Sequence[str], surface: str, day: date
) -> Iterator[tuple[int, ParsedChunk | InputSeen]]:
    """Yield (index of the input, parsed piece) in source order, parsing a few pieces ahead.

    Once an input is read to its end, what was read of it comes too.
    """
    parse = partial(source.parse, day=day)
    ahead: deque[tuple[int, Future[ParsedChunk]]] = deque()
    said, lines = time.monotonic(), 0
    with ThreadPoolExecutor(_PARSERS, thread_name_prefix="parse") as pool:
        for index, name in enumerate(names):
            with source.open(name) as reading:
                for piece in reading.pieces():
                    ahead.append((index, pool.submit(parse, piece)))
                    if len(ahead) > _PARSERS:
                        number, parsed = ahead.popleft()
                        result = parsed.result()
                        lines += result.lines
                        yield number, result
                    if time.monotonic() - said > _PROGRESS_SECONDS:
                        said = time.monotonic()
                        _LOG.info("%s %s: %d lines read, now %s", surface, day, lines, name)
                yield index, reading.seen()
        while ahead:
            number, parsed = ahead.popleft()
            yield number, parsed.result()
