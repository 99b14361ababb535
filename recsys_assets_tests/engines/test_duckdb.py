"""DuckDB gives what Polars gives."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given

from recsys_assets_tests.engines.windows import Window, accepted, made, windows


@given(windows())
def test_a_window_is_the_same_by_duckdb_and_by_polars(window: Window) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        days = accepted(window, folder)

        assert made(window, days, folder, {"type": "duckdb"}) == made(window, days, folder, {})
