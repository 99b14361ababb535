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

from recsys_assets.audit.artifacts import audit_artifact
from recsys_assets.audit.candidates import audit_candidate
from recsys_assets.audit.drafts import drafts
from recsys_assets.audit.events import audit_events
from recsys_assets.audit.shared import Shared
from recsys_assets.compute.coded import Piece
from recsys_assets.config import Surface
from recsys_assets.documents import DocumentHead, list_text, render
from recsys_assets.events.accepted import AcceptedDays, accept_day, accepted_days
from recsys_assets.kinds import KINDS as ALL_KINDS
from recsys_assets.operations.pointer import plan_rollback, roll_back
from recsys_assets.operations.publish import materialized, publish_candidate
from recsys_assets.places import Place
from recsys_assets.storage import flips
from recsys_assets.storage.flips import Outcome, publish
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import (
    Live,
    Publication,
    Why,
    generation_of,
    read_live,
)
from recsys_assets.storage.registry import stage_version, verify_blob, version_of
from recsys_assets.storage.store import Store
from recsys_assets.windows import Window
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
    def place(self) -> Place:
        return Place("demo", self.name)

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

    def stage(
        self, of: date, number: int, *, kinds: Sequence[str] = KINDS, user: str = "ann"
    ) -> dict[str, str]:
        """Accept a document of each kind for a day, `number` in it; return their URIs."""
        frames = {
            "popularity": pl.DataFrame({"item_id": ["a"], "count": [number]}),
            "cooc": pl.DataFrame({"item_id": ["a"], "neighbour_id": ["b"], "count": [number]}),
            "implicit": pl.DataFrame({"user_id": [user], "item_id": ["a"], "score": [number]}),
        }
        current = {}
        for kind in kinds:
            window = Window.ending_with(of, days=1)
            head = DocumentHead(kind, self.place, "default", window)
            with self.store.scratch() as scratch:
                document = render(
                    list_text([Piece(frames[kind])], ALL_KINDS[kind].layout),
                    head,
                    scratch / f"{kind}.json",
                    source_hash="f" * 64,
                    built_at=self.time(),
                )
                ref = stage_version(self.store, document, run_id="run-1", now=self.time())
            current[kind] = ref.uri
        self.stamp()
        return current

    def publish(
        self, of: date, current: Mapping[str, str], *, seen: int | None = None
    ) -> tuple[Outcome, Live]:
        done = publish(
            self.store,
            self.place,
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
        live = read_live(self.store, self.place)
        assert live is not None
        return live

    @property
    def newest(self) -> Publication:
        publication = self.live.publication
        assert publication is not None
        return publication

    @property
    def generation(self) -> int:
        return generation_of(read_live(self.store, self.place))

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
        patch.setattr(flips, "datetime", Told)
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
    with store.scratch() as scratch:
        if not surface.variant_of:
            events = audit_events(store, surface, of, scratch, Shared())
            assert events.value
            assert events.passed
            accept_day(store, surface.place, events.value)
        make_artifacts(store, surface, of, scratch)
    return publish_day(store, surface, of)


def make_artifacts(store: Store, surface: Surface, of: date, scratch: Path) -> None:
    accepted = accepted_window(store, surface, of)
    for kind in surface.artifacts.kinds:
        drafted = drafts(store, surface, ALL_KINDS[kind], accepted, Shared())
        document = audit_artifact(store, surface, kind, of, scratch, drafted)
        assert document.value
        assert document.passed
        stage_version(store, document.value, run_id="run-1", now=datetime.now(UTC))


def publish_day(store: Store, surface: Surface, of: date) -> str:
    audited = audit_candidate(store, surface, of, accepted_window(store, surface, of))
    assert audited.value, audited.verdicts
    why = materialized(audited.value, run_id="run-1")
    return publish_candidate(store, surface.place, audited.value, why).outcome


def accepted_window(store: Store, surface: Surface, of: date) -> AcceptedDays:
    return accepted_days(store, surface.events_of, surface.days_of_window(of))
