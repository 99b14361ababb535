"""Which sinks are to be delivered to now: those that do not hold what is live.

What is looked at costs nothing but a look at each manifest, until one has moved or a sink was not
asked for a while.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from recsys_assets.config import Surface
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.sinks.delivering import Target, look
from recsys_assets.storage import layout
from recsys_assets.storage.deliveries import Failure, Known, is_behind, note_held, read_known
from recsys_assets.storage.publications import Live, generation_of, read_live, read_time
from recsys_assets.storage.store import READERS, Store

# What held what is live is asked again after this: somebody may have restored it from a backup.
_ASKED_AGAIN: Final = timedelta(minutes=10)
# After a delivery that failed, and twice as long after each further one.
_PAUSE: Final = timedelta(seconds=30)
_LONGEST_PAUSE: Final = timedelta(hours=1)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What a sink was looked at for: the tag of the manifest; and when it is looked at again."""

    tag: str = ""
    again_at: float = 0.0


@dataclass
class Watched:
    """What a look found: the sinks to deliver to by surface, and what to remember."""

    behind: dict[str, list[Target]] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    asked: int = 0


def name_of(target: Target) -> str:
    """Return `tenant/surface/sink`."""
    return f"{target[0].name}/{target[1].name}"


def watch(
    store: Store,
    root: str,
    surfaces: Sequence[Surface],
    seen: Mapping[str, Seen],
    *,
    going_on: Collection[str],
    now: datetime,
) -> Watched:
    """Find the sinks that do not hold what is live.

    Args:
        store: the root.
        root: its place.
        surfaces: whose sinks.
        seen: what is remembered of each sink, by `name_of`.
        going_on: sinks that are delivered to at this time, by `name_of`: they are passed over.
        now: the time.
    """
    watched, lives = Watched(seen=dict(seen)), dict[str, Live]()
    with_sinks = [surface for surface in surfaces if surface.sinks]
    with ThreadPoolExecutor(READERS) as pool:
        tags = dict(
            zip(
                (surface.name for surface in with_sinks),
                pool.map(lambda surface: _tag(store, surface), with_sinks),
                strict=True,
            )
        )
        due: list[Target] = [
            (surface, sink)
            for surface in with_sinks
            for sink in surface.sinks
            if _is_due(seen.get(name_of((surface, sink)), Seen()), tags[surface.name], now)
            and name_of((surface, sink)) not in going_on
        ]
        of = list({target[0].name: target[0] for target in due}.values())
        for surface, live in zip(of, pool.map(lambda each: _live(store, each), of), strict=True):
            if live:
                lives[surface.name] = live
        due = [target for target in due if target[0].name in lives]
        known = list(pool.map(lambda each: read_known(store, each[0].place, each[1].name), due))
    asked = dict[str, Known]()
    for target, of_it in zip(due, known, strict=True):
        name, tag = name_of(target), tags[target[0].name] or ""
        failure = of_it.failure
        if failure and failure.dead and failure.dead == generation_of(lives[target[0].name]):
            watched.seen[name] = Seen(tag, (now + _ASKED_AGAIN).timestamp())
        elif (until := _paused_until(failure)) and now < until:
            watched.seen[name] = Seen(tag, until.timestamp())
        else:
            asked[name] = of_it
    for target, held in look([each for each in due if name_of(each) in asked], root):
        name, live = name_of(target), lives[target[0].name]
        watched.asked += 1
        if isinstance(held, RecsysAssetsError):
            _LOG.warning("%s: %s", name, held)
            behind = is_behind(live.current, asked[name].held)
        else:
            behind = is_behind(live.current, held)
            if held != asked[name].held or (asked[name].failure and not behind):
                note_held(store, target[0].place, target[1].name, held, live.current, now=now)
        if behind:
            watched.behind.setdefault(target[0].name, []).append(target)
            watched.seen.pop(name, None)
        else:
            again_at = (now + _ASKED_AGAIN).timestamp()
            watched.seen[name] = Seen(tags[target[0].name] or "", again_at)
    return watched


def _is_due(seen: Seen, tag: str | None, now: datetime) -> bool:
    if tag is None:  # nothing is live
        return False
    return tag != seen.tag or now.timestamp() >= seen.again_at


def _paused_until(failure: Failure | None) -> datetime | None:
    at = read_time(failure.at) if failure else None
    if failure is None or at is None:
        return None
    if not failure.soon:
        return at + _LONGEST_PAUSE
    doubled: int = 2 ** min(failure.tries - 1, 10)
    return at + min(_LONGEST_PAUSE, _PAUSE * doubled)


def _tag(store: Store, surface: Surface) -> str | None:
    try:
        stored = store.stat(layout.manifest(surface.place))
    except (RecsysAssetsError, OSError) as error:  # `status` is red by it
        _LOG.warning("%s: %s", surface.name, error)
        return None
    return stored.tag if stored else None


def _live(store: Store, surface: Surface) -> Live | None:
    try:
        live = read_live(store, surface.place)
    except (RecsysAssetsError, OSError) as error:
        _LOG.warning("%s: %s", surface.name, error)
        return None
    return live if live and live.publication else None
