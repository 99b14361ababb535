"""Build the image without Docker, run it as compose.yaml says, and print what it costs.

Code server, webserver and daemon as three containers, beside a PostgreSQL of this machine. A day is
landed, a run is queued through GraphQL, and what it published is read by the command line of the
image. Then the code server is stopped in the middle of another run, which has to end well. All of
it is in a temporary folder and a network of its own, and is gone afterwards. Root on Debian with
podman, buildah, runc and mmdebstrap; exits with 1 when something goes wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(1, str(Path(__file__).parents[1]))  # for the servers of the tests
from recsys_assets_tests import compose, postgres
from recsys_assets_tests.ui.dagster_servers import LOCATION, Dagster, wait_for

DEPLOY: Final = Path(__file__).parent
ROOT: Final = DEPLOY.parent
PROGRAMS: Final = ("mmdebstrap", "podman", "buildah", "runc", "unshare", "ip")
IMAGE: Final = "localhost/recsys-assets"
USER: Final = 10001
UI: Final = "http://127.0.0.1:3000"
# A step has mounts and processes of its own. When its first process ends, the kernel takes all of
# them away, also what podman left behind or is still starting: nothing is left to unmount.
ALONE: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
DAYS: Final = (date(2026, 1, 1), date(2026, 1, 2))
EVENTS: Final = 20_000
KINDS: Final = ("popularity", "cooc", "implicit", "session_seq")
# As slim images of Debian leave out.
LEFT_OUT: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
LAUNCH: Final = """mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message }
  }
}"""
STATUS: Final = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
LOADED: Final = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"


def show(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def run(*command: str | Path) -> str:
    """Run a command, and return what it prints.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr)[-4000:]
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.returncode}\n{said}")
    return done.stdout


@dataclass(frozen=True)
class Containers:
    """The image and its containers, in a folder."""

    folder: Path

    @property
    def _store(self) -> list[str]:
        return [f"--root={self.folder / 'store'}", f"--runroot={self.folder / 'run'}"]

    def podman(self, *words: str | Path) -> str:
        """Run podman; runc, since crun fails where control groups are of both versions."""
        how = ("--cgroup-manager=cgroupfs", "--events-backend=none", "--runtime=runc")
        return run("podman", *self._store, *how, *words)

    def build(self) -> None:
        """Build the image as `docker build` would, from a Debian of our own."""
        base, wheels = self.folder / "base.tar", self.folder / "wheels"
        slim = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
        # As images of Debian are made: without usrmerge, which brings all of Perl.
        slim += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--include=usr-is-merged"]
        run("mmdebstrap", "-q", "--variant=minbase", *slim, "bookworm", base)
        self.podman("import", base, "localhost/debian")
        base.unlink()
        # With the pip of this machine, which may have a cache or a mirror.
        pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:")
        files = [f"-r{DEPLOY / name}" for name in ("requirements.txt", "requirements-build.txt")]
        run(*pip, "--require-hashes", *files, "-d", wheels)
        run(
            *("buildah", *self._store, "bud", "--isolation=chroot", "--format=docker"),
            *("--build-arg=BASE=localhost/debian", "--build-arg=PIP_NO_INDEX=1"),
            *("--build-arg=PIP_FIND_LINKS=/wheels", f"--volume={wheels}:/wheels:ro"),
            *(f"--file={DEPLOY / 'Dockerfile'}", f"--tag={IMAGE}", ROOT),
        )
        shutil.rmtree(wheels)

    def size(self) -> int:
        """Return the size of the image in bytes, unpacked."""
        return int(self.podman("image", "inspect", "--format={{.Size}}", IMAGE))

    def start(self, name: str, service: dict[str, Any], *words: str) -> str:
        """Start a service of compose.yaml.

        Args:
            name: of the container.
            service: as compose.yaml has it.
            words: of podman, such as `--detach`.
        """
        places = {"logs": "logs", "data": "data", "./config": "config"}
        volumes = [volume.split(":", 1) for volume in service["volumes"]]
        environment = service["environment"].items()
        hosts = [f"--add-host={host}:127.0.0.1" for host in ("code", "postgres")]
        files = os.sysconf("SC_OPEN_MAX")
        return self.podman(
            *("run", f"--name={name}", "--network=host", *hosts, *words),
            *("--cap-drop=ALL", *(f"--security-opt={each}" for each in service["security_opt"])),
            *(f"--ulimit=nofile={files}:{files}", "--ulimit=nproc=4000:4000"),
            *(f"--env={variable}={value}" for variable, value in environment),
            *(f"--volume={self.folder / places[source]}:{target}" for source, target in volumes),
            *(f"--entrypoint={word}" for word in service.get("entrypoint", ())),
            *(IMAGE, *service["command"]),
        )

    def is_healthy(self, name: str, service: dict[str, Any]) -> bool:
        """Tell whether a container passes the health check of its service."""
        first, *test = service["healthcheck"]["test"]
        assert first == "CMD"
        try:
            self.podman("exec", name, *test)
        except RuntimeError:
            running = self.podman("inspect", "--format={{.State.Running}}", name)
            if running.strip() != "true":
                raise
            return False
        return True

    def memory(self, name: str) -> int:
        """Return the resident memory of all processes of a container, in bytes.

        What its processes share is counted once, by proportional set sizes.
        """
        first = self.podman("inspect", "--format={{.State.Pid}}", name).strip()
        processes, total = [first], 0
        for process in processes:
            try:
                children = [
                    path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")
                ]
                rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8")
            except (FileNotFoundError, ProcessLookupError):  # a run that has ended meanwhile
                continue
            processes += " ".join(children).split()
            total += next(
                int(line.split()[1]) * 1024
                for line in rollup.splitlines()
                if line.startswith("Pss:")
            )
        return total


def write_inputs(folder: Path) -> None:
    """Write the configuration of compose.yaml, and raw days for it."""
    shutil.copytree(DEPLOY / "config", folder / "config")
    raw = folder / "data/raw/shop/home"
    raw.mkdir(parents=True)
    (folder / "logs").mkdir()
    for day in DAYS:
        lines = (
            {
                "v": 1,
                "ts": f"{day}T09:00:00Z",
                "tenant": "shop",
                "surface": "home",
                "session_id": f"s{number // 5}",
                "user_id": f"u{number // 10}",
                "item_id": f"i{number * number % 997}",
            }
            for number in range(EVENTS)
        )
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (raw / f"exposure.{day}.jsonl").write_text(text, encoding="utf-8")
    for path in (folder / "data", folder / "logs"):
        run("chown", "-R", f"{USER}:{USER}", path)


def launch(dagster: Dagster, day: date) -> str:
    """Queue a run of a day, as the UI does; return its id."""
    names = ("canonical_events", *KINDS, "manifest")
    selection = [{"path": ["shop", "home", name]} for name in names]
    params = {
        "selector": {**LOCATION, "jobName": "__ASSET_JOB", "assetSelection": selection},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": str(day)}]},
        "mode": "default",
        "runConfigData": {},
    }
    answer = dagster.ask(LAUNCH, params=params)
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def has_loaded(dagster: Dagster) -> bool:
    """Tell whether the webserver answers and has what the code server serves."""
    try:
        entries = dagster.ask(LOADED)["locationEntries"]
    except OSError:
        return False
    return [entry["loadStatus"] for entry in entries] == ["LOADED"]


def live_window(folder: Path) -> str:
    """Return the day that the published popularity is of."""
    manifest = json.loads(
        (folder / "data/root/registry/current/shop/home/manifest.json").read_text(encoding="utf-8")
    )
    blob = manifest["current"]["popularity"].removeprefix("file:///data/")
    document = json.loads((folder / "data" / blob).read_text(encoding="utf-8"))
    return str(document["window"]["start"])


def build(folder: Path) -> None:
    """Build the image, and print what that took."""
    containers = Containers(folder)
    begin = time.monotonic()
    containers.build()
    show(f"seconds to build: {time.monotonic() - begin:.0f}")
    show(f"size of the image: {containers.size() / 1e6:.0f} MB")


def try_containers(folder: Path) -> None:
    """Publish a day through the containers, and take them away."""
    run("ip", "link", "set", "lo", "up")
    containers = Containers(folder)
    try:
        publish_two_days(containers)
    finally:  # the kernel would leave the control groups
        containers.podman("rm", "--all", "--force", "--time=0")


def publish_two_days(containers: Containers) -> None:
    """Publish a day through the containers, and another one while the code server stops."""
    folder, dagster = containers.folder, Dagster(UI, {})
    found = postgres.programs()
    assert found, "PostgreSQL is not installed (Debian: postgresql)"
    write_inputs(folder)
    with postgres.running(found) as database:
        services = compose.read({"POSTGRES_PASSWORD": "unused"})["services"]
        address = f"postgresql+psycopg2://{database.user}@postgres:{database.port}/postgres"
        for service in services.values():
            if "DAGSTER_POSTGRES_URL" in service.get("environment", {}):
                service["environment"]["DAGSTER_POSTGRES_URL"] = address

        def status(run_id: str) -> str:
            return str(dagster.ask(STATUS, id=run_id)["status"])

        def ended(run_id: str) -> str:
            ends = {"SUCCESS", "FAILURE", "CANCELED"}
            wait_for(f"run {run_id}", lambda: status(run_id) in ends, within_s=400)
            return status(run_id)

        begin = time.monotonic()
        containers.start("instance", services["instance"], "--rm")
        for name in ("code", "webserver", "daemon"):
            containers.start(name, services[name], "--detach")
            if name == "code":
                wait_for(name, partial(containers.is_healthy, name, services[name]))
        wait_for("the webserver", lambda: has_loaded(dagster))
        show(f"start to first healthy page: {time.monotonic() - begin:.1f} s")
        for name in ("webserver", "daemon"):
            wait_for(name, partial(containers.is_healthy, name, services[name]))

        begin = time.monotonic()
        assert ended(launch(dagster, DAYS[0])) == "SUCCESS", containers.podman("logs", "code")
        show(f"run of a day, from the queue to its end: {time.monotonic() - begin:.1f} s")
        assert live_window(folder).startswith(str(DAYS[0]))
        for name in ("code", "webserver", "daemon"):
            show(f"memory of {name}: {containers.memory(name) / 1e6:.0f} MB")
        cli = services["cli"] | {"command": ["verify"]}
        containers.start("cli", cli, "--rm")

        second = launch(dagster, DAYS[1])
        # Before that, its process may not be there yet, and nobody waits for it.
        before = {"QUEUED", "NOT_STARTED", "STARTING"}
        wait_for("a run to begin", lambda: status(second) not in before)
        begin = time.monotonic()
        containers.podman("stop", "--time=400", "code")
        waited = time.monotonic() - begin
        assert ended(second) == "SUCCESS", containers.podman("logs", "code")
        assert live_window(folder).startswith(str(DAYS[1]))
        show(f"stopping the code server waited for its run: {waited:.1f} s")


# In a network of its own no port of this machine is taken, and none is opened.
STEPS: Final = {"build": (build, ()), "containers": (try_containers, ("--net",))}


def main(arguments: Sequence[str]) -> None:
    """Do all of it in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help="leave the folder, and say where it is")
    options = parser.parse_args(arguments)
    if options.step:
        STEPS[options.step][0](options.folder)
        return
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        sys.exit(f"it takes root on Debian, and {', '.join(PROGRAMS)}; absent: {missing}")
    folder = Path(tempfile.mkdtemp(prefix="recsys-image-"))
    folder.chmod(0o755)
    try:
        for step, (_, apart) in STEPS.items():
            this = (sys.executable, __file__, f"--step={step}", f"--in={folder}")
            if ended := subprocess.run([*ALONE, *apart, *this], check=False).returncode:
                sys.exit(ended)
    finally:
        if options.keep:
            show(f"left in {folder}")
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
