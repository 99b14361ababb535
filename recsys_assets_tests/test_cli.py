"""`recsys-assets`: exit codes, what goes where, and what somebody is told."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from recsys_assets import cli, printing
from recsys_assets.errors import ConfigError, InputError, StorageError
from recsys_assets.operations.inspect import surface_status
from recsys_assets.operations.materialize import Failure, Report
from recsys_assets.printing import age_text, print_report, print_status, window_text
from recsys_assets.storage import layout
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.project import Project, day, event

SMALL = {"artifacts": {"popularity": {}, "cooc": {"min_support": 1}}}
TOMORROW = {"start_date": date(9000, 1, 1), "end_date": None}
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a Dagster instance that is made once."""
    folder = tmp_path_factory.mktemp("dagster_home")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return folder


@pytest.fixture
def run(project: Project, home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the command line, in the environment of the project."""
    monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.delenv("RECSYS_ROOT", raising=False)
    return lambda *arguments: CliRunner().invoke(cli.main, arguments)


def land(project: Project, *days: int) -> None:
    for number in days:
        of = day(number)
        project.land(of, [event("a", of=of), event("b", of=of), event("a", of=of)])


def days(first: int, last: int) -> list[str]:
    return ["--from", str(day(first)), "--to", str(day(last))]


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what Dagster records in memory: on a disk it takes most of the time."""
    monkeypatch.setattr(dg.DagsterInstance, "get", dg.DagsterInstance.ephemeral)


class TestMaterialize:
    """`recsys-assets materialize`."""

    @pytest.mark.usefixtures("in_memory")
    def test_a_whole_range_of_every_surface_is_published(self, project: Project, run: Run) -> None:
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
    def test_a_bad_day_is_named_with_asset_and_check_and_the_others_are_published(
        self, project: Project, run: Run
    ) -> None:
        lean = {"artifacts": {"popularity": {}}, "guardrails": {"min_events": 0}}
        config = project.configure(SMALL, {**lean, "surface": "void"})
        land(project, 0, 2)

        result = run("materialize", *days(0, 2))

        assert result.exit_code == 1
        assert result.stdout.count("published") == 2 + 3
        assert result.stdout.count("blocked") == 1
        (line,) = [line for line in result.stderr.splitlines() if line.startswith(str(day(1)))]
        assert line.startswith(
            "2026-01-02 demo/home/canonical_events: check min_events: "
            "guardrails.min_events is 1, found 0; no raw file matches"
        )
        assert "2 of 3 days published; the others keep what they had. Runs" in result.stderr
        live = project.live(config)
        assert live is not None
        assert live.window is not None
        assert live.window.start == day(2)

    def test_json_is_all_there_is_on_standard_output(
        self, project: Project, run: Run, home: Path
    ) -> None:
        config = project.configure(SMALL)
        land(project, 0)
        project.land(day(0), ["{not json"], part=".2")
        project.land(day(0), [event("c", session_id=f"s{n}") for n in range(200)], part=".3")

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
        assert surface == {
            "tenant": "demo",
            "surface": "home",
            "succeeded": False,
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
                    "outcome": "blocked",
                    "events": None,
                    "refused": None,
                    "versions": {},
                },
            ],
        }

    @pytest.mark.usefixtures("in_memory")
    def test_progress_goes_to_standard_error_only(
        self, project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
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
        self, project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
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
        assert "1 of 2 days published" in result.stderr
        live = project.live(config)
        assert live is not None
        assert live.window is not None
        assert live.window.start == day(1)

    @pytest.mark.usefixtures("in_memory")
    def test_an_interruption_ends_without_a_stack(
        self, project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project.configure(SMALL)
        land(project, 0)

        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(LocalStore, "put_new", interrupt)

        result = run("materialize", *days(0, 0))

        assert result.exit_code == 1
        assert result.stderr.endswith("Aborted!\n")
        assert "Traceback" not in result.stderr
        assert "done in" not in result.stderr

    def test_a_failure_is_told_in_one_line_without_control_characters(
        self, project: Project, capsys: pytest.CaptureFixture[str]
    ) -> None:
        report = Report(project.configure().surfaces[0], [day(0)], run_ids=["r1"])
        report.failures.append(Failure(day(0), "cooc", None, "first\n  second \x1b[31mred"))

        print_report(report)

        assert capsys.readouterr().err.splitlines()[0] == (
            "2026-01-01 demo/home/cooc: step failed: first second \\x1b[31mred"
        )

    def test_brackets_and_colons_in_a_name_are_printed_as_they_are(
        self, project: Project, capsys: pytest.CaptureFixture[str]
    ) -> None:
        surface = project.configure({"tenant": "[red]:apple:"}).surfaces[0]

        print_report(Report(surface, [day(0)]))
        print_status([surface_status(project.store, surface, now=datetime.now(UTC))])

        assert capsys.readouterr().out.count("[red]:apple:/home") == 3  # it is stale, too


class TestPlainErrors:
    """What a person can act on is text on standard error, and an exit code."""

    @pytest.mark.parametrize(
        ("error", "code"),
        [(ConfigError, 2), (InputError, 1), (StorageError, 1), (OSError, 1)],
    )
    def test_control_characters_are_escaped_and_line_breaks_stay(
        self, capsys: pytest.CaptureFixture[str], error: type[Exception], code: int
    ) -> None:
        """A name in a message may be anything, also what clears the screen."""
        with pytest.raises(SystemExit) as ended, cli.plain_errors():
            raise error("two problems:\n  \x1b[2J\x07red\r\n  Zürich \x9b31m \u202egnp")

        assert ended.value.code == code
        assert capsys.readouterr() == (
            "",
            "Error: two problems:\n  \\x1b[2J\\x07red\\r\n  Zürich \\x9b31m \\u202egnp\n",
        )

    def test_a_bug_keeps_its_stack(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(ZeroDivisionError), cli.plain_errors():
            _ = 1 / 0

        assert capsys.readouterr() == ("", "")

    def test_the_problems_of_a_configuration_are_a_line_each_and_safe_to_show(
        self, project: Project, run: Run
    ) -> None:
        project.configure()
        text = project.config_file.read_text().replace("surface: home", 'surface: "\\e[2Jhome"')
        project.config_file.write_text(f"{text}\nretention: {{days: 0}}\n")

        result = run("status")

        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 3
        assert "\n  surface demo/\\x1b[2Jhome: surface: must be one path segment" in result.stderr
        assert "\n  retention.days: Input should be" in result.stderr
        assert "\x1b" not in result.stderr


class TestRefused:
    """Exit code 2, before anything is started."""

    @pytest.fixture(autouse=True)
    def _nothing_is_started(self, project: Project) -> Iterator[None]:
        project.configure(SMALL)
        yield
        assert not (project.folder / "var").exists()

    def refused(self, result: Result) -> str:
        assert result.exit_code == 2
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        return " ".join(result.stderr.split())

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
            (days(-1, 0), "has the days 2026-01-01 to 2026-01-31, not 2025-12-31 to 2026-01-01"),
            (days(31, 31), "has the days 2026-01-01 to 2026-01-31, not 2026-02-01"),
            ([*days(0, 0), "--verbose"], "No such option"),
        ],
    )
    def test_a_wrong_command_line_says_what_is_wrong(
        self, run: Run, arguments: list[str], message: str
    ) -> None:
        assert message in self.refused(run("materialize", *arguments))

    def test_a_day_that_is_not_over_says_when_it_can_be_done(
        self, project: Project, run: Run
    ) -> None:
        project.configure({**SMALL, "end_date": None})
        today = str(datetime.now(UTC).date())

        message = self.refused(run("materialize", "--from", today, "--to", today))

        assert f", not {today}; a day can be materialized once it is over, UTC" in message

    def test_more_days_than_the_limit_are_refused_by_its_name(
        self, project: Project, run: Run
    ) -> None:
        project.configure({**SMALL, "guardrails": {"max_backfill_days": 3}})

        assert self.refused(run("materialize", *days(0, 3))) == (
            "Error: guardrails.max_backfill_days of demo/home is 3, asked for 4 days: materialize "
            "fewer at a time, or raise the limit"
        )

    def test_a_surface_that_starts_in_the_future_has_no_day_yet(
        self, project: Project, run: Run
    ) -> None:
        start = datetime.now(UTC).date() + timedelta(days=2)
        project.configure({**SMALL, "start_date": start, "end_date": None})

        message = self.refused(run("materialize", "--from", str(start), "--to", str(start)))

        assert f"demo/home has no day yet: its start_date is {start}" in message

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (None, "DAGSTER_HOME is not set: set it to the absolute path of the directory"),
            ("", "DAGSTER_HOME is not set: set it to the absolute path of the directory"),
            (".dagster", f"a relative path: set it to '{Path.cwd()}/.dagster'"),
            ("/nowhere/dagster", "'/nowhere/dagster', not a directory: create it with `mkdir -p`"),
            (__file__, "test_cli.py', not a directory"),
        ],
    )
    def test_without_a_usable_dagster_home_it_says_what_to_do(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, value: str | None, message: str
    ) -> None:
        if value is None:
            monkeypatch.delenv("DAGSTER_HOME")
        else:
            monkeypatch.setenv("DAGSTER_HOME", value)

        assert message in self.refused(run("materialize", *days(0, 0)))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ("colour: red\n", 'unexpected config entry "colour" at the root'),
            ("storage: [", "found '<stream end>'"),
        ],
    )
    def test_damaged_settings_of_dagster_are_named_briefly(
        self,
        run: Run,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        settings: str,
        message: str,
    ) -> None:
        (tmp_path / "dagster.yaml").write_text(settings)
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

        text = self.refused(run("materialize", *days(0, 0)))

        assert f"Error: Dagster cannot use {tmp_path}/dagster.yaml" in text
        assert message in text
        assert len(text) < 500

    @pytest.mark.parametrize(
        "command",
        [["materialize", *days(0, 0)], ["status"], ["show", "demo/home", "cooc"]],
        ids=lambda command: command[0],
    )
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("root: var\nsurfaces: []\n", "surfaces.yaml: surfaces: List should have at least 1"),
            ("root: [", "surfaces.yaml: is not valid YAML"),
            ("", "surfaces.yaml:"),
        ],
    )
    def test_a_wrong_configuration_names_its_file(
        self, project: Project, run: Run, command: list[str], text: str, message: str
    ) -> None:
        project.config_file.write_text(text)

        assert message in self.refused(run(*command))

    def test_config_names_the_file_and_wins_over_the_environment(
        self, project: Project, run: Run
    ) -> None:
        missing = project.folder / "other.yaml"

        message = self.refused(run("--config", str(missing), "status"))

        assert f"Error: {missing}: cannot be read" in message

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["status", "--surface", "demo"], "no surface 'demo' in the configuration"),
            (["show", "demo/nowhere", "cooc"], "no surface 'demo/nowhere' in the configuration"),
            (["show", "demo/home"], "Missing argument 'KIND'"),
            (["show", "demo/home", "cooc", "--limit", "0"], "0 is not in the range x>=1"),
            (["publish"], "No such command 'publish'"),
        ],
    )
    def test_the_other_commands_refuse_too(
        self, run: Run, arguments: list[str], message: str
    ) -> None:
        assert message in self.refused(run(*arguments))


class TestStatus:
    """`recsys-assets status`."""

    def test_before_the_first_publish_nothing_is_live(self, project: Project, run: Run) -> None:
        project.configure(SMALL, {**SMALL, "surface": "checkout"})

        table, machine = run("status"), run("status", "--json")

        assert table.exit_code == machine.exit_code == 1
        assert table.stdout.count("nothing is live yet") == 2
        because = "nothing is live, though 2026-01-01, its first day, is over"
        assert f"demo/home is stale: {because}\ndemo/checkout is stale: {because}\n" in table.stdout
        told = json.loads(machine.stdout)["surfaces"]
        assert [(of["live"], of["stale"], of["stale_because"]) for of in told] == [
            (False, True, because)
        ] * 2
        assert table.stderr == machine.stderr == ""

    def test_it_needs_no_dagster(
        self, project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project.configure(SMALL | TOMORROW)
        monkeypatch.delenv("DAGSTER_HOME")

        result = run("status")

        assert result.exit_code == 0
        assert "fresh │ nothing is live yet" in result.stdout

    def test_it_shows_window_generation_and_each_kind(self, project: Project, run: Run) -> None:
        config = project.configure(
            {**SMALL, "window_days": 3, "freshness": {"max_days_behind": 28}}
        )
        land(project, 0, 1, 2)
        project.materialize(config, [day(n) for n in range(3)])
        live = project.live(config)
        assert live is not None
        store = project.store
        store.delete(store.key(live.current["cooc"]))

        table, machine = run("status"), run("status", "--json", "--surface", "demo/home")

        assert table.exit_code == 0
        popularity, cooc = [line for line in table.stdout.splitlines() if "│" in line]
        cells = [cell.strip() for cell in popularity.strip("│").split("│")]
        size = Path(live.current["popularity"].removeprefix("file://")).stat().st_size
        version = live.current["popularity"].rpartition("/")[2][:12]
        assert cells == [
            "demo/home", "fresh", "2026-01-01 to 2026-01-03", "28 d", "0 min ago", "3",
            "popularity", version, f"{size:,}",
        ]  # fmt: skip
        assert "missing" in cooc
        (status,) = json.loads(machine.stdout)["surfaces"]
        assert status["window"]["end"] == "2026-01-04T00:00:00Z"
        assert status["kinds"]["cooc"]["size_bytes"] is None

    def test_a_damaged_manifest_hides_no_other_surface(self, project: Project, run: Run) -> None:
        ended = {"end_date": day(1)}
        config = project.configure({**SMALL, "surface": "broken"}, SMALL | ended)
        land(project, 0)
        project.materialize(config, [day(0)], surface=1)
        key = layout.manifest("demo", "broken")
        project.store.replace(key, b"{")

        table, machine = run("status"), run("status", "--json")

        assert table.exit_code == machine.exit_code == 1
        for result in (table, machine):
            (line,) = result.stderr.splitlines()
            where = project.store.uri(key)
            assert line.startswith(f"Error: demo/broken: {where} is not a manifest: ")
        rows = [line.split("│") for line in table.stdout.splitlines() if "│" in line]
        assert [[cell.strip() for cell in row[1:3]] for row in rows] == [
            ["demo/broken", "cannot be read"],
            ["demo/home", "fresh"],
            ["", ""],
        ]
        broken, home = json.loads(machine.stdout)["surfaces"]
        assert (broken["live"], broken["stale"], broken["kinds"]) == (None, True, {})
        assert f"Error: demo/broken: {broken['error']}\n" == machine.stderr
        assert (home["live"], home["error"], len(home["kinds"])) == (True, None, 2)
        assert run("status", "--surface", "demo/home").exit_code == 0

    def test_a_stale_surface_is_told_with_its_reason_and_exit_code_1(
        self, project: Project, run: Run
    ) -> None:
        ended = {"end_date": day(2), "freshness": {"max_days_behind": 0}}
        config = project.configure(SMALL | ended)
        land(project, 0, 1)
        project.materialize(config, [day(0)])

        behind = run("status")
        machine = json.loads(run("status", "--json").stdout)["surfaces"][0]
        project.materialize(config, [day(1)])
        caught_up = run("status")

        because = "freshness.max_days_behind is 0, found 1: 2026-01-01 is live, 2026-01-02 could be"
        assert behind.exit_code == 1
        assert "│ stale │ 2026-01-01 " in behind.stdout
        assert behind.stdout.endswith(f"\ndemo/home is stale: {because}\n")
        assert (machine["stale"], machine["stale_because"]) == (True, because)
        assert caught_up.exit_code == 0, caught_up.stdout
        assert "│ fresh │ 2026-01-02 " in caught_up.stdout
        assert "stale" not in caught_up.stdout

    def test_show_of_a_damaged_manifest_is_one_line_and_exit_code_1(
        self, project: Project, run: Run
    ) -> None:
        project.configure(SMALL)
        project.store.replace(layout.manifest("demo", "home"), b"{")

        result = run("show", "demo/home", "cooc")

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.count("\n") == 1
        assert "manifest.json is not a manifest" in result.stderr

    def test_what_the_system_refuses_is_told_of_its_surface(
        self, project: Project, run: Run
    ) -> None:
        project.configure(SMALL)
        manifest = project.folder / "var" / layout.manifest("demo", "home")
        manifest.mkdir(parents=True)

        result = run("status")

        assert result.exit_code == 1
        assert "cannot be read" in result.stdout
        assert result.stderr == f"Error: demo/home: [Errno 21] Is a directory: '{manifest}'\n"

    @pytest.mark.parametrize(
        ("age", "text"),
        [
            (timedelta(seconds=20), "0 min ago"),
            (timedelta(minutes=59), "59 min ago"),
            (timedelta(hours=1), "1.0 h ago"),
            (timedelta(hours=47, minutes=30), "47.5 h ago"),
            (timedelta(days=2), "2 d ago"),
            (timedelta(days=400), "400 d ago"),
        ],
    )
    def test_an_age_is_told_in_the_unit_that_fits(self, age: timedelta, text: str) -> None:
        assert age_text(age) == text

    @pytest.mark.parametrize(
        ("end", "text"), [("2026-01-02", "2026-01-01"), ("2026-01-08", "2026-01-01 to 2026-01-07")]
    )
    def test_a_window_is_told_by_its_days(self, end: str, text: str) -> None:
        window = {"start": "2026-01-01T00:00:00Z", "end": f"{end}T00:00:00Z"}

        assert window_text(window) == text


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Publish every kind once; `a` and `b` are in the catalog, the odd ones are not."""
    with dg.DagsterInstance.ephemeral() as instance:
        project = Project(tmp_path_factory.mktemp("published"), instance)
        config = project.configure()
        odd = ["[bold]x[/bold]", ":apple:", "esc\x1b[31m\x07", "rtl\u202e", "1"]
        events = [event("a", user_id="a"), event("b", user_id="a"), event("a")]
        project.land(day(0), [*events, *[event(item) for item in odd]])
        assert project.materialize(config, [day(0)]).succeeded
    return project


class TestShow:
    """`recsys-assets show`."""

    @pytest.fixture
    def show(self, published: Project, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
        monkeypatch.setenv("RECSYS_CONFIG", str(published.config_file))
        return lambda *arguments: run("show", "demo/home", *arguments)

    def rows(self, result: Result) -> list[list[str]]:
        assert result.exit_code == 0, result.output
        lines = [line for line in result.stdout.splitlines() if "│" in line]
        return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]

    @pytest.mark.parametrize(
        ("arguments", "row"),
        [
            (["popularity"], ["a", "2", "Apple"]),
            (["popularity", "b"], ["b", "1", "Banana"]),
            (["cooc"], ["a", "6", "1", "Apple"]),
            (["cooc", "a"], ["b", "1", "Banana"]),
            (["implicit"], ["a", "2", "a", "Apple"]),
            (["implicit", "a"], ["b", "1", "Banana"]),
            (["session_seq"], ["a", "1", "b", "Banana"]),
            (["session_seq", "a"], ["b", "1", "Banana"]),
            (["content_sim"], ["a", "red, round", "Apple"]),
            (["content_sim", "b"], ["b", "yellow", "Banana"]),
        ],
        ids=" ".join,
    )
    def test_each_kind_is_a_table_with_titles(
        self, show: Run, arguments: list[str], row: list[str]
    ) -> None:
        result = show(*arguments)

        assert row in self.rows(result)
        of = f" of {arguments[1]}" if len(arguments) > 1 else ""
        assert result.stdout.startswith(f"demo/home {arguments[0]}{of}, 2026-01-01")

    def test_a_user_called_like_an_item_does_not_get_its_title(self, show: Run) -> None:
        rows = {row[0]: row for row in self.rows(show("session_seq"))}

        assert rows["a"][-1] == "Banana"

    def test_the_limit_is_told_when_there_is_more(self, show: Run) -> None:
        result = show("popularity", "--limit", "2")

        assert len(self.rows(result)) == 2
        assert result.stdout.endswith("2 of 7 rows; --limit shows more\n")
        assert "--limit" not in show("popularity", "--limit", "7").stdout

    def test_control_characters_in_ids_never_reach_the_terminal(self, show: Run) -> None:
        result = show("popularity")

        assert "esc\\x1b[31m\\x07" in result.stdout
        assert "rtl\\u202e" in result.stdout
        assert not {"\x1b", "\x07", "\u202e"} & set(result.stdout)

    def test_a_control_character_in_the_title_of_the_table_is_escaped_too(self, show: Run) -> None:
        result = show("cooc", "esc\x1b[31m\x07")

        assert result.exit_code == 0
        assert "cooc of esc\\x1b[31m\\x07, " in result.stdout
        assert "\x1b" not in result.stdout

    def test_brackets_and_colons_in_ids_are_printed_as_they_are(self, show: Run) -> None:
        result = show("popularity")

        assert "[bold]x[/bold]" in result.stdout
        assert " :apple: " in result.stdout
        assert "cooc of [bold]x[/bold]," in show("cooc", "[bold]x[/bold]").stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["popular"],
                "no 'popular' is live for demo/home; there are: "
                "content_sim, cooc, implicit, popularity, session_seq",
            ),
            (["cooc", "zzz"], "no item_id 'zzz' in the live cooc; without an ID, all are listed"),
            (["implicit", "b"], "no user_id 'b' in the live implicit"),
            (["cooc", "\x1b[31m"], "no item_id '\\x1b[31m' in the live cooc"),
        ],
        ids=["kind", "item", "user", "control"],
    )
    def test_what_is_not_there_is_one_line_and_exit_code_1(
        self, show: Run, arguments: list[str], message: str
    ) -> None:
        result = show(*arguments)

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"Error: {message}")
        assert result.stderr.count("\n") == 1

    def test_before_the_first_publish_it_says_what_to_do(self, project: Project, run: Run) -> None:
        project.configure()

        result = run("show", "demo/home", "cooc")

        assert result.exit_code == 1
        assert result.stderr == (
            "Error: nothing is live for demo/home yet: materialize a day first\n"
        )

    def test_a_broken_catalog_costs_the_titles_only(self, published: Project, show: Run) -> None:
        catalog = published.folder / "catalog.csv"
        text = catalog.read_text()
        catalog.write_text('"broken')
        try:
            rows = self.rows(show("popularity"))
        finally:
            catalog.write_text(text)

        assert ["a", "2"] in rows


class TestHelp:
    """What somebody reads first."""

    @pytest.mark.parametrize("command", [[], ["materialize"], ["status"], ["show"]])
    @pytest.mark.parametrize("option", ["--help", "-h"])
    def test_every_command_tells_its_exit_codes(self, command: list[str], option: str) -> None:
        result = CliRunner().invoke(cli.main, [*command, option])

        text = " ".join(result.stdout.split())
        assert result.exit_code == 0
        assert "Exit codes: 0" in text
        assert "; 1 " in text
        assert "; 2 " in text

    def test_the_version_is_that_of_the_package(self) -> None:
        result = CliRunner().invoke(cli.main, ["--version"])

        assert (result.exit_code, result.stdout) == (0, "recsys-assets, version 0.1.0\n")

    def test_a_command_has_to_be_given(self) -> None:
        assert CliRunner().invoke(cli.main, []).exit_code == 2


class TestMetrics:
    """`recsys-assets metrics`."""

    def test_it_prints_the_figures_and_a_stale_surface_is_no_failure(
        self, project: Project, run: Run
    ) -> None:
        project.configure(SMALL)

        result = run("metrics")

        assert result.exit_code == 0
        assert 'recsys_surface_stale{surface="home",tenant="demo"} 1.0\n' in result.stdout
        assert result.stderr == ""

    def test_it_writes_a_file_instead(self, project: Project, run: Run, tmp_path: Path) -> None:
        project.configure(SMALL)
        file = tmp_path / "recsys.prom"

        result = run("metrics", "--output", str(file))

        assert (result.exit_code, result.output) == (0, "")
        assert 'recsys_surface_stale{surface="home",tenant="demo"} 1.0\n' in file.read_text()

    def test_a_file_that_cannot_be_written_is_one_line_and_exit_code_1(
        self, project: Project, run: Run, tmp_path: Path
    ) -> None:
        project.configure(SMALL)

        result = run("metrics", "--output", str(tmp_path / "none/recsys.prom"))

        assert result.exit_code == 1
        assert result.stderr.startswith("Error: [Errno 2] No such file or directory: ")
        assert result.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--output", "x.prom", "--port", "9200"], "--output and --port exclude each other"),
            (["--interval", "60"], "--interval and --host are about --port"),
            (["--output", "x.prom", "--host", "::1"], "--interval and --host are about"),
            (["--port", "0"], "0 is not in the range"),
        ],
    )
    def test_what_does_not_go_together_is_refused(
        self, project: Project, run: Run, arguments: list[str], message: str
    ) -> None:
        project.configure(SMALL)

        result = run("metrics", *arguments)

        assert result.exit_code == 2
        assert message in result.stderr

    def test_a_port_in_use_is_one_line_and_exit_code_1(self, project: Project, run: Run) -> None:
        project.configure(SMALL)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()

            result = run("metrics", "--port", str(taken.getsockname()[1]))

        assert result.exit_code == 1
        assert result.stderr == "Error: [Errno 98] Address already in use\n"


def test_two_days_from_nothing_to_show_in_processes_of_their_own(
    project: Project, home: Path
) -> None:
    project.configure(SMALL | {"end_date": day(2)})
    land(project, 0, 1)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")
    } | {"DAGSTER_HOME": str(home), "RECSYS_ROOT": "elsewhere", "COLUMNS": "60"}

    def start(*command: str) -> str:
        done = subprocess.run(
            [*command[:-1], *command[-1].split()],
            cwd=project.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "Warning" not in done.stderr
        return done.stdout

    script = str(Path(sys.executable).with_name("recsys-assets"))
    config = "--config surfaces.yaml"
    done = start(script, f"{config} materialize --from {day(0)} --to {day(1)} --json")
    status = start(script, f"{config} status --json")
    shown = start(sys.executable, "-m", "recsys_assets.cli", f"{config} show demo/home popularity")

    (made,), (live,) = json.loads(done)["surfaces"], json.loads(status)["surfaces"]
    assert made["succeeded"]
    assert made["days"][1]["versions"] == {
        kind: of["version"] for kind, of in live["kinds"].items()
    }
    blob = live["kinds"]["popularity"]["uri"].removeprefix("file://")
    assert blob.startswith(f"{project.folder}/elsewhere/objectstore/demo/home/popularity/")
    assert json.loads(Path(blob).read_text())["items"][0] == {"item_id": "a", "count": 2}
    assert "Apple" in shown
    assert not (project.folder / "var").exists()
