"""The live pointer of a surface: read it, and flip it exactly once per publish.

A flip is two writes: the publication record, write-once, then `manifest.json` by compare-and-swap
against the manifest that was read. A reader sees the old manifest or the new one, and every URI in
either exists. What a crash leaves at each step is in docs/publishing.md.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, Final, Literal

from recsys_assets.documents import Window, read_window
from recsys_assets.errors import ManifestConflictError, StorageError
from recsys_assets.storage import layout
from recsys_assets.storage.registry import to_bytes, utc_text
from recsys_assets.storage.store import Store

MANIFEST_FORMAT: Final = 1
PUBLICATION: Final = "publication"
_ATTEMPTS: Final = 100
_LONGEST_PAUSE_S: Final = 0.2
_UNKNOWN_WINDOW: Final = (
    "the manifest {uri} was written by another producer, and the window of what it names cannot be "
    "read, so it is unknown whether this would move it back. Nothing was changed. To adopt this "
    "surface, move that manifest away first."
)

Outcome = Literal["published", "unchanged", "superseded"]


@dataclass(frozen=True)
class Publication:
    """One flip of a surface's manifest, as it is recorded. `generation` grows by one at each."""

    generation: int
    publish_id: str
    parent: str | None  # publish_id of the publication that was live before
    action: str
    tenant: str
    surface: str
    window: Window
    current: Mapping[str, str]  # kind: URI
    run_id: str
    published_at: str

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        return to_bytes(
            {
                "v": 1,
                "generation": self.generation,
                "publish_id": self.publish_id,
                "parent": self.parent,
                "action": self.action,
                "tenant": self.tenant,
                "surface": self.surface,
                "window": self.window.to_json(),
                "current": dict(self.current),
                "run_id": self.run_id,
                "published_at": self.published_at,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Publication:
        """Read the stored form."""
        members: dict[str, Any] = json.loads(data)
        members.pop("v")
        return cls(**(members | {"window": Window.from_json(members["window"])}))


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


def read_live(store: Store, tenant: str, surface: str) -> Live | None:
    """Return the live manifest of a surface, or None before the first publish.

    Raises:
        StorageError: the manifest is not one, or names a publication record that is missing or is
            not one.
    """
    key = layout.manifest(tenant, surface)
    found = store.read(key)
    if found is None:
        return None
    try:
        manifest = json.loads(found.data)
        current = {kind: _text(uri) for kind, uri in dict(manifest["current"]).items()}
        updated_at = str(manifest["updated_at"])
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{store.uri(key)} is not a manifest: {error!r}") from None
    record_uri = current.pop(PUBLICATION, None)
    if record_uri is None:
        return Live(found.tag, current, updated_at, None, _window_of_blobs(store, current))
    publication = _read_publication(store, store.key(record_uri))
    return Live(found.tag, current, updated_at, publication, publication.window)


def publish(
    store: Store,
    *,
    tenant: str,
    surface: str,
    window: Window,
    current: Mapping[str, str],
    run_id: str,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    publish_id: str | None = None,
    confirm: Callable[[], None] = lambda: None,
) -> tuple[Outcome, Live]:
    """Make `current` live, unless a later window is.

    Every URI in `current` must have been verified: from here on nothing is looked at again.

    Args:
        store: where the blobs are, and the manifest.
        tenant: whose surface.
        surface: which manifest.
        window: what `current` was computed from.
        current: kind to URI.
        run_id: for the record.
        clock: gives the time of each flip.
        publish_id: the name of this publish, unique; one is made up when it is not given.
        confirm: raises when `current` is not wanted any more, and nothing is flipped. It is called
            before each flip, after the manifest was read. So whoever makes `confirm` raise before
            publishing something newer is not overwritten: done before the call, it raises; done
            after it, the newer manifest makes this flip a conflict.

    Returns:
        What happened, and what is live afterwards: `published`; `unchanged`, it was live already
        and nothing was written; `superseded`, the live window ends later, so it stays and nothing
        was written.

    Raises:
        ManifestConflictError: others kept publishing first; the old or their manifest is live.
            Retry.
        PublishOutcomeUnknownError: it may be live. Publishing again settles it.
        StorageError: the live manifest is damaged, or another producer's whose window is unknown.
            Nothing was changed.
    """
    publish_id = publish_id or uuid.uuid4().hex
    manifest = layout.manifest(tenant, surface)
    attempt = first_generation = 0
    while True:
        live = read_live(store, tenant, surface)
        if live and attempt and _is_in_history(store, live, publish_id, since=first_generation):
            store.settle(manifest)
            return "published", live
        if live and not live.window:
            raise StorageError(_UNKNOWN_WINDOW.format(uri=store.uri(manifest)))
        if live and live.window and live.window.end > window.end:
            return "superseded", live
        if live and live.publication and live.window == window and live.current == current:
            # Who flipped it may have been killed, or refused by the disk, before it was durable.
            store.settle(manifest)
            return "unchanged", live
        generation = live.publication.generation + 1 if live and live.publication else 1
        first_generation = first_generation or generation
        publication = Publication(
            generation=generation,
            publish_id=publish_id,
            parent=live.publication.publish_id if live and live.publication else None,
            action="publish",
            tenant=tenant,
            surface=surface,
            window=window,
            current=current,
            run_id=run_id,
            published_at=utc_text(clock()),
        )
        confirm()
        attempt += 1
        try:
            return "published", _flip(store, live, publication)
        except ManifestConflictError:
            if attempt >= _ATTEMPTS:
                raise
            # The jitter keeps publishers that met once from meeting again at each attempt.
            time.sleep(random.uniform(0, min(_LONGEST_PAUSE_S, 0.001 * 2**attempt)))  # noqa: S311


def history(store: Store, live: Live) -> Iterator[Publication]:
    """Yield the publications that led to what is live, the newest first."""
    publication = live.publication
    while publication is not None:
        yield publication
        if publication.parent is None:
            return
        key = layout.publication(
            publication.tenant,
            publication.surface,
            publication.generation - 1,
            publication.parent,
        )
        publication = _read_publication(store, key)


def _is_in_history(store: Store, live: Live, publish_id: str, *, since: int) -> bool:
    """Tell whether a publication, of generation `since` at the earliest, led to what is live."""
    recent = takewhile(lambda publication: publication.generation >= since, history(store, live))
    return any(publication.publish_id == publish_id for publication in recent)


def _flip(store: Store, live: Live | None, publication: Publication) -> Live:
    where = (publication.tenant, publication.surface)
    key = layout.publication(*where, publication.generation, publication.publish_id)
    store.put_new(key, publication.to_bytes())
    manifest = {
        "v": MANIFEST_FORMAT,
        "tenant": publication.tenant,
        "surface": publication.surface,
        "current": {**publication.current, PUBLICATION: store.uri(key)},
        "updated_at": publication.published_at,
    }
    data = json.dumps(manifest, ensure_ascii=False, separators=(",", ":")).encode()
    store.compare_and_swap(layout.manifest(*where), data, expected=live.tag if live else None)
    return Live("", publication.current, publication.published_at, publication, publication.window)


def _read_publication(store: Store, key: str) -> Publication:
    found = store.read(key)
    if found is None:
        raise StorageError(f"{store.uri(key)} is missing, though the manifest's history names it")
    try:
        return Publication.from_bytes(found.data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{store.uri(key)} is not a publication record: {error!r}") from None


def _text(uri: object) -> str:
    if not isinstance(uri, str):
        raise TypeError(f"{uri!r} is no URI")
    return uri


def _window_of_blobs(store: Store, current: Mapping[str, str]) -> Window | None:
    """Find the window of another producer's manifest in the blobs that can be opened here."""
    windows = []
    for uri in current.values():
        # Another root's, missing, not readable, or no path at all (ValueError: a zero byte).
        with contextlib.suppress(StorageError, OSError, ValueError):
            file, _ = store.open(store.key(uri))
            with file:
                windows.append(read_window(file))
    known = [window for window in windows if window]
    return max(known, key=lambda window: window.end, default=None)
