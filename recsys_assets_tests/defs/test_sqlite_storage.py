"""Dagster's storage in SQLite with connections that stay open."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from sqlalchemy import MetaData
from sqlalchemy.engine import Engine
from sqlalchemy.event import listen, remove

from recsys_assets.defs.event_log import PooledSqliteEventLogStorage
from recsys_assets_tests.defs.test_event_log import thing
from recsys_assets_tests.defs.test_instance import home_with

PLAIN = "telemetry: {enabled: false}\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = home_with("dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.fixture
def connections() -> Iterator[list[str]]:
    """Give the connections that are made from now on, by the file's name."""
    made = list[str]()

    def note(*of: object) -> None:
        made.append(Path(str(of[2][0])).name)  # type: ignore[index]

    listen(Engine, "do_connect", note)
    yield made
    remove(Engine, "do_connect", note)


def ask(instance: dg.DagsterInstance) -> None:
    """Ask for runs and schedules."""
    instance.get_runs(limit=1)
    instance.all_instigator_state()


def test_questions_share_a_connection(home: Path, connections: list[str]) -> None:
    with dg.DagsterInstance.get() as instance:
        ask(instance)
        connections.clear()
        ask(instance)
        assert connections == []


def test_nothing_is_open_when_the_instance_is_closed(home: Path) -> None:
    def is_open() -> bool:
        descriptors = (
            Path(f"/proc/self/fd/{each.name}") for each in Path("/proc/self/fd").iterdir()
        )
        files = {each.resolve().name for each in descriptors if each.is_symlink()}
        return bool(files & {"runs.db", "schedules.db"})

    with dg.DagsterInstance.get() as instance:
        ask(instance)
        assert is_open()
    assert not is_open()


def test_who_asks_at_the_same_time_does_not_wait(home: Path) -> None:
    together = Barrier(5, timeout=60)

    with dg.DagsterInstance.get() as instance, ThreadPoolExecutor(5) as pool:

        def hold(_: int) -> int:
            with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
                together.wait()
                return int(connection.exec_driver_sql("select 1").scalar_one())

        assert [*pool.map(hold, range(5))] == [1] * 5


def test_the_files_are_those_of_dagster_and_others_see_them_at_once(home: Path) -> None:
    with dg.DagsterInstance.get() as pooled:
        assert isinstance(pooled.event_log_storage, PooledSqliteEventLogStorage)
        run = pooled.create_run_for_job(
            dg.Definitions([thing]).resolve_implicit_global_asset_job_def()
        )
        with closing(sqlite3.connect(home / "history/runs.db")) as other:
            assert other.execute("select run_id from runs").fetchall() == [(run.run_id,)]
    (home / "dagster.yaml").write_text(PLAIN)

    with dg.DagsterInstance.get() as plain:
        assert type(plain.run_storage) is SqliteRunStorage
        assert type(plain.schedule_storage) is SqliteScheduleStorage
        assert plain.has_run(run.run_id)


def makers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Open an instance three times at once; return whose tables were made, in turn."""
    made = list[str]()
    together = Barrier(3, timeout=60)
    create_all = MetaData.create_all

    def slowly(tables: MetaData, *of: Any, **by: Any) -> None:
        made.append(min(tables.tables))
        time.sleep(0.2)
        create_all(tables, *of, **by)

    monkeypatch.setattr(MetaData, "create_all", slowly)

    def open_it(_: int) -> None:
        together.wait()
        with dg.DagsterInstance.get() as instance:
            ask(instance)

    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(open_it, range(3))] == [None] * 3
    return made


@pytest.mark.usefixtures("home")
def test_who_opens_a_new_instance_together_makes_its_databases_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two who make them at once leave them broken for good."""
    made = makers(monkeypatch)

    assert len(set(made)) == len(made) == 3


def test_what_was_made_is_opened_without_a_look_at_migrations(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.get() as instance:
        ask(instance)

    def refuse(*_: object) -> None:
        raise AssertionError

    for storage in (SqliteRunStorage, SqliteScheduleStorage):
        monkeypatch.setattr(storage, "from_local", refuse)
    with dg.DagsterInstance.get() as instance:
        ask(instance)


@pytest.mark.parametrize("name", ["history/runs.db", "schedules/schedules.db"])
@pytest.mark.parametrize("made", ["", "create table alembic_version (version_num varchar(32))"])
def test_what_was_not_made_to_its_end_is_made(home: Path, name: str, made: str) -> None:
    (home / name).parent.mkdir()
    with closing(sqlite3.connect(home / name)) as database:
        database.execute(made)

    with dg.DagsterInstance.get() as instance:
        ask(instance)
    with closing(sqlite3.connect(home / name)) as database:
        assert database.execute("select count(*) from alembic_version").fetchone() == (1,)


def test_what_fails_in_a_transaction_leaves_nothing(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.run_storage.set_cursor_values({"name": "value"})

        def break_off() -> None:
            with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
                assert connection.exec_driver_sql("delete from kvs").rowcount
                raise RuntimeError

        with pytest.raises(RuntimeError):
            break_off()
        assert instance.run_storage.get_cursor_values({"name"}) == {"name": "value"}
