"""What landed: which days have new or changed raw files, and whether the catalog has changed.

A day is reported once its files have settled, and only when their content is not what was reported
last, nor what its canonical events are made of already. So a file that is landed again unchanged,
or touched, is no news; nor is history that a backfill has built. A day that failed is reported once
its files are again those it was accepted with.

What exists, the root says. What was reported and tried, the Dagster instance says: it may be new,
or have served another root before.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Final

from recsys_assets.config import DayPattern, Surface
from recsys_assets.errors import StorageError
from recsys_assets.events.catalog import catalog_object
from recsys_assets.events.provenance import Provenance, read_provenance
from recsys_assets.events.sources import InputSeen, Source, open_source
from recsys_assets.events.sources.hashing import sha256_of
from recsys_assets.operations.arrivals import Arrival, Arrivals, LastReport, Reported, Tried
from recsys_assets.operations.cursors import Cursor
from recsys_assets.operations.file_days import (
    FileDays,
    files_by_day,
    has_settled,
    signature_of,
)
from recsys_assets.operations.made_of import (
    MadeDay,
    another_catalog_at,
    newest_made,
    staged_catalog,
)
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.store import Store, Stored

_MOST_DAYS: Final = 400  # reported in one tick; each is an event that the daemon writes
_BUDGET_S: Final = 20.0  # of reading files in one tick; Dagster gives it 60 s
# Of what was reported, so many days are looked at in one tick, and each for so long: by then its
# run has ended, or nobody has started one.
_MOST_REPORTED: Final = 50
_REPORTED_FOR_S: Final = 24 * 3600.0
_LOG = logging.getLogger(__name__)
# These stand for a day among what is waited for.
_CATALOG: Final = "catalog"
_DENIED: Final = "denied_items"


def look(
    store: Store,
    surface: Surface,
    cursor: Cursor,
    *,
    now: datetime,
    reported: Reported,
    tried: Tried,
    variants: Sequence[Surface] = (),
) -> Arrivals:
    """Find out what has landed since the last look.

    Args:
        store: the root, where the accepted days are.
        surface: whose raw files and catalog.
        cursor: of the last look; it is taken over and changed.
        now: UTC; a file has settled once it is seen unchanged for `landing.settle_seconds`.
        reported: what was reported already, whoever did it.
        tried: what became of the canonical events of a day.
        variants: of the surface: they are made of the same.

    Raises:
        RawEventsError: `source.path` is no directory.
        StoreUnavailableError: the object store does not answer.
    """
    found = Arrivals(cursor)
    started = time.monotonic()
    last = surface.newest_day(now)
    if last is None:
        return found
    source = open_source(surface)
    first = max(surface.start_date, last - timedelta(days=surface.source.landing.lookback_days - 1))
    earliest, yesterday = surface.days_read(first)[0], now.astimezone(UTC).date() - timedelta(1)
    latest = min(surface.days_read(last)[-1], yesterday)  # what lands today may go on all day long
    remade = _remade(store, surface, cursor, now)
    if remade:
        cursor.at_rest = ""
    every, as_listed = files_by_day(source, surface, cursor, (first, last, earliest, latest))
    is_at_rest = as_listed is not None and as_listed == cursor.at_rest
    landed = {day: files for day, files in every.items() if earliest <= day <= latest}
    days = {day for of in landed for day in surface.days_read(of) if first <= day <= last}
    found.days = len(days & landed.keys())
    cursor.forget({*map(str, (*landed, *days)), _CATALOG, _DENIED})
    file_days, done = FileDays(source, surface, landed, cursor, now), list[date]()
    were = dict[date, str]()
    # The newest day first: history that is landed in bulk must not keep today's from being seen.
    for day in () if is_at_rest else sorted(days, reverse=True):
        if len(found.raw_events) == _MOST_DAYS or time.monotonic() - started > _BUDGET_S:
            found.left_over = True
            break
        own = file_days.state(day)
        states = {own, *map(file_days.state, file_days.read_for(day))}
        if own == "unmarked" or "moving" in states:
            if day in landed and own != "seen":
                found.waiting.append(day)
            if own in {"unmarked", "moving"}:  # it is looked at again when they come to rest
                done.append(day)
            continue
        if "new" not in states and day not in remade:
            done.append(day)
            continue
        files = file_days.files_for(day)
        try:
            version = _content_of(source, files)
        except FileNotFoundError:  # replaced while it was read: not complete after all
            found.waiting.append(day)
            continue
        done.append(day)
        arrival = Arrival(day, version, files)
        known, of = reported("raw_events", day), file_days.read_for(day)
        built = store.stat(layout.canonical(surface.place, day))
        were[day] = _state_of(built)
        if _is_news(store, source, surface, arrival, built, known, tried, of):
            found.raw_events.append(arrival)
        else:
            cursor.reported.pop(str(day), None)
    file_days.settle(done, days)
    found.raw_events.reverse()
    family = (surface, *variants)
    readers = [each for each in family if each.reads_catalog]
    if readers:
        of_events = any(each.artifacts.of("events") for each in family)
        newest = max(days & landed.keys(), default=None) if of_events else last
        _look_at_catalog(store, readers, found, newest, now=now, reported=reported)
    # Of what is left: it may have been held back, to go with its catalog.
    found.canonical_events = _unknown_followers(store, surface, found.raw_events, last, tried)
    if surface.items.deny:
        newest_first = sorted(days, reverse=True)
        made = [
            newest_made(store, each, newest_first if each.artifacts.of("events") else [last])
            for each in family
        ]
        _look_at_denied(surface, found, filter(None, made), now=now, reported=reported)
    for arrival in found.raw_events:  # those that were not held back
        cursor.reported[str(arrival.day)] = (were[arrival.day], now.timestamp())
    if as_listed is not None and not is_at_rest:
        # Held back by the catalog, a day is no longer among those that were dealt with.
        cursor.at_rest = as_listed if file_days.are_dealt_with(days) else ""
    return found


def _remade(store: Store, surface: Surface, cursor: Cursor, now: datetime) -> set[date]:
    """Return reported days whose events were stored since, maybe by a run that had read before.

    Conditions take its end as the answer to the report. So these days are looked at once more.
    """
    found = set[date]()
    for text in [day for day in cursor.reported if day != _CATALOG][:_MOST_REPORTED]:
        state, at = cursor.reported.pop(text)
        built = store.stat(layout.canonical(surface.place, date.fromisoformat(text)))
        if _state_of(built) != state:
            found.add(date.fromisoformat(text))
        elif now.timestamp() - at > _REPORTED_FOR_S:
            continue
        cursor.reported[text] = (state, at)  # behind the others
    return found


def _state_of(built: Stored | None) -> str:
    # An object that is written again has the same tag where it has the same bytes.
    return f"{built.tag} {built.modified.timestamp()}" if built else ""


def _look_at_denied(
    surface: Surface,
    found: Arrivals,
    newest: Iterable[MadeDay],
    *,
    now: datetime,
    reported: Reported,
) -> None:
    """Report the list of withdrawn items for the newest made days that were made with another.

    Of a surface and of its variants, each its own. A day that is made later reads the list by
    itself, and older days are history.
    """
    cursor, path = found.cursor, surface.items.deny or ""
    folder, name = catalog_object(path)
    stored = open_store(folder).stat(name)
    if stored is None:
        found.problems.append(f"there is no list of denied items {path}: no artifact can be made")
        return
    signature = signature_of([stored])
    if cursor.denied[0] != signature:
        if not has_settled(surface, _DENIED, signature, cursor, now):
            return
        try:
            cursor.denied = (signature, sha256_of(folder, stored.key, stored.tag))
        except FileNotFoundError:  # replaced while it was read
            return
        cursor.waiting.pop(_DENIED, None)
    version = cursor.denied[1]
    staged: dict[date, datetime] = {}
    for made in newest:
        if otherwise := made.made_otherwise(version):
            staged[made.day] = max(otherwise, staged.get(made.day, otherwise))
    for day in sorted(staged):
        known = reported(_DENIED, day)
        # What was begun before the report may have been staged after it.
        if known is None or known.data_version != version or known.at < staged[day]:
            found.denied_items.append(Arrival(day, version, [stored]))


def _look_at_catalog(
    store: Store,
    readers: Sequence[Surface],
    found: Arrivals,
    newest: date | None,
    *,
    now: datetime,
    reported: Reported,
) -> None:
    """Report the catalog for the newest day when it has changed, and for days that lack it.

    It is that of the first of its readers, which share it. Older days keep what they were made of:
    their artifacts are history.
    """
    cursor, surface = found.cursor, readers[0]
    folder, name = catalog_object(surface.catalog_path)
    stored = open_store(folder).stat(name)
    if stored is None:
        kinds = (each.artifacts.of("catalog") or each.artifacts.kinds for each in readers)
        waiting = [*dict.fromkeys(chain.from_iterable(kinds))]
        wait = "waits" if len(waiting) == 1 else "wait"
        found.problems.append(
            f"there is no catalog {surface.catalog_path}: {', '.join(waiting)} {wait} for it"
        )
    if stored is None or newest is None:
        return
    signature = signature_of([stored])
    days = {
        arrival.day
        for arrival in found.raw_events
        if reported(_CATALOG, arrival.day) is None
        and staged_catalog(store, readers, arrival.day) is None
    }
    if cursor.catalog != (signature, newest.isoformat()):
        changed = cursor.catalog[0] != signature
        if changed and not has_settled(surface, _CATALOG, signature, cursor, now):
            _hold_back(found, days)
            return
        days.add(newest)
    is_again = _is_of_another_catalog(store, readers, cursor, newest, now)
    if is_again:
        days.add(newest)
    if not days:
        return
    try:
        version = sha256_of(folder, stored.key, stored.tag)
    except FileNotFoundError:  # replaced while it was read
        _hold_back(found, days)
        return
    cursor.waiting.pop(_CATALOG, None)
    cursor.catalog = (signature, newest.isoformat())
    for day in sorted(days):
        known = reported(_CATALOG, day)
        has = known.data_version if known else staged_catalog(store, readers, day)
        if version != has or (is_again and day == newest):
            found.catalog.append(Arrival(day, version, [stored]))
            if day == newest:
                cursor.reported[_CATALOG] = (version, now.timestamp())


def _is_of_another_catalog(
    store: Store, readers: Sequence[Surface], cursor: Cursor, newest: date, now: datetime
) -> bool:
    """Tell whether a run that had read another catalog has made the day since the report."""
    version, at = cursor.reported.get(_CATALOG, ("", 0.0))
    if not version:
        return False
    another = another_catalog_at(store, readers, newest, version)
    if another and another.timestamp() > at:
        return True
    is_answered = staged_catalog(store, readers, newest) == version
    if is_answered or now.timestamp() - at > _REPORTED_FOR_S:
        del cursor.reported[_CATALOG]
    return False


def _hold_back(found: Arrivals, days: Iterable[date]) -> None:
    """Report the days later, together with the catalog that they need."""
    for day in days:
        # It has settled itself: since ever.
        found.cursor.waiting[day.isoformat()] = (found.cursor.seen.pop(day.isoformat(), ""), 0.0)
        found.waiting.append(day)
    found.raw_events = [arrival for arrival in found.raw_events if arrival.day not in {*days}]


def _content_of(source: Source, files: Sequence[Stored]) -> str:
    lines = "\n".join(f"{file.key}\t{source.content(file)}" for file in files)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _unknown_followers(
    store: Store, surface: Surface, news: Sequence[Arrival], last: date, tried: Tried
) -> list[Arrival]:
    """Return the days whose window holds one of the news, which only the root knows of.

    The instance makes an artifact again when it knows of the day's events, so it has to be told.
    """
    days = {arrival.day for arrival in news}
    following = {
        day
        for first in days
        for day in (first + timedelta(days=n) for n in range(1, surface.longest_window))
        if day <= last and day not in days
    }
    return [
        Arrival(day, accepted.fingerprint)
        for day in sorted(following)
        if tried(day) == "unknown" and (accepted := _accepted(store, surface, day))
    ]


def _accepted(store: Store, surface: Surface, day: date) -> Provenance | None:
    """Return what a day says that the root has; None where it has none that can be read."""
    try:
        return read_provenance(store, layout.canonical(surface.place, day))
    except FileNotFoundError:
        return None
    except StorageError as error:  # what has landed is told all the same
        _LOG.warning("%s: %s", surface.name, error)
        return None


def _is_news(
    store: Store,
    source: Source,
    surface: Surface,
    arrival: Arrival,
    built: Stored | None,
    known: LastReport | None,
    tried: Tried,
    landed: Collection[date],
) -> bool:
    """Tell whether the day's canonical events are to be made of what landed.

    They are not when they are made of these very files, unless others were tried since and failed:
    the day is red and can be green. Nor are they again when they were to be made of these files and
    failed. Were they made of other files since, they are.
    """
    accepted = _accepted(store, surface, arrival.day) if built else None
    files = accepted.files if accepted else ()
    read = _still_landed(surface, arrival.day, files, landed)
    if read is None:
        return False
    is_reported = known is not None and known.data_version == arrival.data_version
    if built and read and _are_still(source, read, arrival.files, read_at=built.modified):
        is_another = known is not None and not is_reported and len(read) == len(files)
        return tried(arrival.day) == "failed" or is_another
    if known is None or not is_reported:
        return True
    return built is not None and built.modified > known.at


def _still_landed(
    surface: Surface, day: date, read: Sequence[InputSeen], landed: Collection[date]
) -> Sequence[InputSeen] | None:
    """Return the files that a day was made of, without those of days around it that went since.

    Who deletes old raw files does not want newer days computed again, with less. None where the
    day's own went, and nothing can be made of it any more.
    """
    if not surface.source.days_around:
        return read
    pattern = DayPattern(surface.source.pattern)
    days = {file.name: pattern.days_in(file.name) for file in read}
    if day not in landed and any(day in of for of in days.values()):
        return None
    return [file for file in read if not days[file.name] or days[file.name] & {*landed}]


def _are_still(
    source: Source, read: Sequence[InputSeen], files: Sequence[Stored], *, read_at: datetime
) -> bool:
    """Compare with the raw files that an accepted day names."""
    if [file.key for file in files] != [seen.name for seen in read]:
        return False
    return all(
        source.is_still(seen, file, read_at=read_at) for file, seen in zip(files, read, strict=True)
    )
