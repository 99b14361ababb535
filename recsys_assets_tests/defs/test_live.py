"""The sensor that shows every flip on the page of `live`, whoever made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets_tests.project import Project, day, event

SMALL: dict[str, Any] = {"artifacts": {"popularity": {}}, "catalog": None}


@dataclass
class Watch:
    """Ticks the sensor and keeps its cursor, as the daemon does."""

    project: Project
    config: Config
    cursor: str | None = None
    reason: str | None = None

    def tick(self) -> list[tuple[str, str, str]]:
        """Return surface, day and title of what it showed."""
        sensor = build_definitions(self.config).get_repository_def().get_sensor_def("flips")
        with dg.build_sensor_context(self.project.instance, cursor=self.cursor) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        assert isinstance(result.skip_reason, dg.SkipReason)
        self.cursor, self.reason = result.cursor, result.skip_reason.skip_message
        found = []
        for event_ in result.asset_events:
            assert isinstance(event_, dg.AssetMaterialization)
            assert event_.asset_key.path[-1] == "live"
            assert event_.partition is None
            self.project.instance.report_runless_asset_event(event_)
            shown = str(event_.metadata["day"].value)
            found.append((event_.asset_key.path[1], shown, str(event_.description)))
        return found


@pytest.fixture
def watch(project: Project, fast: None) -> Watch:
    config = project.configure(SMALL, SMALL | {"surface": "checkout"})
    for number in range(2):
        project.land(day(number), [event("a", of=day(number))])
    return Watch(project, config)


def test_it_runs_without_being_started(watch: Watch) -> None:
    sensor = build_definitions(watch.config).get_repository_def().get_sensor_def("flips")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert not sensor.has_jobs  # it can start nothing


def test_every_flip_is_shown_once_also_those_of_a_shell(watch: Watch) -> None:
    assert watch.tick() == []
    watch.project.materialize(watch.config, [day(0), day(1)])

    shown = watch.tick()

    assert [(surface, of) for surface, of, _ in shown] == [
        ("home", str(day(0))),
        ("home", str(day(1))),
    ]
    assert shown[1][2].endswith(f"manifest of {day(1)} was materialized")
    assert watch.reason == "2 surfaces looked at, 2 flips shown"
    assert watch.tick() == []
    key = dg.AssetKey(["demo", "home", "live"])
    newest = watch.project.instance.get_latest_materialization_event(key)
    assert newest is not None
    assert newest.asset_materialization is not None
    assert {
        "day",
        "generation",
        "documents",
        "history",
    } <= newest.asset_materialization.metadata.keys()


@pytest.mark.parametrize("lost", [None, "", "no json", "[]", '{"root": 1}', '{"seen": {"a": 1}}'])
def test_a_lost_cursor_shows_the_flips_again(watch: Watch, lost: str | None) -> None:
    watch.project.materialize(watch.config, [day(0)])
    watch.tick()
    watch.cursor = lost

    assert [of for _, of, _ in watch.tick()] == [str(day(0))]


def test_another_root_is_looked_at_anew(watch: Watch) -> None:
    watch.project.materialize(watch.config, [day(0)])
    watch.tick()
    root = str(watch.project.folder / "other")
    other = Watch(watch.project, watch.config.model_copy(update={"root": root}), watch.cursor)

    assert other.tick() == []
    back = Watch(watch.project, watch.config, other.cursor)
    assert [of for _, of, _ in back.tick()] == [str(day(0))]


@pytest.mark.parametrize("damage", ["damaged", "no folder"])
def test_a_manifest_that_cannot_be_read_hides_no_other_surface(watch: Watch, damage: str) -> None:
    watch.project.materialize(watch.config, [day(0)])
    manifest = watch.project.folder / "var" / layout.manifest(Place("demo", "checkout"))
    if damage == "damaged":
        watch.project.store.replace(layout.manifest(Place("demo", "checkout")), b"{")
    else:  # the folder above is a file
        manifest.parent.parent.mkdir(parents=True, exist_ok=True)
        manifest.parent.write_bytes(b"")

    assert [surface for surface, *_ in watch.tick()] == ["home"]
    assert watch.tick() == []
