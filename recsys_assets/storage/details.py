"""What a catalog says of items besides their tags, kept beside the artifact that is made of it.

It stands under the fingerprint of the catalog, which the record of a version names: so what is
rolled back to has its own. A catalog that says nothing of it leaves nothing.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.derived import read_derived
from recsys_assets.storage.frames import from_bytes_beside, to_bytes_beside
from recsys_assets.storage.store import Store
from recsys_assets.windows import SourceHash

DETAILS: Final = pl.Schema(
    [
        ("item_id", pl.String()),
        ("price", pl.Decimal(18, 6)),
        ("created_at", pl.Datetime("us", "UTC")),
    ]
)


def write_details(store: Store, place: Place, source_hash: str, details: pl.DataFrame) -> None:
    """Keep the details of a catalog, unless they are there."""
    key = layout.details(place, SourceHash.from_text(source_hash).data)
    if store.stat(key) is None:
        store.write_derived(key, to_bytes_beside(details, {}))


def read_details(store: Store, place: Place, source_hash: str) -> pl.DataFrame:
    """Return the details of a catalog, by the source hash of what is made of it; or no rows.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """
    key = layout.details(place, SourceHash.from_text(source_hash).data)
    found = read_derived(store, key, lambda data: from_bytes_beside(data)[0], then="passed over")
    return DETAILS.to_frame() if found is None else found.cast(DETAILS)
