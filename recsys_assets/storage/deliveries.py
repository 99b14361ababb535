"""What is known in the root of the sinks of a surface: what each held last, and what failed since.

It is written by whoever delivers, or looks at a sink, so that a status opens no connection. A sink
has its own record of what it holds, and that decides: this one may be deleted at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.derived import read_derived
from recsys_assets.storage.registry import to_bytes, utc_text, version_of
from recsys_assets.storage.store import Store

_FORMAT: Final = 1


@dataclass(frozen=True)
class Held:
    """What a sink holds of a surface: the generation it was delivered at, and the versions."""

    generation: int
    versions: Mapping[str, str]  # by kind


@dataclass(frozen=True)
class Failure:
    """The deliveries that have failed since the last one that did not.

    Attributes:
        at: when the last of them did, RFC 3339, UTC.
        error: what it said.
        tries: how many there were.
        soon: whether it is worth trying again soon; no where the sink said no.
        dead: the generation that is given up, and delivered by a command only; None where none is.
    """

    at: str
    error: str
    tries: int
    soon: bool = True
    dead: int | None = None


@dataclass(frozen=True)
class Known:
    """What is known of a sink.

    Attributes:
        held: what it held when it was seen last; None before.
        seen_at: when that was, RFC 3339, UTC.
        delivered_at: when a delivery to it succeeded last.
        failure: what has failed since; None where nothing has.
    """

    held: Held | None = None
    seen_at: str | None = None
    delivered_at: str | None = None
    failure: Failure | None = field(default=None)


def versions_of(current: Mapping[str, str]) -> dict[str, str]:
    """Return the versions that the URIs of a manifest name, by kind."""
    return {kind: version_of(uri) for kind, uri in current.items()}


def is_behind(current: Mapping[str, str], held: Held | None) -> bool:
    """Tell whether a sink holds other versions than a manifest names, whatever their generation."""
    return held is None or dict(held.versions) != versions_of(current)


def read_known(store: Store, place: Place, sink: str) -> Known:
    """Return what is known of a sink; nothing, where that is missing or cannot be read.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """
    key = layout.delivery(place, sink)
    return read_derived(store, key, _parsed, then="passed over") or Known()


def note_held(
    store: Store,
    place: Place,
    sink: str,
    held: Held | None,
    current: Mapping[str, str],
    *,
    now: datetime,
    delivered: bool = False,
) -> None:
    """Keep what a sink holds, as it says itself; what has failed is over if it is not behind.

    Args:
        store: the root.
        place: whose sink.
        sink: its name.
        held: what it holds.
        current: URI by kind of what is live.
        now: when it was seen.
        delivered: whether that is the outcome of a delivery, and not of a look.
    """
    known, at = read_known(store, place, sink), utc_text(now)
    failure = known.failure if is_behind(current, held) else None
    delivered_at = at if delivered else known.delivered_at
    _write(store, place, sink, Known(held, at, delivered_at, failure))


def note_failure(
    store: Store,
    place: Place,
    sink: str,
    error: str,
    *,
    now: datetime,
    soon: bool = True,
    generation: int | None = None,
    max_tries: int | None = None,
) -> None:
    """Keep that a delivery failed, and why.

    Args:
        store: the root.
        place: whose sink.
        sink: its name.
        error: what it said.
        now: when it failed.
        soon: whether it is worth trying again soon.
        generation: of what was to be delivered, where that is known.
        max_tries: after so many failures a generation is given up; None tries for ever.
    """
    known = read_known(store, place, sink)
    tries = known.failure.tries + 1 if known.failure else 1
    dead = generation if max_tries is not None and tries >= max_tries else None
    failure = Failure(utc_text(now), error, tries, soon, dead)
    _write(store, place, sink, Known(known.held, known.seen_at, known.delivered_at, failure))


def _write(store: Store, place: Place, sink: str, known: Known) -> None:
    members = {"v": _FORMAT, "sink": sink, **asdict(known)}
    store.write_derived(layout.delivery(place, sink), to_bytes(members))


def _parsed(data: bytes) -> Known:
    members: dict[str, Any] = json.loads(data)
    held, failure = members["held"], members["failure"]
    return Known(
        Held(int(held["generation"]), dict(held["versions"])) if held else None,
        members["seen_at"],
        members["delivered_at"],
        Failure(**failure) if failure else None,
    )
