"""Many surfaces by a few switches: common runs, bounded, and what breaks one of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs import assets, batches, side_by_side
from recsys_assets.defs.write_audit_publish import write_audit_publish
from recsys_assets_tests.defs.looking import asked_of, run
from recsys_assets_tests.defs.test_sensors import AT_ONCE
from recsys_assets_tests.project import Project, day, event

SMALL: dict[str, Any] = {**AT_ONCE, "artifacts": {"popularity": {}, "content_sim": {}}}
NAMES = ("a", "b", "c", "d")


@dataclass
class Many:
    """Four surfaces, each with its own first day, whose common sensors are ticked by hand."""

    project: Project
    changes: dict[str, Any] = field(default_factory=dict)  # of surface b
    config: Config = field(init=False)
    definitions: dg.Definitions = field(init=False)
    cursor: str | None = None
    runs: list[dg.RunRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        entries = [
            {**SMALL, "surface": name, "start_date": day(-number)}
            for number, name in enumerate(NAMES)
        ]
        entries[1] |= self.changes
        self.config = self.project.configure(*entries)
        self.definitions = build_definitions(self.config)

    def land(self, name: str, number: int = 0, *, good: bool = True) -> None:
        path = self.project.folder / f"raw/demo/{name}/exposure.{day(number)}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(event("x", of=day(number)) | {"surface": name}) if good else "no json"
        path.write_text(f"{line}\n")

    def tick(self, sensor: str = "landings_1") -> str:
        """Tick a sensor; return why it asked for nothing."""
        found = self.definitions.get_repository_def().get_sensor_def(sensor)
        with dg.build_sensor_context(self.project.instance, cursor=self.cursor) as context:
            result = found(context)
        assert isinstance(result, dg.SensorResult)
        for reported in result.asset_events:
            assert isinstance(reported, dg.AssetMaterialization)
            self.project.instance.report_runless_asset_event(reported)
        self.runs, self.cursor = [*(result.run_requests or ())], result.cursor
        return result.skip_reason.skip_message or "" if result.skip_reason else ""

    def run(self) -> list[bool]:
        return [run(self.project, self.definitions, request) for request in self.runs]

    def live(self) -> set[str]:
        return {
            name
            for number, name in enumerate(NAMES)
            if self.project.live(self.config, surface=number)
        }


def surfaces_of(request: dg.RunRequest) -> set[str]:
    return {key.partition("/")[0] for key in asked_of([request])}


def retried(many: Many) -> list[set[str]]:
    """Return the surfaces of the runs that are asked for after the last one broke."""
    (broken,) = many.project.instance.get_runs(limit=1)
    families = [[surface] for surface in many.config.surfaces]
    many.runs = [*batches.retries_of(many.project.instance, broken, families)]
    return [surfaces_of(request) for request in many.runs]


def test_days_that_land_together_are_made_by_one_run(project: Project) -> None:
    many = Many(project)
    for name in NAMES:
        many.land(name)
    many.tick()
    (request,) = many.runs

    assert surfaces_of(request) == {*NAMES}
    assert request.tags["dagster/max_retries"] == "0"
    assert many.run() == [True]

    assert many.live() == {*NAMES}
    told = project.instance.fetch_materializations(dg.AssetKey(["demo", "b", "raw_events"]), 9)
    assert [record.partition_key for record in told.records] == [str(day(0))]
    assert many.tick() == "4 of 4 surfaces looked at"
    assert many.runs == []


def test_conditions_leave_alone_what_a_common_run_made(project: Project) -> None:
    many = Many(project, {"window_days": 3})
    select = dg.AssetSelection.all()
    found = dg.evaluate_automation_conditions(many.definitions, project.instance, select)
    many.land("a")
    many.land("b")
    many.land("c", good=False)
    many.tick()
    many.run()

    again = dg.evaluate_automation_conditions(
        many.definitions, project.instance, select, cursor=found.cursor
    )

    assert again.total_requested == 0


def test_a_day_that_fails_holds_back_no_other_and_is_not_tried_again(project: Project) -> None:
    many = Many(project)
    many.land("a")
    many.land("b", good=False)
    many.land("c")
    many.land("d")
    many.tick()

    assert many.run() == [False]

    assert many.live() == {"a", "c", "d"}
    assert retried(many) == []


@pytest.mark.parametrize("asset", ["canonical_events", "manifest"])
def test_what_breaks_a_run_is_tried_again_alone_and_the_others_in_common(
    project: Project, monkeypatch: pytest.MonkeyPatch, asset: str
) -> None:
    """Surface b takes the run down with it; what was done by then is done."""
    monkeypatch.setattr(side_by_side, "_AT_ONCE", 1)
    many = Many(project)
    for name in NAMES:
        many.land(name)
    many.tick()

    run_broken_by_b(many, monkeypatch, asset)
    assert many.live() == {"a"}

    assert retried(many) == [{"b"}, {"c", "d"}]
    assert ["dagster/max_retries" in request.tags for request in many.runs] == [False, True]
    assert all(many.run())
    assert many.live() == {*NAMES}


def test_surfaces_side_by_side_are_all_tried_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of them had begun when b broke their run is a matter of luck; none is forgotten."""
    many = Many(project)
    for name in NAMES:
        many.land(name)
    many.tick()

    run_broken_by_b(many, monkeypatch, "canonical_events")

    left = {*NAMES} - many.live()
    asked = retried(many)
    assert {"b"} in asked
    assert sorted(name for surfaces in asked for name in surfaces) == sorted(left)
    assert all(many.run())
    assert many.live() == {*NAMES}


def run_broken_by_b(many: Many, monkeypatch: pytest.MonkeyPatch, asset: str) -> None:
    """Run what is asked for, and end the run when it comes to an asset of surface b."""

    def breaking(context: Any, surface: Any, name: str, **how: Any) -> Iterable[Any]:
        if surface.surface == "b" and name == asset:
            raise DagsterExecutionInterruptedError
        return write_audit_publish(context, surface, name, **how)

    with monkeypatch.context() as patch:
        patch.setattr(assets, "write_audit_publish", breaking)
        many.run()


def test_a_surface_that_a_run_is_going_on_for_is_asked_for_alone(project: Project) -> None:
    many = Many(project)
    for name in NAMES:
        many.land(name)
    job = many.definitions.resolve_implicit_global_asset_job_def()
    project.instance.create_run_for_job(
        job,
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=frozenset({dg.AssetKey(["demo", "b", "manifest"])}),
    )

    many.tick()

    assert sorted(map(sorted, map(surfaces_of, many.runs))) == [["a", "c", "d"], ["b"]]


def test_a_surface_that_cannot_be_looked_at_holds_back_no_other(project: Project) -> None:
    many = Many(project, {"source": {"path": "gone", "landing": {"settle_seconds": 0}}})
    assert "demo/b: " in many.tick()
    many.land("a")
    many.land("c")

    many.tick()

    assert [surfaces_of(request) for request in many.runs] == [{"a", "c"}]


def test_days_of_two_dates_are_two_runs(project: Project) -> None:
    many = Many(project)
    many.land("a")
    many.land("b", 1)
    many.land("c", 1)

    many.tick()

    assert [surfaces_of(request) for request in many.runs] == [{"a"}, {"b", "c"}]


def test_runs_and_sensors_are_of_so_many_surfaces_at_most(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_SURFACES", 2)
    many = Many(project)
    for name in NAMES:
        many.land(name)

    many.tick("landings_1")
    assert [surfaces_of(request) for request in many.runs] == [{"a", "b"}]
    many.cursor = None
    many.tick("landings_2")

    assert [surfaces_of(request) for request in many.runs] == [{"c", "d"}]


def test_a_tick_that_takes_long_goes_on_with_the_others(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_BUDGET_S", -1.0)
    many = Many(project)

    assert many.tick() == "0 of 4 surfaces looked at"

    assert json.loads(many.cursor or "")["next"] == 0
    monkeypatch.undo()
    monkeypatch.setattr(batches, "time", Clock())
    assert many.tick() == "1 of 4 surfaces looked at"
    assert json.loads(many.cursor or "")["next"] == 1


class Clock:
    """A time that leaves room for one look."""

    def __init__(self) -> None:
        self.now = -batches._BUDGET_S * 0.6

    def monotonic(self) -> float:
        self.now += batches._BUDGET_S * 0.6
        return self.now


def test_one_schedule_makes_the_day_before_of_all_that_are_due_then(
    project: Project, tmp_path: Path
) -> None:
    many = Many(project, {"schedule_at": "07:15"})
    repository = many.definitions.get_repository_def()

    def asked(name: str, now: datetime) -> Any:
        schedule = repository.get_schedule_def(name)
        assert isinstance(schedule, dg.ScheduleDefinition)
        with (
            dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
            dg.build_schedule_context(instance, now) as context,
        ):
            return schedule(context)

    (request,) = asked("daily_0600", datetime(2026, 1, 3, 6, tzinfo=UTC))
    (other,) = asked("daily_0715", datetime(2026, 1, 3, 7, 15, tzinfo=UTC))

    assert surfaces_of(request) == {"a", "c", "d"}
    assert surfaces_of(other) == {"b"}
    assert {day for days in asked_of([request]).values() for day in days} == {date(2026, 1, 2)}
    late = asked("daily_0600", datetime(2027, 1, 3, 6, tzinfo=UTC))
    assert isinstance(late, dg.SkipReason)


def test_the_sensor_of_retries_looks_at_common_runs_only_and_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = Many(project)
    sensor = many.definitions.get_repository_def().get_sensor_def("batch_retries")
    with dg.build_sensor_context(project.instance) as context:
        assert isinstance(sensor(context), dg.SkipReason)
        many.cursor = context.cursor
    for name in NAMES:
        many.land(name, good=name != "b")
    many.cursor, after = None, many.cursor
    many.tick()
    many.run()
    project.materialize(many.config, [day(0)], surface=1)  # it fails, and is no common run
    monkeypatch.setattr(batches, "materializations_of", lambda *_: iter(()))  # as if none was made

    many.cursor = after
    assert many.tick("batch_retries") == ""
    assert [surfaces_of(request) for request in many.runs] == [{"a"}, {"c"}, {"d"}]
    assert many.tick("batch_retries") == "No common run broke."
