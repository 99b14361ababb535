"""Columns of others become canonical events: what each key of a mapping takes, and refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

import polars as pl
import pytest
from pydantic import ValidationError

from recsys_assets.config.sources import Source, packaged_mappings
from recsys_assets.events.fields import LINE, UnknownFieldError, expression, value_of
from recsys_assets.events.parsed import ParsedChunk
from recsys_assets.events.rows import map_frame
from recsys_assets.events.sources.mapped import rules_of
from recsys_assets.places import Place

DAY: Final = date(2026, 1, 1)
NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
COLUMNS: Final = {"ts": "t", "session_id": "s", "item_id": "i"}


def source(**keys: Any) -> Source:
    columns = COLUMNS | keys.pop("columns", {})
    return Source.model_validate({"path": "raw", "columns": columns, **keys})


def mapped(frame: pl.DataFrame, of: Source) -> ParsedChunk:
    numbered = frame.with_row_index(LINE, 1).with_columns(pl.col(LINE).cast(pl.Int64))
    return map_frame(numbered, rules_of(of), place=Place("acme", "home"), day=DAY)


def row(**fields: Any) -> pl.DataFrame:
    """Return one row whose event is kept, with some of its fields otherwise."""
    return pl.DataFrame(
        {"t": [NOON], "s": ["s1"], "i": ["i1"]} | {k: [v] for k, v in fields.items()}
    )


def only(parsed: ParsedChunk) -> dict[str, Any]:
    """Return the one event of the one row."""
    assert parsed.refused == []
    return parsed.events.row(0, named=True)


def reason(parsed: ParsedChunk) -> tuple[str, str]:
    """Return why the one row is refused."""
    (line,) = parsed.refused
    assert parsed.events.is_empty()
    return line.reason, line.detail


# When


KOLKATA: Final = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("keys", "value", "ns"),
    [
        ({}, "2026-01-01T12:00:00Z", 0),
        ({}, "2026-01-01T12:00:00.123456789Z", 123_456_789),
        ({}, "2026-01-01 12:00:00+00", 0),
        ({}, "2026-01-01 12:00:00 UTC", 0),
        ({}, "2026-01-01 12:00:00.5 UTC", 500_000_000),
        ({}, "2026-01-01T17:30:00+0530", 0),
        ({}, "2026-01-01T17:30:00.25+05:30", 250_000_000),
        ({}, " 2026-01-01T12:00:00Z ", 0),
        ({}, "2026-01-01T12:00Z", 0),
        ({}, "2026-01-01 12:00:00,5Z", 500_000_000),
        ({"time_zone": "UTC"}, "2026-01-01 12:00:00", 0),
        ({"time_zone": "UTC"}, "2026-01-01T12:00:00.5", 500_000_000),
        ({"time_zone": "America/Los_Angeles"}, "2026-01-01 04:00:00", 0),
        ({"time_zone": "America/Los_Angeles"}, "2026-01-01 12:00:00Z", 0),
        ({"format": "%d/%m/%Y %H:%M:%S", "time_zone": "UTC"}, "01/01/2026 12:00:00", 0),
        ({"format": "%m/%d/%Y %I:%M:%S %p", "time_zone": "UTC"}, "1/1/2026 12:00:00 PM", 0),
        ({"format": "%Y%m%d%H%M%S%z"}, "20260101130000+0100", 0),
        ({"format": "%Y%m%d%H%M%S%#z"}, "20260101130000+01", 0),
        (
            {"format": "%d.%m.%Y %H:%M:%S%.f", "time_zone": "UTC"},
            "01.01.2026 12:00:00.5",
            5 * 10**8,
        ),
        ({"format": "%Y-%m-%d %H", "time_zone": "UTC"}, "2026-01-01 12", 0),
        ({"format": "%I %p %d/%m/%y", "time_zone": "UTC"}, "12 PM 1/1/26", 0),
        ({"time_zone": "Etc/GMT+12"}, "2026-01-01", 0),
        ({"unit": "s"}, Decimal("1767268800.250"), 250_000_000),
        ({"unit": "s"}, 1767268800, 0),
        ({"unit": "s"}, 1767268800.25, 250_000_000),
        ({"unit": "ms"}, 1767268800123, 123_000_000),
        ({"unit": "us"}, 1767268800123456, 123_456_000),
        ({"unit": "ns"}, 1767268800123456789, 123_456_789),
        ({"unit": "s"}, "1767268800", 0),
        ({"unit": "s"}, " 1767268800.5 ", 500_000_000),
        ({"unit": "ms"}, "1767268800123", 123_000_000),
        ({"unit": "s"}, Decimal(1767268800), 0),
        ({}, NOON, 0),
        ({}, NOON.astimezone(KOLKATA), 0),
        ({"time_zone": "Asia/Kolkata"}, datetime(2026, 1, 1, 17, 30), 0),
    ],
)
def test_a_moment_is_read_as_it_is_written(keys: dict[str, str], value: Any, ns: int) -> None:
    found = mapped(row(t=value), source(columns={"ts": {"from": "t", **keys}}))

    assert only(found)["ts"] == NOON + timedelta(microseconds=ns // 1000)
    assert found.events["ts"].cast(pl.Int64).item() % 10**9 == ns


def test_a_date_alone_begins_at_midnight_in_its_zone() -> None:
    of = source(columns={"ts": {"from": "t", "time_zone": "Etc/GMT-2"}})
    found = mapped(row(t=date(2026, 1, 1)), of)
    assert (found.outside_window, found.refused) == (1, [])  # 22:00 of the day before


@pytest.mark.parametrize(
    ("keys", "value", "says"),
    [
        ({}, "2026-01-01 12:00:00", "no `time_zone` is set"),
        ({}, datetime(2026, 1, 1), "no `time_zone` is set"),
        ({}, "2026-01-01", "no `time_zone` is set"),
        ({}, "yesterday", "t is 'yesterday'"),
        ({}, "2026-02-30T12:00:00Z", "not a time in ISO 8601"),
        ({}, None, "t is not there"),
        ({}, "", "t is ''"),
        ({}, 1767268800, "t is 1767268800"),
        ({}, 1.5, "t is 1.5"),
        ({}, True, "t is True"),
        ({"unit": "s"}, "12:00", "no number of s since 1970"),
        ({"unit": "s"}, "1.2e9", "no number of s since 1970"),
        ({"unit": "s"}, float("nan"), "no number of s since 1970"),
        ({"format": "%d/%m/%Y", "time_zone": "UTC"}, "1.1.2026", "the format '%d/%m/%Y'"),
        ({"time_zone": "Europe/Berlin"}, "2026-10-25 02:30:00", "exists once in Europe/Berlin"),
        ({"time_zone": "Europe/Berlin"}, "2026-03-29 02:30:00", "exists once in Europe/Berlin"),
    ],
)
def test_what_is_no_moment_is_refused(keys: dict[str, str], value: Any, says: str) -> None:
    why, detail = reason(mapped(row(t=value), source(columns={"ts": {"from": "t", **keys}})))

    assert why == "bad_timestamp"
    assert says in detail


@pytest.mark.parametrize("value", [-(2**63), 2**63 - 1, -1, 0, 10**17])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_moment_of_another_age_is_outside_of_the_day(value: int, unit: str) -> None:
    for written in (value, str(value)[:18]):
        found = mapped(row(t=written), source(columns={"ts": {"from": "t", "unit": unit}}))
        assert (found.outside_window, found.refused) == (1, [])


def test_a_moment_may_be_a_date_and_a_time_or_the_first_that_is_set() -> None:
    apart = source(columns={"ts": {"from": ["d", "t"], "join": " ", "time_zone": "UTC"}})
    assert only(mapped(row(d="2026-01-01", t="12:00:00"), apart))["ts"] == NOON

    for day, hour in ((DAY, NOON.time()), (DAY, "12:00:00"), ("2026-01-01", NOON.time())):
        assert only(mapped(row(d=day, t=hour), apart))["ts"] == NOON
    assert reason(mapped(row(d=1.5, t=0.5), apart))[0] == "bad_timestamp"

    first = source(columns={"ts": ["device", "server"]})
    frame = row(device=None, server="2026-01-01T12:00:00Z").cast({"device": pl.String})
    assert only(mapped(frame, first))["ts"] == NOON


def test_the_time_zone_of_the_source_is_that_of_its_times() -> None:
    assert (
        only(mapped(row(t="2026-01-01 04:00:00"), source(time_zone="America/Los_Angeles")))["ts"]
        == NOON
    )


# Who and what


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("i1", "i1"),
        (" i1\u3000", "i1"),
        (7, "7"),
        (-7, "-7"),
        (2**63, "9223372036854775808"),
        (Decimal(12), "12"),
        (b"caf\xc3\xa9", "café"),
    ],
)
def test_an_id_is_a_text_or_an_integer(value: Any, text: str) -> None:
    assert only(mapped(row(i=value), source()))["item_id"] == text


def test_an_id_of_few_values_is_a_text() -> None:
    frame = row().with_columns(pl.col("i").cast(pl.Categorical), pl.col("s").cast(pl.Enum(["s1"])))
    assert only(mapped(frame, source()))["item_id"] == "i1"


@pytest.mark.parametrize(
    "value", [1.5, 1.0, True, NOON, date(2026, 1, 1), Decimal("1.5"), ["i"], {"a": "i"}]
)
def test_an_id_of_another_type_is_refused(value: Any) -> None:
    why, detail = reason(mapped(row(i=value), source()))

    assert why == "wrong_type"
    assert detail.startswith("item_id takes a text or an integer, i is ")


@pytest.mark.parametrize("name", ["s", "i"])
@pytest.mark.parametrize("value", [None, "", " \u00a0"])
def test_a_row_without_an_id_that_is_required_is_refused(name: str, value: str | None) -> None:
    frame = row(**{name: value}).cast({name: pl.String})
    why, detail = reason(mapped(frame, source()))

    assert why == "missing_id"
    assert f"{name} is " in detail


def test_of_several_fields_the_first_that_is_set_is_taken() -> None:
    of = source(columns={"user_id": ["login", "cookie"]})
    for login, user in (("u1", "u1"), (" ", "c1"), (None, "c1")):
        frame = row(login=login, cookie="c1").cast({"login": pl.String})
        assert only(mapped(frame, of))["user_id"] == user


def test_several_fields_are_joined_where_all_are_set() -> None:
    of = source(columns={"session_id": {"from": ["u", "n"], "join": "."}})
    assert only(mapped(row(u="u1", n=3), of))["session_id"] == "u1.3"
    assert reason(mapped(row(u="u1", n=None).cast({"n": pl.Int64}), of))[0] == "missing_id"


def test_a_part_of_a_text_is_extracted() -> None:
    of = source(columns={"item_id": {"from": "i", "extract": "^(.+)-[01]$"}})
    assert only(mapped(row(i="N1-0"), of))["item_id"] == "N1"
    assert reason(mapped(row(i="N1"), of))[0] == "missing_id"


def test_a_column_may_be_the_same_for_every_row() -> None:
    of = source(columns={"user_id": {"value": "one"}, "rank": {"value": "3"}})
    event = only(mapped(row(), of))
    assert (event["user_id"], event["rank"]) == ("one", 3)


def test_rows_of_others_are_counted_where_owners_are_columns() -> None:
    of = source(columns={"tenant": "shop", "surface": "page"})
    frame = pl.concat(
        [row(shop=shop, page=page) for shop in ("acme", "b") for page in ("home", "x")]
    )
    found = mapped(frame, of)
    assert (found.events.height, found.other_surface) == (1, 3)
    assert mapped(frame, source()).events.height == 4


@pytest.mark.parametrize(
    ("first", "value", "rank"),
    [
        (0, 0, 0),
        (1, 1, 0),
        (1, "4", 3),
        (0, 3.0, 3),
        (None, 2, 2),
        (0, None, None),
        (0, float("nan"), None),
        (0, " 5 ", 5),
    ],
)
def test_a_rank_is_counted_from_zero(first: int | None, value: Any, rank: int | None) -> None:
    of = source(columns={"rank": "r"}, **({} if first is None else {"rank_from": first}))
    assert only(mapped(row(r=value), of))["rank"] == rank


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (0, "negative_rank"),
        (1.5, "wrong_type"),
        ("x", "wrong_type"),
        (True, "wrong_type"),
        (2**64 - 1, "wrong_type"),
    ],
)
def test_what_is_no_rank_is_refused(value: Any, why: str) -> None:
    frame = pl.DataFrame({"r": [value]}, schema={"r": pl.UInt64} if value == 2**64 - 1 else None)
    of = source(columns={"rank": "r"}, rank_from=1)
    found = reason(mapped(row().with_columns(frame["r"]), of))
    assert found[0] == why
    assert "r is " in found[1]


# Which rows


@pytest.mark.parametrize(
    ("values", "value", "is_kept"),
    [
        (["view"], "view", True),
        ("view", "view", True),
        (["view"], "buy", False),
        (["view"], None, False),
        ([None], None, True),
        ([1], 1, True),
        ([1], "1", True),
        (["1"], 1, True),
        (["1.0"], "1", False),
        ([1], 1.0, True),
        ([1.5], 1.5, True),
        ([True], True, True),
        (["true"], True, True),
        ([True], 1, False),
        (["x"], 1.5, False),
        ([1], Decimal("1.00"), True),
        (["1.5"], Decimal("1.50"), True),
        ({"matches": "^GET /item/"}, "GET /item/7", True),
        ({"matches": "^GET /item/"}, "GET /cart", False),
        ({"matches": "."}, "", False),
        ({"matches": "."}, None, False),
        ({"matches": "."}, ["x"], False),
        ({"matches": "^[45]"}, 404, True),
        ({"matches": "^x"}, b"xy", True),
        (["view", {"matches": "^buy"}], "buy_now", True),
        (["view", {"matches": "^buy"}], "view", True),
        (["view", {"matches": "^buy"}], "look", False),
        ([1], Decimal("1.01"), False),
        (["view"], b"view", True),
        (["view"], ["view"], False),
    ],
)
def test_rows_of_other_values_are_left_out_and_counted(
    values: Any, value: Any, is_kept: bool
) -> None:
    found = mapped(row(kind=value), source(where={"kind": values}))

    assert (found.events.height, found.left_out, found.lines) == (is_kept, not is_kept, 1)
    assert found.refused == []


def test_a_row_that_is_left_out_is_not_refused_whatever_it_holds() -> None:
    assert mapped(row(kind="buy", i=None, t="x"), source(where={"kind": "view"})).refused == []


def test_a_session_that_is_marked_as_none_is_null() -> None:
    of = source(no_session=["-1", ""], columns={"session_id": {"from": ["u", "s"], "join": "."}})
    for session in ("-1", " ", None):
        frame = row(u="u1", s=session).cast({"s": pl.String})
        assert only(mapped(frame, of))["session_id"] is None
    assert only(mapped(row(u="u1", s="7"), of))["session_id"] == "u1.7"
    assert (
        reason(
            mapped(
                row(u=None, s="7").cast({"u": pl.String}),
                source(no_session=["-1"], columns={"session_id": "u"}),
            )
        )[0]
        == "missing_id"
    )


def test_a_session_is_marked_as_none_by_what_is_extracted() -> None:
    of = source(no_session=["-1"], columns={"session_id": {"from": "s", "extract": "s:(.*)"}})
    assert only(mapped(row(s="s:-1"), of))["session_id"] is None
    assert only(mapped(row(s="s:7"), of))["session_id"] == "7"
    assert reason(mapped(row(s="7"), of))[0] == "missing_id"


def test_an_event_weighs_what_its_kind_says_and_others_one() -> None:
    of = source(weight={"column": "kind", "values": {"buy": 5, 1: 3, 4.5: 4, "true": 7}})
    kinds: list[tuple[Any, int]] = [
        ("buy", 5),
        ("look", 1),
        (" buy ", 5),
        (1, 3),
        ("1", 3),
        (1.0, 3),
        (4.5, 4),
        ("4.5", 4),
        (2.5, 1),
        (Decimal("1.00"), 3),
        (Decimal("4.50"), 4),
        (True, 7),
        (False, 1),
        ([1], 1),
        (float("nan"), 1),
    ]
    for kind, weight in kinds:
        assert only(mapped(row(kind=kind), of))["weight"] == weight
    assert (
        only(mapped(row(kind=1.5), source(weight={"column": "kind", "values": {"a": 2}})))["weight"]
        == 1
    )
    assert only(mapped(row(kind=None).cast({"kind": pl.String}), of))["weight"] == 1


# Which field


NESTED: Final = {
    "a": {"b": 1, "c": {"d": "x"}},
    "params": [
        {"key": "k", "value": {"int": 7, "text": None}},
        {"key": "k", "value": {"int": 8, "text": None}},
        {"key": "m", "value": {"int": None, "text": "t"}},
    ],
    "flat": [{"key": "k", "value": "v"}],
    "dotted.name": "whole",
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("a.b", 1),
        ("a.c.d", "x"),
        ("params[k].int", 7),
        ("params[m].text", "t"),
        ("params[none].int", None),
        ("flat[k]", "v"),
        ("dotted.name", "whole"),
    ],
)
def test_a_field_is_found_in_a_frame_and_in_an_object_alike(field: str, value: Any) -> None:
    frame = pl.DataFrame([NESTED])
    assert frame.select(expression(field, frame.schema).alias("x"))["x"].to_list() == [value]
    assert value_of(NESTED, field) == value


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("z", "there are a, dotted.name, flat, params"),
        ("a.z", "there are b, c"),
        ("a.b.z", "'b' is Int64"),
        ("a[k]", "'a' is no list of entries of key and value"),
    ],
)
def test_a_field_that_is_not_there_is_named_with_those_that_are(field: str, says: str) -> None:
    with pytest.raises(UnknownFieldError, match=says):
        expression(field, pl.DataFrame([NESTED]).schema)
    assert value_of(NESTED, field) is None


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": {"b": "x"}}', "x"),
        ('{"a": {"b": 7, "c": [1]}}', "7"),
        ('{"a": {"b": "\\u00e9 \\""}}', 'é "'),
        ('{"a": {"b": null}}', None),
        ('{"a": {"c": "x"}}', None),
        ('{"a": 5}', None),
        ('["a"]', None),
        ("a: b", None),
        ("", None),
    ],
)
def test_a_text_of_json_has_fields(text: str, value: str | None, *, as_bytes: bool) -> None:
    of = source(columns={"user_id": "p.a.b", "request_id": "p.$q"})
    found = only(mapped(row(p=text.encode() if as_bytes else text), of))
    assert (found["user_id"], found["request_id"]) == (value, None)
    found = value_of({"p": text}, "p.a.b")
    assert (None if found is None else str(found)) == value


def test_a_text_of_no_utf_8_has_no_fields_and_its_neighbours_do() -> None:
    of = source(columns={"item_id": "p.i"})
    found = mapped(pl.concat([row(p=b'{"i":"\xff"}'), row(p=b'{"i":"x"}')]), of)
    assert (found.events["item_id"].to_list(), len(found.refused)) == (["x"], 1)


def test_each_entry_of_a_list_is_an_event_that_is_told_by_its_place() -> None:
    of = source(explode="items", columns={"item_id": "item.id", "rank": "item.at"})
    entries = [{"id": "a", "at": 0}, None, {"id": " ", "at": 1}, {"id": "b", "at": 2}]
    frame = pl.concat([row(items=entries), row(items=[]), row(items=None)], how="vertical_relaxed")
    found = mapped(frame, of)

    assert found.events.select("item_id", "rank", "line", "part").rows() == [
        ("a", 0, 1, 0),
        ("b", 2, 1, 3),
    ]
    assert [(line.line, line.reason, line.detail) for line in found.refused] == [
        (1, "missing_id", "entry 3: item_id is missing or blank: item.id is ' '")
    ]
    assert (found.lines, found.left_out) == (5, 2)


def test_a_list_may_be_a_text_or_hold_texts() -> None:
    split = source(explode={"from": "items", "split": " "}, columns={"item_id": "item"})
    assert mapped(row(items=" a b "), split).events["item_id"].to_list() == ["a", "b"]
    assert mapped(row(items=""), split).left_out == 1
    texts = source(explode="items", columns={"item_id": "item"})
    assert mapped(row(items=["a", "b"]), texts).events["part"].to_list() == [0, 1]
    assert reason(mapped(row(items="a b"), texts)) == (
        "missing_id", "entry 1: item_id is missing or blank: item is ''",
    )  # fmt: skip
    with pytest.raises(UnknownFieldError, match="'items' is Int64, not a list"):
        mapped(row(items=7), texts)


def test_fields_may_be_called_as_columns_of_ours_are() -> None:
    of = source(
        columns={"item_id": "line", "session_id": "part", "user_id": "file", "rank": "item"}
    )
    event = only(mapped(row(line="l", part="p", file="f", item=4), of))
    assert (event["item_id"], event["session_id"], event["user_id"], event["rank"]) == (
        "l",
        "p",
        "f",
        4,
    )
    assert event["line"] == 1


# What is configured


def test_keys_of_the_entry_stand_before_those_of_its_mapping() -> None:
    of = Source.model_validate(
        {
            "path": "raw",
            "mapping": "ga4",
            "columns": {"user_id": "login"},
            "where": {"event_name": "x"},
        }
    )
    assert of.columns is not None
    assert of.columns.user_id is not None
    assert of.columns.user_id.fields == ["login"]
    assert of.columns.item_id.fields == ["item.item_id"]
    assert of.where == {"event_name": ["x"]}


@pytest.mark.parametrize("name", packaged_mappings())
def test_each_packaged_mapping_is_a_source(name: str) -> None:
    of = Source.model_validate({"path": "raw", "mapping": name})
    assert of.is_mapped
    assert rules_of(of).fields


KAFKA: Final = {"brokers_env": "BROKERS", "topic": "exposures"}


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"columns": {"ts": "t", "item_id": "i"}}, "columns.session_id: is required"),
        ({"columns": {**COLUMNS, "user_id": {}}}, "needs either `from` or `value`"),
        ({"columns": {**COLUMNS, "user_id": {"from": "u", "value": "x"}}}, "needs either"),
        ({"columns": {**COLUMNS, "user_id": {"value": "x", "join": "."}}}, "go with `from`"),
        (
            {"columns": {**COLUMNS, "user_id": {"from": "u", "extract": "a"}}},
            "one pair of brackets",
        ),
        ({"columns": {**COLUMNS, "user_id": {"from": "u", "extract": "("}}}, "regular expression"),
        (
            {"columns": {**COLUMNS, "user_id": {"from": "u", "extract": "^(?!NA)(.*)"}}},
            "without look-around",
        ),
        (
            {"columns": {**COLUMNS, "ts": {"from": "t", "format": "%Y%m%d.%f"}}},
            "`%.f` for decimals",
        ),
        ({"columns": {**COLUMNS, "ts": {"from": "t", "format": "%Y%m%d %Z"}}}, "without `%Z`"),
        ({"columns": {**COLUMNS, "ts": {"from": "t", "format": "%H:%M"}}}, "year, month and day"),
        ({"columns": {**COLUMNS, "ts": {"from": "t", "format": "%Y-%Q"}}}, "year, month and day"),
        ({"columns": {**COLUMNS, "ts": {"from": "t", "format": "YYYY-MM-DD"}}}, "such as %Y-%m-%d"),
        ({"where": {"e": {"matches": "("}}}, "regular expression"),
        ({"where": {"e": {"matches": "(?=a)"}}}, "without look-around"),
        ({"columns": {**COLUMNS, "user_id": "a[b"}}, "names with dots between"),
        ({"columns": {**COLUMNS, "user_id": " a"}}, "without white space"),
        ({"columns": {**COLUMNS, "ts": {"from": "t", "time_zone": "Mars"}}}, "must be a time zone"),
        ({"type": "csv", "header": False}, "needs `names`"),
        ({"delimiter": ";"}, "goes with `type: csv`, this is jsonl"),
        ({"time_column": "t"}, "`type: iceberg` or `type: postgres`, this is jsonl"),
        ({"order_by": ["t"]}, "`type: iceberg` or `type: postgres`, this is jsonl"),
        ({"type": "delta", "order_by": [" t"]}, "without white space"),
        ({"type": "delta", "pattern": "{day}"}, "or `type: parquet`, this is delta"),
        ({"type": "iceberg", "follow_links_outside": True}, "`type: parquet`, this is iceberg"),
        ({"type": "delta", "table": "a.b.c"}, "table: goes with `type: iceberg`"),
        ({"type": "iceberg", "table": "a.b.c"}, "table: goes without `path`"),
        ({"type": "delta", "landing": {"success_marker": "{day}"}}, "files, this is `type: delta`"),
        ({"type": "delta", "landing": {"kafka": KAFKA}}, "with `type: jsonl`; this is delta"),
        ({"type": "delta", "columns": {**COLUMNS, "ts": ["a", "b"]}}, "time_column: is required"),
        ({"type": "delta", "columns": {**COLUMNS, "ts": "a.b"}}, "time_column: is required"),
        ({"weight": {"column": "e", "values": {"a": 0}}}, "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(keys: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says.replace("(", r"\(")):
        Source.model_validate({"path": "raw", **keys})


@pytest.mark.parametrize("name", ["events", "shop.events", "lake.shop.", "la ke.shop.events"])
def test_a_table_of_a_catalog_has_three_names_or_more(name: str) -> None:
    with pytest.raises(
        ValidationError, match=r"table: must be CATALOG\.NAMESPACE\.TABLE|must be the"
    ):
        Source.model_validate({"type": "iceberg", "table": name})
    assert Source.model_validate({"type": "iceberg", "table": "lake.a.b.events"}).table


def test_a_table_without_a_place_is_told_as_a_source_without_one() -> None:
    for type_ in ("delta", "iceberg"):
        with pytest.raises(ValidationError, match=r"path\n  Field required"):
            Source.model_validate({"type": type_})


def test_a_refused_row_keeps_the_fields_that_were_read() -> None:
    found = mapped(row(i=None, other="secret").cast({"i": pl.String}), source())
    (line,) = found.refused
    assert json.loads(line.raw) == {"t": str(NOON), "s": "s1", "i": None}
    assert (line.line, line.size_bytes, found.size_bytes) == (1, 1, 1)
