"""What a report says of a failed run: what failed, why, and on which days."""

from __future__ import annotations

from datetime import date
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from recsys_assets.audit import events
from recsys_assets.defs.reports import _days, failures_of, report_of
from recsys_assets_tests.project import DAY, Project, day, event

SMALL: dict[str, Any] = {"artifacts": {"popularity": {}}, "catalog": None}


def test_a_check_that_only_warns_is_not_told(project: Project) -> None:
    config = project.configure({**SMALL, "window_days": 2, "guardrails": {"max_artifact_bytes": 1}})
    project.land(day(1), [event("a", of=day(1))])  # the day before is missing
    run_id = project.materialize(config, [day(1)]).run_ids[0]
    run = project.instance.get_run_by_id(run_id)
    assert run

    report = report_of(run, failures_of(project.instance, run, config), config)

    assert [failure["check"] for failure in report["failures"]] == ["max_artifact_bytes"]


def test_a_day_whose_other_checks_had_nothing_to_look_at_is_told_by_the_one_that_failed(
    project: Project,
) -> None:
    config = project.configure(SMALL)
    project.land(DAY, [event("a")]).with_suffix(".jsonl.gz").write_bytes(b"cut")
    run_id = project.materialize(config, [DAY]).run_ids[0]
    run = project.instance.get_run_by_id(run_id)
    assert run

    report = report_of(run, failures_of(project.instance, run, config), config)

    assert [failure["check"] for failure in report["failures"]] == ["inputs"]


def test_a_step_that_hung_is_named_with_why_it_was_ended(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(*_: object, **__: object) -> None:
        (run,) = project.instance.get_runs()
        project.instance.report_run_canceling(run, "Canceling after 60 seconds.")
        raise DagsterExecutionInterruptedError  # what the daemon does to it

    config = project.configure(SMALL)
    project.land(DAY, [event("a")])
    monkeypatch.setattr(events, "parse_day", hangs)
    with pytest.raises(KeyboardInterrupt):
        project.materialize(config, [DAY])
    (run,) = project.instance.get_runs()
    project.instance.report_run_failed(run, "Exceeded maximum runtime of 60 seconds.")

    report = report_of(run, failures_of(project.instance, run, config), config)

    (failure,) = report["failures"]
    assert failure["asset"] == "demo/home/canonical_events"
    said = "Canceling after 60 seconds. Exceeded maximum runtime of 60 seconds."
    assert failure["error"] == said


def test_days_of_a_run_are_those_of_its_tags() -> None:
    first, last = date(2026, 1, 30), date(2026, 2, 1)
    tags = {
        "dagster/asset_partition_range_start": str(first),
        "dagster/asset_partition_range_end": str(last),
    }

    days = _days(dg.DagsterRun("__ASSET_JOB", tags=tags))

    assert days == ["2026-01-30", "2026-01-31", "2026-02-01"]
