"""A surface whose days are much like one another, so that a gate says what is wrong with one.

Each of its users has favourites, comes once a day at their hour, and sees four of them in a row.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from recsys_assets.audit.audited import Audited
from recsys_assets.audit.events import audit_events
from recsys_assets.audit.gates import DayGates
from recsys_assets.audit.shared import Shared
from recsys_assets.config import Surface
from recsys_assets.events.accepted import accept_day
from recsys_assets.events.days import ParsedDay
from recsys_assets.verdicts import Verdict
from recsys_assets_tests.project import Project, day, event

USERS = 40
# Days of a test are few, and so are its sessions.
SOON: dict[str, Any] = {
    "mode": "block",
    "history_days": 28,
    "reference_days": 6,
    "warm_up_days": 4,
    "min_sessions": 10,
}
GATES = ("volume", "shape", "identity", "replay")


def usual(of: date, users: Iterable[int] = range(USERS)) -> list[dict[str, Any]]:
    """Return the events of a day on which nothing happens."""
    return [
        event(
            f"i{(user * 3 + step + of.toordinal() % 2) % 60}",
            of=of,
            ts=f"{of}T{user % 24:02}:{step:02}:00Z",
            user_id=f"u{user}",
            session_id=f"{of} {user}",
        )
        for user in users
        for step in range(4)
    ]


# By the text of the configuration and the last day.
_BEGINNINGS: Final[dict[tuple[str, int], Path]] = {}


@dataclass
class Town:
    """Its days, judged and accepted without Dagster."""

    project: Project
    surface: Surface

    @classmethod
    def of(cls, project: Project, **gates: Any) -> Town:
        surface: dict[str, Any] = {
            "gates": {**SOON, **gates},
            "artifacts": {"popularity": {}},
            "catalog": None,
        }
        return cls(project, project.configure(surface).surfaces[0])

    def audit(
        self, of: date, events: Iterable[Mapping[str, Any]], gates: DayGates | None = None
    ) -> Audited[ParsedDay]:
        """Land a day and judge it; one that passes is accepted."""
        self.project.land(of, events)
        store = self.project.store
        gates = gates or DayGates(store, self.surface, Shared())
        with store.scratch() as scratch:
            begun = audit_events(store, self.surface, of, scratch, Shared(), gates)
            found = begun.settled()
            if found.passed and found.value:
                accept_day(store, self.surface.place, found.value)
        return found

    def goes_on(self, first: int, last: int) -> None:
        """Make days on which nothing happens; those that a town begins with are made once."""
        known = (self.project.config_file.read_text(), last)
        begins = first == 0 and not any((self.project.folder / "raw").iterdir())
        if begins and known in _BEGINNINGS:
            shutil.copytree(_BEGINNINGS[known], self.project.folder, dirs_exist_ok=True)
            return
        self._make(first, last)
        if begins:  # no file of it names its folder
            _BEGINNINGS[known] = self.project.folder.parent / f"town-{uuid4().hex}"
            shutil.copytree(self.project.folder, _BEGINNINGS[known])

    def _make(self, first: int, last: int) -> None:
        gates = DayGates(self.project.store, self.surface, Shared())
        for number in range(first, last + 1):
            assert self.audit(day(number), usual(day(number)), gates).passed

    def verdicts(self, number: int, events: Iterable[Mapping[str, Any]]) -> dict[str, Verdict]:
        """Return what the gates find of a day."""
        found = self.audit(day(number), events).verdicts
        return {gate: found[gate] for gate in GATES}
