"""Lines of JSON of any shape: the fast reader gives what the walk through each line gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recsys_assets.config.sources import Source
from recsys_assets.events import objects, rows
from recsys_assets.events.chunks import Chunk
from recsys_assets.events.mapping import Rules
from recsys_assets.events.parsed import ParsedChunk
from recsys_assets.events.rows import map_json_lines
from recsys_assets.events.sources.mapped import rules_of
from recsys_assets.places import Place
from recsys_assets_tests.events import test_parse
from recsys_assets_tests.needed import examples

DAY: Final = date(2026, 1, 1)
NOON_US: Final = 1767268800 * 10**6
GA4: Final = rules_of(Source.model_validate({"path": "raw", "mapping": "ga4"}))
FLAT: Final = rules_of(
    Source.model_validate(
        {
            "path": "raw",
            "columns": {
                "ts": {"from": "at.time", "unit": "s"},
                "session_id": {"from": ["user", "visit"], "join": "."},
                "user_id": ["login", "user"],
                "item_id": "item",
                "rank": "at.rank",
            },
            "where": {"kind": ["view", 1]},
            "weight": {"column": "kind", "values": {"1": 4}},
        }
    )
)


def read(data: str | bytes, rules: Rules = GA4, *, first_line: int = 1) -> ParsedChunk:
    raw = data.encode() if isinstance(data, str) else data
    return map_json_lines(Chunk(first_line, raw), rules, place=Place("acme", "home"), day=DAY)


def read_slowly(data: str, rules: Rules) -> ParsedChunk:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_read_alike", lambda *_, **__: None)
        return read(data, rules)


def event(**fields: Any) -> str:
    whole: dict[str, Any] = {
        "event_name": "view_item_list",
        "event_timestamp": NOON_US,
        "user_pseudo_id": "p.1",
        "event_params": [
            {"key": "page", "value": {"string_value": "/"}},
            {"key": "ga_session_id", "value": {"int_value": 77}},
        ],
        "items": [{"item_id": "a", "item_list_index": 0, "price": 9.5}, {"item_id": "b"}],
        "device": {"os": "ios", "versions": [1, 2.5]},
    }
    return json.dumps(whole | fields)


def test_an_entry_of_a_list_is_an_event_and_the_entry_of_a_pair_a_field() -> None:
    found = read("\n".join([event(), "", event(user_id=12, items=[{"item_id": 7}])]), first_line=9)

    columns = found.events.select("user_id", "session_id", "item_id", "rank", "line", "part")
    assert columns.rows() == [
        ("p.1", "p.1.77", "a", 0, 9, 0),
        ("p.1", "p.1.77", "b", None, 9, 1),
        ("12", "p.1.77", "7", None, 11, 0),
    ]
    assert (found.lines, found.left_out, found.refused) == (3, 0, [])


@pytest.mark.parametrize(
    ("line", "why", "says"),
    [
        ("{", "invalid_json", ""),
        ("[1]", "wrong_type", "the line is an array"),
        (event(items={"item_id": "a"}), "wrong_type", "items is an object, not an array"),
        (event(items=[{"item_id": 1.5}]), "wrong_type", "item.item_id is 1.5"),
        (event(items=[{"item_id": True}]), "wrong_type", "item.item_id is True"),
        (event(items=[{"id": "a"}]), "missing_id", "entry 1: item_id is missing or blank"),
        (event(items=["a"]), "missing_id", "entry 1"),
        (
            event(event_params=[]),
            "missing_id",
            "event_params[ga_session_id].int_value is not there",
        ),
        (event(event_timestamp="noon"), "bad_timestamp", "event_timestamp is 'noon'"),
    ],
)
def test_a_refused_line_says_why_and_keeps_its_text(line: str, why: str, says: str) -> None:
    for neighbours in ([], [event()] * 3):
        found = read("\n".join([*neighbours, line, *neighbours]))
        refused = found.refused[0]
        assert (refused.line, refused.reason, refused.raw.decode()) == (
            len(neighbours) + 1,
            why,
            line,
        )
        assert says in refused.detail


def test_the_first_lines_without_a_field_are_told_which_fields_there_are() -> None:
    line = json.dumps({"event_name": "view_item", "items": [{"id": "a"}], "when": 1})
    detail = read(line).refused[0].detail
    assert detail.endswith("the line has event_name, items, when; item has id")


def test_a_line_counts_its_bytes_once_however_many_of_its_entries_are_refused() -> None:
    line = event(items=[{"item_id": ""}] * 3 + [{"item_id": "a"}])
    found = read(line)

    assert (len(found.refused), found.events.height, found.lines) == (3, 1, 4)
    assert sum(each.size_bytes for each in found.refused) == 3 * ((len(line) + 1) // 4)
    assert found.size_bytes == len(line) + 1


def test_lines_that_are_no_utf_8_or_too_long_are_refused_beside_the_others() -> None:
    data = b"\n".join([event().encode(), b'{"a":"\xff"}', event().encode()])
    found = read(data)
    assert [line.reason for line in found.refused] == ["invalid_utf8"]
    assert (found.events.height, found.lines) == (4, 5)


def test_lines_that_are_alike_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[int] = []
    slowly = rows._map_one_by_one

    def noting(lines: Any, *more: Any) -> Any:
        walked.append(lines.height)
        return slowly(lines, *more)

    monkeypatch.setattr(rows, "_map_one_by_one", noting)
    lines = [event(user_id=f"u{number}") for number in range(4000)]
    assert read("\n".join(lines)).events.height == 8000
    assert walked == []

    lines[1234] = event(user_id=7)
    found = read("\n".join(lines))
    assert found.events["user_id"].to_list()[2468] == "7"
    assert found.events.height == 8000
    assert sum(walked) <= objects._NOT_DIVIDED


def test_a_key_with_a_dot_is_the_field_of_that_name() -> None:
    flat = {"at.time": NOON_US // 10**6, "user": "u", "visit": 1, "item": "i", "kind": "view"}
    nested = flat | {"at": {"time": 5}}
    plain = {**flat, "at": {"time": NOON_US // 10**6}}
    del plain["at.time"]
    data = "\n".join(map(json.dumps, [plain] * 30 + [nested, flat]))

    assert read(data, FLAT).events.height == 32


# Both ways give the same, whatever the lines

Json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([2**62, 2**70, 1.5, -0.0, "", "a", " b ", "\ud83d", "é", "NaN", "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["key", "value", "int_value", "item_id", "time", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
_PAIR = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["ga_session_id", "x"]),
        "value": st.fixed_dictionaries(
            {}, optional={"int_value": st.integers(0, 9), "string_value": st.just("s")}
        ),
    }
)
_ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "item_id": st.sampled_from(["a", "b", " c "]) | st.integers(0, 5) | Json,
        "item_list_index": st.integers(-1, 5),
        "other": Json,
    },
)


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(*[usual] * 12, Json)


GA4_LINE = st.fixed_dictionaries(
    {},
    optional={
        "event_name": mostly(st.sampled_from(["view_item", "view_item_list", "buy"])),
        "event_timestamp": mostly(st.integers(NOON_US - 10**11, NOON_US + 10**11)),
        "user_id": mostly(st.none() | st.sampled_from(["u", "v"])),
        "user_pseudo_id": mostly(st.sampled_from(["p", "q"])),
        "event_params": mostly(st.lists(_PAIR, max_size=3)),
        "items": mostly(st.lists(_ENTRY | st.none(), max_size=4)),
        "other": Json,
    },
)
FLAT_LINE = st.fixed_dictionaries(
    {},
    optional={
        "kind": mostly(st.sampled_from(["view", "1", "buy"])),
        "at": mostly(
            st.fixed_dictionaries(
                {},
                optional={"time": st.integers(1767225600, 1767400000), "rank": st.integers(0, 3)},
            )
        ),
        "at.time": st.integers(0, 5),
        "user": mostly(st.sampled_from(["u", "v"])),
        "visit": mostly(st.integers(0, 4)),
        "login": mostly(st.none() | st.just("l")),
        "item": mostly(st.sampled_from(["a", "b"])),
    },
)


def as_text(draw: st.DrawFn, line: dict[str, Any]) -> str:
    text = json.dumps(line, ensure_ascii=draw(st.booleans()) or "\ud83d" in repr(line))
    return draw(
        st.sampled_from(
            [text] * 20 + [text + text, text[:-1], " " + text + "\r", "", "x", text + ","]
        )
    )


@st.composite
def some_lines(draw: st.DrawFn, of: st.SearchStrategy[dict[str, Any]]) -> list[str]:
    return [as_text(draw, line) for line in draw(st.lists(of, max_size=8))]


def assert_same(lines: Sequence[str], rules: Rules) -> None:
    data = "\n".join(line.encode(errors="surrogatepass").decode(errors="replace") for line in lines)
    slow = read_slowly(data, rules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "_NOT_DIVIDED", 1)
        divided = read(data, rules)
    for fast in (read(data, rules), divided):
        assert fast.events.equals(slow.events)
        assert fast.refused == slow.refused
        counts = ("lines", "left_out", "outside_window", "other_surface", "size_bytes")
        assert [getattr(fast, name) for name in counts] == [getattr(slow, name) for name in counts]
    found = slow.events.height + len(slow.refused)
    assert slow.lines == found + slow.left_out + slow.outside_window + slow.other_surface


@given(some_lines(GA4_LINE))
@example([event(), event(items=[])])
@settings(max_examples=examples(60), deadline=None)
def test_lists_and_pairs_are_read_alike_by_both_readers(lines: list[str]) -> None:
    assert_same(lines, GA4)


@given(some_lines(FLAT_LINE))
@settings(max_examples=examples(60), deadline=None)
def test_flat_lines_are_read_alike_by_both_readers(lines: list[str]) -> None:
    assert_same(lines, FLAT)


V1: Final = rules_of(
    Source.model_validate(
        {
            "path": "raw",
            "columns": {
                name: name
                for name in (
                    *("ts", "tenant", "surface", "session_id", "item_id"),
                    *("user_id", "request_id", "rank"),
                )
            },
            "where": {"v": [1]},
        }
    )
)


@given(test_parse.lines_of_any_kind())
@settings(max_examples=examples(60), deadline=None)
def test_lines_of_any_kind_are_read_alike_and_no_event_of_v1_is_another_one(
    lines: list[str],
) -> None:
    """The lines that the reader of raw events v1 is tried with; a mapping takes some more."""
    assert_same(lines, V1)

    data = "\n".join(lines)
    of_v1 = test_parse.read(data).events
    chunk, place = Chunk(1, data.encode()), Place("acme", "home")
    mapped = map_json_lines(chunk, V1, place=place, day=test_parse.DAY).events
    assert mapped.filter(pl.col("line").is_in(of_v1["line"].implode())).equals(of_v1)
