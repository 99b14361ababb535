"""`materialize`: what is published, what is told of a bad day, and what is refused at once."""

from __future__ import annotations

import errno
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets import definitions
from recsys_assets.cli import printing
from recsys_assets.config import Surface
from recsys_assets.defs import assets
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.cli.conftest import (
    SMALL,
    days,
    land,
    run,
    wrong,
)
from recsys_assets_tests.project import Project, day, event


class TestMaterialize:
    """`recsys-assets materialize`."""

    @pytest.mark.usefixtures("in_memory")
    def test_a_whole_range_of_every_surface_is_published(self, project: Project) -> None:
        lean = {"artifacts": {"popularity": {}}, "guardrails": {"min_events": 0}}
        config = project.configure(lean, {**lean, "surface": "void"})
        land(project, 0, 1)

        result = run("materialize", *days(0, 1))

        assert result.exit_code == 0, result.output
        assert result.stdout.count("published") == 4
        assert "demo/home" in result.stdout
        assert "demo/void" in result.stdout
        for surface in (0, 1):
            live = project.live(config, surface=surface)
            assert live is not None
            assert live.window is not None
            assert live.window.start == day(1)
            assert live.current["popularity"].rpartition("/")[2][:8] in result.stdout

    @pytest.mark.usefixtures("in_memory")
    def test_of_a_surface_that_is_named_only_its_definitions_are_built(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lean: dict[str, Any] = {"artifacts": {"popularity": {}}}
        project.configure(lean, *({**lean, "surface": f"s{number}"} for number in range(5)))
        land(project, 0)
        build, built = assets.build_surface, list[str]()

        def counted(surface: Surface, **more: Any) -> dg.Definitions:
            built.append(surface.name)
            return build(surface, **more)

        monkeypatch.setattr(definitions, "build_surface", counted)

        assert run("materialize", "--surface", "demo/home", *days(0, 0)).exit_code == 0
        assert built == ["demo/home"]

    @pytest.mark.usefixtures("in_memory")
    def test_a_bad_day_is_named_with_asset_and_check_and_the_others_are_published(
        self, project: Project
    ) -> None:
        lean = {"artifacts": {"popularity": {}}, "guardrails": {"min_events": 0}}
        config = project.configure(SMALL, {**lean, "surface": "void"})
        land(project, 0, 2)

        result = run("materialize", *days(0, 2))

        assert result.exit_code == 1
        assert result.stdout.count("published") == 2 + 3
        assert result.stdout.count("no files") == 1
        (line,) = [line for line in result.stderr.splitlines() if line.startswith(str(day(1)))]
        assert line.startswith(
            "2026-01-02 demo/home/canonical_events: check min_events: "
            "guardrails.min_events is 1, found 0; no raw file matches"
        )
        assert (
            "demo/home: 3 days: 2 published, 1 without files. What is blocked keeps what it had. "
            "Runs, for the UI: "
        ) in result.stderr
        assert "demo/void: 3 days: 3 published\n" in result.stderr
        live = project.live(config)
        assert live is not None
        assert live.window is not None
        assert live.window.start == day(2)

    def test_json_is_all_there_is_on_standard_output(self, project: Project, home: Path) -> None:
        config = project.configure(SMALL)
        project.land(day(0), [event("a"), event("b"), event("a", rank=1)])
        others = [event("c", session_id=f"s{n}") for n in range(200)]
        project.land(day(0), ["{not json", *others], part=".2")

        result = run("materialize", "--json", *days(0, 1))

        assert result.exit_code == 1
        (surface,) = json.loads(result.stdout)["surfaces"]
        live = project.live(config)
        assert live is not None
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert all(instance.has_run(run_id) for run_id in surface.pop("run_ids"))
        (failure,) = surface.pop("failures")
        assert failure.pop("description").startswith("guardrails.min_events is 1, found 0")
        assert failure == {"day": "2026-01-02", "asset": "canonical_events", "check": "min_events"}
        assert surface.pop("warnings") == []
        assert surface == {
            "tenant": "demo",
            "surface": "home",
            "succeeded": False,
            "summary": {"published": 1, "no files": 1},
            "days": [
                {
                    "day": "2026-01-01",
                    "outcome": "published",
                    "events": 203,
                    "refused": 1,
                    "versions": {
                        kind: uri.rpartition("/")[2].removesuffix(".json")
                        for kind, uri in live.current.items()
                    },
                },
                {
                    "day": "2026-01-02",
                    "outcome": "no files",
                    "events": None,
                    "refused": None,
                    "versions": {},
                },
            ],
        }

    @pytest.mark.usefixtures("in_memory")
    def test_a_check_that_warned_is_named_with_its_days_and_changes_no_exit_code(
        self, project: Project
    ) -> None:
        project.configure(SMALL | {"guardrails": {"max_outside_window_share": 0.5}})
        for number in range(3):
            of = day(number)
            project.land(of, [event("a", of=of), event("b", of=of), event("z", of=day(9))])

        told = run("materialize", *days(0, 2))
        asked = run("materialize", "--json", *days(0, 0))

        assert (told.exit_code, asked.exit_code) == (0, 0)
        lines = [line for line in told.stderr.splitlines() if line.startswith("warning: ")]
        assert lines == [
            "warning: 2026-01-01 (+2) canonical_events max_outside_window_share: 1 of 3 ..."
        ]
        (surface,) = json.loads(asked.stdout)["surfaces"]
        assert surface["failures"] == []
        (warning,) = surface["warnings"]
        assert warning.pop("description").startswith("1 of 3 events in the day's files are not of")
        assert warning == {
            "day": "2026-01-01",
            "asset": "canonical_events",
            "check": "max_outside_window_share",
        }

    @pytest.mark.usefixtures("in_memory")
    def test_progress_goes_to_standard_error_only(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(printing, "_PROGRESS_EVERY_S", 0.0)
        project.configure(SMALL)
        land(project, 0, 1)

        result = run("materialize", "--json", *days(0, 1))

        assert json.loads(result.stdout)["surfaces"][0]["succeeded"]
        assert "demo/home/canonical_events 2026-01-02: 2 of 2 days" in result.stderr
        assert "demo/home/manifest 2026-01-02: 2 of 2 days" in result.stderr
        assert "demo/home done in " in result.stderr
        assert "\x1b" not in result.stderr

    @pytest.mark.usefixtures("in_memory")
    def test_a_full_disk_is_told_with_day_asset_and_error(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure(SMALL)
        land(project, 0, 1)
        replace = LocalStore.replace

        def full(self: LocalStore, key: str, content: bytes | Path) -> None:
            if key.endswith(f"cooc/{day(0)}.json"):
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(self, key, content)

        monkeypatch.setattr(LocalStore, "replace", full)

        result = run("materialize", *days(0, 1))

        assert result.exit_code == 1
        assert (
            "2026-01-01 demo/home/cooc: step failed: OSError: [Errno 28] No space left on device\n"
            in result.stderr
        )
        assert "demo/home: 2 days: 1 published, 1 blocked. " in result.stderr
        live = project.live(config)
        assert live is not None
        assert live.window is not None
        assert live.window.start == day(1)

    @pytest.mark.usefixtures("in_memory")
    def test_each_surface_takes_its_own_days_among_those_asked(self, project: Project) -> None:
        lean = {"artifacts": {"popularity": {}}, "guardrails": {"min_events": 0}}
        config = project.configure(
            lean | {"end_date": day(2)},
            lean | {"surface": "later", "start_date": day(1), "guardrails": {
                "min_events": 0, "max_backfill_days": 3,
            }},
            lean | {"surface": "gone", "start_date": day(-9), "end_date": day(0)},
        )  # fmt: skip

        result = run("materialize", *days(0, 3))

        assert result.exit_code == 0, result.output
        told = [line for line in result.stderr.splitlines() if " has the days " in line]
        assert told == [
            "demo/home has the days 2026-01-01 to 2026-01-02, not 2026-01-01 to 2026-01-04; taken: "
            "2026-01-01 to 2026-01-02",
            "demo/later has the days 2026-01-02 to 2026-01-31, not 2026-01-01 to 2026-01-04; "
            "taken: 2026-01-02 to 2026-01-04",
            "demo/gone has the days 2025-12-23 to 2025-12-31, not 2026-01-01 to 2026-01-04; taken: "
            "none",
        ]
        lives = [project.live(config, surface=number) for number in range(3)]
        assert [of and of.window and of.window.last_day for of in lives] == [day(1), day(3), None]


@pytest.mark.usefixtures("nothing_is_started")
class TestRefused:
    """Exit code 2, before anything is started."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (days(2, 1), "--to 2026-01-02 lies before --from 2026-01-03"),
            (["--from", "2026-01-01"], "Missing option '--to'"),
            (["--from", "1.1.2026", "--to", "2026-01-01"], "does not match the format '%Y-%m-%d'"),
            (["--from", "2026-02-30", "--to", "2026-03-01"], "'2026-02-30' does not match"),
            (
                ["--surface", "demo/hom", *days(0, 0)],
                "no surface 'demo/hom' in the configuration; there are: demo/home",
            ),
            (
                ["--surface", "demo/home", *days(-1, 0)],
                "has the days 2026-01-01 to 2026-01-31, not 2025-12-31 to 2026-01-01",
            ),
            (days(-2, -1), "has the days 2026-01-01 to 2026-01-31, not 2025-12-30 to 2025-12-31"),
            (days(31, 31), "has the days 2026-01-01 to 2026-01-31, not 2026-02-01"),
            ([*days(0, 0), "--verbose"], "No such option"),
        ],
    )
    def test_a_wrong_command_line_says_what_is_wrong(
        self, arguments: list[str], message: str
    ) -> None:
        assert message in wrong(run("materialize", *arguments))

    def test_days_that_no_surface_has_are_refused_by_each(self, project: Project) -> None:
        project.configure(SMALL, SMALL | {"surface": "later", "start_date": day(9)})

        assert wrong(run("materialize", *days(-2, -1))) == (
            "Error: demo/home has the days 2026-01-01 to 2026-01-31, not 2025-12-30 to 2025-12-31 "
            "demo/later has the days 2026-01-10 to 2026-01-31, not 2025-12-30 to 2025-12-31"
        )

    def test_a_day_that_is_not_over_says_when_it_can_be_done(self, project: Project) -> None:
        project.configure({**SMALL, "end_date": None})
        today = str(datetime.now(UTC).date())

        message = wrong(run("materialize", "--from", today, "--to", today))

        assert f", not {today}; a day can be materialized once it is over, UTC" in message

    def test_more_days_than_the_limit_are_refused_by_its_name(self, project: Project) -> None:
        project.configure({**SMALL, "guardrails": {"max_backfill_days": 3}})

        assert wrong(run("materialize", *days(0, 3))) == (
            "Error: guardrails.max_backfill_days of demo/home is 3, asked for 4 days: materialize "
            "fewer at a time, or raise the limit"
        )

    def test_a_surface_that_starts_in_the_future_has_no_day_yet(self, project: Project) -> None:
        start = datetime.now(UTC).date() + timedelta(days=2)
        project.configure({**SMALL, "start_date": start, "end_date": None})

        message = wrong(run("materialize", "--from", str(start), "--to", str(start)))

        assert f"demo/home has no day yet: its start_date is {start}" in message

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (None, "DAGSTER_HOME is not set: set it to the absolute path of the directory"),
            ("", "DAGSTER_HOME is not set: set it to the absolute path of the directory"),
            (".dagster", f"a relative path: set it to '{Path.cwd()}/.dagster'"),
            ("/nowhere/dagster", "'/nowhere/dagster', not a directory: create it with `mkdir -p`"),
            (__file__, "test_days.py', not a directory"),
        ],
    )
    def test_without_a_usable_dagster_home_it_says_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch, value: str | None, message: str
    ) -> None:
        if value is None:
            monkeypatch.delenv("DAGSTER_HOME")
        else:
            monkeypatch.setenv("DAGSTER_HOME", value)

        assert message in wrong(run("materialize", *days(0, 0)))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ("colour: red\n", 'unexpected config entry "colour" at the root'),
            ("storage: [", "found '<stream end>'"),
        ],
    )
    def test_damaged_settings_of_dagster_are_named_briefly(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        settings: str,
        message: str,
    ) -> None:
        (tmp_path / "dagster.yaml").write_text(settings)
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

        text = wrong(run("materialize", *days(0, 0)))

        assert f"Error: Dagster cannot use {tmp_path}/dagster.yaml" in text
        assert message in text
        assert len(text) < 500
