"""The run that makes a day because it landed: what it covers, and what it reports of what landed.

The run itself reports what it is made for, when it begins. A report of the sensor would come before
or after the run, and in between the conditions would ask for the day once more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import dagster as dg

from recsys_assets.config import Surface
from recsys_assets.defs.internals import ASSET_JOB, DATA_VERSION, LANDED, PARTITION
from recsys_assets.defs.keys import asset_key, asset_names
from recsys_assets.defs.metadata import as_metadata
from recsys_assets.defs.schedules import FIRST
from recsys_assets.operations.arrivals import Arrival, Arrivals
from recsys_assets.pages import Shown
from recsys_assets.storage import layout
from recsys_assets.storage.store import Store

_REPORTED: Final = ("canonical_events", "raw_events", "catalog", "denied_items")
# Characters of a text. A tag has room for some 2,600 bytes in Postgres; others than ASCII take six
# each in JSON.
_LONGEST_ASCII: Final = 200
_LONGEST_TEXT: Final = 50


@dataclass(frozen=True)
class Report:
    """What is told of a day of an asset that somebody else keeps."""

    asset: str
    day: date
    data_version: str
    shown: Mapping[str, Shown]

    @classmethod
    def of(cls, asset: str, arrival: Arrival) -> Report:
        """Return the report of what arrived."""
        return cls(asset, arrival.day, arrival.data_version, arrival.shown)

    def event(self, surface: Surface, root: str) -> dg.AssetMaterialization:
        """Return it as Dagster keeps it."""
        return dg.AssetMaterialization(
            asset_key(surface, self.asset),
            partition=str(self.day),
            metadata=as_metadata({**self.shown, "root": root}),
            tags={DATA_VERSION: self.data_version},
        )


@dataclass(frozen=True)
class NewDay:
    """A day of a surface and its variants that a run is to make, and what it reports of it."""

    surfaces: Sequence[Surface]  # the surface, then its variants
    day: date
    reports: Sequence[Report]

    @property
    def tag(self) -> dict[str, str]:
        """Return the tag by which the run knows what to report."""
        reports = [
            [report.asset, report.data_version, {k: _short(v) for k, v in report.shown.items()}]
            for report in self.reports
        ]
        return {_tag_of(self.surfaces[0]): json.dumps(reports)} if reports else {}


def split(
    store: Store, surfaces: Sequence[Surface], found: Arrivals, now: datetime
) -> tuple[NewDay | None, list[Report]]:
    """Tell the day that a run is to make from what is only reported, for conditions to act on.

    Args:
        store: the root.
        surfaces: a surface and its variants.
        found: what has landed for it.
        now: UTC.
    """
    reports = [Report.of(name, each) for name in _REPORTED for each in getattr(found, name)]
    day = _new_day(store, surfaces[0], found, now)
    if day is None:
        return None, reports
    of_day = [report for report in reports if report.day == day]
    return NewDay(surfaces, day, of_day), [each for each in reports if each.day != day]


def _new_day(store: Store, surface: Surface, found: Arrivals, now: datetime) -> date | None:
    """Return the day that is all the news there is, if no later day is to be made again for it.

    Several days are a backfill. Of a late day, the windows that hold it are made with it.
    """
    if len(found.raw_events) != 1 or found.canonical_events:
        return None
    day = found.raw_events[0].day
    later = [day + timedelta(days=n) for n in range(1, surface.longest_window)]
    if any(str(each) in found.cursor.seen for each in later):
        return None
    over = [each for each in later if each < now.astimezone(UTC).date()]
    made = any(store.stat(layout.canonical(surface.place, each)) for each in over)
    return None if made else day


def request_of(
    due: Sequence[NewDay], more: Mapping[str, str] | None = None, *, run_key: str | None = None
) -> dg.RunRequest:
    """Return the request of a run that makes a day of some surfaces, the same of all.

    Dagster resolves a `partition_key` only where all assets have the same partitions, and a surface
    has its own first day. The tag, by which a run knows its partition, is enough.
    """
    tags = {PARTITION: str(due[0].day), LANDED: "true", **FIRST, **(more or {})}
    for each in due:
        tags |= each.tag
    return dg.RunRequest(
        run_key=run_key,
        job_name=ASSET_JOB,
        tags=tags,
        asset_selection=[
            asset_key(surface, name)
            for each in due
            for surface in each.surfaces
            for name in asset_names(surface)
        ],
    )


def reports_in(tags: Mapping[str, str], surface: Surface) -> Iterator[Report]:
    """Yield what a run is to report as landed for a surface, by its tags; nothing of other runs."""
    found: list[tuple[str, str, dict[str, Any]]] = json.loads(tags.get(_tag_of(surface), "[]"))
    for asset, data_version, shown in found:
        yield Report(asset, date.fromisoformat(tags[PARTITION]), data_version, shown)


def _tag_of(surface: Surface) -> str:
    # Dagster allows 63 characters behind the slash.
    group = surface.group if len(surface.group) <= 63 else _hash_of(surface.group)
    return f"recsys_assets.landed/{group}"


def _hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _short(value: Shown) -> Shown:
    if not isinstance(value, str):
        return value
    return value[: _LONGEST_ASCII if value.isascii() else _LONGEST_TEXT]
