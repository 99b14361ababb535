"""The tables of the online service's database mode, on a real server."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from recsys_assets.config import Config, PostgresSink
from recsys_assets.errors import SinkError
from recsys_assets.operations.pointer import plan_rollback, roll_back
from recsys_assets.sinks.delivering import deliver
from recsys_assets.storage.publications import read_live
from recsys_assets_tests.postgres import Database
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import WHY, make_day, unsynced
from recsys_assets_tests.test_docs import page

# As the service makes them.
TABLES: Final = """
create table tenants (id uuid primary key, external_id text not null unique, name text not null,
    status text not null);
create table item_tags (tenant_id uuid not null references tenants, namespace text, item_id text,
    tags text[] not null, price numeric(18, 6), created_at timestamptz,
    primary key (tenant_id, namespace, item_id));
create table item_popularity_daily (tenant_id uuid not null references tenants, namespace text,
    item_id text, day date, score numeric(18, 6) not null,
    primary key (tenant_id, namespace, item_id, day));
create table item_covisit_daily (tenant_id uuid not null references tenants, namespace text,
    item_id text, neighbor_id text, day date, score numeric(18, 6) not null,
    primary key (tenant_id, namespace, item_id, neighbor_id, day));
"""


_TABLES_OF_ITEMS: Final = ("item_tags", "item_popularity_daily", "item_covisit_daily")


class Service:
    """A surface whose days are delivered to a database that has the service's tables."""

    def __init__(self, project: Project, database: Database) -> None:
        self.project, self.database = project, database
        self.config: Config = project.configure()
        self.sink = PostgresSink.model_validate(
            {
                "name": "db",
                "type": "postgres",
                "dsn_env": "SINK_DSN",
                "schema": f"{database.schema}_own",
                "service_tables": {"schema": database.schema, "tenant": "acme"},
            }
        )

    def make(self, number: int, items: str, catalog: str) -> None:
        (self.project.folder / "catalog.csv").write_text(catalog)
        events = [event(item, of=day(number), session_id="s") for item in items]
        self.project.land(day(number), events)
        make_day(self.project.store, self.config.surfaces[0], day(number))
        self.deliver()

    def deliver(self) -> None:
        deliver(self.project.store, self.config.root, self.config.surfaces[0], self.sink)

    def rows(self, what: str) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self.database.url) as connection:
            return connection.execute(f"select {what}").fetchall()


@pytest.fixture
def service(project: Project, database: Database, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("SINK_DSN", database.url)
    database.run(*filter(str.strip, TABLES.split(";")))
    return Service(project, database)


TAGS: Final = "item_id, tags, price, created_at from item_tags order by item_id"


def test_they_hold_what_is_live_and_a_rollback_has_its_own_prices(service: Service) -> None:
    with unsynced():
        service.make(
            0, "ab", 'id,tags,price,created_at\na,x|"y,7.5,2026-01-01T02:00:00+02:00\nb,z,,\n'
        )
        first = service.rows(TAGS)
        service.make(1, "bc", "id,tags,price\nb,z,3\nc,w,none\n")
        second = service.rows(TAGS)
        store, surface = service.project.store, service.config.surfaces[0]
        roll_back(store, plan_rollback(store, surface, to="1"), WHY)
        service.deliver()

    then = datetime(2026, 1, 1, tzinfo=UTC)
    assert first == [("a", ["x", '"y'], Decimal("7.500000"), then), ("b", ["z"], None, None)]
    assert second == [("b", ["z"], Decimal("3.000000"), None), ("c", ["w"], None, None)]
    assert service.rows(TAGS) == first
    assert service.rows("external_id, name, status from tenants") == [("acme", "acme", "active")]


def test_daily_tables_get_the_last_day_and_the_other_days_stay(service: Service) -> None:
    with unsynced():
        service.make(0, "ab", "id,tags\na,x\n")
        service.make(1, "bc", "id,tags\na,x\n")
        service.make(1, "cd", "id,tags\na,x\n")

    scores = service.rows("day, item_id, score::int from item_popularity_daily order by 1, 2")
    assert scores == [
        *((date(2026, 1, 1), item, 1) for item in "ab"),
        *((date(2026, 1, 2), item, 1) for item in "cd"),
    ]
    pairs = service.rows("day, item_id, neighbor_id from item_covisit_daily order by 1, 2")
    assert [pair[1:] for pair in pairs] == [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]


def test_a_table_that_wants_a_time_keeps_the_first_one(service: Service) -> None:
    service.database.run(
        "alter table item_tags alter created_at set default now(), alter created_at set not null"
    )
    with unsynced():
        service.make(0, "ab", "id,tags\na,x\n")
        first = service.rows("created_at from item_tags")
        service.make(1, "ab", "id,tags\na,y\nb,z\n")

    assert service.rows("tags, created_at from item_tags order by item_id limit 1") == [
        (["y"], first[0][0])
    ]


def test_rows_of_others_and_a_tenant_that_is_there_stay(service: Service) -> None:
    tenant = "00000000-0000-4000-8000-000000000001"
    service.database.run(
        f"insert into tenants values ('{tenant}', 'acme', 'Acme Inc.', 'paused')",
        f"insert into item_tags values ('{tenant}', 'cart', 'q', '{{old}}')",
        f"insert into item_tags values ('{tenant}', 'home', 'q', '{{old}}')",
    )
    with unsynced():
        service.make(0, "ab", "id,tags\na,x\n")

    assert service.rows("namespace, item_id from item_tags order by 1") == [
        ("cart", "q"),
        ("home", "a"),
    ]
    assert service.rows(
        "distinct tenant_id::text, name, status from item_tags join tenants on id = tenant_id"
    ) == [(tenant, "Acme Inc.", "paused")]


def test_without_the_tables_nothing_is_delivered_and_it_is_told(service: Service) -> None:
    with unsynced():
        service.make(0, "ab", "id,tags\na,x\n")
        service.database.run("drop table item_covisit_daily")
        with pytest.raises(SinkError, match=r'"\w+.item_covisit_daily" does not exist. A table'):
            service.make(1, "bc", "id,tags\nc,x\n")

    assert [row[0] for row in service.rows(TAGS)] == ["a"]
    live = read_live(service.project.store, service.config.surfaces[0].place)
    assert live
    assert live.publication
    known = Path(service.project.folder / "var/deliveries/demo/home/db.json").read_bytes()
    assert json.loads(known)["held"]["generation"] == live.publication.generation - 1


def test_the_rights_of_the_page_are_enough_and_less_is_told(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, writer = service.database, f"writer_{service.database.schema}"
    (said,) = re.findall(
        r"The user needs `select`, (.*?) on the three\s+tables, (.*?) on `tenants`",
        page("online-service.md"),
        re.DOTALL,
    )
    on_three, on_tenants = (", ".join(re.findall(r"`(\w+)`", each)) for each in said)
    tables = [f"{database.schema}.{name}" for name in _TABLES_OF_ITEMS]
    database.run(
        f"create role {writer} login",
        f"create schema {database.schema}_own authorization {writer}",
        f"grant usage on schema {database.schema} to {writer}",
        f"grant select, {on_three} on {', '.join(tables)} to {writer}",
        f"grant {on_tenants} on {database.schema}.tenants to {writer}",
    )
    monkeypatch.setenv("SINK_DSN", replace(database, user=writer).url)
    with unsynced():
        service.make(0, "ab", "id,tags\na,x\n")
        assert [row[0] for row in service.rows(TAGS)] == ["a"]
        database.run(f"revoke delete on {tables[0]} from {writer}")
        with pytest.raises(SinkError, match="permission denied for table item_tags"):
            service.make(1, "ab", "id,tags\nb,x\n")

    assert [row[0] for row in service.rows(TAGS)] == ["a"]


def test_the_types_of_its_columns_hold_what_is_sent(service: Service) -> None:
    """The largest and the oddest of each: what a catalog has beyond them is null."""
    prices = ("999999999999.999999", "1000000000000", "NaN", "-0.0000001", "1e3", "")
    times = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "soon", "2026-01-01", "", "")
    ids = ("\\.", 'a"b', "a,b", "NULL", "é{}", "'")
    catalog = [
        ("id", "tags", "price", "created_at"),
        *zip(ids, "xyzuvw", prices, times, strict=True),
    ]
    text = io.StringIO()
    csv.writer(text).writerows(catalog)
    with unsynced():
        service.make(0, "ab", text.getvalue())

    found = {
        row[0]: row[1:] for row in service.rows(f"{TAGS.replace('created_at', 'created_at::text')}")
    }
    assert found.keys() == set(ids)
    assert [found[of][1] for of in ids] == [
        Decimal("999999999999.999999"), None, None, 0, 1000, None
    ]  # fmt: skip
    assert [found[of][2] for of in ids][2:] == [None, "2026-01-01 00:00:00+00", None, None]
