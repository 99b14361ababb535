"""The day before is materialized at a set time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from recsys_assets.definitions import build_definitions
from recsys_assets.kinds import KINDS
from recsys_assets_tests.project import Project


class TestSchedule:
    """The day before, at a set time."""

    def at(self, project: Project, moment: datetime, **surface: Any) -> Any:
        config = project.configure(surface)
        schedule = (
            build_definitions(config).get_repository_def().get_schedule_def("demo__home_daily")
        )
        assert isinstance(schedule, dg.ScheduleDefinition)
        with dg.build_schedule_context(project.instance, moment) as context:
            return schedule(context)

    def test_it_asks_for_every_asset_of_the_day_before(self, project: Project) -> None:
        request = self.at(project, datetime(2026, 1, 3, 6, tzinfo=UTC))

        assert request.partition_key == "2026-01-02"
        assert request.run_key == "2026-01-02"
        assert request.tags["dagster/priority"] == "1"
        assert sorted(key.path[-1] for key in request.asset_selection) == sorted(
            ["canonical_events", *KINDS, "manifest"]
        )

    @pytest.mark.parametrize("moment", [datetime(2026, 1, 1, 6), datetime(2026, 2, 2, 6)])
    def test_before_the_first_day_and_after_the_last_it_asks_for_nothing(
        self, project: Project, moment: datetime
    ) -> None:
        assert isinstance(self.at(project, moment.replace(tzinfo=UTC)), dg.SkipReason)

    def test_on_the_day_after_the_last_it_asks_for_the_last(self, project: Project) -> None:
        request = self.at(project, datetime(2026, 2, 1, 6, tzinfo=UTC))

        assert request.partition_key == "2026-01-31"

    def test_its_time_is_configured(self, project: Project) -> None:
        config = project.configure({"schedule_at": "23:05"})

        schedule = (
            build_definitions(config).get_repository_def().get_schedule_def("demo__home_daily")
        )

        assert schedule.cron_schedule == "5 23 * * *"
        assert schedule.execution_timezone == "UTC"
