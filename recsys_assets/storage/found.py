"""What gates found last: small, so that whoever watches many surfaces may read it often.

Of the newest day that was judged, and of the release and the catalog that were compared last with
what was live, the figures.
Of each day that gates refuse, that they do. Whoever deletes any of it loses what is told of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.derived import read_derived
from recsys_assets.storage.registry import to_bytes, utc_text
from recsys_assets.storage.store import Store

GatesOf = Literal["day", "release", "catalog"]
_FORMAT: Final = 1


@dataclass(frozen=True)
class Figures:
    """One number that a gate looked at.

    Attributes:
        of: the check of a day that it belongs to; of a release, the kind.
        value: of the day, or of what would be live.
        usual: the level that it is held to; of a release, what is live has.
        margin_used: which part of its margin it is off; None while that is not known.
    """

    of: str
    value: float
    usual: float
    margin_used: float | None


@dataclass(frozen=True)
class Found:
    """What the gates of a day, or of a release, found.

    Attributes:
        day: that was judged.
        failed: of each check that looked, whether it found a fault that nobody has accepted.
        refused: whether one of them holds the day back.
        drifting: checks that found a number off to one side for days, each time within its margin.
        numbers: by name.
        found_at: RFC 3339, UTC.
    """

    day: date
    failed: Mapping[str, bool]
    refused: bool
    drifting: Sequence[str]
    numbers: Mapping[str, Figures]
    found_at: str

    @classmethod
    def now(
        cls,
        day: date,
        failed: Mapping[str, bool],
        numbers: Mapping[str, Figures],
        *,
        refused: bool,
        drifting: Sequence[str] = (),
    ) -> Found:
        """Return what was found just now."""
        return cls(day, failed, refused, drifting, numbers, utc_text(datetime.now(UTC)))


def keep_day(store: Store, place: Place, found: Found) -> None:
    """Keep what gates found of a day: that they refuse it; the figures, if no later day has any."""
    marker = layout.refused(place, found.day)
    if found.refused:
        # What is there stays, for its time: it says since when.
        store.put_new(marker, to_bytes({"v": _FORMAT, "found_at": found.found_at}))
    elif store.stat(marker):  # most days have none, and who may not delete must not be asked to
        store.delete(marker)
    newest = read_found(store, place, "day")
    if newest is None or newest.day <= found.day:
        keep_found(store, place, "day", found)


def keep_found(store: Store, place: Place, of: GatesOf, found: Found) -> None:
    """Keep what gates found last."""
    members = {"v": _FORMAT, **asdict(found), "day": str(found.day)}
    store.write_derived(layout.found(place, of), to_bytes(members))


def read_found(store: Store, place: Place, of: GatesOf) -> Found | None:
    """Return what gates found last; None where they did not look, or that cannot be read.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """
    return read_derived(store, layout.found(place, of), _parsed, then="passed over")


def _parsed(data: bytes) -> Found:
    members: dict[str, Any] = json.loads(data)
    members.pop("v")
    members["day"] = date.fromisoformat(members["day"])
    members["numbers"] = {name: Figures(**each) for name, each in members["numbers"].items()}
    return Found(**members)


def refused_days(store: Store, place: Place) -> dict[date, datetime]:
    """Return the days that gates refuse, and since when.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """
    listed = store.list(layout.refused_days(place))
    days = ((layout.refused_day(place, each.key), each.modified) for each in listed)
    return {day: since for day, since in days if day}
