"""A sink in Redis: what a delivery costs, and what readers see while deliverers are killed.

A server of its own is started. A document of a million rows is delivered, then what is live flips
back and forth. Then a deliverer publishes and delivers for ever and is killed at random moments,
with readers looping. Each delivery has its number in every row, so that a reader tells half of one.
The control names what is live before it is loaded, and must show partial reads.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
import measure
import redis
from sinks import PLACE, publication_of, publish_numbered

from recsys_assets.config import RedisSink
from recsys_assets.sinks import Delivery, open_sink
from recsys_assets.sinks import redis as redis_sink
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import read_live
from recsys_assets_tests import redis_server

SINK = RedisSink.model_validate({"name": "cache", "type": "redis", "url_env": "SINK_URL"})
START = "recsys:{demo/home}"
OWNERS = ("user-00000000", "user-00000001")


def connected() -> Any:
    """Connect to the server."""
    return redis.Redis.from_url(os.environ["SINK_URL"], decode_responses=True)


def measure_load(folder: Path, rows: int, runs: int) -> None:
    """Deliver documents of so many rows, and flip between two of them."""
    store, sink, deliveries = LocalStore(folder), open_sink(SINK, ""), []
    for number in range(1, runs + 1):
        deliveries.append(publish_numbered(store, number, rows))
        wall, cpu = time.monotonic(), time.process_time()
        done = sink.deliver(Delivery(store, deliveries[-1]))
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        print(f"{rows:,} rows: {wall:.2f} s, CPU here {cpu:.2f} s, flip {done.flip_s * 1e3:.1f} ms")
    flips = []
    for again in range(20):
        of = deliveries[again % 2]
        delivery = Delivery(store, type(of)(**{**vars(of), "generation": 1_000 + again}))
        flips.append(sink.deliver(delivery).flip_s * 1e3)
    print(f"there already: flip {sorted(flips)[10]:.1f} ms, worst {max(flips):.1f} ms")
    with connected() as client:
        reads = []
        for _ in range(2_000):
            wall = time.monotonic()
            version = json.loads(client.get(f"{START}:live"))["versions"]["implicit"]
            assert client.hget(f"{START}:implicit:{version}", OWNERS[0])
            reads.append((time.monotonic() - wall) * 1e3)
        print(f"two reads: median {sorted(reads)[1000]:.2f} ms, p99 {sorted(reads)[1980]:.2f} ms")
        print(f"memory of the server: {client.info('memory')['used_memory'] / 2**20:.0f} MiB")
        client.flushall()


def name_before_loading() -> None:
    """Break the sink: what is live is named first."""
    load, flip = redis_sink.Redis._load, redis_sink.Redis._flip

    def flip_first(self: Any, client: Any, delivery: Any, before: Any, rows: Any) -> frozenset[str]:
        text = json.dumps(
            {"generation": delivery.generation, "versions": delivery.versions, "empty": []}
        )
        client.set(f"{START}:live", text)
        return load(self, client, delivery, before, rows)

    def flip_after(self: Any, client: Any, delivery: Any, _: Any, empty: Any) -> str:
        return flip(self, client, delivery, self._live(client, delivery.place), empty)

    redis_sink.Redis._load, redis_sink.Redis._flip = flip_first, flip_after  # type: ignore


def deliver_for_ever(folder: Path, rows: int) -> None:
    """Publish and deliver until killed, and say which numbers were acknowledged."""
    store, sink = LocalStore(folder), open_sink(SINK, "")
    live = read_live(store, PLACE)
    number = live.publication.generation if live and live.publication else 0
    while True:
        if number:
            sink.deliver(Delivery(store, publication_of(store)))
            print(number, flush=True)
        number += 1
        publish_numbered(store, number, rows)


def read(seen: Counter[str], end: threading.Event) -> None:
    """Read in a loop as docs/sinks.md says: what is live, then a key of each kind."""
    with connected() as client:
        newest = 0.0
        while not end.is_set():
            for _ in range(2):
                versions = json.loads(client.get(f"{START}:live"))["versions"]
                found = client.hmget(f"{START}:implicit:{versions['implicit']}", *OWNERS)
                first = client.zrange(f"{START}:popularity:{versions['popularity']}", 0, 0)
                if first and all(found):
                    break
            numbers = {entry["score"] for text in found if text for entry in json.loads(text)}
            numbers |= {float(json.loads(text)["count"]) for text in first}
            if not (first and all(found)) or len(numbers) != 1:
                seen["partial"] += 1
            elif max(numbers) < newest:
                seen["back in time"] += 1
            else:
                seen["whole"] += 1
                newest = max(numbers)


def kill_at_random(folder: Path, rows: int, kills: int, seed: int, *, is_control: bool) -> bool:
    """Kill deliverers so often; tell whether readers saw nothing but whole deliveries."""
    random_, store = random.Random(seed), LocalStore(folder)  # noqa: S311 (no secret)
    with connected() as client:
        client.flushall()
    started = time.monotonic()
    open_sink(SINK, "").deliver(Delivery(store, publish_numbered(store, 1, rows)))
    longest = 3 * (time.monotonic() - started)
    command = [sys.executable, __file__, "--deliver", str(folder), "--rows", str(rows)]
    command += ["--control-only"] if is_control else []
    seen, end, lost, last = Counter[str](), threading.Event(), 0, 0
    readers = [threading.Thread(target=read, args=(seen, end)) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(kills):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout
        first = child.stdout.readline()
        time.sleep(random_.uniform(0, longest))
        child.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in [first, *child.stdout] if line.strip())])
        child.wait()
        held = open_sink(SINK, "").held([PLACE])[PLACE]
        lost += held.generation < last or len(held.versions) < 2
    end.set()
    for reader in readers:
        reader.join()
    print(
        f"{'named before loading' if is_control else 'as it is':21} {kills} kills, {last} "
        f"deliveries: {seen['whole']} whole reads, {seen['partial']} partial, "
        f"{seen['back in time']} back in time; acknowledged and lost: {lost}",
        flush=True,
    )
    return not (seen["partial"] or seen["back in time"] or lost)


def main() -> int:
    """Measure; the exit code is 1 when something was seen or lost, or the control shows nothing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3, help="at least 2 (3)")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--control", type=int, default=5, help="kills of the control (5)")
    parser.add_argument("--killed-rows", type=int, default=20_000, help="rows while killing")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deliver", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--control-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.control_only:
        name_before_loading()
    if options.deliver:
        deliver_for_ever(options.deliver, options.rows)
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("Redis is not installed (Debian: redis-server)")
    print(f"machine: {measure.environment()}, redis-py {redis.__version__}")
    tried: list[Any] = []
    with redis_server.running(program) as url, tempfile.TemporaryDirectory() as made:
        os.environ["SINK_URL"], folder = url, Path(made)
        measure_load(folder / "load", options.rows, options.runs)
        for is_control, kills in ((False, options.kills), (True, options.control)):
            of, rows = folder / f"control-{is_control}", options.killed_rows
            tried.append(kill_at_random(of, rows, kills, options.seed, is_control=is_control))
    print(f"seed {options.seed}")
    return 0 if tried == [True, False] else 1


if __name__ == "__main__":
    sys.exit(main())
