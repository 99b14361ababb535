"""The check `fresh` of what is live, for every surface, and the job and schedule that run it.

It is a check of `live`, which nothing materializes, and not of `manifest`: Dagster runs every check
of an asset whenever it materializes the asset, and a backfill of old days would fail by it.
"""

# No postponed annotations here: Dagster reads the types of a check's arguments.
from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from recsys_assets.checks import FRESH, describe
from recsys_assets.config import Config, Surface
from recsys_assets.operations.freshness import stale_because
from recsys_assets.operations.inspect import SurfaceStatus, surface_status
from recsys_assets.storage import open_store
from recsys_assets.surface import asset_key


def build_freshness(
    config: Config, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.Definitions:
    """Build the check of every surface, one job over all of them, and its schedule.

    Args:
        config: the surfaces, and where what is live is read.
        clock: gives the time of each check.
    """
    checks = [_fresh(config, surface, clock) for surface in config.surfaces]
    job = dg.define_asset_job(
        "check_freshness",
        selection=dg.AssetSelection.checks(*checks),
        description="Hold what is live of every surface to its `freshness`; changes nothing.",
    )
    hourly = dg.ScheduleDefinition(
        name="freshness_hourly",
        job=job,
        cron_schedule="5 * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="The check `fresh` of every surface, at minute 5 of every hour.",
    )
    return dg.Definitions(asset_checks=checks, jobs=[job], schedules=[hourly])


def _fresh(
    config: Config, surface: Surface, clock: Callable[[], datetime]
) -> dg.AssetChecksDefinition:
    # blocking: nothing is downstream, but only a blocking check turns its run red.
    @dg.asset_check(
        asset=asset_key(surface, "live"),
        name=FRESH,
        blocking=True,
        description=describe(FRESH, config.docs_url),
    )
    def fresh() -> dg.AssetCheckResult:
        return _result(surface_status(open_store(config.root), surface, now=clock()))

    return fresh


def _result(status: SurfaceStatus) -> dg.AssetCheckResult:
    because = stale_because(status)
    hours = None if status.age is None else round(status.age.total_seconds() / 3600, 2)
    numbers = {
        "days_behind": status.days_behind,
        "hours_since_flip": hours,
        "generation": status.generation,
        "pinned": None if status.error else int(status.pin is not None),
    }
    return dg.AssetCheckResult(
        passed=because is None,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{status.surface.name}: {because or 'fresh'}",
        metadata={name: value for name, value in numbers.items() if value is not None},
    )
