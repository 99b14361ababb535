"""Objects of one root in another: what is copied is the same, but for the URIs in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from recsys_assets.errors import MissingPartitionError, StorageError
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.registry import (
    NOT_OF_THE_VERSION,
    StagedRef,
    read_staged,
    verify_blob,
    write_once,
)
from recsys_assets.storage.store import Store
from recsys_assets.windows import Window


@dataclass(frozen=True)
class Roots:
    """Two roots; objects are copied from the one to the other."""

    source: Store
    target: Store

    @contextmanager
    def fetched(self, key: str) -> Iterator[Path]:
        """Give an object of the source as a file that the target may take over.

        Raises:
            StorageError: it is not there, or was replaced while it was read.
        """
        try:
            file, _ = self.source.open(key)
        except FileNotFoundError:
            raise StorageError(
                f"{self.source.uri(key)} is missing",
                advice="Retention may have removed it just now: run again.",
            ) from None
        with file, self.target.scratch() as scratch:
            path = scratch / PurePosixPath(key).name
            with path.open("xb") as copy:
                shutil.copyfileobj(file, copy, 2**20)
            yield path

    def copy_version(self, place: Place, kind: str, version: str) -> None:
        """Store a version in the target and stage it there, as it is in the source.

        Each step is durable before the next: blob (put if absent), read back and hashed; record
        (write-once); staged reference. Doing it again finishes what was begun.

        Raises:
            CorruptBlobError: a blob of the target does not hash to its version.
            StorageError: the blob or its record is missing or damaged.
        """
        record = self._record(place, kind, version)
        key = layout.blob(place, kind, version)
        if self.target.stat(key) is None:
            with self.fetched(key) as path:
                self.target.put_new(key, path)
        verify_blob(self.target, key, version)
        there = self.target.stat(key)  # one that was there may have another `build`
        uri, size_bytes = self.target.uri(key), there.size_bytes if there else 0
        write_once(
            self.target,
            layout.record(place, kind, version),
            record | {"uri": uri, "size_bytes": size_bytes},
            may_differ=NOT_OF_THE_VERSION,
        )
        ref = replace(self._staged(place, record), uri=uri, size_bytes=size_bytes)
        self.target.replace(layout.staged(place, record["segment"], kind, ref.day), ref.to_bytes())

    def copy_whole(self, layer: str, place: Place) -> None:
        """Copy the write-once records of a surface in a layer which the target lacks."""
        prefix = layout.of_place(layer, place)
        there = {stored.key for stored in self.target.list(prefix)}
        for stored in self.source.list(prefix):
            if stored.key not in there and (found := self.source.read(stored.key)):
                self.target.put_new(stored.key, found.data)

    def _record(self, place: Place, kind: str, version: str) -> dict[str, Any]:
        key = layout.record(place, kind, version)
        found = self.source.read(key)
        try:
            record: dict[str, Any] = json.loads(found.data if found else b"")
            if (record["kind"], record["version"]) != (kind, version):
                raise ValueError(f"it is of {record['kind']} {record['version']}")
            _of_record(record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{self.source.uri(key)} is no record of a version: {error!r}"
                if found
                else f"{self.source.uri(key)} is missing",
                advice=f"Materialize {kind} of its day again where it was made.",
            ) from None
        return record

    def _staged(self, place: Place, record: dict[str, Any]) -> StagedRef:
        """Return the source's reference to a version; another version of its day is not live."""
        ref = _of_record(record)
        with suppress(MissingPartitionError):
            staged = read_staged(self.source, place, record["segment"], ref.kind, ref.day)
            # The same version may have been made since of other events.
            return staged if staged.version == ref.version else ref
        return ref


def _of_record(record: dict[str, Any]) -> StagedRef:
    """Return the reference that was staged with a record."""
    return StagedRef(
        kind=record["kind"],
        day=Window.from_json(record["window"]).last_day,
        version=record["version"],
        uri=record["uri"],
        source_hash=record["source_hash"],
        size_bytes=record["size_bytes"],
        staged_at=record["built_at"],
    )
