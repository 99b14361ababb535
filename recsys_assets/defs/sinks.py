"""The assets of sinks, and the sensor that starts them: none where no surface has a sink.

A command in a shell flips without Dagster, so the sensor compares the manifest with what each sink
says that it holds.
"""

# No postponed annotations here: Dagster reads the types of a sensor's arguments.
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from recsys_assets.config import AnySink, Config, Surface
from recsys_assets.defs.internals import UNFINISHED, AssetsAlone
from recsys_assets.defs.keys import OWNERS, asset_key, tags_of
from recsys_assets.defs.metadata import as_metadata, no_ids_in_errors
from recsys_assets.defs.schedules import FIRST
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.operations.cursors import remembered
from recsys_assets.pages import Shown, table
from recsys_assets.sinks.delivering import deliver
from recsys_assets.sinks.sink import Delivered
from recsys_assets.sinks.watching import Seen, name_of, watch
from recsys_assets.storage import open_store
from recsys_assets.texts import as_code, as_markdown

_INTERVAL_S: Final = 30
# Of the runs that the sensor asks for: while one goes on, it asks for no other of its sinks.
_TAG: Final = {"recsys_assets/delivers": "true"}


def build_sinks(config: Config) -> dg.Definitions:
    """Build an asset for each sink of each surface, and the sensor over all of them."""
    assets = [
        _asset(surface, sink, config.root) for surface in config.surfaces for sink in surface.sinks
    ]
    keys = [asset.key for asset in assets]
    return dg.Definitions(assets=assets, sensors=[_sensor(config, keys)] if assets else [])


def _key(surface: Surface, sink: AnySink) -> dg.AssetKey:
    return asset_key(surface, f"sink_{sink.name}")


def _asset(surface: Surface, sink: AnySink, root: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(surface, sink),
        deps=[asset_key(surface, "live")],
        group_name=surface.group,
        owners=OWNERS,
        tags=tags_of(surface),
        kinds={sink.type},
        description=(
            f"What is live of {as_markdown(surface.name)}, delivered to the sink "
            f"{as_code(sink.name)}. The sensor `deliveries` starts it when that holds other "
            "versions, whoever flipped. Materializing it again changes nothing."
        ),
    )
    def sink_asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        try:
            with no_ids_in_errors(surface):
                delivered = deliver(open_store(root), root, surface, sink)
        except (RecsysAssetsError, OSError) as error:
            raise dg.Failure(f"sink {sink.name}: {error}", allow_retries=False) from None
        for problem in delivered.problems:
            context.log.warning(problem)
        return dg.MaterializeResult(metadata=as_metadata(_shown(delivered)))

    return sink_asset


def _shown(delivered: Delivered) -> dict[str, Shown]:
    held = delivered.held
    return {
        "outcome": delivered.outcome,
        "generation": held.generation,
        "rows_written": sum(delivered.rows.values()),
        "flip_seconds": round(delivered.flip_s, 4),
        "held": table(
            [
                {
                    "kind": kind,
                    "version": version[:12],
                    "rows written": f"{delivered.rows[kind]:,}" if kind in delivered.rows else "",
                }
                for kind, version in held.versions.items()
            ]
        ),
    }


def _sensor(config: Config, keys: Sequence[dg.AssetKey]) -> dg.SensorDefinition:
    @dg.sensor(
        name="deliveries",
        asset_selection=AssetsAlone(selected_keys=keys),  # so its page names the sensor
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Compares what is live with what each sink says that it holds, and starts a delivery "
            "to those that hold other versions. One that failed is tried again, at ever longer "
            "intervals up to an hour."
        ),
    )
    def deliveries(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        found = watch(
            open_store(config.root),
            config.root,
            config.surfaces,
            _read(context.cursor, config.root),
            going_on=_going_on(context.instance, config),
            now=datetime.now(UTC),
        )
        requests = [
            dg.RunRequest(
                asset_selection=[_key(surface, sink) for surface, sink in targets],
                tags={**FIRST, **_TAG},
            )
            for targets in found.behind.values()
        ]
        seen = {name: [of.tag, of.again_at] for name, of in found.seen.items()}
        said = f"{found.asked} sinks asked, {sum(map(len, found.behind.values()))} are behind"
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else said,
            cursor=json.dumps({"root": config.root, "seen": seen}),
        )

    return deliveries


def _read(cursor: str | None, root: str) -> Mapping[str, Seen]:
    def read(found: dict[str, Any]) -> Mapping[str, Seen]:
        return {name: Seen(str(tag), float(at)) for name, (tag, at) in found["seen"].items()}

    return remembered(cursor, root, read, new={})


def _going_on(instance: dg.DagsterInstance, config: Config) -> set[str]:
    """Return the sinks that runs of the sensor are delivering to, or are queued for."""
    runs = instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED], tags=_TAG))
    keys = {key for run in runs for key in run.asset_selection or ()}
    targets = ((surface, sink) for surface in config.surfaces for sink in surface.sinks)
    return {name_of(target) for target in targets if keys and _key(*target) in keys}
