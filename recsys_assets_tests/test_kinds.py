"""What every artifact kind owes, held to the rows of the table: no test lists kinds by hand.

A kind's own tests (its ties, its oracle) are in compute/; these hold of a new one without a word.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Final

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets.audit.contract import check_contract
from recsys_assets.audit.drafts import CheckedList
from recsys_assets.compute.coded import Coded, Piece
from recsys_assets.compute.day_counts import Counts, DayCounts
from recsys_assets.compute.window_counts import WindowCounts
from recsys_assets.config import Artifacts, Options, Surface
from recsys_assets.contracts import ARTIFACTS
from recsys_assets.documents import list_text
from recsys_assets.events.catalog import CATALOG_DTYPES
from recsys_assets.kind import Kind, WindowEvents
from recsys_assets.kinds import KINDS
from recsys_assets_tests import strategies
from recsys_assets_tests.frames import Event, events_frame

DAY: Final = date(2026, 1, 1)

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
each_kind_of_events = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if kind.reads == "events"], ids=lambda kind: kind.name
)


def surface(kind: Kind) -> Surface:
    """Return a surface that builds a kind."""
    return Surface.model_validate(
        {
            "tenant": "demo",
            "surface": "home",
            "start_date": DAY,
            "source": {"path": "raw"},
            "catalog": {"path": "catalog.csv"},
            "artifacts": {kind.name: {}},
        }
    )


def options(kind: Kind, **given: Any) -> Options:
    return kind.options.model_validate(given)


def of_events(kind: Kind, *days: pl.DataFrame, **given: Any) -> pl.DataFrame:
    """Compute a kind from the events of some days in a row."""
    counted = {
        DAY + timedelta(days=number): DayCounts(events.lazy()) for number, events in enumerate(days)
    }
    of_days = list(counted.values())
    together: Counts = of_days[0] if len(of_days) == 1 else WindowCounts(of_days)
    window = WindowEvents(counted, together)
    return kind.compute(window, options(kind, **given), surface(kind)).frame.collect()


def of_catalog(kind: Kind, rows: Sequence[tuple[str, Sequence[str], str]]) -> pl.DataFrame:
    """Compute a kind from the rows of a catalog."""
    whole = [(item, list(tags), namespace, "") for item, tags, namespace in rows]
    catalog = pl.DataFrame(whole, schema=CATALOG_DTYPES, orient="row")
    given = kind.example.options
    return kind.compute(catalog, options(kind, **given), surface(kind)).frame.collect()


def of_example(kind: Kind) -> pl.DataFrame:
    """Compute a kind from its example."""
    if kind.reads == "catalog":
        return of_catalog(kind, kind.example.catalog)
    return of_events(kind, events_frame(kind.example.events), **kind.example.options)


def test_options_contracts_and_rows_are_of_the_same_kinds_in_one_order() -> None:
    assert list(KINDS) == list(Artifacts.model_fields) == list(ARTIFACTS)
    assert KINDS, "there is no kind: every test below would pass by default"
    for name, kind in KINDS.items():
        assert type(Artifacts.model_validate({name: {}}).options(name)) is kind.options


@each_kind
def test_the_example_gives_the_rows_that_the_row_of_the_kind_says(kind: Kind) -> None:
    assert of_example(kind).rows() == [
        tuple(list(cell) if isinstance(cell, list | tuple) else cell for cell in row)
        for row in kind.example.rows
    ]


@each_kind
def test_the_layout_names_the_columns_of_the_contract(kind: Kind) -> None:
    layout = kind.layout
    named = [layout.owner, *([layout.entry] if layout.entry else []), layout.value]

    assert list(kind.contract.columns) == named
    assert kind.contract.strict, "a column that nobody has named would be published"
    assert kind.contract.ordered


@each_kind
def test_nothing_to_count_gives_an_empty_list(kind: Kind) -> None:
    nothing = of_events(kind, events_frame([])) if kind.reads == "events" else of_catalog(kind, [])
    checked = CheckedList(kind, Coded(nothing.lazy()))

    assert nothing.is_empty()
    assert b"".join(checked.text()) == f'"{kind.layout.key}":[]'.encode()
    assert checked.verdict.passed, checked.verdict


@each_kind_of_events
@given(both=strategies.shuffled_events())
def test_the_order_of_rows_does_not_matter(
    kind: Kind, both: tuple[list[Event], list[Event]]
) -> None:
    ordered, shuffled = both

    actual = of_events(kind, events_frame(shuffled))

    assert_frame_equal(actual, of_events(kind, events_frame(ordered)))
    assert check_contract(kind.contract, actual).passed


@each_kind
def test_the_order_of_the_catalog_does_not_matter_where_ids_are_distinct(kind: Kind) -> None:
    rows = [*kind.example.catalog]
    assert kind.reads != "catalog" or len({row[0] for row in rows}) == len(rows) > 1

    if kind.reads == "catalog":
        assert_frame_equal(of_catalog(kind, rows[::-1]), of_catalog(kind, rows))


@each_kind_of_events
@given(events=strategies.events(), cut=st.integers(0, 40))
def test_a_window_is_its_days_put_together(kind: Kind, events: list[Event], cut: int) -> None:
    """Sessions and users go on over midnight: two days give what one day with all events would."""
    frame = events_frame(events)
    first, second = frame.head(cut), frame.slice(cut)
    # Days follow one another, so the second day's events are later and of files that come later.
    later = second.with_columns(pl.col("ts").dt.offset_by("1d"), file=pl.col("file") + 10)

    actual = of_events(kind, first, later)

    assert_frame_equal(actual, of_events(kind, pl.concat([first, later])))


@each_kind
def test_a_document_says_what_the_rows_say(kind: Kind) -> None:
    frame, layout = of_example(kind), kind.layout
    text = b"".join(list_text([Piece(frame)], layout)).decode()
    entries = json.loads(f"{{{text}}}")[layout.key]

    read: list[tuple[Any, ...]] = []
    for entry in entries:
        owner = entry.pop(layout.owner)
        if layout.entry is None:
            read.append((owner, entry.pop(layout.value)))
        else:
            items = [(item["item_id"], item[layout.value]) for item in entry.pop("items")]
            read += [(owner, *item) for item in items or [(None, None)]]
        assert not entry, "the document says more than the layout knows"
    assert read == frame.rows()


@each_kind
def test_a_page_shows_the_first_rows_and_a_picture_that_is_small(kind: Kind) -> None:
    frame, page = of_example(kind), kind.page()
    page.add(Piece(frame))

    shown = page.show(lambda _: {})

    assert page.owners == frame.to_series(0).n_unique()
    assert "preview" in shown
    assert len(json.dumps(shown, default=vars)) < 4000


def replaced(frame: pl.DataFrame, row: int, column: str, value: Any) -> pl.DataFrame:
    cells = frame[column].to_list()
    cells[row] = value
    return frame.with_columns(pl.Series(column, cells, dtype=frame.schema[column]))


def wrong_cells(frame: pl.DataFrame, row: int, column: str) -> Iterator[Any]:
    """Yield values that are wrong somewhere: missing, too small, of another row or column."""
    yield None
    yield from frame[column].to_list()
    dtype = frame.schema[column]
    if dtype.is_numeric():
        yield from (0, -1, 10**6)
    if dtype.is_float():
        yield from (math.inf, math.nan, 1e-9, 0.5, 1.5)
    if dtype == pl.String:
        yield from ("", " x", "\u00a0", "zzz", "\U0010ffff")
        yield from (
            frame[row, other]
            for other in frame.columns
            if other != column and frame.schema[other] == dtype
        )
    if dtype == pl.List(pl.String):
        yield from ([], ["a", "a"], ["A"], [" a"], [""], [None])


def mutations(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield frames that differ from a good one in a cell, in two, or in the order of its rows."""
    for row in range(frame.height):
        yield pl.concat([frame.head(row + 1), frame.slice(row)])
        for column in frame.columns:
            for value in wrong_cells(frame, row, column):
                yield replaced(frame, row, column, value)
    for first, second in pairwise(range(frame.height)):
        yield frame[[*range(first), second, first, *range(second + 1, frame.height)]]


def rules(kind: Kind) -> set[str]:
    """Return the names of the rules of a contract."""
    # What Pandera calls a rule in a failing run: a plain check has a text with its bounds.
    found = {check.error or check.name or "" for check in kind.contract.checks}
    for column in kind.contract.columns.values():
        found |= {check.error or check.name or "" for check in column.checks}
        if not column.nullable:
            found.add("not_nullable")
    return found


@each_kind
def test_every_rule_of_the_contract_is_broken_by_some_rows(kind: Kind) -> None:
    """A rule that nothing breaks guards nothing. The rows come from the example."""
    frame = of_example(kind)
    assert check_contract(kind.contract, frame).passed
    assert "" not in rules(kind), "a rule without a name cannot be told in a failing run"

    unbroken = rules(kind)
    for broken in mutations(frame):
        if not unbroken:
            break
        said = check_contract(kind.contract, broken).description.partition(": ")[2]
        unbroken -= {rule for rule in unbroken if f"{rule} (" in said}

    assert not unbroken, f"the example of {kind.name} has no rows by which these can be broken"


@each_kind
def test_another_type_and_another_column_break_the_contract(kind: Kind) -> None:
    frame = of_example(kind)
    first, *_, last = frame.columns

    for wrong in (
        frame.with_columns(pl.col(first).cast(pl.Categorical)),
        frame.with_columns(extra=pl.lit(1)),
        frame.drop(last),
        frame.select(last, *[column for column in frame.columns if column != last]),
    ):
        assert not check_contract(kind.contract, wrong).passed, wrong.schema
