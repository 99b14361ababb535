"""What makes the days by itself: per surface two sensors, and a schedule for who wants no sensors.

`<group>_landing` reports what landed, `<group>_materialize` materializes what that changes, and
`<group>_daily` materializes the day before at a set time, landed or not. All are off until somebody
starts them.
"""

# No postponed annotations here: Dagster reads the types of a sensor's arguments.
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from recsys_assets.config import Config, Surface
from recsys_assets.operations import landing
from recsys_assets.operations.landing import Arrival, Cursor, Report
from recsys_assets.storage import open_store
from recsys_assets.surface import asset_key, asset_names

_INTERVAL_S = 30
_DATA_VERSION = "dagster/data_version"
# A day that landed goes before a backfill that somebody launched, whose priority is 0.
_FIRST = {"dagster/priority": "1"}
_ASSET_JOB = "__ASSET_JOB"  # Dagster's own job over every asset; the one that the UI launches


def build_daily(config: Config) -> dg.Definitions:
    """Build the sensors and the schedule of every surface."""
    return dg.Definitions(
        sensors=[
            sensor
            for surface in config.surfaces
            for sensor in (_landing(surface, config.root), _materialize(surface))
        ],
        schedules=[_daily(surface) for surface in config.surfaces],
    )


def _landing(surface: Surface, root: str) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{surface.group}_landing",
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Reports new and changed raw files of {surface.name}, and its catalog. Start "
            f"{surface.group}_materialize first: what is reported before it runs is not built."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        def reported(asset: str, day: date) -> Report | None:
            return last_report(context.instance, asset_key(surface, asset), day)

        found = landing.look(
            open_store(root),
            surface,
            Cursor.from_text(context.cursor),
            now=datetime.now(UTC),
            reported=reported,
        )
        context.log.info(str(found))
        events = [
            *(_event(surface, "raw_events", arrival) for arrival in found.raw_events),
            *(_event(surface, "catalog", arrival) for arrival in found.catalog),
        ]
        # A tick that asks for no run is shown as skipped; what it reported stands in the reason.
        return dg.SensorResult(
            asset_events=events, skip_reason=str(found), cursor=found.cursor.to_text()
        )

    return sensor


def last_report(instance: dg.DagsterInstance, key: dg.AssetKey, day: date) -> Report | None:
    """Return what was last reported of a day of an external asset."""
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(key, asset_partitions=[str(day)]), limit=1
    ).records
    if not found or found[0].asset_materialization is None:
        return None
    tags = found[0].asset_materialization.tags or {}
    return Report(tags.get(_DATA_VERSION, ""), datetime.fromtimestamp(found[0].timestamp, UTC))


def _event(surface: Surface, asset: str, arrival: Arrival) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key(surface, asset),
        partition=str(arrival.day),
        metadata=arrival.metadata,
        tags={_DATA_VERSION: arrival.data_version},
    )


def _materialize(surface: Surface) -> dg.AutomationConditionSensorDefinition:
    return dg.AutomationConditionSensorDefinition(
        name=f"{surface.group}_materialize",
        target=dg.AssetSelection.groups(surface.group),
        run_tags=_FIRST,
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Materializes the days of {surface.name} whose raw files or catalog were reported, "
            "and with a trailing window those whose window holds them."
        ),
    )


def _daily(surface: Surface) -> dg.ScheduleDefinition:
    hour, minute = surface.schedule_at.split(":")

    @dg.schedule(
        name=f"{surface.group}_daily",
        job_name=_ASSET_JOB,
        cron_schedule=f"{int(minute)} {int(hour)} * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"Materializes the day before of {surface.name} at {surface.schedule_at} UTC.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time
        last = surface.newest_day(now)
        if last is None or last != now.astimezone(UTC).date() - timedelta(days=1):
            return dg.SkipReason(f"the day before is not one of {surface.name}'s days")
        return dg.RunRequest(
            run_key=str(last),
            partition_key=str(last),
            tags=_FIRST,
            asset_selection=[asset_key(surface, name) for name in asset_names(surface)],
        )

    return schedule
