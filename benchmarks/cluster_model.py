"""What a cluster would take, by a model that is fitted to smaller days and checked at a larger one.

The input is what `engines.py --records` wrote, of days of several sizes. Of each kind two lines are
fitted, CPU seconds by events: of the server, which a cluster divides among its cores, and of the
step here, one process which takes the rows and writes the document. So

    seconds = fixed of both + server's per event x events / cores + step's per event x events

The largest day is predicted from the others and compared with what was measured.

What the model does not have: a network, over which a cluster shuffles; an object store; machines
that are slow, or are to be waited for; a key so frequent that one task has most of it. Sizes are of
one machine whose server spills when its memory is full. So a cluster takes longer than this, and
never less than the part of the step.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_CORES = (2, 8, 32, 100)


@dataclass(frozen=True)
class Line:
    """CPU seconds of a day: some, and some more for each event."""

    fixed: float
    per_event: float

    @classmethod
    def through(cls, points: Sequence[tuple[int, float]]) -> Line:
        """Fit to events and seconds; a second of a short time weighs more than one of a long."""
        events, seconds = (np.array(column, dtype=float) for column in zip(*points, strict=True))
        terms = np.stack([1 / seconds, events / seconds], axis=1)
        (fixed, per_event), *_ = np.linalg.lstsq(terms, np.ones(len(seconds)), rcond=None)
        return cls(max(float(fixed), 0.0), float(per_event))

    def at(self, events: int, cores: int = 1) -> float:
        """Return the seconds of a day that so many cores work at."""
        return self.fixed + self.per_event * events / cores


def main() -> None:
    """Read the command line and the records, fit, compare, predict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path)
    parser.add_argument("--engine", default="spark 2", help="as in the records")
    parser.add_argument("--events", type=int, default=[], nargs="*", help="days to predict besides")
    options = parser.parse_args()
    found = of_kinds(options.records, options.engine)
    totals: dict[tuple[int, int], float] = defaultdict(float)
    for kind, days in found.items():
        *smaller, largest = sorted(days)
        parts = ("server_cpu", "cpu") if "server_cpu" in days[largest] else ("cpu",)
        lines = [
            Line.through([(events, days[events][part]) for events in smaller]) for part in parts
        ]
        for part, line in zip(parts, lines, strict=True):
            predicted, measured = line.at(largest), days[largest][part]
            print(
                f"{kind:12} {part:10} {line.fixed:6.2f} s + {line.per_event * 1e6:6.2f} s a million"
                f"; {largest / 1e6:g} million: {predicted:.1f} s predicted, {measured:.1f} s "
                f"measured, {predicted / measured:.2f}"
            )
        if len(parts) == 2:
            server, step = lines
            for events in (largest, *options.events):
                for cores in _CORES:
                    totals[events, cores] += server.at(events, cores) + step.at(events)
                totals[events, 0] += step.at(events)
    for (events, cores), seconds in totals.items():
        on = f"on {cores} cores" if cores else "of that the step here, whatever the cluster"
        print(f"{events / 1e6:g} million events, all kinds, {on}: {seconds:,.0f} s")


def of_kinds(path: Path, engine: str) -> Mapping[str, Mapping[int, Mapping[str, float]]]:
    """Return the figures of an engine by kind and events; of a day measured twice, the last."""
    found: dict[str, dict[int, Mapping[str, float]]] = defaultdict(dict)
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record["engine"] == engine:
            found[record["kind"]][record["events"]] = record
    return found


if __name__ == "__main__":
    main()
