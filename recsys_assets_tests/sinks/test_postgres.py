"""Rows in PostgreSQL, on a real server: what becomes of them, what is dropped, what is told."""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from typing import Any, Final

import polars as pl
import psycopg
import pytest

from recsys_assets import contracts
from recsys_assets.config import PostgresSink
from recsys_assets.errors import ConfigError, RecsysAssetsError, SinkError
from recsys_assets.kinds import KINDS
from recsys_assets.sinks import open_sink, postgres_tables
from recsys_assets.sinks.postgres_tables import Tables
from recsys_assets_tests.config.files import UNTOLD
from recsys_assets_tests.postgres import Database
from recsys_assets_tests.shop import Shop
from recsys_assets_tests.sinks.conftest import Tried, in_postgres


@pytest.fixture
def tried(shop: Shop, database: Database, monkeypatch: pytest.MonkeyPatch) -> Tried:
    return in_postgres(shop, database, monkeypatch)


@pytest.fixture
def connection(database: Database) -> Any:
    with psycopg.connect(database.url, autocommit=True) as connection:
        yield connection


ODD: Final = (
    "",
    "a,b",
    'q"uote',
    "line\nbreak",
    "\\.",
    "\\N",
    "NULL",
    "tab\t",
    "ü€𝄞",
    "{a,b}",
    "'",
)


@pytest.mark.parametrize("name", KINDS)
def test_the_rows_of_every_kind_come_back_as_they_were(
    name: str, database: Database, connection: Any, shop: Shop
) -> None:
    """Whatever ids are, in their order; an owner with an empty list has no row."""
    kind, schema = KINDS[name], contracts.dtypes(KINDS[name].contract)
    owners = [owner for owner in ODD for _ in range(2 if kind.layout.entry else 1)]
    columns: dict[str, Any] = {kind.layout.owner: owners}
    for column, dtype in schema.items():
        if column == kind.layout.entry:
            columns[column] = [f"{number % 2}{owner}" for number, owner in enumerate(owners)]
        elif isinstance(dtype, pl.List):
            columns[column] = [[owner, "x"] for owner in owners]
        elif column != kind.layout.owner:
            columns[column] = [
                number / (1 if dtype.is_integer() else 4) for number in range(len(owners))
            ]
    frame = pl.DataFrame(columns).cast(dict(schema)).select(schema.names())  # type: ignore[arg-type]
    tables = Tables(connection, database.schema)
    tables.make([name])

    alone = pl.DataFrame([["nobody"]], schema=[kind.layout.owner], orient="row")
    whole = pl.concat([frame, alone], how="diagonal") if kind.layout.entry else frame
    assert tables.load(shop.place, kind, "f" * 64, whole) == len(owners)
    connection.execute(f"update {database.schema}.versions set left_at = null")
    found = connection.execute(
        f"select {', '.join(schema.names())} from {database.schema}.{name} order by place"
        + (f", array_position(%s, {kind.layout.owner})" if kind.layout.entry else ""),
        [[*ODD]] if kind.layout.entry else None,
    ).fetchall()

    wanted = (
        frame.sort(pl.int_range(pl.len()) % 2, maintain_order=True) if kind.layout.entry else frame
    )
    assert [tuple(row) for row in found] == [tuple(row) for row in wanted.rows()]


def test_a_version_that_has_left_is_dropped_after_the_grace_and_not_before(
    tried: Tried, database: Database, connection: Any
) -> None:
    for day in (1, 2):
        tried.publish(day, day)
        tried.deliver()
    partitions = (
        "select count(*) from pg_inherits "
        f"where inhparent = '{database.schema}.cooc_versions'::regclass"
    )
    assert connection.execute(partitions).fetchone() == (2,)
    connection.execute(
        f"update {database.schema}.versions set left_at = left_at - interval '61 minutes'"
    )

    assert tried.deliver().problems == ()

    assert connection.execute(partitions).fetchone() == (1,)
    assert tried.number == 2
    tried.shop.rollback("previous")
    assert tried.deliver().rows == {"popularity": 1, "cooc": 1}, "it is loaded again"
    assert tried.number == 1


def test_what_is_left_of_a_clean_up_that_was_cut_off_is_dropped(
    tried: Tried, database: Database, connection: Any
) -> None:
    for day in (1, 2, 3):
        tried.publish(day, day)
        tried.deliver()
    schema = database.schema
    rows = f"select kind || '_' || id from {schema}.versions where left_at is not null order by id"
    (attached, detached, *_), *_ = [[row[0] for row in connection.execute(rows)]]
    connection.execute(f"delete from {schema}.versions where left_at is not null")
    kind = detached.partition("_")[0]
    connection.execute(f"alter table {schema}.{kind}_versions detach partition {schema}.{detached}")

    assert tried.deliver().problems == ()

    for name in (attached, detached):
        assert connection.execute("select to_regclass(%s)", [f"{schema}.{name}"]).fetchone() == (
            None,
        )
    assert tried.number == 3


def test_a_reader_that_holds_an_old_version_delays_its_end_and_not_the_delivery(
    tried: Tried, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_tables, "LOCK_S", 1)
    tried.publish(1, 1)
    tried.deliver()
    with psycopg.connect(database.url) as reader:
        reader.execute("select * from cooc").fetchall()
        reader_sees = "select count from popularity"
        tried.publish(2, 2)
        with psycopg.connect(database.url, autocommit=True) as other:
            tried.deliver()
            other.execute("update versions set left_at = left_at - interval '61 minutes'")
        done = tried.deliver()
        assert reader.execute(reader_sees).fetchall() == [(2,)]

    assert done.outcome == "unchanged"
    assert "could not be dropped: canceling statement due to lock timeout" in done.problems[0]
    assert tried.deliver().problems == ()
    assert tried.number == 2


@pytest.mark.parametrize(
    ("dsn", "error", "says"),
    [
        ("", ConfigError, r"\$SINK_DSN is not set: the database in \$SINK_DSN takes the address"),
        (f"mysql://u:{UNTOLD}@h/x", ConfigError, "must begin with postgresql://"),
        (f"postgresql://u:{UNTOLD}@127.0.0.1:1/x", SinkError, "nothing answers there"),
        (f"postgresql://{UNTOLD}@127.0.0.1:PORT/postgres", SinkError, "no such database or user"),
        (f"{UNTOLD}", SinkError, "it is no address"),
        (f"postgresql://u:{UNTOLD}%zz@h/x", SinkError, "cannot be used"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_and_not_shown(
    tried: Tried,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    dsn: str,
    error: type[RecsysAssetsError],
    says: str,
) -> None:
    monkeypatch.setenv("SINK_DSN", dsn.replace("PORT", str(database.port)))

    with pytest.raises(error, match=says) as found:
        _ = tried.held

    assert UNTOLD not in "".join(traceback.format_exception(found.value))
    assert found.value.__context__ is None


def test_what_the_server_refuses_is_told_without_the_rows(
    tried: Tried, connection: Any, database: Database
) -> None:
    tried.publish(1, 1)
    tried.deliver()
    connection.execute(f"alter table {database.schema}.popularity_versions add check (count < 2)")
    tried.publish(2, 2)

    with pytest.raises(SinkError, match=r"the database in \$SINK_DSN says: ") as found:
        tried.deliver()

    assert found.value.__suppress_context__
    assert tried.number == 1


def test_a_schema_that_may_not_be_made_is_told_with_what_to_do(
    tried: Tried, connection: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute(f"create role nobody_{database.schema} login")
    monkeypatch.setenv("SINK_DSN", replace(database, user=f"nobody_{database.schema}").url)
    tried.publish(1, 1)

    with pytest.raises(SinkError, match=r"permission denied .*Let this user create and fill"):
        tried.deliver()


def test_who_has_the_schema_needs_no_other_right_and_readers_see_the_views(
    tried: Tried, connection: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = (f"{role}_{database.schema}" for role in ("writer", "reader"))
    connection.execute(f"create role {writer} login; create role {reader} login")
    connection.execute(f"alter schema {database.schema} owner to {writer}")
    connection.execute(f"grant usage on schema {database.schema} to {reader}")
    connection.execute(
        f"alter default privileges for role {writer} in schema {database.schema} "
        f"grant select on tables to {reader}"
    )
    monkeypatch.setenv("SINK_DSN", replace(database, user=writer).url)
    tried.publish(1, 1)

    assert tried.deliver().problems == ()

    with psycopg.connect(replace(database, user=reader).url) as seeing:
        assert seeing.execute("select count from popularity").fetchall() == [(1,)]
        assert seeing.execute("select kind from live order by 1").fetchall() == [
            ("cooc",),
            ("popularity",),
        ]


def test_without_the_driver_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("recsys_assets.sinks.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    sink = PostgresSink.model_validate({"name": "db", "type": "postgres", "dsn_env": "X"})

    with pytest.raises(ConfigError, match=r"pip install 'recsys-assets\[postgres-sink\]'"):
        open_sink(sink, "")


def test_surfaces_are_asked_for_by_one_connection(
    tried: Tried, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys_assets.sinks.delivering import look

    tried.publish(1, 1)
    tried.deliver()
    other = Shop(shop.root, shop.time, name="cart")
    connect, calls = psycopg.connect, list[str]()

    def counted(dsn: str, **more: Any) -> Any:
        calls.append(dsn)
        return connect(dsn, **more)

    monkeypatch.setattr(psycopg, "connect", counted)
    another = tried.config.model_copy(update={"name": "other", "grace_minutes": 5})

    targets = [(shop.surface, tried.config), (other.surface, another)]
    found = {target[0].name: held for target, held in look(targets, "")}

    assert found == {"demo/home": tried.held, "demo/cart": None}
    assert len(calls) == 2, "one for both, and one to compare"
