"""How well tags fit events, on a case that is counted by hand."""

from __future__ import annotations

import polars as pl
import pytest

from recsys_assets.compute.catalog_fit import changed_items, fit_of
from recsys_assets.compute.samples import Keys, hashes, take_sample


def keys_of(*sessions: str) -> Keys:
    """Return the keys of sessions, each a word of items."""
    rows = [("u", f"s{n}", item) for n, items in enumerate(sessions) for item in items]
    frame = pl.DataFrame(rows, schema=["user_id", "session_id", "item_id"], orient="row")
    frame = frame.with_row_index("ts")
    sample = take_sample(
        frame.lazy(), pl.Series("user_id", ["u"]), rows=len(rows), anonymous=0, most=1000
    )
    return sample.keys(0)


def catalog(**tags: list[str]) -> pl.DataFrame:
    ids = hashes(pl.Series([*tags], dtype=pl.String)).alias("item")
    return pl.DataFrame([ids, pl.Series("tags", [*tags.values()], dtype=pl.List(pl.String))])


def test_events_are_covered_and_steps_are_as_alike_as_their_tags() -> None:
    """Steps a b (1 of 3 tags), b c (none has tags), a b again: alike by a third."""
    asked = keys_of("abc", "ab")
    tags = catalog(a=["red", "round"], b=["red", "flat"])

    found = fit_of(tags, asked)

    assert found.covered == pytest.approx(4 / 5)
    assert found.coherence == pytest.approx(1 / 3)


def test_without_a_step_between_items_with_tags_nothing_is_alike_or_not() -> None:
    assert fit_of(catalog(a=["red"]), keys_of("ab", "a")).coherence is None
    assert fit_of(catalog(), keys_of("ab")).covered == 0


def test_changed_are_other_tags_and_lost_ones_but_not_another_order() -> None:
    before = catalog(a=["x", "y"], b=["x"], c=["z"], d=["z"])
    after = catalog(a=["y", "x"], b=["w"], d=["z"])

    found = changed_items(before, after, keys_of("abbc", "cbd"))

    assert found.select("events", "tags", "tags_now").rows() == [
        (3, ["x"], ["w"]), (2, ["z"], None),
    ]  # fmt: skip
