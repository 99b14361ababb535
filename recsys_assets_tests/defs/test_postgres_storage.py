"""Dagster's storage on PostgreSQL with a connection that stays open."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import dagster as dg
import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.event import listen, remove

from recsys_assets_tests.defs.test_event_log import newest_partitions
from recsys_assets_tests.defs.test_instance import VARIABLE, home_with, url_for_dagster
from recsys_assets_tests.defs.test_sqlite_storage import makers
from recsys_assets_tests.postgres import Database


@pytest.fixture
def home(postgres_server: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, url_for_dagster(postgres_server))
    home = home_with("dagster-postgres.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as opened:
        yield opened


def servers_of(database: Database) -> set[str]:
    """Return the processes that the server has for other connections than that of the question."""
    found = database.one(
        "select coalesce(string_agg(pid::text, ' '), '') from pg_stat_activity "
        "where client_port is not null and pid <> pg_backend_pid()"
    )
    return {*str(found).split()}


def ask(instance: dg.DagsterInstance) -> None:
    """Ask for runs, events and schedules."""
    instance.get_runs(limit=1)
    instance.get_asset_keys()
    instance.all_instigator_state()


def test_questions_share_a_connection_and_leave_none_behind(
    home: Path, postgres_server: Database
) -> None:
    before = servers_of(postgres_server)
    with dg.DagsterInstance.get() as instance:
        ask(instance)
        first = servers_of(postgres_server) - before
        ask(instance)
        assert servers_of(postgres_server) - before == first
        assert len(first) == 1

    end = time.monotonic() + 60  # the server sees a moment later that one is closed
    while servers_of(postgres_server) & first:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.usefixtures("home")
def test_who_opens_an_empty_database_together_makes_its_tables_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two processes that did so at once, one ended."""
    monkeypatch.setenv(VARIABLE, url_for_dagster(database))

    made = makers(monkeypatch)

    assert len(set(made)) == len(made) == 3


def test_who_opens_it_again_connects_once(home: Path) -> None:
    made = []

    def count(*_: object) -> None:
        made.append(1)

    with dg.DagsterInstance.get() as instance:
        ask(instance)
    listen(Engine, "do_connect", count)
    try:
        with dg.DagsterInstance.get() as instance:
            ask(instance)
    finally:
        remove(Engine, "do_connect", count)

    assert len(made) == 1


def test_who_asks_at_the_same_time_does_not_wait(instance: dg.DagsterInstance) -> None:
    together = Barrier(5, timeout=60)

    def hold(_: int) -> int:
        with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
            together.wait()
            return int(connection.exec_driver_sql("select 1").scalar_one())

    with ThreadPoolExecutor(5) as pool:
        assert [*pool.map(hold, range(5))] == [1] * 5


def test_a_connection_that_the_server_ended_is_made_anew(
    instance: dg.DagsterInstance, postgres_server: Database
) -> None:
    ask(instance)
    servers = servers_of(postgres_server)
    assert servers
    for process in servers:
        assert postgres_server.one(f"select pg_terminate_backend({process}, 60000)")

    ask(instance)


def test_the_webserver_has_a_limit_for_its_questions_and_others_have_none(
    instance: dg.DagsterInstance,
) -> None:
    def limit() -> str:
        with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
            return str(connection.exec_driver_sql("show statement_timeout").scalar_one())

    assert limit() == "0"
    instance.optimize_for_webserver(statement_timeout=5000, pool_recycle=3600, max_overflow=20)
    assert limit() == "5s"
    ask(instance)


@pytest.mark.usefixtures("home")
def test_where_it_is_used_the_newest_partitions_end_where_partitions_do() -> None:
    """The UI's webserver loads it, and nothing else of this project."""
    assert newest_partitions() == [b"2026-01-31", b"2026-01-30"]
