"""Land Kafka topics: each message becomes a line of a raw file of its day, exactly once.

What is landed is known by a **state** beside the files, which changes by compare-and-swap only:

1. A plan is written into it: up to which offset of each partition the next files go. Of two landers
   one succeeds.
2. The messages up to there are read, in order of partition and offset, and written to a file for
   each day. The names have the number of the plan, and what is there already is not written again.
3. The offsets behind them are written into the state, and the plan is gone.

A lander that was killed left a plan; the next one does it again, which gives the same files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa

from recsys_assets.config import Kafka, Surface, is_object_url
from recsys_assets.config.sources import Source
from recsys_assets.errors import ConfigError, TopicError
from recsys_assets.events.mapping import Rules
from recsys_assets.events.moments import days_of_lines, time_rules
from recsys_assets.events.sources.compression import MOST_TIMES
from recsys_assets.operations.messages import Batch, Topic, open_topic
from recsys_assets.operations.offsets import (
    Bounds,
    Kept,
    State,
    checked,
    complete_days,
    ends_of,
)
from recsys_assets.storage import open_store
from recsys_assets.storage.store import Store

_PADDING: Final = b"\x50\x2a\x4d\x18"  # begins a frame that decoders of zstd pass over
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Landing:
    """A topic below a path, and the surfaces whose raw events its messages are."""

    surfaces: Sequence[Surface]

    @property
    def kafka(self) -> Kafka:
        """The topic."""
        kafka = self.source.landing.kafka
        assert kafka is not None  # noqa: S101 (`landings_of` takes no others)
        return kafka

    @property
    def source(self) -> Source:
        """How they read a line's time, all of them alike."""
        return self.surfaces[0].source

    @property
    def rules(self) -> str:
        """A fingerprint of that."""
        return _rules(self.source)

    def key(self, day: str, name: str) -> str:
        """Return where a file of a day lies, below the path; `Source` has it as a pattern."""
        return f"{self.kafka.topic}/dt={day}/{name}"


@dataclass
class Landed:
    """What one landing did.

    Attributes:
        lines: landed, by day.
        files: written or found.
        tombstones: messages without a value, which are left out.
        partitions: of the topic.
        complete: days that were marked as complete.
    """

    lines: Counter[str] = field(default_factory=Counter)
    files: int = 0
    tombstones: int = 0
    partitions: int = 0
    complete: list[date] = field(default_factory=list)


@dataclass(frozen=True)
class Ahead:
    """What a landing would take: offsets of each partition, and the days that are not marked."""

    partitions: Mapping[int, Bounds]
    unmarked: Sequence[date]


def landings_of(surfaces: Sequence[Surface]) -> list[Landing]:
    """Return the topics of surfaces. One below one path lands once for all that name it."""
    sharing: dict[tuple[str, str], list[Surface]] = {}
    for surface in surfaces:
        if surface.variant_of:  # its files are those of its base
            continue
        if (kafka := surface.source.landing.kafka) is not None:
            sharing.setdefault((surface.source.path, kafka.topic), []).append(surface)
    return [Landing(those) for those in sharing.values()]


def look_ahead(landing: Landing) -> Ahead:
    """Return what a landing would take; nothing is changed.

    Raises:
        ConfigError: the client is not installed, what it connects to is not set, or surfaces that
            share the topic differ in how it is landed.
        TopicError: messages are lost, or the topic cannot be read.
    """
    kept = _kept(_store(landing), landing)
    with open_topic(landing.kafka) as topic:
        bounds = topic.bounds()
        state = _checked(landing, topic, kept.state, bounds, skip_lost=False)
    return Ahead(
        {partition: Bounds(state.next[partition], bounds[partition].high) for partition in bounds},
        state.unmarked,
    )


def land(landing: Landing, *, now: datetime | None = None, skip_lost: bool = False) -> Landed:
    """Land what a topic holds by now, and mark the days that are complete.

    Args:
        landing: of `landings_of`.
        now: UTC, the clock by default; a partition is idle by it.
        skip_lost: go on where messages were lost, or the topic was made anew.

    Raises:
        ConfigError: the client is not installed, what it connects to is not set, or surfaces that
            share the topic differ in how it is landed.
        TopicError: another lander is at it, messages are lost, or the topic cannot be read.
        StorageError: the files cannot be written.
    """
    store = _store(landing)
    kept, landed = _kept(store, landing), Landed()
    with open_topic(landing.kafka) as topic:
        at_ms = int((now or datetime.now(UTC)).timestamp() * 1000)
        bounds = topic.bounds()
        landed.partitions = len(bounds)
        found = kept.state
        state = _checked(landing, topic, found, bounds, skip_lost=skip_lost)
        # A partition without a record rests since it was first seen.
        moved = dict.fromkeys(bounds, at_ms) | state.moved_ms
        state = state.model_copy(update={"moved_ms": moved})
        if state != found:
            state = kept.save(state)
        while state.ends or (ends := ends_of(state, bounds)):
            if not state.ends:
                plan = {"ends": ends, "plans": state.plans + 1, "rules": landing.rules}
                state = kept.save(state.model_copy(update=plan))
            state = kept.save(_done(store, landing, topic, state, at_ms, landed))
        grace_ms = landing.kafka.grace_minutes * 60_000
        complete = complete_days(state, bounds, at_ms, grace_ms)
        for day in complete:
            store.put_new(landing.key(str(day), "_SUCCESS"), b"")
        if complete:
            left = [day for day in state.unmarked if day not in complete]
            kept.save(state.model_copy(update={"unmarked": left}))
        landed.complete = complete
    return landed


def _store(landing: Landing) -> Store:
    """Open where a topic lands, if all that share it agree on how, and it is there."""
    first = landing.surfaces[0]
    for other in landing.surfaces[1:]:
        alike = (landing.kafka, landing.rules) == (
            other.source.landing.kafka,
            _rules(other.source),
        )
        if not alike:
            raise ConfigError(
                f"{first.name} and {other.name} share the files of topic {landing.kafka.topic}, "
                "and differ in source.landing.kafka or in how the time of a line is read "
                "(columns.ts, time_zone, explode): make these the same, or give each a path of its "
                "own"
            )
    path = landing.source.path
    if not is_object_url(path) and not Path(path).is_dir():
        raise TopicError(
            f"source.path {path} is not a directory: is it mounted? nothing was landed. Make it if "
            "this is the first landing"
        )
    return open_store(path)


def _kept(store: Store, landing: Landing) -> Kept:
    """Return the state; there is none before the first landing only."""
    kept, topic = Kept(store, landing.kafka.topic), landing.kafka.topic
    if kept.state == State():
        ours = re.compile(rf"{re.escape(topic)}-[0-9]{{10}}\.jsonl\.zst")
        for stored in store.list(topic):
            if ours.fullmatch(stored.key.rpartition("/")[2]):
                raise TopicError(
                    f"{store.uri(stored.key)} was landed, and the state of its topic is not there: "
                    f"bring back {kept.uri}, or take the files of the topic away to land it anew"
                )
    return kept


def _rules(source: Source) -> str:
    """Return a fingerprint of how the time of a line is read."""
    rules = time_rules(source).source
    read = {
        "ts": source.columns and source.columns.ts.model_dump(mode="json"),
        "time_zone": rules.time_zone,
        "explode": rules.explode and rules.explode.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()[:16]


def _checked(
    landing: Landing, topic: Topic, state: State, bounds: Mapping[int, Bounds], *, skip_lost: bool
) -> State:
    name = landing.kafka.topic
    return checked(name, state, bounds, topic.id(), rules=landing.rules, skip_lost=skip_lost)


def _done(
    store: Store, landing: Landing, topic: Topic, state: State, at_ms: int, landed: Landed
) -> State:
    """Write the files of a plan; return the state behind it."""
    name = f"{landing.kafka.topic}-{state.plans:010}.jsonl.zst"
    newest, lines = dict(state.newest_ms), Counter[str]()
    rules = time_rules(landing.source)
    with store.scratch() as scratch:
        for partition, end in state.ends.items():
            for batch in topic.batches(partition, state.next[partition], end):
                landed.tombstones += batch.tombstones
                if not batch.values:
                    continue
                newest[partition] = max(newest.get(partition, 0), *batch.stamps)
                for day, values in _by_day(batch, rules):
                    _append(scratch / day, values)
                    lines[day] += len(values)
                read = landed.lines.total() + lines.total()
                _LOG.info("%s: %d messages read", landing.kafka.topic, read)
        for day in sorted(lines):
            _put(store, landing.key(day, name), scratch / day)
    landed.lines += lines
    landed.files += len(lines)
    return state.model_copy(
        update={
            "next": state.next | state.ends,
            "ends": {},
            "newest_ms": newest,
            "moved_ms": state.moved_ms | dict.fromkeys(state.ends, at_ms),
            "unmarked": sorted({*state.unmarked, *map(date.fromisoformat, lines)}),
        }
    )


def _put(store: Store, key: str, file: Path) -> None:
    """Write a file, unless a lander that was killed wrote it already.

    Raises:
        TopicError: it is there and lacks a line: it is of another landing.
    """
    ours = file.read_bytes()  # the store takes the file
    if store.put_new(key, file):
        return
    with store.open(key)[0] as there:
        theirs = there.read()
    # Of a topic that was compacted meanwhile, there may be more in it.
    if theirs != ours and not {*_lines(ours)} <= {*_lines(theirs)}:
        raise TopicError(
            f"{store.uri(key)} is of another landing: the state beside the files is older than "
            "they are. Bring the state back as it was last"
        )


def _lines(stored: bytes) -> list[bytes]:
    with pa.input_stream(pa.BufferReader(stored), compression="zstd") as stream:
        return bytes(stream.read()).split(b"\n")


def _by_day(batch: Batch, rules: Rules) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the messages of a batch as lines, by day and in their order."""
    # Within a text of JSON a newline is written \\n: one as it is stands between two tokens.
    lines = [value.replace(b"\n", b" ") for value in batch.values]
    days = days_of_lines(lines, batch.stamps, rules).alias("day")
    frame = pl.DataFrame([days, pl.Series("line", lines, pl.Binary)])
    for (day,), part in frame.group_by("day", maintain_order=True):
        yield str(day), part["line"].to_list()


def _append(path: Path, lines: Sequence[bytes]) -> None:
    """Append lines to a file, compressed.

    A file begins with an empty line, so that no message decides what the file is taken for. And it
    does not expand beyond the measure of raw files, whatever is repeated in messages.
    """
    data = b"\n".join(lines) + b"\n"
    if not path.exists():
        data = b"\n" + data
    frame = pa.Codec("zstd", compression_level=1).compress(data, asbytes=True)
    lacking = len(data) * 2 // MOST_TIMES - len(frame)
    padding = _PADDING + lacking.to_bytes(4, "little") + bytes(lacking) if lacking > 0 else b""
    with path.open("ab") as file:
        file.write(frame + padding)
