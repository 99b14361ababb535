"""What a day of raw events costs by threads and by processes: canonical events, from raw lines.

The same events lie in one file and in several. Each is audited as the step does it, in a process of
its own, which tells what itself and the processes that parse have taken. The thread that reads and
writes is told apart: more processes make no day faster than that.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import inputs
import measure

DAY = date(2026, 1, 1)
FILES = 10


@dataclass(frozen=True)
class Taken:
    """What one run took.

    Attributes:
        wall_s: of the step.
        step_s: CPU of its process, imports and all.
        parse_s: of that, until the events are written.
        thread_s: of that, in the one thread that reads and writes.
        others_s: CPU of the processes that parse.
        peak_mb: of the process of the step.
        each_mb: of the largest of the others.
    """

    wall_s: float
    step_s: float
    parse_s: float
    thread_s: float
    others_s: float
    peak_mb: float
    each_mb: float

    def __str__(self) -> str:
        """Return a row of a table."""
        return " ".join(f"{value:10.1f}" for value in vars(self).values())


def main() -> None:
    """Read the command line, write the inputs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    inputs.add_sizes(parser)
    parser.add_argument("--runs", type=int, default=3, help="the medians are shown")
    parser.add_argument("--processes", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(Path(options.step[0]), int(options.step[1]) or None)
        return
    with tempfile.TemporaryDirectory() as made:
        one, several = Path(made) / "1", Path(made) / str(FILES)
        for folder in (one, several):
            folder.mkdir()
        whole = one / f"exposure.{DAY}.jsonl"
        inputs.generate(whole, inputs.sizes(options))
        cut(whole, several)
        print(f"machine: {measure.environment()}")
        print(f"input: {inputs.sizes(options)}; {whole.stat().st_size:,} bytes")
        print(f"medians of {options.runs} runs, in turns; 0 processes are two threads\n")
        print(f"{'files':>5} {'processes':>9}", *(f"{of.name:>10}" for of in fields(Taken)))
        ways = [(folder, number) for folder in (one, several) for number in (0, *options.processes)]
        taken: dict[tuple[Path, int], list[Taken]] = {way: [] for way in ways}
        for _ in range(options.runs):
            for (folder, number), each in taken.items():
                command = [sys.executable, __file__, "--step", str(folder), str(number)]
                cost = measure.run(command, log=Path(made) / "log")
                each.append(Taken(**json.loads(cost.output)))
        for (folder, number), each in taken.items():
            middle = Taken(
                *(median(of) for of in zip(*(vars(t).values() for t in each), strict=True))
            )
            print(f"{folder.name:>5} {number:>9} {middle}")


def cut(whole: Path, folder: Path) -> None:
    """Write the lines of a file to several."""
    size = whole.stat().st_size // FILES + 1
    with whole.open("rb") as lines:
        for number in range(FILES):
            part = folder / f"exposure.{DAY}.{number}.jsonl"
            part.write_bytes(b"".join(lines.readlines(size)))


def step(folder: Path, processes: int | None) -> None:
    """Make canonical events in this process, and print what it took."""
    from recsys_assets.audit import events as of_events
    from recsys_assets.audit.shared import Shared
    from recsys_assets.config import Surface
    from recsys_assets.storage import open_store

    surface = Surface.model_validate(
        {
            "tenant": "demo",
            "surface": "home",
            "start_date": DAY,
            "source": {
                "path": str(folder),
                "pattern": "exposure.{day}*.jsonl",
                "processes": processes,
            },
            "artifacts": {"popularity": {}},
        }
    )
    times: list[tuple[float, float]] = []
    events: Any = of_events  # whose parse_day is timed
    parse_day = events.parse_day

    def timed(*arguments: Any, **named: Any) -> Any:
        times.append((time.process_time(), time.thread_time()))
        parsed = parse_day(*arguments, **named)
        times.append((time.process_time(), time.thread_time()))
        return parsed

    events.parse_day = timed
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        events.audit_events(open_store(scratch), surface, DAY, Path(scratch), Shared())
    wall = time.perf_counter() - started
    (before, thread_before), (after, thread_after) = times
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = Taken(
        wall,
        time.process_time(),
        after - before,
        thread_after - thread_before,
        children.ru_utime + children.ru_stime,
        measure.peak_mb(),
        children.ru_maxrss / 1024,
    )
    print(json.dumps(vars(taken)))


if __name__ == "__main__":
    main()
