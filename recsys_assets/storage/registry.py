"""Artifact versions: the blob, its write-once record, and which version belongs to a day."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

from recsys_assets.documents import RenderedDocument, stored_version
from recsys_assets.errors import (
    CorruptBlobError,
    MissingPartitionError,
    StorageError,
    StoreUnavailableError,
)
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.store import Store

_HEAD_BYTES = 2**16  # holds whatever stands before the list of a document


def utc_text(moment: datetime) -> str:
    """Write a moment as RFC 3339 with microseconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_bytes(document: dict[str, Any]) -> bytes:
    """Write a registry document: JSON, one member a line, for people with a pager."""
    return json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"


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
    store.put_new(key, document.path)
    verify_blob(store, key, document.version)
    store.put_new(
        layout.record(*where),
        to_bytes(
            {
                "v": 1,
                "kind": head.kind,
                **asdict(head.place),
                "segment": head.segment,
                "window": head.window.to_json(),
                "version": document.version,
                "uri": store.uri(key),
                "size_bytes": document.size_bytes,
                "source_hash": document.source_hash,
                "built_at": utc_text(document.built_at),
                "run_id": run_id,
            }
        ),
    )
    ref = StagedRef(
        kind=head.kind,
        day=day,
        version=document.version,
        uri=store.uri(key),
        source_hash=document.source_hash,
        size_bytes=document.size_bytes,
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
            f"{store.uri(key)} is {error}. Materialize {kind} of {day} again; it replaces it."
        ) from None


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
            f"{store.uri(key)} is missing: materialize the day's artifact again"
        ) from None
    with file:
        try:
            found = stored_version(file, size_bytes)
        except StoreUnavailableError:
            raise
        except StorageError as error:
            raise CorruptBlobError(store.uri(key), expected=version, found=str(error)) from None
        if found != version:
            raise CorruptBlobError(store.uri(key), expected=version, found=found)
        file.seek(0)
        return file.read(_HEAD_BYTES)
