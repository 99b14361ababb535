"""What makes the days by itself: two sensors of each surface, off until somebody starts them.

`<group>_landing` reports what landed, `<group>_materialize` materializes what that changes.
"""

# No postponed annotations here: Dagster reads the types of a sensor's arguments.
from datetime import UTC, date, datetime
from typing import Literal

import dagster as dg

from recsys_assets.config import Config, Surface
from recsys_assets.defs.internals import DATA_VERSION, AssetsAlone, partition_status
from recsys_assets.defs.keys import EVENTS, asset_key, asset_names, partitions_of
from recsys_assets.defs.metadata import as_metadata
from recsys_assets.defs.schedules import FIRST
from recsys_assets.operations import landing
from recsys_assets.operations.cursors import Cursor
from recsys_assets.operations.landing import Arrival, LastReport
from recsys_assets.storage import open_store
from recsys_assets.texts import as_markdown

_INTERVAL_S = 30


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
    first = " and ".join(f"{each.group}_materialize" for each in (surface, *variants))

    @dg.sensor(
        name=f"{surface.group}_landing",
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Reports new and changed raw files of {as_markdown(surface.name)}, and its catalog. "
            f"Start {first} first: what is reported before it runs is not built."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        def reported(asset: str, day: date) -> LastReport | None:
            return last_report(context.instance, asset_key(surface, asset), day, root)

        found = landing.look(
            open_store(root),
            surface,
            Cursor.from_text(context.cursor, root),
            now=datetime.now(UTC),
            reported=reported,
            tried=lambda day: _tried(context.instance, surface, day),
            variants=variants,
        )
        context.log.info(str(found))
        events = [
            _event(surface, asset, arrival, root)
            for asset in ("canonical_events", "raw_events", "catalog", "denied_items")
            for arrival in getattr(found, asset)
        ]
        # A tick that asks for no run is shown as skipped; what it reported stands in the reason.
        return dg.SensorResult(
            asset_events=events, skip_reason=str(found), cursor=found.cursor.to_text()
        )

    return sensor


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
    status = partition_status(
        instance, asset_key(surface, EVENTS), partitions_of(surface), str(day)
    )
    if status == "FAILED":
        return "failed"
    return "made" if status else "unknown"


def _event(surface: Surface, asset: str, arrival: Arrival, root: str) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key(surface, asset),
        partition=str(arrival.day),
        metadata=as_metadata({**arrival.shown, "root": root}),
        tags={DATA_VERSION: arrival.data_version},
    )


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
            f"Materializes the days of {as_markdown(surface.name)} whose raw files or catalog were "
            "reported, and with a trailing window those whose window holds them."
        ),
    )
