"""What every benchmark prints: machine, versions, and time and peak memory of a whole process."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median as median_of

_PACKAGES = ("dagster", "polars", "pandera", "pyarrow", "numpy")


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds, and the largest resident memory, of a finished process."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str

    def __str__(self) -> str:
        """Return one line of a table."""
        return f"{self.wall_s:8.2f} s wall {self.cpu_s:8.2f} s CPU {self.peak_mb:8.0f} MB peak"


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure."""
    wall, cpu, peak = (
        median_of(getattr(cost, name) for cost in costs) for name in ("wall_s", "cpu_s", "peak_mb")
    )
    return Cost(wall, cpu, peak, output="")


def ratios(one: Cost, other: Cost) -> str:
    """Return wall, CPU and peak of one as parts of the other's."""
    pairs = ((one.wall_s, other.wall_s), (one.cpu_s, other.cpu_s), (one.peak_mb, other.peak_mb))
    return "  ".join(f"{mine / its:5.2f}" for mine, its in pairs)


def peak_mb() -> float:
    """Return the largest resident memory of this process until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def environment() -> str:
    """Return a line on machine and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, {versions}"
    )


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, log: Path) -> Cost:
    """Run a command to its end and return what it cost; its children are not counted.

    Raises:
        RuntimeError: it failed; its output is shown.
    """
    # Polars writes its allocator's settings into the environment, where our child would find them.
    inherited = {name: v for name, v in os.environ.items() if name != "_RJEM_MALLOC_CONF"}
    started = time.perf_counter()
    with log.open("wb") as out:
        actions = [(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, out.fileno(), 2)]
        pid = os.posix_spawnp(
            command[0], list(command), {**inherited, **(env or {})}, file_actions=actions
        )
        _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - started
    output = log.read_text(errors="replace")
    if status:
        sys.stderr.write(output)
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)
