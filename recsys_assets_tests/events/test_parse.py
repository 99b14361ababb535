"""Raw lines to canonical events: every rule once, and both readers always of one mind."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recsys_assets.contracts import CANONICAL_DTYPES
from recsys_assets.events import objects, parse
from recsys_assets.events.chunks import Chunk, OversizedLine
from recsys_assets.events.parse import parse_chunk
from recsys_assets.events.parsed import ParsedChunk, RefusedLine
from recsys_assets.places import Place
from recsys_assets.texts import WHITE_SPACE
from recsys_assets_tests.needed import examples

DAY = date(2026, 1, 2)
# 20,455 days from 1970-01-01 to 2026-01-02, and 3 h 4 min 5 s.
DAY_START_NS = 20_455 * 86_400 * 10**9
TS_NS = DAY_START_NS + (3 * 3600 + 4 * 60 + 5) * 10**9
EVENT = {
    "v": "1",
    "ts": '"2026-01-02T03:04:05Z"',
    "tenant": '"acme"',
    "surface": '"home"',
    "session_id": '"s1"',
    "item_id": '"i1"',
}
# (ts, user_id, session_id, request_id, item_id, rank) of EVENT
ROW = (TS_NS, None, "s1", None, "i1", None)

NO_LINE_IS_PLAIN = r"[^\s\S]"


def line(*, without: str = "", **members: str) -> str:
    """Write EVENT with members replaced or added, each value being JSON text."""
    event = {name: value for name, value in {**EVENT, **members}.items() if name != without}
    return "{" + ",".join(f'"{name}":{value}' for name, value in event.items()) + "}"


def read(data: str | bytes, *, first_line: int = 1) -> ParsedChunk:
    raw = data.encode() if isinstance(data, str) else data
    return parse_chunk(Chunk(first_line, raw), place=Place("acme", "home"), day=DAY)


def rows(parsed: ParsedChunk) -> list[tuple[Any, ...]]:
    """Return the events as tuples, `ts` as nanoseconds since 1970 and without `line`."""
    columns = ("user_id", "session_id", "request_id", "item_id", "rank")
    return parsed.events.select(pl.col("ts").cast(pl.Int64), *columns).rows()


def reasons(parsed: ParsedChunk) -> list[tuple[int, str]]:
    return [(refused.line, refused.reason) for refused in parsed.refused]


def outcome(parsed: ParsedChunk) -> dict[int, tuple[Any, ...] | RefusedLine]:
    """Return what became of each kept or refused line, by its number."""
    kept = zip(parsed.events["line"], rows(parsed), strict=True)
    return dict(kept) | {refused.line: refused for refused in parsed.refused}


def without_plain(patch: pytest.MonkeyPatch) -> None:
    """Have lines of any fields read as objects, each by itself, and no line as a plain one."""
    patch.setattr(parse, "_PLAIN_LINE", NO_LINE_IS_PLAIN)
    patch.setattr(objects, "_NOT_DIVIDED", 1)


def slow_reader_only(patch: pytest.MonkeyPatch) -> None:
    """Have every line go through `_parse_line`."""
    patch.setattr(parse, "_PLAIN_LINE", NO_LINE_IS_PLAIN)
    patch.setattr(parse, "read_objects", lambda *_: None)


@pytest.fixture(params=["all readers", "without plain", "slow reader only"])
def _reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test as in production, and with lines that meet another reader than they would."""
    if request.param == "without plain":
        without_plain(monkeypatch)
    elif request.param == "slow reader only":
        slow_reader_only(monkeypatch)


each_reader = pytest.mark.usefixtures("_reader")


# What an event is made of


@each_reader
def test_a_whole_event_keeps_every_field() -> None:
    parsed = read(line(user_id='"u1"', request_id='"r1"', rank="7"), first_line=12)

    assert rows(parsed) == [(TS_NS, "u1", "s1", "r1", "i1", 7)]
    assert parsed.events["line"].to_list() == [12]
    assert (parsed.refused, parsed.lines) == ([], 1)
    assert (parsed.outside_window, parsed.other_surface) == (0, 0)


@each_reader
@pytest.mark.parametrize(
    "data", ["", "\n", line(), "nonsense", line() + "\nnonsense", line(ts='"2026-01-03T00:00:00Z"')]
)
def test_events_have_the_columns_of_the_contract_whatever_the_lines(data: str) -> None:
    expected = {name: dtype for name, dtype in CANONICAL_DTYPES.items() if name != "file"}

    assert dict(read(data).events.schema) == expected


@each_reader
def test_optional_fields_are_null_when_absent_null_or_blank() -> None:
    data = "\n".join(
        [
            line(),
            line(user_id="null", request_id="null", rank="null"),
            line(user_id='""', request_id='" \u3000"'),
            line(user_id=r'"\t\n"', request_id=r'"\u00a0"'),
        ]
    )

    assert rows(read(data)) == [ROW] * 4


@each_reader
@pytest.mark.parametrize(
    ("rank", "kept"),
    [
        ("0", 0),
        ("-0", 0),
        ("1", 1),
        ("999999999999999999", 999999999999999999),
        ("1000000000000000000", 1000000000000000000),
        ("9223372036854775807", 2**63 - 1),
        ("null", None),
    ],
)
def test_a_rank_is_any_64_bit_integer_from_zero(rank: str, kept: int | None) -> None:
    assert rows(read(line(rank=rank))) == [(*ROW[:5], kept)]


@each_reader
def test_the_last_of_a_repeated_key_wins() -> None:
    data = "\n".join(
        [
            '{"item_id":"first",' + line()[1:],
            '{"item_id":"first",' + line()[1:].replace('"i1"', '"second"'),
            '{"item_id":7,' + line()[1:],
            '{"rank":5,"rank":6,' + line()[1:],
            '{"rank":-5,"rank":null,' + line()[1:],
            '{"user_id":"u1",' + line(user_id='""')[1:],
            line()[:-1] + ',"item_id":7}',
            line()[:-1] + ',"session_id":""}',
            line()[:-1] + ',"v":2}',
            line()[:-1] + ',"tenant":"other"}',
        ]
    )
    parsed = read(data)

    assert rows(parsed) == [
        ROW,
        (*ROW[:4], "second", None),
        ROW,
        (*ROW[:5], 6),
        ROW,
        ROW,
    ]
    assert reasons(parsed) == [(7, "wrong_type"), (8, "missing_id"), (9, "wrong_version")]
    assert parsed.other_surface == 1


@each_reader
@pytest.mark.parametrize("names", [sorted(EVENT), sorted(EVENT, reverse=True)])
def test_the_order_of_keys_is_irrelevant(names: list[str]) -> None:
    data = "{" + ",".join(f'"{name}":{EVENT[name]}' for name in names) + "}"

    assert rows(read(data)) == [ROW]


@each_reader
@pytest.mark.parametrize("name", ["extra", "V", "Tenant", " v", "rank2", ""])
def test_unknown_fields_are_ignored(name: str) -> None:
    values = [
        "1", "1e400", '"x"', "null", "true", "[]", "{}", '{"v":2,"tenant":"x"}', "-0.5e-3",
        '"\\u0000"',
    ]  # fmt: skip
    last = [line(**{name: value}) for value in values]
    first = [f'{{"{name}":{value},' + line()[1:] for value in values]

    assert rows(read("\n".join(last + first))) == [ROW] * 20


@each_reader
def test_an_escaped_key_is_the_key_it_spells() -> None:
    assert rows(read(line().replace('"item_id"', r'"item\u005fid"'))) == [ROW]


@each_reader
def test_order_of_lines_is_kept_whichever_reader_took_them() -> None:
    plain, escaped = line(session_id='"p"'), line(session_id=r'"\u0065"')

    parsed = read("\n".join([escaped, plain, "no", plain, escaped, "{}", escaped]), first_line=100)

    assert parsed.events["line"].to_list() == [100, 101, 103, 104, 106]
    assert parsed.events["session_id"].to_list() == ["e", "p", "p", "e", "e"]
    assert [number for number, _ in reasons(parsed)] == [102, 105]


# Which reader takes a line: without these two, the comparison below could compare one with itself


def test_a_plain_line_never_meets_the_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    monkeypatch.setattr(parse, "_parse_line", refuse)
    data = "\n".join(
        [
            line(),
            line(user_id='" ü "', request_id='""', rank="0"),
            " \t" + line().replace('":', '" :\t').replace(",", "\t, ") + " \r",
            "",
            line(ts='"2026-01-02T23:59:59.999999999-00:00"'),
            "  \r",
            line(ts='"2026-01-02T23:59:59.9Z"'),
            line(tenant='"other"'),
        ]
    )

    assert read(data).events.height == 5


@pytest.fixture
def read_slowly(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the lines that meet the slow reader, as they come."""
    seen: list[str] = []
    whole = parse._parse_line

    def noting(text: str) -> Any:
        seen.append(text)
        return whole(text)

    monkeypatch.setattr(parse, "_parse_line", noting)
    return seen


def test_only_the_doubtful_lines_of_a_chunk_meet_the_slow_reader(
    read_slowly: list[str],
) -> None:
    """No line stands in for another, though one repeats a field and others lack some."""
    doubtful = [
        '{"item_id":"first",' + line()[1:],
        '{"rank":2,' + line(rank="1")[1:],
        line(ts='"2026-02-29T00:00:00Z"'),
        line(ts='"1699-12-31T00:00:00Z"'),
        line(ts='"2026-01-02T03:04:60Z"'),
        line(session_id='""'),
        line(tenant='" "'),
        line(v="2"),
    ]
    certain = [line(), line(user_id='"u"', rank="7", request_id='"r"')]
    for text in doubtful:
        read("\n".join([*certain, text, *certain]))

    assert read_slowly == doubtful


def test_a_line_with_further_fields_or_escapes_never_meets_the_slow_reader(
    read_slowly: list[str],
) -> None:
    further = [
        line(extra='{"a":[1,{"b":null}],"c":true}', price="12.5"),
        line(item_id=r'"caf\u00e9 \"x\""'),
        line(user_id=r'"\ud83d\ude00"', extra='"2026"'),
        line(extra='{"item_id":1,"item_id":2}'),
    ]

    assert read("\n".join(further * 500)).events.height == 4 * 500
    assert read_slowly == []
    assert read(line(extra='"NaN"')).events.height == 1
    assert read_slowly == [line(extra='"NaN"')]  # it might stand for a number


def test_a_line_that_is_not_alike_costs_its_few_neighbours_only(read_slowly: list[str]) -> None:
    lines = [line(extra="1")] * 20_000
    lines[7_777] = line(extra="1", rank='"7"')

    assert reasons(read("\n".join(lines))) == [(7_778, "wrong_type")]
    assert len(read_slowly) <= 500


def test_without_the_other_readers_every_line_meets_the_slow_one(
    monkeypatch: pytest.MonkeyPatch, read_slowly: list[str]
) -> None:
    slow_reader_only(monkeypatch)

    assert read(f"{line()}\n{line(rank='3')}").events.height == 2
    assert read_slowly == [line(), line(rank="3")]


# Refused lines, reason by reason


@each_reader
@pytest.mark.parametrize(
    "text",
    [
        "x",
        "{",
        "{}}",
        "[",
        '"',
        "nul",
        "NULL",
        "NaN",
        "Infinity",
        "-Infinity",
        line() + line(),
        line() + ",",
        line()[:-1],
        line()[:-1] + ",}",
        line().replace('"v"', "'v'"),
        line().replace('"v"', "v"),
        line().replace("}", "} // comment"),
        line(rank="01"),
        line(rank="+1"),
        line(rank="1."),
        line(rank=".5"),
        line(rank="0x1"),
        line(rank="NaN"),
        line(rank="Infinity"),
        line(rank="-Infinity"),
        line(rank=""),
        line(extra="NaN"),
        line(extra="[Infinity]"),
        line(item_id='"a\tb"'),
        line(item_id='"a\rb"'),
        line(item_id='"a\x00b"'),
        line(item_id='"a\x1fb"'),
        line(item_id=r'"\x41"'),
        line(item_id=r'"\u12"'),
        line(item_id=r'"\'"'),
        line(extra="9" * 5000),
        "\ufeff" + line(),
    ],
)
def test_a_line_that_is_not_json_is_refused(text: str) -> None:
    parsed = read(text)

    assert reasons(parsed) == [(1, "invalid_json")]
    assert parsed.refused[0].raw == text.encode()
    assert parsed.refused[0].detail
    assert (parsed.lines, parsed.events.height) == (1, 0)


@each_reader
@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80abc"]
)
def test_a_line_that_is_not_utf_8_is_refused_and_its_neighbours_are_read(bad: bytes) -> None:
    broken = line().encode().replace(b"i1", bad)
    good = line(item_id='"é"').encode()

    parsed = read(b"\n".join([good, broken, b"", good, broken, good]), first_line=5)

    assert reasons(parsed) == [(6, "invalid_utf8"), (9, "invalid_utf8")]
    assert [refused.raw for refused in parsed.refused] == [broken, broken]
    assert parsed.events["line"].to_list() == [5, 8, 10]
    assert parsed.events["item_id"].to_list() == ["é"] * 3
    assert parsed.lines == 5


def test_a_refusal_for_encoding_names_the_byte() -> None:
    assert read(b'{"v\xff": 1}').refused[0].detail.startswith("byte 4 is not UTF-8")


@each_reader
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("null", "null"),
        ("1", "a number"),
        ("-0.5", "a number"),
        ("true", "a boolean"),
        ('"text"', "a string"),
        ("[]", "an array"),
        (f"[{line()}]", "an array"),
    ],
)
def test_a_line_that_is_no_object_is_refused(text: str, found: str) -> None:
    parsed = read(text)

    assert reasons(parsed) == [(1, "wrong_type")]
    assert parsed.refused[0].detail == f"the line is {found}, not an object"


@each_reader
@pytest.mark.parametrize("value", ["1", "1.5", "true", "false", "[]", '["a"]', "{}"])
@pytest.mark.parametrize(
    "name", ["ts", "tenant", "surface", "session_id", "item_id", "user_id", "request_id"]
)
def test_a_text_field_of_another_type_is_refused_by_name(name: str, value: str) -> None:
    parsed = read(line(**{name: value}))

    assert reasons(parsed) == [(1, "wrong_type")]
    assert parsed.refused[0].detail.startswith(f"{name} is ")


@each_reader
@pytest.mark.parametrize(
    "value",
    [
        "true", "false", '"1"', '""', "[1]", "{}", "1.0", "3.0", "1e0", "1e2", "1E+2", "1.5",
        "-1.0", "9223372036854775808", "-9223372036854775809", "1" + "0" * 30, "1" + "0" * 400,
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["v", "rank"])
def test_a_number_that_is_not_written_as_a_64_bit_integer_is_refused(name: str, value: str) -> None:
    parsed = read(line(**{name: value}))

    assert reasons(parsed) == [(1, "wrong_type")]
    assert parsed.refused[0].detail.startswith(f"{name} is ")


@each_reader
@pytest.mark.parametrize(
    "text",
    [
        line(without="v"),
        line(v="null"),
        *(line(v=v) for v in ("0", "2", "10", "-1", "9223372036854775807")),
        "{}",
    ],
)
def test_a_line_of_another_version_is_refused(text: str) -> None:
    assert reasons(read(text)) == [(1, "wrong_version")]


def test_a_refusal_for_version_says_which() -> None:
    assert read(line(v="2")).refused[0].detail == "v is 2, this project reads v 1"
    assert read(line(without="v")).refused[0].detail == "v is missing, this project reads v 1"


@each_reader
@pytest.mark.parametrize("name", ["tenant", "surface", "session_id", "item_id"])
@pytest.mark.parametrize("value", ["absent", "null", '""', '" "', '"\u00a0\u2003"', r'"\n\u2028"'])
def test_a_required_id_that_is_missing_or_blank_refuses_the_line(name: str, value: str) -> None:
    text = line(without=name) if value == "absent" else line(**{name: value})
    parsed = read(text)

    assert reasons(parsed) == [(1, "missing_id")]
    assert parsed.refused[0].detail == f"{name} is missing or blank"
    assert parsed.other_surface == 0


@each_reader
@pytest.mark.parametrize("rank", ["-1", "-9223372036854775808"])
def test_a_negative_rank_is_refused(rank: str) -> None:
    parsed = read(line(rank=rank))

    assert reasons(parsed) == [(1, "negative_rank")]
    assert parsed.refused[0].detail == f"rank is {rank}"


def test_a_line_over_the_limit_is_refused_with_its_size_and_its_beginning() -> None:
    chunk = Chunk(7, f"{line()}\n\n{line()}\n".encode(), [OversizedLine(8, 5_000_000, b"{begin")])

    parsed = parse_chunk(chunk, place=Place("acme", "home"), day=DAY)

    (refused,) = parsed.refused
    assert (refused.line, refused.reason, refused.raw) == (8, "line_too_long", b"{begin")
    assert "5000000 bytes" in refused.detail
    assert "4194304" in refused.detail
    assert parsed.events["line"].to_list() == [7, 9]
    assert parsed.lines == 3


@each_reader
def test_refused_lines_come_in_order_whatever_their_reasons() -> None:
    data = b"\n".join([b"x", b"\xff", b"[]", b"", b"\xff", b"{}", line(rank="-1").encode()])
    chunk = Chunk(1, data, [OversizedLine(4, 5_000_000, b"{")])

    parsed = parse_chunk(chunk, place=Place("acme", "home"), day=DAY)

    assert reasons(parsed) == [
        (1, "invalid_json"),
        (2, "invalid_utf8"),
        (3, "wrong_type"),
        (4, "line_too_long"),
        (5, "invalid_utf8"),
        (6, "wrong_version"),
        (7, "negative_rank"),
    ]
    assert parsed.lines == 7


# Nesting, escapes, white space


@each_reader
@pytest.mark.parametrize("opening", ["[" * 100_000, '{"a":' * 100_000])
def test_nesting_without_end_is_refused_and_does_not_crash(opening: str) -> None:
    closing = ("]" if opening[0] == "[" else "1}") * 100_000
    data = "\n".join([line(extra=opening + closing), opening, line()])

    parsed = read(data)

    assert reasons(parsed) == [(1, "invalid_json"), (2, "invalid_json")]
    assert parsed.refused[0].detail == "nested too deeply"
    assert rows(parsed) == [ROW]


@each_reader
@pytest.mark.parametrize("levels", [100, 900])
def test_moderate_nesting_in_an_unknown_field_is_fine(levels: int) -> None:
    """How much is, depends on Python, and on how deep the reader is called: docs/raw-events.md."""
    assert rows(read(line(extra="[" * levels + "]" * levels))) == [ROW]


@each_reader
@pytest.mark.parametrize("name", ["extra", "rank"])
def test_an_integer_has_at_most_4300_digits(name: str) -> None:
    """Any field: what is in a line is one JSON text, and read as one."""
    long, too_long = line(**{name: "9" * 4300}), line(**{name: "9" * 4301})

    parsed = read(f"{long}\n{too_long}\n{line()}")

    kept = [] if name == "extra" else [(1, "wrong_type")]
    assert reasons(parsed) == [*kept, (2, "invalid_json")]
    assert parsed.refused[-1].detail.startswith("Exceeds the limit (4300 digits)")


@each_reader
@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (r"\"quoted\" \\ \/", '"quoted" \\ /'),
        (r"caf\u00e9", "café"),
        (r"\ud83d\ude00", "\U0001f600"),
        ("\U0001f600 \u4e2d", "\U0001f600 \u4e2d"),
        (r"a\ud83db", "a\ufffdb"),
        (r"a\ude00b", "a\ufffdb"),
        (r"\ud83d", "\ufffd"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"a\u0000b", "a\x00b"),
        (r"a\nb\tc", "a\nb\tc"),
        ("a\x7fb", "a\x7fb"),
        ("../a/b\\\\c", "../a/b\\c"),
        ("'; DROP TABLE--,|", "'; DROP TABLE--,|"),
        ("<a href=&>", "<a href=&>"),
        ("{\u2028}", "{\u2028}"),
        ("e\u0301", "e\u0301"),
        ("É", "É"),
    ],
)
@pytest.mark.parametrize("name", ["session_id", "item_id", "user_id", "request_id"])
def test_an_id_may_hold_any_character(name: str, written: str, kept: str) -> None:
    parsed = read(line(**{name: f'"{written}"'}))

    assert parsed.events[name].to_list() == [kept]


@each_reader
@pytest.mark.parametrize("name", ["session_id", "item_id", "user_id", "request_id"])
def test_ids_are_trimmed_of_every_unicode_white_space(name: str) -> None:
    # The 25 characters with the property White_Space, from the Unicode character database.
    white_space = [0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)]
    white_space += [0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
    assert len(white_space) == 25

    data = "\n".join(
        line(**{name: json.dumps(f"{chr(blank)}a{chr(blank)}b{chr(blank)}", ensure_ascii=ascii_)})
        for blank in white_space
        for ascii_ in (True, False)
    )

    expected = [f"a{chr(blank)}b" for blank in white_space for _ in range(2)]
    assert read(data).events[name].to_list() == expected


@each_reader
@pytest.mark.parametrize(
    "kept", ["\x1c", "\x1d", "\x1e", "\x1f", "\x00", "\x08", "\u200b", "\u2060", "\ufeff", "\u180e"]
)
def test_ids_are_trimmed_of_nothing_else(kept: str) -> None:
    text = json.dumps(f" {kept}a{kept} ")

    parsed = read(line(session_id=text, item_id=json.dumps(kept), user_id=text))

    assert rows(parsed) == [(TS_NS, f"{kept}a{kept}", f"{kept}a{kept}", None, kept, None)]


def test_the_constant_of_white_space_is_what_polars_trims() -> None:
    every = pl.Series([chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000])

    assert "".join(every.filter(every.str.strip_chars() == "")) == WHITE_SPACE


@each_reader
def test_json_white_space_around_any_token_is_fine() -> None:
    spread = line().replace('":', '" \t:\r ').replace(",", "\t\r , ").replace("{", " {\t")
    data = "\n".join([f"\t \r{spread} \r\t", line() + "\r", line() + "   "])

    assert rows(read(data)) == [ROW] * 3


@each_reader
@pytest.mark.parametrize(
    "blank",
    ["\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u2003", "\u2028", "\u3000", "\u200b", "\x00"],
)
@pytest.mark.parametrize("at", ["{", "}", ":", ","])
def test_other_white_space_outside_a_string_is_refused(blank: str, at: str) -> None:
    data = "\n".join([line().replace(at, blank + at, 1), line().replace(at, at + blank, 1)])
    parsed = read(data)

    assert reasons(parsed) == [(1, "invalid_json"), (2, "invalid_json")]
    assert [refused.raw.decode() for refused in parsed.refused] == data.split("\n")


@each_reader
def test_blank_lines_are_no_lines_but_count_in_the_numbers() -> None:
    parsed = read(f"\n \t\r\n{line()}\n\n\r\n\r\r\n{line()}\nx\n\n")

    assert parsed.events["line"].to_list() == [3, 7]
    assert reasons(parsed) == [(8, "invalid_json")]
    assert parsed.lines == 3


@each_reader
@pytest.mark.parametrize("text", ["\xa0", "\x0b", "\x00", "\u2028", "\ufeff", "\x1c"])
def test_a_line_of_other_white_space_is_not_blank(text: str) -> None:
    assert reasons(read(text)) == [(1, "invalid_json")]


@each_reader
@pytest.mark.parametrize("data", ["", "\n", "\n\n", " ", "\r\n\t\n"])
def test_a_chunk_of_blank_lines_gives_nothing(data: str) -> None:
    parsed = read(data)

    assert (parsed.lines, parsed.events.height, parsed.refused) == (0, 0, [])


# Timestamps


@each_reader
@pytest.mark.parametrize(
    ("ts", "nanoseconds"),
    [
        ("2026-01-02T00:00:00Z", 0),
        ("2026-01-02T00:00:00.000000001Z", 1),
        ("2026-01-02T00:00:00.1Z", 100_000_000),
        ("2026-01-02T00:00:00.123456789Z", 123_456_789),
        ("2026-01-02T00:00:00.12Z", 120_000_000),
        ("2026-01-02T23:59:59.999999999Z", 86_400 * 10**9 - 1),
        ("2026-01-02T00:00:01+00:00", 10**9),
        ("2026-01-02T00:00:01-00:00", 10**9),
        ("2026-01-02T05:30:00+05:30", 0),
        ("2026-01-01T19:00:00.5-05:00", 500_000_000),
        ("2026-01-01T00:01:00-23:59", 0),
        ("2026-01-02T23:59:00+23:59", 0),
        ("2026-01-03T05:29:59.999999999+05:30", 86_400 * 10**9 - 1),
        ("2026-01-03T14:00:00+14:00", 86_400 * 10**9),  # the next day
        ("2026-01-01T23:59:59.999999999Z", -1),  # the day before
    ],
)
def test_a_timestamp_is_read_to_the_nanosecond_in_any_offset(ts: str, nanoseconds: int) -> None:
    parsed = read(line(ts=f'"{ts}"'))

    inside = 0 <= nanoseconds < 86_400 * 10**9
    assert rows(parsed) == ([(DAY_START_NS + nanoseconds, *ROW[1:])] if inside else [])
    assert parsed.outside_window == (0 if inside else 1)
    assert parsed.refused == []


@each_reader
@pytest.mark.parametrize(
    "ts",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "1677-09-21T00:12:43Z",
        "1969-12-31T23:59:59.999999999Z",
        "2024-02-29T12:00:00Z",
        "2199-12-31T23:59:59Z",
        "2200-01-01T00:00:00Z",
        "2262-04-11T23:47:16.854775808Z",
        "2610-07-24T03:04:05Z",  # 2026-01-02 and 2**64 ns
        "9999-12-31T23:59:59.999999999Z",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_any_year_is_valid_and_outside_the_window(ts: str) -> None:
    parsed = read(line(ts=f'"{ts}"'))

    assert (parsed.lines, parsed.outside_window) == (1, 1)
    assert (parsed.events.height, parsed.refused) == (0, [])


@each_reader
@pytest.mark.parametrize(
    "ts",
    [
        "",
        " ",
        "now",
        "1767323045",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-01-02t03:04:05Z",
        "2026-01-02T03:04:05z",
        " 2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z ",
        "2026-01-02T03:04:05Z\\n",
        "2026-01-02T03:04:05 Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05.1234567890Z",
        "2026-01-02T03:04:05.0000000000Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T25:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-00-02T03:04:05Z",
        "2026-01-32T03:04:05Z",
        "2026-01-00T03:04:05Z",
        "2025-02-29T03:04:05Z",
        "0000-01-01T00:00:00Z",
        "12026-01-02T03:04:05Z",
        "26-01-02T03:04:05Z",
        "-2026-01-02T03:04:05Z",
        "2026-1-2T03:04:05Z",
        "2026-01-02T3:04:05Z",
        "2026-01-02T03:04Z",
        "2026-01-02T030405Z",
        "20260102T030405Z",
        "2026-W01-5T03:04:05Z",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+05:60",
        "2026-01-02T03:04:05+0530",
        "2026-01-02T03:04:05+05",
        "2026-01-02T03:04:05+5:30",
        "2026-01-02T03:04:05\u221205:30",
        "2026-01-02T03:04:05+05:30Z",
        "2026-01-02T03:04:05UTC",
        "2026-01-02T03:04:05\\u005a\\u005a",
        "\uff12\uff10\uff12\uff16-01-02T03:04:05Z",
        "2026-01-02T03:04:0\u0665Z",
    ],
)
def test_a_timestamp_that_is_not_rfc_3339_is_refused(ts: str) -> None:
    parsed = read(line(ts=f'"{ts}"'))

    assert reasons(parsed) == [(1, "bad_timestamp")]
    assert (parsed.events.height, parsed.outside_window) == (0, 0)


@each_reader
def test_the_years_of_a_timestamp_are_0001_to_9999() -> None:
    """RFC 3339 has a year 0000; Python and Polars have none."""
    years = ["0000-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]

    parsed = read("\n".join(line(ts=f'"{ts}"') for ts in years))

    assert reasons(parsed) == [(1, "bad_timestamp")]
    assert parsed.outside_window == 2


@each_reader
@pytest.mark.parametrize("text", [line(without="ts"), line(ts="null")])
def test_a_missing_timestamp_is_refused(text: str) -> None:
    assert reasons(read(text)) == [(1, "bad_timestamp")]


@each_reader
def test_a_bad_timestamp_is_refused_on_another_surface_too() -> None:
    assert reasons(read(line(tenant='"other"', ts='"now"'))) == [(1, "bad_timestamp")]


# Whose event it is


@each_reader
def test_events_of_another_tenant_or_surface_are_counted_and_not_kept() -> None:
    data = "\n".join(
        [
            line(),
            line(tenant='"other"'),
            line(surface='"other"'),
            line(tenant='"ACME"'),
            line(tenant='" acme"'),
            line(surface='"home "'),
            line(tenant='"home"', surface='"acme"'),
            line(tenant='"other"', ts='"1999-01-01T00:00:00Z"'),
            line(ts='"1999-01-01T00:00:00Z"'),
        ]
    )
    parsed = read(data)

    assert rows(parsed) == [ROW]
    assert (parsed.lines, parsed.other_surface, parsed.outside_window) == (9, 7, 1)
    assert parsed.refused == []


@each_reader
def test_an_escaped_tenant_is_the_tenant_it_spells() -> None:
    assert rows(read(line(tenant=r'"\u0061cme"', surface=r'"\u0068ome"'))) == [ROW]


# The two readers agree. One generator makes the lines, from any source of choices; most choices are
# the plain ones, since a line with many faults is refused for the first and hides the others.

Pick = Callable[[Sequence[str]], str]

_IDS = ['"a"', '"b"', '" a"', '"a\u3000"', '"a\x7f"', '"ü/\\u00fc"', '"\U0001f600"', '"a\x85"']
_ODD = [
    '""', '" "', '"\u00a0"', "null", "1", "1.0", "1e2", "-1", "-0", "00", "true", "[]", "{}", '"1"',
    r'"\n"', r'"\u0061"', r'"\ud83d"', '"\x1f"', '"\x00"', '"\t"', "NaN", "", "2", "3.0",
    "9223372036854775808", "999999999999999999", "1000000000000000000", '"a', "'a'", '"a""',
    '"\\"', '"{"', '":"', '","', '"v"', '"\u2028"', '"\r"', "12345678901234567890123",
]  # fmt: skip
_TIMES = [
    "2026-01-02T03:04:05Z", "2026-01-02T00:00:00Z", "2026-01-02T23:59:59.999999999Z",
    "2026-01-03T00:00:00Z", "2026-01-01T23:59:59.9Z", "2026-01-02T12:00:00.5+05:30",
    "2026-01-02T01:00:00+01:00", "2026-01-02T00:59:59+01:00", "2026-01-01T23:00:00-01:00",
    *(f"2026-01-02T03:04:05.{'012345678'[:digits]}Z" for digits in range(1, 10)),
    *(f"2026-01-02T03:04:05.{'912345678'[:digits]}+01:00" for digits in range(1, 10)),
]  # fmt: skip
_ODD_TIMES = [
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1699-12-31T23:59:59Z", "1700-01-01T00:00:00Z",
    "2199-12-31T23:59:59.999999999-23:59", "2200-01-01T00:00:00Z", "2026-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z", "2026-01-02T24:00:00Z", "2026-01-02T03:04:60Z", "0000-01-01T00:00:00Z",
    "2026-01-02t03:04:05Z", "2026-01-02T03:04:05z", "2026-01-02T03:04:05", "2026-01-02 03:04:05Z",
    "2026-01-02T03:04:05.1234567890Z", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05+24:00",
    "2026-01-02T03:04:05+2359", "2026-01-02T03:04:05-23:59", " 2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05+01", "2026-01-02T03:04:05.123456+00:00", "2026-00-10T00:00:00Z",
    "2026-01-00T00:00:00Z", "2026-01-02T03:04:05Z\n", "\u0662026-01-02T03:04:05Z",
    "12026-01-02T03:04:05Z", "2026-01-02T03:04:5Z", "+2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05+ 1:00", "", "Z",
]  # fmt: skip
_USUAL = {
    "v": ["1"],
    "ts": [f'"{ts}"' for ts in _TIMES],
    "tenant": ['"acme"'] * 9 + ['"other"'],
    "surface": ['"home"'] * 9 + ['"home "'],
    "session_id": _IDS,
    "item_id": _IDS,
    "user_id": [*_IDS, '""', '" "'],
    "request_id": [*_IDS, '""'],
    "rank": ["0", "1", "42", "7", "null", "-3"],
}
_NAMES = list(_USUAL)
_FAULTS = [
    "value", "value", "ts", "ts", "ts", "drop", "repeat", "repeat", "extra", "key", "space", "cut",
    "insert", "trail",
]  # fmt: skip
_SPACES = ["", " ", "\t", "\r", "  ", "\u00a0", "\x0b", "\x0c", "\x00", "\u2028", "\ufeff"]


def any_line(pick: Pick) -> str:
    """Make a line out of choices: an event with up to three faults, or no event at all."""
    if pick(["event"] * 19 + ["other"]) == "other":
        return pick(
            ["", " ", "\r", "\t\r", "null", "[]", "{}", "x", "1", "\xa0", '"a"', "{", "[" * 9]
        )
    names = [name for name in _NAMES if name in EVENT or pick(["yes", "no"]) == "yes"]
    if pick(["in order", "reversed"]) == "reversed":
        names.reverse()
    members = [(f'"{name}"', pick(_USUAL[name])) for name in names]
    fine = pick(["", "", "", " ", "\t", "\r"])
    gaps = [fine, fine]
    finish: list[str] = []
    for _ in range(int(pick("000011123"))):
        fault = pick(_FAULTS)
        at = int(pick("01234567")) % len(members) if members else 0
        if fault == "value" and members:
            members[at] = (members[at][0], pick(_ODD))
        elif fault == "ts":
            members = [member for member in members if member[0] != '"ts"']
            members.insert(at, ('"ts"', json.dumps(pick(_ODD_TIMES), ensure_ascii=False)))
        elif fault == "drop" and members:
            del members[at]
        elif fault == "repeat":
            name = pick(_NAMES)
            members.insert(at, (f'"{name}"', pick(_USUAL[name] + _ODD)))
        elif fault == "extra":
            members.insert(at, ('"other"', pick(["1", '"x"', "[1]", '{"v":2}', "1e9", *_ODD])))
        elif fault == "key" and members:
            members[at] = (pick(['"V"', '"item\\u005fid"', '""', "v", '"v "']), members[at][1])
        elif fault == "space":
            gaps[int(pick("01"))] = pick(_SPACES)
        else:
            finish.append(fault)
    text = ",".join(
        f"{gaps[0]}{name}{gaps[1]}:{gaps[0]}{value}{gaps[1]}" for name, value in members
    )
    text = f"{gaps[1]}{{{text}}}{gaps[0]}"
    for fault in finish:
        at = int(pick("0123456789") + pick("0123456789")) * len(text) // 100
        if fault == "cut":
            text = text[:at] + text[at + 1 :]
        elif fault == "insert":
            text = (
                text[:at] + pick(['"', "\\", ",", ":", "{", "}", "1", "-", " ", "\x01"]) + text[at:]
            )
        elif fault == "trail":
            text += pick([",", "}", "{}", text, "x", "\\", "1", *_SPACES])
    return text


@st.composite
def lines_of_any_kind(draw: st.DrawFn) -> list[str]:
    count = draw(st.integers(0, 12))
    return [any_line(lambda options: draw(st.sampled_from(options))) for _ in range(count)]


def assert_readers_agree(lines: list[str]) -> Counter[str]:
    """Compare the readers on all the lines together; return what became of the lines."""
    data = "\n".join(lines)
    with pytest.MonkeyPatch.context() as patch:
        slow_reader_only(patch)
        slow = read(data)
    with pytest.MonkeyPatch.context() as patch:
        without_plain(patch)
        patch.setattr(objects, "_NOT_DIVIDED", max(1, len(lines) // 32))
        assert_same(read(data), slow, lines)
    assert_same(read(data), slow, lines)
    counts = Counter(
        events=slow.events.height,
        refused=len(slow.refused),
        outside_window=slow.outside_window,
        other_surface=slow.other_surface,
    )
    assert slow.lines == sum(1 for text in lines if text.strip(" \t\r")) == counts.total()
    return counts


def assert_same(parsed: ParsedChunk, other: ParsedChunk, lines: list[str]) -> None:
    first, second = outcome(parsed), outcome(other)
    for number in first.keys() | second.keys():
        assert first.get(number) == second.get(number), lines[number - 1]
    assert parsed.events.equals(other.events)
    assert parsed.refused == other.refused
    assert (parsed.lines, parsed.outside_window, parsed.other_surface) == (
        other.lines,
        other.outside_window,
        other.other_surface,
    )


@given(lines_of_any_kind())
@example([line(), "", line(), " \t", line()])
@example([line(rank="1") + "\r", "\r", line(), line()[:-1] + ',"rank":2}'])
@example(["x", "", "1"])
@example(['{"v":1}'])
@example([" " + line(), line()])
@example([line(user_id='"u"', rank="1"), line()[:-1] + ',"item_id":"i2"}', line()])
@settings(max_examples=examples(75), deadline=None)
def test_both_readers_agree_on_a_few_lines(lines: list[str]) -> None:
    """Few lines, so that Hypothesis can show the smallest ones they differ on."""
    assert_readers_agree(lines)


@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(2026, 1, 1, 22), datetime(2026, 1, 3, 2)),
            st.from_regex(r"\A(\.[0-9]{1,9})?\Z"),
            st.sampled_from(["Z", "+00:00", "-00:00", "+05:30", "-23:59", "z"]),
        ),
        min_size=1,
    )
)
@settings(max_examples=examples(100), deadline=None)
def test_both_readers_agree_on_timestamps_of_every_precision_and_offset(
    moments: list[tuple[datetime, str, str]],
) -> None:
    assert_readers_agree(
        [line(ts=f'"{ts:%Y-%m-%dT%H:%M:%S}{decimals}{zone}"') for ts, decimals, zone in moments]
    )


@pytest.mark.parametrize("zone", ["Z", "+00:00"])
def test_both_readers_agree_on_every_two_digits_of_a_timestamp(zone: str) -> None:
    """All the months, days, hours, minutes and seconds that can be written, and leap days."""
    parts = ["2026", "01", "02", "03", "04", "05"]
    lines = [line(ts=f'"{year:04}-02-29T00:00:00{zone}"') for year in range(10_000)]
    for place in range(1, 6):
        for number in range(100):
            year, month, day, hour, minute, second = [
                f"{number:02}" if index == place else part for index, part in enumerate(parts)
            ]
            lines.append(line(ts=f'"{year}-{month}-{day}T{hour}:{minute}:{second}{zone}"'))

    counts = assert_readers_agree(lines)

    # The day itself: one month, one day, and every hour, minute and second.
    assert counts["events"] == 1 + 1 + 24 + 60 + 60


@given(st.integers(0, 2**32))
@settings(max_examples=examples(40), deadline=None)
def test_both_readers_agree_on_hundreds_of_lines(seed: int) -> None:
    """Many lines, which meet each other in one frame."""
    choices = random.Random(seed)  # noqa: S311 (no secret)
    assert_readers_agree([any_line(choices.choice) for _ in range(400)])


def test_the_generated_lines_come_to_every_end() -> None:
    """The comparison is worth what its lines reach: each fate and each reason, many times."""
    choices = random.Random(1)  # noqa: S311 (no secret)
    lines = [any_line(choices.choice) for _ in range(5000)]

    counts = assert_readers_agree(lines)
    refused = Counter(refused.reason for refused in read("\n".join(lines)).refused)

    assert min(counts.values()) >= 100, counts
    assert set(refused) == {
        "invalid_json",
        "wrong_type",
        "wrong_version",
        "missing_id",
        "negative_rank",
        "bad_timestamp",
    }
    assert min(refused.values()) >= 20, refused


@given(
    st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([line().encode(), b"", b"{}"]))),
    st.sets(st.integers(0, 20)),
)
@settings(max_examples=examples(100), deadline=None)
def test_every_line_of_any_bytes_is_accounted_for(parts: list[bytes], long: set[int]) -> None:
    raw = b"\n".join(parts).split(b"\n")
    numbers = {number for number in long if number < len(raw)}
    lines = [b"" if number in numbers else text for number, text in enumerate(raw)]
    oversized = [OversizedLine(number + 1, 5_000_000, b"{") for number in sorted(numbers)]

    parsed = parse_chunk(
        Chunk(1, b"\n".join(lines), oversized), place=Place("acme", "home"), day=DAY
    )

    wanted = {number + 1 for number, text in enumerate(lines) if text.strip(b" \t\r")}
    wanted |= {number + 1 for number in numbers}
    found = parsed.events["line"].to_list() + [refused.line for refused in parsed.refused]
    assert sorted(found) == sorted(wanted)
    assert parsed.lines == len(wanted)
