"""Time what people do daily, at scale, under a real webserver and daemon; hold it to its result.

load      import and definitions of 1, 10 and 50 surfaces, each in a process of its own; then one
          partition of the demo data through the command line.
year      365 days of Complete Journey, every kind: as one materialization of the command line and
          as one backfill of the UI, which must publish the same. Then the sensors start, and 3
          files of old days are landed again, changed: exactly their partitions may be made again,
          as the event log tells.
log       --year-days days of Complete Journey by the command line, --repeat times in turns: with
          the event log of dagster.yaml, and with Dagster's own.
surfaces  --surfaces surfaces x --days days land at once, the sensors running. One surface has only
          bad days, and one has no source: all others must be published, whole.

Memory is what webserver, daemon, code servers and runs hold together, and the largest of them. The
exit code is 1 when a result is not as it must be.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import measure
import yaml

from recsys_assets.demo.complete_journey import write_catalog, write_raw_events
from recsys_assets.kinds import KINDS

sys.path.insert(1, str(Path(__file__).parents[1]))  # for the servers of the tests
from recsys_assets_tests.ui.dagster_servers import Dagster, running_dagster, wait_for

ROOT = Path(__file__).parents[1]
OF_EVENTS = [kind.name for kind in KINDS.values() if kind.reads == "events"]
FIRST = date(2017, 1, 1)
LATE = (date(2017, 3, 10), date(2017, 7, 4), date(2017, 12, 30))
AS_DEPLOYED: dict[str, Any] = {"hurried": False, "lives_at_most_s": 7200}
_CLI = (sys.executable, "-m", "recsys_assets.cli")
_IDLE = """{ runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED]}, limit: 1) {
  ... on Runs { results { runId } } } }"""
_RUNS = """{ runsOrError(limit: 5000) { ... on Runs { results { status } } } }"""
_BACKFILLS = """{ partitionBackfillsOrError(limit: 1000) {
  ... on PartitionBackfills { results { status } } } }"""

Options = argparse.Namespace


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--directory", type=Path, help="Where to work.  [default: a new one]")
    parser.add_argument("--repeat", type=int, default=5, help="Of load.  [default: 5]")
    parser.add_argument("--year-days", type=int, default=365, help="[default: 365]")
    parser.add_argument("--window-days", type=int, default=1, help="Of year.  [default: 1]")
    parser.add_argument("--surfaces", type=int, default=50, help="[default: 50]")
    parser.add_argument("--days", type=int, default=30, help="Of each surface.  [default: 30]")
    options = parser.parse_args()
    print(measure.environment(), flush=True)
    problems: list[str] = []
    for part in options.parts:
        with tempfile.TemporaryDirectory(dir=options.directory) as folder:
            problems += PARTS[part](Path(folder), options)
    for problem in problems:
        print(f"WRONG: {problem}")
    return 1 if problems else 0


def load(folder: Path, options: Options) -> list[str]:
    """Print how long a process takes to have the definitions, and to make one partition."""
    print(f"\nload, median of {options.repeat}")
    for count in (1, 10, 50):
        path = write_config(folder, [small_surface(f"s{number}") for number in range(count)])
        command = [
            sys.executable,
            "-c",
            "from recsys_assets.definitions import defs; defs().get_repository_def()",
        ]
        print(f"{count:3d} surfaces {median(command, path, folder, options.repeat)}")
    path = journey(folder, [FIRST], 1)
    home(folder)
    command = [*_CLI, "materialize", "--from", str(FIRST), "--to", str(FIRST)]
    print(f"one partition, command line {median(command, path, folder, options.repeat)}")
    return []


def median(command: Sequence[str], config: Path, folder: Path, repeat: int) -> str:
    """Run a command several times and return a line on its cost."""
    costs = [
        measure.run(command, env=variables(config, folder), log=folder / "log")
        for _ in range(repeat)
    ]
    return str(measure.median(costs))


def year(folder: Path, options: Options) -> list[str]:
    """Backfill a year twice, then land three late files."""
    days = [FIRST + timedelta(days=number) for number in range(options.year_days)]
    by_hand, by_ui = folder / "by hand", folder / "by ui"
    print(f"\nyear: {len(days)} days of Complete Journey, window of {options.window_days} days")
    config = journey(by_hand, days, options.window_days)
    home(by_hand)
    command = [*_CLI, "materialize", "--from", str(days[0]), "--to", str(days[-1])]
    print(
        f"command line {measure.run(command, env=variables(config, by_hand), log=by_hand / 'log')}"
    )
    config = journey(by_ui, days, options.window_days)
    with (
        running_dagster(by_ui / "home", config, **AS_DEPLOYED) as dagster,
        watched_memory() as memory,
    ):
        started = time.perf_counter()
        launch(dagster, days)
        wait_for("the backfill", lambda: finished(dagster), within_s=1800)
        print(
            f"UI           {time.perf_counter() - started:8.2f} s wall; {tell(dagster)}; {memory}"
        )
        problems = (
            [] if published(by_hand) == published(by_ui) else ["the two published other versions"]
        )
        for sensor in ("grocer__store_materialize", "grocer__store_landing"):
            dagster.start_sensor(sensor)
            wait_for(sensor, partial(ticked, dagster, sensor, 1), within_s=120)
        wait_for(
            "the files to settle", lambda: dagster.ticks("grocer__store_landing") >= 5, within_s=300
        )
        with open_instance(by_ui) as instance:
            before = materialized(instance)
            again = [day for day in LATE if day in days]
            for day in again:
                land_late(by_ui, day)
            started = time.perf_counter()
            expected = touched(again, days, options.window_days)
            wait_for(
                "the late days",
                lambda: materialized(instance) - before >= expected and idle(dagster),
                within_s=900,
            )
            seconds = time.perf_counter() - started
            print(f"{len(again)} late files {seconds:8.2f} s until everything was made again")
            ticks = dagster.ticks("grocer__store_landing")
            wait_for(
                "two quiet ticks",
                lambda: dagster.ticks("grocer__store_landing") >= ticks + 2,
                within_s=120,
            )
            wait_for("quiet", lambda: idle(dagster))
            found = materialized(instance) - before
    for (asset, of), times in sorted(found.items()):
        print(f"    {of} {asset:16} made {times} times" if times > 1 else f"    {of} {asset}")
    if found != expected:
        problems.append(f"made again were {found - expected} too many, {expected - found} too few")
    return problems


def log(folder: Path, options: Options) -> list[str]:
    """Compare the event log of this project with Dagster's own."""
    days = [FIRST + timedelta(days=number) for number in range(options.year_days)]
    print(f"\nlog: {len(days)} days of Complete Journey, median of {options.repeat}, in turns")
    command = [*_CLI, "materialize", "--from", str(days[0]), "--to", str(days[-1])]
    costs: dict[str, list[measure.Cost]] = {"pooled": [], "Dagster's own": []}
    for turn in range(options.repeat):
        for name, found in costs.items():
            place = folder / f"{name} {turn}"
            config = journey(place, days, options.window_days)
            home(place)
            if name != "pooled":
                settings = place / "home" / "dagster.yaml"
                whole = yaml.safe_load(settings.read_text(encoding="utf-8"))
                del whole["storage"]
                settings.unlink()
                settings.write_text(yaml.safe_dump(whole), encoding="utf-8")
            found.append(measure.run(command, env=variables(config, place), log=place / "log"))
    medians = {name: measure.median(found) for name, found in costs.items()}
    for name, cost in medians.items():
        print(f"{name:14} {cost}")
    ratios = measure.ratios(medians["pooled"], medians["Dagster's own"])
    print(f"pooled in parts of Dagster's own: wall, CPU, peak {ratios}")
    return []


def touched(
    late: Sequence[date], days: Sequence[date], window_days: int
) -> Counter[tuple[str, str]]:
    """Return what late files of some days must make again: each partition once."""
    following = {
        day + timedelta(days=number) for day in late for number in range(window_days)
    } & set(days)
    of_window = (*OF_EVENTS, "manifest")
    return Counter(
        [("canonical_events", str(day)) for day in late]
        + [("raw_events", str(day)) for day in late]
        + [(asset, str(day)) for day in following for asset in of_window]
    )


def surfaces(folder: Path, options: Options) -> list[str]:
    """Land everything of many surfaces at once."""
    names = [f"s{number:02d}" for number in range(options.surfaces)]
    bad, broken = names[0], names[1]
    print(
        f"\nsurfaces: {len(names)} surfaces x {options.days} days; {bad} has only bad days, "
        f"{broken} no source"
    )
    end = datetime.now(UTC).date()
    days = [end - timedelta(days=number) for number in range(options.days, 0, -1)]
    described = [small_surface(name, start=days[0]) for name in names]
    described[1]["source"] = {"path": "not there"}
    config = write_config(folder, described)
    with (
        running_dagster(folder / "home", config, **AS_DEPLOYED) as dagster,
        watched_memory() as memory,
    ):
        for name in names:
            dagster.start_sensor(f"shop__{name}_materialize")
        for name in names:
            wait_for(name, partial(ticked, dagster, f"shop__{name}_materialize", 1), within_s=600)
        for name in names:
            for day in days:
                land(folder, name, day, [] if name == bad else ["a", "b", "c"])
            dagster.start_sensor(f"shop__{name}_landing")
        started = time.perf_counter()
        good = [name for name in names if name not in {bad, broken}]

        def whole() -> bool:
            with open_instance(folder) as instance:
                done = [
                    len(
                        instance.get_materialized_partitions(
                            dg.AssetKey(["shop", name, "manifest"])
                        )
                    )
                    for name in good
                ]
            wanted = len(good) * len(days)
            seconds = time.perf_counter() - started
            print(f"  {seconds:6.0f} s: {sum(done)} of {wanted} days published", flush=True)
            time.sleep(15)
            return sum(done) == wanted

        wait_for("every good day", whole, within_s=3600)
        seconds = time.perf_counter() - started
        print(f"all published {seconds:8.2f} s wall; {tell(dagster)}; {memory}")
    live = {name: manifest["window"] for name, manifest in published(folder).items()}
    wrong = [name for name in good if live.get(f"shop/{name}") != str(days[-1])]
    return [f"not live with the last day: {wrong}"] if wrong else []


PARTS: Mapping[str, Callable[[Path, Options], list[str]]] = {
    "load": load,
    "year": year,
    "log": log,
    "surfaces": surfaces,
}


def write_config(folder: Path, described: Sequence[Mapping[str, Any]]) -> Path:
    """Write a surfaces.yaml."""
    path = folder / "surfaces.yaml"
    path.write_text(yaml.safe_dump({"root": "var", "surfaces": list(described)}))
    (folder / "raw").mkdir(exist_ok=True)
    (folder / "catalog.csv").write_text("item_id,tags\na,red\nb,blue\n")
    return path


def small_surface(name: str, start: date = FIRST) -> dict[str, Any]:
    """Describe a surface of every kind."""
    return {
        "tenant": "shop",
        "surface": name,
        "start_date": start,
        "source": {"path": "raw", "landing": {"settle_seconds": 0}},
        "catalog": {"path": "catalog.csv"},
        "artifacts": {kind: {} for kind in KINDS},
    }


def journey(folder: Path, days: Sequence[date], window_days: int) -> Path:
    """Write the raw days and the catalog of Complete Journey, and a surfaces.yaml for them."""
    folder.mkdir(exist_ok=True)
    described = {
        **small_surface("store"),
        "tenant": "grocer",
        "end_date": days[-1] + timedelta(days=1),
        "window_days": window_days,
        "artifacts": {**{kind: {} for kind in KINDS}, "cooc": {"max_items": 20_000}},
        "guardrails": {
            "min_events": 0,  # nobody shops at Christmas
            "max_artifact_bytes": 1_000_000_000,
            "max_oversized_session_share": 1.0,
        },
    }
    path = write_config(folder, [described])
    write_raw_events(folder / "raw", days)
    write_catalog(folder / "catalog.csv")
    return path


def land(folder: Path, name: str, day: date, items: Sequence[str]) -> None:
    """Write a raw file of ten users; of no items, one that no check lets through."""
    path = folder / f"raw/shop/{name}/exposure.{day}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "v": 1,
                "ts": f"{day}T12:00:{second:02d}Z",
                "tenant": "shop",
                "surface": name,
                "session_id": f"s{user}",
                "user_id": f"u{user}",
                "item_id": item,
            }
        )
        for user in range(10)
        for second, item in enumerate(items)
    ]
    path.write_text("\n".join(lines or ["not json"]) + "\n")


def land_late(folder: Path, day: date) -> None:
    """Land a day's file again, with its first event twice more."""
    path = folder / f"raw/grocer/store/exposure.{day}.jsonl"
    text = path.read_text()
    path.write_text(text + text[: text.index("\n") + 1] * 2)


def home(folder: Path) -> None:
    """Make DAGSTER_HOME with the project's settings."""
    (folder / "home").mkdir(exist_ok=True)
    (folder / "home/dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())


def variables(config: Path, folder: Path) -> dict[str, str]:
    """Return the environment of a command."""
    return {"RECSYS_CONFIG": str(config), "DAGSTER_HOME": str(folder / "home")}


@contextmanager
def open_instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance that the daemon writes to."""
    os.environ["DAGSTER_HOME"] = str(folder / "home")  # the event log wants it
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        yield instance


def materialized(instance: dg.DagsterInstance) -> Counter[tuple[str, str]]:
    """Count the materializations in the event log by asset and partition."""
    names = ("raw_events", "catalog", "canonical_events", *KINDS, "manifest")
    found: Counter[tuple[str, str]] = Counter()
    for name in names:
        key = dg.AssetKey(["grocer", "store", name])
        cursor, more = None, True
        while more:
            page = instance.fetch_materializations(key, limit=500, cursor=cursor)
            found.update((name, str(record.partition_key)) for record in page.records)
            cursor, more = page.cursor, page.has_more
    return found


def published(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what is live, by surface: the last day of its window, and versions by kind."""
    live = {}
    for path in (folder / "var/registry/current").rglob("manifest.json"):
        current = json.loads(path.read_text())["current"]
        record = json.loads(Path(current.pop("publication").removeprefix("file://")).read_text())
        versions = {kind: Path(uri).stem for kind, uri in current.items()}
        name = "/".join(path.parts[-3:-1])
        end = datetime.fromisoformat(record["window"]["end"]).date() - timedelta(days=1)
        live[name] = {"window": str(end), "versions": versions}
    return live


def launch(
    dagster: Dagster,
    days: Sequence[date],
    *,
    surface: str = "grocer/store",
    kinds: Sequence[str] = tuple(KINDS),
) -> None:
    """Launch a backfill of the whole group, as the dialog does."""
    assets = ("canonical_events", *kinds, "manifest")
    dagster.launch_backfill(surface, assets, days)


def finished(dagster: Dagster) -> bool:
    """Tell whether the last backfill has ended."""
    return dagster.backfill() in {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED"}


def ticked(dagster: Dagster, sensor: str, times: int) -> bool:
    """Tell whether a sensor has looked so often."""
    return dagster.ticks(sensor) >= times


def idle(dagster: Dagster) -> bool:
    """Tell whether no run is under way, and no backfill."""
    backfills = dagster.ask(_BACKFILLS)["results"]
    return not dagster.ask(_IDLE)["results"] and not any(
        each["status"] == "REQUESTED" for each in backfills
    )


def tell(dagster: Dagster) -> str:
    """Say how many runs and backfills there were."""
    runs = Counter(run["status"] for run in dagster.ask(_RUNS)["results"])
    backfills = Counter(each["status"] for each in dagster.ask(_BACKFILLS)["results"])
    return f"runs {dict(runs)}, backfills {dict(backfills)}"


class Memory:
    """The largest memory of this process's descendants, together and of one of them."""

    def __init__(self) -> None:
        self.together_mb = 0.0
        self.largest_mb = 0.0

    def look(self) -> None:
        """Look once."""
        sizes = [size for pid, size in _resident_mb().items() if pid != os.getpid()]
        self.together_mb = max(self.together_mb, sum(sizes))
        self.largest_mb = max([self.largest_mb, *sizes])

    def __str__(self) -> str:
        """Return one phrase of a line."""
        return f"{self.together_mb:.0f} MB together, {self.largest_mb:.0f} MB the largest process"


@contextmanager
def watched_memory() -> Iterator[Memory]:
    """Look at the memory of the descendants twice a second."""
    memory, over = Memory(), threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            memory.look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        over.set()
        watcher.join()


def _resident_mb() -> dict[int, float]:
    """Return the resident memory of this process and its descendants, by process."""
    parents, sizes = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "status").read_text()
            except OSError:  # it ended
                continue
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            parents[int(entry.name)] = int(fields["PPid"])
            sizes[int(entry.name)] = int(fields.get("VmRSS", "0 kB").split()[0]) / 1024
    return {pid: size for pid, size in sizes.items() if os.getpid() in _ancestors(pid, parents)}


def _ancestors(pid: int, parents: Mapping[int, int]) -> set[int]:
    found = set()
    while pid in parents and pid not in found:
        found.add(pid)
        pid = parents[pid]
    return found


if __name__ == "__main__":
    sys.exit(main())
