"""What Dagster's databases keep of a person: previews, samples of checks, texts of refused lines.

The ids are taken out of the events that are stored, which stay: that a day was made, and with which
numbers, is history. Only metadata, descriptions and what errors say are looked at; all else is
Dagster's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from typing import Any, Final

import dagster as dg

from recsys_assets.config import Surface
from recsys_assets.defs.keys import asset_key
from recsys_assets.defs.stored_events import (
    StoredEvent,
    forget_replaced,
    replace_stored,
    stored_events,
)
from recsys_assets.events.erased import ERASED_TEXT, USER, Erased
from recsys_assets.operations.find_user import Held

_OURS: Final = frozenset(
    {"metadata", "metadata_entries", "description", "message", "user_message", "stack"}
)
_TYPE: Final = "__class__"  # by which Dagster reads an event again
# Columns of tables whose cells are ids of users: of previews, and of what gates show.
_ARE_IDS: Final = frozenset({USER, "user"})


class DagsterEvents:
    """The events of an instance, as a holder of ids (`operations.find_user.Holder`)."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def find(self, surfaces: Sequence[Surface], erased: Erased) -> Iterator[Held]:
        """Yield the stored events that name them."""
        for event, _ in self._naming(surfaces, erased):
            where = f"{event.table} {event.number}, run {event.run_id}"
            yield Held("dagster", where, "an event with an id in its metadata")

    def purge(self, surfaces: Sequence[Surface], erased: Erased) -> Sequence[Held]:
        """Take their ids out of the stored events, and out of what databases keep of those."""
        for event, text in self._naming(surfaces, erased):
            replace_stored(self._instance, event, text)
        problems = forget_replaced(self._instance)
        return [Held("dagster", "the databases of events", each) for each in problems]

    def _naming(
        self, surfaces: Sequence[Surface], erased: Erased
    ) -> Iterator[tuple[StoredEvent, str]]:
        """Yield events that name them, each with what it would be without."""
        prefixes = [_prefix(surface) for surface in surfaces]
        for event in stored_events(self._instance, prefixes):
            before = json.loads(event.text)
            after = _changed(before, erased, ours=False)
            if after != before:
                yield event, json.dumps(after)


def _prefix(surface: Surface) -> str:
    """Return what the keys of all assets of a surface begin with, as Dagster stores them."""
    return asset_key(surface, "").to_string().removesuffix('""]')


def _changed(node: Any, erased: Erased, *, ours: bool, name: str = "") -> Any:
    """Return a node of JSON with each text of ours without their ids."""
    if isinstance(node, dict):
        return {
            inner: _changed(of, erased, ours=ours or inner in _OURS, name=inner)
            for inner, of in node.items()
        }
    if isinstance(node, list):
        return [_changed(inner, erased, ours=ours) for inner in node]
    if not ours or not isinstance(node, str) or name == _TYPE:
        return node
    if name in _ARE_IDS:  # theirs or another's, whose may be longer
        return "erased" if erased.whole(node) else node
    return _without(node, erased)


def _without(text: str, erased: Erased) -> str:
    """Return a text without their ids; a text of JSON is read first."""
    with suppress(ValueError):
        return date.fromisoformat(text).isoformat()  # a day is nobody's id
    if text[:1] in {"{", "["}:
        with suppress(ValueError):
            before = json.loads(text)
            after = _changed(before, erased, ours=True)
            return text if after == before else json.dumps(after)
    left = erased.without(text)
    return ERASED_TEXT if erased.in_line(left) else left  # written with escapes
