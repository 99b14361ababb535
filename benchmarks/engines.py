"""Compute the artifacts of one generated day by several engines: what each costs, and the versions.

Canonical events are made once. Each artifact is made in a process of its own, of which the sum of
times and the highest peak are shown. Of a Spark server, `--server` adds what it costs itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import day as one_day
import inputs
import measure
import yaml

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
    print(json.dumps({"version": made.version, "rows": draft.list.numbers["dagster/row_count"]}))


def of_process(pid: int) -> tuple[float, float]:
    """Return CPU seconds and the peak of memory in MB of a running process."""
    folder = Path("/proc", str(pid))
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    (peak,) = [
        int(line.split()[1])
        for line in (folder / "status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return (int(fields[11]) + int(fields[12])) / _TICKS, peak / 1024


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
    parser.add_argument("--server", type=int, help="process of the Spark server, on this machine")
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
        for engine in options.engines or ['{"type": "polars"}', '{"type": "duckdb"}']:
            compare(folder, engine, options, versions)
    different = [kind for kind, found in versions.items() if len(found) > 1]
    sys.exit(f"versions differ: {', '.join(different)}" if different else None)


def compare(
    folder: Path, engine: str, options: argparse.Namespace, versions: dict[str, set[str]]
) -> None:
    """Print what an engine costs, by kind and together, and keep the versions."""
    costs = []
    for kind in options.kinds:
        before = of_process(options.server) if options.server else (0.0, 0.0)
        command = [sys.executable, __file__, "--stage", kind, engine, "--folder", str(folder)]
        cost = measure.run(command, log=folder / "log")
        found = json.loads(cost.output.splitlines()[-1])
        versions.setdefault(kind, set()).add(found["version"])
        told = f"  {found['rows']:,} rows"
        if options.server and "spark" in engine:
            cpu, peak = of_process(options.server)
            told += f"  server {cpu - before[0]:.1f} s CPU, {peak:.0f} MB peak"
        costs.append(cost)
        print(f"{engine[:38]:38} {kind:12} {cost}{told}", flush=True)
    together = measure.Cost(
        sum(cost.wall_s for cost in costs),
        sum(cost.cpu_s for cost in costs),
        max(cost.peak_mb for cost in costs),
        "",
    )
    print(f"{engine[:38]:38} {'together':12} {together}\n", flush=True)


if __name__ == "__main__":
    main()
