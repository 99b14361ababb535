"""Prices and times of a catalog, which sinks read: where they stand, and what they become."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_assets.compute.content_sim import details_of_surface
from recsys_assets.config.catalogs import Catalog
from recsys_assets.events.catalog import read_catalog

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def details(path: Path, **keys: Any) -> list[tuple[Any, ...]]:
    snapshot = read_catalog(Catalog.model_validate({"path": str(path), **keys}))
    frame = details_of_surface(snapshot.frame.lazy(), snapshot.details, surface="home")
    assert frame.schema["price"] == pl.Decimal(18, 6)
    return frame.rows()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", "ID,tags,Price,created_at\na,x,7.5,2026-01-01T12:00:00Z\nb,y,,\n"),
        (
            "c.jsonl",
            '{"item_id":"a","tags":[],"price":7.5,"created_at":"2026-01-01T13:00:00+01:00"}\n'
            '{"item_id":"b","tags":["y"],"price":{"eur":1},"created_at":null}\n',
        ),
    ],
)
def test_they_have_these_names_in_text_and_json(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)

    assert details(tmp_path / name) == [("a", Decimal("7.5"), NOON)]


@pytest.mark.parametrize(
    ("price", "created_at"),
    [
        (7.5, NOON),
        (Decimal("7.50"), NOON.replace(tzinfo=None)),
        ("7.5", "2026-01-01 12:00:00"),
    ],
)
def test_parquet_has_numbers_and_times_of_its_own(
    tmp_path: Path, price: Any, created_at: Any
) -> None:
    path = tmp_path / "c.parquet"
    row = {"item_id": "a", "tags": ["x"], "price": price, "created_at": created_at}
    pl.DataFrame([row]).write_parquet(path)

    assert details(path) == [("a", Decimal("7.5"), NOON)]


def test_other_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("sku,cats,eur,since\na,x,3,2026-01-01\n")
    columns = {"item_id": "sku", "tags": "cats", "price": "eur", "created_at": "since"}

    assert details(path, columns=columns) == [
        ("a", Decimal(3), datetime.combine(date(2026, 1, 1), datetime.min.time(), UTC))
    ]


def test_what_is_no_number_or_time_is_unknown_and_another_surfaces_is_left_out(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.csv"
    path.write_text(
        "id,tags,namespace,price,created_at\na,x,,none,soon\n b ,x,home,1e2,\nc,x,cart,5,\n"
        "b,x,,4,\nd,x,,,9999-12-31T23:59:59-14:00\ne,x,,123456789012.1234567,\n"
    )

    assert details(path) == [
        ("b", Decimal(4), None),
        ("e", Decimal("123456789012.123457"), None),
    ]


def test_they_are_no_part_of_the_fingerprint_of_how_a_catalog_is_read() -> None:
    """A catalog without them has the fingerprint it had."""
    keys = Catalog.model_validate({"path": "c.csv"}).model_dump(exclude_defaults=True)
    assert keys == {"path": "c.csv"}
