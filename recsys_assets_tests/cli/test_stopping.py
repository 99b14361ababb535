"""Ctrl-C: nothing is left as going on, what is done is told, and the exit code is 130."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from recsys_assets.defs import materialize
from recsys_assets.defs.materialize import RangeResult
from recsys_assets.operations import publish as publishing
from recsys_assets.storage.flips import publish
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.cli.conftest import SMALL, days, land, run
from recsys_assets_tests.project import Project, day

# In the process itself, so that it is counted from where our code listens. Before, Python may lose
# it: what is raised in a callback of an import is printed, and the import goes on.
AFTER: Final = """
import os, runpy, signal, sys, threading, time
after = float(sys.argv.pop(1))
def press():
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        time.sleep(0.001)
    time.sleep(after)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press, daemon=True).start()
runpy.run_module("recsys_assets.cli", run_name="__main__", alter_sys=True)
"""
LEAN: Final[dict[str, Any]] = {"artifacts": {"popularity": {}}, "guardrails": {"min_events": 0}}


@pytest.fixture(autouse=True)
def _ctrl_c_as_it_was() -> Iterator[None]:
    """A command that was stopped leaves it to the system, since its process is about to end."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def start(*program: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def statuses(home: Path) -> list[str]:
    """Return the statuses of all runs, the newest first."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return [run.status.value for run in instance.get_runs()]


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an instance that nobody has opened."""
    home = tmp_path / "fresh"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.mark.long
def test_in_the_first_second(project: Project, fresh: Path) -> None:
    """While modules are read, definitions are built and the instance is made."""
    project.configure(SMALL)
    land(project, 0)
    command = ["materialize", *days(0, 0)]

    for after in (0.02, 0.2, 0.5, 0.9):
        process = start("-c", AFTER, str(after), *command)
        _, said = process.communicate(timeout=120)

        assert process.returncode == 130, f"after {after} s: {said}"
        assert "Traceback" not in said, f"after {after} s: {said}"
        assert "Stopped by Ctrl-C" in said
    process = start("-m", "recsys_assets.cli", *command)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said  # whatever was half done does no harm
    assert set(statuses(fresh)) <= {"SUCCESS", "CANCELED"}


@pytest.fixture
def hanging(project: Project, fresh: Path) -> Project:
    """Give three surfaces; the second hangs until the test is over."""
    catalog = project.folder / "pipe.csv"
    project.configure(
        LEAN,
        LEAN
        | {
            "surface": "hangs",
            "artifacts": {"popularity": {}, "content_sim": {}},
            "catalog": {"path": "pipe.csv"},
        },
        LEAN | {"surface": "last"},
    )
    land(project, 0, 1)
    os.mkfifo(catalog)
    return project


def until_it_is_read(pipe: Path) -> int:
    """Wait until somebody reads a pipe; it gets nothing until what is returned is closed."""
    for _ in range(600):
        with suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.1)
    raise TimeoutError(f"nobody reads {pipe}")


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_middle(hanging: Project, fresh: Path, number: signal.Signals) -> None:
    process = start("-m", "recsys_assets.cli", "materialize", *days(0, 1))
    with ExitStack() as after:
        writer = until_it_is_read(hanging.folder / "pipe.csv")
        after.callback(os.close, writer)
        time.sleep(0.5)
        os.killpg(process.pid, number)  # as a terminal does: to all that the command has started
        deadline = time.monotonic() + 120
        canceled = dg.RunsFilter(statuses=[dg.DagsterRunStatus.CANCELED])
        with dg.DagsterInstance.from_config(str(fresh)) as instance:
            while not instance.get_runs_count(canceled) and time.monotonic() < deadline:
                time.sleep(0.2)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.endswith(
        "demo/hangs: 0 of 2 days are done; not done: 2026-01-01 to 2026-01-02\n"
        "demo/last: not begun, 2026-01-01 to 2026-01-02\n"
        "What is published stays. The same command goes on from there.\n"
        "Stopped by Ctrl-C\n"
    )
    assert statuses(fresh)[0] == "CANCELED"
    assert set(statuses(fresh)[1:]) == {"SUCCESS"}
    assert (hanging.folder / "var/registry/current/demo/home/manifest.json").exists()


@pytest.mark.usefixtures("in_memory")
def test_days_that_were_published_before_are_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.configure(SMALL)
    land(project, 0, 1, 2)
    flip, flips = LocalStore.compare_and_swap, []

    def interrupted(self: LocalStore, key: str, data: bytes, *, expected: str | None) -> None:
        flips.append(key)
        if len(flips) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        flip(self, key, data, expected=expected)

    monkeypatch.setattr(LocalStore, "compare_and_swap", interrupted)

    result = run("materialize", *days(0, 2))

    assert result.exit_code == 130
    assert "demo/home: 1 of 3 days are done; not done: 2026-01-02 to 2026-01-03\n" in result.stderr
    assert result.stdout.count("published") == 1
    assert result.stdout.count("not done") == 2
    assert "Traceback" not in result.stderr
    assert "done in" not in result.stderr


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize("why", ["superseded", "pinned"])
def test_days_that_were_only_staged_count_as_done(
    project: Project, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    project.configure(SMALL)
    land(project, 0, 1, 2, 3)
    first = 0 if why == "superseded" else 1
    live = 3 if why == "superseded" else 0
    assert run("materialize", *days(live, live)).exit_code == 0
    if why == "pinned":
        assert run("pin", "demo/home", "--reason", "x").exit_code == 0
    published = []

    def interrupted(*where: Any, **what: Any) -> Any:
        published.append(what["window"])
        if len(published) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return publish(*where, **what)

    monkeypatch.setattr(publishing, "publish", interrupted)

    result = run("materialize", *days(first, first + 2))

    assert result.exit_code == 130
    left = f"{day(first + 1)} to {day(first + 2)}"
    assert f"demo/home: 1 of 3 days are done; not done: {left}\n" in result.stderr
    assert result.stdout.count(why) == 1


@pytest.mark.usefixtures("in_memory")
def test_between_two_runs_what_is_done_is_told_too(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.configure(SMALL)
    land(project, 0)

    def interrupted(_: RangeResult) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(materialize, "_without_files", interrupted)

    result = run("materialize", *days(0, 1))

    assert result.exit_code == 130
    assert "demo/home: 1 of 2 days are done; not done: none\n" in result.stderr
    assert result.stdout.count("published") == 1


def test_any_command_ends_with_130(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.configure(SMALL)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalStore, "read", interrupted)

    result = run("status")

    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Stopped by Ctrl-C\n")
