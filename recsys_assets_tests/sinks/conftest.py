"""A sink of each kind, and what its readers see."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlparse
from uuid import uuid4

import polars as pl
import pytest

from recsys_assets.config import AnySink, FilesSink, PostgresSink, RedisSink, WebhookSink
from recsys_assets.sinks import Delivered, Delivery, open_sink
from recsys_assets.sinks.rows import rows_of
from recsys_assets.storage import layout, local
from recsys_assets.storage.deliveries import Held
from recsys_assets.storage.publications import Publication
from recsys_assets_tests.postgres import Database
from recsys_assets_tests.shop import Shop, on, time_of, unsynced

Rows = list[tuple[Any, ...]]


class CutOffError(Exception):
    """The deliverer is killed here."""


@dataclass
class Tried:
    """A sink of a surface that is published for a test.

    Attributes:
        shop: the surface.
        config: of the sink.
        read: gives what readers see of a kind: its rows, in order; nothing where it is not live.
        cut: cuts a deliverer off before its n-th step, and tells how many there were.
        written: the rows that a first delivery writes, by kind.
    """

    shop: Shop
    config: AnySink
    read: Callable[[str], Rows]
    cut: Callable[[int], Any]
    written: dict[str, int] = field(default_factory=lambda: {"popularity": 1, "cooc": 1})

    @property
    def held(self) -> Held | None:
        found = open_sink(self.config, str(self.shop.root)).held([self.shop.place])
        return found.get(self.shop.place)

    def deliver(self, publication: Publication | None = None) -> Delivered:
        delivery = Delivery(self.shop.store, publication or self.shop.newest)
        return open_sink(self.config, str(self.shop.root)).deliver(delivery)

    @property
    def number(self) -> int | None:
        """What is in all that readers see, which is the same in all kinds of a delivery."""
        numbers = {row[-1] for kind in ("popularity", "cooc") for row in self.read(kind)}
        assert len(numbers) <= 1, numbers
        return numbers.pop() if numbers else None

    def publish(self, day: int, number: int) -> Publication:
        self.shop.day(on(day), number)
        return self.shop.newest


@contextmanager
def cut_off(target: Any, *names: str, at: int) -> Iterator[list[str]]:
    """Cut off before the call of one of some methods whose number is `at`, from 0."""
    calls = list[str]()
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            inner = getattr(target, name)

            def call(
                self: Any, *values: Any, _name: str = name, _inner: Any = inner, **more: Any
            ) -> Any:
                calls.append(_name)
                if len(calls) == at + 1:
                    raise CutOffError
                return _inner(self, *values, **more)

            patch.setattr(target, name, call)
        yield calls


def in_postgres(shop: Shop, database: Database, patch: pytest.MonkeyPatch) -> Tried:
    import psycopg

    from recsys_assets.sinks import postgres_tables

    patch.setenv("SINK_DSN", database.url)
    keys = {"name": "db", "type": "postgres", "dsn_env": "SINK_DSN", "schema": database.schema}

    def read(kind: str) -> Rows:
        columns = {"popularity": "item_id, count", "cooc": "item_id, neighbour_id, count"}[kind]
        with psycopg.connect(database.url) as connection:
            found = connection.execute(
                f"select {columns} from {kind} where tenant = %s and surface = %s "
                "order by item_id, place",
                [shop.place.tenant, shop.place.surface],
            )
            return found.fetchall()

    def cut(at: int) -> Any:
        return cut_off(postgres_tables.Tables, "_run", at=at)

    return Tried(shop, PostgresSink.model_validate(keys), read, cut)


def in_files(shop: Shop, form: str) -> Tried:
    keys = {"name": "table", "type": "files", "format": form}
    folder = shop.root / "exports" / "demo" / "home"

    def read(kind: str) -> Rows:
        pointer = folder / f"current.{form}.json"
        if not pointer.exists():
            return []
        uri = json.loads(pointer.read_bytes())["files"].get(kind)
        path = Path(urlparse(uri).path)
        if form == "parquet":
            return pl.read_parquet(path).rows()
        with path.open() as file:
            rows = list(csv.reader(file))
        return [(*row[:-1], int(row[-1])) for row in rows[1:]]

    def cut(at: int) -> Any:
        names = ("replace", "compare_and_swap", "delete")
        return cut_off(local.LocalStore, *names, at=at)

    return Tried(shop, FilesSink.model_validate(keys), read, cut)


def in_redis(shop: Shop, url: str, patch: pytest.MonkeyPatch, **more: Any) -> Tried:
    import redis

    from recsys_assets.sinks import redis as redis_sink

    patch.setenv("SINK_URL", url)
    prefix = f"of-{uuid4().hex}"
    keys = {"name": "cache", "type": "redis", "url_env": "SINK_URL", "prefix": prefix, **more}
    surface = f"{prefix}:{{{shop.place.name}}}"

    def read(kind: str) -> Rows:
        with redis.Redis.from_url(url, decode_responses=True) as client:
            live = client.get(f"{surface}:live")
            version = json.loads(str(live))["versions"].get(kind) if live else None
            if version is None:
                return []
            key = f"{surface}:{kind}:{version}"
            if kind == "popularity":
                found: Any = client.zrange(key, 0, -1)
                return [tuple(json.loads(entry).values()) for entry in found]
            owners: Any = client.hgetall(key)
            return [
                (owner, *entry.values())
                for owner, text in owners.items()
                for entry in json.loads(text)
            ]

    def cut(at: int) -> Any:
        return cut_off(redis_sink.Redis, "_run", at=at)

    return Tried(shop, RedisSink.model_validate(keys), read, cut)


class Receiver:
    """What a webhook posts to: it keeps what is told, and goes by the newest generation.

    Attributes:
        url: its address.
        told: the headers and the body of each request.
        answers: the status of the next requests, and what they hold as `Location`; then 204.
        event: the newest that was taken.
        lock: whoever holds it keeps everybody waiting.
    """

    def __init__(self) -> None:
        self.told = list[tuple[dict[str, str], bytes]]()
        self.answers = list[tuple[int, str]]()
        self.event: dict[str, Any] = {}
        self.lock = Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, location = receiver.take(dict(self.headers.items()), body)
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?key=k3y-of-url"

    def take(self, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        with self.lock:
            self.told.append((headers, body))
            if self.answers:
                return self.answers.pop(0)
            event = json.loads(body)
            if event.get("generation", 0) > self.event.get("generation", 0):
                self.event = event
            return 204, ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    serving = Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield receiver
    receiver.server.shutdown()
    serving.join()
    receiver.server.server_close()


def in_webhook(shop: Shop, receiver: Receiver, patch: pytest.MonkeyPatch, **more: Any) -> Tried:
    from recsys_assets.sinks import webhook

    patch.setenv("HOOK_URL", receiver.url)
    patch.setenv("HOOK_SECRET", "s3cret-of-hook")
    keys = {"name": "hook", "type": "webhook", "url_env": "HOOK_URL", "secret_env": "HOOK_SECRET"}

    def read(kind: str) -> Rows:
        version = receiver.event.get("versions", {}).get(kind)
        if version is None:
            return []
        path = shop.root / layout.blob(shop.place, kind, version)
        return rows_of(path.read_bytes(), kind).rows()

    def cut(at: int) -> Any:
        return cut_off(webhook.Webhook, "_read", "_post", "_keep", at=at)

    return Tried(shop, WebhookSink.model_validate(keys | more), read, cut, written={})


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Give a surface whose documents are tiny; nothing waits for the disk."""
    shop = Shop(tmp_path / "root")
    with unsynced(), time_of(shop.time):
        yield shop


@pytest.fixture(params=["postgres", "parquet", "csv", "redis", "webhook"])
def tried(request: pytest.FixtureRequest, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Tried:
    """Give a sink of each kind in turn; a further kind is a further parameter."""
    if request.param == "postgres":
        return in_postgres(shop, request.getfixturevalue("database"), monkeypatch)
    if request.param == "redis":
        return in_redis(shop, request.getfixturevalue("redis_url"), monkeypatch)
    if request.param == "webhook":
        return in_webhook(shop, request.getfixturevalue("receiver"), monkeypatch)
    return in_files(shop, request.param)
