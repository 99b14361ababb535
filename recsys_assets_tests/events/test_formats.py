"""Days from CSV and Parquet: what a row is, and which are refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_assets.config import Surface
from recsys_assets.errors import RawEventsError
from recsys_assets.events.days import ParsedDay, parse_day
from recsys_assets.events.sources import csv as of_csv
from recsys_assets.events.sources import parquet as of_parquet
from recsys_assets_tests.events.conftest import accounted, places, rejected

DAY: Final = date(2026, 1, 1)
COLUMNS: Final[Mapping[str, Any]] = {
    "ts": {"from": "t", "time_zone": "UTC"},
    "session_id": "s",
    "item_id": "i",
}
HOUR: Final = "2026-01-01 10:00:00"


def surface(folder: Path, **source: Any) -> Surface:
    (folder / "raw").mkdir(exist_ok=True)
    return Surface.model_validate(
        {
            "tenant": "acme",
            "surface": "home",
            "start_date": DAY,
            "source": {
                "path": str(folder / "raw"),
                "pattern": "{day}*",
                "columns": COLUMNS,
                **source,
            },
            "artifacts": {"popularity": {}},
        }
    )


def parse(
    folder: Path, data: bytes | str, name: str = "2026-01-01.csv", **source: Any
) -> ParsedDay:
    of = surface(folder, **{"type": "csv", **source})
    (folder / "raw" / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return parse_day(of, DAY, scratch=folder)


def items(parsed: ParsedDay) -> list[str]:
    return parsed.frame.select("item_id").collect().to_series().to_list()


def reasons(parsed: ParsedDay) -> list[tuple[int, str]]:
    return [(entry["line"], entry["reason"]) for entry in parsed.first_refused]


# Rows of CSV


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (f"t,s,i\n{HOUR},a,x\n{HOUR},b,y\n", {}),
        (f"t,s,i\n{HOUR},a,x\n{HOUR},b,y", {}),
        (f"\ufefft,s,i\r\n{HOUR},a,x\r\n{HOUR},b,y\r\n", {}),
        (f"t,s,i\r{HOUR},a,x\r{HOUR},b,y\r", {}),
        (f" t , s,i \n{HOUR}, a , x\n{HOUR},b,y\n", {}),
        (f"t,s,i,more\n{HOUR},a,x,\n\n{HOUR},b,y,1\n", {}),
        (f'"t","s","i"\n"{HOUR}","a","x"\n"{HOUR}","b","y"\n', {}),
        (f"t\ts\ti\n{HOUR}\ta\tx\n{HOUR}\tb\ty\n", {"delimiter": "\t"}),
        (f"t\ts\ti\n{HOUR}\ta\tx\n{HOUR}\tb\ty\n", {"delimiter": r"\t"}),
        (f"t;s;i\n{HOUR};a;x\n{HOUR};b;y\n", {"delimiter": ";"}),
        (f"t::s::i\n{HOUR}::a::x\n{HOUR}::b::y\n", {"delimiter": "::"}),
        (f"{HOUR},a,x\n{HOUR},b,y\n", {"header": False, "names": ["t", "s", "i"]}),
        (f",s,s\n{HOUR},a,x\n{HOUR},b,y\n", {"names": ["t", "s", "i"]}),
        (f"t|s|i\n{HOUR}|'a'|'x'\n{HOUR}|'b'|y\n", {"delimiter": "|", "quote": "'"}),
    ],
)
def test_rows_are_read_however_they_are_separated(
    tmp_path: Path, text: str, keys: dict[str, Any]
) -> None:
    parsed = parse(tmp_path, text, **keys)

    assert (items(parsed), parsed.refused) == (["x", "y"], {})
    first = 1 + keys.get("header", True)
    assert places(parsed) == [(0, first), (0, first + 1)]


def test_a_first_row_that_is_an_event_is_no_header(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"names": ["t", "s", "i"]}
    with pytest.raises(RawEventsError, match=r"the first row is an event.*say `header: false`"):
        parse(tmp_path, f"{HOUR},a,x\n{HOUR},b,y\n", **keys)
    assert items(parse(tmp_path, f"t,s\n{HOUR},b,y\n", **keys)) == ["y"]
    assert items(parse(tmp_path, f"{HOUR},,x\n{HOUR},b,y\n", **keys)) == ["y"]


def test_a_header_that_is_not_separated_says_which_key_does(tmp_path: Path) -> None:
    with pytest.raises(RawEventsError, match=r"one column, 't;s;i'.*source.delimiter: \";\""):
        parse(tmp_path, f"t;s;i\n{HOUR};a;x\n")


@pytest.mark.parametrize("ending", [".gz", ""])
def test_rows_are_decompressed_by_the_suffix(tmp_path: Path, ending: str) -> None:
    data = f"t,s,i\n{HOUR},a,x\n".encode()
    parsed = parse(tmp_path, gzip.compress(data) if ending else data, f"2026-01-01.csv{ending}")
    assert items(parsed) == ["x"]


def test_a_quoted_field_holds_what_it_likes_and_without_quotes_they_are_text(
    tmp_path: Path,
) -> None:
    text = f't,s,i\n{HOUR},"a\nb","x, ""y"""\n{HOUR},c,z\n'
    parsed = parse(tmp_path, text)
    assert (items(parsed), places(parsed)) == (['x, "y"', "z"], [(0, 2), (0, 3)])
    parsed = parse(tmp_path, f't,s,i\n{HOUR},"a,"x\n', quote="")
    assert items(parsed) == ['"x']


def test_rows_of_other_lengths_and_of_no_utf_8_are_refused_with_their_number(
    tmp_path: Path,
) -> None:
    rows = [f"{HOUR},a,x", f"{HOUR},a", f"{HOUR},a,caf\xe9", f"{HOUR},a,y,1", "", f"{HOUR},a,"]
    parsed = parse(tmp_path, "\n".join(["t,s,i", *rows, f"{HOUR},a,z"]).encode("latin-1"))

    assert (items(parsed), places(parsed)) == (["x", "z"], [(0, 2), (0, 7)])
    assert reasons(parsed) == [
        (3, "wrong_fields"), (4, "invalid_utf8"), (5, "wrong_fields"), (6, "missing_id"),
    ]  # fmt: skip
    assert parsed.first_refused[0]["detail"] == "2 fields, expected 3"
    assert parsed.first_refused[0]["raw"] == f"{HOUR},a"
    assert accounted(parsed) == parsed.lines == 6
    assert parsed.rejected_bytes_share == parsed.rejected_share == 4 / 6


def test_numbers_of_rows_hold_over_blocks_with_ragged_ones_in_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_csv, "CHUNK_BYTES", 1000)  # bytes of a block
    bad = {number for number in range(400) if number % 7 == 0 or 100 <= number < 160}
    rows = ["bad" if number in bad else f"{HOUR},a,i{number}" for number in range(400)]
    parsed = parse(tmp_path, "\n".join(["t,s,i", *rows]))

    assert items(parsed) == [f"i{number}" for number in range(400) if number not in bad]
    assert [line for _, line in places(parsed)] == [int(item[1:]) + 2 for item in items(parsed)]
    assert [entry["line"] for entry in rejected(parsed)] == [number + 2 for number in sorted(bad)]


@pytest.mark.parametrize("after", [1, 5000])
@pytest.mark.parametrize("at", ["s", "i"])
def test_a_quote_that_does_not_end_loses_no_rows_without_a_word(
    tmp_path: Path, after: int, at: str
) -> None:
    broken = f'{HOUR},"a,x' if at == "s" else f'{HOUR},a,"x'
    text = "\n".join(["t,s,i", f"{HOUR},a,x", broken, *[f"{HOUR},b,y"] * after]) + "\n"
    if at == "i":  # no row is too short
        with pytest.raises(RawEventsError, match="the quote that row 3 opens does not end"):
            parse(tmp_path, text)
    else:
        parsed = parse(tmp_path, text)
        assert parsed.refused.total() >= after
        assert parsed.rejected_share > 0.3


@pytest.mark.parametrize(
    ("text", "keys", "says"),
    [
        ("t,x,i\n1,2,3\n", {}, "no field 's': there are i, t, x. Say in source.columns"),
        ("t,t,s,i\n1,1,2,3\n", {}, "columns are called 't' twice"),
        ("t;s;i\n1;2;3\n", {}, "the header is one column, 't;s;i'"),
    ],
)
def test_a_file_without_the_columns_is_named_with_those_it_has(
    tmp_path: Path, text: str, keys: dict[str, Any], says: str
) -> None:
    with pytest.raises(RawEventsError, match=r"2026-01-01\.csv") as raised:
        parse(tmp_path, text, **keys)
    assert says in str(raised.value)


@pytest.mark.parametrize("text", ["", "t,s,i\n", "t,s,i"])
def test_a_file_without_rows_has_no_events(tmp_path: Path, text: str) -> None:
    parsed = parse(tmp_path, text)
    assert (parsed.lines, parsed.events) == (0, 0)


def test_columns_that_have_the_canonical_names_need_no_mapping(tmp_path: Path) -> None:
    text = "rank,item_id,ts,session_id,price\n3,x,2026-01-01T10:00:00Z,a,9\n"
    parsed = parse(tmp_path, text, columns=None)
    found = parsed.frame.select("item_id", "rank", "user_id").collect().row(0)
    assert found == ("x", 3, None)


# Rows of Parquet


def write_parquet(folder: Path, table: pa.Table, **options: Any) -> None:
    surface(folder)
    pq.write_table(table, folder / "raw/2026-01-01.parquet", **options)


def test_rows_of_parquet_are_read_with_their_numbers_over_batches_and_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_parquet, "_BATCH_ROWS", 7)
    moment = datetime(2026, 1, 1, 10, tzinfo=UTC)
    table = pa.table(
        {
            "t": [moment] * 100,
            "s": pa.array(["a", "b"] * 50).dictionary_encode(),
            "i": [None if number % 10 == 3 else number for number in range(100)],
            "wide": [{"x": [number]} for number in range(100)],
        }
    )
    write_parquet(tmp_path, table, row_group_size=30)
    parsed = parse_day(surface(tmp_path, type="parquet"), DAY, scratch=tmp_path)

    assert [line for _, line in places(parsed)] == [int(item) + 1 for item in items(parsed)]
    assert (parsed.events, parsed.lines, parsed.rejected_share) == (90, 100, 0.1)
    assert json.loads(parsed.first_refused[0]["raw"]) == {"t": str(moment), "s": "b", "i": None}
    assert parsed.first_refused[0]["line"] == 4


def test_a_uuid_of_parquet_is_its_text(tmp_path: Path) -> None:
    wanted = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([wanted.bytes, None], pa.binary(16)))
    table = pa.table({"t": [HOUR] * 2, "s": uuids, "i": ["x", "y"], "u": uuids})
    pq.write_table(table, (of := tmp_path / "of.parquet"))
    columns = {**COLUMNS, "session_id": ["s", "i"], "user_id": "u"}
    parsed = parse(tmp_path, of.read_bytes(), "2026-01-01.parquet", type="parquet", columns=columns)
    frame = parsed.frame.select("session_id", "user_id").collect()
    assert frame.rows() == [(str(wanted), str(wanted)), ("y", None)]


LISTS: Final = [
    '[{"id": "x"}, null, {"id": 7}]',
    "[]",
    "",
    "null",
    '[{"sku": "x"}]',
    "{}",
    "[tea, cup",
]


@pytest.mark.parametrize("type", ["csv", "parquet", "jsonl"])
def test_a_list_may_be_a_text_of_json(tmp_path: Path, type: str) -> None:
    frame = pl.DataFrame({"t": [HOUR] * len(LISTS), "s": "s", "i": LISTS})
    of = tmp_path / "of"
    if type == "csv":
        frame.write_csv(of)
    elif type == "parquet":
        frame.write_parquet(of)
    else:
        frame.write_ndjson(of)
    keys: dict[str, Any] = {"explode": "i", "columns": {**COLUMNS, "item_id": "item.id"}}
    parsed = parse(tmp_path, of.read_bytes(), f"2026-01-01.{type}", type=type, **keys)

    assert items(parsed) == ["x", "7"]
    assert parsed.frame.select("part").collect().to_series().to_list() == [0, 2]
    first = 6 if type == "csv" else 5
    assert [line for line, _ in reasons(parsed)] == [first, first + 1, first + 2]
    assert parsed.left_out == 3


def test_a_map_of_parquet_is_a_list_of_pairs(tmp_path: Path) -> None:
    table = pa.table(
        {
            "t": ["2026-01-01T10:00:00Z"],
            "s": ["a"],
            "m": pa.array([[("x", "1"), ("item", "i7")]], pa.map_(pa.string(), pa.string())),
        }
    )
    write_parquet(tmp_path, table)
    of = surface(tmp_path, type="parquet", columns={**COLUMNS, "item_id": "m[item]"})
    assert items(parse_day(of, DAY, scratch=tmp_path)) == ["i7"]


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"PAR1nothing", "cannot be read to its end"), (b"", "cannot be read to its end")],
)
def test_what_is_no_parquet_is_named(tmp_path: Path, data: bytes, says: str) -> None:
    of = surface(tmp_path, type="parquet")
    (tmp_path / "raw/2026-01-01.parquet").write_bytes(data)
    with pytest.raises(RawEventsError, match=says):
        parse_day(of, DAY, scratch=tmp_path)


def test_a_parquet_file_without_a_column_is_named_with_those_it_has(tmp_path: Path) -> None:
    write_parquet(tmp_path, pa.table({"t": ["x"], "i": ["y"]}))
    with pytest.raises(RawEventsError, match=r"2026-01-01.parquet: no field 's': there are i, t\."):
        parse_day(surface(tmp_path, type="parquet"), DAY, scratch=tmp_path)


@pytest.mark.parametrize("type", ["csv", "parquet"])
def test_two_files_of_one_content_are_an_error_in_every_format(tmp_path: Path, type: str) -> None:
    frame = pl.DataFrame({"t": [f"{HOUR}Z"], "s": ["a"], "i": ["x"]})
    of = surface(tmp_path, type=type)
    for name in ("2026-01-01-a", "2026-01-01-b"):
        path = tmp_path / "raw" / name
        frame.write_csv(path) if type == "csv" else frame.write_parquet(path)
    with pytest.raises(RawEventsError, match="hold the same"):
        parse_day(of, DAY, scratch=tmp_path)


# What else is part of a day


def test_another_mapping_is_another_day(tmp_path: Path) -> None:
    text = f"t,s,i,u\n{HOUR},a,x,y\n"
    of_users = {"columns": {**COLUMNS, "user_id": "u"}}
    mappings: list[dict[str, Any]] = [
        {},
        of_users,
        {"where": {"u": "y"}},
        {"no_session": ["-1"]},
        {"time_zone": "UTC"},
        {**of_users, "sessions": {"gap_minutes": 30}},
        {**of_users, "sessions": {"gap_minutes": 31}},
    ]
    fingerprints = {parse(tmp_path, text, **keys).fingerprint for keys in mappings}
    assert len(fingerprints) == 7


def test_an_event_without_a_session_has_one_of_its_own(tmp_path: Path) -> None:
    text = f"t,s,i\n{HOUR},-1,x\n{HOUR},-1,x\n{HOUR},a,x\n"
    parsed = parse(tmp_path, text, no_session=["-1"])
    sessions = parsed.frame.select("session_id").collect().to_series().to_list()
    assert sessions == ["none 2026-01-01 0 2", "none 2026-01-01 0 3", "a"]
