"""What makes the days by itself: two sensors of each surface, off until somebody starts them.

`<group>_landing` looks at what landed, and asks for the run that makes a new day. What else that
changes, it reports, and `<group>_materialize` materializes it.
"""

# No postponed annotations here: Dagster reads the types of a sensor's arguments.
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Literal

import dagster as dg

from recsys_assets.config import Config, Surface
from recsys_assets.defs.internals import (
    ASSET_JOB,
    DATA_VERSION,
    AssetsAlone,
    partition_statuses,
)
from recsys_assets.defs.keys import EVENTS, asset_key, asset_names, partitions_of
from recsys_assets.defs.landed import request_of, split
from recsys_assets.defs.schedules import FIRST
from recsys_assets.operations import landing
from recsys_assets.operations.arrivals import Arrivals, LastReport
from recsys_assets.operations.cursors import Cursor
from recsys_assets.storage import open_store
from recsys_assets.texts import as_markdown

_INTERVAL_S = 30


def landing_interval_s(surfaces: int) -> int:
    """Return the seconds from tick to tick of each landing sensor.

    The daemon looks for sensors that are due every 5 seconds, and ticks them one after the other: a
    few may tick as often, and many have to wait for each other.
    """
    return min(_INTERVAL_S, max(5, surfaces // 2))


def build_sensors(config: Config) -> dg.Definitions:
    """Build the sensors of every surface."""
    return dg.Definitions(
        sensors=[
            sensor
            for surface in config.surfaces
            for sensor in (
                *([] if surface.variant_of else [_landing(surface, config)]),
                _materialize(surface),
            )
        ],
    )


def _landing(surface: Surface, config: Config) -> dg.SensorDefinition:
    root, variants = config.root, config.variants_of(surface)
    others = " and ".join(f"{each.group}_materialize" for each in (surface, *variants))

    @dg.sensor(
        name=f"{surface.group}_landing",
        job_name=ASSET_JOB,
        minimum_interval_seconds=landing_interval_s(len(config.surfaces)),
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Asks for a run of each new day of {as_markdown(surface.name)}, and reports other "
            f"changes of its raw files and its catalog. Start {others} first: what is reported "
            "before it runs is not built."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        found = look(context, [surface, *variants], Cursor.from_text(context.cursor, root))
        new, reports = split(open_store(root), [surface, *variants], found, datetime.now(UTC))
        # A tick that asks for no run is shown as skipped; what it reported stands in the reason.
        return dg.SensorResult(
            asset_events=[report.event(surface, root) for report in reports],
            run_requests=[request_of([new])] if new else [],
            skip_reason=None if new else str(found),
            cursor=found.cursor.to_text(),
        )

    return sensor


def look(
    context: dg.SensorEvaluationContext, surfaces: Sequence[Surface], cursor: Cursor
) -> Arrivals:
    """Find out what has landed for a surface and its variants since the last look.

    Raises:
        RawEventsError: `source.path` is no directory.
        StoreUnavailableError: the object store does not answer.
    """
    surface, *variants = surfaces
    instance, root = context.instance, cursor.root
    found = landing.look(
        open_store(root),
        surface,
        cursor,
        now=datetime.now(UTC),
        reported=lambda asset, day: last_report(instance, asset_key(surface, asset), day, root),
        tried=lambda day: _tried(instance, surface, day),
        variants=variants,
    )
    context.log.info(f"{surface.name}: {found}")
    return found


def last_report(
    instance: dg.DagsterInstance, key: dg.AssetKey, day: date, root: str
) -> LastReport | None:
    """Return what was last reported of a day of an external asset, if it was for this root."""
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(key, asset_partitions=[str(day)]), limit=1
    ).records
    if not found or found[0].asset_materialization is None:
        return None
    reported = found[0].asset_materialization
    # Reports of earlier versions name no root.
    if reported.metadata.get("root", dg.MetadataValue.text(root)).value != root:
        return None
    version = (reported.tags or {}).get(DATA_VERSION, "")
    return LastReport(version, datetime.fromtimestamp(found[0].timestamp, UTC))


def _tried(
    instance: dg.DagsterInstance, surface: Surface, day: date
) -> Literal["made", "failed", "unknown"]:
    key, name = asset_key(surface, EVENTS), str(day)
    status = partition_statuses(instance, key, partitions_of(surface), [name]).get(name)
    if status == "FAILED":
        return "failed"
    return "made" if status else "unknown"


def _materialize(surface: Surface) -> dg.AutomationConditionSensorDefinition:
    return dg.AutomationConditionSensorDefinition(
        name=f"{surface.group}_materialize",
        target=AssetsAlone(
            selected_keys=[asset_key(surface, name) for name in asset_names(surface)]
        ),
        run_tags=FIRST,
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Materializes what else changed of {as_markdown(surface.name)}: the days whose raw "
            "files or catalog were reported, and with a trailing window those that look back on "
            "them."
        ),
    )
