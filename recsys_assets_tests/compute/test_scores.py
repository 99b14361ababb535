"""Outlines of artifacts, and what they hold of what happened, against plain Python."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.compute import outlines
from recsys_assets.compute.coded import Piece
from recsys_assets.compute.outlines import Outline, Outliner
from recsys_assets.compute.samples import hashes, take_sample
from recsys_assets.compute.scores import Asked, compare_scores, held_by_owner, score
from recsys_assets.config import Gates

USERS, ITEMS = st.sampled_from(["u1", "u2", "u3", None]), st.sampled_from("abcdef")
EVENTS = st.lists(st.tuples(USERS, st.sampled_from(["s1", "s2"]), ITEMS), max_size=30)
LISTS = st.dictionaries(ITEMS, st.lists(ITEMS, unique=True, max_size=6), max_size=6)


def asked_of(*days: Sequence[tuple[str | None, str, str]]) -> Asked:
    samples = []
    for events in days:
        columns = {"user_id": pl.String, "session_id": pl.String, "item_id": pl.String}
        frame = pl.DataFrame(events, schema=columns, orient="row")
        frame = frame.with_row_index("ts").with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC")))
        users = frame["user_id"].drop_nulls().unique()
        samples.append(
            take_sample(
                frame.lazy(),
                users,
                rows=frame.height,
                anonymous=frame["user_id"].null_count(),
                most=1000,
            )
        )
    return Asked.of(samples)


def lists_of(owner: str, entry: str, lists: dict[str, list[str]]) -> pl.DataFrame:
    rows: list[tuple[str, str | None]] = []
    for name, items in lists.items():
        rows += [(name, item) for item in items] or [(name, None)]
    return pl.DataFrame(rows, schema={owner: pl.String, entry: pl.String}, orient="row")


def ranking(items: list[str]) -> Outliner:
    outliner = Outliner("item_id", None, "count")
    outliner.add(Piece(pl.DataFrame({"item_id": pl.Series(items, dtype=pl.String)})))
    return outliner


@given(EVENTS, st.lists(ITEMS, unique=True))
def test_a_ranking_holds_the_events_of_its_items(
    events: list[tuple[str | None, str, str]], items: list[str]
) -> None:
    outline = ranking(items).made()

    found = score(outline, asked_of(events, events))

    share = sum(item in items for _, _, item in events) / len(events) if events else 0.0
    assert found == {20: pytest.approx(share), 100: pytest.approx(share)}
    assert (outline.owners, outline.entries) == (len(items), len(items))


def test_only_the_first_items_of_a_ranking_count() -> None:
    items = [f"i{n}" for n in range(200)]
    outline = ranking(items).made()
    events = [("u1", "s1", item) for item in items]

    assert score(outline, asked_of(events)) == {20: 0.1, 100: 0.5}
    assert outline.owners == 200
    assert outline.lists.height == 100


@given(EVENTS, LISTS)
def test_neighbours_hold_the_steps_of_sessions(
    events: list[tuple[str | None, str, str]], lists: dict[str, list[str]]
) -> None:
    outliner = Outliner("item_id", "neighbour_id", "count")
    outliner.add(Piece(lists_of("item_id", "neighbour_id", lists)))

    found = score(outliner.made(), asked_of(events))

    steps = []
    for session in ("s1", "s2"):
        seen = [item for _, of, item in events if of == session]
        steps += [(a, b) for a, b in pairwise(seen) if a != b]
    held = sum(b in lists.get(a, []) for a, b in steps)
    assert found == {20: pytest.approx(held / len(steps) if steps else 0.0)}


@given(EVENTS, LISTS)
def test_lists_of_users_hold_what_the_users_had(
    events: list[tuple[str | None, str, str]], lists: dict[str, list[str]]
) -> None:
    by_user = {f"u{n}": items for n, items in enumerate(lists.values(), 1)}
    outliner = Outliner("user_id", "item_id", "score")
    outliner.add(Piece(lists_of("user_id", "item_id", by_user)))
    outline, asked = outliner.made(), asked_of(events)

    found = score(outline, asked)

    known = [(user, item) for user, _, item in events if user]
    held = [(user, item) for user, item in known if item in by_user.get(user, [])]
    assert found == {50: pytest.approx(len(held) / len(known) if known else 0.0)}
    assert outline.owners == len(by_user)
    assert outline.entries == sum(map(len, by_user.values()))
    by_owner = dict(held_by_owner(outline, asked, 50).iter_rows())
    assert by_owner == {
        zlib.crc32(user.encode()): sum(of == user for of, _ in held) for user, _ in held
    }


def test_items_that_are_left_out_are_asked_for_no_more() -> None:
    events = [("u1", "s1", "a"), ("u1", "s1", "b"), ("u1", "s1", "b"), ("u1", "s1", "c")]
    outline = ranking(["a"]).made()

    assert score(outline, asked_of(events))[20] == 0.25
    without = hashes(pl.Series(["b"]))
    assert score(outline, asked_of(events), without=without)[20] == 0.5


@pytest.mark.parametrize("many", [10, 10**6])
def test_of_many_lists_those_of_some_owners_stay_whatever_the_pieces_are(
    monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(outlines, "_MOST_ENTRIES", 300)
    monkeypatch.setattr(outlines, "_MANY", many)
    lists = {f"u{n:03}": [f"i{m}" for m in range(60)] for n in range(100)}
    rows = lists_of("user_id", "item_id", lists)
    whole, pieces = (Outliner("user_id", "item_id", "score") for _ in range(2))
    whole.add(Piece(rows))
    for start in range(0, rows.height, 1200):
        pieces.add(Piece(rows.slice(start, 1200)))

    outline = whole.made()

    assert outline.thinned == pieces.made().thinned > 0
    assert outline.lists.rows() == pieces.made().lists.rows()
    assert 0 < outline.lists.height <= 300
    assert outline.lists.height % 50 == 0, "of each owner that stays, the first 50 items do"
    assert (outline.owners, outline.entries) == (100, 6000)
    asked = asked_of([(f"u{n:03}", f"s{n}", f"i{n % 60}") for n in range(100)])
    assert score(outline, asked)[50] == pytest.approx(score(whole.made(), asked)[50])


@pytest.mark.parametrize("entry", ["item_id", None])
def test_a_brief_outline_has_the_sizes_and_one_of_many_rows_is_whole(
    monkeypatch: pytest.MonkeyPatch, entry: str | None
) -> None:
    rows = lists_of(
        "user_id", "item_id", {f"u{n}": [f"i{m}" for m in range(n % 4)] for n in range(9)}
    )

    def outline(*, may_be_brief: bool) -> Outline:
        outliner = Outliner("user_id", entry, "score", may_be_brief=may_be_brief)
        for start in (0, 5):
            outliner.add(Piece(rows.slice(start, 5 - start or None)))
        return outliner.made()

    whole, brief = outline(may_be_brief=False), outline(may_be_brief=True)
    monkeypatch.setattr(outlines, "_MOST_BRIEF", rows.height - 1)
    large = outline(may_be_brief=True)

    assert (whole.is_brief, brief.is_brief, large.is_brief) == (False, True, False)
    assert brief.lists.is_empty()
    assert (brief.owners, brief.entries) == (whole.owners, whole.entries)
    assert large.lists.rows() == whole.lists.rows()


@given(st.lists(st.floats(-1, 1), max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_a_change_is_judged_by_earlier_ones(past: list[float], share: float, live: float) -> None:
    gates = Gates.model_validate({"warm_up_days": 5})

    found = compare_scores(share, live, past, gates)

    change = math.log((share + 0.001) / (live + 0.001))
    assert found.logarithm == pytest.approx(change)
    if len(past) < 5:
        assert (found.floor, found.failed, found.learned) == (None, False, len(past))
        return
    level = median(past)
    spread = 1.4826 * median(abs(each - level) for each in past)
    limit = min(level, 0) - max(6.5 * spread, 0.1)
    if abs(change - limit) > 1e-9:
        assert found.failed == (change < limit)
        assert found.floor is not None
        if limit > -5:
            assert found.failed == (share < found.floor) or found.floor == 0


def test_a_new_outline_of_tags_has_its_size_and_nothing_to_score() -> None:
    outliner = Outliner("item_id", None, "tags")
    outliner.add(Piece(pl.DataFrame({"item_id": ["a", "b"], "tags": [["x"], ["y"]]})))

    outline = outliner.made()

    assert (outline.form, outline.owners, outline.lists.height) == ("tags", 2, 0)
    assert score(outline, asked_of([("u1", "s1", "a")])) == {}
