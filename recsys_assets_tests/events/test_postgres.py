"""Days from a table of Postgres, on a real server: which rows, what they become, what is told."""

from __future__ import annotations

import json
import traceback
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from recsys_assets.config import Surface
from recsys_assets.errors import (
    ConfigError,
    RawEventsError,
    RecsysAssetsError,
    SourceUnavailableError,
)
from recsys_assets.events.days import ParsedDay, parse_day
from recsys_assets.events.sources import open_source, postgres_session
from recsys_assets.events.sources import postgres as of_postgres
from recsys_assets.events.sources.postgres import Postgres
from recsys_assets.events.sources.postgres_session import open_session
from recsys_assets.events.sources.postgres_sql import Statements
from recsys_assets.kinds import KINDS
from recsys_assets.live.trace import trace
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.config.files import UNTOLD
from recsys_assets_tests.events.conftest import rejected
from recsys_assets_tests.postgres import Database
from recsys_assets_tests.shop import make_day
from recsys_assets_tests.test_docs import example

DAY: Final = date(2026, 1, 1)
NEXT: Final = DAY + timedelta(days=1)
NOON: Final = "2026-01-01 12:00:00+00"
EVENTS: Final = (
    "create table events (id bigserial, ts timestamptz, session_id text, item_id text, kind text)"
)


@pytest.fixture
def shop(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Give a database whose address, with a password, is in $SHOP_DSN."""
    monkeypatch.setattr(of_postgres, "_looks", {})
    monkeypatch.setattr(of_postgres, "_LONG_S", 1000.0)  # looks are not kept on a busy machine
    monkeypatch.setenv("SHOP_DSN", replace(database, password=UNTOLD).url)
    return database


def surface(**source: Any) -> Surface:
    keys: dict[str, Any] = {
        "type": "postgres",
        "dsn_env": "SHOP_DSN",
        "time_column": "ts",
        **({} if "query" in source else {"table": "events"}),
        **source,
    }
    return Surface.model_validate(
        {
            "tenant": "acme",
            "surface": "home",
            "start_date": date(2025, 12, 30),
            "end_date": date(2026, 1, 10),
            "source": keys,
            "artifacts": {kind: {} for kind in KINDS if KINDS[kind].reads == "events"},
            "guardrails": {
                "max_outside_window_share": 1.0,
                "max_rejected_share": 1.0,
                "max_rejected_bytes_share": 1.0,
            },
        }
    )


def source(**keys: Any) -> Postgres:
    found = open_source(surface(**keys))
    assert isinstance(found, Postgres)
    return found


def parse(folder: Path, day: date = DAY, **keys: Any) -> ParsedDay:
    scratch = folder / str(len([*folder.iterdir()]))
    scratch.mkdir()
    return parse_day(surface(**keys), day, scratch=scratch)


def column(parsed: ParsedDay, name: str = "item_id") -> list[Any]:
    return parsed.frame.select(name).collect().to_series().to_list()


def insert(database: Database, *items: str, at: str = NOON) -> None:
    values = ", ".join(f"('{at}', 's', '{item}')" for item in items)
    database.run(f"insert into events (ts, session_id, item_id) values {values}")


# Which rows are of a day


TIMES: Final = {
    "timestamptz": ("timestamptz", "{}", {}),
    "timestamp": ("timestamp", "{} at time zone 'America/Los_Angeles'", {}),
    "date": ("date", "({} at time zone 'UTC')::date", {"time_zone": "UTC"}),
    "int8": ("int8", "extract(epoch from {}) * 1000", {"columns": "ms"}),
    "int4": ("int4", "extract(epoch from {})", {"columns": "s"}),
    "float8": ("float8", "extract(epoch from {})", {"columns": "s"}),
    "numeric": ("numeric(20, 0)", "extract(epoch from {}) * 1000000", {"columns": "us"}),
}


def keys_of(kind: str) -> dict[str, Any]:
    of, _, more = TIMES[kind]
    ts = {"from": "ts", "unit": more["columns"]} if "columns" in more else "ts"
    zone = "America/Los_Angeles" if of == "timestamp" else more.get("time_zone")
    return {
        "columns": {"ts": ts, "session_id": "session_id", "item_id": "item_id"},
        **({"time_zone": zone} if zone else {}),
    }


def fill_times(shop: Database, kind: str) -> None:
    of, value, _ = TIMES[kind]
    moments = [f"2026-01-0{day} {at}Z" for day in (1, 2) for at in ("00:00", "12:00", "23:59:59")]
    shop.run(f"create table events (ts {of}, session_id text, item_id text)")
    shop.run(
        *(
            f"insert into events select {value.format(f'timestamptz {moment!r}')}, 's', '{moment}'"
            for moment in moments
        )
    )


@pytest.mark.parametrize("kind", TIMES)
def test_rows_are_found_by_a_time_of_any_type(tmp_path: Path, shop: Database, kind: str) -> None:
    fill_times(shop, kind)
    for day in (DAY, NEXT):
        parsed = parse(tmp_path, day, **keys_of(kind))
        assert [item[:10] for item in column(parsed)] == [str(day)] * 3
        assert (parsed.lines, parsed.outside_window) == (3, 0)
    found = source(**keys_of(kind)).landed()
    assert sorted(found) == [DAY, NEXT]


@pytest.mark.parametrize("kind", TIMES)
def test_an_index_on_the_time_serves(shop: Database, kind: str) -> None:
    fill_times(shop, kind)
    shop.run(
        "insert into events select ts, session_id, item_id from events, generate_series(1, 2000)",
        "create index times on events (ts)",
        "analyze events",
        "create function plan(text) returns setof text language plpgsql as "
        "$$ begin return query execute 'explain ' || $1; end $$",
    )
    days = [date(2026, 1, 5)]  # which has none
    statements = Statements(
        surface(**keys_of(kind)).source,
        {"ts": TIMES[kind][0].split("(")[0], "session_id": "text"},
        ["ts", "session_id"],
        as_lines=False,
    )
    for statement in (statements.rows(days[0]), statements.any(days[0]), statements.states(days)):
        plan = shop.one(f"select string_agg(plan, ' ') from plan($p${statement}$p$)")
        assert "times" in plan, plan


def test_an_hour_that_is_there_twice_is_read_on_one_day_only(
    tmp_path: Path, shop: Database
) -> None:
    """In the Azores, clocks go back at one in the morning UTC, an hour after midnight there."""
    shop.run("create table events (ts timestamp, session_id text, item_id text)")
    items = [f"2026-10-2{day} {hour:02}:30" for day in (4, 5) for hour in range(24)]
    shop.run("insert into events values " + ", ".join(f"('{of}', 's', '{of}')" for of in items))
    lines = [
        parse_day(
            surface(time_zone="Atlantic/Azores").model_copy(update={"end_date": None}),
            date(2026, 10, day),
            scratch=tmp_path,
        )
        for day in (23, 24, 25, 26)
    ]
    assert sum(parsed.lines for parsed in lines) == len(items)
    assert sum(parsed.events for parsed in lines) == len(items) - 1
    assert sum(parsed.outside_window for parsed in lines) == 0


@pytest.mark.parametrize(
    ("of", "keys", "says"),
    [
        ("timestamp", {}, "Say in source.time_zone which one is meant"),
        ("int8", {}, "Say what they count since 1970"),
        ("text", {}, "is text, and days are found by a timestamp, a date or a number"),
    ],
)
def test_a_time_that_says_too_little_is_refused(
    shop: Database, of: str, keys: dict[str, Any], says: str
) -> None:
    shop.run(f"create table events (ts {of}, session_id text, item_id text)")
    with pytest.raises(RawEventsError, match=says):
        source(**keys).inputs(DAY)


# In which order


def test_rows_are_numbered_in_the_order_that_is_said(tmp_path: Path, shop: Database) -> None:
    shop.run(EVENTS)
    insert(shop, "c", at="2026-01-01 03:00Z")
    insert(shop, "x", at="2025-12-31 03:00Z")
    insert(shop, "b", "a", at="2026-01-01 02:00Z")

    by_id = parse(tmp_path, order_by=["id"])
    by_time = parse(tmp_path)

    assert (column(by_id), column(by_id, "line")) == (["c", "b", "a"], [1, 2, 3])
    assert (column(by_time), column(by_time, "line")) == (["a", "b", "c"], [1, 2, 3])
    assert by_id.fingerprint != by_time.fingerprint
    assert by_id.files[0].name == "events 2026-01-01"


def test_the_order_is_total_whatever_it_is_said_to_be(tmp_path: Path, shop: Database) -> None:
    """Rows lie elsewhere after each update, and a scan would find them in another order."""
    shop.run(EVENTS.replace("kind text", "kind json"))
    insert(shop, *(f"i{number % 17}" for number in range(500)))
    found = []
    for _ in range(3):
        shop.run("update events set id = id where random() < 0.5")
        parsed = parse(
            tmp_path,
            order_by=["session_id"],
            columns={"ts": "ts", "session_id": "session_id", "item_id": "item_id"},
        )
        found.append((column(parsed), parsed.fingerprint))
    assert found[0] == found[1] == found[2]
    assert found[0][0] == sorted(found[0][0])


# What values become


@pytest.mark.parametrize(
    ("value", "item"),
    [
        ("'tea'::text", "tea"),
        ("' tea '::varchar(9)", "tea"),
        ("'tea'::char(9)", "tea"),
        ("7::int2", "7"),
        ("9223372036854775807::int8", "9223372036854775807"),
        ("12345678901234567890::numeric(20, 0)", "12345678901234567890"),
        ("7.00::numeric", "7"),
        ("7.50::numeric(9, 4)", "7.5"),
        ("'0f8fad5b-d9cb-469f-a165-70867728950e'::uuid", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("'buy'::kind", "buy"),
        ("7::small", "7"),
        ("'10.0.0.0/8'::cidr", "10.0.0.0/8"),
        ("'\"tea\"'::jsonb", "tea"),
        ("'7'::json", "7"),
        ("'ü\n\"'::text", 'ü\n"'),
        ("null::text", "missing_id"),
        ("' '::text", "missing_id"),
        ("7.5::float8", "wrong_type"),
        ("true", "wrong_type"),
        ("now()", "wrong_type"),
        ("'infinity'::timestamptz", "wrong_type"),
        ("'infinity'::date", "wrong_type"),
        ("array['tea']", "wrong_type"),
        ("'{\"a\": 1}'::jsonb", "wrong_type"),
    ],
)
def test_a_value_becomes_an_id_or_is_refused(
    tmp_path: Path, shop: Database, value: str, item: str
) -> None:
    shop.run(
        "create type kind as enum ('view', 'buy')",
        "create domain small as int2",
        f"create table events as select '{NOON}'::timestamptz as ts, 's' as session_id, "
        f"{value} as item_id",
    )
    parsed = parse(tmp_path)
    if item in {"missing_id", "wrong_type"}:
        assert [(entry["line"], entry["reason"]) for entry in rejected(parsed)] == [(1, item)]
        assert rejected(parsed)[0]["file"] == "events 2026-01-01"
    else:
        assert (column(parsed), parsed.refused) == ([item], {})


@pytest.mark.parametrize(
    ("value", "keys", "items"),
    [
        ("jsonb_build_object('item', jsonb_build_object('id', 'tea'))", {}, ["tea"]),
        ("'{\"item\":\n {\"id\": \"tea\"}}'::json", {}, ["tea"]),
        ("row(row('tea')::inner_of)::outer_of", {}, ["tea"]),
        (
            "'[{\"id\": \"tea\"}, null, {\"id\": \"cup\"}]'::jsonb",
            {"explode": "of", "item": "item.id"},
            ["tea", "cup"],
        ),
        ("array['tea', 'cup']", {"explode": "of", "item": "item"}, ["tea", "cup"]),
        ("'tea cup'::text", {"explode": {"from": "of", "split": " "}, "item": "item"},
         ["tea", "cup"]),
        (
            "'[{\"key\": \"sku\", \"value\": 7}]'::jsonb",
            {"item": "of[sku]"},
            ["7"],
        ),
    ],
)  # fmt: skip
def test_the_mapping_goes_into_a_value(
    tmp_path: Path, shop: Database, value: str, keys: dict[str, Any], items: list[str]
) -> None:
    shop.run(
        "create type inner_of as (id text)",
        "create type outer_of as (item inner_of)",
        f"create table events as select '{NOON}'::timestamptz as ts, 's' as session_id, "
        f"{value} as of",
    )
    of = {"ts": "ts", "session_id": "session_id", "item_id": keys.pop("item", "of.item.id")}
    parsed = parse(tmp_path, columns=of, **keys)
    assert (column(parsed), parsed.refused) == (items, {})
    assert set(column(parsed, "line")) == {1}


@pytest.mark.parametrize("of", ["date", "timestamp", "timestamptz"])
def test_times_are_the_same_beside_a_value_that_is_gone_into(
    tmp_path: Path, shop: Database, of: str
) -> None:
    shop.run(
        f"create table events as select '{NOON}'::timestamptz::{of} as ts, 's' as session_id, "
        "'{\"id\": \"tea\"}'::jsonb as of, 'tea' as plain"
    )
    found = [
        column(
            parse(
                tmp_path,
                time_zone="UTC",
                columns={"ts": "ts", "session_id": "session_id", "item_id": item},
            ),
            "ts",
        )
        for item in ("of.id", "plain")
    ]
    hour = 0 if of == "date" else 12
    assert found[0] == found[1] == [datetime(2026, 1, 1, hour, tzinfo=UTC)]


@pytest.mark.parametrize("name", ['we"ird; drop', "Groß", "a b", "select", "x'y"])
def test_names_are_what_they_are(tmp_path: Path, shop: Database, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    shop.run(
        f"create schema {quoted}",
        f"create table {quoted}.{quoted} as select '{NOON}'::timestamptz as {quoted}, "
        "'s' as session_id, '{\"id\": \"tea\"}'::jsonb as of",
    )
    for item in ("of.id", "session_id"):
        of = {"ts": name, "session_id": "session_id", "item_id": item}
        keys: dict[str, Any] = {"table": f"{name}.{name}", "time_column": name, "order_by": [name]}
        assert parse(tmp_path, columns=of, **keys).events == 1
    assert [*source(columns=of, **keys).landed()] == [DAY]


def test_refused_rows_are_kept_with_their_number(tmp_path: Path, shop: Database) -> None:
    shop.run(EVENTS)
    insert(shop, "a", "", "b", " ")
    parsed = parse(tmp_path, order_by=["id"])
    assert column(parsed, "line") == [1, 3]
    assert [(entry["line"], entry["reason"]) for entry in rejected(parsed)] == [
        (2, "missing_id"),
        (4, "missing_id"),
    ]
    assert json.loads(rejected(parsed)[0]["raw"])["item_id"] == ""


# One snapshot, in batches


def test_rows_come_in_batches_whose_numbers_go_on(
    tmp_path: Path, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_session, "_BATCH_BYTES", 10_000)
    shop.run(EVENTS)
    shop.run(
        "insert into events (ts, session_id, item_id, kind) select "
        f"'{NOON}', 's', 'i' || n, case when n % 7 > 0 then 'view' end "
        "from generate_series(1, 5000) n"
    )
    with source(order_by=["id"]).open("events 2026-01-01", [DAY]) as reading:
        sizes = [piece.batch.num_rows for piece in reading.pieces()]
    assert len(sizes) > 10
    parsed = parse(tmp_path, order_by=["id"], where={"kind": "view"})
    assert column(parsed) == [f"i{line}" for line in column(parsed, "line")]
    assert (parsed.events, parsed.left_out) == (4286, 714)


def test_a_day_is_one_snapshot(shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_session, "_BATCH_BYTES", 10_000)
    shop.run(EVENTS)
    insert(shop, *map(str, range(1000)))
    of = source()
    ((landed,),) = of.landed().values()

    with of.open("events 2026-01-01", [DAY]) as reading:
        pieces = iter(reading.pieces())
        rows = next(pieces).batch.num_rows
        insert(shop, *(["late"] * 1000))
        shop.run("delete from events where item_id < '5'")
        rows += sum(piece.batch.num_rows for piece in pieces)
    ((after,),) = of.landed().values()

    assert rows == 1000
    assert of.is_still(reading.seen(), landed, read_at=datetime.now(UTC))
    assert not of.is_still(reading.seen(), after, read_at=datetime.now(UTC))


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        ("update events set item_id = 'z' where item_id = 'a'", True),
        ("insert into events (ts, session_id, item_id) select ts, session_id, item_id from events "
         "limit 1", True),
        ("delete from events where item_id = 'a'", True),
        ("update events set ts = ts + interval '1 us' where item_id = 'a'", True),
        ("update events set kind = 'x'", False),
        ("alter table events add column more text default 'x'", False),
        ("insert into events (ts, session_id, item_id) values ('2026-01-02 00:00Z', 's', 'a')",
         False),
    ],
)  # fmt: skip
def test_a_day_is_another_when_a_row_of_it_is(
    shop: Database, statement: str, changes: bool
) -> None:
    shop.run(EVENTS)
    insert(shop, "a", "b")
    of = source()
    before = of.landed()[DAY][0]
    shop.run(statement)
    after = of.landed()[DAY][0]
    assert (of.content(before) != of.content(after)) == changes


def test_settings_of_a_user_do_not_change_a_state(
    shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run(EVENTS)
    insert(shop, "a")
    before = source().landed()[DAY][0].tag
    shop.run(
        "create role tokyo login superuser",
        "alter role tokyo set timezone to 'Asia/Tokyo'",
        "alter role tokyo set datestyle to 'German'",
    )
    tokyo = replace(shop, user="tokyo")
    assert tokyo.one("select now()::text like '%.20%'"), "this user has no other settings"
    monkeypatch.setenv("SHOP_DSN", tokyo.url)
    assert source().landed()[DAY][0].tag == before


# What has landed


def test_the_newest_days_with_rows_are_looked_at(shop: Database) -> None:
    shop.run(EVENTS)
    for number in range(1, 9):
        insert(shop, "a", at=f"2026-01-0{number} 12:00Z")
    insert(shop, "a", at="2026-01-20 12:00Z")  # after the end
    of = source(landing={"lookback_days": 3})
    assert sorted(of.landed()) == [date(2026, 1, number) for number in (6, 7, 8)]
    assert len(source().landed()) == 7
    shop.run("delete from events where ts < '2026-01-20'")
    assert of.landed() == {}


def test_a_look_that_takes_long_is_kept_for_a_while(
    shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run(EVENTS)
    insert(shop, "a")
    monkeypatch.setattr(of_postgres, "_LONG_S", 0.0)
    monkeypatch.setattr(of_postgres, "_KEPT_TIMES", 10_000)
    first = source().landed()
    insert(shop, "b")
    assert source().landed() == first
    assert source(landing={"lookback_days": 1}).landed() != first
    monkeypatch.setattr(of_postgres, "_looks", {})
    assert source().landed() != first


def test_what_a_person_asks_of_an_input(shop: Database) -> None:
    shop.run(EVENTS)
    insert(shop, "a")
    of = source()
    (name,) = of.inputs(DAY)
    assert (name, of.inputs(NEXT)) == ("events 2026-01-01", [])
    assert of.label(name) == "events 2026-01-01 in $SHOP_DSN"
    assert of.size_bytes(name) == of.landed()[DAY][0].size_bytes
    assert of.size_bytes("events 2026-01-02") is None
    assert of.size_bytes("exposure.2026-01-01.jsonl") is None
    assert of.size_bytes("others 2026-01-01") is None
    assert of.is_complete(DAY) is None


def test_a_trace_leads_to_the_rows_as_they_are_now(tmp_path: Path, shop: Database) -> None:
    shop.run(EVENTS)
    insert(shop, "a", "b")
    of, store = surface(), LocalStore(tmp_path)
    make_day(store, of, DAY)
    found = []
    for statement in ("select 1", "delete from events where item_id = 'a'", "drop table events"):
        shop.run(statement)
        ((file,),) = [day.files for day in trace(store, of, "popularity").days]
        found.append((file.file.name, file.now))
    assert found == [("events 2026-01-01", now) for now in ("there", "size differs", "missing")]


# A query in place of a table


@pytest.mark.parametrize(
    "query",
    [
        "select id, ts, session_id, item_id from events where kind is null",
        "select * from events -- all of it",
        "select * /* ; */ from events where item_id <> ';' or true",
        "with x as (select * from events) select * from x",
        "(select * from events) union all (select * from events where false)",
    ],
)
def test_a_query_is_read_as_a_table(tmp_path: Path, shop: Database, query: str) -> None:
    shop.run(EVENTS)
    insert(shop, "a", "b")
    insert(shop, "c", at="2026-01-02 12:00Z")
    parsed = parse(tmp_path, query=query, order_by=["id"])
    assert (column(parsed), parsed.files[0].name) == (["a", "b"], "query 2026-01-01")


@pytest.mark.parametrize(
    "query",
    [
        "delete from events returning *",
        "with x as (delete from events returning *) select * from x",
        "select *, empty() from events",
        "select * from events) as x, (select 1",
        "select",
    ],
)
def test_a_query_that_is_no_select_or_writes_is_refused(shop: Database, query: str) -> None:
    shop.run(EVENTS)
    insert(shop, "a")
    shop.run(
        "create function empty() returns int language plpgsql volatile as "
        "$$ begin delete from events; return 1; end $$"
    )
    with pytest.raises(RawEventsError, match=r"^source.query in \$SHOP_DSN: "):
        source(query=query).landed()
    assert shop.one("select count(*) from events") == 1


# What is told


@pytest.fixture
def stranger(shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.run(EVENTS, "create role stranger login", f"grant usage on schema {shop.schema} to public")
    monkeypatch.setenv("SHOP_DSN", replace(shop, user="stranger", password=UNTOLD).url)


@pytest.mark.usefixtures("stranger")
def test_a_table_that_may_not_be_read_is_told() -> None:
    with pytest.raises(RawEventsError, match=r"permission denied for table events. Let this user"):
        source().inputs(DAY)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"table": "nothing"}, 'relation "nothing" does not exist. Is the table called so'),
        ({"table": "no.events"}, 'relation "no.events" does not exist. Is the table called so'),
        ({"time_column": "at"}, "no field 'at': there are id, item_id, kind, session_id, ts. Say "
         "in source.time_column"),
        ({"order_by": ["no"]}, "no field 'no': there are .*. Say in source.order_by"),
        ({"columns": {"ts": "ts", "session_id": "s", "item_id": "i"}},
         "no field '[is]': there are .*. Say in source.columns"),
        ({"query": "select * from events where kind"}, "argument of WHERE must be type boolean"),
        ({"query": "selekt"}, "syntax error .*. source.query must be one select"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_what_to_do(
    shop: Database, keys: dict[str, Any], says: str
) -> None:
    shop.run(EVENTS)
    with pytest.raises(RawEventsError, match=says) as error:
        source(**keys).inputs(DAY)
    assert "\n" not in str(error.value)
    assert "Query was" not in "".join(traceback.format_exception(error.value))


def test_a_statement_that_takes_too_long_is_ended(
    shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_postgres, "_LOOKING_S", 1)
    shop.run(EVENTS)
    insert(shop, "a")
    with pytest.raises(RawEventsError, match=r"statement timeout \(1 s\). Is there an index on"):
        source(query="select *, pg_sleep(60) from events").inputs(DAY)


def test_a_run_may_take_longer_than_the_server_can_count(tmp_path: Path, shop: Database) -> None:
    shop.run(EVENTS)
    insert(shop, "a")
    of = surface().model_copy(update={"max_run_minutes": 10**6})
    assert parse_day(of, DAY, scratch=tmp_path).events == 1


def test_a_connection_that_breaks_while_rows_come_is_told(
    tmp_path: Path, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_session, "_BATCH_BYTES", 10_000)
    shop.run(EVENTS)
    shop.run(
        f"insert into events (ts, session_id, item_id) select '{NOON}', 's', repeat('x', 1000) "
        "from generate_series(1, 20000)"
    )
    with source().open("events 2026-01-01", [DAY]) as reading:
        pieces = iter(reading.pieces())
        next(pieces)
        shop.run(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'recsys-assets'"
        )
        with pytest.raises(SourceUnavailableError, match="the connection to the database broke"):
            list(pieces)


@pytest.mark.parametrize(
    "told",
    [
        "[libpq] Execution error [PGRES_FATAL_ERROR]: FATAL:  terminating connection due to "
        "administrator command\n",
        "[libpq] server closed the connection unexpectedly\n",
    ],
)
def test_a_connection_that_broke_is_told_however_the_driver_heard_of_it(
    shop: Database, told: str
) -> None:
    """Which of these comes depends on whether the last message came before the end of the line."""
    with (
        pytest.raises(SourceUnavailableError, match="the connection to the database broke"),
        open_session("SHOP_DSN", "table 'events'", timeout_s=60),
    ):
        raise OSError(told)


@pytest.mark.parametrize(
    ("dsn", "error", "says"),
    [
        ("", ConfigError, r"\$SHOP_DSN is not set: table 'events' in \$SHOP_DSN takes the address"),
        (f"postgresql+psycopg2://u:{UNTOLD}@h/x", ConfigError, "must begin with postgresql://"),
        (f"postgresql://u:{UNTOLD}@127.0.0.1:1/x", SourceUnavailableError, "nothing answers there"),
        (f"host=127.0.0.1 port=1 password={UNTOLD}", SourceUnavailableError, "nothing answers"),
        (f"postgresql://u:{UNTOLD}@{UNTOLD}.invalid/x", SourceUnavailableError, "name of the host"),
        (f"postgresql://{UNTOLD}@127.0.0.1:PORT/postgres", SourceUnavailableError, "no such data"),
        (f"postgresql://dagster@127.0.0.1:PORT/{UNTOLD}", SourceUnavailableError, "no such data"),
        (f"{UNTOLD}", SourceUnavailableError, "it is no address"),
        (f"postgresql://u:{UNTOLD}%zz@h/x", SourceUnavailableError, "cannot be connected to"),
        (f'postgresql://u:"{UNTOLD}" "x@h/x?{UNTOLD}=1', SourceUnavailableError, "cannot be used"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_told_and_not_shown(
    tmp_path: Path,
    shop: Database,
    monkeypatch: pytest.MonkeyPatch,
    dsn: str,
    error: type[RecsysAssetsError],
    says: str,
) -> None:
    monkeypatch.setenv("SHOP_DSN", dsn.replace("PORT", str(shop.port)))
    with pytest.raises(error, match=says) as found:
        source().inputs(DAY)
    assert UNTOLD not in "".join(traceback.format_exception(found.value))
    assert found.value.__context__ is None
    assert "$SHOP_DSN" in str(found.value)


def test_without_the_driver_it_is_said_what_to_install(
    shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "adbc_driver_postgresql", None)
    with pytest.raises(ConfigError, match=r"pip install 'recsys-assets\[postgres-source\]'"):
        source().inputs(DAY)


def test_a_secret_is_in_nothing_that_is_kept(tmp_path: Path, shop: Database) -> None:
    shop.run(EVENTS)
    insert(shop, "a", "")
    parsed = parse(tmp_path)
    of = source()
    texts = [
        str(parsed),
        str(of.identity),
        of.description,
        str(of.shown),
        of.wanted(DAY),
        str(of.landed()),
        surface().model_dump_json(),
        str(of_postgres._looks),
    ]
    texts += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert [text for text in texts if UNTOLD in text] == []


def test_the_page_is_followed(tmp_path: Path, shop: Database) -> None:
    name = "read-from-postgres.md"
    shop.run(*(of for of in example(name, "table: exposures").split(";\n") if of.strip()))
    parsed = parse(tmp_path, **yaml.safe_load(example(name, "entry: exposures"))["source"])

    rows = parsed.frame.select("item_id", "user_id", "session_id").collect().rows()
    becomes = example(name, "becomes: exposures")
    assert [list(row) for row in rows] == [line.split() for line in becomes.splitlines()]
    assert (parsed.lines, parsed.left_out) == (3, 1)
    assert parsed.files[0].name == "shop.exposures 2026-01-01"
