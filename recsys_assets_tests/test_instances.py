"""What takes the place of Dagster's instances in memory."""

from __future__ import annotations

import dagster as dg

from recsys_assets_tests.instances import Events, Runs
from recsys_assets_tests.project import Project, event


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
