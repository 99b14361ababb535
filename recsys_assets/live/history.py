"""What was live when: the publications of a surface, and finding one among them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from itertools import islice, takewhile
from typing import TypeVar

from recsys_assets.config import Surface
from recsys_assets.errors import InputError, StorageError
from recsys_assets.storage.publications import (
    BRINGS,
    Live,
    Publication,
    history,
    read_live,
    read_time,
)
from recsys_assets.storage.store import Store

T = TypeVar("T")
_SHOWN = 10
_MOST_READ = 100  # flips that a status reads at most: each is a request


def recorded_live(store: Store, surface: Surface) -> tuple[Live, Publication]:
    """Return what is live, and its publication record.

    Raises:
        InputError: nothing is live, or another producer's manifest, which has no record.
    """
    live = read_live(store, surface.place)
    if live is None:
        raise InputError(f"nothing is live for {surface.name} yet: materialize a day first")
    if live.publication is None:
        raise InputError(
            f"what is live for {surface.name} was published by another producer and has no "
            "history; it begins with the first day that is published here"
        )
    return live, live.publication


def publications(store: Store, surface: Surface, *, limit: int) -> list[Publication]:
    """Return the newest publications that led to what is live; none when nothing is live."""
    live = read_live(store, surface.place)
    return list(islice(history(store, live), limit)) if live else []


def live_at(store: Store, surface: Surface, moment: datetime) -> Publication:
    """Return what was live at a moment.

    Raises:
        InputError: nothing was.
    """
    live, first = recorded_live(store, surface)
    for publication in history(store, live):
        at = read_time(publication.published_at)
        if at and at <= moment:
            return publication
        first = publication
    raise InputError(
        f"nothing of {surface.name} was live at {moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}; the "
        f"first publication is of {first.published_at}"
    )


def find(
    store: Store, surface: Surface, target: str, *, kinds: Collection[str] = ()
) -> Publication:
    """Return the publication that a person names.

    Args:
        store: where the history is.
        surface: whose.
        target: `live`; `previous`, the newest that had other versions than are live, where what a
            rollback left behind does not count; a generation; or a day, the newest whose window
            ends with it.
        kinds: what `previous` compares; all kinds when empty.

    Raises:
        InputError: there is none, and says which there are.
    """
    live, newest = recorded_live(store, surface)
    if target == "live":
        return newest
    if target == "previous":
        return _previous(store, surface, live, kinds)
    if target.isdecimal():
        for publication in history(store, live):
            if publication.generation == int(target):
                return publication
        raise InputError(
            f"{surface.name} has no generation {target}; there are 1 to {newest.generation}"
        )
    try:
        day = date.fromisoformat(target)
    except ValueError:
        raise InputError(
            f"{target!r} is neither `live`, `previous`, a generation (a number) nor a day "
            "(YYYY-MM-DD)"
        ) from None
    days: list[date] = []
    for publication in history(store, live):
        last = publication.window.last_day
        if last == day:
            return publication
        if last not in days:
            days.append(last)
    shown = ", ".join(map(str, days[:_SHOWN])) + (", ..." if len(days) > _SHOWN else "")
    raise InputError(f"{day} was never live for {surface.name}; the days that were: {shown}")


def erasure_of(store: Store, live: Live, uris: Collection[str]) -> Publication | None:
    """Return the newest erasure that deleted, or is deleting, any of some versions.

    One that was made again since, and is there, was deleted by none.
    """
    return next(
        (
            publication
            for publication in history(store, live)
            if publication.action == "erase"
            for uri in publication.retiring
            if uri in uris and not (uri in live.current.values() or _is_there(store, live, uri))
        ),
        None,
    )


def _is_there(store: Store, live: Live, uri: str) -> bool:
    retiring = live.publication.retiring if live.publication else ()
    return uri not in retiring and store.stat(store.key(uri)) is not None


def began_pin(store: Store, live: Live) -> Publication | None:
    """Return the flip since which publishes are held back; None when they are not."""
    pinned = takewhile(lambda publication: publication.pinned, recent(store, live))
    return min(pinned, key=lambda publication: publication.generation, default=None)


def last_change(store: Store, live: Live) -> Publication | None:
    """Return the flip that made live what is, a publish as a rule; None without a history.

    A pin, a release and retention flip the pointer too, and leave what readers see as it was.
    """
    oldest = None
    for publication in recent(store, live):
        oldest = publication
        if publication.action in {*BRINGS, "rollback", "repair"}:
            break
    return oldest


def recent(store: Store, live: Live, most: int = _MOST_READ) -> Iterator[Publication]:
    """Yield the newest flips. An older record that is damaged ends them: what is live is not it.

    Raises:
        StoreUnavailableError: the object store does not answer, so it is unknown what comes next.
    """
    with suppress(StorageError, OSError):
        yield from islice(history(store, live), most)


def _previous(store: Store, surface: Surface, live: Live, kinds: Collection[str]) -> Publication:
    """Walk back like an undo: what a rollback left behind of a kind does not come again."""

    def wanted(of: Mapping[str, T]) -> dict[str, T]:
        return {kind: value for kind, value in of.items() if not kinds or kind in kinds}

    now = wanted(live.current)
    went_back_to: dict[str, int] = {}  # of each kind, the generation where the walk goes on
    for publication in history(store, live):
        generation = publication.generation
        was_left_behind = {kind for kind, back in went_back_to.items() if generation > back}
        if not was_left_behind and wanted(publication.current) != now:
            return publication
        for kind in wanted(publication.restored).keys() - was_left_behind:
            went_back_to[kind] = publication.restored[kind]
    raise InputError(f"{surface.name} has no earlier publication with other versions")
