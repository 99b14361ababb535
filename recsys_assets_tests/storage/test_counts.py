from __future__ import annotations

from collections.abc import Callable
from datetime import date

import polars as pl
from polars.testing import assert_frame_equal

from recsys_assets.events.kept_counts import KeptCounts
from recsys_assets.storage.store import Store


def test_counts_of_a_day_are_kept_in_any_store(store: Store, forget: Callable[[], None]) -> None:
    table = pl.DataFrame({"key": [1, 2**63]}, schema={"key": pl.UInt64})
    keep = KeptCounts(
        store, "demo", "home", date(2026, 1, 1), fingerprint="f", is_current=lambda: True
    )
    assert keep.read("baskets") is None

    keep.write("baskets", table)
    forget()

    found = keep.read("baskets")
    assert found is not None
    assert_frame_equal(found, table)
