from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.audit import drafts
from recsys_assets.audit.drafts import CheckedList, whole_lists
from recsys_assets.contracts import dtypes
from recsys_assets.documents import list_text
from recsys_assets.kinds import KINDS

IMPLICIT = KINDS["implicit"]
_LISTS = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("uvwxyz"), max_size=5))


def implicit(rows: list[tuple[Any, ...]]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema=dtypes(IMPLICIT.contract), orient="row")


@given(_LISTS, st.integers(1, 5))
def test_pieces_split_no_list_and_are_written_like_one(
    lists: dict[str, set[str]], piece_rows: int
) -> None:
    frame = implicit([(user, item, 1.0) for user in sorted(lists) for item in sorted(lists[user])])
    whole = b"".join(list_text([frame.collect()], IMPLICIT.layout))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drafts, "_PIECE_ROWS", piece_rows)
        pieces = list(whole_lists(frame, IMPLICIT.layout))
        checked = CheckedList(IMPLICIT, frame)
        text = b"".join(checked.text())

    owners = [set(piece["user_id"]) for piece in pieces]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert pl.concat(pieces).equals(frame.collect())
    assert text == whole
    assert checked.verdict.passed
    assert checked.numbers == {
        "dagster/row_count": frame.collect().height,
        "users": sum(bool(items) for items in lists.values()),
    }


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "x", 1.0), ("b", "x", 1.0), ("c", "x", 1.0), ("b", "x", 1.0)],  # out of order
        [("a", "x", 1.0), ("a", "y", 1.0), ("a", "z", 1.0), ("a", "z", 1.0)],  # repeated
        [("a", "x", 1.0), ("b", "x", 1.0), ("c", "x", 0.0)],
        [("a", "x", 1.0), ("b", "x", 1.0), (None, "x", 1.0)],
        [(None, "x", 1.0), (None, "y", 1.0), (None, "z", 1.0)],
    ],
)
@pytest.mark.parametrize("piece_rows", [1, 2, 3])
def test_a_contract_broken_in_any_piece_is_found(
    rows: list[tuple[Any, ...]], piece_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "_PIECE_ROWS", piece_rows)
    checked = CheckedList(IMPLICIT, implicit(rows))

    for _ in checked.text():
        pass

    assert not checked.verdict.passed
    assert "break contract 'implicit'" in checked.verdict.description


def test_an_empty_frame_of_wrong_types_breaks_its_contract() -> None:
    checked = CheckedList(IMPLICIT, implicit([]).with_columns(pl.col("score").cast(pl.Int64)))

    assert b"".join(checked.text()) == b'"users":[]'
    assert not checked.verdict.passed
