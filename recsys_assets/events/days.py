"""One day of canonical events: raw events in, one Parquet file out, in bounded memory.

What is held at a time is a few pieces (8 MiB each) and one row group, plus 8 bytes for each event
that carries a request_id (with `deduplicate_by`, for each such event of all files that are read)
and, where events lack a session, what `events/sessions.py` holds. Of refused lines, the first are
kept and all are counted. Nothing becomes visible here: the caller decides whether the day is
accepted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from recsys_assets.compute.day_counts import is_small
from recsys_assets.config import Surface
from recsys_assets.contracts import canonical_dtypes
from recsys_assets.errors import RawEventsError
from recsys_assets.events.ahead import Read, parse_all
from recsys_assets.events.around import around
from recsys_assets.events.erased import (
    ERASED_TEXT,
    Erased,
    erase_events,
    erase_refused,
    without_text,
)
from recsys_assets.events.parsed import ParsedChunk, RefusedLine
from recsys_assets.events.provenance import Provenance, footer, provenance_of
from recsys_assets.events.redelivered import (
    HashingWriter,
    drop_redelivered,
    event_fields,
    known_by,
    others_writer,
)
from recsys_assets.events.repeats import Repeats
from recsys_assets.events.sessions import give_sessions
from recsys_assets.events.sources import InputSeen, Source, open_source
from recsys_assets.events.writers import ROW_GROUP_ROWS, NotKept, RefusedWriter


@dataclass(frozen=True)
class RefusedFile:
    """An input that has lines and of which every one is refused, such as one of another format."""

    location: str
    lines: int
    first: RefusedLine  # without its text


@dataclass(frozen=True)
class ParsedDay:
    """A day of canonical events on disk, not accepted yet, and what was counted on the way.

    `lines` counts those of the day's own files that are not blank, and in the files of the days
    around it the lines that are its events, which are `from_days_around`. Each is in exactly one of
    `events`, `redelivered`, `outside_window`, `of_days_around` (which those days keep),
    `other_surface`, `left_out`, `erased` and `refused`; where entries of lines are events, every
    entry.
    `wanted` says what was looked for, should there be no `own_files`.
    Bytes are those of the own files' lines with their newlines, decompressed. Of the refused lines,
    `not_kept` counts by file those that are not below `rejected_path`. Of the redelivered ones,
    `other_items` are of another item than the one that stays. `repeated` of the `undistinguished`
    events that were looked at, which have no request_id, are equal to another one. `list_tag` is
    that of the list of erased persons which it was held to.
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
    built_sessions: int
    seconds: float
    own_files: int
    from_days_around: int = 0
    of_days_around: int = 0
    other_items: int = 0
    undistinguished: int = 0
    repeated: int = 0
    erased: int = 0
    list_tag: str | None = None

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
        lines = self.own_events
        return self.outside_window / lines if lines else 0.0

    @property
    def own_lines(self) -> int:
        """Lines of the day's own files."""
        return self.lines - self.from_days_around

    @property
    def own_events(self) -> int:
        """Readable lines of the surface in the day's own files, of whatever day."""
        found = self.events + self.redelivered + self.erased - self.from_days_around
        return found + self.of_days_around + self.outside_window

    @property
    def rejected_share(self) -> float:
        """Refused lines as a share of the day's raw lines; 0 for a day without lines."""
        return self.refused.total() / self.own_lines if self.own_lines else 0.0

    @property
    def rejected_bytes_share(self) -> float:
        """Bytes of refused lines as a share of those of all lines; 0 for a day without lines."""
        return self.refused_bytes / self.size_bytes if self.size_bytes else 0.0

    @cached_property
    def frame(self) -> pl.LazyFrame:
        """The events, contract `canonical_event`; few are read once."""
        stored = pl.scan_parquet(self.path, glob=False)
        return stored.collect().lazy() if is_small(self.events) else stored

    def groups(self) -> Iterator[pl.DataFrame]:
        """Yield the events as frames of bounded size, in source order."""
        start = 0
        while (group := self.frame.slice(start, ROW_GROUP_ROWS).collect()).height:
            yield group
            start += group.height
            if group.height < ROW_GROUP_ROWS:
                return


@dataclass
class _Tally:
    """What was counted of an input."""

    lines: int = 0
    size_bytes: int = 0
    events: int = 0
    outside_window: int = 0
    other_surface: int = 0
    left_out: int = 0
    of_days_around: int = 0
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


def parse_day(
    surface: Surface, day: date, *, scratch: Path, erased: Erased | None = None
) -> ParsedDay:
    """Read the day's raw events into a Parquet file of canonical events.

    The same raw bytes give the same file. Of events that carry a request_id and agree in what they
    are known by, the earliest stays and the others are left out and counted. They are known by all
    columns, or by what `deduplicate_by` says; an earlier one may then be of another day. Events
    without a session are given one once those are left out. At last, events of persons who were
    erased are left out, and what their refused lines say.

    Args:
        surface: whose events to keep.
        day: UTC day to keep.
        scratch: an existing directory, on the filesystem the result will be moved within.
        erased: who was erased; None where nobody was.

    Raises:
        RawEventsError: an input cannot be read to its end, or holds what another one does; nothing
            is kept.
        ParsingError: a process that parsed ended; nothing is kept.
    """
    started = time.monotonic()
    source = open_source(surface)
    # What is landed from a topic is so many messages, each once, and no whole that somebody wrote:
    # two files may well hold the same, and one may hold nothing but a message that is no event. So
    # it is with the files of a table.
    by_message = surface.source.landing.kafka is not None or surface.source.is_table_of_files
    inputs, read = around(source, surface, day), list[Read]()
    names = inputs.names
    path, rejected = scratch / f"{day}.parquet", scratch / f"{day}.rejected.jsonl.zst"
    tallies, without_session = [_Tally() for _ in names], 0
    dtypes = canonical_dtypes(surface.source.further_columns)
    identity = known_by(dtypes, surface.source.deduplicate_by)
    repeats = Repeats(event_fields(dtypes))
    with ExitStack() as stack:
        writer = stack.enter_context(HashingWriter(path, dtypes, identity))
        refusals = stack.enter_context(RefusedWriter(rejected))
        others = None
        if surface.source.deduplicate_by and inputs.is_wider:
            others = stack.enter_context(others_writer(scratch / f"{day}.others", writer))
        for index, parsed in parse_all(source, inputs, surface):
            if isinstance(parsed, Read):
                read.append(parsed)
                continue
            tally, counted = tallies[index], parsed
            if inputs.is_wider:
                counted, of_others, claimed = inputs.split(names[index], parsed)
                tally.of_days_around += claimed
                if others is not None:
                    known = of_others.filter(pl.col("request_id").is_not_null())
                    known = known.with_columns(file=pl.lit(index, pl.Int32))
                    others.write(known.select(*others.dtypes))
            tally.add(counted)
            for line in counted.refused:
                refusals.write(names[index], line)
            if counted.events.is_empty():  # of chunks without events there is no end
                continue
            repeats.add(counted.events)
            without_session += counted.events["session_id"].null_count()
            events = counted.events.with_columns(file=pl.lit(index, pl.Int32))
            writer.write(events.select(*dtypes))
        if not by_message:
            _refuse_copies(source, read, tallies)
        seen = [each.seen for each in read]
        decided_by = {**source.identity, **inputs.identity}
        provenance = provenance_of(surface.place, day, seen, decided_by)
        writer.footer = footer(surface.place, day, provenance)
    dropped = drop_redelivered(writer, others)
    if others is not None:
        others.path.unlink()
    # After that: an event that came again is told by what was sent, which had no session.
    sessions = surface.source.sessions
    built = (
        give_sessions(path, dtypes, day=day, gap=sessions.gap if sessions else None)
        if without_session
        else 0
    )
    refused = sum((tally.refused for tally in tallies), Counter[str]())
    gone, gone_lines = 0, set[tuple[str, int]]()
    if erased is not None:
        gone, provenance = erase_events(path, erased, provenance, place=surface.place, day=day)
        gone_lines = erase_refused(rejected, erased) if refused else gone_lines
    is_own = [inputs.is_own(name) for name in names]
    return ParsedDay(
        day=day,
        path=path,
        rejected_path=rejected if refused else None,
        provenance=provenance,
        wanted=source.wanted(day),
        lines=sum(tally.lines for tally in tallies),
        events=sum(tally.events for tally in tallies) - dropped.events - gone,
        size_bytes=sum(tally.size_bytes for tally in tallies),
        refused=refused,
        refused_bytes=sum(tally.refused_bytes for tally in tallies),
        refused_files=[
            RefusedFile(
                source.label(name), tally.lines, _told(name, tally.first_refused, gone_lines)
            )
            for name, tally in zip(names, tallies, strict=True)
            if not by_message and tally.first_refused and tally.lines == tally.refused.total()
        ],
        not_kept=refusals.not_kept,
        first_refused=[without_text(entry, gone_lines) for entry in refusals.first],
        redelivered=dropped.events,
        outside_window=sum(tally.outside_window for tally in tallies),
        other_surface=sum(tally.other_surface for tally in tallies),
        left_out=sum(tally.left_out for tally in tallies),
        built_sessions=built,
        seconds=time.monotonic() - started,
        own_files=sum(is_own),
        from_days_around=sum(
            tally.events for tally, own in zip(tallies, is_own, strict=True) if not own
        ),
        of_days_around=sum(tally.of_days_around for tally in tallies),
        other_items=dropped.other_items,
        undistinguished=repeats.looked_at,
        repeated=repeats.repeated,
        erased=gone,
        list_tag=erased.tag if erased else None,
    )


def _told(name: str, line: RefusedLine, gone: Collection[tuple[str, int]]) -> RefusedLine:
    """Return a refused line as it is told, without what it said where it is one of some."""
    return replace(line, detail=ERASED_TEXT) if (name, line.line) in gone else line


def _refuse_copies(source: Source, read: Sequence[Read], tallies: Sequence[_Tally]) -> None:
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
