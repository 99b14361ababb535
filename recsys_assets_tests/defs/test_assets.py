"""The assets of a surface, materialized: kinds, windows, and what their pages show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.compute.judging import NUMBERS
from recsys_assets.config.catalogs import Catalog
from recsys_assets.definitions import build_definitions
from recsys_assets.events import catalog, days, writers
from recsys_assets.kinds import KINDS
from recsys_assets_tests.defs.looking import failed, land, materialized, shown
from recsys_assets_tests.project import SMALL, Project, day, event


def test_a_day_is_published_with_every_kind(project: Project) -> None:
    config = project.configure()
    land(project, 0)

    report = project.materialize(config, [day(0)])

    assert report.succeeded
    live = project.live(config)
    assert live is not None
    assert set(live.current) == set(KINDS)
    popularity = json.loads(Path(live.current["popularity"].removeprefix("file://")).read_text())
    assert popularity["items"] == [{"item_id": "a", "count": 2}, {"item_id": "b", "count": 1}]


def test_late_events_of_the_live_day_are_published(project: Project) -> None:
    config = project.configure(SMALL)
    land(project, 0)
    project.materialize(config, [day(0)])
    project.land(day(0), [event("late")], part=".2")

    project.materialize(config, [day(0)])

    live = project.live(config)
    assert live is not None
    assert live.publication is not None
    assert live.publication.generation == 2
    assert "late" in Path(live.current["popularity"].removeprefix("file://")).read_text()


def test_backfilling_an_old_day_stages_it_and_leaves_the_live_one(project: Project) -> None:
    config = project.configure(SMALL)
    land(project, 0, 1)
    project.materialize(config, [day(1)])
    live = project.live(config)

    report = project.materialize(config, [day(0)])

    assert report.succeeded
    assert report.outcome(day(0)) == "superseded"
    assert project.live(config) == live


def test_the_outcome_of_each_day_of_a_range_is_its_own(project: Project) -> None:
    config = project.configure(SMALL)
    land(project, 0, 1, 2)
    project.materialize(config, [day(1)])

    report = project.materialize(config, [day(0), day(1), day(2), day(3)])

    outcomes = [report.outcome(day(n)) for n in range(4)]
    assert outcomes == ["superseded", "unchanged", "published", "no files"]


def numbers(project: Project, asset: str, number: int) -> set[str]:
    """Name what the asset page shows of a day as numbers."""
    found = shown(project, asset, number=number)
    return {name for name, value in found.items() if isinstance(value.value, int | float)}


def cells(table: dg.TableMetadataValue) -> list[list[Any]]:
    """Return the rows of a table as they are read, from left to right."""
    return [[row.data[column.name] for column in table.schema.columns] for row in table.records]


def test_the_order_of_days_and_surfaces_changes_no_version(project: Project) -> None:
    kinds: dict[str, Any] = {"artifacts": {"popularity": {}, "session_seq": {}, "content_sim": {}}}
    config = project.configure(kinds, {**kinds, "surface": "checkout"})
    for number in range(2):
        events = [event(item, of=day(number)) for item in "abcab"]
        project.land(day(number), events)
        folder = project.folder / "raw/demo/checkout"
        folder.mkdir(exist_ok=True)
        (folder / f"exposure.{day(number)}.jsonl").write_text(
            "".join(json.dumps(e | {"surface": "checkout"}) + "\n" for e in events)
        )
    forward = {
        (s, n): project.materialize(config, [day(n)], surface=s) for s in (0, 1) for n in (0, 1)
    }

    backward = {
        (s, n): project.materialize(config, [day(n)], surface=s) for s in (1, 0) for n in (1, 0)
    }

    def versions(reports: dict[tuple[int, int], Any]) -> dict[tuple[int, int, str], str]:
        return {
            (s, n, kind): report.metadata[day(n)][kind]["version"]
            for (s, n), report in reports.items()
            for kind in config.surfaces[s].artifacts.kinds
        }

    assert versions(forward) == versions(backward)


class TestWindows:
    """Artifacts over three trailing days."""

    @pytest.fixture
    def config(self, project: Project) -> Any:
        return project.configure({"window_days": 3, "artifacts": {"popularity": {}}})

    def counts(self, report: Any, number: int) -> dict[str, int]:
        uri = report.metadata[day(number)]["popularity"]["dagster/uri"]
        document = json.loads(Path(uri.removeprefix("file://")).read_text())
        return {entry["item_id"]: entry["count"] for entry in document["items"]}

    def test_a_window_counts_its_days_and_no_other(self, project: Project, config: Any) -> None:
        for number in range(4):
            project.land(day(number), [event(f"d{number}", of=day(number))])

        report = project.materialize(config, [day(n) for n in range(4)])

        assert report.succeeded
        assert self.counts(report, 0) == {"d0": 1}
        assert self.counts(report, 1) == {"d0": 1, "d1": 1}
        assert self.counts(report, 3) == {"d1": 1, "d2": 1, "d3": 1}

    def test_with_a_half_life_the_older_days_count_less(self, project: Project) -> None:
        options = {"popularity": {"half_life_days": 1}}
        config = project.configure({"window_days": 3, "artifacts": options})
        for number in range(4):
            late = event("every", of=day(number), ts=f"{day(number)}T23:59:59.999999999Z")
            project.land(day(number), [event(f"d{number}", of=day(number)), late])

        report = project.materialize(config, [day(n) for n in range(4)])

        assert report.succeeded
        assert self.counts(report, 0) == {"every": 1000, "d0": 1000}
        assert self.counts(report, 3) == {"every": 1750, "d3": 1000, "d2": 500, "d1": 250}
        uri = report.metadata[day(3)]["popularity"]["dagster/uri"]
        text = Path(uri.removeprefix("file://")).read_text()
        assert '"items":[{"item_id":"every","count":1750},{"item_id":"d3","count":1000},' in text

    def test_one_day_at_a_time_gives_the_same_versions(self, project: Project, config: Any) -> None:
        for number in range(4):
            project.land(day(number), [event(f"d{number}", of=day(number))])
        together = project.materialize(config, [day(n) for n in range(4)])

        alone = project.materialize(config, [day(3)])

        version = alone.metadata[day(3)]["popularity"]["version"]
        assert version == together.metadata[day(3)]["popularity"]["version"]

    def test_a_missing_older_day_is_named_and_only_warns(
        self, project: Project, config: Any
    ) -> None:
        land(project, 0, 2)
        report = project.materialize(config, [day(0), day(1), day(2)])

        assert failed(report) == {(1, "canonical_events", "min_events")}
        assert report.published == [day(0), day(2)]
        assert report.metadata[day(2)]["popularity"]["missing_days"] == str(day(1))
        assert self.counts(report, 2) == {"a": 4, "b": 2}

    def test_the_warning_is_a_check_that_does_not_block(
        self, project: Project, config: Any
    ) -> None:
        land(project, 2)
        job = build_definitions(config).resolve_implicit_global_asset_job_def()

        result = job.execute_in_process(
            instance=project.instance,
            asset_selection=materialized(config),
            partition_key=str(day(2)),
        )

        found = [e for e in result.get_asset_check_evaluations() if not e.passed]
        (warning,) = [e for e in found if e.asset_key.path[-1] == "popularity"]
        assert warning.check_name == "window_is_complete"
        assert warning.severity == dg.AssetCheckSeverity.WARN
        assert f"{day(0)}, {day(1)}" in (warning.description or "")
        assert result.success

    def test_late_events_reach_every_materialized_day_whose_window_holds_them(
        self, project: Project, config: Any
    ) -> None:
        land(project, 0, 1, 2, 4)
        project.materialize(config, [day(n) for n in range(3)])
        project.materialize(config, [day(4)])
        project.land(day(1), [event("late", of=day(1))], part=".2")

        report = project.materialize(config, [day(1)])

        assert report.succeeded
        assert report.days == [day(1), day(2)]
        assert self.counts(report, 1)["late"] == 1
        assert self.counts(report, 2)["late"] == 1
        project.land(day(2), [event("later", of=day(2))], part=".2")
        assert project.materialize(config, [day(2)]).days == [day(2), day(4)]
        live = project.live(config)
        assert live is not None
        assert "later" in Path(live.current["popularity"].removeprefix("file://")).read_text()

    def test_the_day_itself_is_never_missing(self, project: Project, config: Any) -> None:
        land(project, 0, 1)
        project.materialize(config, [day(0), day(1)])
        job = build_definitions(config).resolve_implicit_global_asset_job_def()

        result = job.execute_in_process(
            instance=project.instance,
            partition_key=str(day(2)),
            asset_selection=[dg.AssetKey(["demo", "home", n]) for n in ("popularity", "manifest")],
            raise_on_error=False,
        )

        (failure,) = [e for e in result.get_asset_check_evaluations() if not e.passed]
        assert (failure.check_name, failure.asset_key.path[-1]) == ("inputs", "popularity")
        assert "materialize canonical_events" in (failure.description or "")


@pytest.mark.parametrize(
    ("catalog", "message"),
    [
        ("sku,tags\na,red\n", "no column for item_id; expected one of item_id, itemid, id"),
        ('item_id,tags\n"a,red\n', "line 2: unexpected end of data"),
    ],
)
def test_a_broken_catalog_blocks_content_sim_and_the_manifest(
    project: Project, catalog: str, message: str
) -> None:
    config = project.configure()
    land(project, 0)
    (project.folder / "catalog.csv").write_text(catalog)

    report = project.materialize(config, [day(0)])

    of_catalog = {kind.name for kind in KINDS.values() if kind.reads == "catalog"}
    assert failed(report) == {(0, kind, "inputs") for kind in of_catalog}
    assert "content_sim" in of_catalog
    assert message in report.failures[0].description
    assert "popularity" in report.metadata[day(0)]
    assert project.live(config) is None


def test_ids_may_hold_anything_that_json_can(project: Project) -> None:
    config = project.configure(SMALL)
    odd = [
        '"quoted"',
        "../../etc/passwd",
        "tab\there",
        "🛒",
        "<script>",
        "a\u2028b",
        "a/b",
        "nul\x00",
    ]
    project.land(day(0), [event(item, session_id="../s", user_id="u/../u") for item in odd])

    report = project.materialize(config, [day(0)])

    assert report.succeeded
    live = project.live(config)
    assert live is not None
    text = Path(live.current["popularity"].removeprefix("file://")).read_text()
    stored = {entry["item_id"] for entry in json.loads(text)["items"]}
    assert stored == set(odd)
    assert not list(project.folder.parent.glob("etc*"))


def test_an_empty_day_is_published_only_when_the_configuration_says_so(project: Project) -> None:
    config = project.configure({"guardrails": {"min_events": 0}})

    report = project.materialize(config, [day(0)])

    assert report.succeeded
    live = project.live(config)
    assert live is not None
    document = json.loads(Path(live.current["cooc"].removeprefix("file://")).read_text())
    assert document["neighbors"] == []


def test_an_enormous_session_is_left_out_of_cooc_and_reported(project: Project) -> None:
    config = project.configure({"artifacts": {"cooc": {"min_support": 1}}, "catalog": None})
    bot = [event(f"i{n}", session_id="bot") for n in range(100_000)]
    project.land(day(0), [*bot, event("a"), event("b")])

    report = project.materialize(config, [day(0)])

    assert failed(report) == {(0, "cooc", "max_oversized_session_share")}
    assert "found 0.5" in report.failures[0].description


class TestPages:
    """What the asset pages show."""

    EVENTS = {  # noqa: RUF012
        "dagster/row_count", "sessions", "users", "items", "sessions_of_several_users", "refused",
        "refused_bytes",
        "redelivered", "outside_window", "other_surface", "left_out", "raw_bytes", "size_bytes",
        "seconds",
        *(f"gate/{name}" for name, of in NUMBERS.items() if not of.is_replayed),
    }  # fmt: skip
    ARTIFACT = {"dagster/row_count", "size_bytes", "seconds"}  # noqa: RUF012
    # What a kind shows besides; a kind that is not here may show anything, the same each day.
    OWN: dict[str, set[str]] = {  # noqa: RUF012
        "popularity": set(),
        "cooc": {"oversized_sessions"},
        "implicit": set(),
        "session_seq": set(),
        "content_sim": {"catalog_rows"},
    }
    MANIFEST = {"size_bytes", "generation", "flipped"}  # noqa: RUF012

    def test_numbers_have_the_same_names_each_day_whatever_the_run(self, project: Project) -> None:
        """Dagster plots what is a number; a name that comes and goes is a gap in the plot."""
        config = project.configure()
        land(project, 0, 1, 2)
        project.materialize(config, [day(0)])
        project.materialize(config, [day(1), day(2)])

        wanted = {"canonical_events": self.EVENTS, "manifest": self.MANIFEST}
        for name, kind in KINDS.items():
            common = self.ARTIFACT | {kind.layout.owners}
            wanted[name] = common | self.OWN.get(name, numbers(project, name, 0) - common)
        for asset, names in wanted.items():
            for number in range(3):
                # On its first day nothing can be replayed.
                replayed = {f"gate/{name}" for name, of in NUMBERS.items() if of.is_replayed}
                found = numbers(project, asset, number) - (replayed if number else set())
                assert found == names, (asset, number)

    def test_every_layer_has_a_picture_and_every_artifact_a_preview(self, project: Project) -> None:
        config = project.configure()
        project.land(day(0), [event("a"), event("b"), event("a", ts=f"{day(0)}T23:59:59.9Z")])

        project.materialize(config, [day(0)])

        drawn = [kind.name for kind in KINDS.values() if kind.draw]
        pictures = {
            asset: shown(project, asset)["picture"].value for asset in ["canonical_events", *drawn]
        }
        assert {"canonical_events", *self.OWN} <= set(pictures)
        assert all("](data:image/svg+xml;base64," in text for text in pictures.values())
        assert "most: 2 at 12:00" in pictures["canonical_events"]
        rows = {kind: cells(shown(project, kind)["preview"]) for kind in KINDS}
        assert all(rows.values())
        assert {kind: rows[kind] for kind in self.OWN} == {
            "popularity": [["a", "Apple", "2"], ["b", "Banana", "1"]],
            "cooc": [["a", "Apple", "b", "1", "Banana"], ["b", "Banana", "a", "1", "Apple"]],
            "implicit": [["u1", "a", "2", "Apple"], ["", "b", "1", "Banana"]],
            "session_seq": [["u1", "a", "1", "Apple"], ["", "b", "1", "Banana"]],
            "content_sim": [["a", "Apple", "red, round"], ["b", "Banana", "yellow"]],
        }

    def test_all_hours_of_all_row_groups_are_counted(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (days, writers):  # it is written by one and read by the other
            monkeypatch.setattr(module, "ROW_GROUP_ROWS", 2)
        config = project.configure({"artifacts": {"popularity": {}}})
        project.land(day(0), [event("a", ts=f"{day(0)}T05:00:00Z") for _ in range(7)])

        project.materialize(config, [day(0)])

        assert "most: 7 at 05:00" in shown(project, "canonical_events")["picture"].value

    @pytest.mark.parametrize("days", [1, 2])
    def test_a_broken_catalog_costs_the_titles_and_nothing_else(
        self, project: Project, days: int
    ) -> None:
        config = project.configure({"artifacts": {"popularity": {}}})
        (project.folder / "catalog.csv").write_bytes(b'id,tags\n"a')
        land(project, *range(days))

        report = project.materialize(config, [day(number) for number in range(days)])

        assert report.succeeded
        rows = [row.data for row in shown(project, "popularity")["preview"].records]
        column = "count (exposures)"
        assert rows == [{"item_id": "a", column: "2"}, {"item_id": "b", column: "1"}]

    def test_every_day_of_an_artifact_says_its_window_and_what_its_numbers_count(
        self, project: Project
    ) -> None:
        """Days are the first and the last one of the window; no day after it is named."""
        config = project.configure({"window_days": 3})
        land(project, 0, 1, 2, 3)

        project.materialize(config, [day(number) for number in range(4)])

        for kind in self.OWN:
            found = shown(project, kind, number=3)
            assert (found["first_day"].value, found["day"].value) == (str(day(1)), str(day(3)))
            assert str(day(4)) not in str(found)
        units = {kind: shown(project, kind).get("unit") for kind in self.OWN}
        assert {kind: unit and unit.value for kind, unit in units.items()} == {
            "popularity": "exposures",
            "cooc": "sessions",
            "implicit": "exposures",
            "session_seq": "times next",
            "content_sim": None,
        }
        columns = {kind: shown(project, kind)["preview"].schema.columns for kind in self.OWN}
        assert {kind: [column.name for column in found] for kind, found in columns.items()} == {
            "popularity": ["item_id", "title or tags", "count (exposures)"],
            "cooc": [
                "item_id", "title or tags", "neighbour_id", "count (sessions)", "its title or tags"
            ],
            "implicit": ["user_id", "item_id", "score (exposures)", "title or tags"],
            "session_seq": ["user_id", "item_id", "score (times next)", "title or tags"],
            "content_sim": ["item_id", "title or tags", "tags"],
        }  # fmt: skip

    def test_with_a_half_life_popularity_is_said_to_count_thousandths(
        self, project: Project
    ) -> None:
        options = {"popularity": {"half_life_days": 1}}
        config = project.configure({"window_days": 2, "artifacts": options})
        land(project, 0, 1)

        project.materialize(config, [day(0), day(1)])

        found = shown(project, "popularity", number=1)
        assert found["unit"].value == "thousandths of an exposure"
        first = found["preview"].records[0].data
        assert first["count (thousandths of an exposure)"] == "3,000"

    def test_the_catalog_is_parsed_once_for_all_assets_and_days_of_a_run(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure({"artifacts": {"popularity": {}, "content_sim": {}}})
        land(project, 0, 1, 2)
        parsed = []
        columns_of = catalog._csv_columns

        def counted(text: str, of: Catalog) -> Any:
            parsed.append(of)
            return columns_of(text, of)

        monkeypatch.setattr(catalog, "_csv_columns", counted)

        assert project.materialize(config, [day(0), day(1), day(2)]).succeeded
        assert len(parsed) == 1
