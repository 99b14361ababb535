"""What was made of days that changed where they lie: it is made again, and what that leaves goes.

No gate is asked, and no limit: an erasure goes through. What keeps no contract, or cannot be
computed, is left out, and the reason is told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from recsys_assets.audit.artifacts import audit_artifact
from recsys_assets.audit.drafts import drafts
from recsys_assets.audit.shared import Shared
from recsys_assets.config import Surface
from recsys_assets.documents import read_window
from recsys_assets.errors import RecsysAssetsError, StorageError
from recsys_assets.events.accepted import AcceptedDay, accepted_days
from recsys_assets.events.erased import Erased
from recsys_assets.kinds import KINDS
from recsys_assets.live.verify import staged_refs
from recsys_assets.operations.find_user import in_documents
from recsys_assets.pages import Shown
from recsys_assets.storage import layout
from recsys_assets.storage.publications import Why, read_live
from recsys_assets.storage.registry import StagedRef, stage_version, version_of
from recsys_assets.storage.store import READERS, Store, Stored
from recsys_assets.windows import SourceHash, Window, source_hash

_LOG = logging.getLogger(__name__)


@dataclass
class Remade:
    """What became of the artifacts of a surface.

    Attributes:
        made: by kind and day, the URI of what was made again, or was already.
        failed: by kind and day, why it could not be.
        replaced: what is live, by URI: what takes its place, None where nothing can.
        going: documents that nothing is to name any more.
        days: of the artifacts.
        shown: of what was made again now, what its page shows.
    """

    made: dict[tuple[str, date], str] = field(default_factory=dict)
    failed: dict[tuple[str, date], str] = field(default_factory=dict)
    replaced: dict[str, str | None] = field(default_factory=dict)
    going: list[Stored] = field(default_factory=list)
    days: set[date] = field(default_factory=set)
    shown: dict[tuple[str, date], Mapping[str, Shown]] = field(default_factory=dict)


def remake(
    store: Store,
    surface: Surface,
    erased: Erased,
    *,
    days: Collection[date],
    until: datetime,
    scratch: Path,
    why: Why,
    now: Callable[[], datetime],
) -> Remade:
    """Make again what is staged or live and was made of some days as they were.

    Args:
        store: where everything is.
        surface: whose artifacts.
        erased: whose lists may be in none.
        days: that changed.
        until: what was stored later is made of the days as they are.
        scratch: an existing directory.
        why: whose run it is, for the records of versions.
        now: gives the time.

    Raises:
        StorageError: a staged reference is damaged, so what it names is unknown.
    """
    made = _Remaking(store, surface, scratch / surface.group, why, now)
    blobs = _of_events(store, surface)
    held = {each.key for each in in_documents(store, surface, erased)}
    windows = _windows(store, surface, blobs)
    changed = {windows[key] for key in held}

    def is_changed(window: Window | None) -> bool:
        """Tell whether what was made of a window may hold them; of an unknown one, it may."""
        return (
            window is None or window in changed or any(window.start <= d < window.end for d in days)
        )

    refs, damaged = staged_refs(store, surface)
    if damaged:
        raise StorageError(f"{damaged[0].uri} is damaged ({damaged[0].detail})")
    for stored, ref in refs:
        key = _key(store, ref.uri)
        of_blob = windows.get(key, surface.window(ref.day))
        if ref.kind not in KINDS or KINDS[ref.kind].reads != "events":
            continue
        if is_changed(of_blob) or is_changed(surface.window(ref.day)):
            own = layout.staged(surface.place, surface.segment, ref.kind, ref.day)
            fresh = stored.key == own and key not in held and made.is_current(ref)
            if not made.again(ref.kind, ref.day, ref.uri if fresh else None, own=stored.key == own):
                store.delete(stored.key)
    live = read_live(store, surface.place)
    for kind, uri in (live.current if live else {}).items():
        key = _key(store, uri)
        window = windows.get(key)
        if key not in windows or not is_changed(window) or uri in made.found.made.values():
            continue
        day = window.last_day if window else live.window.last_day if live and live.window else None
        made.found.replaced[uri] = made.again(kind, day, None) if day else None
    kept = {*made.found.made.values(), *(new for new in made.found.replaced.values() if new)}
    made.found.going = [
        blob
        for blob in blobs
        if store.uri(blob.key) not in kept
        and is_changed(windows[blob.key])
        and (blob.modified < until or blob.key in held)
    ]
    return made.found


class _Remaking:
    """Makes artifacts of a surface again, each once."""

    def __init__(
        self, store: Store, surface: Surface, scratch: Path, why: Why, now: Callable[[], datetime]
    ) -> None:
        self.found = Remade()
        self._store, self._surface, self._scratch = store, surface, scratch
        self._why, self._now = why, now
        self._shared = Shared()
        self._accepted: dict[date, AcceptedDay | None] = {}
        scratch.mkdir(exist_ok=True)

    def is_current(self, ref: StagedRef) -> bool:
        """Tell whether a version was made of the days of its window as they are."""
        window = self._window(ref.day)
        data = source_hash({day: of.fingerprint for day, of in window.items()}) if window else ""
        return ref.day in window and SourceHash.from_text(ref.source_hash).data == data

    def again(self, kind: str, day: date, is_there: str | None, *, own: bool = True) -> str | None:
        """Make the artifact of a day unless it is there, or was made; return its URI, or None."""
        if is_there:
            self.found.made[kind, day] = is_there
        elif own and (kind, day) not in self.found.made and (kind, day) not in self.found.failed:
            self._make(kind, day)
        self.found.days.add(day)
        return self.found.made.get((kind, day)) if own else None

    def _make(self, kind: str, day: date) -> None:
        surface = self._surface
        try:
            if kind not in surface.artifacts.kinds:
                raise StorageError(f"{surface.name} has no {kind} any more")
            drafted = drafts(self._store, surface, KINDS[kind], self._window(day), self._shared)
            found = audit_artifact(self._store, surface, kind, day, self._scratch, drafted)
            if found.value is None:
                raise StorageError("; ".join(each.description for each in found.failures.values()))
            ref = stage_version(self._store, found.value, run_id=self._why.run_id, now=self._now())
            found.value.path.unlink(missing_ok=True)
        except RecsysAssetsError as error:
            self.found.failed[kind, day] = str(error)
        else:
            self.found.made[kind, day] = ref.uri
            self.found.shown[kind, day] = found.shown
        _LOG.info("%s: %s of %s made again", surface.name, kind, day)

    def _window(self, day: date) -> Mapping[date, AcceptedDay]:
        days = self._surface.days_of_window(day)
        unread = [each for each in days if each not in self._accepted]
        read = accepted_days(self._store, self._surface.events_of, unread)
        self._accepted |= {each: read.get(each) for each in unread}
        return {each: of for each in days if (of := self._accepted[each])}


def _of_events(store: Store, surface: Surface) -> list[Stored]:
    """Return the documents that are made of events."""
    prefix = layout.of_place("objectstore", surface.place)
    return [
        stored
        for kind in KINDS.values()
        if kind.reads == "events"
        for stored in store.list(f"{prefix}/{kind.name}")
    ]


def _windows(store: Store, surface: Surface, blobs: Collection[Stored]) -> dict[str, Window | None]:
    """Return the window of each document, by its record or by itself; None where neither tells."""

    def read(blob: Stored) -> Window | None:
        kind = blob.key.split("/")[-2]
        record = store.read(layout.record(surface.place, kind, version_of(blob.key)))
        with suppress(ValueError, KeyError, TypeError):
            return Window.from_json(json.loads(record.data)["window"]) if record else None
        with suppress(FileNotFoundError), store.open(blob.key)[0] as file:
            return read_window(file)
        return None

    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip((blob.key for blob in blobs), pool.map(read, blobs), strict=True))


def _key(store: Store, uri: str) -> str:
    """Return the key of a document; of another root's, what is the key of none."""
    try:
        return store.key(uri)
    except StorageError:
        return ""
