"""Runs of a code server are forked from a process that has imported what they need."""

from __future__ import annotations

import os
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from recsys_assets.defs.internals import IMPORTED_FOR_RUNS, READY
from recsys_assets.storage import layout
from recsys_assets_tests.project import DAY, Project, day, event
from recsys_assets_tests.ui.dagster_servers import ROOT, running_dagster, wait_for

# Whose imports take time.
PACKAGES: Final = ("alembic", "dagster", "pandera", "polars", "rich", "sqlalchemy")
pytestmark = pytest.mark.slow
# As the process does that runs are forked from.
IMPORT_ALL = f"""
import contextlib, importlib, sys
from pathlib import Path
for name in {IMPORTED_FOR_RUNS!r}:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
comm = Path("/proc/self/comm").read_text().strip()
"""
# What a code server asks before it starts a run.
HOW = """
import os, time
from multiprocessing import forkserver
from pathlib import Path
from recsys_assets import definitions
from recsys_assets.defs import internals

def how():
    return internals.context_of_runs().get_start_method()

def pid():
    return forkserver._forkserver._forkserver_pid

def wait():
    while Path(f"/proc/{pid()}/comm").read_text().strip() != internals.READY:
        time.sleep(0.05)

told = [how()]
wait()
told.append(how())
changed_at, internals._changed_at = internals._changed_at, lambda file: time.time() + 60
told.append(how())
internals._changed_at = changed_at
told.append(how())
os.kill(pid(), 9)
time.sleep(0.5)
told.append(how())
wait()
told.append(how())
print(*told)
"""


def python(code: str, environment: Mapping[str, str] | None = None) -> str:
    """Run code in a process of its own; return the last line it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_after_the_imports_nothing_computes_in_the_process() -> None:
    assert python(f"{IMPORT_ALL}\nprint(comm)") == READY


def test_a_process_that_has_computed_is_not_forked() -> None:
    compute = "import polars as pl; pl.DataFrame({'a': [1, 2]}).lazy().sort('a').collect()"

    assert python(f"{compute}\n{IMPORT_ALL}\nprint(comm)") != READY


def test_a_run_starts_anew_until_the_process_is_ready_and_where_the_code_has_changed() -> None:
    not_ready, ready, changed, as_it_was, killed, again = python(HOW).split()

    assert (not_ready, changed, killed) == ("spawn",) * 3
    assert (ready, as_it_was, again) == ("forkserver",) * 3


def test_what_a_run_imports_was_imported_before(project: Project) -> None:
    """After an upgrade of Dagster: add what is printed to `IMPORTED_FOR_RUNS`."""
    project.configure({})
    project.land(DAY, [event("a")])
    run = """
before = set(sys.modules)
import dagster as dg
from recsys_assets.config import load_config
from recsys_assets.definitions import load_definitions
with dg.DagsterInstance.get() as instance:
    job = load_definitions(load_config()).definitions.resolve_implicit_global_asset_job_def()
    keys = [key for key in job.asset_layer.executable_asset_keys]
    assert job.execute_in_process(
        instance=instance, partition_key="DAY", asset_selection=keys
    ).success
new = {name for name in set(sys.modules) - before if "execute_in_process" not in name}
print(sorted(name for name in new if name.partition(".")[0] in PACKAGES))
""".replace("DAY", str(DAY)).replace("PACKAGES", str({*PACKAGES}))
    home = project.folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())

    new = python(
        f"{IMPORT_ALL}\n{run}",
        {"DAGSTER_HOME": str(home), "RECSYS_CONFIG": str(project.config_file)},
    )

    assert len(literal_eval(new)) < 20, new


def test_the_code_server_forks_its_runs(project: Project) -> None:
    home = project.folder / "home"
    config = project.configure({"artifacts": {"popularity": {}}, "catalog": None})
    for number in range(2):
        project.land(day(number), [event("a", of=day(number))])

    with running_dagster(home, project.config_file) as dagster:
        dagster.launch_backfill("demo/home", ["canonical_events"], [DAY])
        wait_for("the first run", lambda: dagster.backfill() == "COMPLETED_SUCCESS")
        (ready,) = wait_for("what is forked", lambda: [*ready_to_fork(home)])
        assert seconds_of_children(ready) == 0
        dagster.launch_backfill("demo/home", ["canonical_events"], [day(1)])
        wait_for("the second run", lambda: dagster.backfills() == ["COMPLETED_SUCCESS"] * 2)
        wait_for("its end", lambda: seconds_of_children(ready) > 0)

    assert project.store.stat(layout.canonical(config.surfaces[0].place, day(1)))


def ready_to_fork(home: Path) -> Iterator[Path]:
    """Yield the processes that runs of an instance are forked from, those that have begun."""
    of_home = f"DAGSTER_HOME={home}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_ready = (process / "comm").read_text().strip() == READY
            if is_ready and of_home in (process / "environ").read_bytes().split(b"\0"):
                yield process


def seconds_of_children(process: Path) -> float:
    """Return the CPU time of the children of a process that have ended."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")
