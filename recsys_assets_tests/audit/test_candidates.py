"""What `manifest` launched alone must not publish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.definitions import build_definitions
from recsys_assets_tests.defs.looking import land
from recsys_assets_tests.project import Project, day, event


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
