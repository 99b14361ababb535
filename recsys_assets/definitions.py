"""The map: what Dagster loads.

One set of assets per surface, one IO manager per layer, and the operations on what is published.

    raw_events ──► canonical_events ──► popularity  ─┐
    (external)          │          ├──► cooc         │
                        │          ├──► implicit     ├──► manifest
    catalog ────────────┼──────────┴──► session_seq  │       │
    (external)          └─────────────► content_sim ─┘       ▼
                                                           live (what readers see)

The configuration is read when this module is loaded; a mistake in it is shown by `recsys-assets
check` and in the UI.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import dagster as dg

from recsys_assets.audit.shared import Shared
from recsys_assets.config import Broken, Config, load_config, without_quotes, without_secrets
from recsys_assets.defs.assets import build_surface
from recsys_assets.defs.batches import build_batches
from recsys_assets.defs.failures import build_failure_reports
from recsys_assets.defs.freshness import build_freshness
from recsys_assets.defs.io_managers import ArtifactIOManager, CanonicalIOManager, ManifestIOManager
from recsys_assets.defs.jobs import build_jobs
from recsys_assets.defs.live import build_live
from recsys_assets.defs.schedules import build_schedules
from recsys_assets.defs.sensors import build_sensors
from recsys_assets.defs.topics import build_topics
from recsys_assets.errors import ConfigError


class Loaded(NamedTuple):
    """A configuration whose definitions load; surfaces whose do not are `broken` in it."""

    config: Config
    definitions: dg.Definitions


def build_definitions(config: Config) -> dg.Definitions:
    """Build the definitions of every surface of a configuration; the broken ones have another.

    Raises:
        ConfigError: they do not load, and it is not for one surface that others can do without.
    """
    return load_definitions(config).definitions


def load_definitions(config: Config) -> Loaded:
    """Build the definitions, and load them as Dagster does.

    Raises:
        ConfigError: they do not load, and it is not for one surface that others can do without.
    """
    try:
        return Loaded(config, _loaded(config))
    except Exception as error:  # of any type: what a value breaks in Dagster is not foreseen
        broken = [*_breaking(config)]
        if len(broken) in {0, len(config.surfaces)}:  # then it is not for one of them
            if isinstance(error, dg.DagsterError):
                raise ConfigError(f"the definitions do not load: {_in_short(error)}") from None
            raise
    config = config.without(broken)
    return Loaded(config, _loaded(config))


def _breaking(config: Config) -> Iterator[Broken]:
    """Yield the surfaces whose definitions do not load when they, and their bases, are alone."""
    for surface in config.surfaces:
        alone = [
            each for each in config.surfaces if each.place in {surface.events_of, surface.place}
        ]
        try:
            _loaded(config.model_copy(update={"surfaces": alone}))
        except Exception as error:  # see load_definitions
            problem = f"surface {surface.name}: its definitions do not load: {_in_short(error)}"
            yield Broken(surface.name, surface.place, (problem,))


def _in_short(error: Exception) -> str:
    """Return what an error says in a line, and what it comes from; nothing that they quote."""
    said = [str(each) for each in (error, error.__cause__) if each]
    return without_secrets(": ".join(" ".join(without_quotes(text).split()) for text in said))


def _loaded(config: Config) -> dg.Definitions:
    definitions = _build(config)
    dg.Definitions.validate_loadable(definitions)  # Dagster keeps what it resolves: it is free
    return definitions


def _build(config: Config) -> dg.Definitions:
    common = dg.Definitions(
        resources={
            "canonical_io": CanonicalIOManager(root=config.root),
            "artifact_io": ArtifactIOManager(root=config.root),
            "manifest_io": ManifestIOManager(root=config.root),
        },
        # One process a run: starting one per step costs 3 to 5 s each, and Polars uses every core
        # anyway.
        executor=dg.in_process_executor,
    )
    shared = Shared()
    surfaces = [
        build_surface(surface, root=config.root, shared=shared, docs_url=config.docs_url)
        for surface in config.surfaces
    ]
    operations = [
        build_jobs(config),
        build_topics(config),
        build_sensors(config),
        build_schedules(config),
        build_batches(config),
        build_freshness(config),
        build_live(config),
        build_failure_reports(config),
    ]
    return dg.Definitions.merge(common, *operations, *surfaces)


def count_definitions(config: Config) -> dict[str, int]:
    """Load the definitions of a configuration as Dagster does, and say how many there are of each.

    Raises:
        ConfigError: a surface has a mistake, or they do not load.
    """
    config, definitions = load_definitions(config)
    config.refuse_mistakes()
    graph = definitions.resolve_asset_graph()
    return {
        "assets": len(graph.get_all_asset_keys()),
        "checks": len(graph.asset_check_keys),
        "jobs": len([*(definitions.jobs or ())]),
        "sensors": len([*(definitions.sensors or ())]),
        "schedules": len([*(definitions.schedules or ())]),
    }


def _load() -> dg.Definitions:
    try:
        return build_definitions(load_config())
    except ConfigError as error:
        # Dagster shows this type as a mistake in the definitions, without our stack.
        raise dg.DagsterInvalidDefinitionError(str(error)) from None


defs = _load()
