"""The raw file that a benchmark reads: one that is generated for it, or one that is there."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path

_GENERATOR = Path(__file__).with_name("generate.py")
_PART_EVENTS = 10_000_000  # generating takes more memory than what is measured


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is generated."""
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, help="default: a tenth of the events")
    parser.add_argument(
        "--items",
        type=int,
        help="default: a twentieth of the events, at least 1,000, at most 200,000",
    )
    parser.add_argument("--seed", type=int, default=1)


def sizes(options: argparse.Namespace) -> dict[str, int]:
    """Return what is generated: events, users, items, and the seed."""
    events: int = options.events
    return {
        "events": events,
        "users": options.users or events // 10,
        "items": options.items or min(200_000, max(1000, events // 20)),
        "seed": options.seed,
    }


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add the options of `prepare`."""
    add_sizes(parser)
    parser.add_argument(
        "--file",
        type=Path,
        help="use this raw file of demo/home 2026-01-01 instead, or a directory of such files",
    )


def prepare(options: argparse.Namespace, path: Path) -> str:
    """Have the raw file at `path`, a link to `--file` or generated; return a line on it.

    A day of many events is generated in parts, the others beside the first.
    """
    if options.file:
        at = path.parent if options.file.is_dir() else path
        at.parent.mkdir(parents=True)
        at.symlink_to(options.file.absolute())
        what = options.file.name
    else:
        wanted = sizes(options)
        for number, start in enumerate(range(0, wanted["events"], _PART_EVENTS)):
            part = path.with_suffix(f".{number}.jsonl") if number else path
            events = min(_PART_EVENTS, wanted["events"] - start)
            of_part = {"events": events, "seed": wanted["seed"] + number, "first-session": start}
            generate(part, wanted | of_part)
        what = ", ".join(f"{value:,} {name}" for name, value in wanted.items() if name != "seed")
        what += f", seed {wanted['seed']}"
    size = sum(part.stat().st_size for part in path.parent.iterdir())
    return f"{what}; {size:,} bytes of raw lines"


def generate(path: Path, arguments: Mapping[str, int], day: date = date(2026, 1, 1)) -> None:
    """Generate a raw file in a process of its own: the peak of what is measured starts at ours."""
    named = [f"--{name}={value}" for name, value in arguments.items()]
    subprocess.run([sys.executable, _GENERATOR, path, *named, f"--day={day}"], check=True)
