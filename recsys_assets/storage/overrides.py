"""Overrides of gates: who accepted which day against which checks, and why; each for good."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from recsys_assets.errors import StorageError
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.registry import to_bytes, utc_text
from recsys_assets.storage.store import Store


@dataclass(frozen=True)
class Override:
    """One override, as it is recorded.

    Attributes:
        day: that is accepted.
        checks: that are passed over.
        fingerprint: of the events that are meant; None where it was announced before they came.
        restart_baseline: whether, for these checks, days before it say nothing of later ones.
        who: asked for it.
        reason: why.
        run_id: of the command or the run.
        recorded_at: RFC 3339, UTC.
    """

    day: date
    checks: Sequence[str]
    fingerprint: str | None
    restart_baseline: bool
    who: str
    reason: str
    run_id: str
    recorded_at: str

    def is_of(self, day: date, fingerprint: str | None) -> bool:
        """Tell whether events of a day are those that are meant."""
        return self.day == day and self.fingerprint in {None, fingerprint}

    def to_json(self) -> dict[str, Any]:
        """Return the members of the stored form."""
        return {"v": 1, **asdict(self), "day": str(self.day), "checks": list(self.checks)}

    @classmethod
    def from_bytes(cls, data: bytes) -> Override:
        """Read the stored form."""
        members: dict[str, Any] = json.loads(data)
        members.pop("v")
        day, checks = date.fromisoformat(members["day"]), tuple(members["checks"])
        return cls(**(members | {"day": day, "checks": checks}))


def record_override(store: Store, place: Place, override: Override, now: datetime) -> None:
    """Write a record that nothing changes."""
    name = f"{override.day}-{utc_text(now)}-{override.run_id}"
    if not store.put_new(layout.override(place, name), to_bytes(override.to_json())):
        raise StorageError(f"{layout.override(place, name)} is there already")


def read_overrides(store: Store, place: Place) -> list[Override]:
    """Return the overrides of a surface, the oldest first.

    Raises:
        StorageError: a record is damaged; says which.
    """
    found = []
    for stored in store.list(layout.of_place("registry/overrides", place)):
        record = store.read(stored.key)
        if record is None:
            continue
        try:
            found.append(Override.from_bytes(record.data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{store.location(stored.key)} is no record of an override: {error!r}",
                advice="Restore it, or take it away and override the day again.",
            ) from None
    return sorted(found, key=lambda override: override.recorded_at)
