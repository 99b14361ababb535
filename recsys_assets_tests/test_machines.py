"""Several machines share a database and a bucket, and lose runs, code servers, and each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from recsys_assets.defs.internals import COULD_NOT_RETRY
from recsys_assets.places import Place
from recsys_assets.storage import open_store
from recsys_assets_tests.defs.test_instance import url_for_dagster
from recsys_assets_tests.machines import (
    WAITS,
    Machine,
    control_plane,
    given_up,
    in_folder,
    published,
    running,
)
from recsys_assets_tests.postgres import Database
from recsys_assets_tests.project import day, event
from recsys_assets_tests.storage.servers import Server
from recsys_assets_tests.ui.dagster_servers import ROOT, Dagster, running_dagster, wait_for

KIND: Final = "popularity"
DAYS: Final = [day(number) for number in range(3)]
NAMES: Final = ("home", "search")


def configure(path: Path, root: str, bucket: str, names: Sequence[str]) -> None:
    """Write surfaces.yaml for some surfaces."""
    surfaces: list[dict[str, Any]] = [
        {
            "tenant": "demo",
            "surface": name,
            "start_date": DAYS[0],
            "end_date": day(len(DAYS)),
            "source": {"path": f"{bucket}/raw"},
            "artifacts": {KIND: {}},
        }
        for name in names
    ]
    path.write_text(yaml.safe_dump({"root": root, "surfaces": surfaces}))


def land(bucket: str, name: str, of: date) -> None:
    """Put a day of raw events into the bucket: another one for each surface and day."""
    items = ["a", "b", f"{name} {of}"]
    lines = [json.dumps(event(item, of=of, surface=name)) + "\n" for item in items]
    open_store(bucket).put_new(f"raw/demo/{name}/exposure.{of}.jsonl", "".join(lines).encode())


def by_one_process(folder: Path, root: str, bucket: str) -> dict[str, Sequence[Any]]:
    """Make all days by one command, in a root of its own; return what it published."""
    configure(folder / "control.yaml", root, bucket, NAMES)
    (folder / "control").mkdir()
    span = [f"--from={DAYS[0]}", f"--to={DAYS[-1]}"]
    subprocess.run(
        [sys.executable, "-m", "recsys_assets.cli", "materialize", *span],
        env={
            **os.environ,
            "RECSYS_CONFIG": str(folder / "control.yaml"),
            "DAGSTER_HOME": str(folder / "control"),
        },
        check=True,
        capture_output=True,
        timeout=120,
    )
    return {name: published(root, Place("demo", name)) for name in NAMES}


def statuses(dagster: Dagster) -> dict[str, str]:
    """Return the status of each run."""
    found = dagster.ask("{ runsOrError { ... on Runs { results { runId status } } } }")
    return {each["runId"]: each["status"] for each in found["results"]}


def under_way(dagster: Dagster, machine: Machine) -> str:
    """Return a run that has started on a machine; empty where there is none."""
    started = [run for run, status in statuses(dagster).items() if status == "STARTED"]
    of_machine = "".join(machine.runs().values())
    return next((run for run in started if run in of_machine), "")


def lose(dagster: Dagster, machine: Machine) -> None:
    """Kill all that is on a machine, and a run with it."""
    lost = ""
    while statuses(dagster).get(lost) != "FAILURE":  # it may be about to end as it is killed
        lost = wait_for("a run", lambda: under_way(dagster, machine))
        machine.kill_server()
        machine.kill_runs()
        machine.start()
        wait_for("its end", lambda run=lost: statuses(dagster)[run] != "STARTED")  # type: ignore[misc]


def lose_code_with_its_runs(dagster: Dagster, home: Path, machines: Sequence[Machine]) -> None:
    """Kill all that is on all machines until the daemon can start a run no more."""
    wait_for("a run", lambda: any(under_way(dagster, machine) for machine in machines))
    for machine in machines:
        machine.kill_server()

    def could_not_retry() -> bool:
        for machine in machines:
            machine.kill_runs()  # at first the daemon still knows the code, and starts them again
        return any(COULD_NOT_RETRY in why for why in given_up(home).values())

    wait_for("the daemon gives up", could_not_retry)
    for machine in machines:
        machine.start()
    for machine in machines:
        wait_for("the code server", machine.is_up)


@pytest.mark.long
def test_each_day_is_published_once_by_whichever_machine_is_left(
    tmp_path: Path, database: Database, s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are lost, and come back when the daemon has given up. Then one is. Nobody helps."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(WAITS, "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    bucket = s3_server.url(tmp_path.name)
    storage = url_for_dagster(database)
    machines = in_folder(tmp_path, storage, 2)
    first, other = machines
    configure(first.config, f"{bucket}/root", bucket, NAMES)
    configure(other.config, f"{bucket}/root", bucket, ["idle"])
    for name in NAMES:
        for of in DAYS:
            land(bucket, name, of)
    home = tmp_path / "home"
    workspace = control_plane(home, storage, machines)
    live = {name: Place("demo", name) for name in NAMES}

    def all_published() -> bool:
        found = (published(f"{bucket}/root", place) for place in live.values())
        return all(flips and flips[-1][1] == DAYS[-1] for flips in found)

    with (
        running(machines),
        running_dagster(home, first.config, workspace=workspace) as dagster,
    ):
        for name in NAMES:
            dagster.launch_backfill(f"demo/{name}", ["canonical_events", KIND, "manifest"], DAYS)
        lose_code_with_its_runs(dagster, home, machines)
        lose(dagster, other)
        wait_for("all days", all_published)
        wait_for("the end of all", lambda: "REQUESTED" not in dagster.backfills())
        ended = dagster.backfills()
        made = {name: dagster.days(f"demo/{name}/manifest") for name in NAMES}

    assert len(ended) > len(NAMES)  # what one of them had not made was launched again
    assert ended.count("COMPLETED_SUCCESS") >= len(NAMES)
    assert made == {name: {"MATERIALIZED": DAYS} for name in NAMES}
    wanted = by_one_process(tmp_path, f"{bucket}/control", bucket)
    for name, place in live.items():
        # A day that a later one has overtaken while its run was started again is not made live.
        flips = published(f"{bucket}/root", place)
        assert flips == [flip for flip in wanted[name] if flip in flips]
