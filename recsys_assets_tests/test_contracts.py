from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from pandera.errors import SchemaErrors

from recsys_assets.contracts import (
    ARTIFACTS,
    CANONICAL_DTYPES,
    TIMESTAMP,
    canonical_event,
    dtypes,
    holds,
    ids_hold,
)
from recsys_assets.kinds import KINDS
from recsys_assets.texts import WHITE_SPACE
from recsys_assets_tests.frames import coded

DAY = date(2026, 1, 1)
NOON = datetime(2026, 1, 1, 12)

CONTRACTS: dict[str, pa.DataFrameSchema] = {**ARTIFACTS, "canonical_event": canonical_event(DAY)}
# Of any kind, what its example gives; of some, more.
GOOD: dict[str, list[tuple[Any, ...]]] = {
    **{kind: list(row.example.rows) for kind, row in KINDS.items()},
    "canonical_event": [
        (NOON, "u", "s", "r", "i", 0, 0, 1),
        (NOON, None, "s", None, "i", None, 0, 3),
        (NOON, "u", "s", "r", "i", 7, 1, 1),
    ],
    "popularity": [("b", 3), ("a", 1), ("c", 1)],
    "cooc": [("a", "c", 2), ("a", "b", 1), ("b", None, None), ("c", "a", 2), ("c", "b", 2)],
    "implicit": [("u", "b", 2.0), ("u", "a", 1.0), ("v", "a", 1.0)],
    "session_seq": [("t", None, None), ("u", "b", 2.0), ("u", "a", 1.0), ("v", None, None)],
    "content_sim": [("a", ["red", "blue"]), ("a", ["red"]), ("b", ["x y", "οδος"])],
}
BLANKS = ["", " ", " a", "a ", "\u00a0a", "a\u3000", "\u2028"]


def frame_of(name: str, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dtypes(CONTRACTS[name]), orient="row")


def good(name: str) -> pl.DataFrame:
    return frame_of(name, GOOD[name])


def broken_rules(contract: pa.DataFrameSchema, frame: pl.DataFrame) -> set[str]:
    """Return what Pandera finds; the one pass over all rules must say whether it is nothing."""
    try:
        contract.validate(frame, lazy=True)
    except SchemaErrors as errors:
        assert not holds(contract, frame)
        assert not holds_with_codes(contract, frame)
        return set(errors.failure_cases["check"])
    rules = [*contract.checks, *(r for column in contract.columns.values() for r in column.checks)]
    if all(hasattr(rule, "surely") for rule in rules):  # of Pandera's own, Pandera alone decides
        assert holds(contract, frame)
        assert holds_with_codes(contract, frame)
    return set()


def holds_with_codes(contract: pa.DataFrameSchema, frame: pl.DataFrame) -> bool:
    """Tell whether a frame keeps its contract, with codes in the place of its ids."""
    columns = [name for name in contract.columns if name.endswith("_id")]
    if any(frame.schema.get(name) != pl.String for name in columns):
        return False
    rows = coded(frame, *columns)
    return ids_hold(contract, rows.ids) and holds(contract, rows.plan.collect(), columns)


def with_value(name: str, row: int, column: str, value: Any) -> pl.DataFrame:
    rows = [list(cells) for cells in GOOD[name]]
    rows[row][list(dtypes(CONTRACTS[name])).index(column)] = value
    return frame_of(name, [tuple(cells) for cells in rows])


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_good_frame_passes(name: str) -> None:
    assert broken_rules(CONTRACTS[name], good(name)) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_of_a_kind_passes(kind: str) -> None:
    rows = list(KINDS[kind].example.rows)

    assert broken_rules(KINDS[kind].contract, frame_of(kind, rows)) == set()


@pytest.mark.parametrize("name", CONTRACTS)
def test_an_empty_frame_passes(name: str) -> None:
    assert broken_rules(CONTRACTS[name], frame_of(name, [])) == set()


@pytest.mark.parametrize("name", CONTRACTS)
def test_one_row_passes(name: str) -> None:
    assert broken_rules(CONTRACTS[name], good(name).head(1)) == set()


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_column_too_many_breaks_the_contract(name: str) -> None:
    frame = good(name).with_columns(extra=pl.lit(1))

    assert "column_in_schema" in broken_rules(CONTRACTS[name], frame)


@pytest.mark.parametrize(
    ("name", "column"), [(name, c) for name in CONTRACTS for c in dtypes(CONTRACTS[name])]
)
def test_a_missing_column_breaks_the_contract(name: str, column: str) -> None:
    assert "column_in_dataframe" in broken_rules(CONTRACTS[name], good(name).drop(column))


@pytest.mark.parametrize("name", CONTRACTS)
def test_columns_in_another_order_break_the_contract(name: str) -> None:
    frame = good(name).select(reversed(good(name).columns))

    assert "column_ordered" in broken_rules(CONTRACTS[name], frame)


@pytest.mark.parametrize(
    ("name", "column"), [(name, c) for name in CONTRACTS for c in dtypes(CONTRACTS[name])]
)
def test_another_dtype_breaks_the_contract(name: str, column: str) -> None:
    near = {
        "Datetime": pl.Datetime("us", "UTC"),
        "String": pl.Categorical(),
        "Int64": pl.Int32(),
        "Int32": pl.Int64(),
        "Float64": pl.Float32(),
        "List": pl.List(pl.Categorical()),
    }
    frame = good(name)
    other = frame.with_columns(
        pl.col(column).cast(near.get(str(frame[column].dtype.base_type()), pl.String()))
    )

    rules = broken_rules(CONTRACTS[name], other)

    assert any(rule.startswith("dtype(") for rule in rules)


REQUIRED = {
    "canonical_event": ["ts", "session_id", "item_id", "file", "line"],
    "popularity": ["item_id", "count"],
    "cooc": ["item_id"],
    "implicit": ["user_id", "item_id", "score"],
    "session_seq": ["user_id"],
    "content_sim": ["item_id", "tags"],
}


@pytest.mark.parametrize(("name", "column"), [(n, c) for n, cs in REQUIRED.items() for c in cs])
def test_a_null_where_none_may_be_breaks_the_contract(name: str, column: str) -> None:
    assert "not_nullable" in broken_rules(CONTRACTS[name], with_value(name, 1, column, None))


IDS = {
    "canonical_event": ["user_id", "session_id", "request_id", "item_id"],
    "popularity": ["item_id"],
    "cooc": ["item_id", "neighbour_id"],
    "implicit": ["user_id", "item_id"],
    "session_seq": ["user_id", "item_id"],
    "content_sim": ["item_id"],
}


@pytest.mark.parametrize("blank", BLANKS, ids=map(ascii, BLANKS))
@pytest.mark.parametrize(("name", "column"), [(n, c) for n, cs in IDS.items() for c in cs])
def test_an_id_that_is_blank_or_not_trimmed_breaks_the_contract(
    name: str, column: str, blank: str
) -> None:
    frame = with_value(name, 0, column, blank)

    assert "trimmed_and_not_blank" in broken_rules(CONTRACTS[name], frame)


@pytest.mark.parametrize("name", ["canonical_event", "popularity"])
def test_an_id_may_hold_white_space_inside_and_control_characters(name: str) -> None:
    frame = with_value(name, 0, "item_id", "\x1ca b\u200b")

    assert broken_rules(CONTRACTS[name], frame) == set()


@pytest.mark.parametrize(
    ("name", "row", "column", "value", "rule"),
    [
        ("canonical_event", 0, "rank", -1, "greater_than_or_equal_to(0)"),
        ("canonical_event", 0, "file", -1, "greater_than_or_equal_to(0)"),
        ("canonical_event", 0, "line", 0, "greater_than_or_equal_to(1)"),
        ("canonical_event", 1, "line", 1, "in_source_order"),
        ("canonical_event", 2, "file", 0, "in_source_order"),
        ("popularity", 2, "count", 0, "greater_than_or_equal_to(1)"),
        ("popularity", 2, "count", 2, "by_count_then_id"),
        ("popularity", 0, "count", 1, "by_count_then_id"),
        ("popularity", 2, "item_id", "a", "by_count_then_id"),
        ("popularity", 2, "item_id", "b", "item_is_unique"),
        ("cooc", 1, "count", 0, "greater_than_or_equal_to(1)"),
        ("cooc", 0, "neighbour_id", "a", "no_item_is_its_own_neighbour"),
        ("cooc", 1, "count", 3, "by_item_then_count_then_neighbour"),
        ("cooc", 4, "neighbour_id", "0", "by_item_then_count_then_neighbour"),
        ("cooc", 2, "item_id", "0", "by_item_then_count_then_neighbour"),
        ("cooc", 1, "neighbour_id", "c", "neighbour_is_unique_per_item"),
        ("cooc", 0, "neighbour_id", None, "empty_list_is_one_row"),
        ("cooc", 0, "count", None, "empty_list_is_one_row"),
        ("cooc", 2, "count", 1, "empty_list_is_one_row"),
        ("cooc", 2, "item_id", "a", "empty_list_is_one_row"),
        ("cooc", 2, "item_id", "c", "empty_list_is_one_row"),
        ("implicit", 1, "score", 0.5, "greater_than_or_equal_to(1)"),
        ("implicit", 1, "score", 3.0, "by_user_then_score_then_item"),
        ("implicit", 0, "score", 1.0, "by_user_then_score_then_item"),
        ("implicit", 2, "user_id", "a", "by_user_then_score_then_item"),
        ("implicit", 1, "item_id", "b", "item_is_unique_per_user"),
        ("session_seq", 2, "score", 0.5, "greater_than_or_equal_to(1)"),
        ("session_seq", 2, "score", 3.0, "by_user_then_score_then_item"),
        ("session_seq", 3, "user_id", "a", "by_user_then_score_then_item"),
        ("session_seq", 2, "item_id", "b", "item_is_unique_per_user"),
        ("session_seq", 1, "item_id", None, "empty_list_is_one_row"),
        ("session_seq", 1, "score", None, "empty_list_is_one_row"),
        ("session_seq", 0, "user_id", "u", "empty_list_is_one_row"),
        ("session_seq", 3, "user_id", "u", "empty_list_is_one_row"),
        ("content_sim", 0, "tags", [], "at_least_one_tag"),
        ("content_sim", 0, "tags", ["a", "b", "a"], "tags_are_distinct"),
        ("content_sim", 0, "tags", ["a", ""], "tags_are_trimmed_and_lower_case"),
        ("content_sim", 0, "tags", ["a", "b\u00a0"], "tags_are_trimmed_and_lower_case"),
        ("content_sim", 0, "tags", ["a", "B"], "tags_are_trimmed_and_lower_case"),
        ("content_sim", 1, "item_id", "c", "by_item"),
    ],
)
def test_a_rule_broken_once_is_named(
    name: str, row: int, column: str, value: Any, rule: str
) -> None:
    assert rule in broken_rules(CONTRACTS[name], with_value(name, row, column, value))


@pytest.mark.parametrize("name", ["implicit", "session_seq"])
def test_a_score_that_is_no_number_breaks_the_contract(name: str) -> None:
    """JSON has no NaN, so that a document with one could not be read."""
    assert broken_rules(CONTRACTS[name], with_value(name, 1, "score", float("nan")))


def test_a_null_among_the_tags_breaks_the_contract() -> None:
    """The document has no word for it: the whole row would be missing there."""
    frame = with_value("content_sim", 0, "tags", ["red", None])

    assert broken_rules(CONTRACTS["content_sim"], frame)


@pytest.mark.parametrize(
    ("nanoseconds", "belongs"),
    [(-1, False), (0, True), (86_400 * 10**9 - 1, True), (86_400 * 10**9, False)],
)
def test_a_day_is_from_midnight_to_midnight_utc_to_the_nanosecond(
    nanoseconds: int, belongs: bool
) -> None:
    midnight = 1_767_225_600 * 10**9
    frame = (
        good("canonical_event")
        .head(1)
        .with_columns(ts=pl.lit(midnight + nanoseconds, pl.Int64).cast(TIMESTAMP))
    )

    rules = broken_rules(canonical_event(DAY), frame)

    assert rules == (set() if belongs else {"within_the_day"})


def test_a_day_is_that_of_the_contract() -> None:
    frame = good("canonical_event")

    assert broken_rules(canonical_event(DAY + timedelta(days=1)), frame) == {"within_the_day"}
    assert broken_rules(canonical_event(DAY - timedelta(days=1)), frame) == {"within_the_day"}


def test_the_order_of_ids_is_that_of_utf8_bytes() -> None:
    frame = frame_of("popularity", [(item, 1) for item in ["10", "9", "B", "a", "é", "\uffee"]])

    assert broken_rules(CONTRACTS["popularity"], frame) == set()
    assert broken_rules(CONTRACTS["popularity"], frame.reverse()) == {"by_count_then_id"}


def test_the_dtypes_of_a_canonical_event_are_those_of_the_data_dictionary() -> None:
    assert (
        pl.Schema(
            {
                "ts": pl.Datetime("ns", "UTC"),
                "user_id": pl.String(),
                "session_id": pl.String(),
                "request_id": pl.String(),
                "item_id": pl.String(),
                "rank": pl.Int64(),
                "file": pl.Int32(),
                "line": pl.Int64(),
            }
        )
        == CANONICAL_DTYPES
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("popularity", {"item_id": pl.String(), "count": pl.Int64()}),
        ("cooc", {"item_id": pl.String(), "neighbour_id": pl.String(), "count": pl.Int64()}),
        ("implicit", {"user_id": pl.String(), "item_id": pl.String(), "score": pl.Float64()}),
        ("session_seq", {"user_id": pl.String(), "item_id": pl.String(), "score": pl.Float64()}),
        ("content_sim", {"item_id": pl.String(), "tags": pl.List(pl.String())}),
    ],
)
def test_the_columns_of_an_artifact_are_those_of_the_data_dictionary(
    kind: str, expected: dict[str, pl.DataType]
) -> None:
    assert dtypes(ARTIFACTS[kind]) == pl.Schema(expected)


def test_there_is_a_contract_for_every_kind() -> None:
    assert list(ARTIFACTS) == list(KINDS)
    assert [contract.name for contract in ARTIFACTS.values()] == list(KINDS)
    assert all(row.contract is ARTIFACTS[kind] for kind, row in KINDS.items())


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_column_of_the_data_dictionary_is_described(name: str) -> None:
    assert all(column.description for column in CONTRACTS[name].columns.values())


def test_white_space_is_what_polars_trims() -> None:
    everything = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    trimmed = pl.Series(everything).str.strip_chars()

    assert "".join(c for c, rest in zip(everything, trimmed, strict=True) if not rest) == (
        WHITE_SPACE
    )


@pytest.mark.parametrize("ids", [["b", "a"], ["a", "a"], ["a", " b"], ["", "a"], [None, "a"]])
def test_ids_that_are_out_of_order_or_no_ids_do_not_hold(ids: list[str | None]) -> None:
    assert not ids_hold(ARTIFACTS["cooc"], {"item_id": pl.Series(ids)})
    assert ids_hold(ARTIFACTS["cooc"], {"item_id": pl.Series(["a", "b"])})
