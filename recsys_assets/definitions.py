"""The map: what Dagster loads.

One set of assets per surface, one IO manager per layer, and the operations on what is published.

    raw_events ──► canonical_events ──► popularity  ─┐
    (external)          │          ├──► cooc         │
                        │          ├──► implicit     ├──► manifest
    catalog ────────────┼──────────┴──► session_seq  │       │
    (external)          └─────────────► content_sim ─┘       ▼
                                                           live (what readers see)
                                                             │
                                                             ▼
                                                           sink_<name> (where it is delivered to)

The configuration is read when Dagster asks for the definitions, not when this module is imported; a
mistake in it is shown by `recsys-assets check` and in the UI.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import dagster as dg

from recsys_assets.audit.shared import Shared
from recsys_assets.config import Broken, Config, load_config, without_quotes, without_secrets
from recsys_assets.defs.assets import build_surface
from recsys_assets.defs.batches import build_batches
from recsys_assets.defs.failures import build_failure_reports
from recsys_assets.defs.freshness import CHECK_FRESHNESS, build_freshness
from recsys_assets.defs.internals import (
    ASSET_JOB,
    fork_runs,
    look_up_targets_once,
    run_of_worker,
)
from recsys_assets.defs.io_managers import ArtifactIOManager, CanonicalIOManager, ManifestIOManager
from recsys_assets.defs.jobs import build_jobs
from recsys_assets.defs.keys import asset_key
from recsys_assets.defs.live import build_live
from recsys_assets.defs.lost_retries import build_lost_retries
from recsys_assets.defs.schedules import build_schedules
from recsys_assets.defs.sensors import build_sensors
from recsys_assets.defs.side_by_side import run_steps_side_by_side
from recsys_assets.defs.sinks import build_sinks
from recsys_assets.defs.topics import build_topics
from recsys_assets.errors import ConfigError
from recsys_assets.places import Place


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


def load_definitions(config: Config, only: Collection[Place] | None = None) -> Loaded:
    """Build the definitions, and load them as Dagster does.

    Args:
        config: the whole configuration, which the jobs of operations know.
        only: the surfaces whose assets are built, with the bases of those that are variants;
            None are all.

    Raises:
        ConfigError: they do not load, and it is not for one surface that others can do without.
    """
    settings, config = config, config if only is None else config.about(only)
    with _nothing_looked_through():
        return _load(config, settings)


@contextmanager
def _nothing_looked_through() -> Iterator[None]:
    """Keep Python from looking for garbage: a sixth of the time, for millions of objects."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _load(config: Config, settings: Config) -> Loaded:
    try:
        return Loaded(config, _loaded(config, settings))
    except Exception as error:  # of any type: what a value breaks in Dagster is not foreseen
        broken = [*_breaking(config)]
        if len(broken) in {0, len(settings.surfaces)}:  # then it is not for one of them
            if isinstance(error, dg.DagsterError):
                raise ConfigError(f"the definitions do not load: {_in_short(error)}") from None
            raise
    config, settings = config.without(broken), settings.without(broken)
    return Loaded(config, _loaded(config, settings))


def _breaking(config: Config) -> Iterator[Broken]:
    """Yield the surfaces whose definitions do not load when they, and their bases, are alone."""
    for surface in config.surfaces:
        try:
            alone = config.about([surface.place])
            _loaded(alone, alone)
        except Exception as error:  # see load_definitions
            problem = f"surface {surface.name}: its definitions do not load: {_in_short(error)}"
            yield Broken(surface.name, surface.place, (problem,))


def _in_short(error: Exception) -> str:
    """Return what an error says in a line, and what it comes from; nothing that they quote."""
    said = [str(each) for each in (error, error.__cause__) if each]
    return without_secrets(": ".join(" ".join(without_quotes(text).split()) for text in said))


def _loaded(config: Config, settings: Config) -> dg.Definitions:
    definitions = _build(config, settings)
    dg.Definitions.validate_loadable(definitions)  # Dagster keeps what it resolves: it is free
    return definitions


def _build(config: Config, settings: Config) -> dg.Definitions:
    fork_runs()
    run_steps_side_by_side()
    look_up_targets_once()
    common = dg.Definitions(
        resources={
            "canonical_io": CanonicalIOManager(root=config.root),
            "artifact_io": ArtifactIOManager(root=config.root),
            "manifest_io": ManifestIOManager(root=config.root),
        },
        # One process a run: starting one per step costs 3 to 5 s each. Its steps are threads.
        executor=dg.in_process_executor,
    )
    shared = Shared()
    surfaces = [
        build_surface(surface, root=config.root, shared=shared, docs_url=config.docs_url)
        for surface in config.surfaces
    ]
    operations = [
        build_jobs(settings),
        build_topics(settings),
        build_sensors(config),
        build_schedules(config),
        build_batches(config),
        build_freshness(config),
        build_live(config),
        build_sinks(config),
        build_failure_reports(config),
        build_lost_retries(config),
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


@dg.definitions
@cache  # Dagster asks more than once in a process
def defs() -> dg.Definitions:
    """Build what this process is to know; of a run's worker, only what the run is about."""
    try:
        config = load_config()
        built = load_definitions(config, _of_this_run(config)).definitions
        gc.freeze()  # it all stays to the end: Python need not look through it
        return built
    except ConfigError as error:
        # Dagster shows this type as a mistake in the definitions, without our stack.
        raise dg.DagsterInvalidDefinitionError(str(error)) from None


def _of_this_run(config: Config) -> Collection[Place] | None:
    """Return the surfaces that the run is about whose worker this process is; else None, all."""
    run = run_of_worker()
    if run is None or run.job_name == CHECK_FRESHNESS:
        return None
    keys = [*(run.asset_selection or ())]
    keys += [check.asset_key for check in run.asset_check_selection or ()]
    if not keys:
        return None if run.job_name == ASSET_JOB else ()
    of = {tuple(key.path[:-1]) for key in keys}
    places = [each.place for each in config.surfaces]
    return [place for place in places if tuple(asset_key(place, "").path[:-1]) in of] or None
