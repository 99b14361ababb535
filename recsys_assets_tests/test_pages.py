"""What the asset pages show of an artifact: some rows that people can read, and a picture."""

from __future__ import annotations

import base64
import re
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._serdes import serialize_value
from hypothesis import given

from recsys_assets import pages
from recsys_assets.compute.coded import Piece
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.config import Surface
from recsys_assets.contracts import dtypes
from recsys_assets.defs.metadata import as_metadata
from recsys_assets.documents import ListLayout
from recsys_assets.kind import WindowEvents
from recsys_assets.kinds import KINDS
from recsys_assets.pictures import MAX_CHARACTERS
from recsys_assets_tests import strategies
from recsys_assets_tests.frames import Event, events_frame
from recsys_assets_tests.project import DAY

TITLES = {"a": "Apple", "b": "Banana", "c": "Cherry"}
MAX_PREVIEW_BYTES = 6 * 1024
UNIT = "some"
LABEL = "title or tags"
OF = "its title or tags"

SURFACE = Surface.model_validate(
    {
        "tenant": "demo",
        "surface": "home",
        "start_date": DAY,
        "source": {"path": "raw"},
        "artifacts": {"popularity": {}},
    }
)
OF_EVENTS = [name for name, kind in KINDS.items() if kind.reads == "events"]
# Of tomorrow: lists, and single values, of numbers below 1.
SIMILAR = ListLayout("items", "item_id", "score", entry="similar_id")
QUALITY = ListLayout("items", "item_id", "score")
COSINES = (1.0, 0.9, 0.5, 0.25, 1e-9)


def frame_of(kind: str, *rows: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dtypes(KINDS[kind].contract), orient="row")


def show_artifact(kind: str, frame: pl.DataFrame, labels: pages.Labels) -> dict[str, Any]:
    return shown_by(KINDS[kind].page(UNIT), frame, labels)


def shown_by(
    page: pages.FlatPage | pages.ListsPage, frame: pl.DataFrame, labels: pages.Labels
) -> dict[str, Any]:
    page.add(Piece(frame))
    return as_metadata(page.show(labels))


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


def svg(shown: Mapping[str, Any]) -> str:
    (data,) = re.findall(r"base64,([\w+/=]+)\)", picture(shown))
    return base64.b64decode(data).decode()


def test_popularity_shows_the_first_items_with_their_titles() -> None:
    rows = [(f"{number:02}", 5_000 - number) for number in range(20)]

    shown = show_artifact("popularity", frame_of("popularity", ("a", 12_345), *rows), titles)

    first, second, *others = preview(shown)
    assert first == {"item_id": "a", "title or tags": "Apple", "count (some)": "12,345"}
    assert second == {"item_id": "00", "count (some)": "5,000"}
    assert len(others) == 8
    assert picture(shown).endswith("rank 1: 12,345 → rank 21: 4,981")


@pytest.mark.parametrize("kind", ["implicit", "session_seq"])
def test_the_id_of_a_person_is_whole_or_not_there_and_its_column_says_so(kind: str) -> None:
    """Part of one would not be found when the person is to be erased."""
    frame = frame_of(kind, ("a" * 64, "tea", 2.0), ("b" * 200, "tea", 1.0))
    page = KINDS[kind].page()
    page.add(Piece(frame))

    shown = page.show(nothing_is_known)["preview"]

    assert isinstance(shown, pages.Rows)
    assert [row["user_id"] for row in shown.rows] == ["a" * 64, "(200 characters)"]
    assert {row["user_id"] for row in shown.without_ids().rows} == {"(not shown)"}
    assert [row["item_id"] for row in shown.without_ids().rows] == ["tea", "tea"]


def test_without_a_catalog_there_is_no_column_for_titles() -> None:
    shown = show_artifact("popularity", frame_of("popularity", ("a", 1)), nothing_is_known)

    assert preview(shown) == [{"item_id": "a", "count (some)": "1"}]


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
        {"item_id": "a", LABEL: "Apple", "neighbour_id": "b", OF: "Banana", "count (some)": "7"},
        {"neighbour_id": "c", OF: "Cherry", "count (some)": "6"},
        {"neighbour_id": "d", "count (some)": "5"},
        {"item_id": "b", LABEL: "Banana", "neighbour_id": "a", OF: "Apple", "count (some)": "7"},
        {"item_id": "w0", "neighbour_id": "z", "count (some)": "1"},
    ]
    assert [row.get("item_id") for row in rows[4:]] == ["w0", "w1", "w2"]
    # 14 entries in the lists of 12 items, one of them without any.
    assert "items by number of neighbours; mean 1.2; log scale" in picture(shown)
    assert picture(shown).endswith("0: 1 items, 1: 10 → 4")


@pytest.mark.parametrize("kind", ["implicit", "session_seq"])
def test_users_are_shown_with_their_first_items(kind: str) -> None:
    frame = frame_of(
        kind, ("u", "a", 1.0), ("v", "b", 9.0), ("v", "a", 2.0), ("w", "z", 2.0), ("x", "z", 1.0)
    )

    shown = show_artifact(kind, frame, titles)

    assert preview(shown) == [
        {"user_id": "v", "item_id": "b", LABEL: "Banana", "score (some)": "9"},
        {"item_id": "a", LABEL: "Apple", "score (some)": "2"},
        {"user_id": "w", "item_id": "z", "score (some)": "2"},
        {"user_id": "u", "item_id": "a", LABEL: "Apple", "score (some)": "1"},
        {"user_id": "x", "item_id": "z", "score (some)": "1"},
    ]
    assert picture(shown).endswith("score 1: 2 entries, 2: 2 → highest score: 9")


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
        {"item_id": "a", LABEL: "Apple", "tags (some)": "red, round"},
        {"item_id": "z", "tags (some)": "x"},
    ]
    assert "items by number of tags; mean 1.5" in picture(shown)


def test_a_kind_without_a_picture_of_its_own_shows_its_first_rows() -> None:
    frame = pl.DataFrame({"user_id": [f"u{n}" for n in range(12)], "items": [["a", "b"]] * 12})
    page = pages.FlatPage(ListLayout("users", "user_id", "items"), None)

    shown = shown_by(page, frame, titles)

    (preview,) = shown.values()
    assert [record.data for record in preview.records[:2]] == [
        {"user_id": "u0", "items": "a, b"},
        {"user_id": "u1", "items": "a, b"},
    ]
    assert len(preview.records) == 10


def test_items_without_a_picture_of_their_own_have_their_titles_all_the_same() -> None:
    frame = pl.DataFrame({"item_id": ["b", "z"], "score": [0.9, 0.25]})

    shown = shown_by(pages.FlatPage(QUALITY, None), frame, titles)

    assert set(shown) == {"preview"}
    assert preview(shown) == [
        {"item_id": "b", "title or tags": "Banana", "score": "0.9"},
        {"item_id": "z", "score": "0.25"},
    ]


def test_lists_without_a_picture_of_their_own_show_rows_only() -> None:
    frame = pl.DataFrame({"item_id": ["a"], "similar_id": ["b"], "score": [0.5]})

    shown = shown_by(pages.ListsPage(SIMILAR, None), frame, titles)

    assert set(shown) == {"preview"}
    assert preview(shown) == [
        {
            "item_id": "a",
            "title or tags": "Apple",
            "similar_id": "b",
            "its title or tags": "Banana",
            "score": "0.5",
        }
    ]


def test_lists_of_numbers_below_1_are_shown_as_they_are() -> None:
    frame = pl.DataFrame(
        {"item_id": [*"abcde"], "similar_id": ["z"] * 5, "score": COSINES},
    )

    shown = shown_by(pages.ListsPage(SIMILAR, pages.draw_scores), frame, nothing_is_known)

    assert [row["score"] for row in preview(shown)] == ["1", "0.9", "0.5", "0.25", "1e-09"]
    above, _, below = picture(shown).split("\n\n")
    assert above == "entries by score, each bar up to twice the one before; log scale"
    # A billionth shares the bar of a millionth: no bar for each power of two that numbers have.
    assert below == "score 9.5e-07: 1 entries, 1.9e-06: 0 → highest score: 1"
    # From 2^-20 to 1 = 2^0: 0.25 in one bar, 0.5 and 0.9 in the next.
    assert re.findall(r"V(\d+)h(\d+)", svg(shown)) == [
        ("24", "1"), ("64", "17"), ("24", "1"), ("0", "1"), ("24", "1")
    ]  # fmt: skip


def test_single_values_below_1_are_shown_as_they_are() -> None:
    frame = pl.DataFrame({"item_id": [*"abcde"], "score": COSINES})

    shown = shown_by(pages.FlatPage(QUALITY, pages.draw_ranking), frame, nothing_is_known)

    assert [row["score"] for row in preview(shown)] == ["1", "0.9", "0.5", "0.25", "1e-09"]
    assert picture(shown).startswith("score by rank, log scales\n")
    assert picture(shown).endswith("rank 1: 1 → rank 5: 1e-09")


def test_the_highest_number_is_not_rounded_up_to_1() -> None:
    frame = pl.DataFrame({"item_id": ["a", "a"], "similar_id": ["b", "c"], "score": [0.9, 0.1]})

    shown = shown_by(pages.ListsPage(SIMILAR, pages.draw_scores), frame, nothing_is_known)

    assert picture(shown).endswith("score 0.062: 1 entries, 0.12: 0 → highest score: 0.9")


@pytest.mark.parametrize("smallest", [0.25, 1e-9, 5e-324])
def test_many_numbers_below_1_take_little_memory_and_time(smallest: float) -> None:
    """Each power of two below 1 was once taken for one of some billions above."""
    scores = pl.Series([smallest, 0.5, 0.9, 1.0]).reverse()
    frame = pl.DataFrame(
        {
            "item_id": pl.int_range(100_000, eager=True).cast(pl.String).str.zfill(6),
            "similar_id": ["z"] * 100_000,
            "score": pl.concat([scores] * 25_000),
        }
    )
    page = pages.ListsPage(SIMILAR, pages.draw_scores)
    before = time.process_time()
    tracemalloc.start()
    try:
        shown = shown_by(page, frame, nothing_is_known)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert time.process_time() - before < 5
    assert most < 10_000_000  # some bytes a list, as NumPy counts them
    assert len(picture(shown)) <= MAX_CHARACTERS
    assert page.owners == 100_000


def rows_below(shown: Mapping[str, Any]) -> list[list[str]]:
    """Return the names and the numbers below a picture."""
    texts = re.findall(r"<text[^>]*>([^<]*)<", svg(shown))
    return [text.replace("\N{NO-BREAK SPACE}", " ").split() for text in texts]


def of_scores(scores: Sequence[float]) -> dict[str, Any]:
    rows = [(f"u{number:02}", "a", score) for number, score in enumerate(scores)]
    return show_artifact("implicit", frame_of("implicit", *rows), nothing_is_known)


def test_every_bar_of_few_has_its_number() -> None:
    shown = of_scores([1.0, 9.0, 2.0, 2.0, 1.0, 1.0])

    assert rows_below(shown) == [["1", "2", "4", "8"], ["3", "2", "0", "1"]]
    title, _, ends = picture(shown).split("\n\n")
    assert title == "entries by score: 1, 2 to 3, 4 to 7, ...; log scale"
    assert ends == "score 1: 3 entries, 2: 2 → highest score: 9"


def test_scores_of_many_sizes_are_drawn_within_bounds() -> None:
    shown = of_scores([float(2**power + power) for power in range(41)])

    names, numbers = rows_below(shown)
    assert names[:2] == ["1", "32"]
    assert names[-1].startswith("2^")
    assert set(numbers) == {"1"}
    assert len(picture(shown)) <= MAX_CHARACTERS


def test_events_are_drawn_by_hour() -> None:
    by_hour = [0] * 24
    by_hour[7] = 1234

    text = picture(as_metadata(pages.show_events(by_hour)))

    assert text.startswith("events by hour, UTC; most: 1,234 at 07:00\n")
    assert text.endswith("00:00 → 23:00")
    names, numbers = rows_below({"picture": dg.MetadataValue.md(text)})
    assert names[:3] == ["00", "02", "04"]
    assert set(numbers) == {"0"}


def test_a_day_without_events_is_not_drawn() -> None:
    assert as_metadata(pages.show_events([0] * 24))["picture"].value == "none"


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_artifact_shows_nothing(kind: str) -> None:
    shown = show_artifact(kind, frame_of(kind), titles)

    assert {name: value.value for name, value in shown.items()} == {
        "picture": "none",
        "preview": "none",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_long_ids_titles_and_lists_stay_within_bounds(kind: str) -> None:
    """Ids may be as long as a raw line; what is shown is kept for each day."""
    ids = [f"{number:03}" + "x" * 5_000 for number in range(30)]
    layout, columns = KINDS[kind].layout, dtypes(KINDS[kind].contract)
    value: Any = columns[layout.value]
    if value == pl.List:
        values: list[Any] = [[f"tag {n}" for n in range(500)]] * 30
    else:
        values = [(10**15 if value == pl.Int64 else 2.0**50) - at for at in range(30)]
    rows: list[tuple[Any, ...]] = [*zip(ids, values, strict=True)]
    if layout.entry:
        rows = [(item, *entry) for item in ids for entry in rows]
    frame = frame_of(kind, *rows)

    shown = show_artifact(kind, frame, lambda items: dict.fromkeys(items, "title" * 1_000))

    assert len(picture(shown)) <= MAX_CHARACTERS
    assert 0 < len(serialize_value(shown["preview"])) <= MAX_PREVIEW_BYTES


@pytest.mark.parametrize("kind", OF_EVENTS)
@given(events=strategies.events())
def test_any_artifact_can_be_shown(kind: str, events: list[Event]) -> None:
    """The oracle of a list's length is Polars' own grouping."""
    counts = DayCounts(events_frame(events).lazy())
    window = WindowEvents({DAY: counts}, counts)
    computed = KINDS[kind].compute(window, KINDS[kind].options(), SURFACE)
    frame = computed.frame.collect()

    shown = show_artifact(kind, frame, titles)

    assert set(shown) == {"picture", "preview"}
    assert len(shown["picture"].value) <= MAX_CHARACTERS
    if KINDS[kind].layout.entry and not frame.is_empty():
        sizes = pages.list_sizes(Piece(frame))
        grouped = frame.group_by(frame.columns[0], maintain_order=True).agg(
            pl.col(frame.columns[1]).count()
        )
        assert sizes.tolist() == grouped.to_series(1).to_list()


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
    assert "; log scale; 13 a bar\n" in picture(shown)


def test_a_table_has_every_column_of_every_row_and_cuts_long_cells() -> None:
    value = as_metadata({"table": pages.table([{"a": 1}, {"b": "x" * 1_000}])})["table"]

    assert [column.name for column in value.schema.columns] == ["a", "b"]
    assert value.records[0].data == {"a": "1", "b": ""}
    assert value.records[1].data["b"] == "x" * 497 + "..."
