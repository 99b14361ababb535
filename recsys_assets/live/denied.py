"""Which of the items that are denied now an earlier version lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from recsys_assets.config import Surface
from recsys_assets.errors import DeniedItemsError, StorageError, StoreUnavailableError
from recsys_assets.events.listed import DeniedItems, read_denied
from recsys_assets.kinds import KINDS
from recsys_assets.live.tables import read_document
from recsys_assets.storage.store import Store
from recsys_assets.windows import SourceHash

_MOST_NAMED: Final = 5


def denied_in(store: Store, uri: str, kind: str, denied: DeniedItems) -> str | None:
    """Say which denied items a version lists; None where it lists none.

    Raises:
        StorageError: its document is missing or damaged.
    """
    document = read_document(store, uri, kind)
    try:
        if SourceHash.from_text(document["build"]["source_hash"]).denied == denied.fingerprint:
            return None  # made with this very list
        items = denied.among(_items_of(document, kind))
    except (KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{uri} is no artifact document: {error!r}") from None
    if not items:
        return None
    more = f" and {len(items) - _MOST_NAMED:,} more" if len(items) > _MOST_NAMED else ""
    return f"{kind} lists {', '.join(items[:_MOST_NAMED])}{more}"


def denied_reason(store: Store, surface: Surface, current: Mapping[str, str]) -> str | None:
    """Say why versions should not be live: they list what is denied; None where they do not.

    A list that cannot be read is such a reason too: nobody knows then.
    """
    try:
        denied = read_denied(surface)
    except (DeniedItemsError, StoreUnavailableError) as error:
        return f"nobody knows which items are denied: {error}"
    if denied is None:
        return None
    found = (denied_in(store, uri, kind, denied) for kind, uri in current.items() if kind in KINDS)
    said = [each for each in found if each]
    return f"{'; '.join(said)}: denied by {surface.items.deny}" if said else None


def _items_of(document: Mapping[str, Any], kind: str) -> Iterator[str]:
    layout = KINDS[kind].layout
    for entry in document[layout.key]:
        if layout.of_items:
            yield entry[layout.owner]
        if layout.entry is not None:
            yield from (item["item_id"] for item in entry["items"])
