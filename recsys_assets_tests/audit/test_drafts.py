from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.audit import drafts
from recsys_assets.audit.drafts import CheckedList, whole_lists
from recsys_assets.compute.coded import Coded, Piece
from recsys_assets.contracts import dtypes
from recsys_assets.documents import list_text
from recsys_assets.kinds import KINDS
from recsys_assets.verdicts import passed
from recsys_assets_tests.frames import coded

IMPLICIT, SEQUENCES = KINDS["implicit"], KINDS["session_seq"]
# Whole, not whole, and more than are written once for all rows.
_SCORES = st.sampled_from([1.0, 2.0, 7.0, 1.5, 10_000.0, 10_001.0, 1e21])
_LISTS = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("uvwxyz"), max_size=5))


def implicit(rows: list[tuple[Any, ...]]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema=dtypes(IMPLICIT.contract), orient="row")


@given(_LISTS, st.integers(1, 5))
def test_pieces_split_no_list_and_are_written_like_one(
    lists: dict[str, set[str]], piece_rows: int
) -> None:
    frame = implicit([(user, item, 1.0) for user in sorted(lists) for item in sorted(lists[user])])
    whole = b"".join(list_text([Piece(frame.collect())], IMPLICIT.layout))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drafts, "_PIECE_ROWS", piece_rows)
        pieces = list(whole_lists(Coded(frame), IMPLICIT.layout))
        checked = CheckedList(IMPLICIT, Coded(frame))
        text = b"".join(checked.text())

    owners = [set(piece.frame["user_id"]) for piece in pieces]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert pl.concat(piece.frame for piece in pieces).equals(frame.collect())
    assert text == whole
    assert checked.verdict.passed
    assert checked.numbers == {
        "dagster/row_count": frame.collect().height,
        "users": sum(bool(items) for items in lists.values()),
    }


@given(
    st.dictionaries(
        st.sampled_from(["a", "b\nb", "é", "<c>"]),
        st.dictionaries(st.sampled_from(['"x', "y", "😀"]), _SCORES, max_size=3),
    ),
    st.integers(1, 4),
)
def test_codes_give_what_ids_give(lists: dict[str, dict[str, float]], piece_rows: int) -> None:
    nothing: Any = (None, None)
    rows: list[tuple[Any, ...]] = [
        (user, *entry)
        for user in sorted(lists)
        for entry in sorted(lists[user].items(), key=lambda of: (-of[1], of[0].encode()))
        or [nothing]
    ]
    frame = pl.DataFrame(rows, schema=dtypes(SEQUENCES.contract), orient="row")
    users, items = coded(frame, "user_id"), coded(frame, "item_id")
    plan = users.plan.with_columns(items.plan.collect()["item_id"])
    with_codes = Coded(plan, {**users.ids, **items.ids})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drafts, "_PIECE_ROWS", piece_rows)
        texts, others = [], []
        for given_rows in (Coded(frame.lazy()), with_codes):
            checked = CheckedList(SEQUENCES, given_rows, "", SEQUENCES.layout.outliner())
            texts.append(b"".join(checked.text()))
            assert checked.verdict == passed(rows=frame.height)
            assert checked.outliner is not None
            outline = checked.outliner.made()
            others.append((checked.numbers, checked.page.show(lambda _: {}), outline.lists.rows()))

    read = json.loads(b"{" + texts[0] + b"}")["users"]
    assert [
        (one["user_id"], [(e["item_id"], e["score"]) for e in one["items"]]) for one in read
    ] == [
        (user, sorted(lists[user].items(), key=lambda of: (-of[1], of[0].encode())))
        for user in sorted(lists)
    ]
    assert texts[0] == texts[1]
    assert others[0] == others[1]


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
    checked = CheckedList(IMPLICIT, Coded(implicit(rows)))

    for _ in checked.text():
        pass

    assert not checked.verdict.passed
    assert "break contract 'implicit'" in checked.verdict.description


def test_an_empty_frame_of_wrong_types_breaks_its_contract() -> None:
    checked = CheckedList(
        IMPLICIT, Coded(implicit([]).with_columns(pl.col("score").cast(pl.Int64)))
    )

    assert b"".join(checked.text()) == b'"users":[]'
    assert not checked.verdict.passed
