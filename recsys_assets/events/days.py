"""One day of canonical events: raw events in, one Parquet file out, in bounded memory.

What is held at a time is a few pieces (8 MiB each) and one row group, plus 8 bytes for each event
that carries a request_id. Of refused lines, the first are kept and all are counted. Nothing becomes
visible here: the caller decides whether the day is accepted.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from recsys_assets.config import Surface
from recsys_assets.contracts import canonical_dtypes
from recsys_assets.errors import RawEventsError
from recsys_assets.events.parsed import ParsedChunk, RefusedLine
from recsys_assets.events.provenance import Provenance, footer, provenance_of
from recsys_assets.events.sources import InputSeen, Source, open_source
from recsys_assets.events.writers import (
    ROW_GROUP_ROWS,
    EventsWriter,
    NotKept,
    RefusedWriter,
    drop_redelivered,
    event_hash,
)

_PARSERS: Final = 2
_PROGRESS_SECONDS: Final = 5.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefusedFile:
    """An input that has lines and of which every one is refused, such as one of another format."""

    location: str
    lines: int
    first: RefusedLine  # without its text


@dataclass(frozen=True)
class ParsedDay:
    """A day of canonical events on disk, not accepted yet, and what was counted on the way.

    Every raw line that is not blank is in exactly one of `events`, `redelivered`, `outside_window`,
    `other_surface`, `left_out` and `refused`; where entries of lines are events, every entry.
    `wanted` says what was looked for, should there be no files.
    Bytes are those of lines with their newlines, decompressed. Of the refused lines, `not_kept`
    counts by file those that are not below `rejected_path`.
    """

    day: date
    path: Path
    rejected_path: Path | None
    provenance: Provenance
    wanted: str
    lines: int
    events: int
    size_bytes: int
    refused: Counter[str]
    refused_bytes: int
    refused_files: Sequence[RefusedFile]
    not_kept: Mapping[str, NotKept]
    first_refused: list[dict[str, Any]]
    redelivered: int
    outside_window: int
    other_surface: int
    left_out: int
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
    def rejected_bytes_share(self) -> float:
        """Bytes of refused lines as a share of those of all lines; 0 for a day without lines."""
        return self.refused_bytes / self.size_bytes if self.size_bytes else 0.0

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


class _Read(NamedTuple):
    """An input that was read to its end."""

    seen: InputSeen
    content: str | None


@dataclass
class _Tally:
    """What was counted of an input."""

    lines: int = 0
    size_bytes: int = 0
    events: int = 0
    outside_window: int = 0
    other_surface: int = 0
    left_out: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    refused_bytes: int = 0
    first_refused: RefusedLine | None = None

    def add(self, parsed: ParsedChunk) -> None:
        """Count what became of a piece."""
        self.lines += parsed.lines
        self.size_bytes += parsed.size_bytes
        self.events += parsed.events.height
        self.outside_window += parsed.outside_window
        self.other_surface += parsed.other_surface
        self.left_out += parsed.left_out
        self.refused.update(line.reason for line in parsed.refused)
        self.refused_bytes += sum(line.size_bytes for line in parsed.refused)
        if self.first_refused is None and parsed.refused:
            self.first_refused = replace(parsed.refused[0], raw=b"")  # which may be 4 MiB


def parse_day(surface: Surface, day: date, *, scratch: Path) -> ParsedDay:
    """Read the day's raw events into a Parquet file of canonical events.

    The same raw bytes give the same file. A repeat of an event that carries a request_id and is
    equal in every field is left out and counted; its first occurrence in source order stays.

    Args:
        surface: whose events to keep.
        day: UTC day to keep.
        scratch: an existing directory, on the filesystem the result will be moved within.

    Raises:
        RawEventsError: an input cannot be read to its end, or holds what another one does; nothing
            is kept.
    """
    started = time.monotonic()
    source = open_source(surface)
    # What is landed from a topic is so many messages, each once, and no whole that somebody wrote:
    # two files may well hold the same, and one may hold nothing but a message that is no event. So
    # it is with the files of a table.
    by_message = surface.source.landing.kafka is not None or surface.source.is_table
    names, read = source.inputs(day), list[_Read]()
    path, rejected = scratch / f"{day}.parquet", scratch / f"{day}.rejected.jsonl.zst"
    tallies, hashes = [_Tally() for _ in names], []
    dtypes = canonical_dtypes(surface.source.further_columns)
    with EventsWriter(path, dtypes) as writer, RefusedWriter(rejected) as refusals:
        for index, parsed in _parse_all(source, names, surface.name, day):
            if isinstance(parsed, _Read):
                read.append(parsed)
                continue
            tallies[index].add(parsed)
            for line in parsed.refused:
                refusals.write(names[index], line)
            if parsed.events.is_empty():  # of chunks without events there is no end
                continue
            events = parsed.events.with_columns(file=pl.lit(index, pl.Int32))
            events = events.pipe(with_own_sessions, day).select(*dtypes)
            known = events.filter(pl.col("request_id").is_not_null())
            hashes.append(known.select(event_hash(dtypes)).to_series())
            writer.write(events)
        if not by_message:
            _refuse_copies(source, read, tallies)
        seen = [each.seen for each in read]
        provenance = provenance_of(surface.place, day, seen, source.identity)
        writer.footer = footer(surface.place, day, provenance)
    redelivered = drop_redelivered(path, hashes, dtypes)
    refused = sum((tally.refused for tally in tallies), Counter[str]())
    return ParsedDay(
        day=day,
        path=path,
        rejected_path=rejected if refused else None,
        provenance=provenance,
        wanted=source.wanted(day),
        lines=sum(tally.lines for tally in tallies),
        events=sum(tally.events for tally in tallies) - redelivered,
        size_bytes=sum(tally.size_bytes for tally in tallies),
        refused=refused,
        refused_bytes=sum(tally.refused_bytes for tally in tallies),
        refused_files=[
            RefusedFile(source.label(name), tally.lines, tally.first_refused)
            for name, tally in zip(names, tallies, strict=True)
            if not by_message and tally.first_refused and tally.lines == tally.refused.total()
        ],
        not_kept=refusals.not_kept,
        first_refused=refusals.first,
        redelivered=redelivered,
        outside_window=sum(tally.outside_window for tally in tallies),
        other_surface=sum(tally.other_surface for tally in tallies),
        left_out=sum(tally.left_out for tally in tallies),
        seconds=time.monotonic() - started,
    )


def with_own_sessions(events: pl.DataFrame, day: date) -> pl.DataFrame:
    """Give each event without a session one of its own, which no other event of any day has."""
    if not events["session_id"].null_count():
        return events
    at = [name for name in ("file", "line", "part") if name in events.columns]
    own = pl.concat_str(pl.lit(f"none {day}"), *at, separator=" ")
    return events.with_columns(pl.col("session_id").fill_null(own))


def _refuse_copies(source: Source, read: Sequence[_Read], tallies: Sequence[_Tally]) -> None:
    """Refuse a day that has the same lines twice, whatever their files are called.

    Raises:
        RawEventsError: names the two.
    """
    first: dict[str, str] = {}
    for (file, content), tally in zip(read, tallies, strict=True):
        if not tally.lines or content is None:
            continue
        if (other := first.setdefault(content, file.name)) != file.name:
            raise RawEventsError(
                f"{source.label(other)} and {source.label(file.name)} hold the same, and its "
                "events would count twice. Nothing of the day was kept; take one of them away and "
                "materialize the day."
            )


def _parse_all(
    source: Source, names: Sequence[str], surface: str, day: date
) -> Iterator[tuple[int, ParsedChunk | _Read]]:
    """Yield (index of the input, parsed piece) in source order, parsing a few pieces ahead.

    Once an input is read to its end, what was read of it comes too.
    """
    parse = partial(source.parse, day=day)
    ahead: deque[tuple[int, Future[ParsedChunk]]] = deque()
    said, lines = time.monotonic(), 0
    with ThreadPoolExecutor(_PARSERS, thread_name_prefix="parse") as pool:
        for index, name in enumerate(names):
            with source.open(name, day) as reading:
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
                yield index, _Read(reading.seen(), reading.content())
        while ahead:
            number, parsed = ahead.popleft()
            yield number, parsed.result()
