"""What takes the place of Dagster's instances in memory."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.storage.event_log import (
    InMemoryEventLogStorage,
    SqlEventLogStorage,
    SqlEventLogStorageMetadata,
)
from sqlalchemy import select

from recsys_assets_tests.instances import Events, Runs
from recsys_assets_tests.project import SMALL, Project, day, event


def test_instances_share_nothing_and_end_empty(project: Project) -> None:
    config = project.configure({"artifacts": {"popularity": {}}})
    project.land(config.surfaces[0].start_date, [event("a")])
    report = project.materialize(config, [config.surfaces[0].start_date])
    assert report.succeeded

    with dg.DagsterInstance.ephemeral() as other:
        assert isinstance(other.run_storage, Runs)
        assert isinstance(other.event_log_storage, Events)
        assert other.get_runs() == []
        assert other.all_asset_keys() == []
    (run,) = project.instance.get_runs()
    assert (run.run_id, run.status) == (report.run_ids[0], dg.DagsterRunStatus.SUCCESS)
    assert len(project.instance.all_asset_keys()) == 3


def test_what_is_written_together_is_what_dagster_writes_one_by_one(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of days that pass, warn and fail, in runs of one day and of several, and of no run."""
    one_by_one = InMemoryEventLogStorage()
    together = Events.store_event

    def store(self: Events, event: dg.EventLogEntry) -> None:
        together(self, event)
        SqlEventLogStorage.store_event(one_by_one, event)

    monkeypatch.setattr(Events, "store_event", store)
    config = project.configure({**SMALL, "guardrails": {"min_events": 2}})
    for number in (0, 2, 3):
        project.land(day(number), [event("a", of=day(number)), event("b", of=day(number))])
    project.land(day(1), [event("a", of=day(1)), "nonsense"])
    assert not project.materialize(config, [day(number) for number in range(3)]).succeeded
    assert project.materialize(config, [day(3)]).succeeded
    key = dg.AssetKey(["demo", "home", "manifest"])
    for passed in (True, False):
        evaluation = dg.AssetCheckEvaluation(key, "by_hand", passed, {})
        project.instance.report_runless_asset_event(evaluation)

    storage = project.instance.event_log_storage
    assert isinstance(storage, Events)
    written = rows(storage)
    assert written == rows(one_by_one)
    assert {"FAILED", "SUCCEEDED"} <= {row[5] for row in written["asset_check_executions"]}


def rows(storage: SqlEventLogStorage) -> dict[str, list[tuple[object, ...]]]:
    """Return all that is stored, but for when a row was made."""
    with storage.index_connection() as connection:
        return {
            name: [
                tuple(row)
                for row in connection.execute(
                    select(*(of for of in table.c if of.name != "create_timestamp"))
                )
            ]
            for name, table in SqlEventLogStorageMetadata.tables.items()
        }
