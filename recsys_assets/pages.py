"""What the asset pages show of a day besides numbers: a picture to look at, and some rows to read.

Everything here is for people: nothing of it enters a document or a version. It is kept in Dagster's
event log for each day, so a picture stays below 1 KB and a preview, in Latin script, below 6 KB.
Values are plain; the wing of Dagster turns them into its metadata.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets import pictures
from recsys_assets.compute.coded import Piece
from recsys_assets.documents import ListLayout
from recsys_assets.texts import cut_between_values

PICTURE: Final = "picture"
PREVIEW: Final = "preview"
_LABEL: Final = "title or tags"

_POINTS: Final = 40
_MOST_BARS: Final = 40
FIRST_ITEMS: Final = 10
OWNERS: Final = 5
ENTRIES: Final = 3
_MAX_CELL_CHARACTERS: Final = 500
_MAX_PREVIEW_CHARACTERS: Final = 40
_MAX_ID_CHARACTERS: Final = 128
# Smaller numbers share a bar with this power of two.
_SMALLEST_POWER: Final = -20
# From here on a power of two is written as one.
_LONG_POWER: Final = 17

# Gives, for some item ids, what people call the items; one that is not known is left out.
Labels = Callable[[Sequence[str]], Mapping[str, str]]


@dataclass(frozen=True)
class Markdown:
    """Text with a picture in it; empty when there is nothing to draw."""

    text: str


@dataclass(frozen=True)
class Rows:
    """Rows of a table: every column that a row has, long cells cut.

    Attributes:
        rows: of the table.
        personal: columns that may hold ids of users, sessions or requests.
    """

    rows: Sequence[Mapping[str, str]]
    personal: Collection[str] = ()

    def without_ids(self) -> Rows:
        """Return the same without what stands in those columns."""
        return Rows(
            [
                {
                    name: _hidden(cell) if name in self.personal else cell
                    for name, cell in row.items()
                }
                for row in self.rows
            ]
        )


@dataclass(frozen=True)
class Json:
    """Something nested that can be opened."""

    value: Any


@dataclass(frozen=True)
class Link:
    """A URL to open."""

    url: str


@dataclass(frozen=True)
class Location:
    """A path, or the URL of a store, to copy."""

    text: str


# What a page shows under a name.
Shown = str | int | float | Markdown | Rows | Json | Link | Location


def table(rows: Sequence[Mapping[str, Any]], *, personal: Collection[str] = ()) -> Rows:
    """Lay out rows: each gets every column that any row has."""
    names = list(dict.fromkeys(name for row in rows for name in row))

    def cell(name: str, text: str) -> str:
        cut = cut_between_values if name in personal else _cut
        return cut(text, _MAX_CELL_CHARACTERS)

    return Rows(
        [{name: cell(name, str(row.get(name, ""))) for name in names} for row in rows], personal
    )


def show_events(by_hour: Sequence[int]) -> dict[str, Shown]:
    """Show a day of canonical events; `by_hour` has their number in each of the 24 UTC hours."""
    most = max(by_hour)
    title = f"events by hour, UTC; most: {most:,} at {by_hour.index(most):02}:00"
    hours = [f"{hour:02}" for hour in range(len(by_hour))]
    picture = pictures.bars(title, by_hour, hours, ends=("00:00", "23:00")) if most else ""
    return {PICTURE: Markdown(picture)}


@dataclass
class ListFigures:
    """Of all lists of an artifact: how many of each size, and how large the numbers in them are."""

    layout: ListLayout
    sizes: Counter[int]
    powers: Counter[int]  # numbers by their power of two
    highest: float


# Draws an artifact: from its frame where owners have a value, from figures where they have lists.
FlatPicture = Callable[[pl.DataFrame, ListLayout], str]
ListPicture = Callable[[ListFigures], str]


def draw_ranking(frame: pl.DataFrame, layout: ListLayout) -> str:
    """Draw the numbers by rank, both on a log scale."""
    last = frame.height
    ranks = sorted({round(last ** (at / (_POINTS - 1))) for at in range(_POINTS)})
    numbers = frame[layout.value].gather([rank - 1 for rank in ranks]).to_list()
    ends = f"rank 1: {_number(numbers[0])}", f"rank {last:,}: {_number(numbers[-1])}"
    return pictures.curve(f"{layout.value} by rank, log scales", ranks, numbers, ends=ends)


def draw_tags(frame: pl.DataFrame, layout: ListLayout) -> str:
    """Draw how many items have how many tags, on a log scale."""
    title = f"{layout.owners} by number of {layout.value}"
    return _distribution(title, _counts(frame[layout.value].list.len().to_numpy()))


def draw_list_sizes(figures: ListFigures) -> str:
    """Draw how many lists have how many entries, on a log scale."""
    if not figures.sizes:
        return ""
    return _distribution(
        f"{figures.layout.owners} by number of {figures.layout.entries}", figures.sizes
    )


def draw_scores(figures: ListFigures) -> str:
    """Draw how many entries have which score, doubling from bar to bar, on a log scale."""
    if not figures.powers:
        return ""
    score, lowest = figures.layout.value, min(0, *figures.powers)
    powers = range(lowest, max(figures.powers) + 1)
    counts = [figures.powers[power] for power in powers]
    scale = f"by {score}: 1, 2 to 3, 4 to 7, ..."
    if lowest < 0:  # scores below 1, such as cosines
        scale = f"by {score}, each bar up to twice the one before"
    names = [_power(power) for power in powers]
    first = f"{score} {_first_two(names, counts, 'entries')}"
    ends = first, f"highest {score}: {_number(figures.highest)}"
    return pictures.bars(f"entries {scale}; log scale", counts, names, ends=ends, log_scale=True)


class FlatPage:
    """The page of an artifact whose owners have a value and no list; it is seen as a whole."""

    def __init__(self, layout: ListLayout, draw: FlatPicture | None, unit: str = "") -> None:
        self._layout = layout
        self._draw = draw
        self._value = _with_unit(layout.value, unit)
        self._frame: pl.DataFrame | None = None

    def add(self, piece: Piece) -> None:
        """Look at all rows."""
        self._frame = piece.decoded()

    @property
    def owners(self) -> int:
        """How many users or items have a value."""
        return 0 if self._frame is None else self._frame.to_series(0).n_unique()

    def show(self, labels: Labels) -> dict[str, Shown]:
        """Show it; `labels` is asked once, for the items that are shown."""
        frame = self._frame
        if frame is None or frame.is_empty():
            nothing: dict[str, Shown] = {PREVIEW: table([])}
            return {PICTURE: Markdown(""), **nothing} if self._draw else nothing
        rows = frame.head(FIRST_ITEMS).to_dicts()
        known = labels([row["item_id"] for row in rows]) if self._layout.of_items else {}
        shown: dict[str, Shown] = {
            PREVIEW: table(
                [self._cells(row, known) for row in rows], personal=_owners_in(self._layout)
            )
        }
        return (
            {PICTURE: Markdown(self._draw(frame, self._layout)), **shown} if self._draw else shown
        )

    def _cells(self, row: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
        owner, value = row[self._layout.owner], row[self._layout.value]
        label = {_LABEL: _short(known.get(owner, ""))} if known else {}
        text = ", ".join(value) if isinstance(value, list) else _number(value)
        return {self._layout.owner: self._name(owner), **label, self._value: _short(text)}

    def _name(self, owner: str) -> str:
        return _short(owner) if self._layout.of_items else _whole(owner)


class ListsPage:
    """The page of an artifact whose owners have lists; seen piece by piece, whole lists each."""

    def __init__(self, layout: ListLayout, draw: ListPicture | None, unit: str = "") -> None:
        self._layout = layout
        self._draw = draw
        self._value = _with_unit(layout.value, unit)
        self._figures = ListFigures(layout, Counter(), Counter(), -math.inf)
        # Number and owner of the strongest lists, and their first entries.
        self._strongest: list[tuple[float, str, list[tuple[str, float]]]] = []

    def add(self, piece: Piece) -> None:
        """Look at the next lists."""
        frame = piece.frame
        if frame.is_empty():
            return
        starts, sizes = piece.starts, list_sizes(piece)
        self._figures.sizes.update(_counts(sizes))
        numbers = frame[self._layout.value].drop_nulls()
        if numbers.len():
            self._figures.powers.update(_counts(_powers_of_two(numbers)))
            highest: Any = numbers.max()
            self._figures.highest = max(self._figures.highest, highest)
        # Owners are ascending: of equal numbers, the first ones are wanted.
        strengths = frame[self._layout.value].fill_null(0).to_numpy()[starts]
        weakest = np.sort(strengths)[-OWNERS:][0]
        beaten = self._strongest[-1][0] if len(self._strongest) == OWNERS else -math.inf
        found = (np.flatnonzero(strengths > weakest), np.flatnonzero(strengths == weakest))
        first = np.concatenate([of[:OWNERS] for of in found])
        lists = [at for at in first if sizes[at] and strengths[at] > beaten]
        lengths = [min(sizes[at], ENTRIES) for at in lists]
        rows = [
            starts[at] + place
            for at, length in zip(lists, lengths, strict=True)
            for place in range(length)
        ]
        shown = iter(Piece(frame[pl.Series(rows, dtype=pl.UInt32)], piece.ids).decoded().rows())
        for at, length in zip(lists, lengths, strict=True):
            of_owner = list(islice(shown, length))
            entries = [(item, n) for _, item, n in of_owner]
            self._strongest.append((float(strengths[at]), of_owner[0][0], entries))
        self._strongest.sort(key=lambda found: (-found[0], found[1]))
        del self._strongest[OWNERS:]

    @property
    def owners(self) -> int:
        """How many users or items have a list, empty ones too."""
        return self._figures.sizes.total()

    def show(self, labels: Labels) -> dict[str, Shown]:
        """Show it; `labels` is asked once, for the items that are shown."""
        shown: dict[str, Shown] = {PREVIEW: self._preview(labels)}
        return {PICTURE: Markdown(self._draw(self._figures)), **shown} if self._draw else shown

    def _preview(self, labels: Labels) -> Rows:
        """Show the first entries of the owners with the strongest one."""
        layout = self._layout
        items = [item for _, _, entries in self._strongest for item, _ in entries]
        owners = [of for _, of, _ in self._strongest] if layout.of_items else []
        known = labels([*items, *owners])
        entry = layout.entry or ""
        of_entry = f"its {_LABEL}" if layout.of_items else _LABEL

        def label(column: str, item: str) -> dict[str, str]:
            return {column: _short(known.get(item, ""))} if known else {}

        rows = []
        for _, of, entries in self._strongest:
            owner = (
                {layout.owner: _short(of), **label(_LABEL, of)}
                if layout.of_items
                else {layout.owner: _whole(of)}
            )
            for at, (item, n) in enumerate(entries):
                # The owner is named once, which reads as the list that it is. The number stands
                # before the last title, which may be wider than the page.
                cells = {entry: _short(item), self._value: _number(n), **label(of_entry, item)}
                rows.append({**(owner if not at else {}), **cells})
        return table(rows, personal=_owners_in(layout))


def _owners_in(layout: ListLayout) -> Collection[str]:
    """Return the column of the owners, where those are persons."""
    return () if layout.of_items else (layout.owner,)


def _powers_of_two(numbers: pl.Series) -> npt.NDArray[np.integer[Any]]:
    """Return the power of two that each number has reached; of the smallest, `_SMALLEST_POWER`."""
    lifted = np.maximum(numbers.to_numpy(), 2.0**_SMALLEST_POWER)
    exponents: npt.NDArray[np.integer[Any]] = np.frexp(lifted[lifted < 2.0**64])[1]
    return exponents - 1


def list_sizes(piece: Piece) -> npt.NDArray[np.int64]:
    """Return the number of entries of each list."""
    is_there = piece.frame.to_series(1).is_not_null().to_numpy()
    lengths: npt.NDArray[np.int64] = np.diff(piece.starts, append=piece.frame.height)
    lengths[~is_there[piece.starts]] = 0
    return lengths


def _distribution(title: str, found: Mapping[int, int]) -> str:
    """Draw how many lists have each size; where sizes are many, neighbouring ones share a bar."""
    smallest, largest = min(found), max(found)
    per_bar = -(-(largest - smallest + 1) // _MOST_BARS)
    bars = [0] * ((largest - smallest) // per_bar + 1)
    for size, lists in found.items():
        bars[(size - smallest) // per_bar] += lists
    mean = sum(size * lists for size, lists in found.items()) / sum(found.values())
    text = f"{title}; mean {mean:,.1f}; log scale" + (f"; {per_bar} a bar" if per_bar > 1 else "")
    names = [str(size) for size in range(smallest, largest + 1, per_bar)]
    ends = _first_two(names, bars, title.split()[0]), f"{largest:,}"
    return pictures.bars(text, bars, names, ends=ends, log_scale=True)


def _first_two(names: Sequence[str], counts: Sequence[int], what: str) -> str:
    """Say the first two bars in words: below a narrow bar there is no room for its number."""
    first, *second = (f"{name}: {count:,}" for name, count in zip(names, counts, strict=True))
    return ", ".join([f"{first} {what}", *second[:1]])


def _counts(numbers: npt.NDArray[np.integer[Any]]) -> dict[int, int]:
    """Return how often each number occurs."""
    found, times = np.unique(numbers, return_counts=True)
    return dict(zip(found.tolist(), times.tolist(), strict=True))


def _number(number: float) -> str:
    """Write a number for people: whole ones in full, others to four digits."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.4g}"


def _power(power: int) -> str:
    """Write a power of two in few letters."""
    if power < 0:
        return f"{2.0**power:.2g}"
    return str(2**power) if power < _LONG_POWER else f"2^{power}"


def _with_unit(column: str, unit: str) -> str:
    return f"{column} ({unit})" if unit else column


def _hidden(cell: str) -> str:
    return "(not shown)" if cell else ""


def _short(text: str) -> str:
    return _cut(text, _MAX_PREVIEW_CHARACTERS)


def _whole(person: str) -> str:
    """Return the id of a person, or nothing of it: part of one would not be found again."""
    return person if len(person) <= _MAX_ID_CHARACTERS else f"({len(person)} characters)"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
