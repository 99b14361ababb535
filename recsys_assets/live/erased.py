"""Erasures as what explains a difference to what is live."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from recsys_assets.config import Surface
from recsys_assets.events.erased import MATCHED
from recsys_assets.events.provenance import read_provenance
from recsys_assets.storage import layout
from recsys_assets.storage.erasures import read_erased
from recsys_assets.storage.publications import Live, read_time
from recsys_assets.storage.store import Store
from recsys_assets.windows import Window


def erased_since(store: Store, surface: Surface, live: Live, window: Window) -> list[str]:
    """Say how many persons were erased from the days of two windows since what is live went live.

    Args:
        store: where everything is.
        surface: whose.
        live: what is live, with its window.
        window: of what would be.

    Returns:
        A text; nothing where there were none. Their own flip makes live what is without them, so
        this is for what is published between an erasure's beginning and its flip.
    """
    listed = read_erased(store, surface.events_of)
    flipped = read_time(live.publication.published_at) if live.publication else None
    if listed is None or flipped is None:
        return []
    since = {each.hash for each in listed.entries if datetime.fromisoformat(each.at) > flipped}
    days = {*window.days(), *(live.window.days() if live.window else ())} if since else set()
    gone = set[str]()
    for day in days:
        with suppress(FileNotFoundError):
            source = read_provenance(store, layout.canonical(surface.events_of, day)).source
            gone |= since.intersection(source.get(MATCHED, ()))
    persons = "1 person was" if len(gone) == 1 else f"{len(gone):,} persons were"
    return [f"{persons} erased since"] if gone else []
