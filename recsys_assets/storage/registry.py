"""Artifact versions: the blob, its write-once record, and which version belongs to a day."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from recsys_assets.documents import RenderedDocument, stored_version
from recsys_assets.errors import (
    CorruptBlobError,
    MissingPartitionError,
    StorageError,
)
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.details import write_details
from recsys_assets.storage.outlines import write_outline
from recsys_assets.storage.store import Store

# The same version may be made by several runs, of other events too, and its root may have moved.
NOT_OF_THE_VERSION: Final = ("uri", "source_hash", "built_at", "run_id")
_HEAD_BYTES = 2**16  # holds whatever stands before the list of a document


def utc_text(moment: datetime) -> str:
    """Write a moment as RFC 3339 with microseconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_bytes(document: Mapping[str, Any]) -> bytes:
    """Write a registry document: JSON, one member a line, for people with a pager."""
    return json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"


def write_once(
    store: Store, key: str, document: Mapping[str, Any], *, may_differ: Collection[str] = ()
) -> None:
    """Write a record that is never changed; one that is there already must say the same.

    Args:
        store: where.
        key: of the record.
        document: its members.
        may_differ: members that another writer of the same record may give otherwise.

    Raises:
        StorageError: the record that is there is damaged, says something else, or went away.
    """
    if store.put_new(key, to_bytes(document)):
        return
    found = store.read(key)

    def telling(data: bytes) -> dict[str, Any]:
        return {k: v for k, v in json.loads(data).items() if k not in may_differ}

    try:
        same = found is not None and telling(found.data) == telling(to_bytes(document))
    except (ValueError, AttributeError):
        same = False
    if not same:
        raise StorageError(
            f"{store.uri(key)} was there already when it was to be written once, and now "
            + ("it holds something else: move it away, and run" if found else "it is gone: run")
            + " again. Nothing refers to what was being written."
        )


@dataclass(frozen=True)
class StagedRef:
    """The accepted version of one kind for one day."""

    kind: str
    day: date
    version: str
    uri: str
    source_hash: str
    size_bytes: int
    staged_at: str

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        return to_bytes({"v": 1, **asdict(self), "day": self.day.isoformat()})

    @classmethod
    def from_bytes(cls, data: bytes) -> StagedRef:
        """Read the stored form.

        Raises:
            StorageError: it is not one.
        """
        try:
            members: dict[str, Any] = json.loads(data)
            members.pop("v")
            ref = cls(**(members | {"day": date.fromisoformat(members["day"])}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"not a staged reference: {error!r}") from None
        texts = (ref.kind, ref.version, ref.uri, ref.source_hash, ref.staged_at)
        if not all(isinstance(text, str) for text in texts) or type(ref.size_bytes) is not int:
            raise StorageError(f"not a staged reference: a member has another type in {ref!r}")
        return ref


def stage_version(
    store: Store, document: RenderedDocument, *, run_id: str, now: datetime
) -> StagedRef:
    """Store a document that passed its checks, and make it the version of its window's last day.

    In this order, each step durable before the next: blob (put if absent), read back and hashed;
    record (write-once); staged reference. After a crash anywhere, doing it again finishes it.

    Raises:
        CorruptBlobError: a blob is there under this version but hashes to another; nothing refers
            to it.
    """
    head = document.head
    day = head.window.last_day
    where = (head.place, head.kind, document.version)
    key = layout.blob(*where)
    # One that was there may have another size: what it was made of stands in it, and is no part of
    # the version.
    there = None if store.put_new(key, document.path) else store.stat(key)
    size_bytes = there.size_bytes if there else document.size_bytes
    verify_blob(store, key, document.version)
    write_once(
        store,
        layout.record(*where),
        {
            "v": 1,
            "kind": head.kind,
            **asdict(head.place),
            "segment": head.segment,
            "window": head.window.to_json(),
            "version": document.version,
            "uri": store.uri(key),
            "size_bytes": size_bytes,
            "source_hash": document.source_hash,
            "built_at": utc_text(document.built_at),
            "run_id": run_id,
        },
        may_differ=NOT_OF_THE_VERSION,
    )
    if document.details is not None:
        write_details(store, head.place, document.source_hash, document.details)
    if document.outline is not None:
        write_outline(store, *where, document.outline)
    ref = StagedRef(
        kind=head.kind,
        day=day,
        version=document.version,
        uri=store.uri(key),
        source_hash=document.source_hash,
        size_bytes=size_bytes,
        staged_at=utc_text(now),
    )
    store.replace(layout.staged(head.place, head.segment, head.kind, day), ref.to_bytes())
    return ref


def read_staged(store: Store, place: Place, segment: str, kind: str, day: date) -> StagedRef:
    """Return which version of a kind belongs to a day.

    Raises:
        MissingPartitionError: none was accepted yet.
        StorageError: the reference is damaged.
    """
    key = layout.staged(place, segment, kind, day)
    found = store.read(key)
    if found is None:
        raise MissingPartitionError(
            f"no {kind} was accepted for {place.name} {day}: materialize it first"
        )
    try:
        return StagedRef.from_bytes(found.data)
    except StorageError as error:
        raise StorageError(
            f"{store.uri(key)} is {error}",
            advice=f"Materialize {kind} of {day} again; it replaces it.",
        ) from None


def source_hash_of(store: Store, place: Place, kind: str, uri: str) -> str | None:
    """Return what a version was made of when it was made first; None without a readable record."""
    found = store.read(layout.record(place, kind, version_of(uri)))
    try:
        return str(json.loads(found.data)["source_hash"]) if found else None
    except (ValueError, KeyError, TypeError):
        return None


def version_of(uri: str) -> str:
    """Return the version that a blob's URI, or key, names."""
    return uri.rpartition("/")[2].removesuffix(".json")


def verify_blob(store: Store, key: str, version: str) -> bytes:
    """Re-read a blob and check that it hashes to its version; return its first bytes, up to 64 KiB.

    Raises:
        CorruptBlobError: it does not.
        StorageError: it is missing.
    """
    try:
        file, size_bytes = store.open(key)
    except FileNotFoundError:
        raise StorageError(
            f"{store.uri(key)} is missing", advice="Materialize the day's artifact again."
        ) from None
    with file:
        try:
            found = stored_version(file, size_bytes)
        except StorageError as error:
            raise CorruptBlobError(store.uri(key), expected=version, found=str(error)) from None
        if found != version:
            raise CorruptBlobError(store.uri(key), expected=version, found=found)
        file.seek(0)
        return file.read(_HEAD_BYTES)
