"""What people call items, by the catalog: a courtesy, which nothing fails for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import polars as pl

from recsys_assets.config import Surface
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.events.catalog import CATALOG_DTYPES, CatalogCache


def item_titles(surface: Surface) -> dict[str, str]:
    """Return the catalog's titles by item; empty when there is no catalog, or it cannot be read."""
    frame = _courtesy(surface, CatalogCache())
    return {item: title for item, title in frame.select("item_id", "title").iter_rows() if title}


def item_labels(
    surface: Surface, catalogs: CatalogCache
) -> Callable[[Sequence[str]], dict[str, str]]:
    """Return what looks up the labels of items (`labels_in`), for as many days as one likes.

    The catalog is read at the first look-up, and only then. No item has a label when there is no
    catalog, or it cannot be read.
    """
    frame = cache(lambda: _courtesy(surface, catalogs))
    return lambda items: labels_in(frame(), items)


def labels_in(catalog: pl.DataFrame, items: Sequence[str]) -> dict[str, str]:
    """Return what people call some items: their title or, without one, their tags."""
    if catalog.is_empty():  # as of most surfaces, for each of their pages
        return {}
    return {
        item: title or ", ".join(tags)
        for item, title, tags in catalog.filter(pl.col("item_id").is_in(items))
        .select("item_id", "title", "tags")
        .iter_rows()
        if title or any(tags)
    }


def _courtesy(surface: Surface, catalogs: CatalogCache) -> pl.DataFrame:
    """Read the catalog for its titles, which nothing may fail for: content_sim's check reports."""
    try:
        if surface.catalog:
            return catalogs.read(surface.catalog).frame
    except RecsysAssetsError:  # also a store whose settings are wrong
        pass
    return pl.DataFrame(schema=CATALOG_DTYPES)
