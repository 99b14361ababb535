"""Which items the artifacts of a surface may list: not those that are denied, or unknown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import polars as pl

from recsys_assets.compute.content_sim import items_of_surface
from recsys_assets.config import Surface
from recsys_assets.errors import DeniedItemsError, RecsysAssetsError
from recsys_assets.events.catalog import CatalogCache, catalog_object
from recsys_assets.storage import open_store
from recsys_assets.texts import WHITE_SPACE
from recsys_assets.windows import SourceHash

# Of a list this long no id would be found by eye; a file that is larger is something else.
_MOST_BYTES: Final = 2**26


@dataclass(frozen=True)
class DeniedItems:
    """A list of withdrawn items as it was read; `fingerprint` of its bytes (SHA-256)."""

    items: frozenset[str]
    fingerprint: str

    def among(self, items: Iterable[str]) -> list[str]:
        """Return which of some items are denied, each once, ascending."""
        return sorted(self.items.intersection(items))


@dataclass(frozen=True)
class ListedItems:
    """What decides whether an item may be listed.

    Attributes:
        denied: the list of withdrawn items, where there is one.
        known: the ids of the items of the catalog, where all others are left out.
        catalog: fingerprint of that catalog.
    """

    denied: DeniedItems | None = None
    known: pl.Series | None = None
    catalog: str | None = None

    @property
    def any(self) -> bool:
        """Whether there may be items that are not listed."""
        return self.denied is not None or self.known is not None

    def source(self, data: str) -> str:
        """Return the source hash of what is made of events, or of a catalog, and of these."""
        denied = self.denied.fingerprint if self.denied else None
        return str(SourceHash(data, catalog=self.catalog, denied=denied))

    def judge(self, item_ids: pl.Series) -> tuple[pl.Series | None, dict[str, int]]:
        """Tell of each item whether it may be listed, and count those that may not.

        Args:
            item_ids: any number, distinct ones where the counts are to be right.

        Returns:
            A Boolean for each, None where all may; and the numbers for the asset page.
        """
        listed, counts = None, dict[str, int]()
        if self.denied is not None:
            is_denied = item_ids.is_in(pl.Series([*self.denied.items], dtype=pl.String).implode())
            listed, counts["denied_items"] = ~is_denied, int(is_denied.sum())
        if self.known is not None:
            is_known = item_ids.is_in(self.known.implode())
            counts["not_in_catalog"] = int((~is_known).sum())
            listed = is_known if listed is None else listed & is_known
        return listed, counts


def listed_items(surface: Surface, catalogs: CatalogCache, *, of_catalog: bool) -> ListedItems:
    """Read what decides which items a kind may list.

    Args:
        surface: whose artifact.
        catalogs: where the catalog is shared.
        of_catalog: whether the kind is made of the catalog, and so has no items but its.

    Raises:
        InputError: the list, or the catalog, cannot be read.
    """
    denied = read_denied(surface)
    if of_catalog or not surface.items.only_in_catalog:
        return ListedItems(denied)
    snapshot = catalogs.read(surface.known_catalog)
    known = items_of_surface(snapshot.frame.lazy(), surface=surface.events_of.surface)
    return ListedItems(denied, known, snapshot.fingerprint)


def known_items(surface: Surface, catalogs: CatalogCache) -> pl.Series | None:
    """Return the ids of the catalog's items, where artifacts read it; None if it cannot be read.

    Whoever lists them says what is wrong with it.
    """
    if not surface.reads_catalog:
        return None
    try:
        catalog = catalogs.read(surface.known_catalog).frame.lazy()
    except RecsysAssetsError:
        return None
    return items_of_surface(catalog, surface=surface.events_of.surface)


def read_denied(surface: Surface) -> DeniedItems | None:
    """Read the list of withdrawn items; None where none is configured.

    Raises:
        DeniedItemsError: it cannot be read, or a line of it is no id; says which.
        StoreUnavailableError: the object store does not answer.
    """
    path = surface.items.deny
    if path is None:
        return None
    folder, name = catalog_object(path)
    try:
        found = open_store(folder).read(name)
    except OSError as error:
        raise DeniedItemsError(f"items.deny: {path} cannot be read: {error.strerror}") from error
    if found is None:
        raise DeniedItemsError(
            f"items.deny: {path} is not there. Put the list there, or an empty file when no item "
            "is withdrawn"
        )
    return DeniedItems(_parse(found.data, path), hashlib.sha256(found.data).hexdigest())


def _parse(data: bytes, path: str) -> frozenset[str]:
    if len(data) > _MOST_BYTES:
        raise DeniedItemsError(
            f"items.deny: {path} is larger than {_MOST_BYTES:,} bytes. It is to hold an id a line"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DeniedItemsError(
            f"items.deny: {path}, line {line}: is not UTF-8 ({error.reason}): write plain text"
        ) from None
    items = set()
    for number, entry in enumerate(text.split("\n"), start=1):
        item = entry.strip(WHITE_SPACE)
        if not item or item.startswith("#"):
            continue
        if any(f"{space}#" in item for space in WHITE_SPACE):
            # Taken as part of the id, it would deny no item, and nobody would know.
            raise DeniedItemsError(
                f"items.deny: {path}, line {number}: has a # behind an id. Put the comment on a "
                "line of its own"
            )
        items.add(item)
    return frozenset(items)
