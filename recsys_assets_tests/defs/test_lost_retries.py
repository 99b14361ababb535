"""Runs that the daemon could not start again, since their code server was away."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import PARENT_BACKFILL_ID_TAG, ROOT_BACKFILL_ID_TAG
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import (
    consume_new_runs_for_automatic_reexecution,
    filter_runs_to_should_retry,
)

from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs import internals, lost_retries
from recsys_assets.defs.keys import asset_key, partitions_of
from recsys_assets_tests.project import Project, day
from recsys_assets_tests.ui.dagster_servers import ROOT

NOTHING = "No retry was lost."
EARLIER = "earlier"
DAYS = [str(day(number)) for number in range(3)]


class Away:
    """What the daemon has of the code while its server is away."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def create_request_context(self) -> Any:
        raise DagsterUserCodeUnreachableError("Could not reach user code server")


@dataclass
class Installation:
    """An instance whose daemon starts runs again, and the sensor with its cursor."""

    config: Config
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    cursor: str | None = None

    def keys(self, *names: str) -> set[dg.AssetKey]:
        return {asset_key(self.config.surfaces[0], name) for name in names}

    def failed_run(self, backfill: str | None = None, *, died: bool = True) -> str:
        """Let a run fail of which canonical events are asked; return its id."""
        keys = self.keys("canonical_events")
        run = self.instance.create_run_for_job(
            self.definitions.resolve_implicit_global_asset_job_def(),
            tags={internals.BACKFILL: backfill} if backfill else {},
            asset_selection=frozenset(keys),
        )
        reason = None if died else RunFailureReason.STEP_FAILURE
        why = JobFailureData(None, reason) if reason else None
        self.instance.report_run_failed(run, job_failure_data=why)
        return run.run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run
        return run

    def daemon_looks(self, run_id: str) -> None:
        """Let Dagster's daemon try to start a run again while the code server is away."""
        records = self.instance.get_run_records(dg.RunsFilter([run_id]))
        away: Any = Away(self.instance)
        [*consume_new_runs_for_automatic_reexecution(away, records, logging.getLogger("quiet"))]

    def is_to_be_retried(self, run_id: str) -> bool:
        """Tell whether the daemon would start it again when it looks next."""
        return bool([*filter_runs_to_should_retry([self.run(run_id)], self.instance)])

    def tick(self) -> str:
        (sensor,) = lost_retries.build_lost_retries(self.config).sensors or ()
        assert isinstance(sensor, dg.SensorDefinition)
        with dg.build_sensor_context(self.instance, cursor=self.cursor) as context:
            said = sensor(context)
            self.cursor = context.cursor
        assert isinstance(said, dg.SkipReason)
        assert said.skip_message
        return said.skip_message

    def backfill(self, made: set[dg.AssetKey] | None = None) -> str:
        """Launch a backfill of three layers; return its id."""
        backfill = PartitionBackfill.from_asset_graph_subset(
            backfill_id=EARLIER,
            backfill_timestamp=time.time(),
            tags={"mine": "yes"},
            dynamic_partitions_store=self.instance,
            asset_graph_subset=self.days_of(
                self.keys("canonical_events", "popularity", "manifest")
            ),
            title="of a person",
            description=None,
            run_config=None,
        )
        self.instance.add_backfill(backfill)
        if made:
            self.has_made(made)
        return EARLIER

    def days_of(self, keys: set[dg.AssetKey]) -> AssetGraphSubset:
        days = partitions_of(self.config.surfaces[0]).subset_with_partition_keys(DAYS)
        return AssetGraphSubset(  # type: ignore[call-arg]
            non_partitioned_asset_keys=set(),
            partitions_subsets_by_asset_key=dict.fromkeys(keys, days),
        )

    def has_made(self, keys: set[dg.AssetKey]) -> None:
        """Let all days of some assets of the backfill be made."""
        backfill = self.instance.get_backfill(EARLIER)
        assert backfill
        assert backfill.asset_backfill_data
        changed = backfill.asset_backfill_data._replace(materialized_subset=self.days_of(keys))
        self.instance.update_backfill(
            backfill.with_asset_backfill_data(
                changed,
                dynamic_partitions_store=self.instance,
                asset_graph=self.definitions.resolve_asset_graph(),
            )
        )

    def ends(self, status: BulkActionStatus) -> None:
        """Let the backfill end."""
        backfill = self.instance.get_backfill(EARLIER)
        assert backfill
        self.instance.update_backfill(backfill.with_status(status))  # type: ignore[no-untyped-call]

    def later_backfills(self) -> list[PartitionBackfill]:
        return [each for each in self.instance.get_backfills() if each.backfill_id != EARLIER]


@pytest.fixture
def installation(project: Project) -> Iterator[Installation]:
    config = project.configure({"artifacts": {"popularity": {}}, "catalog": None})
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    settings = {"run_retries": settings["run_retries"]}
    with dg.DagsterInstance.ephemeral(settings=settings) as instance:
        made = Installation(config, instance, build_definitions(config))
        assert made.tick() == "Looks at the runs that fail from now on."
        yield made


def test_a_retry_that_was_lost_is_asked_for_again(installation: Installation) -> None:
    run_id = installation.failed_run()
    assert installation.is_to_be_retried(run_id)
    installation.daemon_looks(run_id)
    assert not installation.is_to_be_retried(run_id)

    assert installation.tick() == f"run {run_id[:8]}: is to be started again"

    assert installation.is_to_be_retried(run_id)
    assert installation.run(run_id).status is dg.DagsterRunStatus.FAILURE


def test_it_waits_for_the_daemon_to_look_and_forgets_no_run(installation: Installation) -> None:
    earlier, later = installation.failed_run(), installation.failed_run()
    installation.daemon_looks(later)

    assert installation.tick() == f"run {later[:8]}: is to be started again"
    assert installation.tick() == NOTHING

    installation.daemon_looks(earlier)
    assert installation.tick() == f"run {earlier[:8]}: is to be started again"


def test_a_retry_that_is_lost_again_and_again_is_given_up(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_retries, "_MOST_TIMES", 2)
    run_id = installation.failed_run()
    for _ in range(2):
        installation.daemon_looks(run_id)
        assert installation.tick() != NOTHING

    installation.daemon_looks(run_id)

    assert installation.tick() == NOTHING


@pytest.mark.parametrize("kind", ["a step failed", "started again", "of others", "canceled"])
def test_other_runs_are_left_alone(installation: Installation, kind: str) -> None:
    run_id = installation.failed_run(died=kind != "a step failed")
    installation.daemon_looks(run_id)
    if kind == "of others":
        (entry,) = installation.config.surfaces
        other = entry.model_copy(update={"surface": "elsewhere"})
        installation.config = installation.config.model_copy(update={"surfaces": (other,)})
    if kind == "started again":
        installation.instance.add_run_tags(run_id, {internals.RETRIED_AS: "another"})
    if kind == "canceled":
        installation.instance.report_run_canceled(installation.run(run_id))

    assert installation.tick() == NOTHING
    assert not installation.is_to_be_retried(run_id)


def test_a_run_of_long_ago_does_not_hold_the_cursor(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = installation.failed_run()  # nobody ever looks at it
    before = installation.cursor
    assert installation.tick() == NOTHING
    assert installation.cursor == before
    monkeypatch.setattr(lost_retries, "OLDEST", timedelta(0))

    assert installation.tick() == NOTHING

    assert installation.cursor != before
    assert installation.is_to_be_retried(run_id)


@pytest.mark.parametrize("ended", [BulkActionStatus.COMPLETED_FAILED, BulkActionStatus.FAILED])
def test_what_a_backfill_has_not_made_is_launched_again_once(
    installation: Installation, ended: BulkActionStatus
) -> None:
    earlier = installation.backfill(made=installation.keys("canonical_events"))
    one, other = installation.failed_run(earlier), installation.failed_run(earlier)
    for run_id in (one, other):
        installation.daemon_looks(run_id)
    assert installation.tick() == NOTHING  # it goes on
    installation.ends(ended)

    said = installation.tick()

    (again,) = installation.later_backfills()
    assert said == (
        f"run {one[:8]}: what backfill earlier has not made is launched again as "
        f"{again.backfill_id}"
    )
    assert again.status is BulkActionStatus.REQUESTED
    assert again.tags == {
        "mine": "yes",
        PARENT_BACKFILL_ID_TAG: EARLIER,
        ROOT_BACKFILL_ID_TAG: EARLIER,
    }
    assert again.title == "Re-execution of of a person"
    data = again.asset_backfill_data
    assert data
    assert {*data.target_subset.asset_keys} == installation.keys("popularity", "manifest")
    for key in data.target_subset.asset_keys:
        found = data.target_subset.get_partitions_subset(key)
        assert [*found.get_partition_keys()] == DAYS
    assert not installation.is_to_be_retried(one)
    assert installation.tick() == NOTHING


@pytest.mark.parametrize("ended", [BulkActionStatus.COMPLETED_FAILED, BulkActionStatus.FAILED])
def test_a_backfill_that_ended_before_the_daemon_looked_is_launched_again(
    installation: Installation, ended: BulkActionStatus
) -> None:
    """As when the daemon's look at backfills comes between a run's failure and its mark."""
    run_id = installation.failed_run(installation.backfill())
    installation.ends(ended)
    assert installation.tick() == NOTHING  # nobody has looked at the run yet
    installation.daemon_looks(run_id)

    said = installation.tick()

    (again,) = installation.later_backfills()
    assert said.endswith(f"has not made is launched again as {again.backfill_id}")
    assert again.status is BulkActionStatus.REQUESTED
    assert installation.tick() == NOTHING
    assert len(installation.later_backfills()) == 1


@pytest.mark.parametrize("kind", ["canceled", "all made", "deleted"])
def test_a_backfill_that_ended_and_needs_nothing_is_left_alone(
    installation: Installation, kind: str
) -> None:
    every = installation.keys("canonical_events", "popularity", "manifest")
    run_id = installation.failed_run(
        installation.backfill(made=every if kind == "all made" else None)
    )
    if kind == "deleted":
        installation.instance.add_run_tags(run_id, {internals.BACKFILL: "gone"})
    installation.ends(
        BulkActionStatus.CANCELED if kind == "canceled" else BulkActionStatus.COMPLETED_FAILED
    )
    before = installation.cursor
    installation.daemon_looks(run_id)

    assert installation.tick() == NOTHING
    assert installation.later_backfills() == []
    assert installation.cursor != before


@pytest.mark.parametrize("kind", ["canceled", "all made", "deleted", "launched by a person"])
def test_a_backfill_that_needs_nothing_is_left_alone(installation: Installation, kind: str) -> None:
    every = installation.keys("canonical_events", "popularity", "manifest")
    earlier = installation.backfill(made=every if kind == "all made" else None)
    run_id = installation.failed_run(earlier)
    installation.daemon_looks(run_id)
    if kind == "deleted":
        installation.instance.add_run_tags(run_id, {internals.BACKFILL: "gone"})
    installation.ends(
        BulkActionStatus.CANCELED if kind == "canceled" else BulkActionStatus.COMPLETED_FAILED
    )
    if kind == "launched by a person":
        backfill = installation.instance.get_backfill(earlier)
        assert backfill
        by_hand: dict[str, Any] = {
            "backfill_id": "by hand",
            "tags": {PARENT_BACKFILL_ID_TAG: earlier},
            "backfill_timestamp": time.time(),
        }
        installation.instance.add_backfill(backfill._replace(**by_hand))
    before = len(installation.later_backfills())

    assert installation.tick() == NOTHING
    assert len(installation.later_backfills()) == before
