"""A file a kind, beside the documents or elsewhere: `type: files`.

    <kind>/<generation>-<version>.parquet    of the delivery that wrote it; never changed
    current.parquet.json                     the pointer: what is live, and the files that hold it

The pointer is replaced by compare-and-swap, once its files are there. No delivery names a file that
has left the pointer, so one that left longer ago than the grace may be removed by anybody.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl

from recsys_assets.config import FilesSink
from recsys_assets.errors import (
    ManifestConflictError,
    PublishOutcomeUnknownError,
    SinkError,
    StoreUnavailableError,
)
from recsys_assets.kinds import KINDS, OF_USERS
from recsys_assets.places import Place
from recsys_assets.sinks.sink import Delivered, Delivery, Sink, outcome_before
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.deliveries import Held
from recsys_assets.storage.publications import read_time
from recsys_assets.storage.registry import to_bytes, utc_text
from recsys_assets.storage.store import Store, Stored, Versioned

_ATTEMPTS: Final = 20
_FORMATS: Final = ("parquet", "csv")


def open_sink(sink: FilesSink, root: str) -> Sink:
    """Return the sink; without a place of its own it lies below `root`."""
    return Files(sink, open_store(sink.path or root))


@dataclass(frozen=True)
class _Pointer:
    """What is live, and the files that hold it.

    Attributes:
        generation: of the delivery.
        files: the key of each kind's file.
        versions: the version in it.
        left: when files that were named before left, RFC 3339; those that left long ago are not
            among them.
    """

    generation: int
    files: Mapping[str, str]
    versions: Mapping[str, str]
    left: Mapping[str, str] = field(default_factory=dict)

    @property
    def held(self) -> Held:
        return Held(self.generation, dict(self.versions))


class Files:
    """Files in a directory or an object store."""

    def __init__(self, sink: FilesSink, store: Store) -> None:
        self._sink = sink
        self._store = store

    def held(self, places: Collection[Place]) -> dict[Place, Held]:
        """Return what its pointers name."""
        found = {}
        for place in places:
            _, pointer = self._read(place)
            if pointer:
                found[place] = pointer.held
        return found

    def deliver(self, delivery: Delivery) -> Delivered:
        """Write the files that are not there, and name them in the pointer."""
        for _ in range(_ATTEMPTS):
            tag, before = self._read(delivery.place)
            outcome = outcome_before(before.held if before else None, delivery)
            if outcome and before:
                return replace(
                    Delivered(outcome, before.held), problems=self._clean(delivery.place, before)
                )
            done = self._deliver(delivery, tag, before)
            if done:
                return done
        raise SinkError("others keep delivering of the same surface", advice="Deliver it again.")

    def users(self, place: Place) -> Iterator[tuple[str, Iterable[str]]]:
        """Yield each file of a kind of users, also one that nothing names, and whose ids it has.

        Those of another format are looked at too: nobody else does since the format was changed.
        """
        self._stored(place)  # to list a place that cannot be reached may give nothing
        for stored, kind, _ in self._files(place, *_FORMATS):
            if kind not in OF_USERS:
                continue
            owner, uri = KINDS[kind].layout.owner, self._store.uri(stored.key)
            try:
                file, _ = self._store.open(stored.key)
            except FileNotFoundError:  # it has gone since it was listed
                continue
            try:
                with file:
                    yield uri, _read_column(file, owner, stored.key.rpartition(".")[2])
            except pl.exceptions.PolarsError as error:
                raise SinkError(f"{uri} cannot be read: {error}", advice="Remove it.") from None

    def purge(self, place: Place) -> None:
        """Remove the files that the pointer does not name, whenever they left it."""
        _, pointer = self._read(place)
        named = {*pointer.files.values()} if pointer else set()
        for stored, _, generation in self._files(place):
            # A newer generation's are of somebody who is going to name them.
            if pointer and generation <= pointer.generation and stored.key not in named:
                self._store.delete(stored.key)

    def _deliver(
        self, delivery: Delivery, tag: str | None, before: _Pointer | None
    ) -> Delivered | None:
        """Write the files and the pointer; None when that has moved."""
        rows, files = dict[str, int](), dict[str, str]()
        for kind, version in delivery.versions.items():
            if before and before.versions.get(kind) == version:
                files[kind] = before.files[kind]
                continue
            frame = delivery.rows(kind)
            files[kind] = self._key(delivery.place, kind, delivery.generation, version)
            with self._store.scratch() as scratch:
                file = scratch / "rows"
                write_table(frame, file, self._sink.format)
                self._store.replace(files[kind], file)
            rows[kind] = frame.height
        pointer = _Pointer(delivery.generation, files, delivery.versions, self._left(before, files))
        started = time.monotonic()
        try:
            self._store.compare_and_swap(
                self._pointer_key(delivery.place),
                to_bytes(self._members(delivery, pointer)),
                expected=tag,
            )
        except ManifestConflictError:
            return None
        except (PublishOutcomeUnknownError, StoreUnavailableError) as error:
            raise SinkError(str(error)) from None
        flip_s = time.monotonic() - started
        problems = self._clean(delivery.place, pointer)
        return Delivered("delivered", delivery.held, rows, flip_s, problems)

    def _members(self, delivery: Delivery, pointer: _Pointer) -> dict[str, Any]:
        publication = delivery.publication
        return {
            "v": 1,
            "tenant": delivery.place.tenant,
            "surface": delivery.place.surface,
            "generation": pointer.generation,
            "window": publication.window.to_json(),
            "published_at": publication.published_at,
            "files": {kind: self._store.uri(key) for kind, key in pointer.files.items()},
            "versions": dict(pointer.versions),
            "left": {self._store.uri(key): at for key, at in pointer.left.items()},
        }

    def _left(self, before: _Pointer | None, files: Mapping[str, str]) -> dict[str, str]:
        """Return what has left lately, and leaves now."""
        if before is None:
            return {}
        now = datetime.now(UTC)
        stay = {key: at for key, at in before.left.items() if not self._is_over(at, now)}
        leaving = {*before.files.values()} - {*files.values()}
        return {**stay, **dict.fromkeys(sorted(leaving), utc_text(now))}

    def _is_over(self, at: str, now: datetime) -> bool:
        moment = read_time(at)
        return moment is not None and moment < now - timedelta(minutes=self._sink.grace_minutes)

    def _clean(self, place: Place, pointer: _Pointer) -> tuple[str, ...]:
        """Remove what left longer ago than the grace, and what killed deliverers wrote."""
        try:
            for key in [*self._over(place, pointer)]:
                self._store.delete(key)
        except (OSError, StoreUnavailableError) as error:
            return (f"old files could not be removed: {error}",)
        return ()

    def _over(self, place: Place, pointer: _Pointer) -> Iterator[str]:
        now = datetime.now(UTC)
        named = {*pointer.files.values()}
        named |= {key for key, at in pointer.left.items() if not self._is_over(at, now)}
        oldest = now - timedelta(minutes=self._sink.grace_minutes)
        for stored, _, generation in self._files(place):
            # A newer generation's are of somebody who is going to name them.
            if generation > pointer.generation or stored.key in named:
                continue
            if stored.key in pointer.left or stored.modified < oldest:
                yield stored.key

    def _files(self, place: Place, *forms: str) -> Iterator[tuple[Stored, str, int]]:
        """Yield the files of its format, or of some, each with its kind and generation."""
        named = re.compile(
            rf"/([^/]+)/(\d+)-[0-9a-f]{{64}}\.(?:{'|'.join(forms or [self._sink.format])})$"
        )
        for stored in self._store.list(self._folder(place)):
            found = named.search(stored.key)
            if found:
                yield stored, found[1], int(found[2])

    def _read(self, place: Place) -> tuple[str | None, _Pointer | None]:
        """Return the tag and what stands in the pointer; None where there is none.

        Raises:
            SinkError: it is damaged, or cannot be read.
        """
        key, found = self._pointer_key(place), self._stored(place)
        if found is None:
            return None, None
        try:
            members = json.loads(found.data)
            pointer = _Pointer(
                int(members["generation"]),
                {kind: self._store.key(uri) for kind, uri in members["files"].items()},
                dict(members["versions"]),
                {self._store.key(uri): at for uri, at in members["left"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SinkError(
                f"{self._store.uri(key)} is no pointer of a sink: {error!r}",
                advice="Move it away and deliver again.",
            ) from None
        return found.tag, pointer

    def _stored(self, place: Place) -> Versioned | None:
        key = self._pointer_key(place)
        try:
            return self._store.read(key)
        except (OSError, StoreUnavailableError) as error:
            raise SinkError(f"{self._store.uri(key)} cannot be read: {error}") from None

    def _folder(self, place: Place) -> str:
        return place.name if self._sink.path else layout.export_folder(place)

    def _pointer_key(self, place: Place) -> str:
        return f"{self._folder(place)}/current.{self._sink.format}.json"

    def _key(self, place: Place, kind: str, generation: int, version: str) -> str:
        return f"{self._folder(place)}/{kind}/{generation}-{version}.{self._sink.format}"


def _read_column(file: BinaryIO, name: str, form: str) -> list[str]:
    """Return the texts of a column of what `write_table` writes, each once."""
    if form == "parquet":
        rows = pl.read_parquet(file, columns=[name])
    else:
        rows = pl.read_csv(file, columns=[name], schema_overrides={name: pl.String})
    return rows[name].unique().to_list()


def write_table(rows: pl.DataFrame, path: Path, form: str) -> None:
    """Write rows as Parquet, or as CSV with a header; there, lists are JSON."""
    if form == "parquet":
        rows.write_parquet(path, compression="zstd")
        return
    texts = [
        pl.col(name).map_elements(_as_json, return_dtype=pl.String)
        for name, dtype in rows.schema.items()
        if dtype == pl.List
    ]
    rows.with_columns(texts).write_csv(path)


def _as_json(values: pl.Series) -> str:
    return json.dumps(values.to_list(), ensure_ascii=False)
