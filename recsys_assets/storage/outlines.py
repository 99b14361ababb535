"""The outline of an artifact in the store: what it is compared by, without reading it again.

It stands under the version of the artifact and is never changed. Whoever deletes one loses time
only: it is made again of the artifact.
"""

from __future__ import annotations

import io
import json
import logging
from typing import Any, Final

import polars as pl
import pyarrow as pa

from recsys_assets.compute.outlines import Outline
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.store import Store

# Part of where outlines are kept: raise it when the same artifact would give another.
OUTLINE_FORMAT: Final = 1
_FOOTER_KEY: Final = b"recsys_assets"
_WRITE: Final = pa.ipc.IpcWriteOptions(compression="zstd")

_LOG = logging.getLogger(__name__)


def write_outline(store: Store, place: Place, kind: str, version: str, outline: Outline) -> None:
    """Keep the outline of a version, unless there is one: with the settings that made it first."""
    if read_outline(store, place, kind, version):
        return
    footer = {
        "form": outline.form,
        "owners": outline.owners,
        "entries": outline.entries,
        "thinned": outline.thinned,
        "settings": outline.settings,
    }
    table = outline.lists.to_arrow()
    table = table.replace_schema_metadata({_FOOTER_KEY: json.dumps(footer).encode()})
    buffer = io.BytesIO()
    # A tenth of the time that Parquet takes to read it, and half of that to write it.
    with pa.ipc.new_file(buffer, table.schema, options=_WRITE) as writer:
        writer.write_table(table)
    store.write_derived(layout.outline(place, kind, version, OUTLINE_FORMAT), buffer.getvalue())


def read_outline(store: Store, place: Place, kind: str, version: str) -> Outline | None:
    """Return the outline of a version; None without a readable one.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """
    key = layout.outline(place, kind, version, OUTLINE_FORMAT)
    found = store.read(key)
    if found is None:
        return None
    try:
        table = pa.ipc.open_file(found.data).read_all()
        footer: dict[str, Any] = json.loads(table.schema.metadata[_FOOTER_KEY])
        return Outline(
            footer["form"],
            footer["owners"],
            footer["entries"],
            pl.DataFrame(pl.from_arrow(table)),
            footer["thinned"],
            footer["settings"],
        )
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        _LOG.warning("%s is damaged and is made again: %r", store.location(key), error)
        return None
