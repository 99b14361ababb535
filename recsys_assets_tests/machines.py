"""Several machines on one: each a code server and processes of runs with a home of its own.

What they share is the database and the object store. As Kubernetes does with pods, the launcher
makes each run a process that goes on when the code server and the daemon are gone; the daemon finds
out when it is not there any more. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any, Final

import dagster as dg
import yaml
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from recsys_assets.defs.internals import RETRIED_AS
from recsys_assets.places import Place
from recsys_assets.storage import open_store
from recsys_assets.storage.publications import history, read_live
from recsys_assets_tests.ports import free_port
from recsys_assets_tests.ui.dagster_servers import ROOT, wait_for

PROCESS: Final = "machines/process"
# Without it a backfill fails for good when the daemon finds that a code server is away.
WAITS: Final = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"


class Machines(RunLauncher[dg.DagsterInstance], ConfigurableClass):
    """Launches runs on machines in turn.

    Args:
        homes: DAGSTER_HOME of each machine.
        configs: RECSYS_CONFIG of each code location, by name.
        inst_data: what it was made of.
    """

    def __init__(
        self,
        homes: Sequence[str],
        configs: Mapping[str, str],
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        self._homes, self._configs, self._inst_data = homes, configs, inst_data
        self._turn = count()
        self._children: list[subprocess.Popen[bytes]] = []
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What it was made of."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Name the settings in dagster.yaml."""
        return {"homes": [str], "configs": dg.Map(str, str)}  # type: ignore[no-untyped-call]

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Machines:
        """Make it of dagster.yaml."""
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a process on the machine whose turn it is."""
        run = context.dagster_run
        assert context.job_code_origin
        assert run.remote_job_origin
        # The machine has its own dagster.yaml, so it is not told of this one.
        arguments = ExecuteRunArgs(context.job_code_origin, run.run_id, instance_ref=None)
        home = Path(self._homes[next(self._turn) % len(self._homes)])
        with (home / f"{run.run_id}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dagster", *arguments.get_command_args()[-3:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=home,
                env={
                    **os.environ,
                    "DAGSTER_HOME": str(home),
                    "RECSYS_CONFIG": self._configs[run.remote_job_origin.location_name],
                },
                start_new_session=True,
            )
        self._children.append(process)
        self._instance.add_run_tags(run.run_id, {PROCESS: str(process.pid)})

    def terminate(self, run_id: str) -> bool:
        """Refuse: nobody asks."""
        return False

    @property
    def supports_check_run_worker_health(self) -> bool:
        """It can be asked whether the process of a run is there."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Tell whether the process of a run is there."""
        self._children = [each for each in self._children if each.poll() is None]
        pid = run.tags.get(PROCESS)
        there = pid is not None and Path(f"/proc/{pid}").is_dir()
        status = WorkerStatus.RUNNING if there else WorkerStatus.NOT_FOUND
        return CheckRunHealthResult(status, None if there else "its process is gone")


@dataclass
class Machine:
    """A home, and the code server in it."""

    name: str
    home: Path
    config: Path
    port: int
    server: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the code server, as systemd or Kubernetes would when it is gone."""
        address = ["--host=127.0.0.1", f"--port={self.port}", f"--location-name={self.name}"]
        address += ["--module-name=recsys_assets.definitions"]
        with (self.home / "server.log").open("ab") as log:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "dagster", "api", "grpc", *address],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                env={
                    **os.environ,
                    "DAGSTER_HOME": str(self.home),
                    "RECSYS_CONFIG": str(self.config),
                },
            )

    def is_up(self) -> bool:
        """Tell whether the code server listens.

        Raises:
            RuntimeError: it has ended by itself.
        """
        if self.server and self.server.poll() is not None:
            log = (self.home / "server.log").read_text(errors="replace")
            raise RuntimeError(f"{self.name} ended with {self.server.returncode}: {log[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def kill_server(self) -> None:
        """End the code server at once."""
        if self.server:
            self.server.kill()
            self.server.wait()

    def runs(self) -> dict[int, str]:
        """Return the processes of runs on it, each with its command line."""
        return dict(_runs_of(self.home))

    def kill_runs(self) -> None:
        """End every run on it at once."""
        for pid in self.runs():
            kill(pid)


def kill(pid: int) -> None:
    """End a process at once; it may have ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def settings(storage: str, **more: Any) -> str:
    """Return a dagster.yaml: the project's own on PostgreSQL, which looks at runs more often."""
    found = yaml.safe_load((ROOT / "dagster-postgres.yaml").read_text())
    found["storage"]["custom"]["config"] = {"postgres_url": storage}
    found["run_monitoring"] |= {"poll_interval_seconds": 3, "start_timeout_seconds": 45}
    return yaml.safe_dump(found | more)


@contextlib.contextmanager
def running(machines: Sequence[Machine]) -> Iterator[None]:
    """Start all code servers; end in the end whatever is on the machines."""
    try:
        for machine in machines:
            machine.start()
        for machine in machines:  # what is not there when webserver and daemon start, stays away
            wait_for(machine.name, machine.is_up)
        yield
    finally:
        for machine in machines:
            machine.kill_server()
            machine.kill_runs()


def in_folder(folder: Path, storage: str, number: int) -> list[Machine]:
    """Make machines in a folder, each with an empty home; the code location has its name.

    Args:
        folder: where.
        storage: the address of the database that they share.
        number: how many.
    """
    made = []
    for n in range(number):
        home = folder / f"machine_{n + 1}"
        home.mkdir()
        (home / "dagster.yaml").write_text(settings(storage))
        made.append(Machine(home.name, home, home / "surfaces.yaml", free_port()))
    return made


def control_plane(home: Path, storage: str, machines: Sequence[Machine]) -> Path:
    """Make the home of webserver and daemon, which belong to no machine; return its workspace."""
    home.mkdir()
    configured = {
        "homes": [str(each.home) for each in machines],
        "configs": {each.name: str(each.config) for each in machines},
    }
    launcher = {"module": __name__, "class": Machines.__name__, "config": configured}
    (home / "dagster.yaml").write_text(settings(storage, run_launcher=launcher))
    servers = [
        {"grpc_server": {"host": "127.0.0.1", "port": each.port, "location_name": each.name}}
        for each in machines
    ]
    workspace = home / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": servers}))
    return workspace


def _runs_of(home: Path) -> Iterator[tuple[int, str]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{entry.name}/cmdline").read_bytes().decode()
                environ = Path(f"/proc/{entry.name}/environ").read_bytes().split(b"\0")
                if "execute_run" in command and f"DAGSTER_HOME={home}".encode() in environ:
                    yield int(entry.name), command


def published(root: str, place: Place) -> Sequence[tuple[str, date, dict[str, str]]]:
    """Return the flips that led to what is live, the oldest first: action, last day, versions."""
    store, flips = open_store(root), []
    live = read_live(store, place)
    for flip in history(store, live) if live else ():
        versions = {kind: uri.rpartition("/")[2] for kind, uri in flip.current.items()}
        versions.pop("publication", None)  # it says when
        flips.append((flip.action, flip.window.last_day, versions))
    return flips[::-1]


def given_up(home: Path) -> dict[str, str]:
    """Return why each run that failed was not started again."""
    why: dict[str, str] = {}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])):
            if RETRIED_AS not in run.tags:
                told = [str(entry.message) for entry in instance.all_logs(run.run_id)]
                why[run.run_id] = ([text for text in told if "retry" in text] or told)[-1]
    return why
