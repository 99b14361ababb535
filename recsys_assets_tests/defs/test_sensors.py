"""What lands is reported and materialized, and what that changes, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs.keys import asset_key
from recsys_assets.defs.sensors import landing_interval_s, last_report
from recsys_assets.kinds import KINDS
from recsys_assets_tests.defs.looking import asked_of, run, tick_landing
from recsys_assets_tests.project import ALL_KINDS, DAY, Project, day, event

# Two of events and one of the catalog: what each of them is asked for is made by one function.
FEW: dict[str, dict[str, int]] = {"popularity": {}, "cooc": {"min_support": 1}, "content_sim": {}}
EVENT_KINDS = [name for name in FEW if KINDS[name].reads == "events"]
CATALOG_KINDS = [name for name in FEW if KINDS[name].reads == "catalog"]
AT_ONCE = {"source": {"path": "raw", "landing": {"settle_seconds": 0}}, "artifacts": FEW}
Requested = dict[str, list[date]]


@dataclass
class Factory:
    """A project whose sensors are ticked by hand; what they ask for is made on demand."""

    project: Project
    config: Config
    definitions: dg.Definitions = field(init=False)
    conditions: Any = None
    cursor: str | None = None
    runs: list[dg.RunRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.definitions = build_definitions(self.config)
        assert self.requested() == {}  # the first tick only takes note of what is there

    def land(self, number: int, *items: str) -> None:
        self.project.land(day(number), [event(item, of=day(number)) for item in items])

    def tick(self) -> list[dg.AssetMaterialization]:
        """Tick the landing sensor and record what it reports, as the daemon does."""
        found, self.runs, self.cursor = tick_landing(self.project, self.definitions, self.cursor)
        return found

    def asked(self) -> Requested:
        """Return the days of the runs that the last tick asked for, by asset."""
        return {key.rpartition("/")[2]: days for key, days in asked_of(self.runs).items()}

    def run(self) -> bool:
        """Make what the last tick asked for; return whether all of it succeeded."""
        return all(run(self.project, self.definitions, request) for request in self.runs)

    def requested(self, at: datetime | None = None) -> Requested:
        """Evaluate the conditions once, as of some time; return the days asked for by asset."""
        found = dg.evaluate_automation_conditions(
            self.definitions,
            self.project.instance,
            dg.AssetSelection.groups("demo__home"),
            evaluation_time=at,
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
        assert report.done
        assert self.requested() == {}


def factory(project: Project, **surface: Any) -> Factory:
    return Factory(project, project.configure({**AT_ONCE, **surface}))


def everything(*days: date, kinds: Iterable[str] = FEW) -> Requested:
    assets = ["canonical_events", *kinds, "manifest"]
    return {asset: list(days) for asset in assets}


def of_events(canonical: list[date], downstream: list[date]) -> Requested:
    kinds = dict.fromkeys([*EVENT_KINDS, "manifest"], downstream)
    return {"canonical_events": canonical, **kinds}


class TestArrival:
    """What lands is materialized, and what that changes, and nothing else."""

    def test_landed_days_are_made_whole_and_once(self, project: Project) -> None:
        shop = factory(project, artifacts=ALL_KINDS)
        shop.land(0, "a", "b")
        shop.land(2, "a", "b")

        shop.tick()

        assert shop.requested() == everything(DAY, day(2), kinds=KINDS)
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

        assert shop.tick() == []

        assert shop.asked() == everything(day(1))
        assert shop.run()
        assert shop.requested() == {}

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

        assert "content_sim" in CATALOG_KINDS
        assert shop.requested() == {name: [day(2)] for name in [*CATALOG_KINDS, "manifest"]}

    def test_a_bad_day_is_asked_for_once_and_again_when_it_is_corrected(
        self, project: Project
    ) -> None:
        shop = factory(project)
        project.land(DAY, ["nonsense"])
        shop.tick()
        assert shop.asked() == everything(DAY)
        assert not shop.run()
        assert project.live(shop.config) is None

        for _ in range(3):
            assert shop.tick() == []
            assert shop.asked() == shop.requested() == {}
        shop.land(0, "a", "b")
        shop.tick()

        assert shop.asked() == everything(DAY)

    @pytest.mark.parametrize("when", ["after a while", "before the daemon looks again"])
    def test_a_day_whose_good_file_is_restored_becomes_green(
        self, project: Project, when: str
    ) -> None:
        shop = factory(project)
        shop.land(0, "a", "b")
        shop.tick()
        assert shop.run()
        project.land(DAY, ["nonsense"])
        shop.tick()
        assert shop.asked() == everything(DAY)
        assert not shop.run()
        if when == "after a while":
            assert shop.requested() == {}
        shop.land(0, "a", "b")

        shop.tick()

        assert shop.asked() == everything(DAY)
        assert shop.run()
        assert shop.tick() == []
        assert shop.asked() == shop.requested() == {}

    @pytest.mark.parametrize("bad_by", ["sensor", "hand"])
    def test_what_failed_by_hand_is_tried_too(self, project: Project, bad_by: str) -> None:
        shop = factory(project)
        shop.land(0, "a", "b")
        shop.make(0)
        shop.tick()
        project.land(DAY, ["nonsense"])
        if bad_by == "sensor":
            shop.tick()
        assert not project.materialize(shop.config, [DAY]).done
        shop.land(0, "a", "b")

        shop.tick()

        assert shop.asked() == everything(DAY)

    def test_late_data_reaches_windows_that_another_instance_made(self, project: Project) -> None:
        first = factory(project, window_days=3)
        for number in range(4):
            first.land(number, "a", "b")
        first.make(0, 1, 2, 3)
        with dg.DagsterInstance.ephemeral() as other:
            second = Factory(Project(project.folder, other), first.config)
            assert second.tick() == []  # the root has it all
            second.requested()
            second.land(0, "a", "b", "late")

            told = [(each.asset_key.path[-1], each.partition) for each in second.tick()]

            assert told == [
                ("canonical_events", str(day(1))),
                ("canonical_events", str(day(2))),
                ("raw_events", str(DAY)),
            ]
            asked = second.requested()
            assert asked["canonical_events"] == [DAY]
            for name in EVENT_KINDS:
                assert asked[name] == [day(0), day(1), day(2)]

    @pytest.mark.parametrize("days", [1, 2])
    def test_what_is_reported_carries_its_fingerprint_and_size(
        self, project: Project, days: int
    ) -> None:
        """By the sensor, or by the run that it asked for."""
        shop = factory(project)
        for number in range(days):
            shop.land(number, "a")

        assert len(shop.tick()) == (0 if days == 1 else 4)
        shop.run()

        surface = shop.config.surfaces[0]
        raw, catalog = (
            project.instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key(surface, name), asset_partitions=[str(DAY)]), 2
            ).records
            for name in ("raw_events", "catalog")
        )
        assert (len(raw), len(catalog)) == (1, 1)
        reported = raw[0].asset_materialization
        assert reported is not None
        assert reported.metadata["files"].value == 1
        found = last_report(project.instance, reported.asset_key, DAY, shop.config.root)
        assert found is not None
        assert len(found.data_version) == 64
        assert found.data_version == (reported.tags or {})["dagster/data_version"]
        assert found.at <= datetime.now(UTC)
        assert last_report(project.instance, reported.asset_key, day(7), shop.config.root) is None
        assert last_report(project.instance, reported.asset_key, DAY, "another root") is None

    def test_a_tick_without_news_says_what_it_looked_at(self, project: Project) -> None:
        shop = factory(project)
        sensor = shop.definitions.get_repository_def().get_sensor_def("demo__home_landing")

        with dg.build_sensor_context(project.instance) as context:
            result = sensor(context)

        assert isinstance(result, dg.SensorResult)
        assert result.skip_reason is not None
        assert result.skip_reason.skip_message == "0 days with raw files, 0 new or changed"


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
    shop.tick()
    (before,) = shop.runs
    other = Factory(Project(project.folder, dg.DagsterInstance.ephemeral()), shop.config)

    other.tick()

    (after,) = other.runs
    assert after.tags == before.tags


class TestRunOfANewDay:
    """The sensor asks for the run that makes a new day; conditions leave that day alone."""

    def test_a_day_that_lands_alone_is_asked_for_at_once_and_by_nobody_else(
        self, project: Project
    ) -> None:
        shop = factory(project, window_days=3)
        shop.land(0, "a", "b")
        assert shop.tick() == []
        (request,) = shop.runs
        assert request.tags["dagster/priority"] == "1"
        assert shop.asked() == everything(DAY)
        assert shop.requested() == {}  # before the run
        assert shop.run()
        shop.land(1, "a", "b")
        shop.tick()
        assert shop.asked() == everything(day(1))
        assert shop.run()

        assert shop.requested() == {}
        live = project.live(shop.config)
        assert live is not None
        assert live.window is not None
        assert live.window.last_day == day(1)

    def test_what_fails_within_the_run_is_tried_once(self, project: Project) -> None:
        """Artifacts alone: what they are made of was updated since the daemon looked last.

        Of two days, for Dagster looks at the newest run of each asset only.
        """
        # Of an instance without any event, Dagster cannot tell what is new.
        project.instance.report_runless_asset_event(dg.AssetMaterialization("some", "event"))
        shop = factory(project, guardrails={"max_artifact_bytes": 10})
        for number in range(2):
            shop.land(number, "a", "b")
            shop.tick()
            assert shop.asked() == everything(day(number))
            assert not shop.run()

        assert shop.requested() == {}
        assert project.instance.get_latest_materialization_event(
            asset_key(shop.config.surfaces[0], "canonical_events")
        )

    def test_a_bad_day_that_began_under_the_eyes_of_conditions_is_tried_once(
        self, project: Project
    ) -> None:
        """It was missing when it began, and still is."""
        shop = factory(project)
        shop.conditions = None
        for hour in (23, 24 + 1):
            at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
            assert shop.requested(at) == {}
        project.land(DAY, ["nonsense"])
        shop.tick()
        assert not shop.run()

        assert shop.requested(at + timedelta(minutes=1)) == {}

    def test_a_late_day_of_a_window_is_left_to_conditions(self, project: Project) -> None:
        """Also where the later day has only just been asked for, and is not made yet."""
        shop = factory(project, window_days=3)
        shop.land(1, "a", "b")
        shop.tick()
        assert shop.asked() == everything(day(1))
        shop.land(0, "a", "b")

        assert [each.asset_key.path[-1] for each in shop.tick()] == ["raw_events", "catalog"]
        assert shop.asked() == {}

        assert shop.requested() == everything(DAY)

    def test_a_catalog_that_changes_with_it_is_read_by_the_run(self, project: Project) -> None:
        shop = factory(project)
        shop.land(0, "a", "b")
        shop.tick()
        assert shop.run()
        shop.requested()
        (project.folder / "catalog.csv").write_text("item_id,tags\na,blue\n")
        shop.land(1, "a", "b")

        assert shop.tick() == []
        assert shop.run()

        assert shop.requested() == {}
        assert shop.tick() == []

    def test_what_the_run_is_to_report_fits_into_a_tag(self, project: Project) -> None:
        """Of Postgres, whose index takes no more than 2,704 bytes."""
        (project.folder / "denied.txt").write_text("z\n")
        shop = factory(project, items={"deny": "denied.txt"})
        long = "\u00e9" * 80
        for number in range(9):
            project.land(DAY, [event("a", rank=number + 1)], part=f".{long}{number}")

        shop.tick()

        (request,) = shop.runs
        assert max(len(value.encode()) for value in request.tags.values()) < 1300
        assert shop.run()

    def test_variants_are_made_in_the_run_of_their_base(self, project: Project) -> None:
        config = project.configure(AT_ONCE, {"surface": "lab", "variant_of": "demo/home"})
        shop = Factory(project, config)
        shop.land(0, "a", "b")
        shop.tick()

        asked = asked_of(shop.runs)

        assert asked["lab/manifest"] == asked["home/manifest"] == [DAY]

    @pytest.mark.parametrize(("surfaces", "seconds"), [(1, 5), (20, 10), (300, 30)])
    def test_many_sensors_tick_less_often(self, surfaces: int, seconds: int) -> None:
        assert landing_interval_s(surfaces) == seconds
