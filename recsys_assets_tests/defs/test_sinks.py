"""The assets of sinks, and the sensor that starts them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.sinks import watching
from recsys_assets.storage.deliveries import is_behind, read_known
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import make_day
from recsys_assets_tests.test_docs import section

SINK: dict[str, Any] = {"name": "table", "type": "files", "path": "out"}
SMALL: dict[str, Any] = {"artifacts": {"popularity": {}}, "catalog": None, "sinks": [SINK]}
KEY = dg.AssetKey(["demo", "home", "sink_table"])


@dataclass
class Daemon:
    """Ticks the sensor and keeps its cursor, as the daemon does."""

    project: Project
    config: Config
    cursor: str | None = None

    @property
    def definitions(self) -> dg.Definitions:
        return build_definitions(self.config)

    def tick(self) -> list[dg.RunRequest]:
        sensor = self.definitions.get_repository_def().get_sensor_def("deliveries")
        with dg.build_sensor_context(self.project.instance, cursor=self.cursor) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return list(result.run_requests or [])

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        assert request.asset_selection
        job = self.definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.project.instance,
            asset_selection=request.asset_selection,
            tags=request.tags,
            raise_on_error=False,
        )

    @property
    def pointer(self) -> dict[str, Any]:
        path = self.project.folder / "out/demo/home/current.parquet.json"
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found

    def publish(self, number: int) -> None:
        self.project.land(day(number), [event(f"item-{number}", of=day(number))])
        make_day(self.project.store, self.config.surfaces[0], day(number))


@pytest.fixture
def daemon(project: Project, fast: None) -> Daemon:
    other = {**SMALL, "surface": "cart", "sinks": []}
    return Daemon(project, project.configure(SMALL, other))


def test_without_sinks_there_is_neither_asset_nor_sensor(project: Project) -> None:
    definitions = build_definitions(project.configure())
    names = {sensor.name for sensor in definitions.sensors or ()}
    keys = definitions.resolve_asset_graph().get_all_asset_keys()

    assert "deliveries" not in names
    assert not [key for key in keys if key.path[-1].startswith("sink_")]


def test_a_sink_is_an_asset_without_partitions_behind_what_is_live(daemon: Daemon) -> None:
    node = daemon.definitions.resolve_asset_graph().get(KEY)

    assert node.partitions_def is None
    assert node.parent_keys == {dg.AssetKey(["demo", "home", "live"])}
    sensor = daemon.definitions.get_repository_def().get_sensor_def("deliveries")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    target = sensor.asset_selection
    assert target
    graph = daemon.definitions.resolve_asset_graph()
    assert target.resolve(graph) == {KEY}, "so its page names the sensor"


def test_a_flip_of_anybody_reaches_the_sink_once(daemon: Daemon) -> None:
    assert daemon.tick() == []  # nothing is live
    daemon.publish(0)

    (request,) = daemon.tick()
    result = daemon.run(request)

    assert (request.asset_selection, result.success) == ([KEY], True)
    (made,) = result.get_asset_materialization_events()
    shown = made.materialization.metadata
    assert set(shown) == {"outcome", "generation", "rows_written", "flip_seconds", "held"}
    told = section("asset-pages.md", "What a sink got")
    assert all(f"`{name}`" in told for name in shown)
    assert made.materialization.metadata["outcome"].value == "delivered"
    assert made.materialization.metadata["generation"].value == daemon.pointer["generation"] == 1
    assert daemon.tick() == []


def test_what_did_not_move_is_not_asked(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.publish(0)
    daemon.run(daemon.tick()[0])
    daemon.tick()
    monkeypatch.setattr(
        watching, "look", lambda targets, root: pytest.fail(str(targets)) if targets else []
    )
    monkeypatch.setattr(watching, "read_live", pytest.fail)

    assert daemon.tick() == []


def test_a_sink_that_lost_what_it_held_is_delivered_to_again(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.publish(0)
    daemon.run(daemon.tick()[0])
    daemon.tick()
    Path(daemon.project.folder / "out/demo/home/current.parquet.json").unlink()
    monkeypatch.setattr(watching, "_is_due", lambda *_: True)  # ten minutes have passed

    assert len(daemon.tick()) == 1
    known = read_known(daemon.project.store, daemon.config.surfaces[0].place, "table")
    live = daemon.project.live(daemon.config)
    assert live
    assert is_behind(live.current, known.held), "and status says so meanwhile"


def test_while_a_delivery_goes_on_no_other_is_asked_for(daemon: Daemon) -> None:
    daemon.publish(0)
    (request,) = daemon.tick()
    run = daemon.project.instance.create_run_for_job(
        daemon.definitions.resolve_implicit_global_asset_job_def(),
        tags=request.tags,
        asset_selection=frozenset(request.asset_selection or ()),
        status=dg.DagsterRunStatus.STARTED,
    )

    assert daemon.tick() == []
    daemon.project.instance.delete_run(run.run_id)
    assert len(daemon.tick()) == 1


def test_one_that_fails_is_red_leaves_the_manifest_and_is_tried_again_later(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.publish(0)
    in_the_way = daemon.project.folder / "out"
    in_the_way.write_text("no directory")

    result = daemon.run(daemon.tick()[0])

    assert not result.success
    live = daemon.project.live(daemon.config)
    assert live
    known = read_known(daemon.project.store, daemon.config.surfaces[0].place, "table")
    assert known.failure
    assert known.failure.tries == 1
    assert "out" in known.failure.error
    assert daemon.tick() == [], "not at once"
    monkeypatch.setattr(watching, "_PAUSE", watching._PAUSE * 0)
    daemon.cursor = None
    in_the_way.unlink()
    assert daemon.run(daemon.tick()[0]).success
    known = read_known(daemon.project.store, daemon.config.surfaces[0].place, "table")
    assert known.failure is None
