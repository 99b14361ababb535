"""Time the reader: loading a generation, look-ups, a flip; with the memory that each takes.

Documents are made once. What reads them is a process of its own, in which nothing of the producer
is loaded. Look-ups are of owners drawn at random, 20 entries each; microseconds of CPU and of wall
time, the median of the rounds. `--against` names a checkout of another version, which takes turns.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LOOK_UPS = 20_000
_ROUNDS = 5


def prepare(root: str, users: int, entries: int) -> None:
    """Publish two days of `demo/home` in which each user and item has a list."""
    import polars as pl

    from recsys_assets.compute.coded import Piece
    from recsys_assets.documents import DocumentHead, list_text, render
    from recsys_assets.kinds import KINDS
    from recsys_assets.places import Place
    from recsys_assets.storage.flips import publish
    from recsys_assets.storage.local import LocalStore
    from recsys_assets.storage.publications import Why
    from recsys_assets.storage.registry import stage_version
    from recsys_assets.windows import Window

    store, place, items = LocalStore(root), Place("demo", "home"), max(1000, users // 10)
    owners = {"user_id": users, "item_id": items}
    for day in (1, 2):
        current, window = {}, Window.ending_with(_day(day), days=1)
        for kind in ("popularity", "cooc", "implicit", "session_seq"):
            layout = KINDS[kind].layout
            number = pl.int_range(owners[layout.owner], eager=True).cast(pl.String).str.zfill(9)
            frame = pl.DataFrame({layout.owner: layout.owner[0] + number})
            if layout.entry:
                drawn = pl.int_range(day, day + entries, eager=True).cast(pl.String)
                listed = pl.DataFrame({layout.entry: "i" + drawn.str.zfill(9)})
                frame = frame.join(listed, how="cross", maintain_order="left_right")
            frame = frame.with_columns(pl.lit(7 + day, pl.Int64).alias(layout.value))
            with store.scratch() as scratch:
                written = render(
                    list_text([Piece(frame)], layout),
                    DocumentHead(kind, place, "default", window),
                    scratch / kind,
                    source_hash="f" * 64,
                    built_at=_moment(),
                )
                current[kind] = stage_version(store, written, run_id="bench", now=_moment()).uri
        publish(store, place, window=window, current=current, why=Why("bench", "bench", "bench"))
        manifest = Path(root) / "registry/current/demo/home/manifest.json"
        (Path(root) / f"{day}.json").write_bytes(manifest.read_bytes())


def _day(number: int) -> Any:
    from datetime import date

    return date(2026, 1, number)


def _moment() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 1, 9, tzinfo=UTC)


def measure(root: str, users: int) -> dict[str, float]:
    """Load, look up and follow a flip; return seconds, microseconds and megabytes."""
    import recsys_assets_reader

    manifest = Path(root) / "manifest.json"
    manifest.write_bytes((Path(root) / "1.json").read_bytes())
    at_first = _resident_mb()
    started, cpu = time.perf_counter(), time.process_time()
    reader = recsys_assets_reader.open(str(manifest), every_s=None)
    found = {
        "load, s": time.perf_counter() - started,
        "load, s CPU": time.process_time() - cpu,
        "documents, MB": reader.status().size_bytes / 1e6,
        "resident, MB": _resident_mb() - at_first,
    }
    draw = random.Random(1)  # noqa: S311
    for name, look_up, letter, most in (
        ("popular", lambda _: reader.popular(20), "i", 1),
        ("neighbours", lambda owner: reader.neighbours(owner, 20), "i", max(1000, users // 10)),
        ("items_of", lambda owner: reader.items_of(owner, 20), "u", users),
        ("next_items", lambda owner: reader.next_items(owner, 20), "u", users),
        ("nobody", lambda owner: reader.items_of(owner, 20), "x", users),
    ):
        owners = [f"{letter}{draw.randrange(most):09}" for _ in range(_LOOK_UPS)]
        wall, used = _each(look_up, owners)
        found |= {f"{name}, µs": wall, f"{name}, µs CPU": used}
    manifest.unlink()
    manifest.write_bytes((Path(root) / "2.json").read_bytes())
    started = time.perf_counter()
    if not reader.refresh():
        raise AssertionError("the flip is not seen")
    found["flip, s"] = time.perf_counter() - started
    found["peak, MB"] = _resident_mb("VmHWM") - at_first
    return found


def _each(look_up: Callable[[str], object], owners: list[str]) -> tuple[float, float]:
    walls, cpus = [], []
    for _ in range(_ROUNDS):
        started, cpu = time.perf_counter(), time.process_time()
        for owner in owners:
            look_up(owner)
        walls.append((time.perf_counter() - started) / len(owners) * 1e6)
        cpus.append((time.process_time() - cpu) / len(owners) * 1e6)
    return statistics.median(walls), statistics.median(cpus)


def _resident_mb(what: str = "VmRSS") -> float:
    # Not of getrusage: that peak may be the one of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / 1024


def main() -> None:
    """Measure this checkout, and others in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--entries", type=int, default=25, help="of each list")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--against", type=Path, action="append", default=[])
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.users)))
        return
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as root:
        prepare(root, options.users, options.entries)
        found: dict[Path, list[dict[str, float]]] = {}
        for _ in range(options.turns):
            for checkout in (here, *options.against):
                done = subprocess.run(
                    [sys.executable, __file__, "--measure", root, "--users", str(options.users)],
                    env=os.environ | {"PYTHONPATH": str(checkout)},
                    stdout=subprocess.PIPE,
                    check=True,
                )
                found.setdefault(checkout, []).append(json.loads(done.stdout))
    for checkout, turns in found.items():
        print(f"{checkout}: {options.users:,} users, {options.entries} entries each")
        for name in turns[0]:
            print(f"  {name:20} {statistics.median(turn[name] for turn in turns):10.2f}")


if __name__ == "__main__":
    main()
