"""A surface whose entry has a mistake, in Dagster: the others are there, and it is red."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from recsys_assets.config import Broken, Config
from recsys_assets.definitions import build_definitions, load_definitions
from recsys_assets.defs.reports import failures_of, report_of
from recsys_assets.errors import ConfigError
from recsys_assets_tests.project import Project, day, event

LEAN: dict[str, Any] = {"artifacts": {"popularity": {}}, "catalog": None}
CART = LEAN | {"surface": "cart"}
MISTAKE = "surface demo/cart: window_dys: unknown key (did you mean 'window_days'?)"
KEY = dg.AssetKey(["demo", "cart", "mistake"])


@pytest.fixture
def config(project: Project) -> Config:
    """Give a surface with a mistake beside one without."""
    return project.configure(CART | {"window_dys": 7}, LEAN)


def run(project: Project, config: Config, job: str, **details: Any) -> dg.ExecuteInProcessResult:
    return (
        build_definitions(config)
        .resolve_job_def(job)
        .execute_in_process(instance=project.instance, raise_on_error=False, **details)
    )


def test_an_asset_in_its_group_says_what_is_wrong(config: Config) -> None:
    graph = build_definitions(config).resolve_asset_graph()

    of_cart = [key for key in graph.get_all_asset_keys() if key.path[1] == "cart"]
    assert of_cart == [KEY]
    node = graph.get(KEY)
    assert node.group_name == "demo__cart"
    assert str(node.description).endswith(f":\n\n- {MISTAKE}")
    assert dg.AssetKey(["demo", "home", "manifest"]) in graph.get_all_asset_keys()


def test_nothing_of_it_is_made_by_itself(config: Config) -> None:
    repository = build_definitions(config).get_repository_def()

    names = {each.name for each in repository.sensor_defs}
    names |= {each.name for each in repository.schedule_defs}
    assert {"demo__home_landing", "demo__home_daily"} <= names
    assert not any("cart" in name for name in names)


def test_its_check_fails_without_anybody_materializing(project: Project, config: Config) -> None:
    result = run(project, config, "check_freshness")

    assert not result.success
    found = {each.asset_key: each for each in result.get_asset_check_evaluations()}
    assert found.keys() == {KEY, dg.AssetKey(["demo", "home", "live"])}
    assert not found[KEY].passed
    assert found[KEY].severity is dg.AssetCheckSeverity.ERROR
    assert found[KEY].description == MISTAKE


def test_a_sensor_turns_it_red_once_where_no_schedule_is_started(
    project: Project, config: Config
) -> None:
    repository = build_definitions(config).get_repository_def()
    sensor = repository.get_sensor_def("mistakes")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING

    first = sensor.evaluate_tick(dg.build_sensor_context(project.instance))
    for each in first.asset_events:
        project.instance.report_runless_asset_event(each)
    again = sensor.evaluate_tick(dg.build_sensor_context(project.instance, cursor=first.cursor))

    key = dg.AssetCheckKey(KEY, "mistake")
    (record,) = project.instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    assert str(record.status) == "AssetCheckExecutionRecordStatus.FAILED"
    assert not again.asset_events
    whole = build_definitions(project.configure(LEAN)).get_repository_def()
    assert not whole.has_sensor_def("mistakes")


def test_the_webhook_is_told_of_it(project: Project, config: Config) -> None:
    result = run(project, config, "check_freshness")
    failed = project.instance.get_run_by_id(result.run_id)
    assert failed is not None

    report = report_of(failed, failures_of(project.instance, failed, config), config)

    (failure,) = [each for each in report["failures"] if each["check"] == "mistake"]
    assert (failure["surface"], failure["asset"]) == ("demo/cart", "demo/cart/mistake")
    assert failure["description"] == MISTAKE
    assert failure["runbook"] == "docs/runbooks/validation-failed.md#mistake"
    assert "demo/cart" in report["surfaces"]


def test_the_days_of_the_others_are_made(project: Project, config: Config) -> None:
    project.land(day(0), [event("a")])

    assert project.materialize(config, [day(0)]).succeeded


def test_entries_that_nobody_can_tell_apart_or_name_have_an_asset_too(project: Project) -> None:
    config = project.configure(
        LEAN,
        CART,
        CART,
        CART | {"surface": "c-rt"},
        CART | {"surface": "c rt"},
        CART | {"tenant": 7},
    )

    graph = build_definitions(config).resolve_asset_graph()

    keys = {key.to_user_string() for key in graph.get_all_asset_keys() if "mistake" in key.path}
    assert keys == {
        "demo/cart/mistake",
        "demo/c-rt/mistake",  # and of `c rt`, which looks the same
        "mistake/number_6",
    }
    description = str(graph.get(KEY).description)
    assert description.count("\n- ") == description.count("listed twice") == 1


@pytest.mark.parametrize("start", ["0001-01-01", "9999-12-31"])
def test_a_mistake_that_only_dagster_finds_takes_nothing_from_the_others(
    project: Project, start: str
) -> None:
    config = project.configure(CART | {"start_date": start, "end_date": None}, LEAN)
    assert config.broken == ()

    loaded, definitions = load_definitions(config)

    (broken,) = loaded.broken
    assert isinstance(broken, Broken)
    assert broken.problems[0].startswith("surface demo/cart: its definitions do not load: ")
    assert [surface.name for surface in loaded.surfaces] == ["demo/home"]
    keys = definitions.resolve_asset_graph().get_all_asset_keys()
    assert {KEY, dg.AssetKey(["demo", "home", "manifest"])} <= keys


def test_where_no_surface_loads_or_mistakes_are_refused_nothing_does(project: Project) -> None:
    early = {"start_date": "0001-01-01"}
    alone = project.configure(LEAN | early)
    refusing = project.configure(CART | early, LEAN).model_copy(update={"on_mistake": "refuse"})

    for config in (alone, refusing):
        with pytest.raises(ConfigError, match="do not load: Invalid partition definition"):
            build_definitions(config)


@pytest.mark.parametrize("job", ["verify", "retention"])
def test_a_job_over_all_does_the_others_and_fails(
    project: Project, config: Config, job: str
) -> None:
    op = {"verify": "verify_publications", "retention": "delete_old"}[job]
    project.land(day(0), [event("a")])
    assert project.materialize(config, [day(0)]).succeeded

    over_all = run(project, config, job)
    of_home = run(
        project, config, job, run_config={"ops": {op: {"config": {"surface": "demo/home"}}}}
    )

    assert not over_all.success
    data = over_all.failure_data_for_node(op)
    assert data is not None
    assert MISTAKE in str(data.user_failure_data)
    assert of_home.success
