"""A sink of each kind, and what its readers see."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import polars as pl
import pytest

from recsys_assets.config import AnySink, FilesSink, PostgresSink
from recsys_assets.sinks import Delivered, Delivery, open_sink
from recsys_assets.storage import local
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
    """

    shop: Shop
    config: AnySink
    read: Callable[[str], Rows]
    cut: Callable[[int], Any]

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


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Give a surface whose documents are tiny; nothing waits for the disk."""
    shop = Shop(tmp_path / "root")
    with unsynced(), time_of(shop.time):
        yield shop


@pytest.fixture(params=["postgres", "parquet", "csv"])
def tried(request: pytest.FixtureRequest, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Tried:
    """Give a sink of each kind in turn; a further kind is a further parameter."""
    if request.param == "postgres":
        return in_postgres(shop, request.getfixturevalue("database"), monkeypatch)
    return in_files(shop, request.param)
