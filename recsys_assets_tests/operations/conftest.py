"""What the tests of the operations share: a surface whose days are made without Dagster, and time.

A `Shop` publishes tiny documents, so that a test is about what is published and not about what is
in it; `make_day` makes a whole day of a project, from raw lines to the flip.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from recsys_assets import audits
from recsys_assets.config import ContentSim, Surface
from recsys_assets.documents import DocumentHead, Window, list_text, render
from recsys_assets.io_managers import (
    accept_document,
    accept_partition,
    materialized,
    publish_release,
    read_partitions,
)
from recsys_assets.operations.pointer import plan_rollback, roll_back
from recsys_assets.storage import publications
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import (
    Live,
    Outcome,
    Publication,
    Why,
    generation_of,
    publish,
    read_live,
)
from recsys_assets.storage.registry import accept, verify_blob, version_of
from recsys_assets.storage.store import Store
from recsys_assets_tests.project import Project
from recsys_assets_tests.storage.conftest import Passing

START = datetime(2020, 1, 10, 2, tzinfo=UTC)
KINDS = ("popularity", "cooc")
WHY = Why("run-1", "somebody", "an incident")


class Time:
    """The time of a test; it goes by when it is told to."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def passes(self, **much: float) -> datetime:
        self.now += timedelta(**much)
        return self.now


def on(number: int) -> date:
    """Return the n-th day before the time begins; the 1st is two days before."""
    return date(2020, 1, 7) + timedelta(days=number)


@dataclass
class Shop:
    """A surface of which `popularity` and `cooc` are published, in a root of its own."""

    root: Path
    time: Time = field(default_factory=Time)
    name: str = "home"
    window_days: int = 1

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.root)

    @property
    def surface(self) -> Surface:
        return Surface.model_validate(
            {
                "tenant": "demo",
                "surface": self.name,
                "start_date": date(2020, 1, 1),
                "source": {"path": str(self.root / "raw")},
                "artifacts": {kind: {} for kind in KINDS},
                "window_days": self.window_days,
            }
        )

    def stage(self, of: date, number: int, *, kinds: Sequence[str] = KINDS) -> dict[str, str]:
        """Accept a document of each kind for a day, `number` in it; return their URIs."""
        frames = {
            "popularity": pl.DataFrame({"item_id": ["a"], "count": [number]}),
            "cooc": pl.DataFrame({"item_id": ["a"], "neighbour_id": ["b"], "count": [number]}),
        }
        current = {}
        for kind in kinds:
            window = Window.ending_with(of, days=1)
            head = DocumentHead(kind, "demo", self.name, "default", window)
            with self.store.scratch() as scratch:
                document = render(
                    list_text([frames[kind]], kind),
                    head,
                    scratch / f"{kind}.json",
                    source_hash="f" * 64,
                    built_at=self.time(),
                )
                ref = accept(self.store, document, day=of, run_id="run-1", now=self.time())
            current[kind] = ref.uri
        self.stamp()
        return current

    def publish(
        self, of: date, current: Mapping[str, str], *, seen: int | None = None
    ) -> tuple[Outcome, Live]:
        done = publish(
            self.store,
            tenant="demo",
            surface=self.name,
            window=Window.ending_with(of, days=1),
            current=current,
            why=WHY,
            seen=seen,
        )
        self.stamp()
        return done

    def day(self, of: date, number: int) -> dict[str, str]:
        """Stage and publish a day."""
        current = self.stage(of, number)
        assert self.publish(of, current)[0] == "published"
        return current

    def rollback(self, to: str, *, kind: str | None = None, pin: bool = False) -> Publication:
        plan = plan_rollback(self.store, self.surface, to=to, kind=kind, pin=pin)
        outcome, _ = roll_back(self.store, plan, WHY)
        self.stamp()
        assert outcome == "published"
        return self.newest

    @property
    def live(self) -> Live:
        live = read_live(self.store, "demo", self.name)
        assert live is not None
        return live

    @property
    def newest(self) -> Publication:
        publication = self.live.publication
        assert publication is not None
        return publication

    @property
    def generation(self) -> int:
        return generation_of(read_live(self.store, "demo", self.name))

    def stamp(self) -> None:
        """Give what was written just now the time of the test."""
        for path in self.root.rglob("*"):
            if path.is_file() and path.stat().st_mtime > self.time().timestamp() + 86_400 * 365:
                os.utime(path, (self.time().timestamp(),) * 2)

    def files(self, *layers: str) -> dict[str, bytes]:
        """Return the files below some layers; all but locks and scratch when none is named."""
        return {
            key: path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.suffix != ".lock"
            for key in [str(path.relative_to(self.root))]
            if (key.startswith(layers) if layers else not key.startswith(".scratch"))
        }


def verified(store: Store, uris: Mapping[str, str]) -> bool:
    """Hash every blob of a `current`; a damaged one raises."""
    return all(verify_blob(store, store.key(uri), version_of(uri)) for uri in uris.values())


@contextmanager
def time_of(time: Time) -> Iterator[None]:
    """Make flips happen at the time of the test, also those whose clock cannot be given."""

    class Told(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return time().astimezone(tz)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publications, "datetime", Told)
        with unsynced():
            yield


@contextmanager
def unsynced() -> Iterator[None]:
    """Sync nothing: that is slow, and what survives a power cut is tested with the storage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "root")
    with time_of(shop.time):
        yield shop


@pytest.fixture
def fast() -> Iterator[None]:
    with unsynced():
        yield


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Give a project that is made once, for tests that only read."""
    with dg.DagsterInstance.ephemeral() as instance, unsynced():
        yield Project(tmp_path_factory.mktemp("once"), instance)


class Watched(Passing):
    """A store that calls back before and after each of its writes."""

    def __init__(self, inner: Store, call: Callable[[str, str], None]) -> None:
        super().__init__(inner)
        self._call = call

    def delete(self, key: str) -> None:
        self._call("before delete", key)
        super().delete(key)
        self._call("after delete", key)

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        self._call("before flip", key)
        super().compare_and_swap(key, data, expected=expected)
        self._call("after flip", key)


def make_day(store: Store, surface: Surface, of: date) -> str:
    """Make every asset of a day as its asset does, without Dagster; return the outcome."""
    where = (store, surface.tenant, surface.surface)
    with store.scratch() as scratch:
        events = audits.audit_events(store, surface, of, scratch)
        assert events.value
        assert events.accepted
        accept_partition(*where, events.value)
        make_artifacts(store, surface, of, scratch)
    return publish_day(store, surface, of)


def make_artifacts(store: Store, surface: Surface, of: date, scratch: Path) -> None:
    accepted = accepted_days(store, surface, of)
    for kind in surface.artifacts.kinds:
        options = surface.artifacts.options(kind)
        judge = (
            audits.judge_from_catalog(surface, options)
            if isinstance(options, ContentSim)
            else audits.judge_from_events(store, surface, kind, options, accepted)
        )
        document = audits.audit_artifact(store, surface, kind, of, scratch, judge)
        assert document.value
        assert document.accepted
        accept_document(store, document.value, run_id="run-1")


def publish_day(store: Store, surface: Surface, of: date) -> str:
    release = audits.audit_release(store, surface, of, accepted_days(store, surface, of))
    assert release.value, release.verdicts
    where = (store, surface.tenant, surface.surface)
    return str(
        publish_release(*where, release.value, materialized(release.value, run_id="run-1"))[
            "outcome"
        ]
    )


def accepted_days(store: Store, surface: Surface, of: date) -> audits.Days:
    days = audits.window_days(surface, of)
    return read_partitions(store, surface.tenant, surface.surface, days)
