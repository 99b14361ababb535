"""Time and peak memory of canonical events where the raw file is made to take much of both.

Each input is 16 MiB when it is read (`--mebibytes`), or 16 times as much, whatever it takes on
disk, and each reading a process of its own, which includes about a second of imports. Nothing is
drawn, so there is no seed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import measure
import pyarrow as pa
import yaml

DAY = date(2026, 1, 1)
EVENT = (
    b'{"v":1,"ts":"2026-01-01T12:00:00Z","tenant":"demo","surface":"home","session_id":"s1",'
    b'"item_id":"i1","request_id":"r1"}\n'
)


def filled_with(line: bytes, size_bytes: int) -> bytes:
    """Repeat a line until it makes so many bytes, or a little less."""
    return line * (size_bytes // len(line))


def zstd(data: bytes) -> bytes:
    """Compress as `zstd` does."""
    compressed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return compressed


def distinct(size_bytes: int) -> bytes:
    """Return events as large as the copies, for comparison."""
    count = size_bytes // len(EVENT)
    return b"".join(EVENT.replace(b"i1", b"i%d" % number) for number in range(count))


# What is read: its name, how many times 16 MiB it is, the ending of the file, and its bytes.
INPUTS: list[tuple[str, int, str, Callable[[int], bytes]]] = [
    ("lines of `x`", 1, "", lambda size: filled_with(b"x\n", size)),
    ("lines of `x`, .zst", 1, ".zst", lambda size: zstd(filled_with(b"x\n", size))),
    ("newlines", 1, "", lambda size: filled_with(b"\n", size)),
    ("copies of one event", 1, "", lambda size: filled_with(EVENT, size)),
    ("copies of one event", 16, "", lambda size: filled_with(EVENT, size)),
    ("events, none twice", 16, "", distinct),
]


def read(folder: Path) -> None:
    """Read the day in this process, and say what became of it."""
    from recsys_assets.audit.events import audit_events
    from recsys_assets.audit.shared import Shared
    from recsys_assets.config import load_config
    from recsys_assets.errors import InputError
    from recsys_assets.storage import open_store

    (surface,) = load_config(folder / "surfaces.yaml").surfaces
    store = open_store(str(folder / "var"))
    try:
        with store.scratch() as scratch:
            found = audit_events(store, surface, DAY, scratch, Shared())
    except InputError as error:
        print(json.dumps({"error": str(error).removeprefix(str(folder))}))
        return
    numbers = {name: found.shown[name] for name in ("dagster/row_count", "refused", "redelivered")}
    print(json.dumps({**numbers, "failed checks": sorted(found.failures)}))


def main() -> None:
    """Read the command line, write the inputs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mebibytes", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3, help="the median is shown")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(options.read)
        return
    print(f"machine: {measure.environment()}")
    print(f"input: nothing is drawn, no seed; medians of {options.runs} runs\n")
    for name, times, ending, content in INPUTS:
        mebibytes = times * options.mebibytes
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            write(folder, ending, content(mebibytes * 2**20))
            costs = []
            for _ in range(options.runs):
                shutil.rmtree(folder / "var", ignore_errors=True)
                command = [sys.executable, __file__, "--read", str(folder)]
                costs.append(measure.run(command, log=folder / "log"))
            read_as = f"{mebibytes} MiB, {name}"
            print(f"{read_as:30}{measure.median(costs)}  {costs[-1].output.strip()}", flush=True)


def write(folder: Path, ending: str, content: bytes) -> None:
    """Write a configuration and its raw file."""
    surface = {
        "tenant": "demo",
        "surface": "home",
        "start_date": DAY,
        "source": {"path": "raw"},
        "artifacts": {"popularity": {}},
    }
    (folder / "surfaces.yaml").write_text(yaml.safe_dump({"root": "var", "surfaces": [surface]}))
    raw = folder / f"raw/demo/home/exposure.{DAY}.jsonl{ending}"
    raw.parent.mkdir(parents=True)
    raw.write_bytes(content)


if __name__ == "__main__":
    main()
