"""Frames are held to their contract, and larger ones piece by piece."""

from __future__ import annotations

from typing import Any

import pandera.polars as pa
import polars as pl
import pytest

from recsys_assets.audit.contract import MAX_SHOWN_ROWS, check_contract, check_pieces
from recsys_assets.contracts import COOC, POPULARITY, canonical_event, dtypes
from recsys_assets.verdicts import passed
from recsys_assets_tests.frames import DAY, shown


def popularity(*rows: tuple[str | None, int]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dtypes(POPULARITY), orient="row")


def test_a_frame_that_holds_its_contract_passes_with_its_number_of_rows() -> None:
    assert check_contract(POPULARITY, popularity(("b", 2), ("a", 1))) == passed(rows=2)


def test_a_broken_rule_is_named_with_its_number_of_cases_and_a_sample() -> None:
    verdict = check_contract(POPULARITY, popularity(("c", 2), ("a", 3), ("b", 3), ("c", 1)))

    assert not verdict.passed
    assert verdict.description == (
        "3 cases break contract 'popularity': item_is_unique (2), by_count_then_id (1)"
    )
    assert verdict.failures == 3
    assert {
        "check": "by_count_then_id",
        "column": "popularity",
        "failure_case": '{"item_id":"a","count":3}',
        "index": 1,
    } in verdict.rows


def test_every_broken_rule_is_reported_at_once() -> None:
    verdict = check_contract(POPULARITY, popularity((" ", 1), (None, 0)))

    for rule in [
        "trimmed_and_not_blank (1)",
        "not_nullable (1)",
        "greater_than_or_equal_to(1) (1)",
    ]:
        assert rule in verdict.description
    assert {row["check"] for row in verdict.rows} >= {
        "trimmed_and_not_blank",
        "not_nullable",
        "greater_than_or_equal_to(1)",
    }


def test_values_are_looked_at_and_not_only_names_and_dtypes() -> None:
    """The contract of a LazyFrame would pass here."""
    assert not check_contract(POPULARITY, popularity(("a", 0))).passed


def test_the_sample_is_bounded_and_the_count_is_not() -> None:
    verdict = check_contract(POPULARITY, popularity(*((f"{n:03}", 0) for n in range(100))))

    assert verdict.failures == 100
    assert len(verdict.rows) == MAX_SHOWN_ROWS == 10


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_pieces_that_hold_the_contract_pass_with_all_their_rows(size: int) -> None:
    events = shown(*"abcabc")

    verdict = check_pieces(canonical_event(DAY), events.iter_slices(size))

    assert verdict == passed(rows=6)


def test_no_pieces_hold_the_contract() -> None:
    assert check_pieces(canonical_event(DAY), []) == passed(rows=0)


def test_an_order_break_exactly_between_two_pieces_is_caught() -> None:
    events = shown(*"abcd")

    for first, second in [(events[2:], events[:2]), (events[:2], events[1:])]:
        verdict = check_pieces(canonical_event(DAY), [first, second])
        assert not verdict.passed
        assert (
            verdict.description == "1 cases break contract 'canonical_event': in_source_order (1)"
        )


def test_an_order_break_across_an_empty_piece_is_caught() -> None:
    events = shown(*"abcd")

    verdict = check_pieces(canonical_event(DAY), [events[2:], events[:0], events[:2]])

    assert not verdict.passed


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_bad_piece_fails_wherever_it_stands_and_ends_the_reading(at: int) -> None:
    pieces = list(shown(*"abc").iter_slices(1))
    pieces[at] = pieces[at].with_columns(item_id=pl.lit(" "))
    read = []

    def reading() -> Any:
        for number, piece in enumerate(pieces):
            read.append(number)
            yield piece

    verdict = check_pieces(canonical_event(DAY), reading())

    assert "trimmed_and_not_blank (1)" in verdict.description
    assert read == list(range(at + 1))


def test_a_contract_with_nulls_for_an_empty_list_passes_as_a_check() -> None:
    frame = pl.DataFrame([("a", None, None)], schema=dtypes(COOC), orient="row")

    assert check_contract(COOC, frame).passed


def of_counts(column: pa.Column, **rules: Any) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({"count": column}, strict=True, ordered=True, name="counts", **rules)


@pytest.mark.parametrize(
    "contract",
    [
        of_counts(pa.Column(pl.Int64, pa.Check.ge(1))),
        of_counts(pa.Column(pl.Int64), checks=pa.Check.ge(1)),
    ],
    ids=["of a column", "of rows"],
)
def test_a_check_of_pandera_itself_is_held_to(contract: pa.DataFrameSchema) -> None:
    good, bad = pl.DataFrame({"count": [2, 1]}), pl.DataFrame({"count": [2, 0, 1, -1]})

    assert check_contract(contract, good) == passed(rows=2)
    verdict = check_contract(contract, bad)
    assert verdict.outcome == "failed"
    assert verdict.failures == 2
    assert "break contract 'counts': greater_than_or_equal_to(1) (2)" in verdict.description


@pytest.mark.parametrize(
    "contract",
    [of_counts(pa.Column(pl.Int64, unique=True)), of_counts(pa.Column(pl.Int64), unique=["count"])],
    ids=["of a column", "of rows"],
)
def test_what_pandera_knows_as_unique_is_held_to(contract: pa.DataFrameSchema) -> None:
    assert check_contract(contract, pl.DataFrame({"count": [2, 1]})) == passed(rows=2)
    assert not check_contract(contract, pl.DataFrame({"count": [2, 2]})).passed
