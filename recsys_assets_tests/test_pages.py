"""What the asset pages show of an artifact: some rows that people can read, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._serdes import serialize_value
from hypothesis import given

from recsys_assets import pages
from recsys_assets.compute.cooc import count_cooccurrence
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.implicit import count_user_exposures
from recsys_assets.compute.popularity import count_exposures
from recsys_assets.compute.session_seq import count_next_items
from recsys_assets.contracts import ARTIFACTS, dtypes
from recsys_assets.pictures import MAX_CHARACTERS
from recsys_assets_tests import strategies
from recsys_assets_tests.frames import Event, events_frame

TITLES = {"a": "Apple", "b": "Banana", "c": "Cherry"}
MAX_PREVIEW_BYTES = 4096

COMPUTE: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "popularity": lambda events: count_exposures([DayCounts(events)], top_n=1000),
    "cooc": lambda events: (
        count_cooccurrence(
            DayCounts(events),
            max_neighbours=50,
            min_support=2,
            max_items=1000,
            max_items_per_session=200,
        ).neighbours
    ),
    "implicit": lambda events: count_user_exposures(DayCounts(events), top_n=500),
    "session_seq": lambda events: count_next_items(DayCounts(events), top_n=500),
}


def frame_of(kind: str, *rows: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dtypes(ARTIFACTS[kind]), orient="row")


def show_artifact(kind: str, frame: pl.DataFrame, labels: pages.Labels) -> dict[str, Any]:
    page = pages.ArtifactPage(kind)
    page.add(frame)
    return page.show(labels)


def titles(items: Sequence[str]) -> Mapping[str, str]:
    return {item: TITLES[item] for item in items if item in TITLES}


def nothing_is_known(_: Sequence[str]) -> Mapping[str, str]:
    return {}


def preview(shown: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a preview, without the cells that are empty."""
    value = shown["preview"]
    assert isinstance(value, dg.TableMetadataValue), value
    return [{name: cell for name, cell in row.data.items() if cell} for row in value.records]


def picture(shown: Mapping[str, Any]) -> str:
    value = shown["picture"]
    assert isinstance(value, dg.MarkdownMetadataValue), value
    assert value.value
    return value.value


def test_popularity_shows_the_first_items_with_their_titles() -> None:
    rows = [(f"{number:02}", 5_000 - number) for number in range(20)]

    shown = show_artifact("popularity", frame_of("popularity", ("a", 12_345), *rows), titles)

    first, second, *others = preview(shown)
    assert first == {"item_id": "a", "title or tags": "Apple", "count": "12,345"}
    assert second == {"item_id": "00", "count": "5,000"}
    assert len(others) == 8
    assert picture(shown).endswith("rank 1: 12,345 → rank 21: 4,981")


def test_without_a_catalog_there_is_no_column_for_titles() -> None:
    shown = show_artifact("popularity", frame_of("popularity", ("a", 1)), nothing_is_known)

    assert preview(shown) == [{"item_id": "a", "count": "1"}]


def test_cooc_shows_the_items_with_the_strongest_neighbours() -> None:
    weak = [(f"w{number}", "z", 1) for number in range(9)]
    frame = frame_of(
        "cooc",
        ("a", "b", 7), ("a", "c", 6), ("a", "d", 5), ("a", "e", 4),
        ("b", "a", 7),
        ("d", None, None),
        *weak,
    )  # fmt: skip

    shown = show_artifact("cooc", frame, titles)

    rows = preview(shown)
    assert rows[:5] == [
        {"item_id": "a", "title or tags": "Apple", "neighbour": "Banana", "count": "7"},
        {"neighbour": "Cherry", "count": "6"},
        {"neighbour": "d", "count": "5"},
        {"item_id": "b", "title or tags": "Banana", "neighbour": "Apple", "count": "7"},
        {"item_id": "w0", "neighbour": "z", "count": "1"},
    ]
    assert [row.get("item_id") for row in rows[4:]] == ["w0", "w1", "w2"]
    # 14 entries in the lists of 12 items, one of them without any.
    assert "items by number of neighbours; mean 1.2; log scale" in picture(shown)
    assert picture(shown).endswith("0: 1 items → 4")


@pytest.mark.parametrize("kind", ["implicit", "session_seq"])
def test_users_are_shown_with_their_first_items(kind: str) -> None:
    frame = frame_of(
        kind, ("u", "a", 1.0), ("v", "b", 9.0), ("v", "a", 2.0), ("w", "z", 2.0), ("x", "z", 1.0)
    )

    shown = show_artifact(kind, frame, titles)

    assert preview(shown) == [
        {"user_id": "v", "item": "Banana", "score": "9"},
        {"item": "Apple", "score": "2"},
        {"user_id": "w", "item": "z", "score": "2"},
        {"user_id": "u", "item": "Apple", "score": "1"},
        {"user_id": "x", "item": "z", "score": "1"},
    ]
    assert picture(shown).endswith("score 1: 2 entries → highest score: 9")


def test_users_with_one_event_only_have_nothing_to_show() -> None:
    shown = show_artifact("session_seq", frame_of("session_seq", ("u", None, None)), titles)

    assert {name: value.value for name, value in shown.items()} == {
        "picture": "none",
        "preview": "none",
    }


def test_content_sim_shows_the_tags() -> None:
    frame = frame_of("content_sim", ("a", ["red", "round"]), ("z", ["x"]))

    shown = show_artifact("content_sim", frame, titles)

    assert preview(shown) == [
        {"item_id": "a", "title or tags": "Apple", "tags": "red, round"},
        {"item_id": "z", "tags": "x"},
    ]
    assert "items by number of tags; mean 1.5" in picture(shown)


def test_a_kind_without_a_picture_of_its_own_shows_its_first_rows() -> None:
    frame = pl.DataFrame({"user_id": [f"u{n}" for n in range(12)], "items": [["a", "b"]] * 12})

    shown = show_artifact("of_tomorrow", frame, lambda _: {})

    (preview,) = shown.values()
    assert [record.data for record in preview.records[:2]] == [
        {"user_id": "u0", "items": "['a', 'b']"},
        {"user_id": "u1", "items": "['a', 'b']"},
    ]
    assert len(preview.records) == 10


def test_events_are_drawn_by_hour() -> None:
    by_hour = [0] * 24
    by_hour[7] = 1234

    text = picture(pages.show_events(by_hour))

    assert text.startswith("events by hour, UTC; most: 1,234 at 07:00\n")
    assert text.endswith("00:00 → 23:00")


def test_a_day_without_events_is_not_drawn() -> None:
    assert pages.show_events([0] * 24)["picture"].value == "none"


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_an_empty_artifact_shows_nothing(kind: str) -> None:
    shown = show_artifact(kind, frame_of(kind), titles)

    assert {name: value.value for name, value in shown.items()} == {
        "picture": "none",
        "preview": "none",
    }


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_long_ids_titles_and_lists_stay_within_bounds(kind: str) -> None:
    """Ids may be as long as a raw line; what is shown is kept for each day."""
    ids = [f"{number:03}" + "x" * 5_000 for number in range(30)]
    wide: dict[str, list[tuple[Any, ...]]] = {
        "popularity": [(item, 10**15 - at) for at, item in enumerate(ids)],
        "cooc": [(item, to, 10**15 - at) for item in ids for at, to in enumerate(ids)],
        "content_sim": [(item, [f"tag {n}" for n in range(500)]) for item in ids],
    }
    per_user: list[tuple[Any, ...]] = [
        (item, to, 2.0**50 - at) for item in ids for at, to in enumerate(ids)
    ]
    frame = frame_of(kind, *wide.get(kind, per_user))

    shown = show_artifact(kind, frame, lambda items: dict.fromkeys(items, "title" * 1_000))

    assert len(picture(shown)) <= MAX_CHARACTERS
    assert 0 < len(serialize_value(shown["preview"])) <= MAX_PREVIEW_BYTES


@pytest.mark.parametrize("kind", COMPUTE)
@given(events=strategies.events())
def test_any_artifact_can_be_shown(kind: str, events: list[Event]) -> None:
    """The oracle of a list's length is Polars' own grouping."""
    frame = COMPUTE[kind](events_frame(events).lazy()).collect()

    shown = show_artifact(kind, frame, titles)

    assert set(shown) == {"picture", "preview"}
    assert len(shown["picture"].value) <= MAX_CHARACTERS
    if kind != "popularity" and not frame.is_empty():
        _, sizes = pages.list_sizes(frame)
        grouped = frame.group_by(frame.columns[0], maintain_order=True).agg(
            pl.col(frame.columns[1]).count()
        )
        assert sizes.to_list() == grouped.to_series(1).to_list()


def test_many_sizes_share_bars() -> None:
    """A picture has a bound, the options that decide the sizes have none."""
    rows = [
        (f"{owner:04}", f"{entry:04}", 1.0)
        for owner in range(0, 500, 7)
        for entry in range(owner + 1)
    ]

    cooc = [(owner, entry, int(score)) for owner, entry, score in rows if owner != entry]
    shown = show_artifact("cooc", frame_of("cooc", *cooc), titles)

    assert len(picture(shown)) <= MAX_CHARACTERS


def test_a_table_has_every_column_of_every_row_and_cuts_long_cells() -> None:
    value: Any = pages.table([{"a": 1}, {"b": "x" * 1_000}])

    assert [column.name for column in value.schema.columns] == ["a", "b"]
    assert value.records[0].data == {"a": "1", "b": ""}
    assert value.records[1].data["b"] == "x" * 497 + "..."
