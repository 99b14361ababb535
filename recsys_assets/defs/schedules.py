"""What runs by the clock: the day before of each surface, retention, and the check of freshness.

All are off until somebody starts them.
"""

# No postponed annotations here: Dagster reads the types of a schedule's arguments.
from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta
from typing import Any

import dagster as dg

from recsys_assets.config import Config, Surface
from recsys_assets.defs.internals import ASSET_JOB, PRIORITY
from recsys_assets.defs.keys import asset_key, asset_names
from recsys_assets.texts import as_markdown

# A day that landed goes before a backfill that somebody launched, whose priority is 0.
FIRST = {PRIORITY: "1"}


def build_schedules(config: Config) -> dg.Definitions:
    """Build `<group>_daily` of every surface: the day before, landed or not, without sensors.

    Variants are made in the run of their base: in one of their own, its events might not be there.
    """
    return dg.Definitions(
        schedules=[
            _daily([surface, *config.variants_of(surface)])
            for surface in config.surfaces
            if not surface.variant_of
        ]
    )


def schedule_of(
    job: Any, name: str, cron: str, text: str, *, run_config: Mapping[str, Any] | None = None
) -> dg.ScheduleDefinition:
    """Build a schedule of a job, of any of Dagster's types of them, in UTC."""
    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=text,
        run_config=run_config,
    )


def _daily(surfaces: Sequence[Surface]) -> dg.ScheduleDefinition:
    surface, *variants = surfaces
    of = " and ".join(as_markdown(name) for name in ([surface.name] + [v.name for v in variants]))
    hour, minute = surface.schedule_at.split(":")

    @dg.schedule(
        name=f"{surface.group}_daily",
        job_name=ASSET_JOB,
        cron_schedule=f"{int(minute)} {int(hour)} * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=(f"Materializes the day before of {of} at {surface.schedule_at} UTC."),
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time
        last = surface.newest_day(now)
        if last is None or last != now.astimezone(UTC).date() - timedelta(days=1):
            return dg.SkipReason(f"the day before is not one of {surface.name}'s days")
        return dg.RunRequest(
            run_key=str(last),
            partition_key=str(last),
            tags=FIRST,
            asset_selection=[
                asset_key(each, name) for each in surfaces for name in asset_names(each)
            ],
        )

    return schedule
