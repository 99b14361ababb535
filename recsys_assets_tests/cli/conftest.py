"""What the tests of the commands share: the command line, and projects that it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Final

import click
import dagster as dg
import pytest
import yaml
from click.testing import CliRunner, Result

from recsys_assets import cli
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import Shop, make_day, on, time_of, unsynced

Run = Callable[..., Result]
NAME: Final = "demo/home"
REASON: Final = ("--reason", "incident 7")
SMALL: Final = {"artifacts": {"popularity": {}, "cooc": {"min_support": 1}}}


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a Dagster instance that is made once."""
    folder = tmp_path_factory.mktemp("dagster_home")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return folder


def by_name(commands: Iterable[click.Command]) -> dict[str, click.Command]:
    """Return commands as they are typed; those of a group instead of the group."""
    found: dict[str, click.Command] = {}
    for command in commands:
        if isinstance(command, click.Group):
            below = by_name(command.commands.values())
            found |= {f"{command.name} {name}": each for name, each in below.items()}
        else:
            found[str(command.name)] = command
    return found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def use_config(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line find a configuration, and the root that it names."""
    monkeypatch.setenv("RECSYS_CONFIG", str(file))
    monkeypatch.delenv("RECSYS_ROOT", raising=False)


@pytest.fixture
def project(project: Project, home: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Give a project that the command line finds."""
    use_config(project.config_file, monkeypatch)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return project


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Publish three days, long ago, of a surface that the command line finds."""
    shop = Shop(tmp_path / "root")
    with time_of(shop.time):
        for number in (1, 2, 3):
            shop.time.passes(hours=1)
            shop.day(on(number), number)
    configure(shop, tmp_path, monkeypatch)
    return shop


def configure(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    surfaces = [
        {
            "tenant": "demo",
            "surface": name,
            "start_date": date(2020, 1, 1),
            "source": {"path": "raw"},
            "artifacts": {"popularity": {}, "cooc": {}},
        }
        for name in (*names, "home")
    ]
    file = folder / "surfaces.yaml"
    file.write_text(yaml.safe_dump({"root": str(shop.root), "surfaces": surfaces}))
    use_config(file, monkeypatch)


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Publish two days of raw lines, with ids that a terminal must not see."""
    with dg.DagsterInstance.ephemeral() as instance, unsynced():
        project = Project(tmp_path_factory.mktemp("once"), instance)
        surface = project.configure().surfaces[0]
        for number, items in enumerate((["a", "b"], ["b", "c", "esc\x1b[31m\x07", "rtl\u202e"])):
            of = day(number)
            project.land(of, [event(item, of=of) for item in items])
            make_day(project.store, surface, of)
        yield project


@pytest.fixture
def once(two_days: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Give two days that are published, for reading only."""
    use_config(two_days.config_file, monkeypatch)
    return two_days


def rows(result: Result) -> list[list[str]]:
    """Return the cells of every row that was printed."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def refused(result: Result, *, code: int) -> str:
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert "Traceback" not in result.stderr
    return result.stderr


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


@pytest.fixture
def nothing_is_started(project: Project) -> Iterator[None]:
    """Give a small project, and see that nothing was written below its root."""
    project.configure(SMALL)
    yield
    assert not (project.folder / "var").exists()


def wrong(result: Result) -> str:
    """Return what is said of what was refused with exit code 2, on one line."""
    return " ".join(refused(result, code=2).split())
