"""What is live for one surface, held in memory and followed.

Everything that is live at one time is a `Snapshot`, which never changes. A flip makes another one,
and the reader shows it by one assignment: no look-up sees a part of both.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, NamedTuple

from recsys_assets_reader.documents import LAYOUTS, Document
from recsys_assets_reader.errors import (
    DocumentError,
    KindNotReadError,
    ManifestError,
    NotPublishedError,
    ReaderError,
    StoreError,
)
from recsys_assets_reader.stores import Found, Stores

MANIFEST_FORMAT: Final = 1
PUBLICATION: Final = "publication"
KINDS: Final = tuple(LAYOUTS)
EVERY_S: Final = 10.0
MAX_BYTES: Final = 2**30
_ATTEMPTS: Final = 10
_MOST_MANIFEST_BYTES: Final = 2**20
_VERSION: Final = re.compile(r"/([0-9a-f]{64})\.json$")
_GENERATION: Final = re.compile(r"/(\d+)-[^/]+\.json$")

_LOG = logging.getLogger("recsys_assets_reader")


class Scored(NamedTuple):
    """An item, and how strongly: higher is better.

    The score counts exposures in `popular` and `items_of`, sessions in `neighbours`, and in
    `next_items` how often the item came next.
    """

    item_id: str
    score: float


@dataclass(frozen=True)
class Snapshot:
    """What was live at one time. Its look-ups give lists of their own, the strongest first.

    Who is not in a document gets an empty list. So does everybody where a kind is not live.

    Attributes:
        tenant: whose it is.
        surface: whose it is.
        generation: the number of the flip; None where another producer published.
        updated_at: the time of the flip, as the manifest has it.
        uris: what the manifest names, of the kinds that are read.
        documents: by kind; those that are live.
        kinds: those that are read.
        tag: of the manifest.
    """

    tenant: str
    surface: str
    generation: int | None
    updated_at: str
    uris: Mapping[str, str]
    documents: Mapping[str, Document]
    kinds: Collection[str]
    tag: str = field(repr=False)

    def popular(self, k: int = 20) -> list[Scored]:
        """Return the items that were shown most; ties by item_id."""
        document = self._document("popularity", k)
        entries = document.first(k) if document else ()
        return [Scored(entry["item_id"], entry["count"]) for entry in entries]

    def neighbours(self, item: str, k: int = 20) -> list[Scored]:
        """Return the items of the same sessions as an item, those of most sessions first."""
        return self._of("cooc", item, k, "count")

    def next_items(self, user: str, k: int = 20) -> list[Scored]:
        """Return the items that came next in what a user did, the most frequent first."""
        return self._of("session_seq", user, k, "score")

    def items_of(self, user: str, k: int = 20) -> list[Scored]:
        """Return the items that a user was shown, the most frequent first."""
        return self._of("implicit", user, k, "score")

    def tags(self, item: str) -> list[str]:
        """Return the tags of an item of the catalog, in the catalog's order."""
        document = self._document("content_sim", 1)
        return document.texts_of(item) if document else []

    def _of(self, kind: str, owner: str, k: int, score: str) -> list[Scored]:
        document = self._document(kind, k)
        entries = document.of(owner, k) if document else ()
        return [Scored(entry["item_id"], entry[score]) for entry in entries]

    def _document(self, kind: str, k: int) -> Document | None:
        if k < 1:
            raise ValueError(f"need at least 1: {k=}")
        if kind not in self.kinds:
            raise KindNotReadError(
                f"{kind} is not read: open with kinds={[*self.kinds, kind]} to look it up"
            )
        return self.documents.get(kind)


@dataclass(frozen=True)
class Status:
    """How a reader is.

    Attributes:
        tenant: whose it reads.
        surface: whose it reads.
        generation: of what is shown; None where another producer published it.
        updated_at: when that was flipped, as the manifest has it.
        age_s: seconds since it was last known to be what is live.
        error: why the last attempt to follow failed; None where it did not.
        versions: of each kind that is shown.
        windows: of each kind that is shown: first and last moment, the last exclusive.
        missing: kinds that are read and not live.
        size_bytes: of the documents in memory.
    """

    tenant: str
    surface: str
    generation: int | None
    updated_at: str
    age_s: float
    error: str | None
    versions: Mapping[str, str]
    windows: Mapping[str, tuple[str, str]]
    missing: tuple[str, ...]
    size_bytes: int


class Reader:
    """Follows what is live for a surface. Safe to share between threads, not across a fork.

    `popular`, `neighbours`, `next_items`, `items_of` and `tags` are those of what is shown now. Who
    asks several times for one answer takes `snapshot` once, and asks that.
    """

    def __init__(self, uri: str, stores: Stores, *, kinds: Collection[str], max_bytes: int) -> None:
        """Load what is live, as `open` says."""
        if unknown := sorted(set(kinds) - set(LAYOUTS)):
            raise ValueError(f"unknown kinds {unknown}; there are: {', '.join(KINDS)}")
        self._uri, self._stores, self._max_bytes = uri, stores, max_bytes
        self._kinds = tuple(kinds)
        self._refreshing = threading.Lock()
        self._closed = threading.Event()
        self._error: str | None = None
        self._confirmed_at = time.monotonic()
        loaded = self._load(None)
        assert loaded, "None is for what is shown already"  # noqa: S101
        self._snapshot = loaded

    @property
    def snapshot(self) -> Snapshot:
        """What is shown now."""
        return self._snapshot

    def popular(self, k: int = 20) -> list[Scored]:
        """Return the items that were shown most; ties by item_id."""
        return self._snapshot.popular(k)

    def neighbours(self, item: str, k: int = 20) -> list[Scored]:
        """Return the items of the same sessions as an item, those of most sessions first."""
        return self._snapshot.neighbours(item, k)

    def next_items(self, user: str, k: int = 20) -> list[Scored]:
        """Return the items that came next in what a user did, the most frequent first."""
        return self._snapshot.next_items(user, k)

    def items_of(self, user: str, k: int = 20) -> list[Scored]:
        """Return the items that a user was shown, the most frequent first."""
        return self._snapshot.items_of(user, k)

    def tags(self, item: str) -> list[str]:
        """Return the tags of an item of the catalog, in the catalog's order."""
        return self._snapshot.tags(item)

    def refresh(self) -> bool:
        """Look at the manifest now; return whether something else is shown from here on.

        Raises:
            ReaderError: what is live could not be read. What was shown before is shown still.
        """
        with self._refreshing:
            try:
                loaded = self._load(self._snapshot)
            except ReaderError as error:
                self._error = str(error)
                raise
            if loaded is not None:
                self._snapshot = loaded
            self._error, self._confirmed_at = None, time.monotonic()
            return loaded is not None

    def status(self) -> Status:
        """Return what is shown, and how long ago it was known to be live."""
        shown = self._snapshot
        documents = shown.documents
        return Status(
            tenant=shown.tenant,
            surface=shown.surface,
            generation=shown.generation,
            updated_at=shown.updated_at,
            age_s=time.monotonic() - self._confirmed_at,
            error=self._error,
            versions={kind: each.version for kind, each in documents.items()},
            windows={kind: each.window for kind, each in documents.items()},
            missing=tuple(kind for kind in self._kinds if kind not in documents),
            size_bytes=sum(each.size_bytes for each in documents.values()),
        )

    def follow(self, every_s: float) -> None:
        """Look at the manifest again and again, in a thread that `close` ends."""
        if every_s <= 0:
            raise ValueError(f"need more than 0: {every_s=}")
        threading.Thread(
            target=self._follow, args=(every_s,), name=f"follows {self._uri}", daemon=True
        ).start()

    def close(self) -> None:
        """Follow no more. What is shown can still be looked up."""
        self._closed.set()

    def __enter__(self) -> Reader:
        """Return the reader itself, which is closed in the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Follow no more."""
        self.close()

    def _follow(self, every_s: float) -> None:
        said = None
        while not self._closed.wait(every_s):
            try:
                if self.refresh():
                    _LOG.info("%s: generation %s is shown", self._uri, self._snapshot.generation)
                said = None
            except ReaderError as error:
                if said != str(error):  # once, not at each attempt
                    _LOG.warning("what was live before is shown still: %s", error)
                said = str(error)
            except Exception:
                _LOG.exception("following %s goes on", self._uri)

    def _load(self, shown: Snapshot | None) -> Snapshot | None:
        """Return what is live, or None where that is what is shown.

        Retention and erasures delete documents that are no longer live. So where one is gone
        between manifest and read, the manifest is read again; only the same one means damage.
        """
        seen = shown.tag if shown else None
        gone: _GoneError | None = None
        for _ in range(_ATTEMPTS):
            try:
                found = self._stores.read(self._uri, unless=seen, most=_MOST_MANIFEST_BYTES)
            except FileNotFoundError:
                raise NotPublishedError(f"there is no manifest at {self._uri}") from None
            if found is None:
                if gone:
                    raise DocumentError(f"{gone}, though the manifest names it")
                return None
            if shown and found.tag == shown.tag:  # flipped, and back, while it was read
                return None
            try:
                return self._snapshot_of(found, shown)
            except _GoneError as error:
                gone, seen = error, found.tag
        raise StoreError(f"{self._uri} was flipped {_ATTEMPTS} times while it was read")

    def _snapshot_of(self, found: Found, shown: Snapshot | None) -> Snapshot:
        manifest = _manifest(self._uri, found.data)
        place = manifest["tenant"], manifest["surface"]
        current: dict[str, str] = manifest["current"]
        uris = {kind: current[kind] for kind in self._kinds if kind in current}
        documents: dict[str, Document] = {}
        left = self._max_bytes
        for kind, uri in uris.items():
            # What a flip leaves as it is, is not read again.
            same = shown.documents[kind] if shown and shown.uris.get(kind) == uri else None
            documents[kind] = same or self._document(kind, uri, place, left)
            left -= documents[kind].size_bytes
        number = _GENERATION.search(current.get(PUBLICATION, ""))
        return Snapshot(
            tenant=place[0],
            surface=place[1],
            generation=int(number[1]) if number else None,
            updated_at=manifest["updated_at"],
            uris=MappingProxyType(uris),
            documents=MappingProxyType(documents),
            kinds=self._kinds,
            tag=found.tag,
        )

    def _document(self, kind: str, uri: str, place: tuple[str, str], most: int) -> Document:
        version = _VERSION.search(uri)
        if version is None:
            raise ManifestError(f"{self._uri}: the URI of {kind} names no version: {uri!r}")
        try:
            found = self._stores.read(uri, most=most)
        except FileNotFoundError as error:
            raise _GoneError(str(error)) from None
        assert found, "None is for a tag that was given"  # noqa: S101
        try:
            return Document(found.data, kind=kind, version=version[1], place=place)
        except DocumentError as error:
            raise DocumentError(f"{uri} cannot be used: {error}") from None


class _GoneError(Exception):
    """A document is not there."""


def _manifest(uri: str, data: bytes) -> dict[str, Any]:
    try:
        members: dict[str, Any] = json.loads(data)
        form, current = members["v"], members["current"]
        texts = [members["tenant"], members["surface"], members["updated_at"], *current.values()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{uri} is no manifest: {error!r}") from None
    if form != MANIFEST_FORMAT:
        raise ManifestError(f"{uri} has format {form!r}, this reader reads {MANIFEST_FORMAT}")
    if not all(isinstance(text, str) for text in texts):
        raise ManifestError(f"{uri} is no manifest: a member has another type")
    return members


def open(
    uri: str,
    surface: str | None = None,
    *,
    kinds: Collection[str] = KINDS,
    every_s: float | None = EVERY_S,
    max_bytes: int = MAX_BYTES,
    mounts: Mapping[str, str] | None = None,
) -> Reader:
    """Load what is live for a surface, and follow it.

    Args:
        uri: of the manifest; with `surface`, the root that it is below. A path, `file://` and a
            path, or `s3://`, `gs://`, `az://`. Credentials come from the environment.
        surface: `tenant/surface`.
        kinds: those that are read; others take no memory.
        every_s: seconds between looks at the manifest; None looks only when `refresh` is called.
        max_bytes: of all documents of one generation. One that has more is not shown.
        mounts: prefixes of URIs that the manifest names, and where they are found from here, such
            as `{"file:///srv/var/": "/mnt/var/"}`.

    Raises:
        ValueError: an option is out of range, or a kind is unknown.
        ReaderError: nothing is live there, or it cannot be read.
    """
    if "://" not in uri:
        uri = str(Path(uri).absolute())  # whatever the working directory is later
    if surface is not None:
        uri = f"{uri.rstrip('/')}/registry/current/{surface}/manifest.json"
    reader = Reader(uri, Stores(mounts), kinds=kinds, max_bytes=max_bytes)
    if every_s is not None:
        reader.follow(every_s)
    return reader
