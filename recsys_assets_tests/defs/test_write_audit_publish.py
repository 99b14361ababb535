"""A day is computed, held to its checks, and only then stored; a bad one blocks itself alone."""

from __future__ import annotations

import errno
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from recsys_assets import kinds
from recsys_assets.audit import checks, events
from recsys_assets.audit.audited import Audited
from recsys_assets.audit.events import audit_events
from recsys_assets.audit.shared import Shared
from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs import assets
from recsys_assets.defs.internals import RANGE_END, RANGE_START, failure_message
from recsys_assets.defs.keys import asset_key, asset_names
from recsys_assets.errors import InputError
from recsys_assets.events.accepted import accept_day
from recsys_assets.events.days import ParsedDay
from recsys_assets.kinds import KINDS
from recsys_assets.storage import layout
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import history
from recsys_assets.verdicts import Check, Subject, Verdict, judge, passed, skipped
from recsys_assets.verdicts import failed as failed_because
from recsys_assets_tests.defs.looking import HOME, failed, land, materialized
from recsys_assets_tests.project import DAY, SMALL, Project, day, event

LEAN: dict[str, Any] = {"artifacts": {"popularity": {}}, "catalog": None}


def test_each_day_of_a_longer_run_has_its_own_data_version(project: Project) -> None:
    config = project.configure(SMALL)
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
    config = project.configure(SMALL)
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
    config = project.configure({**LEAN, "guardrails": {"max_backfill_days": 3}})
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
    config = project.configure(SMALL)
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
    config = project.configure({**SMALL, "guardrails": guardrail})
    project.land(
        day(0),
        [event("a"), event("b"), event("c", session_id="s2", user_id="u2"), "{not json"]
        if "max_rejected_share" in guardrail
        else [event("a"), event("b"), event("c", session_id="s2", user_id="u2")]
        # Of few sessions, a share is not sure yet.
        + [event(item, session_id=f"t{n}") for n in range(9) for item in "ab" if asset == "cooc"],
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
    config = project.configure(SMALL)
    land(project, 0)
    zero = pl.LazyFrame({"item_id": ["a"], "count": [0]})
    monkeypatch.setattr(kinds, "count_exposures", lambda *_, **__: zero)

    report = project.materialize(config, [day(0)])

    assert failed(report) == {(0, "popularity", "contract")}
    (failure,) = report.failures
    assert "greater_than_or_equal_to(1) (1)" in failure.description
    assert project.live(config) is None
    assert not any("popularity" in name for name in project.blobs())


def test_the_failed_check_shows_rule_number_and_rows(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = project.configure(SMALL)
    land(project, 0)
    zero = pl.LazyFrame({"item_id": ["a"], "count": [0]})
    monkeypatch.setattr(kinds, "count_exposures", lambda *_, **__: zero)
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


def test_a_blocked_rerun_leaves_what_was_published(project: Project) -> None:
    config = project.configure(SMALL)
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


def test_a_corrupt_raw_file_blocks_its_day_and_names_the_file(project: Project) -> None:
    config = project.configure(SMALL)
    land(project, 0, 1)
    damaged = project.folder / f"raw/demo/home/exposure.{day(0)}.part.jsonl.gz"
    damaged.write_bytes(b"\x1f\x8b\x08\x00 this is not a gzip stream")

    report = project.materialize(config, [day(0), day(1)])

    assert failed(report) == {(0, "canonical_events", "inputs")}
    assert str(damaged) in report.failures[0].description
    assert report.published == [day(1)]


def test_a_failing_surface_does_not_hold_back_another(project: Project) -> None:
    config = project.configure({**SMALL, "surface": "empty"}, SMALL)
    land(project, 0)
    job = build_definitions(config).resolve_implicit_global_asset_job_def()

    result = job.execute_in_process(
        instance=project.instance, partition_key=str(day(0)), raise_on_error=False
    )

    assert not result.success
    assert project.live(config, surface=0) is None
    assert project.live(config, surface=1) is not None


def test_a_step_that_cannot_succeed_is_skipped_and_nothing_is_tried_again(project: Project) -> None:
    config = project.configure()

    report = project.materialize(config, [DAY])  # nothing landed

    (run_id,) = report.run_ids
    entries = project.instance.all_logs(run_id)
    events = [entry.dagster_event for entry in entries if entry.dagster_event]
    started = {event.step_key for event in events if event.event_type_value == "STEP_START"}
    said = "\n".join(entry.user_message for entry in entries)
    skipped = re.findall(r"Dependencies for step (\w+) failed: .* Not executing", said)
    of_catalog = {kind.name for kind in KINDS.values() if kind.reads == "catalog"}
    assert "content_sim" in of_catalog
    assert started == {f"demo__home__{name}" for name in ("canonical_events", *of_catalog)}
    blocked = {*config.surfaces[0].artifacts.kinds, "manifest"} - of_catalog
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
        {**LEAN, "surface": "a", "max_run_minutes": minutes[0]},
        {**LEAN, "surface": "b", "max_run_minutes": minutes[1]},
    )

    assert run_time_limit(project, config, tags={}) == "420"


def test_who_launches_a_run_may_give_it_another_time(project: Project) -> None:
    config = project.configure({**LEAN, "max_run_minutes": 7})

    assert run_time_limit(project, config, tags={"dagster/max_runtime": "60"}) == "60"


def change_check(monkeypatch: pytest.MonkeyPatch, name: str, **changed: Any) -> None:
    """Change a row of the table of checks."""
    rows = [replace(row, **changed) if row.name == name else row for row in checks.CHECKS]
    assert name in {row.name for row in rows}
    monkeypatch.setattr(checks, "CHECKS", rows)


def add_check(monkeypatch: pytest.MonkeyPatch, asset: Subject, look: Any, **more: Any) -> None:
    """Add the row of a check `added` to the table."""
    row = Check("added", [asset], "Looks once more.", "validation-failed", look, **more)
    monkeypatch.setattr(checks, "CHECKS", [*checks.CHECKS, row])


def run(project: Project, config: Config, asset: str, *days: int) -> dg.ExecuteInProcessResult:
    """Materialize one asset of consecutive days, the checks of what is there now."""
    job = build_definitions(config).resolve_implicit_global_asset_job_def()
    first, last = str(day(days[0])), str(day(days[-1]))
    partitions: dict[str, Any] = (
        {"partition_key": first}
        if first == last
        else {"tags": {RANGE_START: first, RANGE_END: last}}
    )
    return job.execute_in_process(
        instance=project.instance,
        asset_selection=[asset_key(config.surfaces[0], asset)],
        raise_on_error=False,
        **partitions,
    )


def evaluated(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """Return what the checks of a run of one asset found, by name."""
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def days_made(result: dg.ExecuteInProcessResult) -> list[str | None]:
    return [
        event.step_materialization_data.materialization.partition
        for event in result.get_asset_materialization_events()
    ]


class TestForgottenChecks:
    """A check that is declared and gives no verdict refuses the day: it cannot be forgotten."""

    @pytest.mark.parametrize("days", [(0,), (0, 1, 2)])
    @pytest.mark.parametrize(
        ("asset", "check"),
        [
            ("canonical_events", "max_sessions"),
            ("popularity", "max_artifact_bytes"),
            ("manifest", "publishable"),
        ],
    )
    def test_one_that_looks_at_nothing_refuses_every_day(
        self,
        project: Project,
        monkeypatch: pytest.MonkeyPatch,
        days: tuple[int, ...],
        asset: str,
        check: str,
    ) -> None:
        config = project.configure(LEAN)
        land(project, *days)
        for upstream in asset_names(config.surfaces[0]):
            if upstream == asset:
                break
            assert run(project, config, upstream, *days).success
        before = project.blobs()
        change_check(monkeypatch, check, look=lambda _: None)

        result = run(project, config, asset, *days)

        assert not result.success
        assert days_made(result) == []
        assert project.blobs() == before
        assert project.live(config) is None
        found = evaluated(result)
        assert [name for name, each in found.items() if not each.passed] == [check]
        assert found[check].severity == dg.AssetCheckSeverity.ERROR
        said = found[check].metadata["failed_partitions"].value
        assert isinstance(said, dict)
        assert set(said) == {str(day(number)) for number in days}
        for text in said.values():
            assert text.startswith(f"check {check} gave no verdict, so the day is refused: ")

    def test_one_that_an_audit_leaves_out_refuses_that_day_and_no_other(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As if somebody had forgotten the limit just where it is exceeded."""
        config = project.configure({**LEAN, "guardrails": {"max_events": 3}})
        land(project, 0, 1, 2)
        project.land(day(1), [event("c", of=day(1))], part=".2")

        def forgetful(rows: Iterable[Check], facts: Any) -> dict[str, Verdict]:
            found = judge(rows, facts)
            return {name: each for name, each in found.items() if each.passed}

        monkeypatch.setattr(events, "judge", forgetful)

        report = project.materialize(config, [day(0), day(1), day(2)])

        assert failed(report) == {(1, "canonical_events", "max_events")}
        (failure,) = report.failures
        assert failure.description.startswith("check max_events gave no verdict, so the day is ")
        assert report.published == [day(0), day(2)]
        assert "canonical_events" not in report.metadata.get(day(1), {})
        assert project.store.read(layout.canonical(HOME, day(1))) is None

    def test_a_verdict_of_a_check_that_is_not_declared_breaks_the_step(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure(LEAN)
        land(project, 0)
        monkeypatch.setattr(events, "judge", lambda *_: {"unheard_of": passed()})

        report = project.materialize(config, [day(0)])

        assert failed(report) == {(0, "canonical_events", None)}
        (failure,) = report.failures
        assert "checks that are not declared: ['unheard_of']" in failure.description
        assert project.blobs() == {}


class TestWarnings:
    """A check that does not block warns, and its row alone says which kind it is."""

    @pytest.mark.parametrize("days", [(0,), (0, 1)])
    def test_a_check_that_does_not_block_warns_and_the_day_is_accepted(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, days: tuple[int, ...]
    ) -> None:
        config = project.configure(LEAN)
        land(project, *days)
        add_check(monkeypatch, "canonical_events", lambda _: failed_because("odd"), blocks=False)

        result = run(project, config, "canonical_events", *days)

        assert result.success
        assert days_made(result) == [str(day(number)) for number in days]
        warning = evaluated(result)["added"]
        assert not warning.passed
        assert not warning.blocking
        assert warning.severity == dg.AssetCheckSeverity.WARN
        assert "odd" in (warning.description or "")
        report = project.materialize(config, [day(number) for number in days])
        assert report.succeeded

    @pytest.mark.parametrize("blocks", [False, True])
    def test_whether_a_gap_in_the_window_refuses_the_day_stands_in_its_row(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, blocks: bool
    ) -> None:
        change_check(monkeypatch, "window_is_complete", blocks=blocks)
        config = project.configure({**LEAN, "window_days": 3})
        land(project, 0, 2)

        report = project.materialize(config, [day(0), day(1), day(2)])

        bad = {(1, "canonical_events", "min_events")}
        gap = {(2, "popularity", "window_is_complete")}
        assert failed(report) == (bad | gap if blocks else bad)
        assert report.published == ([day(0)] if blocks else [day(0), day(2)])
        result = run(project, config, "popularity", 2)
        assert result.success is not blocks
        found = evaluated(result)["window_is_complete"]
        assert not found.passed
        assert found.blocking is blocks
        assert found.severity == (
            dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN
        )


class TestSkippedChecks:
    """A check that had nothing to look at says so, unless the day is refused anyway."""

    @pytest.mark.parametrize("days", [(0,), (0, 1)])
    @pytest.mark.parametrize("accepted", [True, False])
    def test_it_is_shown_on_an_accepted_day_only(
        self,
        project: Project,
        monkeypatch: pytest.MonkeyPatch,
        days: tuple[int, ...],
        accepted: bool,
    ) -> None:
        config = project.configure({**LEAN, "guardrails": {"min_events": 1 if accepted else 100}})
        land(project, *days)
        change_check(monkeypatch, "max_users", look=lambda _: skipped("nobody is known"))

        result = run(project, config, "canonical_events", *days)

        assert result.success is accepted
        found = evaluated(result)
        assert found["max_sessions"].passed
        assert ("max_users" in found) is accepted
        if accepted:
            assert found["max_users"].passed
            if len(days) == 1:
                assert found["max_users"].description == "nobody is known"

    def test_an_artifact_that_breaks_its_contract_has_no_size(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure(LEAN)
        land(project, 0)
        assert run(project, config, "canonical_events", 0).success
        zero = pl.LazyFrame({"item_id": ["a"], "count": [0]})
        monkeypatch.setattr(kinds, "count_exposures", lambda *_, **__: zero)

        found = evaluated(run(project, config, "popularity", 0))

        assert not found["contract"].passed
        assert set(found) == {"inputs", "contract"}


@pytest.mark.parametrize("days", [(1,), (1, 2)])
def test_a_second_gate_of_the_manifest_holds_back_the_flip(
    project: Project, monkeypatch: pytest.MonkeyPatch, days: tuple[int, ...]
) -> None:
    config = project.configure(LEAN)
    land(project, 0, *days)
    assert project.materialize(config, [day(0)]).succeeded
    live = project.live(config)
    for asset in ("canonical_events", "popularity"):
        assert run(project, config, asset, *days).success
    add_check(monkeypatch, "manifest", lambda _: failed_because("not on a Friday"))

    result = run(project, config, "manifest", *days)

    assert not result.success
    assert days_made(result) == []
    assert project.live(config) == live
    found = evaluated(result)
    assert found["publishable"].passed
    assert not found["added"].passed
    assert found["added"].blocking
    assert found["added"].severity == dg.AssetCheckSeverity.ERROR
    assert "not on a Friday" in (found["added"].description or "")
    monkeypatch.undo()
    assert run(project, config, "manifest", *days).success
    assert project.live(config) != live


def test_a_day_whose_inputs_are_not_there_keeps_none_of_the_others(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = project.configure(LEAN)
    land(project, *range(6))

    def audit(
        store: Any, surface: Any, of: date, *, scratch: Path, shared: Shared, gates: Any
    ) -> Audited[ParsedDay]:
        if of == day(2):
            raise InputError("not there")
        return audit_events(store, surface, of, scratch, shared, gates)

    monkeypatch.setattr(assets, "audit_events", audit)

    result = run(project, config, "canonical_events", *range(6))

    assert days_made(result) == [str(day(number)) for number in (0, 1, 3, 4, 5)]
    first, *others = evaluated(result).values()
    assert (first.check_name, first.passed) == ("inputs", False)
    assert first.metadata["failed_partitions"].value == {str(day(2)): "not there"}
    assert others
    # Of the day itself they say nothing: there was nothing to look at.
    assert {(each.passed, each.metadata["partitions"].value) for each in others} == {(True, 5)}


def audits_going_on() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "audit"]


class TestAcceptingBreaks:
    """A day of a longer run that cannot be accepted, while the next ones are audited."""

    def test_the_audits_have_ended_before_their_directory_is_removed(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure(LEAN)
        land(project, *range(6))
        left: list[list[threading.Thread]] = []
        audited: list[date] = []
        broken: list[BaseException] = []
        real_scratch = LocalStore.scratch

        @contextmanager
        def scratch(store: LocalStore) -> Iterator[Path]:
            with real_scratch(store) as folder:
                try:
                    yield folder
                finally:
                    left.append(audits_going_on())

        def audit(
            store: Any, surface: Any, of: date, *, scratch: Path, shared: Shared, gates: Any
        ) -> Audited[ParsedDay]:
            if of > day(2):
                time.sleep(0.3)  # goes on when accepting breaks
            audited.append(of)
            try:
                return audit_events(store, surface, of, scratch, shared, gates)
            except BaseException as error:
                broken.append(error)
                raise

        def accept(store: Any, place: Any, parsed: ParsedDay) -> None:
            if parsed.day == day(2):
                raise OSError(errno.ENOSPC, "No space left on device")
            accept_day(store, place, parsed)

        monkeypatch.setattr(LocalStore, "scratch", scratch)
        monkeypatch.setattr(assets, "audit_events", audit)
        monkeypatch.setattr(assets, "accept_day", accept)

        result = run(project, config, "canonical_events", *range(6))

        assert left == [[]]
        assert broken == []
        assert day(3) in audited  # there was something to wait for
        assert not result.success
        key = asset_key(config.surfaces[0], "canonical_events")
        assert project.instance.get_materialized_partitions(key) == {str(day(0)), str(day(1))}
        (step,) = [each for each in result.all_events if each.is_step_failure]
        assert "No space left on device" in failure_message(step)
        said = "".join(map(str, project.instance.all_logs(result.run_id)))
        assert "No such file or directory" not in said
        assert "FileNotFoundError" not in said

    def test_an_interrupt_waits_for_no_audit(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure(LEAN)
        land(project, *range(3))
        go_on = threading.Event()

        def audit(
            store: Any, surface: Any, of: date, *, scratch: Path, shared: Shared, gates: Any
        ) -> Audited[ParsedDay]:
            if of > day(0):
                go_on.wait(60)
                raise InputError("as if the directory were gone")
            return audit_events(store, surface, of, scratch, shared, gates)

        def accept(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(assets, "audit_events", audit)
        monkeypatch.setattr(assets, "accept_day", accept)

        with pytest.raises(KeyboardInterrupt):
            project.materialize(config, [day(0), day(1), day(2)])

        hanging = audits_going_on()
        assert hanging
        go_on.set()
        for thread in hanging:
            thread.join(60)
