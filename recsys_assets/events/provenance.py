"""What an accepted day of canonical events says of itself: its fingerprint and its raw files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import PurePosixPath
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.errors import StorageError
from recsys_assets.events.sources import InputSeen
from recsys_assets.places import Place
from recsys_assets.storage.store import Store

# Part of the fingerprint and of the assets' code version: raise it when the same raw lines would
# give other canonical events.
CANONICAL_FORMAT: Final = 1
# Accepted days of an older format are refused. A day of this format or a later one is read as it
# is, a column it lacks as nulls: raise this too when that would be wrong.
OLDEST_READABLE_FORMAT: Final = 1
FOOTER_KEY: Final = b"recsys_assets"


@dataclass(frozen=True)
class Provenance:
    """What a day of canonical events is a function of.

    Attributes:
        fingerprint: equal ones mean equal events.
        files: the inputs that were read, in the order that the events' `file` counts in.
        source: the identity of the source they came from, as `Source.identity` gives it.
        events: of the partition that it was read from; 0 before there is one.
        columns: of that partition.
    """

    fingerprint: str
    files: Sequence[InputSeen]
    source: Mapping[str, Any]
    events: int = field(default=0, compare=False)
    columns: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def gap(self) -> timedelta:
        """The longest pause within the sessions that were built; 0 where none were.

        Not that of the configuration, which may have been another one when the day was made.
        """
        return timedelta(minutes=self.source.get("sessions", {}).get("gap_minutes", 0))


def provenance_of(
    place: Place, day: date, files: Sequence[InputSeen], source: Mapping[str, Any]
) -> Provenance:
    """Fingerprint a day: by its format, whose it is, its source and the bytes of its inputs."""
    identity = {
        "format": CANONICAL_FORMAT,
        "tenant": place.tenant,
        "surface": place.surface,
        "day": day.isoformat(),
        "files": [(file.name, file.sha256, *_form(file).values()) for file in files],
        **_named(source),
    }
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Provenance(fingerprint, files, source)


def footer(place: Place, day: date, provenance: Provenance) -> bytes:
    """Return what is kept of it in the Parquet footer of the day."""
    return json.dumps(
        {
            "format": CANONICAL_FORMAT,
            "tenant": place.tenant,
            "surface": place.surface,
            "day": day.isoformat(),
            "fingerprint": provenance.fingerprint,
            "files": [
                {"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256}
                | _form(file)
                | ({"version": file.version} if file.version else {})
                for file in provenance.files
            ],
            **_named(provenance.source),
        }
    ).encode()


def _named(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the member that holds the source; absent for the first one, whose days are stored."""
    return {"source": dict(source)} if source else {}


def _form(file: InputSeen) -> dict[str, str]:
    """Return the member that holds the form; absent where days are stored without one."""
    return {"form": file.form} if file.form else {}


def read_provenance(store: Store, key: str) -> Provenance:
    """Return what the footer of an accepted partition says.

    Raises:
        FileNotFoundError: the partition is absent.
        StorageError: it is damaged, not a canonical partition, or of a format that is not read.
    """
    readable = range(OLDEST_READABLE_FORMAT, CANONICAL_FORMAT + 1)
    try:
        file, _ = store.open(key)
        with file:
            written = pq.read_metadata(file)
            found: dict[str, Any] = json.loads(written.metadata[FOOTER_KEY])
        files = [InputSeen(**seen) for seen in found["files"]]
        source = dict(found.get("source", {}))
        provenance = Provenance(
            str(found["fingerprint"]),
            files,
            source,
            written.num_rows,
            frozenset(written.schema.names),
        )
        is_readable = readable.start <= found["format"] < readable.stop
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{store.location(key)} is not a readable canonical partition: {error!r}. Materialize "
            f"canonical_events of {PurePosixPath(key).stem} again; it replaces it."
        ) from None
    if not is_readable:
        raise StorageError(
            f"{store.location(key)} is of format {found['format']}, this project reads "
            f"{' or '.join(map(str, readable))}. Materialize canonical_events of "
            f"{PurePosixPath(key).stem} again; it replaces it."
        )
    return provenance
