from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from recsys_assets.compute.coded import Coded, Piece
from recsys_assets_tests.frames import coded

_IDS = st.lists(st.sampled_from(["a", "B", "é", "😀", "\uffee", "b"]) | st.none(), min_size=1)


def frame_of(ids: list[str | None]) -> pl.DataFrame:
    schema = {"id": pl.String, "n": pl.Int64}
    return pl.DataFrame({"id": ids, "n": range(len(ids))}, schema=schema)


@given(_IDS)
def test_codes_give_their_ids_back_and_null_stays_null(ids: list[str | None]) -> None:
    frame = frame_of(ids)
    of_codes = coded(frame, "id")

    assert_frame_equal(of_codes.collect(), frame)
    assert_frame_equal(of_codes.slice(1, 3).decoded(), frame.slice(1, 3))
    assert of_codes.ids["id"].to_list() == sorted(
        (each for each in {*ids} if each is not None), key=str.encode
    )


@given(_IDS, st.sets(st.sampled_from(["a", "é", "x"])))
def test_rows_have_the_same_ids_with_codes_and_without(
    ids: list[str | None], unwanted: set[str]
) -> None:
    frame = frame_of(ids)
    every = pl.int_range(frame.height, eager=True, dtype=pl.UInt32)
    for rows in (Piece(frame), coded(frame, "id").slice(0, frame.height)):
        among, places = rows.coded("id")
        assert_series_equal(among.gather(places).alias("id"), frame["id"])
        assert_series_equal(rows.at("id", every), frame["id"])
    left = frame.filter(~pl.col("id").is_in(unwanted).fill_null(value=False))
    for plan in (Coded(frame.lazy()), coded(frame, "id")):
        assert_frame_equal(
            plan.without("id", pl.Series([*unwanted], dtype=pl.String)).collect(), left
        )


def test_a_slice_costs_no_more_than_it_holds() -> None:
    made: list[int] = []

    def doubled(numbers: pl.Series) -> pl.Series:
        made.append(numbers.len())
        return numbers * 2

    plan: Any = pl.col("n").map_batches(doubled, return_dtype=pl.Int64, is_elementwise=True)
    rows = Coded(pl.LazyFrame({"n": range(1000)}).select(plan)).slice(500, 10)

    assert rows.frame["n"].to_list() == list(range(1000, 1020, 2))
    assert sum(made) == 10
