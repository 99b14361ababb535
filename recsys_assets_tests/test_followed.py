"""Pages followed as a reader does: in processes of their own, on an instance on the disk."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Final

import dagster as dg
import pytest

from recsys_assets_tests.project import DAY
from recsys_assets_tests.test_docs import ROOT, Step, assert_printed, example, steps
from recsys_assets_tests.ui.dagster_servers import running_dev, wait_for

BIN: Final = Path(sys.executable).parent
RUN_LOCALLY: Final = steps("run-locally.md", "run: run-locally")
DEV: Final = "dagster dev "


def write_example(folder: Path) -> Path:
    """Write the files of the example project into a folder; return its surfaces.yaml."""
    raw = folder / f"raw/shop/home/exposure.{DAY}.jsonl"
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.write_text(example("run-locally.md", "example: raw lines"), encoding="utf-8")
    for file in ("catalog.csv", "surfaces.yaml"):
        text = example("run-locally.md", f"example: {file}")
        (folder / file).write_text(text, encoding="utf-8")
    return folder / "surfaces.yaml"


def type_in(step: Step, folder: Path, environment: dict[str, str]) -> None:
    """Run a command of a page in the directory of the project, and hold it to what is shown."""
    name, *arguments = shlex.split(step.command.replace("/tmp/shop", str(folder)))  # noqa: S108
    if name == "export":
        environment |= dict(word.split("=", 1) for word in arguments)
        return
    if step.command == ". .venv/bin/activate":
        environment["PATH"] = f"{BIN}:{os.environ['PATH']}"
        return
    done = subprocess.run(
        [name, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == step.exit_code, f"{step.command}: {done.stdout}{done.stderr}"
    printed = done.stdout + (done.stderr if step.exit_code else "")
    assert_printed(step, printed.replace(str(folder), "/tmp/shop"))  # noqa: S108


@pytest.mark.long
def test_the_page_on_running_locally_can_be_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("RECSYS_", "DAGSTER_"))
    } | {"PYTHONPATH": str(ROOT)}
    folder = tmp_path / "shop"

    for step in RUN_LOCALLY:
        if step.command.startswith("export"):
            write_example(folder)
        if not step.command.startswith(DEV):
            type_in(step, folder, environment)

    monkeypatch.setenv("DAGSTER_HOME", environment["DAGSTER_HOME"])
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        runs = instance.get_runs()
    assert [run.status.value for run in runs] == ["FAILURE", "SUCCESS", "SUCCESS", "SUCCESS"]
    selected = [len(run.asset_selection or ()) for run in runs]
    assert selected[1] == 1  # by Dagster's own command: one asset, and before it all of them
    assert selected[2] == selected[3] > 1


@pytest.mark.long
def test_what_a_shell_starts_ticks_in_dagster_dev(tmp_path: Path) -> None:
    """Not only is it said to be started: the daemon of the page's own `dagster dev` looks at it."""
    (dev,) = [step.command for step in RUN_LOCALLY if step.command.startswith(DEV)]
    config_file = write_example(tmp_path)

    with running_dev(tmp_path / "home", config_file, *dev.removeprefix(DEV).split()) as dagster:
        environment = {**dagster.environment, "PATH": f"{BIN}:{os.environ['PATH']}"}
        for step in steps("operate-daily.md", "run: automation"):
            type_in(step, tmp_path, environment)

        for sensor in ("shop__home_materialize", "shop__home_landing"):
            wait_for(f"a tick of {sensor}", partial(dagster.ticks, sensor), within_s=120)
        assert dagster.is_running("shop__home_daily")
