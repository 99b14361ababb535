"""What a cluster would take, by a model that is fitted to smaller days and checked at a larger one.

The input is what `engines.py --records` wrote, of days of several sizes. Of each kind two lines are
fitted, CPU seconds by events: of the server, which a cluster divides among its cores, and of the
step here, one process which takes the rows and writes the document. So

    seconds = fixed of both + server's per event x events / cores + step's per event x events

The largest day is predicted from the others and compared with what was measured. Then all days are
fitted, for what is asked besides.

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
    checked = np.zeros(2)
    for kind, days in found.items():
        largest = max(days)
        parts = ("server_cpu", "cpu") if "server_cpu" in days[largest] else ("cpu",)
        for part in parts:
            points = [(events, days[events][part]) for events in sorted(days)]
            line, measured = Line.through(points[:-1]), points[-1][1]
            told(f"{kind:12} {part}", line, largest, line.at(largest), measured)
            checked += line.at(largest), measured
            whole = Line.through(points)
            for events in options.events if len(parts) == 2 else ():
                for cores in _CORES:
                    shared = cores if part == "server_cpu" else 1
                    totals[events, cores] += whole.at(events, shared)
                if part == "cpu":
                    totals[events, 0] += whole.at(events)
    told("all kinds", None, largest, *checked)
    for (events, cores), seconds in totals.items():
        on = f"on {cores} cores" if cores else "of that the step here, whatever the cluster"
        print(f"{events / 1e6:g} million events, all kinds, {on}: {seconds:,.0f} s")


def told(what: str, line: Line | None, events: int, predicted: float, measured: float) -> None:
    """Print a prediction beside what was measured."""
    fitted = f"{line.fixed:6.2f} s + {line.per_event * 1e6:6.2f} s a million" if line else ""
    print(
        f"{what:23} {fitted:28} {events / 1e6:g} million: {predicted:.1f} s predicted, "
        f"{measured:.1f} s measured, {predicted / measured:.2f}"
    )


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
