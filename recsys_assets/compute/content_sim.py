"""Tags of the catalog's items."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import polars as pl

# Lower case is taken letter by letter, as the online service does: a final sigma has no form of its
# own and a dotted capital I becomes i. Polars would write the one as U+03C2 and the other as two
# characters.
_LOWER_FIRST: Final = {"\u03a3": "\u03c3", "\u0130": "i"}
# Of a price: 18 digits, 6 of them behind the point, hold what is less.
_LEAST_WITHOUT_ROOM: Final = 1e12
_ITEM: Final = pl.col("item_id").fill_null("").str.strip_chars()


def normalise_tags(catalog: pl.LazyFrame, *, surface: str, max_items: int) -> pl.LazyFrame:
    """List the tags of the items that belong to a surface.

    Args:
        catalog: `item_id`, `tags` (list of text, each with any number of tags) and `namespace`
            (String), in catalog order.
        surface: rows of another, non-empty namespace are left out.
        max_items: rows kept, by item ascending, at least 1.

    Returns:
        Contract `content_sim`: one row per catalog row that has a tag, by item_id ascending and
        otherwise in catalog order. An empty catalog gives no rows.

    Raises:
        ValueError: `max_items` is below 1.
    """
    if max_items < 1:
        raise ValueError(f"need at least 1: {max_items=}")
    return _published(catalog, surface).head(max_items)


def repeated_items(catalog: pl.LazyFrame, *, surface: str) -> pl.DataFrame:
    """Return the items that `normalise_tags` would list more than once, whatever `max_items` is.

    Args:
        catalog: as there.
        surface: as there.

    Returns:
        One row per such item, by `item_id` ascending: how many `rows` of the catalog have it.
    """
    # Of most catalogs no row is left here, and no tag is looked at twice.
    candidates = catalog.filter(_ITEM.is_duplicated())
    return (
        _published(candidates, surface)
        .group_by("item_id", maintain_order=True)
        .agg(rows=pl.len())
        .filter(pl.col("rows") > 1)
        .collect()
    )


def items_of_surface(catalog: pl.LazyFrame, *, surface: str) -> pl.Series:
    """Return the ids of the items that belong to a surface, with tags or without, each once.

    Args:
        catalog: as for `normalise_tags`.
        surface: as there.
    """
    return _of_surface(catalog, surface).select("item_id").unique().collect().to_series()


def details_of_surface(
    catalog: pl.LazyFrame, details: pl.DataFrame, *, surface: str
) -> pl.DataFrame:
    """Return what a catalog says of the items of a surface besides their tags.

    Args:
        catalog: as for `normalise_tags`.
        details: `price` and `created_at` as texts, in the order of the catalog.
        surface: as there.

    Returns:
        `item_id`, `price`, a number of up to 18 digits, 6 of them behind the point, and
        `created_at`, UTC: one row per item of which either is known, that of its last row. What is
        no number, too large, or no time, is null.
    """
    price, at = pl.col("price").str.strip_chars(), pl.col("created_at").str.strip_chars()
    number, other = pl.Decimal(18, 6), price.cast(pl.Float64, strict=False)  # such as 1e3
    fitting = pl.when(other.abs() < _LEAST_WITHOUT_ROOM).then(other)
    rows = _of_surface(catalog.with_columns(details.get_columns()), surface).select(
        "item_id",
        price=pl.coalesce(
            price.cast(number, strict=False),
            fitting.cast(number, strict=False),
        ),
        created_at=at.map_elements(_moment, return_dtype=pl.Datetime("us", "UTC")),
    )
    known = rows.filter(pl.col("price").is_not_null() | pl.col("created_at").is_not_null())
    return known.unique("item_id", keep="last", maintain_order=True).collect()


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _of_surface(catalog: pl.LazyFrame, surface: str) -> pl.LazyFrame:
    namespace = pl.col("namespace").fill_null("").str.strip_chars()
    return catalog.with_columns(_ITEM, namespace).filter(
        pl.col("item_id") != "", pl.col("namespace").is_in(["", surface])
    )


def _published(catalog: pl.LazyFrame, surface: str) -> pl.LazyFrame:
    tag = pl.element().str.replace_many(_LOWER_FIRST).str.to_lowercase().str.strip_chars()
    return (
        _of_surface(catalog, surface)
        .select(
            "item_id",
            pl.col("tags")
            .list.join(",", ignore_nulls=True)
            .fill_null("")
            .str.replace_all("[;|]", ",")
            .str.split(",")
            .list.eval(tag.filter(tag != ""))
            .list.unique(maintain_order=True),
        )
        .filter(pl.col("tags").list.len() > 0)
        .sort("item_id", maintain_order=True)
    )
