"""An erased person is in no sink any more, and a sink that cannot be reached is no secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.config import Config
from recsys_assets.errors import SinkError
from recsys_assets.events.erased import Erased
from recsys_assets.operations.erase import Erasure, erase
from recsys_assets.operations.find_user import Held, find_user
from recsys_assets.operations.in_sinks import InSinks
from recsys_assets.sinks import open_sink
from recsys_assets.sinks.delivering import deliver
from recsys_assets.sinks.postgres import Postgres
from recsys_assets.storage.erasures import KEY_VARIABLE, erase_key
from recsys_assets.storage.publications import Why
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import make_day

ANN = "ann"
SMALL: dict[str, Any] = {
    "artifacts": {"popularity": {}, "implicit": {}},
    "catalog": None,
    "window_days": 1,
}


@dataclass
class Site:
    """A surface of two days; both were delivered to a sink, so that one version has left there."""

    project: Project
    config: Config
    reader_seconds: float = 0
    sleep: Callable[[float], None] = field(default=lambda _: pytest.fail("nobody reads"))

    @property
    def sinks(self) -> InSinks:
        return InSinks(
            self.project.store,
            self.config.root,
            reader_seconds=self.reader_seconds,
            sleep=self.sleep,
        )

    def publish(self, number: int) -> None:
        users = (ANN, "bob")
        events = [event(item, of=day(number), user_id=user) for user in users for item in "ab"]
        self.project.land(day(number), events)
        make_day(self.project.store, self.config.surfaces[0], day(number))

    def deliver(self) -> None:
        (surface,) = self.config.surfaces
        deliver(self.project.store, self.config.root, surface, surface.sinks[0])

    def find(self, user: str = ANN) -> list[Held]:
        (surface,) = self.config.surfaces
        key = erase_key(surface.place)
        erased = Erased(key, [key.entry(user)])
        store, sinks = self.project.store, [self.sinks]
        return [*find_user(store, [surface], erased, ids=[user], holders=sinks)]

    def in_sink(self, user: str = ANN) -> list[Held]:
        return [held for held in self.find(user) if held.place == "sink"]

    def erase(self) -> Erasure:
        (surface,) = self.config.surfaces
        key = erase_key(surface.place)
        return erase(
            self.project.store,
            [surface],
            key,
            [key.entry(ANN)],
            Why("run-1", "ada", "ticket 7"),
            ids=[ANN],
            reader_seconds=0,
            holders=[self.sinks],
        )


@pytest.fixture(params=["files", "postgres"])
def site(
    request: pytest.FixtureRequest, project: Project, fast: None, monkeypatch: pytest.MonkeyPatch
) -> Site:
    monkeypatch.setenv(KEY_VARIABLE, "a secret that nobody knows")
    sink: dict[str, Any] = {"name": "table", "type": "files", "path": "out", "format": "csv"}
    if request.param == "postgres":
        database = request.getfixturevalue("database")
        monkeypatch.setenv("SINK_DSN", database.url)
        sink = {"name": "db", "type": "postgres", "dsn_env": "SINK_DSN", "schema": database.schema}
    site = Site(project, project.configure(SMALL | {"sinks": [sink]}), sleep=lambda _: None)
    for number in range(2):
        site.publish(number)
        site.deliver()
    return site


def test_she_is_in_the_sink_before_and_nowhere_after(site: Site) -> None:
    assert [held.said for held in site.in_sink()] == ["1 users"] * 2

    assert site.erase().held == []

    assert site.find() == []
    assert len(site.in_sink("bob")) == 1, "only what is live"
    surface = site.config.surfaces[0]
    opened = open_sink(surface.sinks[0], site.config.root)
    assert opened.held([surface.place])[surface.place].generation == 4


def test_readers_of_what_the_sink_named_before_have_their_time(site: Site) -> None:
    waited = list[tuple[float, int]]()
    site.reader_seconds = 30
    site.sleep = lambda seconds: waited.append((seconds, len(site.in_sink())))

    assert site.erase().held == []

    assert waited == [(30, 2)], "both are there still, and neither is live"
    assert site.erase().held == []
    assert len(waited) == 1, "nothing of her is left, so nobody is waited for"


def test_a_sink_that_fails_is_told_and_the_same_again_finishes_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sink,) = site.config.surfaces[0].sinks
    out = site.project.folder / "out"
    with monkeypatch.context() as patch:
        if sink.type == "postgres":
            patch.setenv("SINK_DSN", "postgresql://dagster:s3cret@127.0.0.1:9/postgres")
        else:
            out.rename(site.project.folder / "elsewhere")
            out.write_text("no directory")
        found = site.in_sink()
        done = site.erase()

    assert [held.uri for held in found] == [f"{sink.name} of demo/home"]
    assert {held.uri for held in done.held} == {f"{sink.name} of demo/home"}
    said = done.held[0].said
    assert ("cannot be used" if sink.type == "postgres" else "cannot be read") in said
    assert "s3cret" not in said
    assert [held for held in site.find() if held.place != "sink"] == [], "all else is done"
    if sink.type == "files":
        out.unlink()
        (site.project.folder / "elsewhere").rename(out)
    assert len(site.in_sink()) == 2
    assert site.erase().held == []
    assert site.find() == []


@pytest.mark.parametrize("site", ["postgres"], indirect=True)
def test_what_could_not_be_dropped_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise SinkError("old versions could not be dropped: canceling statement")

    with monkeypatch.context() as patch:
        patch.setattr(Postgres, "purge", fail)
        held = site.erase().held
    assert [each.said for each in held] == [
        "old versions could not be dropped: canceling statement",
        *["1 users"] * 2,
    ]
    assert site.erase().held == []


@pytest.mark.parametrize("site", ["files"], indirect=True)
def test_files_below_the_root_that_no_sink_has_any_more_go_too(site: Site) -> None:
    below = {"name": "table", "type": "files"}
    site.config = site.project.configure(SMALL | {"sinks": [below]})
    site.deliver()
    (before,) = [held for held in site.find() if held.place == "exports"]
    assert site.in_sink() == [], "found once"
    site.config = site.project.configure(SMALL)

    assert site.erase().held == []

    assert not Path(site.project.store.location(before.key)).exists()


@pytest.mark.parametrize("site", ["files"], indirect=True)
def test_files_of_a_format_that_the_sink_had_before_are_told(site: Site) -> None:
    sink = {"name": "table", "type": "files", "path": "out", "format": "parquet"}
    site.config = site.project.configure(SMALL | {"sinks": [sink]})
    site.deliver()

    held = site.erase().held

    assert [each.uri.rpartition(".")[2] for each in held] == ["csv", "csv"]
    assert site.in_sink() == held
