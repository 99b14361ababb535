"""Topics land by a job, and by a schedule that asks for one landing at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.definitions import build_definitions
from recsys_assets.defs.topics import LAND
from recsys_assets_tests.operations.kafka import noida
from recsys_assets_tests.project import DAY, Project, event

LANDING: dict[str, Any] = {"kafka": {"brokers_env": "TEST_BROKERS", "topic": "shown"}}


@pytest.fixture
def repository(project: Project) -> dg.RepositoryDefinition:
    config = project.configure({"source": {"path": "raw", "landing": LANDING}})
    return build_definitions(config).get_repository_def()


def test_the_job_lands_every_topic_and_shows_what(
    project: Project,
    repository: dg.RepositoryDefinition,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with noida(tmp_path_factory.mktemp("kafka")) as broker:
        monkeypatch.setenv("TEST_BROKERS", broker.address)
        broker.make("shown")
        broker.send("shown", [str(event("a")).replace("'", '"').encode()], at_ms=0)
        result = repository.get_job(LAND).execute_in_process(instance=project.instance)

    assert result.success
    (handled,) = (of for of in result.all_node_events if of.event_type_value == "STEP_OUTPUT")
    metadata = handled.step_output_data.metadata
    assert metadata["messages"].value == 1
    assert [*Path(project.folder / f"raw/shown/dt={DAY}").iterdir()]


def test_a_topic_that_cannot_be_landed_fails_the_job_without_a_retry(
    project: Project, repository: dg.RepositoryDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_BROKERS", raising=False)

    result = repository.get_job(LAND).execute_in_process(
        instance=project.instance, raise_on_error=False
    )

    (failed,) = (of for of in result.all_node_events if of.is_step_failure)
    details = failed.step_failure_data.user_failure_data
    assert details is not None
    assert "$TEST_BROKERS is not set" in str(details.description)


def test_the_schedule_is_stopped_and_asks_for_no_second_landing(
    repository: dg.RepositoryDefinition, tmp_path: Path
) -> None:
    schedule = repository.get_schedule_def("land_every_10_minutes")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    now = datetime(2026, 1, 3, tzinfo=UTC)

    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:

        def asked() -> Any:
            with dg.build_schedule_context(instance, now) as context:
                return schedule(context)

        assert isinstance(asked(), dg.RunRequest)
        run = instance.create_run_for_job(repository.get_job(LAND))
        assert isinstance(asked(), dg.SkipReason)
        instance.report_run_canceled(run)
        assert isinstance(asked(), dg.RunRequest)


def test_without_a_topic_there_is_neither(project: Project) -> None:
    repository = build_definitions(project.configure()).get_repository_def()

    assert not repository.has_job(LAND)
    assert not repository.has_schedule_def("land_every_10_minutes")
