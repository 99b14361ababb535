"""The page on events of others is followed: each data set is published from its native file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
import yaml

from recsys_assets.config import Surface, load_config
from recsys_assets.config.sources import packaged_mappings
from recsys_assets.storage import layout
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.project import DAY, day
from recsys_assets_tests.shop import make_day
from recsys_assets_tests.test_docs import page

PAGE: Final = page("bring-your-own-events.md")
DATA_SETS: Final = re.findall(r"<!-- entry: (\w+) -->", PAGE)


def block(marker: str) -> tuple[str, str]:
    """Return what stands behind a marker, and the block after it."""
    found = re.search(rf"<!-- {marker}(.*?) -->\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found, marker
    return found[1].strip(), found[2]


def entered(folder: Path, of_page: dict[str, Any]) -> tuple[LocalStore, Surface]:
    """Return a surface with an entry of the page, and its root."""
    entry = {
        "tenant": "shop",
        "surface": "home",
        "start_date": DAY,
        **of_page,
        "artifacts": {"popularity": {}, "cooc": {}, "implicit": {}, "session_seq": {}},
    }
    config = {"root": str(folder / "var"), "surfaces": [entry]}
    (folder / "surfaces.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    surface = load_config(folder / "surfaces.yaml").surfaces[0]
    return LocalStore(folder / "var"), surface


def test_each_packaged_mapping_is_on_the_page() -> None:
    assert set(packaged_mappings()) <= set(DATA_SETS)
    assert len(DATA_SETS) == len(set(DATA_SETS)) == 10


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_data_set_is_published_by_its_entry_alone(name: str, tmp_path: Path) -> None:
    file, native = block(f"native: {name}")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / file).write_text(native, encoding="utf-8")
    store, surface = entered(tmp_path, yaml.safe_load(block(f"entry: {name}")[1]))

    make_day(store, surface, DAY)

    expected = [line.split(" ", 2) for line in block(f"becomes: {name}")[1].splitlines()]
    frame = pl.read_parquet(store.location(layout.canonical(surface.place, DAY)))
    rows = frame.select("item_id", pl.col("user_id").fill_null("-"), "session_id").rows()
    assert [list(row) for row in rows] == expected
    assert store.read(layout.manifest(surface.place)) is not None


def test_the_shop_whose_files_are_cut_at_its_own_midnight_keeps_all_its_events(
    tmp_path: Path,
) -> None:
    (tmp_path / "raw").mkdir()
    for file in ("shop.2026-01-01.csv", "shop.2026-01-02.csv"):
        (tmp_path / "raw" / file).write_text(block(f"cut: {file}")[1], encoding="utf-8")
    store, surface = entered(tmp_path, yaml.safe_load(block("cut-entry")[1]))

    for number in range(2):
        make_day(store, surface, day(number))

    kept = [layout.canonical(surface.place, day(number)) for number in range(2)]
    assert [pl.read_parquet(store.location(key)).height for key in kept] == [4, 6]
    assert "All ten are kept: 4 on 1 January, and 6 on the 2nd." in PAGE
