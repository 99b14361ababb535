"""What lands for a surface makes the days of its variants too, each by its own sensor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg

from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.kinds import KINDS
from recsys_assets_tests.defs.looking import asked_of, run, tick_landing
from recsys_assets_tests.defs.test_sensors import AT_ONCE, FEW, Requested
from recsys_assets_tests.project import ALL_KINDS, Project, day, event

LAB: dict[str, Any] = {"surface": "lab", "variant_of": "demo/home", "artifacts": FEW}


@dataclass
class Laboratory:
    """A base and its variant, whose sensors are ticked by hand."""

    project: Project
    config: Config
    definitions: dg.Definitions = field(init=False)
    conditions: dict[str, Any] = field(default_factory=dict)
    cursor: str | None = None
    runs: list[dg.RunRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.definitions = build_definitions(self.config)
        for surface in ("home", "lab"):
            assert self.requested(surface) == {}

    def land(self, *numbers: int, items: str = "ab") -> None:
        for number in numbers:
            events = [event(item, of=day(number)) for item in items]
            self.project.land(day(number), events)

    def tick(self) -> list[tuple[str, date]]:
        """Tick the landing sensor of the base; return the assets and days that it reports."""
        reports, self.runs, self.cursor = tick_landing(self.project, self.definitions, self.cursor)
        found = []
        for reported in reports:
            assert reported.asset_key.path[:2] == ["demo", "home"]
            assert reported.partition
            found.append((reported.asset_key.path[-1], date.fromisoformat(reported.partition)))
        return found

    def requested(self, surface: str) -> Requested:
        """Evaluate the conditions of the assets of a surface once, as its sensor does."""
        found = dg.evaluate_automation_conditions(
            self.definitions,
            self.project.instance,
            dg.AssetSelection.groups(f"demo__{surface}"),
            cursor=self.conditions.get(surface),
        )
        self.conditions[surface] = found.cursor
        days: Requested = {}
        for key in self.definitions.resolve_asset_graph().get_all_asset_keys():
            asked = sorted(map(str, found.get_requested_partitions(key)))
            if asked:
                assert key.path[:2] == ["demo", surface]
                days[key.path[-1]] = [date.fromisoformat(each) for each in asked]
        return days

    def asked(self) -> Requested:
        """Return the days of the runs that the last tick asked for, by surface and asset."""
        return asked_of(self.runs)

    def run(self) -> None:
        """Make what the last tick asked for."""
        for request in self.runs:
            run(self.project, self.definitions, request)

    def make(self, surface: int, *numbers: int) -> None:
        report = self.project.materialize(
            self.config, [day(number) for number in numbers], surface=surface
        )
        assert report.done

    def launch(self, asset: str, number: int) -> None:
        """Make one asset of a day of the variant."""
        job = self.definitions.resolve_implicit_global_asset_job_def()
        job.execute_in_process(
            instance=self.project.instance,
            partition_key=str(day(number)),
            asset_selection=[dg.AssetKey(["demo", "lab", asset])],
        )

    def made(self, *numbers: int) -> None:
        """Let days land, and be made by both; then nothing is asked for."""
        self.land(*numbers)
        self.tick()
        self.run()
        self.requested("home")
        for surface in range(2) if not self.runs else ():
            self.make(surface, *numbers)
        for name in ("home", "lab"):
            self.requested(name)
            assert self.requested(name) == {}


def laboratory(project: Project, base: dict[str, Any] | None = None, **variant: Any) -> Laboratory:
    return Laboratory(project, project.configure({**AT_ONCE, **(base or {})}, {**LAB, **variant}))


def artifacts(*days: date, kinds: Iterable[str] = FEW) -> Requested:
    return {key: list(days) for key in [*kinds, "manifest"]}


def of_events(*days: date, kinds: Iterable[str] = FEW) -> Requested:
    of = [kind for kind in kinds if KINDS[kind].reads == "events"]
    return {key: list(days) for key in [*of, "manifest"]}


def test_landed_days_are_asked_for_once_the_base_has_their_events(project: Project) -> None:
    lab = laboratory(project, {"artifacts": ALL_KINDS}, artifacts=ALL_KINDS)
    days = [day(0), day(1)]
    lab.land(0, 1)
    lab.tick()
    all_of = artifacts(*days, kinds=KINDS)
    assert lab.requested("home") == {"canonical_events": days, **all_of}
    assert lab.requested("lab") == {"content_sim": days}  # which needs no events
    for number in range(2):
        lab.launch("content_sim", number)
    assert lab.requested("lab") == {}
    lab.make(0, 0, 1)

    assert lab.requested("lab") == of_events(*days, kinds=KINDS)
    lab.make(1, 0, 1)
    assert lab.requested("lab") == {}
    assert lab.requested("home") == {}


def test_a_day_that_lands_alone_is_made_with_its_variant(project: Project) -> None:
    lab = laboratory(project)
    lab.land(0)
    assert lab.tick() == []
    assert lab.asked() == {
        "home/canonical_events": [day(0)],
        **{f"{name}/{key}": [day(0)] for name in ("home", "lab") for key in artifacts(day(0))},
    }

    lab.run()

    assert lab.requested("lab") == lab.requested("home") == {}
    assert project.live(lab.config, surface=1) is not None


def test_late_data_makes_the_days_of_the_variant_that_hold_it(project: Project) -> None:
    lab = laboratory(project, window_days=3)
    lab.made(*range(5))
    lab.land(1, items="abc")
    assert lab.tick() == [("raw_events", day(1))]
    assert lab.requested("home")["canonical_events"] == [day(1)]
    lab.make(0, 1)

    asked = lab.requested("lab")

    assert asked == of_events(*(day(1 + n) for n in range(3)))


def test_a_bad_day_of_the_base_is_not_asked_for(project: Project) -> None:
    lab = laboratory(project)
    lab.made(0)
    project.land(day(1), ["no json"])
    lab.tick()
    lab.requested("home")

    lab.project.materialize(lab.config, [day(1)])

    assert lab.requested("lab") in ({}, {"content_sim": [day(1)]})
    assert lab.requested("lab") == {}


def test_a_catalog_that_only_the_variant_reads_is_reported(project: Project) -> None:
    lab = laboratory(project, {"artifacts": {"popularity": {}}}, artifacts={"content_sim": {}})
    lab.land(0, 1)

    reported = lab.tick()

    assert {name for name, _ in reported} == {"raw_events", "catalog"}
    assert lab.requested("lab")["content_sim"] == [day(0), day(1)]


def test_a_changed_catalog_is_reported_for_both_and_once(project: Project) -> None:
    lab = laboratory(project)
    lab.made(0)
    (project.folder / "catalog.csv").write_text("item_id,tags\na,other\n")

    assert lab.tick() == [("catalog", day(0))]

    for name in ("home", "lab"):
        assert lab.requested(name) == {"content_sim": [day(0)], "manifest": [day(0)]}
    assert lab.tick() == []


def test_a_changed_list_of_denied_items_makes_both_again(project: Project) -> None:
    denied = project.folder / "denied.txt"
    denied.write_text("z\n")
    lab = laboratory(project, {"items": {"deny": "denied.txt"}})
    lab.made(0)
    denied.write_text("a\n")

    assert lab.tick() == [("denied_items", day(0))]

    for name in ("home", "lab"):
        assert lab.requested(name) == artifacts(day(0))


def test_a_variant_that_still_lists_what_is_denied_is_made_again(project: Project) -> None:
    """Also where somebody has made the base by hand."""
    denied = project.folder / "denied.txt"
    denied.write_text("z\n")
    lab = laboratory(project, {"items": {"deny": "denied.txt"}})
    lab.made(0)
    denied.write_text("a\n")
    lab.make(0, 0)

    assert lab.tick() == [("denied_items", day(0))]

    assert lab.requested("lab") == artifacts(day(0))
    lab.make(1, 0)
    assert lab.tick() == []


def test_an_instance_that_knows_of_no_day_is_told_of_those_of_the_longest_window(
    project: Project,
) -> None:
    config = project.configure(AT_ONCE, {**LAB, "window_days": 3})
    for number in range(4):
        project.land(day(number), [event("a", of=day(number))])
    for surface in range(2):
        project.materialize(config, [day(number) for number in range(4)], surface=surface)
    with dg.DagsterInstance.ephemeral() as other:
        lab = Laboratory(Project(project.folder, other), config)
        lab.tick()
        lab.land(1, items="ab")

        assert [of for of in lab.tick() if of[0] == "canonical_events"] == [
            ("canonical_events", day(2)),
            ("canonical_events", day(3)),
        ]
