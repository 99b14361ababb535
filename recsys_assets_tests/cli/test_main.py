"""`recsys-assets` as a whole: exit codes, plain errors, help, and what all commands share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
import pytest
from click.testing import CliRunner

from recsys_assets import __version__, cli
from recsys_assets.cli import changing, checking, erasing, landing, promoting, reading, starting
from recsys_assets.cli import days as days_of_cli
from recsys_assets.cli import demo as demo_of_cli
from recsys_assets.cli import experiment as experiment_of_cli
from recsys_assets.cli import gates as gates_of_cli
from recsys_assets.cli import sinks as sinks_of_cli
from recsys_assets.cli.main import plain_errors
from recsys_assets.errors import ConfigError, InputError, StorageError
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets_tests.cli.conftest import (
    NAME,
    REASON,
    SMALL,
    by_name,
    configure,
    days,
    done,
    land,
    refused,
    run,
    wrong,
)
from recsys_assets_tests.project import Project, day
from recsys_assets_tests.shop import Shop, on


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
        with pytest.raises(SystemExit) as ended, plain_errors():
            raise error("two problems:\n  \x1b[2J\x07red\r\n  Zürich \x9b31m \u202egnp")

        assert ended.value.code == code
        assert capsys.readouterr() == (
            "",
            "Error: two problems:\n  \\x1b[2J\\x07red\\r\n  Zürich \\x9b31m \\u202egnp\n",
        )

    def test_a_bug_keeps_its_stack(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(ZeroDivisionError), plain_errors():
            _ = 1 / 0

        assert capsys.readouterr() == ("", "")

    def test_the_problems_of_a_configuration_are_a_line_each_and_safe_to_show(
        self, project: Project
    ) -> None:
        project.configure()
        text = project.config_file.read_text().replace("surface: home", 'surface: "\\e[2Jhome"')
        project.config_file.write_text(f"{text}\nretention: {{days: 0}}\n")

        result = run("status")

        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 3
        assert "\n  surface number 1: surface: must be one path segment" in result.stderr
        assert "\n  retention.days: Input should be" in result.stderr
        assert "\x1b" not in result.stderr


@pytest.mark.usefixtures("nothing_is_started")
class TestRefused:
    """Exit code 2, before anything is started."""

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
        self, project: Project, command: list[str], text: str, message: str
    ) -> None:
        project.config_file.write_text(text)

        assert message in wrong(run(*command))

    def test_config_names_the_file_and_wins_over_the_environment(self, project: Project) -> None:
        missing = project.folder / "other.yaml"

        message = wrong(run("--config", str(missing), "status"))

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
    def test_the_other_commands_refuse_too(self, arguments: list[str], message: str) -> None:
        assert message in wrong(run(*arguments))


class TestHelp:
    """What somebody reads first."""

    @pytest.mark.parametrize(
        "command",
        [
            [],
            ["materialize"],
            ["status"],
            ["show"],
            ["experiment"],
            ["gates", "override"],
            ["gates", "calibrate"],
            ["promote"],
            ["init"],
            ["demo"],
        ],
    )
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

        assert (result.exit_code, result.stdout) == (0, f"recsys-assets, version {__version__}\n")

    def test_a_command_has_to_be_given(self) -> None:
        assert CliRunner().invoke(cli.main, []).exit_code == 2


READING: Final = (*reading.COMMANDS, *checking.COMMANDS)
COMMANDS: Final = (
    *changing.COMMANDS,
    *days_of_cli.COMMANDS,
    *erasing.COMMANDS,
    *experiment_of_cli.COMMANDS,
    *gates_of_cli.COMMANDS,
    *landing.COMMANDS,
    *promoting.COMMANDS,
    *READING,
    *sinks_of_cli.COMMANDS,
)
# They read no configuration: they write one.
BEGINNING: Final = (*starting.COMMANDS, *demo_of_cli.COMMANDS)
# What each command needs besides a surface.
ARGUMENTS = {
    "history": [],
    "at": ["--time", "2020-01-11"],
    "diff": ["previous"],
    "trace": ["cooc"],
    "rollback": [*REASON],
    "pin": [*REASON],
    "release": [*REASON],
    "repair": [*REASON],
    "verify": [],
    "check": [],
    "retention": [],
    "export": ["--to", "exported"],
}
OTHERS: Final = {
    "experiment": [NAME, "--days", "2020-01-08..2020-01-10", "--try", "cooc.min_support=3"],
    "materialize": days(0, 0),
    "land": [],
    "status": [],
    "metrics": [],
    "show": [NAME, "cooc"],
    "deliver": [NAME],
    "gates override": [NAME, "--day", "2020-01-10", "--checks", "volume", "--ahead", *REASON],
    "gates calibrate": [NAME],
    "promote": [NAME, "--from", "here", "--to", "there", *REASON],
    "erase": [NAME, *REASON, "--users-file", "/dev/null"],
    "find-user": [NAME, "--users-file", "/dev/null"],
}


class TestEveryCommand:
    """What all of them have in common."""

    def arguments(self, command: str, name: str) -> list[str]:
        where = ["--surface", name] if command in {"verify", "check", "retention"} else [name]
        return [command, *where, *ARGUMENTS[command]]

    def test_all_are_looked_at_here(self) -> None:
        assert by_name(COMMANDS).keys() == ARGUMENTS.keys() | OTHERS.keys()
        assert {*COMMANDS, *BEGINNING} == set(cli.main.commands.values())

    @pytest.mark.parametrize("command", ARGUMENTS)
    def test_an_unknown_surface_is_refused(self, shop: Shop, command: str) -> None:
        assert refused(run(*self.arguments(command, "demo/attic")), code=2) == (
            "Error: no surface 'demo/attic' in the configuration; there are: demo/home\n"
        )

    @pytest.mark.parametrize("command", ["at", "diff", "trace", "rollback", "pin", "release"])
    def test_where_nothing_is_live_or_not_ours_it_is_told(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        configure(shop, shop.root.parent, monkeypatch, "empty", "foreign")
        foreign = Shop(shop.root, shop.time, name="foreign")
        current = foreign.stage(on(1), 1)
        manifest = {"v": 1, "current": current, "updated_at": "2020-01-09T00:00:00Z"}
        shop.store.replace(layout.manifest(Place("demo", "foreign")), json.dumps(manifest).encode())

        message = refused(run(*self.arguments(command, "demo/empty")), code=1)

        assert message.startswith("Error: nothing is live for demo/empty yet")
        message = refused(run(*self.arguments(command, "demo/foreign")), code=1)
        assert "was published by another producer and has no history" in message

    @pytest.mark.parametrize("command", sorted(ARGUMENTS.keys() - {"repair"}))
    def test_a_damaged_manifest_is_told_without_a_stack(self, shop: Shop, command: str) -> None:
        key = layout.manifest(Place("demo", "home"))
        shop.store.replace(key, b"{")

        result = run(*self.arguments(command, NAME))

        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        assert f"{shop.store.uri(key)} is not a manifest" in result.stderr

    @pytest.mark.parametrize("command", sorted(ARGUMENTS.keys() | OTHERS.keys()))
    def test_the_configuration_may_be_named_behind_it_too(self, shop: Shop, command: str) -> None:
        missing = str(shop.root / "other.yaml")
        arguments = (
            [*command.split(), *OTHERS[command]]
            if command in OTHERS
            else self.arguments(command, NAME)
        )

        messages = [
            refused(run(*words), code=2)
            for words in (["--config", missing, *arguments], [*arguments, "--config", missing])
        ]

        assert messages[0] == messages[1]
        assert messages[0].startswith(f"Error: {missing}: cannot be read")

    # `metrics` is for one machine, Prometheus, in its own format.
    @pytest.mark.parametrize("command", sorted({str(of.name) for of in READING} - {"metrics"}))
    def test_what_reads_gives_json_too_and_nothing_else(self, shop: Shop, command: str) -> None:
        arguments = (
            [command, *OTHERS[command]] if command in OTHERS else self.arguments(command, NAME)
        )

        result = run(*arguments, "--json")

        assert isinstance(json.loads(result.stdout), dict), result.output

    @pytest.mark.parametrize("command", ARGUMENTS)
    def test_help_says_what_it_does_and_what_its_options_are(self, command: str) -> None:
        result = done(run(command, "--help"))

        text = " ".join(result.stdout.split())
        assert f"Usage: main {command} [OPTIONS]" in text
        (found,) = [each for each in COMMANDS if each.name == command]
        assert found.help
        assert len(found.get_short_help_str(200)) > 20
        for parameter in found.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{parameter.name} of {command}"

    def test_the_list_of_commands_names_them(self) -> None:
        text = done(run("--help")).stdout

        assert all(f"\n  {command} " in text for command in ARGUMENTS)


@pytest.mark.long
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
