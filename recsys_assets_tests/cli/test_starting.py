"""`init`: what it writes is a project, and what it says comes next publishes a day."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsys_assets.cli import starting
from recsys_assets_tests.cli.conftest import done, refused, rows, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, in a shell that knows of no project."""
    monkeypatch.chdir(tmp_path)
    for name in ("RECSYS_CONFIG", "RECSYS_ROOT", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


@pytest.mark.usefixtures("in_memory")
def test_the_commands_that_it_prints_publish_the_day_that_it_names(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = done(run("init", "my shop")).stdout

    raw, event, *commands = re.findall(r"^  (\S.*)$", printed, re.MULTILINE)
    (elsewhere / raw).parent.mkdir(parents=True)
    (elsewhere / raw).write_text(f"{event}\n{event.replace('tea', 'cup')}\n")
    assert commands.pop() == "dagster dev"  # which finds workspace.yaml and dagster.yaml there
    assert len(commands) == 5
    results = []
    for command in commands:
        name, *words = shlex.split(command.replace("$PWD", str(Path.cwd())))
        if name == "cd":
            monkeypatch.chdir(*words)
        elif name == "export":
            for variable, value in (word.split("=", 1) for word in words):
                monkeypatch.setenv(variable, value)
        else:
            results.append(done(run(*words)))
    checked, made, status = results
    yesterday = str(datetime.now(UTC).date() - timedelta(days=1))
    assert "2 rows: 2 events" in checked.stdout
    assert [(row[0], row[-1]) for row in rows(made)] == [(yesterday, "published")]
    assert "fresh" in status.stdout
    assert {path.name for path in (elsewhere / "my shop").iterdir()} > {
        *starting.project_files(),
        "surfaces.yaml",
        "raw",
        "var",
    }


@pytest.mark.parametrize("name", ["surfaces.yaml", "dagster.yaml", "workspace.yaml"])
def test_nothing_is_overwritten_nor_written_beside_it(elsewhere: Path, name: str) -> None:
    (elsewhere / name).symlink_to("nowhere")

    message = refused(run("init"), code=2)

    assert message == (
        f"Error: {elsewhere} has {name} already, and nothing is overwritten: name another folder\n"
    )
    assert [path.name for path in elsewhere.iterdir()] == [name]


def test_a_folder_that_cannot_be_made_is_told(elsewhere: Path) -> None:
    (elsewhere / "file").touch()

    assert "Not a directory" in refused(run("init", "file/shop"), code=1)
    assert "is a file" in refused(run("init", "file"), code=2)


def test_the_files_of_dagster_are_those_of_this_project() -> None:
    """When this fails: cp dagster.yaml workspace.yaml recsys_assets/starter/."""
    for name, text in starting.project_files().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text
