"""Run parts of a project through Dagster, and look at what it has of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import dagster as dg

from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs.keys import asset_key, asset_names
from recsys_assets.places import Place
from recsys_assets_tests.project import Project, day, event

HOME = Place("demo", "home")


def failed(report: Any) -> set[tuple[int, str, str | None]]:
    return {((f.day - day(0)).days, f.asset, f.check) for f in report.failures}


def materialized(config: Config) -> list[dg.AssetKey]:
    """Return what a run materializes; without a selection, it would run the check `fresh` too."""
    (surface,) = config.surfaces
    return [asset_key(surface, name) for name in asset_names(surface)]


def land(project: Project, *days: int) -> None:
    for number in days:
        of = day(number)
        project.land(of, [event("a", of=of), event("b", of=of), event("a", of=of, rank=2)])


def launch(project: Project, config: Config, asset: str, *, number: int = 0) -> None:
    """Materialize one asset of a day alone, as from its page."""
    job = build_definitions(config).resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey(["demo", "home", asset])]
    job.execute_in_process(
        instance=project.instance, partition_key=str(day(number)), asset_selection=selection
    )


def shown(project: Project, asset: str, *, number: int = 0) -> dict[str, Any]:
    """Return the metadata of a day's latest materialization."""
    key = dg.AssetKey(["demo", "home", asset])
    records = project.instance.fetch_materializations(
        dg.AssetRecordsFilter(key, asset_partitions=[str(day(number))]), limit=1
    ).records
    (found,) = [record.asset_materialization for record in records]
    assert found is not None
    return dict(found.metadata)


def tick_landing(
    project: Project, definitions: dg.Definitions, cursor: str | None
) -> tuple[list[dg.AssetMaterialization], list[dg.RunRequest], str | None]:
    """Tick the landing sensor of `demo/home` and record what it reports, as the daemon does.

    Returns:
        What it reports, the runs it asks for, and the cursor of its next tick.
    """
    sensor = definitions.get_repository_def().get_sensor_def("demo__home_landing")
    with dg.build_sensor_context(project.instance, cursor=cursor) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    found = []
    for reported in result.asset_events:
        assert isinstance(reported, dg.AssetMaterialization)
        project.instance.report_runless_asset_event(reported)
        found.append(reported)
    return found, [*(result.run_requests or ())], result.cursor


def asked_of(requests: Iterable[dg.RunRequest]) -> dict[str, list[date]]:
    """Return the days that runs were asked for, by asset."""
    days: dict[str, list[date]] = {}
    for request in requests:
        for key in request.asset_selection or ():
            of = date.fromisoformat(request.tags["dagster/partition"])
            days.setdefault("/".join(key.path[1:]), []).append(of)
    return days


def run(project: Project, definitions: dg.Definitions, request: dg.RunRequest) -> bool:
    """Run what a sensor asked for; return whether all of it succeeded."""
    job = definitions.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(
        instance=project.instance,
        tags=request.tags,
        asset_selection=[*(request.asset_selection or ())],
        raise_on_error=False,
    )
    return done.success
