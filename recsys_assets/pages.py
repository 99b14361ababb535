"""What the asset pages show of a day besides numbers: a picture to look at, and some rows to read.

Everything here is for people: nothing of it enters a document or a version. It is kept in Dagster's
event log for each day, so a picture stays below 1 KB and a preview, in Latin script, below 4 KB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import dagster as dg
import polars as pl

from recsys_assets import pictures

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


def show_artifact(kind: str, frame: pl.DataFrame, labels: Labels) -> dict[str, Any]:
    """Show an artifact.

    Args:
        kind: the artifact kind.
        frame: contract of `kind`, in published order.
        labels: asked once, for the items that are shown.
    """
    if frame.is_empty():
        return {PICTURE: _drawn(""), PREVIEW: table([])}
    return _SHOWN.get(kind, _first_rows)(frame, labels)


def _popularity(frame: pl.DataFrame, labels: Labels) -> dict[str, Any]:
    last = frame.height
    ranks = sorted({round(last ** (at / (_POINTS - 1))) for at in range(_POINTS)})
    counts = frame["count"].gather([rank - 1 for rank in ranks]).to_list()
    ends = f"rank 1: {counts[0]:,}", f"rank {last:,}: {counts[-1]:,}"
    picture = pictures.curve("exposures by rank, log scales", ranks, counts, ends=ends)
    return {
        PICTURE: _drawn(picture),
        PREVIEW: _preview(frame.head(_FIRST_ITEMS).to_dicts(), labels),
    }


def _cooc(frame: pl.DataFrame, labels: Labels) -> dict[str, Any]:
    starts, sizes = _lists(frame)
    return {
        PICTURE: _drawn(_distribution("items by number of neighbours", sizes)),
        PREVIEW: _strongest(frame, starts, sizes, labels, entry_name="neighbour"),
    }


def _scores(frame: pl.DataFrame, labels: Labels) -> dict[str, Any]:
    starts, sizes = _lists(frame)
    scores, picture = frame["score"].drop_nulls(), ""
    if scores.len():
        found = _counts(63 - scores.cast(pl.UInt64).bitwise_leading_zeros())
        counts = [found.get(doubled, 0) for doubled in range(max(found) + 1)]
        highest: Any = scores.max()
        ends = f"score 1: {counts[0]:,} entries", f"highest score: {highest:,.0f}"
        title = "entries by score: 1, 2 to 3, 4 to 7, ...; log scale"
        picture = pictures.bars(title, counts, ends=ends, log_scale=True)
    return {
        PICTURE: _drawn(picture),
        PREVIEW: _strongest(frame, starts, sizes, labels, entry_name="item"),
    }


def _content_sim(frame: pl.DataFrame, labels: Labels) -> dict[str, Any]:
    rows = [
        {"item_id": item, "tags": ", ".join(tags)}
        for item, tags in frame.head(_FIRST_ITEMS).iter_rows()
    ]
    return {
        PICTURE: _drawn(_distribution("items by number of tags", frame["tags"].list.len())),
        PREVIEW: _preview(rows, labels),
    }


def _first_rows(frame: pl.DataFrame, _: Labels) -> dict[str, Any]:
    """Show a kind that has no picture of its own."""
    rows = frame.head(_FIRST_ITEMS).iter_rows(named=True)
    return {PREVIEW: table([{name: _short(str(v)) for name, v in row.items()} for row in rows])}


_SHOWN: Final = {
    "popularity": _popularity,
    "cooc": _cooc,
    "implicit": _scores,
    "session_seq": _scores,
    "content_sim": _content_sim,
}


def _lists(frame: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Return, for each owner of a list, the row it begins at and its number of entries."""
    owner, entry = frame.to_series(0), frame.to_series(1)
    starts = (owner != owner.shift()).fill_null(value=True).arg_true()
    following = pl.concat([starts.slice(1), pl.Series([frame.height], dtype=starts.dtype)])
    return starts, (following - starts) * entry.gather(starts).is_not_null().cast(starts.dtype)


def _strongest(
    frame: pl.DataFrame, starts: pl.Series, sizes: pl.Series, labels: Labels, *, entry_name: str
) -> dg.MetadataValue[Any]:
    """Show the first entries of the owners with the strongest one."""
    owner, entry, number = frame.columns
    first = frame[starts].select(owner, number).with_columns(start=starts, size=sizes)
    chosen = (
        first.filter(pl.col("size") > 0)
        .top_k(_OWNERS, by=[number, owner], reverse=[False, True])
        .sort(number, owner, descending=[True, False])
    )
    lists = [
        (of, frame.slice(start, min(size, _ENTRIES)).select(entry, number).rows())
        for of, start, size in chosen.select(owner, "start", "size").iter_rows()
    ]
    items = [item for _, found in lists for item, _ in found]
    known = labels([*items, *chosen[owner]] if owner == "item_id" else items)
    rows = []
    for of, found in lists:
        described = {_LABEL: _short(known.get(of, ""))} if owner == "item_id" and known else {}
        for at, (item, n) in enumerate(found):
            # The owner is named once, which reads as the list that it is.
            cells = {owner: _short(of), **described} if not at else {}
            rows.append({**cells, entry_name: _short(known.get(item, item)), number: f"{n:,.0f}"})
    return table(rows)


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


def _distribution(title: str, sizes: pl.Series) -> str:
    """Draw how many lists have each size; where sizes are many, neighbouring ones share a bar."""
    found = _counts(sizes)
    smallest, largest = min(found), max(found)
    per_bar = -(-(largest - smallest + 1) // _MOST_BARS)
    bars = [0] * ((largest - smallest) // per_bar + 1)
    for size, lists in found.items():
        bars[(size - smallest) // per_bar] += lists
    mean = sum(size * lists for size, lists in found.items()) / sizes.len()
    text = f"{title}; mean {mean:,.1f}; log scale"
    ends = f"{smallest:,}: {bars[0]:,} items", f"{largest:,}"
    return pictures.bars(text, bars, ends=ends, log_scale=True)


def _counts(numbers: pl.Series) -> dict[int, int]:
    """Return how often each number occurs."""
    return dict(numbers.value_counts().iter_rows())


def _drawn(picture: str) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.md(picture) if picture else dg.MetadataValue.text("none")


def _short(text: str) -> str:
    return _cut(text, _MAX_PREVIEW_CHARACTERS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
