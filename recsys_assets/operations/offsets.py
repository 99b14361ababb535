"""What is landed of a topic, and how far the next files go: the state of a landing.

It changes by compare-and-swap only, so that of two landers one succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys_assets.errors import ManifestConflictError, TopicError
from recsys_assets.storage.store import Store

MOST_MESSAGES: Final = 300_000  # of a plan: what a kill costs, and what a file may hold


class Bounds(NamedTuple):
    """The offsets of a partition: the oldest message that is kept, and behind the newest one."""

    low: int
    high: int


class State(BaseModel):
    """What is landed of a topic. Partitions are keys; times are milliseconds since 1970.

    Attributes:
        format: of this object.
        topic_id: what tells the topic from another one of its name, as its brokers say.
        plans: how many there were; the files of the last one have this number.
        next: the offset from which on nothing is landed.
        ends: the plan that is not done: the offset up to which each partition goes. Empty: none.
        rules: how the plan reads the time of a line.
        newest_ms: the newest record that is landed.
        moved_ms: when new records were last found.
        unmarked: days with new files that are not complete yet.
    """

    model_config = ConfigDict(extra="forbid", strict=False)

    format: Literal[1] = 1
    topic_id: str = ""
    plans: int = 0
    next: dict[int, int] = {}
    ends: dict[int, int] = {}
    rules: str = ""
    newest_ms: dict[int, int] = {}
    moved_ms: dict[int, int] = {}
    unmarked: list[date] = []


class Kept:
    """The state of a landing as it was last seen; it is saved only if it still is."""

    def __init__(self, store: Store, topic: str) -> None:
        self._store, self._key, self._topic = store, f"_landing/{topic}.json", topic
        self.uri = store.uri(self._key)
        found = store.read(self._key)
        self._tag = found.tag if found else None
        try:
            self.state = State.model_validate_json(found.data) if found else State()
        except ValidationError:
            raise TopicError(
                f"{self.uri} is no state of a landing: it was altered, or a later "
                "version wrote it. Bring it back from a copy; without it, what is landed is not "
                "known"
            ) from None

    def save(self, state: State) -> State:
        """Write the state if nobody else did meanwhile."""
        data = state.model_dump_json().encode()
        try:
            self._store.compare_and_swap(self._key, data, expected=self._tag)
            written = self._store.read(self._key)
        except ManifestConflictError:
            written = None
        if written is None or written.data != data:
            raise TopicError(
                f"another lander is at topic {self._topic}, and goes on; this one ends. No "
                "message is lost or landed twice"
            )
        self._tag = written.tag
        return state


def checked(
    topic: str,
    state: State,
    bounds: Mapping[int, Bounds],
    topic_id: str,
    *,
    rules: str,
    skip_lost: bool,
) -> State:
    """Return the state with every partition in it, if the topic still has what it waits for.

    Raises:
        TopicError: it has not, and what is lost is not to be skipped.
    """
    is_new = not state.next
    # Of a topic that was seen before, a partition that was not is new: it begins at 0.
    start = {
        partition: state.next.get(partition, of.low if is_new else 0)
        for partition, of in bounds.items()
    }
    ends = {**start, **state.ends}
    gone = sorted(state.next.keys() - bounds.keys())
    beyond = [f"{topic}/{of}" for of in bounds if ends[of] > bounds[of].high]
    if gone or beyond or (state.topic_id and topic_id and topic_id != state.topic_id):
        if not skip_lost:
            raise TopicError(
                f"topic {topic} was made anew since it was last landed: "
                + (
                    f"{', '.join(beyond)} ends before the offsets that are landed"
                    if beyond
                    else "it has another id, or fewer partitions"
                )
                + ". What the old one held and was not landed is lost. If that is so, land it once "
                "with --skip-lost: it is read from its beginning"
            )
        return State(
            topic_id=topic_id,
            plans=state.plans,
            next={partition: of.low for partition, of in bounds.items()},
            unmarked=state.unmarked,
        )
    expired = [
        f"{topic}/{of} offsets {start[of]} to {bounds[of].low - 1}"
        for of in bounds
        if start[of] < bounds[of].low
    ]
    if expired and not skip_lost:
        raise TopicError(
            f"messages expired before they were landed: {', '.join(expired)}. Land more often than "
            "the topic's retention removes them. What is left is landed, once, with --skip-lost"
        )
    if state.ends and state.rules != rules:
        raise TopicError(
            f"the last landing of topic {topic} was not ended, and the time of a line is read in "
            "another way now: messages could land twice. Set columns.ts, time_zone and explode "
            "back, land the topic, and change them then"
        )
    known = {partition: max(start[partition], of.low) for partition, of in bounds.items()}
    ends = {partition: max(end, known[partition]) for partition, end in state.ends.items()}
    changes = {"next": known, "ends": ends, "topic_id": topic_id or state.topic_id}
    return state.model_copy(update=changes)


def ends_of(state: State, bounds: Mapping[int, Bounds]) -> dict[int, int]:
    """Plan up to which offset each partition is landed next; nothing when all is."""
    left, ends = MOST_MESSAGES, {}
    for partition, of in bounds.items():
        start = state.next[partition]
        if left and start < of.high:
            ends[partition] = min(of.high, start + left)
            left -= ends[partition] - start
    return ends


def complete_days(
    state: State, bounds: Mapping[int, Bounds], at_ms: int, grace_ms: int
) -> list[date]:
    """Return the days that are over in every partition; everything that was there is landed.

    A partition is past a day once it has a record that is, by the time of the record, and by the
    clock. One in which nothing moves has none: it is past once nothing came for the grace time.
    """

    def is_past(partition: int, moment_ms: int) -> bool:
        is_idle = at_ms - state.moved_ms.get(partition, at_ms) >= grace_ms
        return is_idle or state.newest_ms.get(partition, 0) >= moment_ms

    complete = []
    for day in state.unmarked:
        over = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        moment_ms = int(over.timestamp() * 1000) + grace_ms
        if at_ms >= moment_ms and all(is_past(partition, moment_ms) for partition in bounds):
            complete.append(day)
    return complete
