"""What the storage tests share: the backends, stores that misbehave on purpose, small builders.

Functions that other processes run are at the top level, here or in the tests, because those
processes import them by name.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

import obstore
import polars as pl
import pytest
from obstore.store import AzureStore, GCSStore, S3Store

from recsys_assets.compute.coded import Piece
from recsys_assets.documents import DocumentHead, RenderedDocument, list_text, render
from recsys_assets.kinds import KINDS
from recsys_assets.places import Place
from recsys_assets.storage import flips, layout, objects
from recsys_assets.storage.flips import publish
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.objects import ObjectStore
from recsys_assets.storage.publications import Live, Why, history, read_live
from recsys_assets.storage.registry import StagedRef, stage_version
from recsys_assets.storage.store import Store, Stored, Versioned
from recsys_assets.windows import Window
from recsys_assets_tests.storage import servers
from recsys_assets_tests.storage.proxy import Proxy, proxy_before
from recsys_assets_tests.storage.servers import Server

TENANT = "demo"
SURFACE = "home"
PLACE = Place(TENANT, SURFACE)
SEGMENT = "default"
DAY = date(2026, 1, 5)
TOMORROW = DAY + timedelta(days=1)
MANIFEST = layout.manifest(PLACE)
KEY = "objectstore/demo/home/popularity/1.json"
BODY = "<Error><Code>Strange</Code><Message>what the server says is revealed</Message></Error>"
# Google lets one object be written about once a second.
_DEADLINE_S = 900 if any(map(servers.own, servers.OWN)) else 60


@dataclass(frozen=True)
class Backend:
    """One kind of store. `open` can be sent to another process, where it opens the same store."""

    open: Callable[[], Store]
    contents: Callable[[], dict[str, object]]


@pytest.fixture(params=["local", "s3", "azure"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "local":
        return local_backend(tmp_path / "root")
    server: Server = request.getfixturevalue(f"{request.param}_server")
    use(server, request.getfixturevalue("monkeypatch"))
    return object_backend(server.url(new_prefix()))


# For what decides whether a store can be a root at all; the emulator of GCS is not quick.
on_every_backend = pytest.mark.parametrize(
    "backend", ["local", "s3", "azure", "gcs"], indirect=True
)
on_every_url = pytest.mark.parametrize("url", ["s3", "azure", "gcs"], indirect=True)
# For a test whose wrapper, or damage, does the same to any store: once is enough.
on_one_backend = pytest.mark.parametrize("backend", ["local"], indirect=True)


@pytest.fixture
def store(backend: Backend) -> Store:
    return backend.open()


def local_backend(root: Path) -> Backend:
    return Backend(partial(LocalStore, root), partial(files_below, root))


# The emulator of GCS cannot show all that a bucket of one's own does.
@pytest.fixture(params=["s3", "azure", *(["gcs"] if servers.own("gs") else [])])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A root of its own in a real object store."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    use(server, monkeypatch)
    return server.url(new_prefix())


@pytest.fixture
def s3_url(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    use(s3_server, monkeypatch)
    return s3_server.url(new_prefix())


@pytest.fixture
def proxy(s3_server: Server, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy through which `s3_url` is reached."""
    with proxy_before(s3_server.endpoint) as running:
        use(s3_server, monkeypatch, running.url)
        yield running


QUICKLY = {
    "init_backoff": timedelta(milliseconds=5),
    "max_backoff": timedelta(milliseconds=10),
    "base": 2,
}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after one more try."""
    second = timedelta(seconds=1)
    monkeypatch.setattr(
        objects, "_RETRY", {"max_retries": 1, "backoff": QUICKLY, "retry_timeout": second}
    )
    monkeypatch.setattr(flips, "_LONGEST_PAUSE_S", 0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try as often as ever, with less of a pause."""
    monkeypatch.setattr(objects, "_RETRY", {**objects._RETRY, "backoff": QUICKLY})


def use(server: Server, monkeypatch: pytest.MonkeyPatch, endpoint: str | None = None) -> None:
    """Point this process, and those it starts, to a server or to a proxy before it."""
    for name in servers.foreign_variables():
        monkeypatch.delenv(name)
    for name, value in server.environment(endpoint).items():
        monkeypatch.setenv(name, value)


def new_prefix() -> str:
    """Make up a prefix that nobody uses, of what URLs like to change."""
    return f"with space/ü%20+&=/{uuid.uuid4().hex}"


def object_backend(url: str) -> Backend:
    return Backend(partial(ObjectStore, url), partial(objects_below, url))


def objects_below(url: str) -> dict[str, object]:
    """Return every object but the probe: bytes, tag and time, so a rewrite shows too."""
    scheme, _, path = url.partition("://")
    bucket, _, prefix = path.partition("/")
    kind: Any = {"s3": S3Store, "az": AzureStore, "gs": GCSStore}[scheme]
    store = kind(bucket, prefix=prefix)
    return {
        found["path"]: (
            bytes(obstore.get(store, found["path"]).bytes()),
            found["e_tag"],
            found["last_modified"],
        )
        for found in obstore.list(store).collect()
        if not found["path"].endswith("/.conditional-writes")
    }


def files_below(root: Path) -> dict[str, object]:
    """Return every file but the locks: bytes, time and inode, so a rewrite shows too."""
    return {
        str(path.relative_to(root)): (
            path.read_bytes(),
            path.stat().st_mtime_ns,
            path.stat().st_ino,
        )
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


class Passing:
    """A store that passes everything on and remembers the writes; the base of the unkind ones."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.writes: list[tuple[str, str]] = []
        self.settled: list[str] = []

    def uri(self, key: str) -> str:
        return self.inner.uri(key)

    def key(self, uri: str) -> str:
        return self.inner.key(uri)

    def read(self, key: str) -> Versioned | None:
        return self.inner.read(key)

    def open(self, key: str) -> tuple[BinaryIO, int]:
        return self.inner.open(key)

    def location(self, key: str) -> str:
        return self.inner.location(key)

    def list(self, prefix: str) -> Iterator[Stored]:
        return self.inner.list(prefix)

    def stat(self, key: str) -> Stored | None:
        return self.inner.stat(key)

    def left_behind(self, *, before: datetime) -> Iterator[Stored]:
        return self.inner.left_behind(before=before)

    def put_new(self, key: str, content: bytes | Path) -> bool:
        self.writes.append(("put_new", key))
        return self.inner.put_new(key, content)

    def replace(self, key: str, content: bytes | Path) -> None:
        self.writes.append(("replace", key))
        self.inner.replace(key, content)

    def write_derived(self, key: str, data: bytes) -> None:
        self.writes.append(("write_derived", key))
        self.inner.write_derived(key, data)

    def delete(self, key: str) -> None:
        self.writes.append(("delete", key))
        self.inner.delete(key)

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        self.writes.append(("compare_and_swap", key))
        self.inner.compare_and_swap(key, data, expected=expected)

    def settle(self, key: str) -> None:
        self.settled.append(key)
        self.inner.settle(key)

    def scratch(self) -> AbstractContextManager[Path]:
        return self.inner.scratch()


class CrashError(BaseException):
    """The process dies here: no `except Exception` may swallow it."""


class Crashing(Passing):
    """Dies just before its n-th write, or just after it."""

    def __init__(self, inner: Store, *, write: int, after: bool) -> None:
        super().__init__(inner)
        self._write = write
        self._after = after

    def put_new(self, key: str, content: bytes | Path) -> bool:
        self._die(after=False)
        written = super().put_new(key, content)
        self._die(after=True)
        return written

    def replace(self, key: str, content: bytes | Path) -> None:
        self._die(after=False)
        super().replace(key, content)
        self._die(after=True)

    def write_derived(self, key: str, data: bytes) -> None:
        self._die(after=False)
        super().write_derived(key, data)
        self._die(after=True)

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        self._die(after=False)
        super().compare_and_swap(key, data, expected=expected)
        self._die(after=True)

    def _die(self, *, after: bool) -> None:
        number = len(self.writes) - 1 if after else len(self.writes)
        if after == self._after and number == self._write:
            raise CrashError


class Clock:
    """A clock that starts at a moment and goes one second a look."""

    def __init__(self, start: datetime = datetime(2026, 1, 6, 2, tzinfo=UTC)) -> None:
        self._next = start

    def __call__(self) -> datetime:
        now = self._next
        self._next += timedelta(seconds=1)
        return now


class PublishArguments(TypedDict):
    """What `publish` is asked for."""

    place: Place
    window: Window
    current: dict[str, str]
    why: Why


def version_of(number: int) -> str:
    return f"{number:064x}"


def publish_arguments(store: Store, *, day: date = DAY, version: int = 1) -> PublishArguments:
    """Build the arguments of a publish; blobs are named, not written: `publish` reads none."""
    current = {
        kind: store.uri(layout.blob(PLACE, kind, version_of(version)))
        for kind in ("popularity", "cooc")
    }
    window = Window.ending_with(day, days=1)
    return PublishArguments(
        place=PLACE,
        window=window,
        current=current,
        why=Why(f"run-{version}", "somebody", "a test"),
    )


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read(KEY),
    "open": lambda store: store.open(KEY),
    "list": lambda store: list(store.list("objectstore")),
    "put": lambda store: store.put_new("new", b"one"),
    "replace": lambda store: store.replace(KEY, b"two"),
    "delete": lambda store: store.delete(KEY),
    "first publish": lambda store: publish(store, **publish_arguments(store)),
}


def assert_reveals_nothing(error: BaseException) -> None:
    """Neither what is shown of an error, nor of those that led to it, may hold a secret."""
    shown = "".join(traceback.format_exception(error))
    for secret in (servers.SECRET, servers.KEY_ID, "revealed", "<Error>", "<Code>", "RequestId"):
        assert secret not in shown


def live_now(store: Store) -> Live:
    live = read_live(store, PLACE)
    assert live is not None, "nothing is published"
    return live


def lineage(store: Store) -> list[tuple[int, str, str | None]]:
    """Return generation, publish_id and parent of every publication, the newest first."""
    return [
        (publication.generation, publication.publish_id, publication.parent)
        for publication in history(store, live_now(store))
    ]


def record(store: Store, generation: int, publish_id: str) -> dict[str, Any]:
    found = store.read(layout.publication(PLACE, generation, publish_id))
    assert found is not None
    members: dict[str, Any] = json.loads(found.data)
    return members


def manifest_bytes(store: Store) -> bytes:
    found: Versioned | None = store.read(MANIFEST)
    assert found is not None
    return found.data


def rendered(
    scratch: Path,
    *,
    count: int = 1,
    day: date = DAY,
    built_at: datetime = datetime(2026, 1, 6, 1, tzinfo=UTC),
    source_hash: str = "f" * 64,
) -> RenderedDocument:
    """Write a popularity document; `count` decides its version, no other does."""
    head = DocumentHead("popularity", PLACE, SEGMENT, Window.ending_with(day, days=1))
    frame = pl.DataFrame({"item_id": ["a"], "count": [count]})
    path = scratch / f"{day}.json"
    return render(
        list_text([Piece(frame)], KINDS[head.kind].layout),
        head,
        path,
        source_hash=source_hash,
        built_at=built_at,
    )


def accept_rendered(
    store: Store,
    *,
    count: int = 1,
    day: date = DAY,
    built_at: datetime = datetime(2026, 1, 6, 1, tzinfo=UTC),
    source_hash: str = "f" * 64,
) -> StagedRef:
    """Render and accept a day, as its asset does."""
    with store.scratch() as scratch:
        document = rendered(
            scratch, count=count, day=day, built_at=built_at, source_hash=source_hash
        )
        return stage_version(store, document, run_id="run-1", now=built_at)


# Its processes are forked from one that has imported what takes long, and has no threads.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__, "recsys_assets.definitions"])


def at_once(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Call a function in one process per entry, all let go together; return what they returned."""
    context, environment = PROCESSES, dict(os.environ)
    barrier = context.Barrier(len(arguments))
    receivers, processes = [], []
    for entry in arguments:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(
            target=_answer, args=(barrier, sender, environment, function, entry)
        )
        process.start()
        sender.close()
        receivers.append(receiver)
        processes.append(process)
    try:
        return [_received(receiver) for receiver in receivers]
    finally:
        for process, receiver in zip(processes, receivers, strict=True):
            process.join(_DEADLINE_S)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
            receiver.close()


def _answer(
    barrier: Barrier,
    sender: Connection,
    environment: dict[str, str],
    function: Callable[..., Any],
    entry: tuple[Any, ...],
) -> None:
    os.environ.clear()  # what it was forked from has that of the first test
    os.environ.update(environment)
    barrier.wait(_DEADLINE_S)
    sender.send(function(*entry))
    sender.close()


def _received(receiver: Connection) -> Any:
    # A process that raised sends nothing; its traceback is on the captured stderr.
    assert receiver.poll(_DEADLINE_S), "a process did not answer"
    return receiver.recv()
