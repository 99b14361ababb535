"""Measure how long days take from landing to live, under a real daemon with its sensors running.

One file of the same day lands for each of some surfaces at once. Among them there may be one whose
day fails its checks, one whose run hangs, and one whose run is killed. Printed are the seconds
until the first surface is live, half of them and the last, the CPU seconds of daemon, servers and
runs meanwhile, and the most memory that they had together. Of another version it is measured with
its folder as PYTHONPATH. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

import yaml

sys.path.append(str(Path(__file__).parents[1]))
from measure import environment

from recsys_assets_tests.ui.dagster_servers import running_dev, wait_for

DAY: Final = datetime.now(UTC).date() - timedelta(days=1)
TENANT: Final = "bench"
CATALOG: Final = "item_id,tags\na,red\nb,yellow\n"
EVENTS: Final = 200
_TICKS_A_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Processes:
    """What the processes that work on a home have used, each as it was seen last."""

    home: Path
    cpu_s: dict[int, float] = field(default_factory=dict)
    peak_mb: float = 0.0
    at_peak: Counter[str] = field(default_factory=Counter)
    _of_home: dict[int, bool] = field(default_factory=dict)

    def look(self) -> None:
        """Take note of every process whose DAGSTER_HOME it is."""
        resident_mb: Counter[str] = Counter()
        for entry in os.scandir("/proc"):
            if not entry.name.isdecimal():
                continue
            pid = int(entry.name)
            with contextlib.suppress(OSError):
                if not self._is_of_home(pid):
                    continue
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self.cpu_s[pid] = (int(fields[11]) + int(fields[12])) / _TICKS_A_S
                shared = Path(f"/proc/{pid}/statm").read_text().split()
                own = (int(shared[1]) - int(shared[2])) * _PAGE
                resident_mb[what_it_is(pid)] += own // 2**20
        if resident_mb.total() > self.peak_mb:
            self.peak_mb, self.at_peak = resident_mb.total(), resident_mb

    def _is_of_home(self, pid: int) -> bool:
        if pid not in self._of_home:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            self._of_home[pid] = f"DAGSTER_HOME={self.home}".encode() in environ.split(b"\0")
        return self._of_home[pid]

    @property
    def total_s(self) -> float:
        """CPU seconds of all of them."""
        return sum(self.cpu_s.values())


def what_it_is(pid: int) -> str:
    """Name a process of Dagster by its command line."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    known = ("webserver", "daemon", "execute_run", "grpc", "code-server", "forkserver", "dev")
    named = [name for word in words for name in known if name in word.rpartition("/")[2]]
    return named[0] if named else "other"


def show(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def land(folder: Path, surface: str, of: date, *, events: int = EVENTS) -> None:
    """Write a day of raw events under another name, then rename it."""
    path = folder / f"raw/{TENANT}/{surface}/exposure.{of}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    common = {"v": 1, "ts": f"{of}T12:00:00Z", "tenant": TENANT, "surface": surface}
    lines = (
        common | {"session_id": f"s{n // 5}", "user_id": f"u{n // 10}", "item_id": f"i{n * 7 % 23}"}
        for n in range(events)
    )
    new = path.with_suffix(".new")
    new.write_text("".join(json.dumps(line) + "\n" for line in lines))
    new.rename(path)


def configure(folder: Path, surfaces: Sequence[str], settle_s: int) -> None:
    """Write surfaces.yaml and the catalogs."""
    entries = [
        {
            "tenant": TENANT,
            "surface": name,
            "start_date": DAY - timedelta(days=3 + number % 3),
            "source": {"path": "raw", "landing": {"settle_seconds": settle_s}},
            "catalog": {"path": f"{name}.csv"},
            "artifacts": {kind: {} for kind in ("popularity", "cooc", "implicit", "content_sim")},
        }
        for number, name in enumerate(surfaces)
    ]
    (folder / "raw").mkdir()
    (folder / "surfaces.yaml").write_text(yaml.safe_dump({"root": "var", "surfaces": entries}))
    for name in surfaces:
        (folder / f"{name}.csv").write_text(CATALOG)


def live_at(folder: Path, surface: str) -> float | None:
    """Return when the surface became live."""
    path = folder / f"var/registry/current/{TENANT}/{surface}/manifest.json"
    with contextlib.suppress(OSError):
        updated = json.loads(path.read_bytes())["updated_at"]
        return datetime.fromisoformat(updated).timestamp()
    return None


def readers(pipe: Path) -> Iterator[int]:
    """Yield the processes that have a pipe open, or wait for somebody to write to it."""
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                links = [str(Path(fd.path).readlink()) for fd in os.scandir(f"{entry.path}/fd")]
                if str(pipe) in links:
                    yield int(entry.name)


def feed_nobody(pipe: Path) -> None:
    """Hold a pipe open, so that who reads it waits with it open, for ever."""
    os.open(pipe, os.O_RDWR | os.O_NONBLOCK)


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Land the day of all surfaces, and print what came of it."""
    names = [f"s{number:04}" for number in range(arguments.surfaces)]
    configure(folder, names, arguments.settle)
    odd: dict[str, str] = {}
    if arguments.odd:
        third = len(names) // 4
        odd = {names[third]: "fails", names[2 * third]: "hangs", names[3 * third]: "is killed"}
    for name, how in odd.items():
        if how != "fails":
            (folder / f"{name}.csv").unlink()
            os.mkfifo(folder / f"{name}.csv")
            feed_nobody(folder / f"{name}.csv")
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    home = folder / "dagster_home"
    # One code server for all, as `dagster dev` and a deployment have it.
    with running_dev(
        home,
        folder / "surfaces.yaml",
        "-w",
        "workspace.yaml",
        lives_at_most_s=arguments.within + 600,
    ) as dagster:
        started = time.monotonic()
        sensors = arguments.sensors or [
            f"{TENANT}__{name}_{which}" for which in ("materialize", "landing") for name in names
        ]
        for sensor in sensors:
            dagster.start_sensor(sensor)
        wait_for("a tick of the last", lambda: dagster.ticks(sensors[-1]), within_s=600)
        time.sleep(
            35
        )  # of conditions too: what lands before they were looked at once is not theirs
        show(f"  {len(sensors)} sensors started and ticked in {time.monotonic() - started:.0f} s")
        processes = Processes(home)
        processes.look()
        before = processes.total_s
        begun = time.time()
        for name in names:
            land(folder, name, DAY, events=0 if odd.get(name) == "fails" else EVENTS)
        landed = time.time()
        wanted = [name for name in names if name not in odd]
        live: Mapping[str, float] = {}
        while len(live) < len(wanted) and time.time() - landed < arguments.within:
            for name, how in odd.items():
                if how == "is killed":
                    for pid in readers(folder / f"{name}.csv"):
                        if pid != os.getpid():
                            show(f"  {time.time() - landed:4.0f} s: the run of {name} is killed")
                            os.kill(pid, signal.SIGKILL)
            processes.look()
            found = {name: live_at(folder, name) for name in wanted}
            live = {name: at - landed for name, at in found.items() if at}
            time.sleep(0.5)
        processes.look()
        runs = dagster.runs()
    show(f"  landed within {landed - begun:.1f} s; odd: {odd or 'none'}")
    took = sorted(live.values())
    show(f"  live: {len(live)} of {len(wanted)}, by {runs} runs")
    if took:
        show(f"  first {took[0]:.1f} s, half {median(took):.1f} s, last {took[-1]:.1f} s")
    cpu_s = processes.total_s - before
    show(f"  {cpu_s:.1f} s CPU, {cpu_s / len(names):.2f} a surface; {processes.peak_mb:.0f} MB")
    parts = ", ".join(f"{what} {mb}" for what, mb in processes.at_peak.most_common())
    show(f"  of these, in MB: {parts}")


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surfaces", type=int, default=1)
    parser.add_argument("--settle", type=int, default=60, help="settle_seconds of each")
    parser.add_argument("--odd", action="store_true", help="one fails, one hangs, one is killed")
    parser.add_argument("--sensors", nargs="*", help="to start, in place of two of each surface")
    parser.add_argument("--within", type=int, default=1200, help="seconds to wait at most")
    arguments = parser.parse_args()
    show(f"{environment()}; {vars(arguments)}")
    with tempfile.TemporaryDirectory(prefix="landing-") as folder:
        measure(arguments, Path(folder))


if __name__ == "__main__":
    main()
