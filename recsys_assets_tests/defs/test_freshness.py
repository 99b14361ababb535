"""The check `fresh` in Dagster: what it says, what it turns red, and when it does not run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from recsys_assets.audit.shared import Shared
from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs import freshness
from recsys_assets.defs.assets import build_surface
from recsys_assets.defs.freshness import build_freshness
from recsys_assets.live.status import surface_status
from recsys_assets.operations import pointer
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.publications import Why
from recsys_assets_tests.project import Project, day, event

LEAN: dict[str, Any] = {"artifacts": {"popularity": {}}, "catalog": None}


def check(config: Config, instance: dg.DagsterInstance, now: datetime) -> dg.ExecuteInProcessResult:
    """Run the job `check_freshness` at a time."""
    surfaces = [
        build_surface(surface, root=config.root, shared=Shared()) for surface in config.surfaces
    ]
    definitions = dg.Definitions.merge(
        dg.Definitions(executor=dg.in_process_executor),
        # Nothing is materialized here, so what the assets would write with is not there.
        dg.Definitions(
            resources=dict.fromkeys(("canonical_io", "artifact_io", "manifest_io"), _IO)
        ),
        build_freshness(config, clock=lambda: now),
        *surfaces,
    )
    job = definitions.resolve_job_def("check_freshness")
    return job.execute_in_process(instance=instance, raise_on_error=False)


class _NoIO(dg.IOManager):
    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        raise AssertionError("nothing is materialized")

    def load_input(self, context: dg.InputContext) -> object:
        raise AssertionError("nothing is loaded")


_IO = _NoIO()


def found(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """Return what the checks found, by surface."""
    return {each.asset_key.path[1]: each for each in result.get_asset_check_evaluations()}


def numbers(evaluation: dg.AssetCheckEvaluation) -> Mapping[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


@pytest.fixture
def flipped(project: Project) -> tuple[Config, datetime]:
    """Publish the first day of `demo/home`; return the configuration and about when."""
    config = project.configure(LEAN | {"end_date": None})
    project.land(day(0), [event("a")])
    assert project.materialize(config, [day(0)]).succeeded
    live = project.live(config)
    assert live is not None
    return config, datetime.fromisoformat(live.updated_at)


def test_a_fresh_surface_is_green_with_its_figures(
    project: Project, flipped: tuple[Config, datetime]
) -> None:
    config, _ = flipped

    result = check(config, project.instance, datetime(2026, 1, 3, tzinfo=UTC))

    assert result.success
    evaluation = found(result)["home"]
    assert evaluation.passed
    assert evaluation.description == "demo/home: fresh"
    hours = numbers(evaluation)["hours_since_flip"]
    assert numbers(evaluation) == {
        "days_behind": 1,
        "hours_since_flip": hours,
        "generation": 1,
        "pinned": 0,
    }


def test_a_stale_surface_turns_its_run_red_and_says_why(
    project: Project, flipped: tuple[Config, datetime]
) -> None:
    config, at = flipped
    pointer.pin(project.store, config.surfaces[0], Why("r", "nina", "INC-7"))

    result = check(config, project.instance, at + timedelta(hours=49, minutes=30))

    assert not result.success
    evaluation = found(result)["home"]
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    text = str(evaluation.description)
    assert text.startswith("demo/home: freshness.max_days_behind is 1, found ")
    assert text.endswith(" by nina: INC-7")
    shown = numbers(evaluation)
    assert (shown["hours_since_flip"], shown["generation"], shown["pinned"]) == (49.5, 2, 1)


def test_one_surface_that_fails_hides_no_other(project: Project) -> None:
    surfaces = [LEAN | {"surface": name} for name in ("broken", "home", "void")]
    config = project.configure(*surfaces)
    project.land(day(0), [event("a")])
    assert project.materialize(config, [day(0)], surface=1).succeeded
    project.store.replace(layout.manifest(Place("demo", "broken")), b"{")

    result = check(config, project.instance, datetime(2026, 1, 2, tzinfo=UTC))

    assert not result.success
    evaluations = found(result)
    assert {name: each.passed for name, each in evaluations.items()} == {
        "broken": False,
        "home": True,
        "void": False,
    }
    assert "manifest.json is not a manifest" in str(evaluations["broken"].description)
    assert numbers(evaluations["broken"]) == {}
    assert "nothing is live" in str(evaluations["void"].description)


def test_a_check_that_breaks_hides_no_other(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(store: Any, surface: Any, *, now: datetime) -> Any:
        if surface.surface == "broken":
            raise RuntimeError("a defect")
        return surface_status(store, surface, now=now)

    monkeypatch.setattr(freshness, "surface_status", status)
    config = project.configure(LEAN | {"surface": "broken"}, LEAN)

    result = check(config, project.instance, datetime(2026, 1, 2, tzinfo=UTC))

    assert not result.success
    assert list(found(result)) == ["home"]


@pytest.mark.parametrize(
    "selected",
    [
        dg.AssetSelection.assets(["demo", "home", "manifest"]),
        dg.AssetSelection.all(),  # `dagster asset materialize --select '*'`
        dg.AssetSelection.groups("demo__home"),
    ],
    ids=["manifest", "all", "group"],
)
def test_no_materialization_runs_it(project: Project, selected: dg.AssetSelection) -> None:
    """Dagster adds every check of a selected asset: a backfill of an old day would be red."""
    definitions = build_definitions(project.configure(LEAN))
    keys = selected.resolve(definitions.resolve_asset_graph())
    assert dg.AssetKey(["demo", "home", "manifest"]) in keys

    job = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)

    executed = {node.name for node in job.nodes}
    assert any("manifest" in name for name in executed)
    assert not any("fresh" in name for name in executed)


def test_an_old_day_is_materialized_and_published_without_it(
    project: Project, flipped: tuple[Config, datetime]
) -> None:
    """It ends green, long after the surface became stale."""
    (run,) = project.instance.get_runs()

    assert run.status is dg.DagsterRunStatus.SUCCESS
    names = {
        record.event_log_entry.dagster_event.asset_check_planned_data.asset_check_key.name
        for record in project.instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
        ).records
        if record.event_log_entry.dagster_event
    }
    assert "publishable" in names
    assert "fresh" not in names


def test_no_asset_has_a_policy_of_dagsters(project: Project) -> None:
    """It sees that some day was materialized and not which, and would pass while `fresh` fails."""
    graph = build_definitions(project.configure(LEAN)).resolve_asset_graph()

    assert not any(graph.get(key).freshness_policy for key in graph.get_all_asset_keys())


def test_the_schedule_asks_for_one_run_over_every_surface(project: Project) -> None:
    definitions = build_definitions(project.configure(LEAN, LEAN | {"surface": "checkout"}))

    schedule = definitions.resolve_schedule_def("freshness_hourly")
    job = definitions.resolve_job_def(schedule.job_name)

    assert len(list(job.nodes)) == 2
    tick = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 1, 2, 3, 5, tzinfo=UTC)
    )
    (request,) = schedule.evaluate_tick(tick).run_requests or ()
    assert request.partition_key is None
