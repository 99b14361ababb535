from __future__ import annotations

from collections import Counter

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.compute.codes import code_table, count_keys, decoded, pair_key, with_codes
from recsys_assets_tests import strategies

_TEXTS = st.lists(st.none() | strategies.texts | st.sampled_from("abZ9é"), max_size=12)
_CODES = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=12)


def texts(values: list[str | None]) -> pl.LazyFrame:
    return pl.LazyFrame({"id": values}, schema={"id": pl.String})


def test_codes_number_the_distinct_strings_by_their_utf8_bytes() -> None:
    table = code_table(texts(["b", "a", "é", "B", "a", None, "😀", "\uffee"]), "id")

    assert table.rows() == [("B", 0), ("a", 1), ("b", 2), ("é", 3), ("\uffee", 4), ("😀", 5)]
    assert table.schema == {"id": pl.String, "id_code": pl.UInt32}


def test_no_strings_have_no_codes() -> None:
    assert code_table(texts([]), "id").height == 0
    assert code_table(texts([None]), "id").height == 0


def test_rows_without_a_code_are_dropped_and_the_column_is_replaced() -> None:
    table = code_table(texts(["b", "a"]), "id")

    coded = with_codes(
        pl.LazyFrame({"id": ["a", "x", None, "b"], "n": [1, 2, 3, 4]}), table
    ).collect()

    assert sorted(coded.select("n", "id_code").rows()) == [(1, 0), (4, 1)]
    assert "id" not in coded.columns


def test_decoding_keeps_null_and_names_the_column() -> None:
    table = code_table(texts(["b", "a"]), "id")

    actual = decoded(pl.Series([1, None, 0], dtype=pl.UInt32), table)

    assert (actual.name, actual.to_list()) == ("id", ["b", None, "a"])


@given(_TEXTS)
def test_decoding_a_code_gives_its_string_back(values: list[str | None]) -> None:
    table = code_table(texts(values), "id")

    distinct = sorted({value for value in values if value is not None}, key=str.encode)
    assert table["id"].to_list() == distinct
    assert decoded(table["id_code"], table).to_list() == distinct


@given(_CODES)
def test_a_pair_key_sorts_by_the_high_code_then_the_low_and_unpacks(
    codes: list[tuple[int, int]],
) -> None:
    frame = pl.DataFrame(codes, schema={"high": pl.UInt32, "low": pl.UInt32}, orient="row")

    keys = frame.select(pair_key(pl.col("high"), pl.col("low"))).to_series()

    assert keys.dtype == pl.UInt64
    assert [divmod(key, 2**32) for key in keys.sort()] == sorted(codes)


@given(st.lists(st.integers(0, 5) | st.just(2**64 - 1), max_size=30))
def test_keys_are_counted_in_ascending_order(keys: list[int]) -> None:
    counted = count_keys(pl.Series(keys, dtype=pl.UInt64))

    assert counted.rows() == sorted(Counter(keys).items())
    assert counted.schema == {"key": pl.UInt64, "count": pl.Int64}
