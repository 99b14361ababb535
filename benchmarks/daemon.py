"""Try the settings of dagster.yaml under a real daemon, and print what happened.

Two surfaces, whose catalog can be made a pipe that nobody writes to: a run that reads it hangs
until it is released. Webserver, daemon, code server and everything they write are in a temporary
directory. All cases take some seven minutes. Linux only; exits with 1 when one goes wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import dagster as dg
import yaml

sys.path.insert(1, str(Path(__file__).parents[1]))  # for the servers of the tests
from recsys_assets_tests.ui.dagster_servers import LOCATION, Dagster, running_dagster, wait_for

ROOT: Final = Path(__file__).parents[1]
DAY: Final = date(2026, 1, 1)
BAD_DAY: Final = date(2026, 1, 2)  # without an event
SURFACES: Final = ("home", "shop")
REPORTER: Final = "report_failures"
KINDS: Final = ("popularity", "content_sim")
CATALOG: Final = "item_id,tags\na,red\nb,yellow\n"
ENDED: Final = ("SUCCESS", "FAILURE", "CANCELED")
# What nobody wants to wait for here. Everything else is as in the file.
HURRIED: Final = {"poll_interval_seconds": 2, "cancel_timeout_seconds": 10}
LAUNCH: Final = """mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message }
  }
}"""
TICKS: Final = """query Ticks($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) {
    ... on Sensor { sensorState { ticks(limit: 50) { status skipReason error { message } } } }
  }
}"""


@dataclass
class Trial:
    """A project, its instance, and the servers that run on it."""

    folder: Path
    instance: dg.DagsterInstance
    servers: ExitStack = field(default_factory=ExitStack)
    posts: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    dagster: Dagster = field(init=False)

    def start(self) -> None:
        """Start webserver, daemon and code servers."""
        self.dagster = self.servers.enter_context(
            running_dagster(
                self.folder / "dagster_home",
                self.folder / "surfaces.yaml",
                hurried=False,
                lives_at_most_s=3600,
            )
        )

    def cut_power(self) -> None:
        """Kill the servers and their runs."""
        self.servers.close()

    def land(self, surface: str, of: date, *, events: int) -> None:
        """Write a day of raw events; without an event the day fails its guardrail."""
        path = self.folder / f"raw/demo/{surface}/exposure.{of}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        common = {"v": 1, "ts": f"{of}T12:00:00Z", "tenant": "demo", "surface": surface}
        lines = (
            common | {"session_id": "s", "user_id": "u", "item_id": f"i{number}"}
            for number in range(events)
        )
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def hang(self, surface: str) -> None:
        """Make every run hang that reads the surface's catalog from now on."""
        catalog = self.folder / f"{surface}.csv"
        catalog.unlink()
        os.mkfifo(catalog)

    def release(self, surface: str) -> None:
        """Let the run that hangs go on, and hang no other."""
        catalog, pipe = self.folder / f"{surface}.csv", self.folder / f"{surface}.pipe"
        catalog.rename(pipe)
        catalog.write_text(CATALOG)
        with contextlib.suppress(OSError):  # nobody reads it
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            os.write(writer, CATALOG.encode())
            os.close(writer)

    def launch(self, surface: str, of: date = DAY) -> str:
        """Launch every asset of a surface for a day, as the UI does; return the run id."""
        names = ("canonical_events", *KINDS, "manifest")
        selection = [{"path": ["demo", surface, name]} for name in names]
        params = {
            "selector": {**LOCATION, "jobName": "__ASSET_JOB", "assetSelection": selection},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": str(of)}]},
            "mode": "default",
            "runConfigData": {},
        }
        answer = self.dagster.ask(LAUNCH, params=params)
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def command_line(self, of: date) -> subprocess.Popen[bytes]:
        """Start `recsys-assets materialize` of home for a day."""
        days = ["--from", str(of), "--to", str(of)]
        command = ["-m", "recsys_assets.cli", "materialize", "--surface", "demo/home", *days]
        return subprocess.Popen(
            [sys.executable, *command],
            env=dict(self.dagster.environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def reported(self, run_id: str) -> str:
        """Wait for the report of a run; return its text."""
        texts = wait_for(
            f"the report of run {run_id}",
            lambda: [posted["text"] for posted in self.posts if posted["run_id"] == run_id],
            within_s=120,
        )
        return str(texts[0])

    def ticks(self) -> list[str]:
        """Return what the ticks of the sensor said, the first first."""
        selector = {**LOCATION, "sensorName": REPORTER}
        state = self.dagster.ask(TICKS, selector=selector)["sensorState"]
        ticks = [
            f"{tick['status']}: {tick['skipReason'] or (tick['error'] or {}).get('message', '')}"
            for tick in state["ticks"]
        ]
        return ticks[::-1]

    def run(self, run_id: str) -> dg.DagsterRun:
        """Return a run."""
        run = self.instance.get_run_by_id(run_id)
        assert run
        return run

    def status(self, run_id: str) -> str:
        """Return the status of a run."""
        return self.run(run_id).status.value

    def end(self, run_id: str, *, at_most_s: float = 120) -> str:
        """Wait for the end of a run; return its status."""
        wait_for(
            f"the end of run {run_id}", lambda: self.status(run_id) in ENDED, within_s=at_most_s
        )
        return self.status(run_id)

    def wait_until_it_hangs(self, run_id: str) -> None:
        """Wait until a run reads the pipe."""
        pipe = "content_sim"
        wait_for(f"run {run_id} to hang", lambda: self.started(run_id, pipe), within_s=60)

    def started(self, run_id: str, asset: str) -> bool:
        """Tell whether the step of an asset has started."""
        stats = self.instance.get_run_step_stats(run_id)
        return any(step.step_key.endswith(asset) and step.start_time for step in stats)

    def worker(self, run_id: str) -> int:
        """Return the process of a run, which it names when it starts."""
        for entry in self.instance.all_logs(run_id):
            event = entry.dagster_event
            if event and event.is_engine_event and "pid" in event.engine_event_data.metadata:
                return int(str(event.engine_event_data.metadata["pid"].value))
        raise AssertionError(f"no process of {run_id}")

    def said(self, run_id: str, *words: str) -> list[str]:
        """Return the messages of a run that hold one of some words, their beginnings."""
        events = [entry.dagster_event for entry in self.instance.all_logs(run_id)]
        messages = [event.message for event in events if event and event.message]
        return [text[:110] for text in messages if any(word in text for word in words)]

    def retry(self, run_id: str) -> str:
        """Wait for the run that was started again for one; return its id."""
        return wait_for(f"a retry of {run_id}", lambda: self.retries(run_id), within_s=60)[0]

    def retries(self, run_id: str) -> list[str]:
        """Return the runs that were started again for one."""
        return [run.run_id for run in self.instance.get_runs() if run.parent_run_id == run_id]


def show(text: str) -> None:
    """Print what happened, with the time."""
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)


def report(trial: Trial) -> None:
    """Each failed run is posted to the webhook once, also when it answered with 500 before."""
    wait_for("a tick", trial.ticks, within_s=90)
    trial.answers.append(500)
    from_ui = trial.launch("home", BAD_DAY)
    trial.end(from_ui)
    trial.command_line(BAD_DAY).wait(60)
    wait_for("two posts", lambda: len(trial.posts) >= 2, within_s=180)
    show(f"the ticks of the sensor: {trial.ticks()}")
    for posted in trial.posts:
        show(posted["text"])
    assert trial.posts[0]["run_id"] == from_ui
    assert len({posted["run_id"] for posted in trial.posts}) == len(trial.posts) == 2


def order(trial: Trial) -> None:
    """Two runs that publish one surface do not overlap; runs of two surfaces do."""
    for surface in SURFACES:  # a pool is made at its first run, and limits from then on
        trial.end(trial.launch(surface))
        trial.hang(surface)
    first, second = trial.launch("home"), trial.launch("home")
    trial.wait_until_it_hangs(first)
    other = trial.launch("shop")
    trial.wait_until_it_hangs(other)
    statuses = [trial.status(run) for run in (first, second, other)]
    show(f"home {statuses[0]}, home again {statuses[1]}, shop {statuses[2]}")
    assert statuses == ["STARTED", "QUEUED", "STARTED"]
    trial.release("shop")
    show(f"shop is released: {trial.end(other)}; a place is free")
    time.sleep(8)  # the daemon looks at its queue four times
    show(f"home again is {trial.status(second)}")
    assert trial.status(second) == "QUEUED"
    trial.release("home")
    show(f"home is released: {trial.end(first)}; home again {trial.end(second)}")
    assert trial.status(first) == trial.status(second) == "SUCCESS"


def crash(trial: Trial) -> None:
    """A run whose process is killed is started again."""
    trial.hang("home")
    run = trial.launch("home")
    trial.wait_until_it_hangs(run)
    os.kill(trial.worker(run), signal.SIGKILL)
    show("kill -9")
    show(f"{trial.end(run)}: {trial.said(run, 'SIGKILL')}")
    trial.release("home")
    again = trial.retry(run)
    show("started again")
    show(f"which ends as {trial.end(again)}")
    show(f"reported: {trial.reported(run)}")
    assert trial.status(again) == "SUCCESS"


def contract(trial: Trial) -> None:
    """A day that fails a check is not started again, and what depends on it is skipped."""
    run = trial.launch("home", BAD_DAY)
    show(f"{trial.end(run)}")
    wait_for("the daemon to look at it", lambda: trial.said(run, "Not retrying"), within_s=60)
    tried = [name for name in ("popularity", "manifest") if trial.started(run, name)]
    show(f"{trial.said(run, 'Not retrying')}; tried downstream: {tried}")
    assert trial.retries(run) == tried == []


def hang(trial: Trial) -> None:
    """A run that hangs is ended after `max_run_minutes`, here 1."""
    trial.hang("home")
    run = trial.launch("home")
    trial.wait_until_it_hangs(run)
    worker = trial.worker(run)
    show(f"hangs; its tag dagster/max_runtime is {trial.run(run).tags['dagster/max_runtime']} s")
    show(f"{trial.end(run)}: {trial.said(run, 'xceed')}")
    wait_for("the end of its process", lambda: not Path(f"/proc/{worker}").exists(), within_s=60)
    show("its process is gone")
    trial.release("home")
    again = trial.retry(run)
    show(f"started again, {trial.end(again)}")
    show(f"reported: {trial.reported(run)}")
    assert (trial.status(run), trial.status(again)) == ("FAILURE", "SUCCESS")


def killed_command(trial: Trial) -> None:
    """A killed command line does not hold back the next; the queue it does, for a time."""
    trial.hang("home")
    before = {run.run_id for run in trial.instance.get_runs()}
    command = trial.command_line(DAY)

    def started() -> list[str]:
        return [run.run_id for run in trial.instance.get_runs() if run.run_id not in before]

    wait_for("the run of the command line", started, within_s=60)
    (run,) = started()
    trial.wait_until_it_hangs(run)
    command.kill()
    command.wait()
    trial.release("home")
    start = time.monotonic()
    code = trial.command_line(DAY).wait(60)
    took = time.monotonic() - start
    show(f"killed, its run is {trial.status(run)}; the next exits with {code} in {took:.0f} s")
    assert code == 0
    queued = trial.launch("home")
    time.sleep(8)
    show(f"a run from the UI is {trial.status(queued)}")
    show(f"the killed run ends as {trial.end(run)}: {trial.said(run, 'xceed')}")
    show(f"the run from the UI ends as {trial.end(queued)}")
    assert (trial.status(run), trial.status(queued)) == ("FAILURE", "SUCCESS")


def power_cut(trial: Trial) -> None:
    """Runs that were going when everything was killed are ended, and started again."""
    trial.hang("home")
    run = trial.launch("home")
    trial.wait_until_it_hangs(run)
    trial.cut_power()
    trial.release("home")
    trial.start()
    show(f"everything is killed and started again; the run is {trial.status(run)}")
    show(f"{trial.end(run)}: {trial.said(run, 'xceed')}")
    again = trial.retry(run)
    show(f"started again, {trial.end(again)}")
    assert (trial.status(run), trial.status(again)) == ("FAILURE", "SUCCESS")


CASES: Final = {
    case.__name__: case
    for case in (report, order, crash, contract, hang, killed_command, power_cut)
}


@contextmanager
def trying(folder: Path, settings: Path) -> Iterator[Trial]:
    """Make a project and start the servers on it, and a webhook."""
    home = folder / "dagster_home"
    home.mkdir()
    text = yaml.safe_load(settings.read_text())
    text["run_monitoring"] |= HURRIED
    (home / "dagster.yaml").write_text(yaml.safe_dump(text))
    surfaces: list[dict[str, Any]] = [
        {
            "tenant": "demo",
            "surface": name,
            "start_date": DAY,
            "source": {"path": "raw"},
            "catalog": {"path": f"{name}.csv"},
            "artifacts": {kind: {} for kind in KINDS},
            "max_run_minutes": 1,
        }
        for name in SURFACES
    ]
    (folder / "surfaces.yaml").write_text(yaml.safe_dump({"root": "var", "surfaces": surfaces}))
    os.environ |= {
        "DAGSTER_HOME": str(home),
        "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "2",
    }
    with dg.DagsterInstance.from_config(str(home)) as instance:
        trial = Trial(folder, instance)
        for name in SURFACES:
            trial.land(name, DAY, events=2)
            trial.land(name, BAD_DAY, events=0)
            (folder / f"{name}.csv").write_text(CATALOG)
        with webhook(trial), trial.servers:
            trial.start()
            trial.dagster.start_sensor(REPORTER)
            yield trial


@contextmanager
def webhook(trial: Trial) -> Iterator[None]:
    """Receive posts."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = trial.answers.pop(0) if trial.answers else 200
            if status == 200:
                trial.posts.append(json.loads(body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        os.environ["RECSYS_WEBHOOK_URL"] = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Try the cases one after the other, on one project."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", type=Path, default=ROOT / "dagster.yaml")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)}; all of them")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        trying(Path(folder), options.settings) as trial,
    ):
        for name in options.cases or CASES:
            print(f"{name}: {CASES[name].__doc__}", flush=True)
            try:
                CASES[name](trial)
            except BaseException:
                for run in trial.instance.get_runs():
                    show(f"{run.run_id} {run.status.value} {run.tags}")
                raise


if __name__ == "__main__":
    main()
