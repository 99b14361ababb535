"""Variants of a surface through Dagster: one parse, options and a manifest of their own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest

from recsys_assets import definitions
from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs import assets
from recsys_assets.defs.internals import RANGE_END, RANGE_START
from recsys_assets.defs.keys import asset_key, asset_names
from recsys_assets.defs.reports import surface_of
from recsys_assets.events import days as days_module
from recsys_assets.kinds import KINDS
from recsys_assets.live.tables import live_document
from recsys_assets.operations import pointer
from recsys_assets.storage.publications import Why
from recsys_assets_tests.project import SMALL, Project, day, event

LAB: dict[str, Any] = {"surface": "lab", "variant_of": "demo/home"}
WEEK: dict[str, Any] = {**LAB, "surface": "week", "window_days": 3}
CATALOG_OF_BOTH = "item_id,tags,namespace\na,red,home\nb,blue,lab\nc,green,\n"


def land(project: Project, *numbers: int, more: Iterable[str] = ()) -> None:
    for number in numbers:
        of = day(number)
        events = [event(item, of=of, session_id=f"s{n}") for n in range(3) for item in "ab"]
        events += [event(item, of=of) for item in more]
        project.land(of, events)


def key(surface: str, name: str) -> dg.AssetKey:
    return dg.AssetKey(["demo", surface, name])


def rows(project: Project, config: Config, surface: str, kind: str) -> Any:
    """Return what is live of a kind without what names whose and of which build it is."""
    document = live_document(project.store, config.surface(f"demo/{surface}"), kind)
    return {of: each for of, each in document.items() if of not in {"surface", "build"}}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[date]:
    """Return the days that are parsed, each time that they are."""
    from recsys_assets.audit import events

    found = list[date]()

    def counted(surface: Any, of: date, **named: Any) -> Any:
        found.append(of)
        return days_module.parse_day(surface, of, **named)

    monkeypatch.setattr(events, "parse_day", counted)
    return found


class TestGraph:
    """What Dagster has of a variant."""

    def test_it_has_no_events_of_its_own(self, project: Project) -> None:
        config = project.configure({"items": {"deny": "denied.txt"}}, LAB)
        graph = build_definitions(config).resolve_asset_graph()

        of_lab = {each.path[-1] for each in graph.get_all_asset_keys() if each.path[1] == "lab"}

        assert of_lab == {*KINDS, "manifest", "live"}

    def test_its_artifacts_are_below_the_events_of_its_base(self, project: Project) -> None:
        config = project.configure(
            {"items": {"deny": "denied.txt", "only_in_catalog": True}}, LAB, WEEK
        )
        graph = build_definitions(config).resolve_asset_graph()

        for lab in ("lab", "week"):
            of_lists = {key("home", "catalog"), key("home", "denied_items")}
            upstream = graph.get(key(lab, "cooc")).parent_keys
            assert upstream == {key("home", "canonical_events"), *of_lists}
            assert graph.get(key(lab, "content_sim")).parent_keys == of_lists
            assert key("home", "canonical_events") in graph.get(key(lab, "manifest")).parent_keys

    def test_its_pages_say_whose_variant_it_is(self, project: Project) -> None:
        config = project.configure({}, LAB)
        graph = build_definitions(config).resolve_asset_graph()

        for name in ("cooc", "manifest", "live"):
            text = "A variant of demo/home: made of its events."
            assert text in (graph.get(key("lab", name)).description or "")
            assert "variant" not in (graph.get(key("home", name)).description or "")

    def test_events_are_told_as_those_of_the_base_wherever_it_stands(
        self, project: Project
    ) -> None:
        config = project.configure(LAB, {})

        found = surface_of(key("home", "canonical_events"), config)

        assert found is config.surfaces[1]

    def test_the_share_of_bots_is_looked_at_where_only_the_variant_leaves_them_out(
        self, project: Project
    ) -> None:
        """Canonical events are the base's, and are not held to what the variant leaves out."""
        config = project.configure({}, {**LAB, "bots": {"leave_out_of": "all"}})
        graph = build_definitions(config).resolve_asset_graph()

        of = {each.asset_key for each in graph.asset_check_keys if "oversized" in each.name}

        assert of == {key("home", "cooc"), key("lab", "cooc")}

    def test_it_has_no_landing_and_no_schedule_of_its_own(self, project: Project) -> None:
        repository = build_definitions(project.configure({}, LAB)).get_repository_def()

        names = [each.name for each in repository.sensor_defs]
        names += [each.name for each in repository.schedule_defs]
        of_lab = [name for name in names if "lab" in name]
        assert of_lab == ["demo__lab_materialize"]
        landing = repository.get_sensor_def("demo__home_landing").description or ""
        assert "Start demo__home_materialize and demo__lab_materialize first" in landing

    def test_the_schedule_of_its_base_makes_it_in_the_same_run(self, project: Project) -> None:
        config = project.configure({}, LAB, {"surface": "other"})
        repository = build_definitions(config).get_repository_def()
        schedule = repository.get_schedule_def("demo__home_daily")

        with dg.build_schedule_context(
            project.instance, datetime(2026, 1, 3, 6, tzinfo=UTC)
        ) as context:
            request: Any = schedule(context)

        assert {*request.asset_selection} == {
            asset_key(surface, name)
            for surface in config.surfaces[:2]
            for name in asset_names(surface)
        }
        assert "demo/home and demo/lab" in (schedule.description or "")


class TestDays:
    """What becomes of days of a base and of its variants."""

    def test_days_of_both_are_published_and_parsed_once(
        self, project: Project, parsed: list[date]
    ) -> None:
        config = project.configure(SMALL, {**LAB, **SMALL}, {**WEEK, **SMALL})
        land(project, 0, 1, 2)

        reports = [
            project.materialize(config, [day(0), day(1), day(2)], surface=number)
            for number in range(3)
        ]

        assert all(report.succeeded for report in reports)
        assert sorted(parsed) == [day(0), day(1), day(2)]  # two at a time
        assert not (project.folder / "var/canonical/demo/lab").exists()
        assert (project.folder / "var/counts/demo/home").exists()
        assert not (project.folder / "var/counts/demo/week").exists()

    def test_the_same_options_give_the_same_rows_under_another_name(self, project: Project) -> None:
        config = project.configure({}, LAB)
        (project.folder / "catalog.csv").write_text(CATALOG_OF_BOTH)
        land(project, 0)

        reports = [project.materialize(config, [day(0)], surface=number) for number in range(2)]

        for kind in KINDS:
            home, lab = (rows(project, config, name, kind) for name in ("home", "lab"))
            assert home == lab, kind
            versions = {report.metadata[day(0)][kind]["version"] for report in reports}
            assert len(versions) == 2  # the name is part of it
        items = rows(project, config, "lab", "content_sim")["items"]
        assert [each["item_id"] for each in items] == ["a", "c"]  # the namespace is that of home

    def test_what_is_only_in_the_catalog_is_so_by_the_namespace_of_the_base(
        self, project: Project
    ) -> None:
        config = project.configure({**SMALL, "items": {"only_in_catalog": True}}, {**LAB, **SMALL})
        (project.folder / "catalog.csv").write_text(CATALOG_OF_BOTH)
        land(project, 0)

        for number in range(2):
            project.materialize(config, [day(0)], surface=number)

        for name in ("home", "lab"):
            items = rows(project, config, name, "popularity")["items"]
            assert items == [{"item_id": "a", "count": 3}]

    def test_what_a_variant_alone_counts_is_kept_below_the_base(self, project: Project) -> None:
        options = {"cooc": {"min_support": 1}}
        config = project.configure(
            {"artifacts": {"popularity": {}}}, {**WEEK, "artifacts": options}
        )
        land(project, 0)

        for number in range(2):
            project.materialize(config, [day(0)], surface=number)

        kept = {path.stem for path in (project.folder / "var/counts").rglob("*.parquet")}
        assert kept >= {"items", "baskets"}  # also what the base has counted in this process
        assert [*(project.folder / "var/counts/demo").iterdir()] == [
            project.folder / "var/counts/demo/home"
        ]

    def test_other_options_give_other_rows(self, project: Project) -> None:
        options = {"popularity": {"top_n": 1}}
        config = project.configure(SMALL, {**WEEK, "artifacts": options})
        land(project, 0, 1)

        for number in range(2):
            project.materialize(config, [day(0), day(1)], surface=number)

        assert rows(project, config, "home", "popularity")["items"] == [
            {"item_id": "a", "count": 3},
            {"item_id": "b", "count": 3},
        ]
        week = rows(project, config, "week", "popularity")
        assert week["items"] == [{"item_id": "a", "count": 6}]
        assert week["window"] == {"start": "2025-12-31T00:00:00Z", "end": "2026-01-03T00:00:00Z"}

    def test_a_window_of_a_variant_counts_what_one_of_a_surface_counts(
        self, project: Project
    ) -> None:
        """The counts of a base without a window, kept for its variant, are those of any other."""
        config = project.configure({}, WEEK)
        land(project, 0, 1, 2)
        for number in range(2):
            project.materialize(config, [day(0), day(1), day(2)], surface=number)
        found = {kind: rows(project, config, "week", kind) for kind in KINDS}

        alone = project.configure({"window_days": 3})
        project.materialize(alone, [day(0), day(1), day(2)])

        assert {kind: rows(project, alone, "home", kind) for kind in KINDS} == found

    def test_a_bad_day_of_the_base_blocks_that_day_of_its_variant(self, project: Project) -> None:
        config = project.configure(SMALL, {**WEEK, **SMALL})
        land(project, 0, 2)
        project.land(day(1), ["no json"])

        home = project.materialize(config, [day(0), day(1), day(2)])
        week = project.materialize(config, [day(0), day(1), day(2)], surface=1)

        assert home.published == week.published == [day(0), day(2)]
        assert week.outcome(day(1)) == "blocked"
        (complaint,) = {each.description for each in week.failures if each.check == "inputs"}
        assert complaint == (
            "demo/home 2026-01-02 has no accepted canonical events: materialize canonical_events "
            "of that day first, and look at its failed checks if it fails"
        )
        assert {(each.check, each.day) for each in week.warnings} == {
            ("window_is_complete", day(2))
        }

    def test_a_late_file_changes_the_days_of_the_variant_that_hold_it(
        self, project: Project
    ) -> None:
        config = project.configure(SMALL, {**WEEK, **SMALL})
        land(project, 0, 1, 2, 3)
        for number in range(2):
            project.materialize(config, [day(n) for n in range(4)], surface=number)
        land(project, 1, more=["z"])
        project.materialize(config, [day(1)])

        report = project.materialize(config, [day(1)], surface=1)

        assert report.days == [day(1), day(2), day(3)]
        assert report.published == [day(3)]
        assert {report.outcome(day(n)) for n in (1, 2)} == {"superseded"}
        counted = rows(project, config, "week", "popularity")["items"]
        assert {each["item_id"] for each in counted} == {"a", "b", "z"}

    def test_what_is_made_of_events_that_changed_is_not_published(self, project: Project) -> None:
        config = project.configure(SMALL, {**LAB, **SMALL})
        land(project, 0)
        for number in range(2):
            project.materialize(config, [day(0)], surface=number)
        land(project, 0, more=["z"])
        project.materialize(config, [day(0)])

        job = build_definitions(config).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=project.instance,
            partition_key=str(day(0)),
            asset_selection=[key("lab", "manifest")],
            raise_on_error=False,
        )

        (evaluation,) = result.get_asset_check_evaluations()
        assert "popularity: made of other events than are accepted now" in (
            evaluation.description or ""
        )

    def test_one_run_over_both_makes_both_and_the_base_first(self, project: Project) -> None:
        """As the schedule asks for it."""
        config = project.configure({}, LAB)
        land(project, 0)

        result = self._run(project, config, partition_key=str(day(0)))

        assert result.success
        made = [
            each.step_materialization_data.materialization.asset_key
            for each in result.get_asset_materialization_events()
        ]
        assert made.index(key("home", "manifest")) < made.index(key("lab", "manifest"))
        assert {project.live(config, surface=number) is None for number in range(2)} == {False}

    def test_a_range_of_days_as_a_backfill_launches_it(self, project: Project) -> None:
        config = project.configure({}, WEEK)
        land(project, 0, 2)
        tags = {RANGE_START: str(day(0)), RANGE_END: str(day(2))}

        for names in (["canonical_events"], [*KINDS], ["manifest"]):  # as its layers are
            self._run(project, config, names, tags=tags)

        for number in range(2):
            live = project.live(config, surface=number)
            assert live is not None
            assert live.window is not None
            assert live.window.last_day == day(2)

    def _run(
        self, project: Project, config: Config, names: Iterable[str] = (), **named: Any
    ) -> dg.ExecuteInProcessResult:
        job = build_definitions(config).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=project.instance,
            asset_selection=[
                asset_key(surface, name)
                for surface in config.surfaces
                for name in names or asset_names(surface)
                if name in asset_names(surface)
            ],
            raise_on_error=False,
            **named,
        )


class TestOperations:
    """What is live of a variant is its own."""

    def test_it_is_pinned_released_and_rolled_back_by_itself(self, project: Project) -> None:
        config = project.configure(SMALL, {**LAB, **SMALL})
        land(project, 0, 1)
        lab = config.surfaces[1]
        store, why = project.store, Why("run-1", "somebody", "an incident")
        project.materialize(config, [day(0)])
        project.materialize(config, [day(0)], surface=1)
        pointer.pin(store, lab, why)
        for number in range(2):
            project.materialize(config, [day(1)], surface=number)

        released = pointer.release(store, lab, why)

        assert (released.next_day, released.next_outcome) == (day(1), "published")
        plan = pointer.plan_rollback(store, lab, to=str(day(0)))
        pointer.roll_back(store, plan, why)
        lives = [project.live(config, surface=number) for number in range(2)]
        assert [live.window.last_day for live in lives if live and live.window] == [day(1), day(0)]


@pytest.mark.parametrize(
    ("wrong", "left", "broken"),
    [
        ("home", ["demo/other"], ["demo/home", "demo/lab"]),
        ("lab", ["demo/home", "demo/other"], ["demo/lab"]),
        ("other", ["demo/home", "demo/lab"], ["demo/other"]),
    ],
)
def test_definitions_of_a_base_that_do_not_load_take_its_variants_along(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
    left: list[str],
    broken: list[str],
) -> None:
    built = assets.build_surface

    def breaking(surface: Any, **named: Any) -> Any:
        if surface.surface == wrong:
            raise ValueError("no")
        return built(surface, **named)

    config = project.configure({}, LAB, {"surface": "other"})
    monkeypatch.setattr(definitions, "build_surface", breaking)

    loaded = definitions.load_definitions(config)

    assert [each.name for each in loaded.config.surfaces] == left
    assert [each.name for each in loaded.config.broken] == broken
