"""What makes the days by itself: two sensors of each surface, off until somebody starts them.

`<group>_landing` reports what landed, `<group>_materialize` materializes what that changes.
"""

# No postponed annotations here: Dagster reads the types of a sensor's arguments.
from datetime import UTC, date, datetime

import dagster as dg

from recsys_assets.config import Config, Surface
from recsys_assets.defs.internals import DATA_VERSION
from recsys_assets.defs.keys import asset_key
from recsys_assets.defs.metadata import as_metadata
from recsys_assets.defs.schedules import FIRST
from recsys_assets.operations import landing
from recsys_assets.operations.landing import Arrival, Cursor, LastReport
from recsys_assets.storage import open_store
from recsys_assets.texts import as_markdown

_INTERVAL_S = 30


def build_sensors(config: Config) -> dg.Definitions:
    """Build the sensors of every surface."""
    return dg.Definitions(
        sensors=[
            sensor
            for surface in config.surfaces
            for sensor in (_landing(surface, config.root), _materialize(surface))
        ],
    )


def _landing(surface: Surface, root: str) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{surface.group}_landing",
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Reports new and changed raw files of {as_markdown(surface.name)}, and its catalog. "
            f"Start {surface.group}_materialize first: what is reported before it runs is not "
            "built."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        def reported(asset: str, day: date) -> LastReport | None:
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


def last_report(instance: dg.DagsterInstance, key: dg.AssetKey, day: date) -> LastReport | None:
    """Return what was last reported of a day of an external asset."""
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(key, asset_partitions=[str(day)]), limit=1
    ).records
    if not found or found[0].asset_materialization is None:
        return None
    tags = found[0].asset_materialization.tags or {}
    return LastReport(tags.get(DATA_VERSION, ""), datetime.fromtimestamp(found[0].timestamp, UTC))


def _event(surface: Surface, asset: str, arrival: Arrival) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key(surface, asset),
        partition=str(arrival.day),
        metadata=as_metadata(arrival.shown),
        tags={DATA_VERSION: arrival.data_version},
    )


def _materialize(surface: Surface) -> dg.AutomationConditionSensorDefinition:
    return dg.AutomationConditionSensorDefinition(
        name=f"{surface.group}_materialize",
        target=dg.AssetSelection.groups(surface.group),
        run_tags=FIRST,
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Materializes the days of {as_markdown(surface.name)} whose raw files or catalog were "
            "reported, and with a trailing window those whose window holds them."
        ),
    )
