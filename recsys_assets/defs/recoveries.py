"""What was reported as failed and has been made since: whoever was told of it is told so, once.

The sensor of the failed runs keeps in its cursor which days of which assets it has reported. So a
day is told to have recovered once, whoever starts again, and nothing is told that was not reported.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg

from recsys_assets.operations.webhook import MAX_DAYS, bounded

# A day that is not made for so long is not waited for any more.
FOLLOWED: Final = timedelta(days=30)
# Days that are waited for at a time, of all assets together; the oldest report gives way.
_MOST_FOLLOWED: Final = 1_000
_MOST_RECORDS: Final = 1_000


@dataclass(frozen=True)
class Failed:
    """Days of an asset whose failure was reported.

    Attributes:
        surface: whose asset, `tenant/surface`.
        asset: its key.
        days: those that have not been made since.
        at: when its run failed, in seconds since 1970.
    """

    surface: str
    asset: str
    days: Sequence[str]
    at: float


@dataclass(frozen=True)
class Recovered:
    """Days of a surface that are as they should be: all of them that was reported is made."""

    surface: str
    assets: Sequence[str]
    days: Sequence[str]
    run_id: str

    def report(self, ui_url: str) -> dict[str, Any]:
        """Return what is posted."""
        first, more = self.days[0], len(self.days) - 1
        when = f"{first} and {more} more days" if more else first
        made = ", ".join(asset.rpartition("/")[2] for asset in self.assets)
        run_url = f"{ui_url}/runs/{self.run_id}"
        return {
            "text": f"{self.surface} {when}: recovered: {made} succeeded {run_url}",
            "recovered": True,
            "run_id": self.run_id,
            "run_url": run_url,
            "surfaces": [self.surface],
            "assets": self.assets,
            **bounded("days", self.days, MAX_DAYS),
        }


@dataclass(frozen=True)
class Progress:
    """How far the sensor has come.

    Attributes:
        after: storage id of the last failure that was looked at.
        failed: what was reported and is not made yet, the oldest report first.
    """

    after: int
    failed: Sequence[Failed] = ()

    @classmethod
    def of_cursor(cls, cursor: str) -> Progress:
        """Read a cursor; earlier versions kept the storage id alone."""
        read = json.loads(cursor)
        if isinstance(read, int):
            return cls(read)
        return cls(read["after"], [Failed(**failed) for failed in read["failed"]])

    def to_cursor(self) -> str:
        """Return it as the daemon keeps it."""
        return json.dumps(asdict(self))

    def reported(self, failed: Sequence[Failed]) -> Progress:
        """Return the same, waiting for these days too."""
        kept: list[Failed] = []
        room = _MOST_FOLLOWED
        for each in reversed([*self.failed, *failed]):
            days = each.days[:room]
            room -= len(days)
            kept += [replace(each, days=days)] if days else []
        return replace(self, failed=kept[::-1])

    def told(self, recovered: Recovered) -> Progress:
        """Return the same, waiting no more for what was told to have recovered."""
        left = [
            replace(each, days=[day for day in each.days if day not in recovered.days])
            if each.surface == recovered.surface
            else each
            for each in self.failed
        ]
        return replace(self, failed=[each for each in left if each.days])

    def recent(self) -> Progress:
        """Return the same without what has failed for longer than is waited for."""
        since = (datetime.now(UTC) - FOLLOWED).timestamp()
        return replace(self, failed=[each for each in self.failed if each.at >= since])


def recoveries(instance: dg.DagsterInstance, failed: Sequence[Failed]) -> Iterator[Recovered]:
    """Yield each surface with days that have recovered, once.

    A day has when everything of it that was reported was made since, by runs that are over: while
    one goes on, the next step may still fail.
    """
    made = _made_since(instance, failed)
    of_surface: dict[str, list[Failed]] = defaultdict(list)
    for each in failed:
        of_surface[each.surface].append(each)
    for surface, reported in of_surface.items():
        waiting = {
            day
            for each in reported
            for day in each.days
            if made.get((each.asset, day), (0.0, ""))[0] <= each.at
        }
        days = sorted({day for each in reported for day in each.days} - waiting)
        assets = {each.asset: None for each in reported if {*each.days} & {*days}}
        if days:
            _, run_id = max(
                found for (asset, day), found in made.items() if asset in assets and day in days
            )
            yield Recovered(surface, [*assets], days, run_id)


def _made_since(
    instance: dg.DagsterInstance, failed: Sequence[Failed]
) -> Mapping[tuple[str, str], tuple[float, str]]:
    """Return when each asset and day was last made by a run that is over, and by which."""
    found: dict[tuple[str, str], tuple[float, str]] = {}
    over: dict[str, bool] = {}
    for asset in {each.asset for each in failed}:
        of_asset = [each for each in failed if each.asset == asset]
        wanted = dg.AssetRecordsFilter(
            dg.AssetKey.from_user_string(asset),
            asset_partitions=sorted({day for each in of_asset for day in each.days}),
            after_timestamp=min(each.at for each in of_asset),
        )
        for record in instance.fetch_materializations(wanted, limit=_MOST_RECORDS).records:
            if record.run_id not in over:
                run = instance.get_run_by_id(record.run_id)
                over[record.run_id] = run is None or run.is_finished
            if over[record.run_id]:
                found.setdefault(
                    (asset, record.partition_key or ""), (record.timestamp, record.run_id)
                )
    return found
