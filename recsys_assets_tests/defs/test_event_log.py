"""Dagster's event log with connections that stay open."""

# No postponed annotations here: Dagster reads them when an asset is declared.
import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from recsys_assets.defs.event_log import PooledSqliteEventLogStorage

SETTINGS = """
telemetry: {enabled: false}
event_log_storage:
  module: recsys_assets.defs.event_log
  class: PooledSqliteEventLogStorage
"""
DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-02-01")


@dg.asset(partitions_def=DAYS, check_specs=[dg.AssetCheckSpec("fine", asset="thing")])
def thing() -> Iterator[Any]:
    yield dg.MaterializeResult(
        metadata={"rows": 3}, check_results=[dg.AssetCheckResult(passed=True, check_name="fine")]
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dagster.yaml").write_text(SETTINGS)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as opened:
        yield opened


def newest_partitions() -> list[bytes]:
    """Return the newest two of January, as a process sees them that opens the instance."""
    program = """
import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
days = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-02-01")
with dg.DagsterInstance.get(), partition_loading_context() as context:
    print(*days.get_paginated_partition_keys(context, limit=2, ascending=False).results)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return done.stdout.split()


def test_where_it_is_used_the_newest_partitions_end_where_partitions_do(home: Path) -> None:
    """The UI's webserver loads it, and nothing else of this project."""
    assert newest_partitions() == [b"2026-01-31", b"2026-01-30"]


def plan(instance: dg.DagsterInstance, first: str, last: str) -> str:
    """Create a run over many days, and do not execute it."""
    return instance.create_run_for_job(
        dg.Definitions([thing]).resolve_implicit_global_asset_job_def(),
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        },
    ).run_id


def rows(home: Path, query: str) -> list[Any]:
    # `with` on a connection ends a transaction; Python 3.13 warns of one that is never closed.
    with closing(sqlite3.connect(home / "history/runs/index.db")) as index:
        return index.execute(query).fetchall()


def materialize(instance: dg.DagsterInstance, day: str) -> str:
    return dg.materialize([thing], partition_key=day, instance=instance).run_id


def storage_of(instance: dg.DagsterInstance) -> PooledSqliteEventLogStorage:
    storage = instance.event_log_storage
    assert isinstance(storage, PooledSqliteEventLogStorage)
    return storage


def test_runs_and_materializations_are_read_back(instance: dg.DagsterInstance) -> None:
    runs = [materialize(instance, f"2026-01-0{day}") for day in (1, 2)]

    assert instance.get_materialized_partitions(thing.key) == {"2026-01-01", "2026-01-02"}
    (record,) = instance.fetch_materializations(thing.key, limit=1).records
    assert record.asset_materialization is not None
    assert record.asset_materialization.metadata["rows"].value == 3
    assert [event.run_id for event in instance.all_logs(runs[0])] == [runs[0]] * len(
        instance.all_logs(runs[0])
    )


def test_the_database_of_a_run_is_a_copy_that_holds_what_dagster_makes(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def schema(file: Path) -> list[Any]:
        with closing(sqlite3.connect(file)) as opened:
            revision = opened.execute("select version_num from alembic_version").fetchall()
            return [*opened.execute("select name, sql from sqlite_master order by name"), revision]

    with dg.DagsterInstance.get() as pooled:
        runs = [materialize(pooled, f"2026-01-0{day}") for day in (1, 2)]
        assert {*storage_of(pooled).get_all_run_ids()} == {*runs}
        for run in runs:
            events = pooled.all_logs(run)
            assert {event.run_id for event in events} == {run}
    folder = home / "history/runs"
    (empty,) = folder.glob(".*")
    with closing(sqlite3.connect(empty)) as opened:
        assert opened.execute("select count(*) from event_logs").fetchall() == [(0,)]

    plain = SqliteEventLogStorage(str(tmp_path_factory.mktemp("plain")))
    with plain.run_connection("x"):
        pass

    of_dagster = schema(Path(plain.path_for_shard("x")))
    assert [schema(folder / f"{run}.db") for run in runs] == [of_dagster] * 2


def test_the_files_are_those_of_dagster(home: Path) -> None:
    with dg.DagsterInstance.get() as pooled:
        run = materialize(pooled, "2026-01-01")
        events = len(pooled.all_logs(run))
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    with dg.DagsterInstance.get() as plain:
        assert not isinstance(plain.event_log_storage, PooledSqliteEventLogStorage)
        assert len(plain.all_logs(run)) == events
        assert plain.get_materialized_partitions(thing.key) == {"2026-01-01"}


def test_a_dagster_yaml_that_names_its_first_home_still_opens(home: Path) -> None:
    old = SETTINGS.replace("recsys_assets.defs.event_log", "recsys_assets.event_log")
    assert old != SETTINGS
    (home / "dagster.yaml").write_text(old)

    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, PooledSqliteEventLogStorage)
        materialize(instance, "2026-01-01")
        assert instance.get_materialized_partitions(thing.key) == {"2026-01-01"}


def test_what_is_stored_is_seen_by_another_process_at_once(
    instance: dg.DagsterInstance, home: Path
) -> None:
    materialize(instance, "2026-01-01")

    with closing(sqlite3.connect(home / "history/runs/index.db")) as other:
        (found,) = other.execute(
            "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
        ).fetchone()
    assert found == 1


@pytest.mark.parametrize("pooled", [True, False])
def test_what_many_days_plan_is_kept_as_dagster_keeps_it(
    home: Path, pooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours takes a batch at once; Dagster's own is held to the same answers."""
    if not pooled:
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)

    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, PooledSqliteEventLogStorage) == pooled
        first, second = (plan(instance, "2026-01-01", f"2026-01-{last}") for last in ("03", "02"))

        for run, days in ((first, 3), (second, 2)):
            kinds = [event.dagster_event_type for event in instance.all_logs(run)]
            assert kinds.count(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED) == days
            assert kinds.count(dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED) == 1
            assert len(kinds) == days + 1
        info = instance.event_log_storage.get_latest_planned_materialization_info(
            thing.key, partition="2026-01-03"
        )
        assert info is not None
        assert info.run_id == first
        (record,) = instance.get_asset_records([thing.key])
        assert record.asset_entry.last_run_id == second
        assert record.asset_entry.last_materialization is None
    kept = "SELECT check_name, partition, run_id, execution_status FROM asset_check_executions"
    assert rows(home, kept) == [
        ("fine", day, run, "PLANNED")
        for run, days in ((first, 3), (second, 2))
        for day in [f"2026-01-0{number}" for number in range(1, days + 1)]
    ]
    events = [
        dg.deserialize_value(text, dg.EventLogEntry)
        for (text,) in rows(home, "SELECT evaluation_event FROM asset_check_executions")
    ]
    assert {event.get_dagster_event().asset_check_planned_data.check_name for event in events} == {
        "fine"
    }


def test_an_asset_shows_its_last_materialization(instance: dg.DagsterInstance) -> None:
    for day in ("2026-01-02", "2026-01-01"):
        run = materialize(instance, day)

    (record,) = instance.get_asset_records([thing.key])
    last = record.asset_entry.last_materialization
    assert last is not None
    assert (last.run_id, last.get_dagster_event().partition) == (run, "2026-01-01")
    assert record.asset_entry.last_run_id == run
    (stored,) = instance.fetch_materializations(thing.key, limit=1).records
    assert record.asset_entry.last_materialization_storage_id == stored.storage_id


def test_a_materialization_is_kept_as_dagster_keeps_it(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Ours writes the event out once; Dagster's own is held to the same rows."""
    runs = [materialize(instance, day) for day in ("2026-01-02", "2026-01-01")]
    ours = PooledSqliteEventLogStorage(str(tmp_path / "ours"))
    dagsters = SqliteEventLogStorage(str(tmp_path / "dagster's"))
    try:
        for event in (event for run in runs for event in instance.all_logs(run)):
            if event.dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
                ours.store_event(event)
                dagsters.store_event(event)
        kept = [
            [
                all_of(path, "event_logs"),
                all_of(path, "asset_event_tags"),
                all_of(path, "asset_keys", but="create_timestamp"),
            ]
            for folder in ("ours", "dagster's")
            for path in sorted((tmp_path / folder).glob("[!.]*.db"))
        ]
    finally:
        ours.dispose()
        dagsters.dispose()

    assert [len(of_file[0]) for of_file in kept[:3]] == [1, 1, 2]  # two runs, and the index
    assert len(kept[2][2]) == 1
    assert kept[:3] == kept[3:]


def all_of(path: Path, table: str, *, but: str = "") -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        columns = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
        wanted = ", ".join(name for name in columns if name != but)
        return database.execute(f"SELECT {wanted} FROM {table}").fetchall()


def test_the_schema_is_looked_at_once(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(instance, "2026-01-01")
    looked: list[str] = []

    def count(name: str) -> None:
        original = getattr(SqliteEventLogStorage, name)

        def counting(*arguments: Any) -> Any:
            looked.append(name)
            return original(*arguments)

        monkeypatch.setattr(SqliteEventLogStorage, name, counting)

    count("has_table")
    count("_has_asset_key_col_on_connection")
    materialize(instance, "2026-01-02")

    assert looked == []
    assert not storage_of(instance).has_table("nothing")
    assert looked == ["has_table"]  # which shows that the counting counts


def test_a_base_dir_is_where_the_events_are_kept(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (home / "dagster.yaml").write_text(SETTINGS + f"  config: {{base_dir: {elsewhere}}}\n")

    with dg.DagsterInstance.get() as instance:
        materialize(instance, "2026-01-01")

    assert (elsewhere / "index.db").exists()
    assert not (home / "history/runs").exists()


def test_a_connection_stays_open(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = materialize(instance, "2026-01-01")
    storage, opened = storage_of(instance), []
    connect = sqlite3.connect

    def counting(path: str, *args: object, **kwargs: object) -> sqlite3.Connection:
        opened.append(Path(path).stem)
        return connect(path, *args, **kwargs)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr("sqlite3.dbapi2.connect", counting)
    for _ in range(5):
        for shard in (storage.run_connection(run), storage.index_connection()):
            with shard as connection:
                connection.exec_driver_sql("SELECT count(*) FROM event_logs")
    assert opened == []

    with SqliteEventLogStorage.run_connection(storage, run):
        pass
    assert opened == [run]  # Dagster's own, which shows that the counting counts


def test_the_page_of_a_run_is_told_each_event_as_it_comes(
    instance: dg.DagsterInstance,
) -> None:
    """Nothing closes a connection meanwhile, so the database file itself stays as it is."""
    run, told = materialize(instance, "2026-01-01"), queue.Queue[dg.EventLogEntry]()
    seen = instance.get_records_for_run(run).cursor
    instance.watch_event_logs(run, seen, lambda event, _: told.put(event))

    for message in ("first", "second"):
        instance.report_engine_event(message, instance.get_run_by_id(run))

        assert told.get(timeout=60).get_dagster_event().message == message


def test_only_the_last_runs_are_kept_open(instance: dg.DagsterInstance) -> None:
    for day in range(1, 13):
        materialize(instance, f"2026-01-{day:02}")

    assert len(storage_of(instance)._engines) == 8
    assert len(instance.get_materialized_partitions(thing.key)) == 12


def test_a_failed_write_changes_nothing_and_the_next_goes_on(instance: dg.DagsterInstance) -> None:
    run = materialize(instance, "2026-01-01")
    storage, before = storage_of(instance), len(instance.all_logs(run))

    def fail() -> None:
        with storage.run_connection(run) as connection:
            connection.exec_driver_sql("DELETE FROM event_logs")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert len(instance.all_logs(run)) == before
    materialize(instance, "2026-01-02")


def test_threads_take_turns(instance: dg.DagsterInstance) -> None:
    run = materialize(instance, "2026-01-01")
    expected = len(instance.all_logs(run))
    found: list[int] = []

    def read() -> None:
        found.extend(len(instance.all_logs(run)) for _ in range(20))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert found == [expected] * 80


def test_everything_can_be_wiped(instance: dg.DagsterInstance) -> None:
    materialize(instance, "2026-01-01")

    storage_of(instance).wipe()

    assert instance.get_materialized_partitions(thing.key) == set()
    materialize(instance, "2026-01-01")
    assert instance.get_materialized_partitions(thing.key) == {"2026-01-01"}
