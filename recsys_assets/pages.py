"""What the asset pages show of a day besides numbers: a picture to look at, and some rows to read.

Everything here is for people: nothing of it enters a document or a version. It is kept in Dagster's
event log for each day, so a picture stays below 1 KB and a preview, in Latin script, below 4 KB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import dagster as dg
import polars as pl

from recsys_assets import pictures
from recsys_assets.documents import LISTS

PICTURE: Final = "picture"
PREVIEW: Final = "preview"
_LABEL: Final = "title or tags"

_POINTS: Final = 40
_MOST_BARS: Final = 40
_FIRST_ITEMS: Final = 10
_OWNERS: Final = 5
_ENTRIES: Final = 3
_MAX_CELL_CHARACTERS: Final = 500
_MAX_PREVIEW_CHARACTERS: Final = 40

# Gives, for some item ids, what people call the items; one that is not known is left out.
Labels = Callable[[Sequence[str]], Mapping[str, str]]


def table(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    """Lay out rows for the UI: every column that a row has, long cells cut."""
    if not rows:
        return dg.MetadataValue.text("none")
    names = list(dict.fromkeys(name for row in rows for name in row))
    records = [
        dg.TableRecord({name: _cut(str(row.get(name, "")), _MAX_CELL_CHARACTERS) for name in names})
        for row in rows
    ]
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(name) for name in names]))


def show_events(by_hour: Sequence[int]) -> dict[str, dg.MetadataValue[Any]]:
    """Show a day of canonical events; `by_hour` has their number in each of the 24 UTC hours."""
    most = max(by_hour)
    title = f"events by hour, UTC; most: {most:,} at {by_hour.index(most):02}:00"
    picture = pictures.bars(title, by_hour, ends=("00:00", "23:00")) if most else ""
    return {PICTURE: _drawn(picture)}


class ArtifactPage:
    """What the asset page shows of an artifact, gathered piece by piece."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._lists = _Lists(kind) if (kind in LISTS and LISTS[kind].entry) else None
        self._flat: pl.DataFrame | None = None

    def add(self, piece: pl.DataFrame) -> None:
        """Look at the next rows: whole lists where owners have lists, otherwise all rows."""
        if self._lists:
            self._lists.add(piece)
        else:
            self._flat = piece

    @property
    def owners(self) -> int:
        """How many users or items have a list or a value."""
        if self._lists:
            return self._lists.owners
        return 0 if self._flat is None else self._flat.to_series(0).n_unique()

    def show(self, labels: Labels) -> dict[str, Any]:
        """Show it; `labels` is asked once, for the items that are shown."""
        if self._lists:
            return self._lists.show(labels)
        if self._flat is None or self._flat.is_empty():
            return {PICTURE: _drawn(""), PREVIEW: table([])}
        return _SHOWN.get(self._kind, _first_rows)(self._flat, labels)


def _popularity(frame: pl.DataFrame, labels: Labels) -> dict[str, Any]:
    last = frame.height
    ranks = sorted({round(last ** (at / (_POINTS - 1))) for at in range(_POINTS)})
    counts = frame["count"].gather([rank - 1 for rank in ranks]).to_list()
    ends = f"rank 1: {counts[0]:,}", f"rank {last:,}: {counts[-1]:,}"
    picture = pictures.curve("count by rank, log scales", ranks, counts, ends=ends)
    return {
        PICTURE: _drawn(picture),
        PREVIEW: _preview(frame.head(_FIRST_ITEMS).to_dicts(), labels),
    }


def _content_sim(frame: pl.DataFrame, labels: Labels) -> dict[str, Any]:
    rows = [
        {"item_id": item, "tags": ", ".join(tags)}
        for item, tags in frame.head(_FIRST_ITEMS).iter_rows()
    ]
    return {
        PICTURE: _drawn(
            _distribution("items by number of tags", _counts(frame["tags"].list.len()))
        ),
        PREVIEW: _preview(rows, labels),
    }


def _first_rows(frame: pl.DataFrame, _: Labels) -> dict[str, Any]:
    """Show a kind that has no picture of its own."""
    rows = frame.head(_FIRST_ITEMS).iter_rows(named=True)
    return {PREVIEW: table([{name: _short(str(v)) for name, v in row.items()} for row in rows])}


_SHOWN: Final = {
    "popularity": _popularity,
    "content_sim": _content_sim,
}


class _Lists:
    """The lists of a kind whose owners have some: how many of each size, and the strongest."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._sizes: Counter[int] = Counter()
        self._numbers: Counter[int] = Counter()  # by their power of two
        self._highest = 0.0
        # Number and owner of the strongest lists, and their first entries.
        self._strongest: list[tuple[float, str, list[tuple[str, float]]]] = []

    def add(self, piece: pl.DataFrame) -> None:
        if piece.is_empty():
            return
        number = piece.columns[2]
        starts, sizes = list_sizes(piece)
        self._sizes.update(_counts(sizes))
        numbers = piece[number].drop_nulls()
        if numbers.len():
            powers = 63 - numbers.cast(pl.UInt64).bitwise_leading_zeros()
            self._numbers.update(_counts(powers))
            highest: Any = numbers.max()
            self._highest = max(self._highest, highest)
        # Owners are ascending: of equal numbers, the first ones are wanted.
        strengths = piece[number].gather(starts).fill_null(0)
        weakest: Any = strengths.top_k(_OWNERS).min()
        for found in ((strengths > weakest).arg_true(), (strengths == weakest).arg_true()):
            for at in found.head(_OWNERS):
                if size := min(sizes[at], _ENTRIES):
                    rows = piece.slice(starts[at], size).rows()
                    entries = [(item, n) for _, item, n in rows]
                    self._strongest.append((strengths[at], rows[0][0], entries))
        self._strongest.sort(key=lambda found: (-found[0], found[1]))
        del self._strongest[_OWNERS:]

    @property
    def owners(self) -> int:
        return self._sizes.total()

    def show(self, labels: Labels) -> dict[str, Any]:
        picture = self._by_size() if self._kind == "cooc" else self._by_number()
        return {PICTURE: _drawn(picture), PREVIEW: self._preview(labels)}

    def _by_size(self) -> str:
        return _distribution("items by number of neighbours", self._sizes) if self._sizes else ""

    def _by_number(self) -> str:
        if not self._numbers:
            return ""
        counts = [self._numbers[power] for power in range(max(self._numbers) + 1)]
        ends = f"score 1: {counts[0]:,} entries", f"highest score: {self._highest:,.0f}"
        title = "entries by score: 1, 2 to 3, 4 to 7, ...; log scale"
        return pictures.bars(title, counts, ends=ends, log_scale=True)

    def _preview(self, labels: Labels) -> dg.MetadataValue[Any]:
        """Show the first entries of the owners with the strongest one."""
        layout = LISTS[self._kind]
        of_items = layout.owner == "item_id"
        items = [item for _, _, entries in self._strongest for item, _ in entries]
        known = labels([*items, *(of for _, of, _ in self._strongest)] if of_items else items)
        entry_name = "neighbour" if of_items else "item"
        rows = []
        for _, of, entries in self._strongest:
            described = {_LABEL: _short(known.get(of, ""))} if of_items and known else {}
            for at, (item, n) in enumerate(entries):
                # The owner is named once, which reads as the list that it is.
                cells = {layout.owner: _short(of), **described} if not at else {}
                number = {layout.value: f"{n:,.0f}"}
                rows.append({**cells, entry_name: _short(known.get(item, item)), **number})
        return table(rows)


def list_sizes(piece: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Return, for each owner of a list, the row it begins at and its number of entries."""
    owner, entry = piece.to_series(0), piece.to_series(1)
    starts = (owner != owner.shift()).fill_null(value=True).arg_true()
    following = pl.concat([starts.slice(1), pl.Series([piece.height], dtype=starts.dtype)])
    return starts, (following - starts) * entry.gather(starts).is_not_null().cast(starts.dtype)


def _preview(rows: Sequence[Mapping[str, Any]], labels: Labels) -> dg.MetadataValue[Any]:
    """Show rows that begin with an item, with what people call it."""
    known = labels([row["item_id"] for row in rows])
    shown = []
    for row in rows:
        cells = {name: f"{v:,}" if isinstance(v, int) else _short(v) for name, v in row.items()}
        if known:
            cells = {
                "item_id": cells.pop("item_id"),
                _LABEL: _short(known.get(row["item_id"], "")),
                **cells,
            }
        shown.append(cells)
    return table(shown)


def _distribution(title: str, found: Mapping[int, int]) -> str:
    """Draw how many lists have each size; where sizes are many, neighbouring ones share a bar."""
    smallest, largest = min(found), max(found)
    per_bar = -(-(largest - smallest + 1) // _MOST_BARS)
    bars = [0] * ((largest - smallest) // per_bar + 1)
    for size, lists in found.items():
        bars[(size - smallest) // per_bar] += lists
    mean = sum(size * lists for size, lists in found.items()) / sum(found.values())
    text = f"{title}; mean {mean:,.1f}; log scale"
    ends = f"{smallest:,}: {bars[0]:,} items", f"{largest:,}"
    return pictures.bars(text, bars, ends=ends, log_scale=True)


def _counts(numbers: pl.Series) -> dict[int, int]:
    """Return how often each number occurs."""
    return dict(numbers.alias("number").value_counts().iter_rows())


def _drawn(picture: str) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.md(picture) if picture else dg.MetadataValue.text("none")


def _short(text: str) -> str:
    return _cut(text, _MAX_PREVIEW_CHARACTERS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
