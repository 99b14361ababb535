"""What a catalog says of items besides their tags: kept under its fingerprint, and how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl

from recsys_assets.config import Retention
from recsys_assets.operations.retention import plan_retention
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.details import DETAILS, read_details, write_details
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import make_day, unsynced

PLACE = Place("demo", "home")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROWS = pl.DataFrame([["a", Decimal("7.5"), NOON], ["b", None, None]], DETAILS, orient="row")


def test_they_are_found_by_what_a_version_is_made_of(tmp_path: object) -> None:
    store = LocalStore(str(tmp_path))
    assert read_details(store, PLACE, "f" * 64).is_empty()

    write_details(store, PLACE, "f" * 64, ROWS)

    assert read_details(store, PLACE, "f" * 64).equals(ROWS)
    assert read_details(store, PLACE, f"{'f' * 64}-denied-{'e' * 64}").equals(ROWS)
    assert read_details(store, PLACE, "e" * 64).schema == DETAILS


def test_damaged_ones_are_passed_over(tmp_path: object) -> None:
    store = LocalStore(str(tmp_path))
    store.replace(layout.details(PLACE, "f" * 64), b"x")

    assert read_details(store, PLACE, "f" * 64).is_empty()


def test_they_stay_as_long_as_a_version_that_is_made_of_the_catalog(project: Project) -> None:
    (surface,) = project.configure({"gates": {"mode": "off"}}).surfaces
    with unsynced():
        for number in range(2):
            text = f"item_id,tags,price\na,x{number},{number}\n"
            (project.folder / "catalog.csv").write_text(text)
            project.land(day(number), [event("a", of=day(number))])
            make_day(project.store, surface, day(number))
    kept = [stored.key for stored in project.store.list("details")]
    now = datetime.now(UTC) + timedelta(days=2)

    def going(publications: int) -> set[str]:
        keep = Retention(publications=publications, days=1, grace_hours=1)
        plan = plan_retention(project.store, surface, keep, now=now)
        return {stored.key for stored in plan.going if stored.key.startswith("details/")}

    assert len(kept) == 2
    assert going(2) == set()
    (gone,) = going(1)
    live = project.store.read(layout.manifest(PLACE))
    assert live
    assert gone in kept
