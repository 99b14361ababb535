"""The outline of an artifact in the store: what it is compared by, without reading it again.

It stands under the version of the artifact and is never changed. Whoever deletes one loses time
only: it is made again of the artifact. A brief one has no lists. They are made of the artifact when
they are asked for, and the whole outline is kept beside it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from recsys_assets.compute.outlines import NO_LISTS, Outline
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.derived import read_derived
from recsys_assets.storage.frames import from_bytes_beside, to_bytes_beside
from recsys_assets.storage.store import Store

# Part of where outlines are kept: raise it when the same artifact would give another.
OUTLINE_FORMAT: Final = 1


def write_outline(store: Store, place: Place, kind: str, version: str, outline: Outline) -> None:
    """Keep the outline of a version, unless there is one: with the settings that made it first."""
    if outline.is_brief:
        _write_brief(store, place, kind, version, outline)
        return
    if read_outline(store, place, kind, version):
        return
    if brief := read_brief(store, place, kind, version):
        outline = replace(outline, settings=brief.settings)
    footer = _sizes(outline) | {"thinned": outline.thinned}
    data = to_bytes_beside(outline.lists, footer)
    store.write_derived(layout.outline(place, kind, version, OUTLINE_FORMAT), data)


def _write_brief(store: Store, place: Place, kind: str, version: str, outline: Outline) -> None:
    key = layout.brief_outline(place, kind, version, OUTLINE_FORMAT)
    whole = layout.outline(place, kind, version, OUTLINE_FORMAT)
    if not store.stat(whole) and not store.stat(key):
        store.write_derived(key, json.dumps(_sizes(outline)).encode())


def _sizes(outline: Outline) -> dict[str, Any]:
    return {
        "form": outline.form,
        "owners": outline.owners,
        "entries": outline.entries,
        "settings": outline.settings,
    }


def read_outline(store: Store, place: Place, kind: str, version: str) -> Outline | None:
    """Return the outline of a version; None without a readable one.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """

    def parse(data: bytes) -> Outline:
        lists, footer = from_bytes_beside(data)
        return Outline(
            footer["form"],
            footer["owners"],
            footer["entries"],
            lists,
            footer["thinned"],
            footer["settings"],
        )

    key = layout.outline(place, kind, version, OUTLINE_FORMAT)
    return read_derived(store, key, parse, then="is made again")


def read_brief(store: Store, place: Place, kind: str, version: str) -> Outline | None:
    """Return the brief outline of a version; None without a readable one.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """

    def parse(data: bytes) -> Outline:
        sizes: dict[str, Any] = json.loads(data)
        return Outline(lists=NO_LISTS, is_brief=True, **sizes)

    key = layout.brief_outline(place, kind, version, OUTLINE_FORMAT)
    return read_derived(store, key, parse, then="is made again")
