"""How a range of days is cut into runs, and what becomes of days that fail or break."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.config import Config
from recsys_assets.defs import materialize as materialize_module
from recsys_assets.defs.materialize import Complaint, RangeResult, _ranges
from recsys_assets.live.history import publications
from recsys_assets.storage.flips import actor
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.project import Project, day, event

NO_SPACE = "No space left on device"
SMALL = {"artifacts": {"popularity": {}, "cooc": {"min_support": 1}}, "catalog": None}


def land(project: Project, *days: int) -> None:
    for number in days:
        project.land(day(number), [event("a", of=day(number)), event("b", of=day(number))])


def days(*numbers: int) -> list[date]:
    return [day(number) for number in numbers]


def failed(report: RangeResult) -> list[tuple[int, str, str | None]]:
    return [((f.day - day(0)).days, f.asset, f.check) for f in report.failures]


def ranges(
    missing: dict[int, str], cuts: Collection[int] = (), limit: int = 400
) -> list[tuple[set[str], int, int]]:
    """Call `_ranges` with days as numbers and assets as letters."""
    by_day = {day(n): set(assets) for n, assets in missing.items()}
    found = _ranges(by_day, [day(n) for n in cuts], limit=limit)
    return [(a, (first - day(0)).days, (last - day(0)).days) for a, first, last in found]


class TestRanges:
    """Which days share a run."""

    @pytest.mark.parametrize(
        ("missing", "expected"),
        [
            ({}, []),
            ({0: ""}, []),
            ({0: "ab"}, [("ab", 0, 0)]),
            ({0: "ab", 1: "ab", 2: "ab"}, [("ab", 0, 2)]),
            ({2: "ab", 0: "ab", 1: "ab"}, [("ab", 0, 2)]),
            ({0: "ab", 1: "", 2: "ab"}, [("ab", 0, 0), ("ab", 2, 2)]),
            ({0: "ab", 1: "b", 2: "b", 3: "ab"}, [("ab", 0, 0), ("b", 1, 2), ("ab", 3, 3)]),
            ({0: "a", 5: "a"}, [("a", 0, 0), ("a", 5, 5)]),
        ],
    )
    def test_consecutive_days_that_miss_the_same_share_a_run(
        self, missing: dict[int, str], expected: list[tuple[str, int, int]]
    ) -> None:
        assert ranges(missing) == [(set(a), first, last) for a, first, last in expected]

    def test_no_run_reaches_across_a_cut(self) -> None:
        missing = dict.fromkeys(range(5), "a")

        assert ranges(missing, [0, 2, 4]) == [({"a"}, 0, 1), ({"a"}, 2, 3), ({"a"}, 4, 4)]

    def test_no_run_has_more_days_than_the_limit(self) -> None:
        missing = dict.fromkeys(range(5), "a")

        assert ranges(missing, limit=2) == [({"a"}, 0, 1), ({"a"}, 2, 3), ({"a"}, 4, 4)]

    @given(
        st.dictionaries(st.integers(0, 12), st.sampled_from(["", "a", "b", "ab"])),
        st.sets(st.integers(0, 12)),
    )
    def test_every_day_is_planned_once_with_exactly_what_it_misses(
        self, missing: dict[int, str], cuts: set[int]
    ) -> None:
        planned = [
            (number, assets)
            for assets, first, last in ranges(missing, cuts)
            for number in range(first, last + 1)
        ]

        assert planned == [(n, set(missing[n])) for n in sorted(missing) if missing[n]]

    @given(
        st.dictionaries(st.integers(0, 12), st.sampled_from(["", "a", "b", "ab"])),
        st.sets(st.integers(0, 12)),
    )
    def test_there_is_no_run_that_could_have_been_part_of_the_one_before(
        self, missing: dict[int, str], cuts: set[int]
    ) -> None:
        found = ranges(missing, cuts)

        for (before, _, last), (after, first, _) in pairwise(found):
            assert before != after or first != last + 1 or first in cuts

    def test_what_is_planned_is_a_copy(self) -> None:
        missing = {day(0): {"a"}}
        ((assets, _, _),) = _ranges(missing, limit=1)
        missing[day(0)].clear()

        assert assets == {"a"}


class TestBadDays:
    """Days that fail a check."""

    def test_a_range_without_a_bad_day_is_one_run_a_layer(self, project: Project) -> None:
        config = project.configure(SMALL)
        land(project, 0, 1, 2)

        report = project.materialize(config, days(0, 1, 2))

        assert report.succeeded
        assert report.published == days(0, 1, 2)
        assert len(report.run_ids) == 3  # events, artifacts, manifest
        for run_id in report.run_ids:
            run = project.instance.get_run_by_id(run_id)
            assert run is not None
            assert run.status == dg.DagsterRunStatus.SUCCESS
            assert run.tags["dagster/asset_partition_range_start"] == str(day(0))
            assert run.tags["dagster/asset_partition_range_end"] == str(day(2))

    @pytest.mark.parametrize("of", [[0], [0, 1]])
    def test_runs_say_where_they_belong_and_who_launched_them(
        self, project: Project, of: list[int]
    ) -> None:
        """The UI opens with the runs of its code location; the daemon leaves these alone."""
        workspace = yaml.safe_load((Path(__file__).parents[2] / "workspace.yaml").read_text())
        (location,) = (each["python_module"]["location_name"] for each in workspace["load_from"])
        config = project.configure(SMALL)
        land(project, *of)

        report = project.materialize(config, days(*of))

        assert report.run_ids
        for run_id in report.run_ids:
            run = project.instance.get_run_by_id(run_id)
            assert run is not None
            assert run.remote_job_origin is not None
            assert run.remote_job_origin.location_name == location
            assert run.tags["user"] == actor()
            assert run.tags["dagster/max_retries"] == "0"

    def test_a_single_day_is_one_run(self, project: Project) -> None:
        config = project.configure(SMALL)
        land(project, 0)

        report = project.materialize(config, days(0))

        assert report.succeeded
        assert len(report.run_ids) == 1

    def test_scattered_bad_days_cost_a_run_for_each_gap_and_nothing_is_done_twice(
        self, project: Project
    ) -> None:
        config = project.configure(SMALL)
        land(project, 0, 3, 4, 6)

        report = project.materialize(config, days(0, 1, 2, 3, 4, 5, 6))

        assert failed(report) == [(n, "canonical_events", "min_events") for n in (1, 2, 5)]
        assert report.published == days(0, 3, 4, 6)
        # The events of all days; the rest of day 0; of 3 to 4 and of 6 artifacts, then manifest.
        assert len(report.run_ids) == 6
        for name in ("canonical_events", "popularity", "cooc", "manifest"):
            key = dg.AssetKey(["demo", "home", name])
            records = project.instance.fetch_materializations(key, limit=100).records
            assert sorted(r.partition_key or "" for r in records) == list(
                map(str, days(0, 3, 4, 6))
            )

    @pytest.mark.parametrize(
        ("window_days", "holes"),
        [
            *((1, holes) for holes in [(3,), (0, 2), (2, 4, 5, 6)]),
            (3, (1, 3, 4)),
        ],
    )
    def test_days_are_published_in_order_across_holes(
        self, project: Project, holes: tuple[int, ...], window_days: int
    ) -> None:
        """Otherwise the later one is live first, and the others never were."""
        config = project.configure({**SMALL, "window_days": window_days})
        there = [number for number in range(7) if number not in holes]
        land(project, *there)

        report = project.materialize(config, days(*range(7)))

        assert [report.outcome(of) for of in days(*range(7))] == [
            "no files" if number in holes else "published" for number in range(7)
        ]
        assert published(project, config) == days(*there)

    def test_a_breakdown_of_an_early_day_does_not_let_a_later_one_go_first(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is tried again in smaller ranges, and only then given up."""
        config = project.configure(SMALL)
        land(project, 0, 1, 3)
        broken = iter([True, False])

        def once(key: str) -> BaseException | None:
            is_flip = "registry/publications/" in key
            return OSError(errno.ENOSPC, NO_SPACE) if is_flip and next(broken, False) else None

        break_store(monkeypatch, "put_new", once)

        report = project.materialize(config, days(0, 1, 2, 3))

        assert report.published == days(0, 1, 3)
        assert published(project, config) == days(0, 1, 3)

    def test_what_is_staged_only_is_not_counted_as_published(self, project: Project) -> None:
        config = project.configure(SMALL)
        land(project, 2)
        project.materialize(config, days(2))
        land(project, 0, 1)
        project.land(day(2), [event("a", of=day(2))])

        report = project.materialize(config, days(0, 1, 2, 3))

        assert [report.outcome(of) for of in days(0, 1, 2, 3)] == [
            "superseded", "superseded", "published", "no files",
        ]  # fmt: skip
        assert (report.published, report.done) == (days(2), days(0, 1, 2))

    @pytest.mark.parametrize("damage", ["bad line", "too few"])
    def test_a_day_with_files_is_not_without_files(self, project: Project, damage: str) -> None:
        config = project.configure({**SMALL, "guardrails": {"max_rejected_share": 1.0}})
        project.land(day(0), ["{"] if damage == "bad line" else [])

        report = project.materialize(config, days(0, 1))

        assert [report.outcome(of) for of in days(0, 1)] == ["blocked", "no files"]

    def test_every_run_of_the_report_is_on_the_instance_and_no_other(
        self, project: Project
    ) -> None:
        config = project.configure(SMALL)
        land(project, 0, 2)

        report = project.materialize(config, days(0, 1, 2))

        assert len(report.run_ids) == 3
        assert {run.run_id for run in project.instance.get_runs()} == set(report.run_ids)

    def test_an_artifact_that_fails_on_some_days_blocks_their_manifests_and_no_other_kind(
        self, project: Project
    ) -> None:
        limits = {"max_items_per_session": 2, "max_oversized_session_share": 0.0}
        config = project.configure({**SMALL, "guardrails": limits})
        land(project, 0, 2, 4)
        for number in (1, 3):
            project.land(day(number), [event(item, of=day(number)) for item in "abc"])

        report = project.materialize(config, days(0, 1, 2, 3, 4))

        assert failed(report) == [(n, "cooc", "max_oversized_session_share") for n in (1, 3)]
        assert report.published == days(0, 2, 4)
        for number in (1, 3):
            assert set(report.metadata[day(number)]) == {"canonical_events", "popularity"}

    def test_a_day_that_is_bad_in_two_ways_reports_both(self, project: Project) -> None:
        config = project.configure(
            {**SMALL, "guardrails": {"max_events": 1, "max_distinct_items": 1}}
        )
        land(project, 0)

        report = project.materialize(config, days(0))

        assert failed(report) == [
            (0, "canonical_events", "max_events"),
            (0, "canonical_events", "max_distinct_items"),
        ]

    def test_content_sim_needs_no_good_events_and_the_manifest_does(self, project: Project) -> None:
        config = project.configure({"artifacts": {"popularity": {}, "content_sim": {}}})
        land(project, 0)

        report = project.materialize(config, days(0, 1))

        assert report.published == days(0)
        assert set(report.metadata[day(1)]) == {"content_sim"}

    def test_a_range_of_bad_days_only_ends(self, project: Project) -> None:
        config = project.configure(SMALL)

        report = project.materialize(config, days(0, 1, 2))

        assert len(report.failures) == 3
        assert report.published == []
        assert len(report.run_ids) == 1


def published(project: Project, config: Config) -> list[date]:
    """Return the days that were live one after the other, oldest first."""
    (surface,) = config.surfaces
    chain = publications(project.store, surface, limit=100)
    return [each.window.last_day for each in reversed(chain)]


class TestOtherInstance:
    """The root says which days there are, whatever the Dagster instance knows."""

    def test_late_data_reaches_every_window_that_holds_it(self, project: Project) -> None:
        config = project.configure({**SMALL, "window_days": 3})
        land(project, 0, 1, 2, 4)
        project.materialize(config, days(0, 1, 2))
        project.materialize(config, days(4))
        before = project.live(config)
        project.land(day(0), [event("late", of=day(0))], part="-2")
        with dg.DagsterInstance.ephemeral() as other:
            report = Project(project.folder, other).materialize(config, days(0))

        assert report.days == days(0, 1, 2)
        project.land(day(2), [event("late", of=day(2))], part="-2")
        with dg.DagsterInstance.ephemeral() as other:
            report = Project(project.folder, other).materialize(config, days(2))

        assert report.days == days(2, 4)
        assert report.outcome(day(4)) == "published"
        live = project.live(config)
        assert live
        assert before
        assert live.current != before.current
        assert live.window
        assert live.window.last_day == day(4)


Raises = Callable[[str], BaseException | None]


def break_store(monkeypatch: pytest.MonkeyPatch, method: str, error_of: Raises) -> None:
    """Make a method of the store raise what `error_of` says about its key."""
    original = getattr(LocalStore, method)

    def broken(self: LocalStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if error := error_of(key):
            raise error
        return original(self, key, *args, **kwargs)

    monkeypatch.setattr(LocalStore, method, broken)


def disk_is_full(*parts: str) -> Raises:
    """Raise ENOSPC for keys that hold one of the parts."""
    return lambda key: (
        OSError(errno.ENOSPC, NO_SPACE) if any(part in key for part in parts) else None
    )


class TestBrokenSteps:
    """Steps that raise what no check knows."""

    @pytest.mark.parametrize("bad", [[0], [1, 3]])
    def test_days_that_break_a_step_do_not_hold_back_the_others(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, bad: Sequence[int]
    ) -> None:
        config = project.configure(SMALL)
        land(project, 0, 1, 2, 3)
        keys = [f"staged/demo/home/default/popularity/{day(n)}" for n in bad]
        break_store(monkeypatch, "replace", disk_is_full(*keys))

        report = project.materialize(config, days(0, 1, 2, 3))

        assert failed(report) == [(n, "popularity", None) for n in bad]
        assert report.published == [day(n) for n in range(4) if n not in bad]
        assert all(NO_SPACE in f.description for f in report.failures)

    @pytest.mark.parametrize(
        ("method", "part", "asset"),
        [
            ("replace", "canonical/", "canonical_events"),
            ("put_new", "objectstore/demo/home/cooc", "cooc"),
            ("put_new", "registry/publications/", "manifest"),
        ],
    )
    def test_a_disk_that_is_full_for_every_day_ends_with_every_day_named(
        self,
        project: Project,
        monkeypatch: pytest.MonkeyPatch,
        method: str,
        part: str,
        asset: str,
    ) -> None:
        config = project.configure(SMALL)
        land(project, 0, 1)
        break_store(monkeypatch, method, disk_is_full(part))

        report = project.materialize(config, days(0, 1))

        assert failed(report) == [(0, asset, None), (1, asset, None)]
        assert report.failures[0].description == f"OSError: [Errno {errno.ENOSPC}] {NO_SPACE}"
        assert report.published == []
        assert project.live(config) is None

    def test_a_range_is_halved_only_so_often(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(materialize_module, "_MOST_CUTS", 1)
        config = project.configure(SMALL)
        land(project, *range(8))
        break_store(monkeypatch, "replace", disk_is_full("canonical/"))

        report = project.materialize(config, days(*range(8)))

        assert failed(report) == [(n, "canonical_events", None) for n in range(8)]
        assert len(report.run_ids) == 3

    def test_a_step_that_breaks_once_is_tried_again(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure(SMALL)
        land(project, 0, 1)
        errors: list[BaseException] = [OSError(errno.EIO, "Input/output error")]
        break_store(
            monkeypatch,
            "put_new",
            lambda key: errors.pop() if "/popularity/" in key and errors else None,
        )

        report = project.materialize(config, days(0, 1))

        assert not errors
        assert report.succeeded
        assert len(report.run_ids) == 4  # events; artifacts; popularity once more; manifest

    def test_content_sim_is_tried_again_also_on_a_day_without_good_events(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure({"artifacts": {"popularity": {}, "content_sim": {}}})
        errors: list[BaseException] = [OSError(errno.EIO, "Input/output error")]
        break_store(
            monkeypatch,
            "put_new",
            lambda key: errors.pop() if "/content_sim/" in key and errors else None,
        )

        report = project.materialize(config, days(0))

        assert not errors
        assert failed(report) == [(0, "canonical_events", "min_events")]
        assert set(report.metadata[day(0)]) == {"content_sim"}

    def test_a_broken_step_and_a_failed_check_are_both_reported(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure(SMALL)
        land(project, 0, 2)
        break_store(monkeypatch, "put_new", disk_is_full("objectstore/demo/home/cooc"))

        report = project.materialize(config, days(0, 1, 2))

        assert failed(report) == [
            (0, "cooc", None), (1, "canonical_events", "min_events"), (2, "cooc", None),
        ]  # fmt: skip
        assert "popularity" in report.metadata[day(0)]

    def test_what_ended_the_step_is_told_without_dagsters_wrapping_and_without_its_cause(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Our errors quote what of their cause may be told."""
        config = project.configure(SMALL)
        land(project, 0)

        def chained(key: str) -> BaseException | None:
            if "canonical/" not in key:
                return None
            error = RuntimeError("could not write")
            error.__cause__ = PermissionError(errno.EACCES, "Permission denied", "/srv/var")
            return error

        break_store(monkeypatch, "replace", chained)

        report = project.materialize(config, days(0))

        assert report.failures == [
            Complaint(day(0), "canonical_events", None, "RuntimeError: could not write")
        ]

    def test_an_interruption_ends_everything_at_once(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure(SMALL)
        land(project, 0, 1)

        over = threading.Event()

        def interrupt(key: str) -> BaseException | None:
            # The thread of the step goes on, and writes more while the run ends and after that.
            if "/popularity/" in key and not over.is_set():
                os.kill(os.getpid(), signal.SIGINT)
            return None

        break_store(monkeypatch, "put_new", interrupt)

        def materialize() -> None:
            try:
                project.materialize(config, days(0, 1))
            finally:
                over.set()

        with pytest.raises(KeyboardInterrupt):
            materialize()

        assert len(project.instance.get_runs()) == 2  # events, and the artifacts it came in
        assert project.live(config) is None


class TestRangeResult:
    """What counts as success."""

    def test_a_day_is_published_when_its_manifest_is(self, project: Project) -> None:
        surface = project.configure().surfaces[0]
        report = RangeResult(surface, days(0, 1))
        report.metadata = {
            day(0): {"manifest": {"outcome": "published"}},
            day(1): {"popularity": {}},
        }

        assert report.published == days(0)
        assert not report.succeeded

    def test_a_failure_is_no_success_even_when_every_day_is_published(
        self, project: Project
    ) -> None:
        surface = project.configure().surfaces[0]
        report = RangeResult(surface, days(0), metadata={day(0): {"manifest": {}}})
        assert report.succeeded
        report.failures.append(Complaint(day(0), "cooc", None, "broke"))

        assert not report.succeeded


def test_two_surfaces_with_other_days_do_not_meet(project: Project, tmp_path: Path) -> None:
    late = {"surface": "late", "start_date": day(0) + timedelta(days=10)}
    config = project.configure(SMALL, {**SMALL, **late})
    land(project, 0)

    report = project.materialize(config, days(0))

    assert report.succeeded
    assert project.live(config, surface=1) is None


def test_days_that_follow_a_range_at_the_limit_are_made_in_a_run_of_their_own(
    project: Project,
) -> None:
    config = project.configure(
        {"window_days": 3, "guardrails": {"max_backfill_days": 3}, "artifacts": {"popularity": {}}}
    )
    for number in range(5):
        project.land(day(number), [event("a", of=day(number))])
    assert project.materialize(config, [day(0), day(1), day(2)]).succeeded
    assert project.materialize(config, [day(3), day(4)]).succeeded

    report = project.materialize(config, [day(0), day(1), day(2)])

    assert report.succeeded
    assert list(report.days) == [day(number) for number in range(5)]
