"""The live pointer of a surface and the records of its flips: what they hold, and reading them.

Whether publishes are held back (`pinned`) and what retention is about to delete (`retiring`) is
said in the record of what is live, so it changes in the same atomic step as the pointer. Moving
the pointer is for `storage/flips.py`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from recsys_assets.documents import read_window
from recsys_assets.errors import InputError, StorageError
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.store import Store
from recsys_assets.windows import Window

PUBLICATION: Final = "publication"

Action = Literal["publish", "promote", "rollback", "pin", "release", "retention", "repair", "erase"]
# Those that bring versions from outside of the history.
BRINGS: Final[frozenset[Action]] = frozenset({"publish", "promote"})


@dataclass(frozen=True)
class Why:
    """Who flips, in which run, and the reason: for the record."""

    run_id: str
    who: str
    reason: str


@dataclass(frozen=True)
class Origin:
    """What a promotion took over: a publication of another root."""

    root: str
    generation: int
    publish_id: str


@dataclass(frozen=True)
class Change:
    """What a flip makes live, and what holds from then on."""

    action: Action
    window: Window
    current: Mapping[str, str]  # kind: URI
    pinned: bool = False  # publishes are held back until a release
    retiring: tuple[str, ...] = ()  # URIs that are being deleted; none may become live
    # What a rollback or a repair made live again, and from which generation.
    restored: Mapping[str, int] = field(default_factory=dict)
    promoted_from: Origin | None = None


@dataclass(frozen=True)
class Publication(Change):
    """One flip of a surface's manifest, as it is recorded. `generation` grows by one at each."""

    generation: int = 0
    publish_id: str = ""
    parent: str | None = None  # publish_id of the publication that was live before
    tenant: str = ""
    surface: str = ""
    run_id: str = ""
    who: str = ""
    reason: str = ""
    published_at: str = ""

    @property
    def place(self) -> Place:
        """Whose manifest was flipped."""
        return Place(self.tenant, self.surface)

    def to_json(self) -> dict[str, Any]:
        """Return the members of the stored form."""
        members = {
            "v": 1,
            "generation": self.generation,
            "publish_id": self.publish_id,
            "parent": self.parent,
            "action": self.action,
            "tenant": self.tenant,
            "surface": self.surface,
            "window": self.window.to_json(),
            "current": dict(self.current),
            "pinned": self.pinned,
            "retiring": list(self.retiring),
            "restored": dict(self.restored),
            "run_id": self.run_id,
            "who": self.who,
            "reason": self.reason,
            "published_at": self.published_at,
        }
        # Only where there is one: all other records stay what they were.
        origin = self.promoted_from
        return members | ({"promoted_from": vars(origin)} if origin else {})

    @classmethod
    def from_bytes(cls, data: bytes) -> Publication:
        """Read the stored form."""
        members: dict[str, Any] = json.loads(data)
        members.pop("v")
        window = Window.from_json(members["window"])
        retiring = tuple(members.get("retiring", ()))
        current = _uris(members["current"])
        of = members.get("promoted_from")
        read = {"window": window, "retiring": retiring, "current": current}
        return cls(**(members | read | {"promoted_from": Origin(**of) if of else None}))


@dataclass(frozen=True)
class Live:
    """What readers of a surface see now; no `publication` when another producer published it.

    Then `window` is the one its blobs name that ends last, None when none of them can be read.
    """

    tag: str
    current: Mapping[str, str]
    updated_at: str
    publication: Publication | None
    window: Window | None


def read_live(store: Store, place: Place) -> Live | None:
    """Return the live manifest of a surface, or None before the first publish.

    Raises:
        StorageError: the manifest is not one, or names a publication record that is missing or is
            not one; `operations/repair.py` mends both.
    """
    found = store.read(layout.manifest(place))
    if found is None:
        return None
    manifest = read_manifest(store, place, found.data)
    if manifest.record is None:
        window = window_of_blobs(store, manifest.current)
        return Live(found.tag, manifest.current, manifest.updated_at, None, window)
    publication = read_publication(store, place, manifest.record)
    return Live(found.tag, manifest.current, manifest.updated_at, publication, publication.window)


def read_copied(store: Store, place: Place) -> Publication | None:
    """Return the publication that is live in a root, or was in the one that this is a copy of.

    In a copy, all URIs name the root that was copied. None where nothing is live.

    Raises:
        InputError: another producer's manifest is live, which has no record.
        StorageError: the manifest is damaged, or its record is missing or damaged.
    """
    found = store.read(layout.manifest(place))
    if found is None:
        return None
    try:
        uri = _uris(json.loads(found.data)["current"]).get(PUBLICATION)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_manifest(store, place, error) from None
    if uri is None:
        raise InputError(
            f"{store.uri(layout.manifest(place))} was published by another producer and has no "
            "record of what is live"
        )
    return read_publication(store, place, layout.publication_of(place, uri))


@dataclass(frozen=True)
class Manifest:
    """What a manifest says; `record` is the key of its publication record, None without one."""

    current: Mapping[str, str]
    updated_at: str
    record: str | None


def read_manifest(store: Store, place: Place, data: bytes) -> Manifest:
    """Read the bytes of a manifest.

    Raises:
        StorageError: they are not one.
    """
    try:
        members = json.loads(data)
        current = _uris(members["current"])
        updated_at = str(members["updated_at"])
        uri = current.pop(PUBLICATION, None)
        record = None if uri is None else store.key(uri)
        if record is not None and layout.publication_named(place, record) is None:
            raise ValueError(f"it names {uri} as its record")
        return Manifest(current, updated_at, record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_manifest(store, place, error) from None


def _no_manifest(store: Store, place: Place, error: Exception) -> StorageError:
    return StorageError(
        f"{store.uri(layout.manifest(place))} is not a manifest: {error!r}",
        advice=_advice(place),
    )


def read_time(text: str) -> datetime | None:
    """Return the time that stands in a manifest or a record, whatever it is; None if it is none."""
    try:
        time = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return time if time.tzinfo else None


def generation_of(live: Live | None) -> int:
    """Return the generation of what is live; 0 before the first flip of ours."""
    return live.publication.generation if live and live.publication else 0


def history(store: Store, live: Live) -> Iterator[Publication]:
    """Yield the publications that led to what is live, the newest first."""
    publication = live.publication
    while publication is not None:
        yield publication
        if publication.parent is None:
            return
        key = layout.publication(publication.place, publication.generation - 1, publication.parent)
        publication = read_publication(store, publication.place, key)


def read_publication(store: Store, place: Place, key: str) -> Publication:
    """Return the publication record with this key.

    Raises:
        StorageError: it is missing, or it is not the record of this flip.
    """
    found = store.read(key)
    if found is None:
        raise StorageError(
            f"{store.uri(key)} is missing, though the manifest's history names it",
            advice=_advice(place),
        )
    try:
        publication = Publication.from_bytes(found.data)
        named = layout.publication(place, publication.generation, publication.publish_id)
        if named != key:
            raise ValueError(f"it names itself {named}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"{store.uri(key)} is not a publication record: {error!r}", advice=_advice(place)
        ) from None
    return publication


def _advice(place: Place) -> str:
    return f"`recsys-assets repair {place.name} --dry-run` says what can be mended."


def _uris(current: Any) -> dict[str, str]:
    for uri in current.values():
        if not isinstance(uri, str):
            raise TypeError(f"{uri!r} is no URI")
    return dict(current)


def window_of_blobs(store: Store, current: Mapping[str, str]) -> Window | None:
    """Return the window that ends last of those that the blobs name which can be opened here."""
    windows = []
    for uri in current.values():
        # Another root's, missing, not readable, or no path at all (ValueError: a zero byte).
        with contextlib.suppress(StorageError, OSError, ValueError):
            file, _ = store.open(store.key(uri))
            with file:
                windows.append(read_window(file))
    known = [window for window in windows if window]
    return max(known, key=lambda window: window.end, default=None)
