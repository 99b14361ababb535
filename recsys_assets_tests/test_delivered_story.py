"""The story end to end: what lands is published, delivered and read; then somebody is erased.

In one process: what the daemon would ask the sensors, the test does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner, Result

import recsys_assets_reader as reading
from recsys_assets import cli
from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs import instance as instances
from recsys_assets.storage.erasures import KEY_VARIABLE
from recsys_assets_tests.defs.looking import run, tick_landing
from recsys_assets_tests.defs.looking import shown as of_dagster
from recsys_assets_tests.project import Project, day, event

NAME = "demo/home"
ANN, BOB = "ann-the-user", "bob"
ITEMS, USERS = ("a", "b", "c"), (ANN, BOB)
REASON = ("--reason", "ticket 7")
Rows = list[tuple[Any, ...]]
# What readers of a sink see of a kind, in order: those of one owner, or all.
Read = Callable[[str, str | None], Rows]
OWNERS = {"popularity": (None,), "cooc": ITEMS, "implicit": USERS, "session_seq": USERS}


@dataclass
class Factory:
    """What Dagster's daemon does for a project, on demand."""

    project: Project
    config: Config
    definitions: dg.Definitions = field(init=False)
    landed: str | None = None
    delivered: str | None = None

    def __post_init__(self) -> None:
        self.definitions = build_definitions(self.config)

    def land(self, number: int, **users: str) -> None:
        """Land a day, a session of several items for each user, and let it be published."""
        of = day(number)
        self.project.land(
            of,
            [
                event(item, of=of, user_id=user, session_id=f"of-{user}", ts=f"{of}T12:0{at}:00Z")
                for user, items in users.items()
                for at, item in enumerate(items)
            ],
        )
        _, requests, self.landed = tick_landing(self.project, self.definitions, self.landed)
        assert [run(self.project, self.definitions, request) for request in requests] == [True]

    def deliver(self) -> int:
        """Tick the sensor of sinks and run what it asks for; return to how many it delivered."""
        sensor = self.definitions.get_repository_def().get_sensor_def("deliveries")
        with dg.build_sensor_context(self.project.instance, cursor=self.delivered) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.delivered = result.cursor
        requests = result.run_requests or []
        assert all(run(self.project, self.definitions, request) for request in requests)
        return sum(len(request.asset_selection or ()) for request in requests)


def of_files(folder: Path, kind: str, owner: str | None) -> Rows:
    pointer = json.loads((folder / NAME / "current.parquet.json").read_bytes())
    rows = pl.read_parquet(pointer["files"][kind].removeprefix("file://"))
    if owner is None:
        return rows.rows()
    return rows.filter(pl.first() == owner).drop(rows.columns[0]).drop_nulls().rows()


def of_postgres(url: str, kind: str, owner: str | None) -> Rows:
    import psycopg

    value = "count" if kind in {"popularity", "cooc"} else "score"
    entry = "neighbour_id" if kind == "cooc" else "item_id"
    whose = "item_id" if kind == "cooc" else "user_id"
    with psycopg.connect(url) as connection:
        return connection.execute(
            f"select {entry}, {value} from {kind} where tenant = 'demo' and surface = 'home' "
            + (f"and {whose} = %s order by place" if owner else "order by place"),
            [owner] if owner else None,
        ).fetchall()


@pytest.fixture(params=["files", "postgres"])
def sink(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], Read]:
    """Give a sink, and what its readers do."""
    if request.param == "files":
        entry = {"name": "table", "type": "files", "path": "out"}
        return entry, partial(of_files, tmp_path / "out")
    database = request.getfixturevalue("database")
    monkeypatch.setenv("SINK_DSN", database.url)
    entry = {"name": "db", "type": "postgres", "dsn_env": "SINK_DSN", "schema": database.schema}
    return entry, partial(of_postgres, database.url)


@pytest.fixture
def project(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Give a project that the command line finds, and its instance with it."""

    @contextmanager
    def opened(home: Path) -> Iterator[dg.DagsterInstance]:
        yield project.instance

    monkeypatch.setattr(instances, "open_instance", opened)
    monkeypatch.setenv("DAGSTER_HOME", str(project.folder))
    monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))
    monkeypatch.delenv("RECSYS_ROOT", raising=False)
    monkeypatch.setenv(KEY_VARIABLE, "a secret that nobody knows")
    return project


def command(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli.main, arguments, input=f"{ANN}\n")
    assert result.exit_code == code, result.output
    return result


def shown(kind: str, owner: str | None) -> Rows:
    """Return what `show` prints; nothing of who has no list."""
    arguments = ["show", NAME, kind, *([owner] if owner else []), "--json"]
    result = CliRunner().invoke(cli.main, arguments)
    if result.exit_code:
        assert "without an ID, all are listed" in result.stderr, result.output
        return []
    rows = json.loads(result.stdout)["rows"]
    return [(row["item_id"], row.get("count", row.get("score"))) for row in rows]


def agree(reader: reading.Reader, sink: Read) -> dict[tuple[str | None, str], Rows]:
    """Hold the reader and the sink to what `show` prints; return what all of them say."""
    asked = {
        "cooc": reader.neighbours,
        "implicit": reader.items_of,
        "session_seq": reader.next_items,
    }
    said = {}
    for kind, owners in OWNERS.items():
        for owner in owners:
            rows = shown(kind, owner)
            answered = asked[kind](owner, 99) if owner else reader.popular(99)
            assert answered == rows, (kind, owner)
            assert [tuple(row) for row in sink(kind, owner)] == rows, (kind, owner)
            said[owner, kind] = rows
    return said


def found() -> tuple[set[str], int]:
    """Return in which kinds of places `find-user` finds her, and in how many raw files."""
    result = CliRunner().invoke(cli.main, ["find-user", NAME, "--json"], input=f"{ANN}\n")
    told = json.loads(result.stdout)
    assert result.exit_code == (1 if told["found"] else 0)
    return {each["place"] for each in told["found"]}, len(told["raw"])


def test_what_lands_is_delivered_where_it_is_read_and_who_is_erased_is_nowhere(
    project: Project, sink: tuple[dict[str, Any], Read]
) -> None:
    entry, read = sink
    landing = {"source": {"path": "raw", "landing": {"settle_seconds": 0}}}
    factory = Factory(project, project.configure({**landing, "sinks": [entry]}))

    factory.land(0, **{ANN: "ab", BOB: "ab"})
    assert factory.deliver() == 1
    with reading.open(str(project.folder / "var"), NAME, every_s=None) as reader:
        first = agree(reader, read)
        assert first[ANN, "implicit"] == [("a", 1), ("b", 1)]
        assert reader.tags("a") == ["red", "round"]

        factory.land(1, **{ANN: "abc", BOB: "bc"})
        assert reader.refresh()
        assert factory.deliver() == 1
        assert agree(reader, read) != first
        assert factory.deliver() == 0

        command("rollback", NAME, "--to", "1", *REASON)
        assert reader.refresh()
        assert factory.deliver() == 1
        assert agree(reader, read) == first

        places, raw = found()
        assert (places >= {"canonical", "objectstore", "sink", "dagster"}, raw) == (True, 2)
        done = command("erase", NAME, *REASON, "--reader-seconds", "0")
        assert "nothing is left" in done.stdout
        for number in (0, 1):
            told = of_dagster(project, "canonical_events", number=number)
            assert (told["users"].value, told["dagster/row_count"].value) == (1, 2)

        assert found() == (set(), 2), "raw files are the owner's"
        assert reader.refresh()
        after = agree(reader, read)
        assert (after[ANN, "implicit"], after[ANN, "session_seq"]) == ([], [])
        assert after[BOB, "implicit"] == first[BOB, "implicit"]
        assert factory.deliver() == 0, "the erasure has delivered"
    assert "0 findings" in command("verify", "--surface", NAME).stdout
    command("rollback", NAME, "--to", "1", *REASON, code=1)
