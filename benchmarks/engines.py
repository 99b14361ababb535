"""Compute the artifacts of one generated day by several engines: what each costs, and the versions.

Canonical events are made once. Each artifact is made in a process of its own, of which the sum of
times and the highest peak are shown. `--spark` starts a server, Spark's own or Sail, by the Python
that runs this, and adds what it and its children cost. `--records` keeps the figures for
`cluster_model.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import day as one_day
import inputs
import measure
import yaml

sys.path.insert(1, str(Path(__file__).parents[1]))  # for the servers of the tests
from recsys_assets_tests import needed
from recsys_assets_tests.engines import spark_servers
from recsys_assets_tests.ports import free_port

_ADDRESS = "SPARK_OF_BENCHMARK"
_DEFAULT = ['{"type": "polars"}', '{"type": "duckdb"}']
_TICKS = os.sysconf("SC_CLK_TCK")


def stage(name: str, folder: Path, engine: str) -> None:
    """Make an artifact of the day in this process, and print its version."""
    import pyarrow.parquet as pq

    from recsys_assets.audit.drafts import drafts
    from recsys_assets.audit.shared import Shared
    from recsys_assets.config import Surface
    from recsys_assets.documents import DocumentHead, render
    from recsys_assets.events.accepted import AcceptedDay
    from recsys_assets.kinds import KINDS
    from recsys_assets.storage import open_store

    (entry,) = yaml.safe_load((folder / "surfaces.yaml").read_text())["surfaces"]
    surface = Surface.model_validate(entry | {"engine": json.loads(engine)})
    path = folder / f"{one_day.DAY}.parquet"
    written = pq.read_metadata(path)
    columns = frozenset(written.schema.names)
    accepted = {one_day.DAY: AcceptedDay(str(path), "", events=written.num_rows, columns=columns)}
    store = open_store(str(folder / "var"))
    draft = drafts(store, surface, KINDS[name], accepted, Shared())(one_day.DAY)
    document = folder / f"{name}.json"
    document.unlink(missing_ok=True)
    head = DocumentHead.of_day(surface, name, one_day.DAY)
    made = render(draft.text, head, document, source_hash="", built_at=datetime.now(UTC))
    rows = draft.list.numbers["dagster/row_count"]
    print(json.dumps({"version": made.version, "rows": rows, "events": written.num_rows}))


def of_tree(pid: int) -> tuple[float, float]:
    """Return CPU seconds, and the sum of peaks of memory in MB, of a process and its children."""
    fields: dict[int, list[str]] = {}
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            of = (folder / "stat").read_text().rpartition(")")[2].split()
            fields[int(folder.name)] = of
            children.setdefault(int(of[1]), []).append(int(folder.name))
    cpu, peak, left = 0.0, 0.0, [pid]
    while left:
        each = left.pop()
        left += children.get(each, [])
        cpu += (int(fields[each][11]) + int(fields[each][12])) / _TICKS
        status = Path(f"/proc/{each}/status").read_text()
        peak += sum(int(kb) for kb in re.findall(r"VmHWM:\s*(\d+)", status)) / 1024
    return cpu, peak


@contextmanager
def spark(kind: needed.Group, cores: int, memory: str, folder: Path) -> Iterator[int]:
    """Run a server of Spark Connect, and give its process."""
    port = free_port()
    command = spark_servers.command(kind, port, java="")
    if kind == "spark":
        command[command.index("local[2]")] = f"local[{cores}]"
        command[1:1] = ["--driver-memory", memory, "--conf", f"spark.local.dir={folder}"]
        command[1:1] = ["--conf", "spark.driver.maxResultSize=0"]  # of large days it is over 1 GB
    os.environ[_ADDRESS] = f"sc://{spark_servers.HOST}:{port}"
    with spark_servers.running(command, port, folder) as server:
        yield server.pid


def main() -> None:
    """Read the command line, generate, measure, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    inputs.add_input(parser)
    parser.add_argument(
        "--engine",
        action="append",
        dest="engines",
        help='as in surfaces.yaml, but JSON: {"type": "duckdb"}; may come again',
    )
    parser.add_argument("--spark", choices=("spark", "sail"), help="start this server, and use it")
    parser.add_argument("--cores", type=int, default=2, help="of Spark")
    parser.add_argument("--memory", default="6g", help="of Spark")
    parser.add_argument("--records", type=Path, help="a file that the figures are appended to")
    parser.add_argument("--kinds", nargs="*", default=one_day.KINDS)
    parser.add_argument("--folder", type=Path, help="where to write, and to look for the day first")
    parser.add_argument("--stage", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        stage(options.stage[0], options.folder, options.stage[1])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        print(f"machine: {measure.environment()}")
        if not (folder / f"{one_day.DAY}.parquet").exists():
            raw = folder / f"raw/demo/home/exposure.{one_day.DAY}.jsonl"
            print(f"input: {inputs.prepare(options, raw)}")
            one_day.configuration(folder)
            command = [sys.executable, one_day.__file__, "--stage", "canonical_events"]
            cost = measure.run([*command, "--folder", str(folder)], log=folder / "log")
            print(f"{'canonical_events':52}{cost}")
        versions: dict[str, set[str]] = {}
        engines = options.engines or ([] if options.spark else _DEFAULT)
        for engine in engines:
            compare(folder, engine, options, versions)
        if options.spark:
            with spark(options.spark, options.cores, options.memory, folder) as server:
                engine = json.dumps({"type": "spark", "remote_env": _ADDRESS})
                compare(folder, engine, options, versions, server)
    different = [kind for kind, found in versions.items() if len(found) > 1]
    sys.exit(f"versions differ: {', '.join(different)}" if different else None)


def compare(
    folder: Path,
    engine: str,
    options: argparse.Namespace,
    versions: dict[str, set[str]],
    server: int | None = None,
) -> None:
    """Print what an engine costs, by kind and together, and keep the versions."""
    costs = []
    for kind in options.kinds:
        before = of_tree(server) if server else (0.0, 0.0)
        command = [sys.executable, __file__, "--stage", kind, engine, "--folder", str(folder)]
        cost = measure.run(command, log=folder / "log")
        found = json.loads(cost.output.splitlines()[-1])
        versions.setdefault(kind, set()).add(found["version"])
        told = f"  {found['rows']:,} rows"
        record = {"engine": json.loads(engine)["type"], "kind": kind, **found}
        record |= {"wall": cost.wall_s, "cpu": cost.cpu_s, "peak": cost.peak_mb}
        if server:
            cpu, peak = of_tree(server)
            told += f"  server {cpu - before[0]:.1f} s CPU, {peak:.0f} MB peak"
            record |= {"engine": f"{options.spark} {options.cores}"}
            record |= {"server_cpu": cpu - before[0], "server_peak": peak}
        costs.append(cost)
        print(f"{engine[:38]:38} {kind:12} {cost}{told}", flush=True)
        if options.records:
            with options.records.open("a") as records:
                print(json.dumps(record), file=records)
    together = measure.Cost(
        sum(cost.wall_s for cost in costs),
        sum(cost.cpu_s for cost in costs),
        max(cost.peak_mb for cost in costs),
        "",
    )
    print(f"{engine[:38]:38} {'together':12} {together}\n", flush=True)


if __name__ == "__main__":
    main()
