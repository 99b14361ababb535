"""Hold publishing to its promises, harder than a test can, and measure what a flip costs.

Three parts, each in its own temporary directory on the disk of --directory:

flips   8 processes x 200 read-modify-write flips of one object by compare-and-swap, and the same
        with a plain atomic replace: the control that shows that the first could fail.
kills   a publishing process is killed (-9) at random moments, and another started after it, while
        a reader loops. Counted: reads, torn manifests, URIs without an object, and publishes that
        were acknowledged but are in no history. The last three must be 0.
cost    the median time of one publish on a surface that is live, and its system calls.

The moments of the kills are drawn from --seed; where they hit depends on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import polars as pl

import recsys_assets
from recsys_assets.documents import Window
from recsys_assets.errors import ManifestConflictError
from recsys_assets.storage import layout
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import history, publish, read_live

TENANT, SURFACE = "demo", "home"
KINDS = ("popularity", "cooc", "implicit", "session_seq", "content_sim")
MANIFEST = layout.manifest(TENANT, SURFACE)
COUNTER = "registry/current/counter/counter/manifest.json"
WINDOW = Window.ending_with(date(2026, 1, 5), days=1)
_SPAWN = multiprocessing.get_context("spawn")
_DEADLINE_S = 60
_LONGEST_LIFE_S = 0.3


def main() -> int:
    """Run what was asked for; the exit code is 1 when a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="flips, kills, cost; none means all")
    parser.add_argument("--processes", type=int, default=8, help="of flips (8)")
    parser.add_argument("--flips", type=int, default=200, help="a process (200)")
    parser.add_argument("--kills", type=int, default=30, help="publishers to kill (30)")
    parser.add_argument("--publishes", type=int, default=300, help="of cost (300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where to write (the temporary directory)")
    options = parser.parse_args()
    parts = {"flips": run_flips, "kills": run_kills, "cost": run_cost}
    unknown = set(options.parts) - set(parts)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are: {', '.join(parts)}")

    print_versions()
    kept = True
    for name in options.parts or parts:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory, measured(name):
            kept &= parts[name](Path(directory), options)
    print("every promise was kept" if kept else "A PROMISE WAS BROKEN")
    return 0 if kept else 1


def print_versions() -> None:
    """Say on what this runs."""
    print(f"machine   {platform.platform()}, {os.cpu_count()} cores")
    print(
        f"versions  python {platform.python_version()}, polars {pl.__version__}, "
        f"recsys_assets at {Path(recsys_assets.__file__).parent}"
    )


@contextlib.contextmanager
def measured(name: str) -> Iterator[None]:
    """Print wall and CPU seconds of a part, and the largest process so far."""
    print(f"\n{name}")
    began, cpu = time.perf_counter(), cpu_s()
    yield
    peak_kib = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        f"  wall {time.perf_counter() - began:.1f} s, cpu {cpu_s() - cpu:.1f} s, "
        f"largest process so far {peak_kib / 1024:.0f} MiB"
    )


def cpu_s() -> float:
    """Return the CPU seconds of this process and of those it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def run_flips(directory: Path, options: argparse.Namespace) -> bool:
    """Count up from many processes, with and without compare-and-swap."""
    expected: int = options.processes * options.flips
    print(f"  input: {options.processes} processes x {options.flips} flips")
    counted: dict[bool, int] = {}
    for swap in (True, False):
        root = directory / str(swap)
        LocalStore(root).replace(COUNTER, b'{"count":0}')
        barrier = _SPAWN.Barrier(options.processes + 1)
        processes = [
            _SPAWN.Process(
                target=count_up, args=(barrier, root, options.flips), kwargs={"swap": swap}
            )
            for _ in range(options.processes)
        ]
        for process in processes:
            process.start()
        barrier.wait(_DEADLINE_S)
        began = time.perf_counter()
        for process in processes:
            process.join()
        wall_s = time.perf_counter() - began
        counted[swap] = json.loads((root / COUNTER).read_bytes())["count"]
        how = "with compare-and-swap" if swap else "control, plain replace"
        print(f"  {how:24}{counted[swap]:5} of {expected} in {wall_s:.1f} s")
    if counted[False] == expected:
        print("  the control lost nothing: too few processes or flips to say anything")
    return counted[True] == expected


def count_up(barrier: Barrier, root: Path, flips: int, *, swap: bool) -> None:
    """Add one to the counter, so many times."""
    store = LocalStore(root)
    barrier.wait(_DEADLINE_S)
    for _ in range(flips):
        while True:
            found = store.read(COUNTER)
            assert found is not None
            data = b'{"count":%d}' % (json.loads(found.data)["count"] + 1)
            if not swap:
                store.replace(COUNTER, data)
                break
            try:
                store.compare_and_swap(COUNTER, data, expected=found.tag)
            except ManifestConflictError:
                continue
            break


def run_kills(directory: Path, options: argparse.Namespace) -> bool:
    """Kill publishers at random moments while a reader loops."""
    draw = random.Random(options.seed)  # noqa: S311
    print(f"  input: {options.kills} kills, seed {options.seed}, at 0 to {_LONGEST_LIFE_S} s")
    root = directory / "root"
    stop, (receiver, sender) = _SPAWN.Event(), _SPAWN.Pipe(duplex=False)
    reader = _SPAWN.Process(target=read_until, args=(root, stop, sender))
    reader.start()
    sender.close()
    acknowledged: list[str] = []
    for number in range(options.kills):
        acknowledged += publish_until_killed(root, number, draw.uniform(0, _LONGEST_LIFE_S))
    # The next publisher must find a state that it can go on from.
    acknowledged += publish_some(LocalStore(root), f"last-{options.seed}", 1)
    stop.set()
    seen = receiver.recv()
    reader.join()

    store = LocalStore(root)
    live = read_live(store, TENANT, SURFACE)
    assert live is not None
    chain = [publication.publish_id for publication in history(store, live)]
    records = len(list((root / layout.publication(TENANT, SURFACE, 0, "")).parent.iterdir()))
    lost = set(acknowledged) - set(chain)
    print(
        f"  {seen['reads']} reads: {seen['torn']} torn, {seen['dangling']} dangling; "
        f"{len(acknowledged)} acknowledged: {len(lost)} lost"
    )
    print(
        f"  {len(chain)} live in turn, {len(chain) - len(acknowledged)} of them killed before the "
        f"answer; {records - len(chain)} records of publishes killed before the flip"
    )
    broken: int = seen["torn"] + seen["dangling"] + len(lost) + len(chain) - len(set(chain))
    return broken == 0


def publish_until_killed(root: Path, number: int, life_s: float) -> list[str]:
    """Start a publisher, kill it so long after its first answer; return what it acknowledged."""
    code = "import sys, publishing; publishing.publish_for_ever(*sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root), str(number)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    ) as publisher:
        assert publisher.stdout is not None
        first = publisher.stdout.readline()
        time.sleep(life_s)
        publisher.kill()
        rest = publisher.stdout.read()
    return [line for line in (first + rest).split("\n")[:-1] if line]


def publish_for_ever(root: str, number: str) -> None:
    """Publish, and say each time that it is done; until killed."""
    store, round_number = LocalStore(root), 0
    while True:
        (publish_id,) = publish_some(store, f"{number}-{round_number}", 1)
        os.write(1, f"{publish_id}\n".encode())  # one write: a line is whole or absent
        round_number += 1


def publish_some(store: LocalStore, name: str, times: int) -> list[str]:
    """Publish new versions of one window, their blobs first."""
    for index in range(times):
        current = {}
        for kind in KINDS:
            key = layout.blob(TENANT, SURFACE, kind, f"{name}-{index}")
            store.put_new(key, f"{kind} {name} {index}".encode())
            current[kind] = store.uri(key)
        outcome, _ = publish_current(store, current, f"{name}-{index}")
        assert outcome == "published", outcome
    return [f"{name}-{index}" for index in range(times)]


def publish_current(store: LocalStore, current: dict[str, str], publish_id: str) -> Any:
    """Flip the manifest."""
    return publish(
        store,
        tenant=TENANT,
        surface=SURFACE,
        window=WINDOW,
        current=current,
        run_id="benchmark",
        publish_id=publish_id,
    )


def read_until(root: Path, stop: Event, sender: Connection) -> None:
    """Read the manifest and what it names as the online service does, and count what is wrong."""
    store, seen = LocalStore(root), Counter(reads=0, torn=0, dangling=0)
    while not stop.is_set():
        found = store.read(MANIFEST)
        if found is None:
            continue
        seen["reads"] += 1
        try:
            uris = json.loads(found.data)["current"]
        except (ValueError, KeyError):
            seen["torn"] += 1
            continue
        if set(uris) != {*KINDS, "publication"}:
            seen["torn"] += 1
        seen["dangling"] += sum(not store.read(store.key(uri)) for uri in uris.values())
    sender.send(seen)


def run_cost(directory: Path, options: argparse.Namespace) -> bool:
    """Measure a publish whose blobs are there, on a surface that is live."""
    print(f"  input: {options.publishes} publishes of {len(KINDS)} kinds, one process")
    store, took_ms = LocalStore(directory / "root"), []
    publish_some(store, "warm", 3)
    with counted_calls() as calls:
        for number in range(options.publishes):
            current = {
                kind: store.uri(layout.blob(TENANT, SURFACE, kind, f"{number}")) for kind in KINDS
            }
            began = time.perf_counter()
            publish_current(store, current, f"cost-{number}")
            took_ms.append(1000 * (time.perf_counter() - began))
    percentile_95 = statistics.quantiles(took_ms, n=20)[-1]
    print(f"  one flip: median {statistics.median(took_ms):.2f} ms, 95% {percentile_95:.2f} ms")
    each = ", ".join(f"{name} {count / options.publishes:g}" for name, count in calls.items())
    print(f"  system calls a flip: {each}")
    return True


@contextlib.contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """Count the calls that make a write durable."""
    names = ("fsync", "link", "replace")
    real = {name: getattr(os, name) for name in names}
    calls: Counter[str] = Counter()

    def counting(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return real[name](*arguments, **options)

        return call

    for name in names:
        setattr(os, name, counting(name))
    try:
        yield calls
    finally:
        for name in names:
            setattr(os, name, real[name])


if __name__ == "__main__":
    sys.exit(main())
