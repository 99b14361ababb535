"""The page of `live`: a sensor that shows every flip there, whoever made it.

A command in a shell flips without Dagster, so it is the manifest that is looked at. Nothing is
changed; the sensor runs as soon as there is a daemon.
"""

# No postponed annotations here: Dagster reads the types of a sensor's arguments.
import json
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import dagster as dg

from recsys_assets.config import Config, Surface
from recsys_assets.defs.keys import asset_key
from recsys_assets.defs.metadata import as_metadata
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.live.card import Flip, flips_since
from recsys_assets.operations.cursors import remembered
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.store import READERS, Store
from recsys_assets.texts import as_markdown

_INTERVAL_S = 30

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Seen:
    """What was shown of a surface last."""

    tag: str = ""
    generation: int = 0


def build_live(config: Config) -> dg.Definitions:
    """Build the sensor over every surface."""

    @dg.sensor(
        name="flips",
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Shows every flip on the page of `live` of its surface. It only looks.",
    )
    def flips(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        seen = _read(context.cursor, config.root)
        store = open_store(config.root)

        def look(surface: Surface) -> tuple[list[Flip], _Seen]:
            return _look(store, surface, seen.get(surface.name, _Seen()))

        with ThreadPoolExecutor(READERS) as pool:
            found = list(zip(config.surfaces, pool.map(look, config.surfaces), strict=True))
        events = [event for surface, (flips, _) in found for event in _events(surface, flips)]
        return dg.SensorResult(
            asset_events=events,
            skip_reason=f"{len(found)} surfaces looked at, {len(events)} flips shown",
            cursor=json.dumps(
                {
                    "root": config.root,
                    "seen": {surface.name: [*vars(of).values()] for surface, (_, of) in found},
                }
            ),
        )

    return dg.Definitions(sensors=[flips])


def _read(cursor: str | None, root: str) -> Mapping[str, _Seen]:
    def read(found: dict[str, Any]) -> Mapping[str, _Seen]:
        return {name: _Seen(str(tag), int(at)) for name, (tag, at) in found["seen"].items()}

    return remembered(cursor, root, read, new={})


def _look(store: Store, surface: Surface, seen: _Seen) -> tuple[list[Flip], _Seen]:
    try:
        stored = store.stat(layout.manifest(surface.place))
        if stored is None or stored.tag == seen.tag:
            return [], seen
        flips = flips_since(store, surface, seen.generation)
    except (RecsysAssetsError, OSError) as error:  # `fresh` and `status` are red by it
        _LOG.warning("%s: %s", surface.name, error)
        return [], seen
    return flips, _Seen(stored.tag, flips[-1].generation if flips else seen.generation)


def _events(surface: Surface, flips: list[Flip]) -> Iterator[dg.AssetMaterialization]:
    for flip in flips:
        yield dg.AssetMaterialization(
            asset_key(surface, "live"),
            description=as_markdown(flip.title),
            metadata=as_metadata(flip.shown),
        )
