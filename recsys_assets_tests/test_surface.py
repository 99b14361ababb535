"""The assets of a surface, materialized: write-audit-publish, windows, isolation, idempotence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from recsys_assets import audits, io_managers
from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.errors import CorruptBlobError, StaleReleaseError, StorageError
from recsys_assets.events import catalog, partition
from recsys_assets.io_managers import (
    ArtifactIOManager,
    ManifestIOManager,
    Release,
    publish_release,
    read_partitions,
)
from recsys_assets.storage import layout
from recsys_assets.storage.publications import (
    Action,
    Change,
    Live,
    Why,
    actor,
    flip,
    history,
)
from recsys_assets.storage.registry import StagedRef, read_staged
from recsys_assets.storage.store import Store
from recsys_assets.surface import asset_key
from recsys_assets_tests.project import DAY, Project, day, event

WHY = Why("slow run", "somebody", "a test")


def failed(report: Any) -> set[tuple[int, str, str | None]]:
    return {((f.day - day(0)).days, f.asset, f.check) for f in report.failures}


def materialized(config: Config) -> list[dg.AssetKey]:
    """Return what a run materializes; without a selection, it would run the check `fresh` too."""
    names = ("canonical_events", *config.surfaces[0].artifacts.kinds, "manifest")
    return [dg.AssetKey(["demo", "home", name]) for name in names]


def land(project: Project, *days: int) -> None:
    for number in days:
        of = day(number)
        project.land(of, [event("a", of=of), event("b", of=of), event("a", of=of)])


def test_a_day_is_published_with_every_kind(project: Project) -> None:
    config = project.configure()
    land(project, 0)

    report = project.materialize(config, [day(0)])

    assert report.succeeded
    live = project.live(config)
    assert live is not None
    assert set(live.current) == {"popularity", "cooc", "implicit", "session_seq", "content_sim"}
    popularity = json.loads(Path(live.current["popularity"].removeprefix("file://")).read_text())
    assert popularity["items"] == [{"item_id": "a", "count": 2}, {"item_id": "b", "count": 1}]


def test_the_data_version_of_an_artifact_is_its_version(project: Project) -> None:
    config = project.configure()
    land(project, 0)

    report = project.materialize(config, [day(0)])

    (record,) = project.instance.fetch_materializations(
        dg.AssetKey(["demo", "home", "cooc"]), limit=1
    ).records
    assert record.asset_materialization is not None
    tags = record.asset_materialization.tags or {}
    assert tags["dagster/data_version"] == report.metadata[day(0)]["cooc"]["version"]


def test_each_day_of_a_longer_run_has_its_own_data_version(project: Project) -> None:
    config = project.configure()
    project.land(day(0), [event("a")])
    project.land(day(1), [event("b", of=day(1))])

    report = project.materialize(config, [day(0), day(1)])

    key = dg.AssetKey(["demo", "home", "popularity"])
    records = project.instance.fetch_materializations(key, limit=10).records
    found = {
        record.asset_materialization.partition: (record.asset_materialization.tags or {})[
            "dagster/data_version"
        ]
        for record in records
        if record.asset_materialization
    }
    assert found == {str(day(n)): report.metadata[day(n)]["popularity"]["version"] for n in (0, 1)}
    assert len(set(found.values())) == 2


def test_one_bad_day_of_a_range_blocks_itself_and_nothing_else(project: Project) -> None:
    config = project.configure()
    land(project, 0, 1, 3, 4)  # nothing lands on day 2

    report = project.materialize(config, [day(n) for n in range(5)])

    assert failed(report) == {(2, "canonical_events", "min_events")}
    assert report.published == [day(0), day(1), day(3), day(4)]
    assert report.metadata[day(1)]["manifest"]["outcome"] == "published"
    live = project.live(config)
    assert live is not None
    assert live.window is not None
    assert live.window.start == day(4)
    assert [found.window.start for found in history(project.store, live)] == [
        day(4), day(3), day(1), day(0),
    ]  # fmt: skip
    for name in ("canonical_events", "cooc", "manifest"):
        partitions = project.instance.get_materialized_partitions(
            dg.AssetKey(["demo", "home", name])
        )
        assert partitions == {str(day(n)) for n in (0, 1, 3, 4)}


@pytest.mark.parametrize(
    ("asset", "check"),
    [("canonical_events", "inputs"), ("popularity", "inputs"), ("manifest", "publishable")],
)
def test_a_range_over_the_limit_is_refused_whole(project: Project, asset: str, check: str) -> None:
    """As a backfill of the UI would start it; the command line refuses it before."""
    config = project.configure({"guardrails": {"max_backfill_days": 3}})
    land(project, *range(4))
    assert project.materialize(config, [day(n) for n in range(3)]).succeeded
    job = build_definitions(config).resolve_implicit_global_asset_job_def()
    key = dg.AssetKey(["demo", "home", asset])

    result = job.execute_in_process(
        instance=project.instance,
        asset_selection=[key],
        tags={
            "dagster/asset_partition_range_start": str(day(0)),
            "dagster/asset_partition_range_end": str(day(3)),
        },
        raise_on_error=False,
    )

    assert not result.success
    assert not result.get_asset_materialization_events()
    (found,) = result.get_asset_check_evaluations()
    assert (found.check_name, found.passed, found.blocking) == (check, False, True)
    assert found.description == (
        "2026-01-01: guardrails.max_backfill_days is 3, asked for 4 days, 2026-01-01 to "
        "2026-01-04: nothing was materialized. Launch fewer days at a time, or raise the limit."
    )


def test_repairing_the_bad_day_alone_completes_it_and_moves_nothing_back(project: Project) -> None:
    config = project.configure()
    land(project, 0, 2)
    project.materialize(config, [day(0), day(1), day(2)])
    land(project, 1)

    report = project.materialize(config, [day(1)])

    assert report.succeeded
    live = project.live(config)
    assert live is not None
    assert live.window is not None
    assert live.window.start == day(2)


def test_a_bad_artifact_blocks_the_manifest_of_its_day_only(project: Project) -> None:
    config = project.configure({"guardrails": {"max_artifact_bytes": 500}})
    land(project, 0, 2)
    many = [event(f"item-{n:04}", of=day(1), session_id=f"s{n}") for n in range(20)]
    project.land(day(1), many)

    report = project.materialize(config, [day(0), day(1), day(2)])

    assert {number for number, _, _ in failed(report)} == {1}
    assert {check for _, _, check in failed(report)} == {"max_artifact_bytes"}
    assert report.published == [day(0), day(2)]
    assert "canonical_events" in report.metadata[day(1)]
    assert "content_sim" in report.metadata[day(1)]
    text = next(f.description for f in report.failures if f.asset == "popularity")
    assert "guardrails.max_artifact_bytes is 500, found" in text


@pytest.mark.parametrize(
    ("guardrail", "asset"),
    [
        ({"max_events": 2}, "canonical_events"),
        ({"max_sessions": 1}, "canonical_events"),
        ({"max_distinct_items": 1}, "canonical_events"),
        ({"max_users": 1}, "canonical_events"),
        ({"max_rejected_share": 0.1}, "canonical_events"),
        ({"min_events": 5}, "canonical_events"),
        ({"max_items_per_session": 1, "max_oversized_session_share": 0.1}, "cooc"),
        ({"max_artifact_bytes": 10}, "popularity"),
    ],
)
def test_each_guardrail_blocks_the_day_and_names_itself(
    project: Project, guardrail: dict[str, Any], asset: str
) -> None:
    config = project.configure({"guardrails": guardrail})
    project.land(
        day(0),
        [event("a"), event("b"), event("c", session_id="s2", user_id="u2"), "{not json"]
        if "max_rejected_share" in guardrail
        else [event("a"), event("b"), event("c", session_id="s2", user_id="u2")],
    )

    report = project.materialize(config, [day(0)])

    name = list(guardrail)[-1]
    assert (0, asset, name) in failed(report)
    (failure,) = [f for f in report.failures if (f.asset, f.check) == (asset, name)]
    assert f"guardrails.{name} is " in failure.description
    assert report.published == []
    assert project.live(config) is None


def test_a_frame_that_breaks_its_contract_is_never_stored(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = project.configure()
    land(project, 0)
    zero = pl.LazyFrame({"item_id": ["a"], "count": [0]})
    monkeypatch.setattr(audits, "count_exposures", lambda *_, **__: zero)

    report = project.materialize(config, [day(0)])

    assert failed(report) == {(0, "popularity", "contract")}
    (failure,) = report.failures
    assert "greater_than_or_equal_to(1) (1)" in failure.description
    assert project.live(config) is None
    assert not any("popularity" in name for name in project.blobs())


def test_the_failed_check_shows_rule_number_and_rows(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = project.configure()
    land(project, 0)
    zero = pl.LazyFrame({"item_id": ["a"], "count": [0]})
    monkeypatch.setattr(audits, "count_exposures", lambda *_, **__: zero)
    job = build_definitions(config).resolve_implicit_global_asset_job_def()

    result = job.execute_in_process(
        instance=project.instance,
        asset_selection=materialized(config),
        partition_key=str(day(0)),
        raise_on_error=False,
    )

    (evaluation,) = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert evaluation.check_name == "contract"
    assert evaluation.metadata["failures"].value == 1
    sample = evaluation.metadata["sample"]
    assert isinstance(sample, dg.TableMetadataValue)
    assert sample.records[0].data["failure_case"] == "0"
    assert sample.records[0].data["day"] == str(day(0))


def test_refused_lines_are_kept_even_when_the_day_is_blocked(project: Project) -> None:
    config = project.configure()
    project.land(day(0), ["{not json", '{"v": 1}'])

    report = project.materialize(config, [day(0)])

    assert {check for _, _, check in failed(report)} == {"min_events", "max_rejected_share"}
    lines = pl.read_ndjson(project.store.location(layout.rejected("demo", "home", day(0))))
    assert lines["reason"].to_list() == ["invalid_json", "missing_id"]
    assert lines["raw"].to_list() == ["{not json", '{"v": 1}']


def test_refused_lines_of_an_earlier_delivery_do_not_stay(project: Project) -> None:
    config = project.configure()
    project.land(day(0), ["{not json"])
    project.materialize(config, [day(0)])
    land(project, 0)

    project.materialize(config, [day(0)])

    assert project.store.read(layout.rejected("demo", "home", day(0))) is None


def test_a_blocked_rerun_leaves_what_was_published(project: Project) -> None:
    config = project.configure()
    land(project, 0)
    project.materialize(config, [day(0)])
    before, live = project.blobs(), project.live(config)
    project.land(day(0), ["{not json"])

    report = project.materialize(config, [day(0)])

    assert not report.succeeded
    assert project.blobs() == before
    assert project.live(config) == live


def test_a_rerun_changes_no_byte(project: Project) -> None:
    config = project.configure()
    land(project, 0, 1)
    project.materialize(config, [day(0), day(1)])
    before, live = project.blobs(), project.live(config)

    report = project.materialize(config, [day(0), day(1)])

    assert report.succeeded
    assert project.blobs() == before
    assert project.live(config) == live


def test_late_events_of_the_live_day_are_published(project: Project) -> None:
    config = project.configure()
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
    config = project.configure()
    land(project, 0, 1)
    project.materialize(config, [day(1)])
    live = project.live(config)

    report = project.materialize(config, [day(0)])

    assert report.succeeded
    assert report.outcome(day(0)) == "superseded"
    assert project.live(config) == live


def test_the_outcome_of_each_day_of_a_range_is_its_own(project: Project) -> None:
    config = project.configure()
    land(project, 0, 1, 2)
    project.materialize(config, [day(1)])

    report = project.materialize(config, [day(0), day(1), day(2), day(3)])

    outcomes = [report.outcome(day(n)) for n in range(4)]
    assert outcomes == ["superseded", "unchanged", "published", "blocked"]


def test_a_release_audited_before_a_newer_publish_of_its_day_is_not_flipped(
    project: Project,
) -> None:
    config = project.configure({"artifacts": {"popularity": {}}, "catalog": None})
    surface = config.surfaces[0]
    land(project, 0)
    project.materialize(config, [day(0)])
    old = audited_release(project, surface)
    project.land(day(0), [event("late")], part=".2")
    project.materialize(config, [day(0)])
    live = project.live(config)

    with pytest.raises(StaleReleaseError, match=r"generation 2 \(publish, .*came in while"):
        publish_release(project.store, "demo", "home", old, WHY)

    assert project.live(config) == live


@pytest.mark.parametrize("when", ["while it is gathered", "after it was gathered"])
@pytest.mark.parametrize("action", ["rollback", "retention"])
def test_a_release_is_not_flipped_over_a_flip_that_it_did_not_see(
    project: Project, monkeypatch: pytest.MonkeyPatch, when: str, action: Action
) -> None:
    """What is live is looked at before the first version is: only then nothing is missed."""
    config = project.configure({"artifacts": {"popularity": {}}, "catalog": None})
    land(project, 0)
    project.materialize(config, [day(0)])
    project.land(day(0), [event("late")], part=".2")
    for asset in ("canonical_events", "popularity"):
        launch(project, config, asset)
    staged = read_staged(project.store, "demo", "home", "default", "popularity", day(0))
    interrupt = partial(act, project.store, action, retiring=(staged.uri,))

    def read_interrupted(*arguments: Any) -> StagedRef:
        interrupt()
        return read_staged(*arguments)

    if when == "while it is gathered":
        monkeypatch.setattr(audits, "read_staged", read_interrupted)
    release = audited_release(project, config.surfaces[0])
    if when == "after it was gathered":
        interrupt()
    live = project.live(config)

    assert release.seen == 1
    with pytest.raises(StaleReleaseError, match=rf"generation 2 \({action}, "):
        publish_release(project.store, "demo", "home", release, WHY)

    assert project.live(config) == live


def test_a_release_is_flipped_after_other_days_were_published_meanwhile(project: Project) -> None:
    config = project.configure({"artifacts": {"popularity": {}}, "catalog": None})
    land(project, 0, 1)
    project.materialize(config, [day(0)])
    project.land(day(0), [event("late")], part=".2")
    for asset in ("canonical_events", "popularity"):
        launch(project, config, asset)
    release = audited_release(project, config.surfaces[0])
    act(project.store, "release")

    answer = publish_release(project.store, "demo", "home", release, WHY)

    assert answer == {
        "outcome": "published",
        "flipped": 1,
        "live_window_end": str(day(1)),
        "generation": 3,
    }


def test_the_record_of_a_publish_names_its_run_its_user_and_its_day(project: Project) -> None:
    config = project.configure()
    land(project, 0)

    project.materialize(config, [day(0)])

    live = project.live(config)
    assert live is not None
    assert live.publication is not None
    key = dg.AssetKey(["demo", "home", "manifest"])
    (record,) = project.instance.fetch_materializations(key, limit=10).records
    assert live.publication.run_id == record.event_log_entry.run_id
    assert live.publication.who == actor()
    assert live.publication.reason == f"manifest of {day(0)} was materialized"
    assert live.publication.action == "publish"


def test_a_pinned_surface_is_built_and_staged_and_what_is_live_stays(project: Project) -> None:
    config = project.configure()
    land(project, 0, 1, 2)
    project.materialize(config, [day(1)])
    act(project.store, "pin", pinned=True)
    live = project.live(config)
    project.land(day(1), [event("late", of=day(1))], part=".2")

    report = project.materialize(config, [day(0), day(1), day(2)])

    assert report.succeeded
    outcomes = [report.outcome(day(n)) for n in range(3)]
    assert outcomes == ["superseded", "pinned", "pinned"]
    assert report.metadata[day(2)]["manifest"]["generation"] == 2
    assert report.metadata[day(2)]["manifest"]["live_window_end"] == str(day(2))
    assert project.live(config) == live
    act(project.store, "release")
    launch(project, config, "manifest", number=2)
    released = project.live(config)
    assert released is not None
    assert released.window is not None
    assert released.window.start == day(2)


def test_accepted_days_are_read_and_the_others_are_left_out(project: Project) -> None:
    config = project.configure()
    land(project, 0, 2)
    project.materialize(config, [day(0), day(2)])

    found = read_partitions(project.store, "demo", "home", [day(n) for n in range(4)])

    assert list(found) == [day(0), day(2)]
    assert found[day(2)].location == str(
        project.folder / "var" / layout.canonical("demo", "home", day(2))
    )
    assert found[day(2)].frame.select("item_id").collect().rows() == [("a",), ("b",), ("a",)]
    assert found[day(0)].fingerprint != found[day(2)].fingerprint


def test_a_damaged_accepted_day_is_an_error_and_not_left_out(project: Project) -> None:
    """A window without it would be published as if the day had never been."""
    config = project.configure()
    land(project, 0)
    project.materialize(config, [day(0)])
    project.store.replace(layout.canonical("demo", "home", day(0)), b"damaged")

    with pytest.raises(StorageError, match=f"Materialize canonical_events of {day(0)} again"):
        read_partitions(project.store, "demo", "home", [day(0)])


@pytest.mark.parametrize("manager", [ArtifactIOManager, ManifestIOManager])
def test_documents_and_manifest_are_no_inputs_of_an_asset(
    project: Project, manager: type[ArtifactIOManager | ManifestIOManager]
) -> None:
    """What is staged may change after Dagster has loaded it, and before it is published."""
    context = dg.build_input_context(asset_key=dg.AssetKey(["demo", "home", "cooc"]))

    with pytest.raises(NotImplementedError, match="demo/home/cooc is read as"):
        manager(root=str(project.folder / "var")).load_input(context)


def launch(project: Project, config: Config, asset: str, *, number: int = 0) -> None:
    """Materialize one asset of a day alone, as from its page."""
    job = build_definitions(config).resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey(["demo", "home", asset])]
    job.execute_in_process(
        instance=project.instance, partition_key=str(day(number)), asset_selection=selection
    )


def act(
    store: Store, action: Action, *, pinned: bool = False, retiring: tuple[str, ...] = ()
) -> None:
    """Flip to what is live, in another action's name."""

    def decide(live: Live | None) -> Change:
        assert live
        assert live.window
        return Change(action, live.window, live.current, pinned=pinned, retiring=retiring)

    flip(store, tenant="demo", surface="home", decide=decide, why=WHY)


def audited_release(project: Project, surface: Any) -> Release:
    events = read_partitions(project.store, "demo", "home", [day(0)])
    audited = audits.audit_release(project.store, surface, day(0), events)
    assert audited.value is not None
    return audited.value


def shown(project: Project, asset: str, *, number: int = 0) -> dict[str, Any]:
    """Return the metadata of a day's latest materialization."""
    key = dg.AssetKey(["demo", "home", asset])
    records = project.instance.fetch_materializations(
        dg.AssetRecordsFilter(key, asset_partitions=[str(day(number))]), limit=1
    ).records
    (found,) = [record.asset_materialization for record in records]
    assert found is not None
    return dict(found.metadata)


def observed(project: Project) -> list[tuple[str | None, dict[str, Any]]]:
    """Return partition and metadata of what was observed of the manifest, the newest first."""
    key = dg.AssetKey(["demo", "home", "manifest"])
    records = project.instance.fetch_observations(key, limit=10).records
    found = [record.event_log_entry.asset_observation for record in records]
    return [(each.partition, dict(each.metadata)) for each in found if each]


def changed(metadata: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return how many items or users came and went, by kind."""
    rows = [row.data for row in metadata["changes"].records]
    return {f"{row['kind']} {row['of']}": (str(row["added"]), str(row["removed"])) for row in rows}


def cells(table: dg.TableMetadataValue) -> list[list[Any]]:
    """Return the rows of a table as they are read, from left to right."""
    return [[row.data[column.name] for column in table.schema.columns] for row in table.records]


class TestPages:
    """What the asset pages show."""

    NUMBERS = {  # noqa: RUF012
        "canonical_events": {
            "dagster/row_count", "sessions", "users", "items", "refused", "redelivered",
            "outside_window", "other_surface", "raw_bytes", "size_bytes", "seconds",
        },
        "popularity": {"dagster/row_count", "items", "size_bytes", "seconds"},
        "cooc": {"dagster/row_count", "items", "oversized_sessions", "size_bytes", "seconds"},
        "implicit": {"dagster/row_count", "users", "size_bytes", "seconds"},
        "session_seq": {"dagster/row_count", "users", "size_bytes", "seconds"},
        "content_sim": {"dagster/row_count", "items", "catalog_rows", "size_bytes", "seconds"},
        "manifest": {"size_bytes", "generation", "flipped"},
    }  # fmt: skip

    def test_numbers_have_the_same_names_each_day_whatever_the_run(self, project: Project) -> None:
        """Dagster plots what is a number; a name that comes and goes is a gap in the plot."""
        config = project.configure()
        land(project, 0, 1, 2)
        project.materialize(config, [day(0)])
        project.materialize(config, [day(1), day(2)])

        for asset, names in self.NUMBERS.items():
            for number in range(3):
                found = shown(project, asset, number=number)
                numbers = {
                    name for name, value in found.items() if isinstance(value.value, int | float)
                }
                assert numbers == names, (asset, number)

    def test_every_layer_has_a_picture_and_every_artifact_a_preview(self, project: Project) -> None:
        config = project.configure()
        project.land(day(0), [event("a"), event("b"), event("a", ts=f"{day(0)}T23:59:59.9Z")])

        project.materialize(config, [day(0)])

        pictures = {asset: shown(project, asset)["picture"].value for asset in self.NUMBERS
                    if asset != "manifest"}  # fmt: skip
        assert all("](data:image/svg+xml;base64," in text for text in pictures.values())
        assert "most: 2 at 12:00" in pictures["canonical_events"]
        rows = {
            kind: cells(shown(project, kind)["preview"])
            for kind in config.surfaces[0].artifacts.kinds
        }
        assert rows == {
            "popularity": [["a", "Apple", "2"], ["b", "Banana", "1"]],
            "cooc": [["a", "Apple", "Banana", "1"], ["b", "Banana", "Apple", "1"]],
            "implicit": [["u1", "Apple", "2"], ["", "Banana", "1"]],
            "session_seq": [["u1", "Apple", "1"], ["", "Banana", "1"]],
            "content_sim": [["a", "Apple", "red, round"], ["b", "Banana", "yellow"]],
        }

    def test_all_hours_of_all_row_groups_are_counted(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(partition, "_ROW_GROUP_ROWS", 2)
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
        assert rows == [{"item_id": "a", "count": "2"}, {"item_id": "b", "count": "1"}]

    def test_the_catalog_is_parsed_once_for_all_assets_and_days_of_a_run(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure()
        land(project, 0, 1, 2)
        parsed = []
        columns_of = catalog._csv_columns

        def counted(text: str, path: str) -> Any:
            parsed.append(path)
            return columns_of(text, path)

        monkeypatch.setattr(catalog, "_csv_columns", counted)

        assert project.materialize(config, [day(0), day(1), day(2)]).succeeded
        assert len(parsed) == 1

    def test_the_first_day_has_nothing_to_be_compared_with(self, project: Project) -> None:
        config = project.configure()
        land(project, 0)

        project.materialize(config, [day(0)])

        found = shown(project, "manifest")
        assert found["compared"].value == "nothing was live before"
        assert "changes" not in found
        assert found["flipped"].value == 1
        sizes = [shown(project, kind)["size_bytes"].value for kind in self.NUMBERS
                 if kind not in {"canonical_events", "manifest"}]  # fmt: skip
        assert found["size_bytes"].value == sum(sizes)

    def test_a_day_shows_what_it_changed(self, project: Project) -> None:
        config = project.configure({"artifacts": {"popularity": {}, "implicit": {}}})
        land(project, 0)
        project.land(day(1), [event(item, of=day(1)) for item in "bcd"])
        project.materialize(config, [day(0)])

        project.materialize(config, [day(1)])

        found = shown(project, "manifest", number=1)
        assert found["compared"].value == f"generation 1 ({day(0)}) with 2 ({day(1)})"
        assert changed(found) == {
            "popularity items": ("2", "1"),
            "implicit users": ("0", "0"),
            "implicit items": ("2", "1"),
        }
        assert "not_compared" not in found
        assert observed(project) == []

    def test_a_day_that_changes_nothing_is_not_compared(self, project: Project) -> None:
        config = project.configure()
        land(project, 0)
        project.materialize(config, [day(0)])

        project.materialize(config, [day(0)])

        found = shown(project, "manifest")
        assert (found["outcome"].value, found["flipped"].value) == ("unchanged", 0)
        assert not {"changes", "compared"} & set(found)

    @pytest.mark.parametrize("last_is_bad", [False, True])
    def test_a_run_of_many_days_shows_what_it_changed_as_a_whole_once(
        self, project: Project, last_is_bad: bool
    ) -> None:
        """Also when its step fails for another day."""
        config = project.configure({"artifacts": {"popularity": {}, "content_sim": {}}})
        land(project, 0, 1)
        project.land(day(2), [event(item, of=day(2)) for item in "bcd"])
        project.materialize(config, [day(0)])
        days = [day(1), day(2)]
        for asset in ("canonical_events", "popularity", "content_sim"):
            for number in (1, 2):
                launch(project, config, asset, number=number)
        if last_is_bad:
            days.append(day(3))
        job = build_definitions(config).resolve_implicit_global_asset_job_def()

        result = job.execute_in_process(
            instance=project.instance,
            asset_selection=[dg.AssetKey(["demo", "home", "manifest"])],
            tags={
                "dagster/asset_partition_range_start": str(days[0]),
                "dagster/asset_partition_range_end": str(days[-1]),
            },
            raise_on_error=False,
        )

        assert result.success is not last_is_bad
        ((partition_key, found),) = observed(project)
        assert partition_key == str(day(2))
        assert found["compared"].value == f"generation 1 ({day(0)}) with 3 ({day(2)})"
        assert changed(found)["popularity items"] == ("2", "1")
        assert "changes" not in shown(project, "manifest", number=2)

    @pytest.mark.parametrize("days", [[1], [1, 2]])
    def test_a_damaged_document_of_the_day_before_never_fails_a_publish(
        self, project: Project, days: list[int]
    ) -> None:
        config = project.configure({"artifacts": {"popularity": {}, "content_sim": {}}})
        land(project, 0, *days)
        project.materialize(config, [day(0)])
        live = project.live(config)
        assert live is not None
        blob = Path(live.current["popularity"].removeprefix("file://"))
        blob.chmod(0o600)
        blob.write_bytes(b"\xff{")

        report = project.materialize(config, [day(number) for number in days])

        assert report.succeeded
        found = observed(project)[0][1] if len(days) > 1 else shown(project, "manifest", number=1)
        assert set(found["not_compared"].value) == {"popularity"}
        assert changed(found) == {"content_sim items": ("0", "0")}

    def test_a_document_that_is_too_large_to_be_compared_is_named(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(io_managers, "_MAX_COMPARED_BYTES", 100)
        config = project.configure({"artifacts": {"popularity": {}}})
        land(project, 0, 1)
        project.materialize(config, [day(0)])

        project.materialize(config, [day(1)])

        found = shown(project, "manifest", number=1)
        assert found["changes"].value == "none"
        assert "compared are at most 100" in found["not_compared"].value["popularity"]


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


def test_a_failing_surface_does_not_hold_back_another(project: Project) -> None:
    config = project.configure({"surface": "empty"}, {})
    land(project, 0)
    job = build_definitions(config).resolve_implicit_global_asset_job_def()

    result = job.execute_in_process(
        instance=project.instance, partition_key=str(day(0)), raise_on_error=False
    )

    assert not result.success
    assert project.live(config, surface=0) is None
    assert project.live(config, surface=1) is not None


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

        (warning,) = [e for e in result.get_asset_check_evaluations() if not e.passed]
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


class TestManifestRefuses:
    """What `manifest` launched alone must not publish."""

    def launch(self, project: Project, config: Any, number: int) -> Any:
        job = build_definitions(config).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=project.instance,
            partition_key=str(day(number)),
            asset_selection=[dg.AssetKey(["demo", "home", "manifest"])],
            raise_on_error=False,
        )
        (evaluation,) = result.get_asset_check_evaluations()
        assert evaluation.check_name == "publishable"
        return evaluation

    def test_a_kind_that_is_not_staged(self, project: Project) -> None:
        config = project.configure()

        evaluation = self.launch(project, config, 0)

        assert not evaluation.passed
        assert "cooc: no version is staged: materialize cooc" in evaluation.description
        assert project.live(config) is None

    def test_artifacts_of_other_events_than_are_accepted_now(self, project: Project) -> None:
        config = project.configure()
        land(project, 0)
        project.materialize(config, [day(0)])
        live = project.live(config)
        project.land(day(0), [event("new")], part=".2")
        job = build_definitions(config).resolve_implicit_global_asset_job_def()
        job.execute_in_process(
            instance=project.instance,
            partition_key=str(day(0)),
            asset_selection=[dg.AssetKey(["demo", "home", "canonical_events"])],
        )

        evaluation = self.launch(project, config, 0)

        assert not evaluation.passed
        assert "popularity: made of other events than are accepted now" in evaluation.description
        assert "content_sim" not in evaluation.description
        assert project.live(config) == live

    @pytest.mark.parametrize(
        ("changed", "problem"),
        [
            (
                {"window_days": 2},
                "popularity: made with another segment or window than is configured",
            ),
            ({"segment": "B"}, "popularity: no version is staged"),
            (
                {"guardrails": {"max_artifact_bytes": 10}},
                "guardrails.max_artifact_bytes is 10, found",
            ),
        ],
    )
    def test_what_no_longer_fits_the_configuration(
        self, project: Project, changed: dict[str, Any], problem: str
    ) -> None:
        config = project.configure()
        land(project, 0)
        project.materialize(config, [day(0)])
        live = project.live(config)

        evaluation = self.launch(project, project.configure(changed), 0)

        assert not evaluation.passed
        assert problem in evaluation.description
        assert project.live(config) == live

    def test_a_blob_that_was_altered_or_removed(self, project: Project) -> None:
        config = project.configure()
        land(project, 0, 1)
        project.materialize(config, [day(0)])
        first = project.live(config)
        assert first is not None
        project.materialize(config, [day(1)])
        live = project.live(config)
        altered = Path(first.current["cooc"].removeprefix("file://"))
        altered.write_text(altered.read_text().replace('"count":1', '"count":9'))
        Path(first.current["implicit"].removeprefix("file://")).unlink()

        evaluation = self.launch(project, config, 0)

        assert not evaluation.passed
        assert evaluation.metadata["failures"].value == 2
        assert "implicit: file://" in evaluation.description
        assert "is missing" in evaluation.description
        assert "was altered" in evaluation.description
        assert project.live(config) == live


def test_a_blob_altered_before_its_day_is_done_again_stops_the_day(project: Project) -> None:
    config = project.configure()
    land(project, 0)
    project.materialize(config, [day(0)])
    live = project.live(config)
    assert live is not None
    altered = Path(live.current["cooc"].removeprefix("file://"))
    altered.write_text(altered.read_text().replace('"count":1', '"count":9'))

    report = project.materialize(config, [day(0)])

    assert (0, "cooc", None) in failed(report)
    assert any("was altered after it was written" in f.description for f in report.failures)
    assert CorruptBlobError.__doc__
    assert project.live(config) == live


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

    assert failed(report) == {(0, "content_sim", "inputs")}
    assert message in report.failures[0].description
    assert "popularity" in report.metadata[day(0)]
    assert project.live(config) is None


def test_a_corrupt_raw_file_blocks_its_day_and_names_the_file(project: Project) -> None:
    config = project.configure()
    land(project, 0, 1)
    damaged = project.folder / f"raw/demo/home/exposure.{day(0)}.part.jsonl.gz"
    damaged.write_bytes(b"\x1f\x8b\x08\x00 this is not a gzip stream")

    report = project.materialize(config, [day(0), day(1)])

    assert failed(report) == {(0, "canonical_events", "inputs")}
    assert str(damaged) in report.failures[0].description
    assert report.published == [day(1)]


def test_ids_may_hold_anything_that_json_can(project: Project) -> None:
    config = project.configure()
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


def test_a_step_that_cannot_succeed_is_skipped_and_nothing_is_tried_again(project: Project) -> None:
    config = project.configure()

    report = project.materialize(config, [DAY])  # nothing landed

    (run_id,) = report.run_ids
    entries = project.instance.all_logs(run_id)
    events = [entry.dagster_event for entry in entries if entry.dagster_event]
    started = {event.step_key for event in events if event.event_type_value == "STEP_START"}
    said = "\n".join(entry.user_message for entry in entries)
    skipped = re.findall(r"Dependencies for step (\w+) failed: .* Not executing", said)
    # content_sim is made of the catalog.
    assert started == {"demo__home__canonical_events", "demo__home__content_sim"}
    blocked = {*config.surfaces[0].artifacts.kinds, "manifest"} - {"content_sim"}
    assert sorted(skipped) == sorted(f"demo__home__{name}" for name in blocked)
    assert not [event for event in events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert len(project.instance.get_runs()) == 1


def run_time_limit(project: Project, config: Config, *, tags: Mapping[str, str]) -> str:
    """Materialize the first layer of each surface in one run; return its limit in seconds."""
    job = build_definitions(config).resolve_implicit_global_asset_job_def()
    keys = [asset_key(surface, "canonical_events") for surface in config.surfaces]
    result = job.execute_in_process(
        instance=project.instance,
        asset_selection=keys,
        partition_key=str(DAY),
        tags=dict(tags),
        raise_on_error=False,
    )
    run = project.instance.get_run_by_id(result.run_id)
    assert run
    return run.tags["dagster/max_runtime"]


@pytest.mark.parametrize("minutes", [(7, 3), (3, 7)])
def test_run_monitoring_is_told_the_longest_time_of_the_surfaces_of_a_run(
    project: Project, minutes: tuple[int, int]
) -> None:
    config = project.configure(
        {"surface": "a", "max_run_minutes": minutes[0]},
        {"surface": "b", "max_run_minutes": minutes[1]},
    )

    assert run_time_limit(project, config, tags={}) == "420"


def test_who_launches_a_run_may_give_it_another_time(project: Project) -> None:
    config = project.configure({"max_run_minutes": 7})

    assert run_time_limit(project, config, tags={"dagster/max_runtime": "60"}) == "60"
