"""A sink in PostgreSQL: what a delivery costs, and what readers see while deliverers are killed.

A server of its own is started, with its defaults and fsync. First a document of a million rows is
delivered, then what is live flips back and forth between two of them.

Then a deliverer publishes and delivers for ever and is killed at random moments, with readers
looping. Each delivery has its number in every row, and its number of rows, so that a reader tells
half of one. What was acknowledged must be held in the end. The control does the same without
transactions, each statement for itself, and must show partial reads or lose something.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
import measure
import polars as pl
import psycopg

from recsys_assets.compute.coded import Piece
from recsys_assets.config import PostgresSink
from recsys_assets.documents import DocumentHead, list_text, render
from recsys_assets.kinds import KINDS
from recsys_assets.places import Place
from recsys_assets.sinks import Delivery, open_sink, postgres_tables
from recsys_assets.storage.flips import publish
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Publication, Why, read_live
from recsys_assets.storage.registry import stage_version
from recsys_assets.windows import Window

PLACE = Place("demo", "home")
SINK = PostgresSink.model_validate({"name": "db", "type": "postgres", "dsn_env": "SINK_DSN"})
_START = date(2026, 1, 1)
_LIST = 40
_READ = (
    "select count(*), count(distinct score), min(score)::int, "
    "(select count(*) from recsys.popularity), (select min(count) from recsys.popularity) "
    "from recsys.implicit"
)


def rows_of(number: int, rows: int) -> pl.DataFrame:
    """Return so many rows of `implicit`, the number of the delivery in each."""
    owner = pl.int_range(rows, eager=True) // _LIST
    item = pl.int_range(rows, eager=True) % _LIST
    return pl.DataFrame(
        {
            "user_id": pl.select(pl.format("user-{}", owner.cast(pl.String).str.zfill(8)))[:, 0],
            "item_id": pl.select(pl.format("item-{}", item.cast(pl.String).str.zfill(6)))[:, 0],
            "score": pl.repeat(float(number), rows, eager=True),
        }
    )


def publish_numbered(store: LocalStore, number: int, rows: int) -> Publication:
    """Publish the n-th delivery: `implicit` of so many rows, and `popularity` of one."""
    window = Window.ending_with(_START + timedelta(days=number), days=1)
    frames = {
        "implicit": rows_of(number, rows),
        "popularity": pl.DataFrame({"item_id": ["a"], "count": [number]}),
    }
    current = {}
    for kind, frame in frames.items():
        with store.scratch() as scratch:
            document = render(
                list_text([Piece(frame)], KINDS[kind].layout),
                DocumentHead(kind, PLACE, "default", window),
                scratch / kind,
                source_hash="f" * 64,
                built_at=datetime.now(UTC),
            )
            current[kind] = stage_version(store, document, run_id="r", now=datetime.now(UTC)).uri
    _, live = publish(store, PLACE, window=window, current=current, why=Why("r", "w", "bench"))
    assert live.publication
    return live.publication


def measure_load(folder: Path, rows: int, runs: int) -> None:
    """Deliver documents of so many rows, and flip between two of them."""
    store, sink = LocalStore(folder / "load"), open_sink(SINK, "")
    deliveries = []
    for number in range(1, runs + 1):
        deliveries.append(publish_numbered(store, number, rows))
        wall, cpu = time.monotonic(), time.process_time()
        done = sink.deliver(Delivery(store, deliveries[-1]))
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        assert done.rows["implicit"] == rows
        print(f"{rows:,} rows: {wall:.2f} s, CPU here {cpu:.2f} s, flip {done.flip_s * 1e3:.1f} ms")
    flips = []
    for again in range(20):  # both are loaded; the grace keeps them
        of = deliveries[again % 2]
        delivery = Delivery(store, type(of)(**{**vars(of), "generation": 1_000 + again}))
        wall = time.monotonic()
        done = sink.deliver(delivery)
        flips.append((done.flip_s, time.monotonic() - wall))
    flip, whole = (sorted(of)[len(flips) // 2] for of in zip(*flips, strict=True))
    worst = max(flip for flip, _ in flips)
    print(
        f"there already: flip {flip * 1e3:.1f} ms (worst {worst * 1e3:.1f}), in all {whole:.3f} s"
    )


def deliver_for_ever(folder: Path, rows: int, *, is_control: bool) -> None:
    """Publish and deliver until killed, and say which numbers were acknowledged."""
    if is_control:
        psycopg.Connection.transaction = lambda *_, **__: contextlib.nullcontext()  # type: ignore
        copy_rows = postgres_tables.copy_rows  # frozen, they need a transaction
        postgres_tables.copy_rows = lambda *of, freeze: copy_rows(*of, freeze=False)
    store, sink = LocalStore(folder), open_sink(SINK, "")
    live = read_live(store, PLACE)
    number = live.publication.generation if live and live.publication else 0
    while True:
        if number:
            done = sink.deliver(Delivery(store, publication_of(store)))
            assert done.held.generation == number
            print(number, flush=True)
        number += 1
        publish_numbered(store, number, rows)


def publication_of(store: LocalStore) -> Publication:
    """Return what is live."""
    live = read_live(store, PLACE)
    assert live
    assert live.publication
    return live.publication


class Readers:
    """Threads that read in a loop and count what they see."""

    def __init__(self, dsn: str, rows: int, number: int = 2) -> None:
        self.seen: Counter[str] = Counter()
        self._dsn, self._rows = dsn, rows
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(number)]
        self._threads.append(threading.Thread(target=self._look))

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            newest = 0
            while not self._end.is_set():
                rows, numbers, number, others, other = connection.execute(_READ).fetchone() or ()
                whole = (rows, numbers, others) == (self._rows, 1, 1) and number == other
                if not whole:
                    self.seen["partial"] += 1
                elif number < newest:
                    self.seen["back in time"] += 1
                else:
                    self.seen["whole"] += 1
                    newest = number

    def _look(self) -> None:
        """Look at a few rows, often: what is wrong for a millisecond is seen too."""
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._end.is_set():
                found = connection.execute(
                    "select count(*), (select count(*) from recsys.live) from recsys.popularity"
                ).fetchone()
                self.seen["whole" if found == (1, 2) else "partial"] += 1


def kill_at_random(folder: Path, rows: int, kills: int, seed: int, *, is_control: bool) -> bool:
    """Kill deliverers so often; tell whether readers saw nothing but whole deliveries."""
    random_, lost, last = random.Random(seed), 0, 0  # noqa: S311 (no secret)
    dsn = os.environ["SINK_DSN"]
    store = LocalStore(folder)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("drop schema if exists recsys cascade")
    started = time.monotonic()
    open_sink(SINK, "").deliver(Delivery(store, publish_numbered(store, 1, rows)))
    longest = 3 * (time.monotonic() - started)
    command = [sys.executable, __file__, "--deliver", str(folder), "--rows", str(rows)]
    command += ["--without-transactions"] if is_control else []
    with Readers(dsn, rows) as readers:
        for _ in range(kills):
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert child.stdout
            first = child.stdout.readline()  # it is up, and has finished what was begun
            time.sleep(random_.uniform(0, longest))
            child.send_signal(signal.SIGKILL)
            numbers = [int(line) for line in [first, *child.stdout] if line.strip()]
            child.wait()
            last = max([last, *numbers])
            held = open_sink(SINK, "").held([PLACE])[PLACE]
            with psycopg.connect(dsn) as connection:
                found = connection.execute(_READ).fetchone() or ()
            is_held = held.generation >= last and found[0] == rows and found[2] >= last
            lost += not is_held
    seen = readers.seen
    print(
        f"{'without transactions' if is_control else 'as it is':21} {kills} kills, {last} "
        f"deliveries: {seen['whole']} whole reads, {seen['partial']} partial, "
        f"{seen['back in time']} back in time; acknowledged and lost: {lost}",
        flush=True,
    )
    return not (seen["partial"] or seen["back in time"] or lost)


@contextlib.contextmanager
def server() -> Iterator[None]:
    """Run PostgreSQL, unless $SINK_DSN says where one is."""
    if "SINK_DSN" in os.environ:
        yield
        return
    from recsys_assets_tests import postgres

    found = postgres.programs()
    if found is None:
        raise SystemExit("PostgreSQL is not installed (Debian: postgresql)")
    with postgres.running(found, "fsync=on") as database:
        os.environ["SINK_DSN"] = database.url
        yield


def main() -> int:
    """Measure; the exit code is 1 when something was seen or lost, or the control shows nothing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3, help="at least 2 (3)")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--control", type=int, default=15, help="kills of the control (15)")
    parser.add_argument("--killed-rows", type=int, default=20_000, help="rows while killing")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deliver", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--without-transactions", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.deliver:
        deliver_for_ever(options.deliver, options.rows, is_control=options.without_transactions)
    print(f"machine: {measure.environment()}, psycopg {psycopg.__version__}")
    tried: list[Any] = []
    with server(), tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        measure_load(folder, options.rows, options.runs)
        for is_control, kills in ((False, options.kills), (True, options.control)):
            of = folder / f"control-{is_control}"
            seed, rows = options.seed, options.killed_rows
            tried.append(kill_at_random(of, rows, kills, seed, is_control=is_control))
    print(f"seed {options.seed}")
    return 0 if tried == [True, False] else 1


if __name__ == "__main__":
    sys.exit(main())
