"""What further fields in each line cost a day: `recsys-assets materialize`, the whole process.

The same events are written as they are, with three more fields a line, and with an escape besides.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import day
import inputs
import measure
import sources

LINES: Mapping[str, Callable[[Path, Path], Any]] = {
    "as they are": shutil.copy,
    "three more fields": partial(sources.with_fields, fields=sources.FURTHER),
    "and an escape": partial(sources.with_fields, fields=sources.ESCAPED),
}


def main() -> None:
    """Read the command line, write the inputs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    inputs.add_input(parser)
    parser.add_argument("--runs", type=int, default=5, help="the medians are shown")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        raw = Path(made) / "events.jsonl"
        what = inputs.prepare(options, raw)
        print(f"machine: {measure.environment()}")
        print(f"input: {what}; medians of {options.runs} runs, in turns\n")
        costs: dict[str, list[measure.Cost]] = {name: [] for name in LINES}
        for name, write in LINES.items():
            path = Path(made) / name / f"raw/demo/home/exposure.{day.DAY}.jsonl"
            path.parent.mkdir(parents=True)
            write(raw, path)
        for number in range(options.runs):
            for name, each in costs.items():
                each.append(day.materialize(Path(made) / name, str(number)))
        plain = measure.median(costs["as they are"])
        for name, each in costs.items():
            cost = measure.median(each)
            print(f"{name:20}{cost}  of plain: {measure.ratios(cost, plain)}")


if __name__ == "__main__":
    main()
