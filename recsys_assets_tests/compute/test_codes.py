from __future__ import annotations

from collections import Counter
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.compute.codes import (
    add_up,
    ascending,
    codes_among,
    count_keys,
    distinct,
    distinct_of_all,
    high_code,
    low_code,
    number_as_they_come,
    pair_key,
    recoded,
    with_codes,
)
from recsys_assets_tests import strategies

_TEXTS = st.lists(st.none() | strategies.texts | st.sampled_from("abZ9é"), max_size=12)
_CODES = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=12)


def texts(values: list[str | None]) -> pl.LazyFrame:
    return pl.LazyFrame({"id": values}, schema={"id": pl.String})


def series(*values: str) -> pl.Series:
    return pl.Series("id", values, dtype=pl.String)


def test_codes_number_the_distinct_strings_by_their_utf8_bytes() -> None:
    ids = distinct(texts(["b", "a", "é", "B", "a", None, "😀", "\uffee"]), "id")

    assert ids.to_list() == ["B", "a", "b", "é", "\uffee", "😀"]


@given(st.lists(st.integers(0, 2**64 - 1)), st.sampled_from([pl.UInt32, pl.UInt64]))
def test_integers_are_put_in_order_whether_or_not_they_are(
    numbers: list[int], dtype: type[pl.DataType]
) -> None:
    given_ones = pl.Series("key", numbers).cast(pl.UInt64) if numbers else pl.Series("key", [])
    keys = (given_ones.cast(pl.UInt64) % 2**32).cast(dtype)

    for some in (keys, keys.sort(), pl.concat([keys, keys])):
        assert ascending(some).equals(some.sort(), check_dtypes=True, check_names=True)


def _counted(most: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    return st.lists(st.tuples(st.integers(0, most), st.integers(0, 2**32 - 1)))


@given(_counted(2**64 - 1) | _counted(2**33) | _counted(2))
def test_counts_of_equal_keys_are_added_up(rows: list[tuple[int, int]]) -> None:
    rows = [*rows, *rows[::3]]
    expected = Counter[int]()
    for key, count in rows:
        expected[key] += count
    keys = pl.Series("key", [key for key, _ in rows], dtype=pl.UInt64)

    found = add_up(keys, pl.Series("count", [count for _, count in rows], dtype=pl.UInt32))

    assert found.rows() == sorted(expected.items())
    assert found.schema == {"key": pl.UInt64, "count": pl.Int64}


def test_no_strings_have_no_codes() -> None:
    assert distinct(texts([]), "id").to_list() == []
    assert distinct(texts([None]), "id").to_list() == []


def test_rows_without_a_code_are_dropped_and_the_column_is_replaced() -> None:
    coded = with_codes(
        pl.LazyFrame({"id": ["a", "x", None, "b"], "n": [1, 2, 3, 4]}), series("a", "b")
    ).collect()

    assert sorted(coded.select("n", "id_code").rows()) == [(1, 0), (4, 1)]
    assert coded.schema["id_code"] == pl.UInt32
    assert "id" not in coded.columns


@given(st.lists(_TEXTS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_days_numbered_together_keep_what_their_codes_stand_for(
    days: list[list[str | None]], random: Random
) -> None:
    """Each day's keys, in the codes of all days, stand for the same pairs of strings."""
    ids = [distinct(texts(values), "id") for values in days]
    together = distinct_of_all(ids)

    assert together.to_list() == sorted({text for day in ids for text in day}, key=str.encode)
    for day in ids:
        new = codes_among(together, day)
        pairs = [(random.randrange(day.len()), random.randrange(day.len())) for _ in day]
        frame = pl.DataFrame(pairs, schema={"high": pl.UInt32, "low": pl.UInt32}, orient="row")
        keys = frame.select(key=pair_key(pl.col("high"), pl.col("low"))).to_series()
        found = recoded(keys, new, new).to_frame().select(high_code("key"), low=low_code("key"))
        assert [(together[a], together[b]) for a, b in found.rows()] == [
            (day[a], day[b]) for a, b in pairs
        ]


@given(st.lists(st.lists(st.sampled_from("abcdé"), unique=True), min_size=1, max_size=4))
def test_strings_are_numbered_as_they_first_come(days: list[list[str]]) -> None:
    numbers = number_as_they_come([series(*day) for day in days])

    order = {
        text: at for at, text in enumerate(dict.fromkeys(text for day in days for text in day))
    }
    assert [day.to_list() for day in numbers] == [[order[text] for text in day] for day in days]
    assert {day.dtype for day in numbers} == {pl.UInt32}


def test_strings_of_equal_hashes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.Series, "hash", lambda ids: pl.repeat(7, ids.len(), eager=True))

    first, second = number_as_they_come([series("a", "b"), series("c", "b")])
    coded = with_codes(texts(["b", None, "a", "b"]), series("a", "b")).collect()

    assert (first.to_list(), second.to_list()) == ([0, 1], [2, 1])
    assert sorted(coded["id_code"]) == [0, 1, 1]


@given(_CODES)
def test_a_pair_key_sorts_by_the_high_code_then_the_low_and_unpacks(
    codes: list[tuple[int, int]],
) -> None:
    frame = pl.DataFrame(codes, schema={"high": pl.UInt32, "low": pl.UInt32}, orient="row")

    keys = frame.select(pair_key(pl.col("high"), pl.col("low"))).to_series()

    assert keys.dtype == pl.UInt64
    assert [divmod(key, 2**32) for key in keys.sort()] == sorted(codes)
    unpacked = keys.alias("key").to_frame().select(high_code("key"), low=low_code("key"))
    assert unpacked.rows() == codes


@given(st.lists(st.integers(0, 5) | st.just(2**64 - 1), max_size=30))
def test_keys_are_counted_in_ascending_order(keys: list[int]) -> None:
    counted = count_keys(pl.Series(keys, dtype=pl.UInt64))

    assert counted.rows() == sorted(Counter(keys).items())
    assert counted.schema == {"key": pl.UInt64, "count": pl.UInt32}
