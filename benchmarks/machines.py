"""A launcher of runs for `many_machines.py`: each run is a process of one of several machines.

As Kubernetes does with pods, the run goes on when the code server and the daemon are gone, and the
daemon finds out when it is not there any more. A machine is a home of its own; what it shares with
the others is the database and the object store. Linux only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData

PROCESS = "machines/process"


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
