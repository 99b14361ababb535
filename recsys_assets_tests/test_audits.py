from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets import audits
from recsys_assets.audits import Held, audit_events, whole_lists
from recsys_assets.contracts import ARTIFACTS, dtypes
from recsys_assets.documents import list_text
from recsys_assets.events.kept_counts import SharedCounts
from recsys_assets_tests.project import Project, day, event

_LISTS = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("uvwxyz"), max_size=5))


def implicit(rows: list[tuple[Any, ...]]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema=dtypes(ARTIFACTS["implicit"]), orient="row")


@given(_LISTS, st.integers(1, 5))
def test_pieces_split_no_list_and_are_written_like_one(
    lists: dict[str, set[str]], piece_rows: int
) -> None:
    frame = implicit([(user, item, 1.0) for user in sorted(lists) for item in sorted(lists[user])])
    whole = b"".join(list_text([frame.collect()], "implicit"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audits, "_PIECE_ROWS", piece_rows)
        pieces = list(whole_lists(frame, "implicit"))
        held = Held("implicit", frame)
        text = b"".join(held.text())

    owners = [set(piece["user_id"]) for piece in pieces]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert pl.concat(pieces).equals(frame.collect())
    assert text == whole
    assert held.verdict.passed
    assert held.numbers == {
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
    monkeypatch.setattr(audits, "_PIECE_ROWS", piece_rows)
    held = Held("implicit", implicit(rows))

    for _ in held.text():
        pass

    assert not held.verdict.passed
    assert "break contract 'implicit'" in held.verdict.description


def test_an_empty_frame_of_wrong_types_breaks_its_contract() -> None:
    held = Held("implicit", implicit([]).with_columns(pl.col("score").cast(pl.Int64)))

    assert b"".join(held.text()) == b'"users":[]'
    assert not held.verdict.passed


@pytest.mark.parametrize("window_days", [1, 2])
def test_distinct_ids_leave_out_users_that_are_unknown(project: Project, window_days: int) -> None:
    (surface,) = project.configure({"window_days": window_days}).surfaces
    events = [
        event("a", user_id="u1"),
        event("b", user_id="u2", session_id="s2"),
        event("b", user_id="u1"),
        event("c", user_id=None),
        event("c", user_id=" "),
    ]
    project.land(day(0), events)

    found = audit_events(project.store, surface, day(0), project.folder)

    assert {name: found.metadata[name] for name in ("sessions", "items", "users")} == {
        "sessions": 2,
        "items": 3,
        "users": 2,
    }
    shared = SharedCounts(found.data_version).read("sessions")
    assert (shared is not None) == (window_days == 1)


def test_a_day_without_events_has_no_distinct_ids(project: Project) -> None:
    (surface,) = project.configure({}).surfaces
    project.land(day(0), [])

    found = audit_events(project.store, surface, day(0), project.folder)

    assert [found.metadata[name] for name in ("sessions", "items", "users")] == [0, 0, 0]
