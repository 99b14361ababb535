from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._grpc.impl import core_execute_run

from recsys_assets import definitions
from recsys_assets.audit.catalog_gate import CATALOG_FITS
from recsys_assets.audit.release_checks import is_release_gate
from recsys_assets.compute.judging import DAY_GATES
from recsys_assets.config import PACKAGED_CONFIG, Config, Guardrails, load_config
from recsys_assets.definitions import Loaded, _load, build_definitions, defs, load_definitions
from recsys_assets.defs.internals import ASSET_JOB
from recsys_assets.defs.keys import asset_key
from recsys_assets.kinds import KINDS
from recsys_assets_tests.project import Project

BUILT = load_config(PACKAGED_CONFIG).surfaces[0].artifacts.kinds
ASSETS = sorted(["raw_events", "catalog", "canonical_events", *BUILT, "manifest", "live"])
EXTERNAL = {"raw_events", "catalog", "live"}


def key(name: str, *, tenant: str = "grocer", surface: str = "store") -> dg.AssetKey:
    return dg.AssetKey([tenant, surface, name])


def test_the_packaged_configuration_defines_exactly_these_assets() -> None:
    graph = defs().resolve_asset_graph()

    assert sorted(k.path[-1] for k in graph.get_all_asset_keys()) == ASSETS
    assert {k.path[0] for k in graph.get_all_asset_keys()} == {"grocer"}
    assert {node.key.path[-1] for node in graph.asset_nodes if node.is_external} == EXTERNAL


def test_the_graph_has_these_edges() -> None:
    graph = defs().resolve_asset_graph()
    parents = {
        node.key.path[-1]: sorted(parent.path[-1] for parent in node.parent_keys)
        for node in graph.asset_nodes
    }

    of_kinds = {
        name: ["canonical_events"] if KINDS[name].reads == "events" else ["catalog"]
        for name in BUILT
    }
    assert of_kinds["popularity"] == ["canonical_events"]
    assert of_kinds["content_sim"] == ["catalog"]
    assert parents == {
        "raw_events": [],
        "catalog": [],
        "canonical_events": ["raw_events"],
        **of_kinds,
        "manifest": sorted(["canonical_events", *BUILT]),
        "live": ["manifest"],
    }


def test_every_materialized_asset_is_described_owned_typed_and_partitioned_by_day() -> None:
    for node in defs().resolve_asset_graph().asset_nodes:
        name = node.key.path[-1]
        assert node.description, name
        assert node.owners, name
        assert node.kinds, name
        assert node.tags["tenant"] == "grocer", name
        assert node.group_name == "grocer__store", name
        # What is live is of one day or another; the pointer itself has no days.
        assert (node.partitions_def is None) == (name == "live"), name
        assert name == "live" or isinstance(node.partitions_def, dg.DailyPartitionsDefinition), name
        if name in EXTERNAL:
            continue
        assert node.code_version, name
        if name != "manifest":
            schema = node.metadata["dagster/column_schema"]
            assert schema.columns, name
            assert all(column.description for column in schema.columns), name


def test_every_materialized_asset_has_a_blocking_gate() -> None:
    graph = defs().resolve_asset_graph()
    blocking: dict[str, set[str]] = {}
    for check in graph.asset_check_keys:
        if graph.get(check).blocking:
            blocking.setdefault(check.asset_key.path[-1], set()).add(check.name)

    assert blocking.pop("live") == {"fresh"}
    assert {name for name in ASSETS if name not in EXTERNAL} == set(blocking)
    gates = {"nothing_emptied", "no_worse_than_live"}
    assert blocking.pop("manifest") == {"publishable", *gates}
    assert all({"inputs", "contract"} <= names for names in blocking.values())
    assert blocking["canonical_events"] >= {
        "inputs",
        "contract",
        "min_events",
        "max_events",
        "max_sessions",
        "max_distinct_items",
        "max_users",
        "max_rejected_share",
        "max_rejected_bytes_share",
    }
    assert "max_oversized_session_share" in blocking["cooc"]
    assert all("max_artifact_bytes" in blocking[name] for name in BUILT)


@pytest.mark.parametrize("docs_url", [None, "https://wiki.example.org/recsys"])
def test_every_check_names_its_place_in_the_runbooks(
    project: Project, docs_url: str | None
) -> None:
    config = project.configure({"window_days": 2}).model_copy(update={"docs_url": docs_url})
    graph = build_definitions(config).resolve_asset_graph()

    guardrails = set(Guardrails.model_fields)
    assert graph.asset_check_keys, "there is no check: this test would pass by default"
    for check in graph.asset_check_keys:
        description = graph.get(check).description
        page = "limit-exceeded" if check.name in guardrails else "validation-failed"
        page = "stale-artifacts" if check.name == "fresh" else page
        page = "unsound-day" if check.name in DAY_GATES else page
        is_compared = is_release_gate(check.name) or check.name == CATALOG_FITS
        page = "worse-than-live" if is_compared else page
        assert description, check
        assert f"{docs_url or 'docs'}/runbooks/{page}.md#{check.name}" in description, check
        assert ("[Runbook](" in description) == (docs_url is not None), check


def test_a_backfill_never_puts_two_layers_into_one_run() -> None:
    """A day that fails one layer must not keep the next from the days that passed."""
    graph = defs().resolve_asset_graph()
    policies = {
        name: graph.get(key(name)).backfill_policy for name in ASSETS if name not in EXTERNAL
    }

    events, manifest = policies.pop("canonical_events"), policies.pop("manifest")
    (artifacts,) = set(policies.values())
    assert len({events, artifacts, manifest}) == 3
    assert None not in {events, artifacts, manifest}


def test_only_publishing_has_a_pool_and_each_surface_its_own(project: Project) -> None:
    config = project.configure(
        {"tenant": "my-shop", "surface": "home page"}, {"tenant": "épicerie", "surface": "été.1"}
    )

    graph = build_definitions(config).resolve_asset_graph()

    pools = {node.key.path[-1]: set[str]() for node in graph.asset_nodes}
    for node in graph.asset_nodes:
        pools[node.key.path[-1]] |= node.pools or set()
    assert pools.pop("manifest") == {"my_shop__home_page__publish", "_picerie___t__1__publish"}
    assert not any(pools.values())


def test_a_kind_left_out_is_not_built_and_not_waited_for(project: Project) -> None:
    config = project.configure({"artifacts": {"popularity": {}}, "catalog": None})

    graph = build_definitions(config).resolve_asset_graph()

    names = sorted(k.path[-1] for k in graph.get_all_asset_keys())
    assert names == ["canonical_events", "live", "manifest", "popularity", "raw_events"]
    assert config.surfaces[0].artifacts.of("events") == ("popularity",)


def test_surfaces_with_odd_names_load_side_by_side(project: Project) -> None:
    config = project.configure(
        {"tenant": "my-shop", "surface": "home page"}, {"tenant": "épicerie", "surface": "été.1"}
    )

    definitions = build_definitions(config)

    assert len(definitions.resolve_asset_graph().get_all_asset_keys()) == 2 * (5 + len(KINDS))
    assert definitions.resolve_implicit_global_asset_job_def()


def test_a_wrong_configuration_is_one_plain_message_in_dagster(tmp_path: Path) -> None:
    wrong = tmp_path / "surfaces.yaml"
    wrong.write_text("root: var\nsurfaces: []\ncolour: red\n")

    result = subprocess.run(
        [sys.executable, "-c", "from recsys_assets.definitions import defs; defs()"],
        env={"RECSYS_CONFIG": str(wrong), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert "DagsterInvalidDefinitionError" in result.stderr
    assert f"{wrong}:" in result.stderr
    assert "colour: unknown key" in result.stderr


def test_sensors_and_schedules_are_off_until_somebody_starts_them(project: Project) -> None:
    config = project.configure({}, {"surface": "checkout"})
    repository = build_definitions(config).get_repository_def()

    sensors = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}
    schedules = {each.name: each.default_status for each in repository.schedule_defs}

    assert {name for name in sensors if name.startswith("demo__checkout")} == {
        "demo__checkout_landing",
        "demo__checkout_materialize",
    }
    # The one that only shows what is live, and those that go on with what others began.
    for name in ("flips", "batch_retries", "lost_retries"):
        assert sensors.pop(name) is dg.DefaultSensorStatus.RUNNING
    assert set(sensors.values()) == {dg.DefaultSensorStatus.STOPPED}
    assert "demo__checkout_daily" in schedules
    assert set(schedules.values()) == {dg.DefaultScheduleStatus.STOPPED}


@pytest.mark.parametrize("start", [date(2026, 1, 1), date(2020, 5, 17)])
def test_partitions_start_where_the_surface_says(project: Project, start: date) -> None:
    config = project.configure({"start_date": start, "end_date": None})

    node = (
        build_definitions(config)
        .resolve_asset_graph()
        .get(key("manifest", tenant="demo", surface="home"))
    )

    assert node.partitions_def is not None
    assert node.partitions_def.get_first_partition_key() == start.isoformat()


MANY = [{"surface": f"s{number}"} for number in range(12)]


def built(definitions: dg.Definitions) -> dict[str, int]:
    graph = definitions.resolve_asset_graph()
    return {
        "assets": len(graph.get_all_asset_keys()),
        "checks": len(graph.asset_check_keys),
        "sensors": len([*(definitions.sensors or ())]),
        "schedules": len([*(definitions.schedules or ())]),
    }


def test_what_is_built_for_one_surface_does_not_grow_with_those_configured(
    project: Project,
) -> None:
    alone = project.configure(MANY[0])
    one = built(build_definitions(alone))
    config = project.configure(*MANY)

    loaded = load_definitions(config, [config.surfaces[0].place])

    assert built(loaded.definitions) == one
    assert len(loaded.config.surfaces) == 1


def test_of_a_variant_alone_its_base_is_built_too(project: Project) -> None:
    config = project.configure({}, MANY[0], {"surface": "lab", "variant_of": "demo/home"})

    loaded = load_definitions(config, [config.surface("demo/lab").place])

    assert [surface.name for surface in loaded.config.surfaces] == ["demo/home", "demo/lab"]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """The surfaces of which this process has built the assets, for each time it did."""
    found: list[list[str]] = []

    def load(config: Config, settings: Config) -> Loaded:
        found.append([surface.name for surface in config.surfaces])
        assert len(settings.surfaces) == len(MANY)
        return _load(config, settings)

    monkeypatch.setattr(definitions, "_load", load)
    forget: Any = definitions.defs
    forget.load_fn.cache_clear()
    yield found
    forget.load_fn.cache_clear()


@pytest.mark.parametrize(
    ("job", "asset", "ops", "surfaces"),
    [
        (ASSET_JOB, "popularity", {}, ["demo/s1"]),
        ("pin", None, {"hold": {"surface": "demo/s2", "reason": "x"}}, []),
        ("check_freshness", None, {}, [f"demo/{each['surface']}" for each in MANY]),
    ],
)
def test_the_worker_of_a_run_builds_what_the_run_is_about(
    job: str,
    asset: str | None,
    ops: dict[str, Any],
    surfaces: list[str],
    project: Project,
    loads: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = project.configure(*MANY)
    monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))
    repository = ReconstructableRepository.for_module(
        "recsys_assets.definitions", "defs", str(project.folder)
    )
    selected = {asset_key(config.surface("demo/s1"), asset)} if asset else None
    run = project.instance.create_run_for_job(
        build_definitions(config).get_repository_def().get_job(job),
        asset_selection=selected,
        run_config={"ops": {name: {"config": of} for name, of in ops.items()}},
        tags={"dagster/partition": "2026-01-01"} if asset else None,
    )
    loads.clear()

    list(
        core_execute_run(
            repository.get_reconstructable_job(job), run, project.instance, inject_env_vars=False
        )
    )

    assert loads == [surfaces]
    messages = [entry.user_message for entry in project.instance.all_logs(run.run_id)]
    assert not any("Could not load job definition" in text for text in messages)


def test_any_other_process_builds_all(
    project: Project, loads: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.configure(*MANY)
    monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))

    assert defs() is defs()

    assert [len(surfaces) for surfaces in loads] == [len(MANY)]
