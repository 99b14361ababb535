from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest

from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.operations import daily
from recsys_assets.surface import asset_key
from recsys_assets_tests.project import DAY, Project, day, event

EVENT_KINDS = ["popularity", "cooc", "implicit", "session_seq"]
AT_ONCE = {"source": {"path": "raw", "landing": {"settle_seconds": 0}}}
Requested = dict[str, list[date]]


@dataclass
class Factory:
    """A project whose sensors are ticked by hand; what they ask for is materialized on demand."""

    project: Project
    config: Config
    definitions: dg.Definitions = field(init=False)
    conditions: Any = None
    cursor: str | None = None

    def __post_init__(self) -> None:
        self.definitions = build_definitions(self.config)
        assert self.requested() == {}  # the first tick only takes note of what is there

    def land(self, number: int, *items: str) -> None:
        self.project.land(day(number), [event(item, of=day(number)) for item in items])

    def tick(self) -> list[dg.AssetMaterialization]:
        """Tick the landing sensor and record what it reports, as the daemon does."""
        sensor = self.definitions.get_repository_def().get_sensor_def("demo__home_landing")
        with dg.build_sensor_context(self.project.instance, cursor=self.cursor) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        found = []
        for reported in result.asset_events:
            assert isinstance(reported, dg.AssetMaterialization)
            self.project.instance.report_runless_asset_event(reported)
            found.append(reported)
        return found

    def requested(self) -> Requested:
        """Evaluate the conditions once; return the days asked for by asset."""
        found = dg.evaluate_automation_conditions(
            self.definitions,
            self.project.instance,
            dg.AssetSelection.groups("demo__home"),
            cursor=self.conditions,
        )
        self.conditions = found.cursor
        days: Requested = {}
        for key in self.definitions.resolve_asset_graph().get_all_asset_keys():
            asked = sorted(map(str, found.get_requested_partitions(key)))
            if asked:
                days[key.path[-1]] = [date.fromisoformat(each) for each in asked]
        return days

    def make(self, *numbers: int) -> None:
        """Materialize days as a run does, and take note of it: nothing more may be asked for."""
        report = self.project.materialize(self.config, [day(number) for number in numbers])
        assert report.published
        assert self.requested() == {}


def factory(project: Project, **surface: Any) -> Factory:
    return Factory(project, project.configure({**AT_ONCE, **surface}))


def everything(*days: date) -> Requested:
    assets = ["canonical_events", *EVENT_KINDS, "content_sim", "manifest"]
    return {asset: list(days) for asset in assets}


def of_events(canonical: list[date], downstream: list[date]) -> Requested:
    kinds = dict.fromkeys([*EVENT_KINDS, "manifest"], downstream)
    return {"canonical_events": canonical, **kinds}


class TestArrival:
    """What lands is materialized, and what that changes, and nothing else."""

    def test_landed_days_are_made_whole_and_once(self, project: Project) -> None:
        shop = factory(project)
        shop.land(0, "a", "b")
        shop.land(2, "a", "b")

        shop.tick()

        assert shop.requested() == everything(DAY, day(2))
        assert shop.requested() == {}
        shop.make(0)
        shop.make(2)
        assert shop.tick() == []
        assert shop.requested() == {}

    def test_late_data_makes_exactly_its_day_again(self, project: Project) -> None:
        shop = factory(project)
        for number in range(4):
            shop.land(number, "a", "b")
        shop.tick()
        shop.requested()
        shop.make(0, 1, 2, 3)
        shop.land(1, "a", "b", "c")

        shop.tick()

        assert shop.requested() == of_events([day(1)], [day(1)])
        shop.make(1)

    def test_with_a_window_late_data_makes_the_days_that_hold_it_again(
        self, project: Project
    ) -> None:
        shop = factory(project, window_days=3)
        for number in range(6):
            shop.land(number, "a", "b")
        shop.tick()
        assert shop.requested() == everything(*(day(number) for number in range(6)))
        shop.make(*range(6))
        shop.land(1, "a", "b", "c")

        shop.tick()

        assert shop.requested() == of_events([day(1)], [day(1), day(2), day(3)])

    def test_a_hole_in_the_window_holds_back_only_its_own_day(self, project: Project) -> None:
        """Day 2 is bad, day 4 never landed: late data for day 1 reruns 1 and 3, not those two."""
        shop = factory(project, window_days=5)
        for number in (0, 1, 3, 5):
            shop.land(number, "a", "b")
        project.land(day(2), ["nonsense"])
        shop.tick()
        assert day(4) not in shop.requested()["cooc"]
        shop.make(0, 1, 2, 3)
        shop.make(5)
        shop.land(1, "a", "b", "c")

        shop.tick()

        assert shop.requested() == of_events([day(1)], [day(1), day(3), day(5)])

    def test_another_catalog_makes_only_the_newest_day_again(self, project: Project) -> None:
        shop = factory(project)
        for number in range(3):
            shop.land(number, "a", "b")
        shop.tick()
        shop.requested()
        shop.make(0, 1, 2)
        (project.folder / "catalog.csv").write_text("item_id,tags\na,blue\n")

        shop.tick()

        assert shop.requested() == {"content_sim": [day(2)], "manifest": [day(2)]}

    def test_a_bad_day_is_asked_for_once_and_again_when_it_is_corrected(
        self, project: Project
    ) -> None:
        shop = factory(project)
        project.land(DAY, ["nonsense"])
        shop.tick()
        assert shop.requested() == everything(DAY)
        report = project.materialize(shop.config, [DAY])
        assert not report.published

        for _ in range(3):
            assert shop.tick() == []
            assert shop.requested() == {}
        shop.land(0, "a", "b")
        shop.tick()

        assert shop.requested()["canonical_events"] == [DAY]

    def test_what_is_reported_carries_its_fingerprint_and_size(self, project: Project) -> None:
        shop = factory(project)
        shop.land(0, "a")

        raw, catalog = shop.tick()

        assert raw.asset_key == asset_key(shop.config.surfaces[0], "raw_events")
        assert raw.partition == str(DAY)
        assert len((raw.tags or {})["dagster/data_version"]) == 64
        assert raw.metadata["files"].value == 1
        assert catalog.asset_key.path[-1] == "catalog"
        found = daily.last_report(project.instance, raw.asset_key, DAY)
        assert found is not None
        assert found.data_version == (raw.tags or {})["dagster/data_version"]
        assert found.at <= datetime.now(UTC)
        assert daily.last_report(project.instance, raw.asset_key, day(1)) is None

    def test_a_tick_without_news_says_what_it_looked_at(self, project: Project) -> None:
        shop = factory(project)
        sensor = shop.definitions.get_repository_def().get_sensor_def("demo__home_landing")

        with dg.build_sensor_context(project.instance) as context:
            result = sensor(context)

        assert isinstance(result, dg.SensorResult)
        assert result.skip_reason is not None
        assert result.skip_reason.skip_message == "0 days with raw files, 0 new or changed"


class TestSchedule:
    """The day before, at a set time."""

    def at(self, project: Project, moment: datetime, **surface: Any) -> Any:
        config = project.configure(surface)
        schedule = (
            build_definitions(config).get_repository_def().get_schedule_def("demo__home_daily")
        )
        assert isinstance(schedule, dg.ScheduleDefinition)
        with dg.build_schedule_context(project.instance, moment) as context:
            return schedule(context)

    def test_it_asks_for_every_asset_of_the_day_before(self, project: Project) -> None:
        request = self.at(project, datetime(2026, 1, 3, 6, tzinfo=UTC))

        assert request.partition_key == "2026-01-02"
        assert request.run_key == "2026-01-02"
        assert request.tags["dagster/priority"] == "1"
        assert sorted(key.path[-1] for key in request.asset_selection) == sorted(everything(DAY))

    @pytest.mark.parametrize("moment", [datetime(2026, 1, 1, 6), datetime(2026, 2, 2, 6)])
    def test_before_the_first_day_and_after_the_last_it_asks_for_nothing(
        self, project: Project, moment: datetime
    ) -> None:
        assert isinstance(self.at(project, moment.replace(tzinfo=UTC)), dg.SkipReason)

    def test_on_the_day_after_the_last_it_asks_for_the_last(self, project: Project) -> None:
        request = self.at(project, datetime(2026, 2, 1, 6, tzinfo=UTC))

        assert request.partition_key == "2026-01-31"

    def test_its_time_is_configured(self, project: Project) -> None:
        config = project.configure({"schedule_at": "23:05"})

        schedule = (
            build_definitions(config).get_repository_def().get_schedule_def("demo__home_daily")
        )

        assert schedule.cron_schedule == "5 23 * * *"
        assert schedule.execution_timezone == "UTC"


def test_sensors_and_schedules_are_off_until_somebody_starts_them(project: Project) -> None:
    config = project.configure({}, {"surface": "checkout"})
    repository = build_definitions(config).get_repository_def()

    sensors = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}
    schedules = {each.name: each.default_status for each in repository.schedule_defs}

    assert {name for name in sensors if name.startswith("demo__checkout")} == {
        "demo__checkout_landing",
        "demo__checkout_materialize",
    }
    assert set(sensors.values()) == {dg.DefaultSensorStatus.STOPPED}
    assert "demo__checkout_daily" in schedules
    assert set(schedules.values()) == {dg.DefaultScheduleStatus.STOPPED}


def test_the_sensor_of_a_surface_asks_for_nothing_of_another(project: Project) -> None:
    config = project.configure({}, {"surface": "checkout"})
    definitions = build_definitions(config)
    sensor = definitions.get_repository_def().get_sensor_def("demo__checkout_materialize")

    assert sensor.asset_selection is not None
    keys = sensor.asset_selection.resolve(definitions.resolve_asset_graph())

    assert {key.path[1] for key in keys} == {"checkout"}
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.run_tags == {"dagster/priority": "1"}


def test_a_fingerprint_is_of_the_content(project: Project) -> None:
    shop = factory(project)
    shop.land(0, "a")
    before = {each.asset_key: each.tags for each in shop.tick()}
    shop.cursor = None
    other = Factory(Project(project.folder, dg.DagsterInstance.ephemeral()), shop.config)

    assert {each.asset_key: each.tags for each in other.tick()} == before
