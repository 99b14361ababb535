"""What a look at what landed finds, and what it asks of the Dagster instance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

from recsys_assets.operations.cursors import Cursor
from recsys_assets.pages import Shown
from recsys_assets.storage.store import Stored


@dataclass(frozen=True)
class Arrival:
    """A day to report: what has landed, and a fingerprint of it."""

    day: date
    data_version: str
    files: Sequence[Stored] = ()  # none of events that the root has already

    @property
    def shown(self) -> dict[str, Shown]:
        """Return what the asset page shows of it."""
        if not self.files:
            return {"found_in": "the root; another Dagster instance recorded how they were made"}
        return {
            "files": len(self.files),
            "size_bytes": sum(file.size_bytes for file in self.files),
            "newest_file": max(file.modified for file in self.files).isoformat(timespec="seconds"),
            "first_files": ", ".join(file.key for file in self.files[:5]),
        }


@dataclass
class Arrivals:
    """What one look found; `cursor` is for the next one."""

    cursor: Cursor
    raw_events: list[Arrival] = field(default_factory=list)
    catalog: list[Arrival] = field(default_factory=list)
    denied_items: list[Arrival] = field(default_factory=list)
    # Days whose events the root has and the instance does not know of, though late data changed
    # their window.
    canonical_events: list[Arrival] = field(default_factory=list)
    days: int = 0  # with raw files, of those that are looked at
    waiting: list[date] = field(default_factory=list)
    left_over: bool = False  # there was more than one tick may take; the next one goes on
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say in a line what was found."""
        parts = [f"{self.days} days with raw files, {len(self.raw_events)} new or changed"]
        if self.waiting:
            shown = ", ".join(map(str, self.waiting[:5]))
            more = f" and {len(self.waiting) - 5} more" if len(self.waiting) > 5 else ""
            parts.append(f"waiting for {shown}{more} to be complete")
        if self.left_over:
            parts.append("more in the next tick")
        return "; ".join([*parts, *self.problems])


@dataclass(frozen=True)
class LastReport:
    """What was last reported of a day of an asset."""

    data_version: str
    at: datetime


# Returns what was last reported of a day of `raw_events`, `catalog` or `denied_items` of this root.
Reported = Callable[[str, date], LastReport | None]
# Returns what the instance knows of a day's canonical events.
Tried = Callable[[date], Literal["made", "failed", "unknown"]]
