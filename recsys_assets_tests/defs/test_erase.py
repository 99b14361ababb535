"""The erasure of a person in Dagster: by the job and in its databases, of every kind it has."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from recsys_assets.audit import events as audited_events
from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs import stored_events
from recsys_assets.defs.erased_metadata import DagsterEvents
from recsys_assets.events.erased import Erased
from recsys_assets.operations.find_user import Holder, find_user
from recsys_assets.operations.in_sinks import InSinks
from recsys_assets.places import Place
from recsys_assets.sinks.delivering import deliver
from recsys_assets.storage.erasures import KEY_VARIABLE, erase_key
from recsys_assets_tests.defs.looking import shown
from recsys_assets_tests.defs.test_event_log import SETTINGS
from recsys_assets_tests.defs.test_instance import VARIABLE, url_for_dagster
from recsys_assets_tests.defs.test_instance import settings as settings_in
from recsys_assets_tests.defs.test_jobs import QUIET, failure, outputs
from recsys_assets_tests.postgres import Database
from recsys_assets_tests.project import Project, day, event

ANN = "ann-the-user"
LOOSE = {"max_rejected_share": 0.6, "max_rejected_bytes_share": 0.9}
SMALL: dict[str, Any] = {
    "artifacts": {"popularity": {}, "implicit": {}},
    "catalog": None,
    "guardrails": LOOSE,
    "sinks": [{"name": "table", "type": "files", "path": "out"}],
}


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a secret that nobody knows")


@pytest.fixture(params=["sqlite", "memory", pytest.param("postgres", marks=pytest.mark.slow)])
def instance(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    if request.param == "memory":
        with dg.DagsterInstance.ephemeral() as opened:
            yield opened
        return
    home = tmp_path / "home"
    home.mkdir()
    settings = yaml.safe_load(SETTINGS)
    if request.param == "postgres":
        monkeypatch.setenv(VARIABLE, url_for_dagster(request.getfixturevalue("database")))
        found = settings_in("dagster-postgres.yaml")
        settings = {"telemetry": {"enabled": False}, "storage": found["storage"]}
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as opened:
        yield opened


def made(project: Project) -> Config:
    """Materialize a day with Dagster; a preview, a sample of a check and an alike id have her."""
    config = project.configure(SMALL)
    others = [event(item, user_id=f"{ANN}-2", session_id="s2") for item in "ab"]
    hers = [event(item, user_id=ANN) for item in "ab"]
    alone = json.dumps({"user_id": ANN})
    lines = [
        json.dumps(event("a", user_id=ANN, v=2)),
        alone.replace("ann", "\\u0061nn")[:-1],  # is no JSON, so nobody reads the escape
        *(f'{{"a":"{"x" * (end - 19 - at)}",{alone[1:]}' for end in (200, 500) for at in (4, 8)),
    ]
    project.land(day(0), [*others, *hers, *lines])
    assert project.materialize(config, [day(0)]).succeeded
    return config


def erased() -> Erased:
    key = erase_key(Place("demo", "home"))
    return Erased(key, [key.entry(ANN)])


def texts(instance: dg.DagsterInstance) -> str:
    """Return all that an instance says of its runs."""
    logs = [each for run in instance.get_runs() for each in instance.all_logs(run.run_id)]
    return f"{instance.get_runs()}{logs}"


def test_what_dagster_keeps_of_her_is_found_and_taken_out(
    tmp_path: Path, instance: dg.DagsterInstance, fast: None
) -> None:
    project = Project(tmp_path, instance)
    config = made(project)
    holder, surfaces = DagsterEvents(instance), config.surfaces
    before = texts(instance)
    assert ANN in before.replace(f"{ANN}-2", "")
    assert len([*holder.find(surfaces, erased())]) >= 2

    assert [*holder.purge(surfaces, erased())] == []

    assert [*holder.find(surfaces, erased())] == []
    after = texts(instance)
    assert ANN[:4] not in after.replace(f"{ANN}-2", "")
    assert "u0061" not in after
    assert f"{ANN}-2" in after  # whose id is longer
    # What is not hers is as it was, and all of it can still be read.
    assert len(after) > 0.9 * len(before)
    key = dg.AssetKey(["demo", "home", "implicit"])
    newest = instance.get_latest_materialization_event(key)
    assert newest
    assert newest.asset_materialization
    assert newest.asset_materialization.metadata["users"].value == 2


@pytest.mark.parametrize("instance", ["memory"], indirect=True)
def test_what_errors_quote_of_her_is_taken_out(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, fast: None
) -> None:
    project = Project(tmp_path, instance)
    config = project.configure(SMALL)

    def parsed(*_: object, **__: object) -> None:
        try:
            raise KeyError(f"{ANN}:1")
        except KeyError:
            raise ValueError(f"cannot cast {ANN}")  # noqa: B904

    monkeypatch.setattr(audited_events, "parse_day", parsed)
    assert not project.materialize(config, [day(0)]).succeeded
    assert ANN in texts(instance)

    assert [*DagsterEvents(instance).purge(config.surfaces, erased())] == []

    assert ANN not in texts(instance)
    assert "cannot cast erased" in texts(instance)


@pytest.mark.parametrize("instance", ["sqlite"], indirect=True)
def test_no_byte_of_her_is_left_in_files_of_sqlite_while_others_have_them_open(
    tmp_path: Path, instance: dg.DagsterInstance, fast: None
) -> None:
    project = Project(tmp_path, instance)
    config = made(project)
    # Dagster replaces what was last of an asset, and does not write over what it was.
    assert project.materialize(config, [day(0)]).succeeded
    with closing(sqlite3.connect(tmp_path / "home/history/runs/index.db")) as of_the_ui:
        of_the_ui.execute("select count(*) from event_logs").fetchall()
        assert {path.rpartition("-")[2] for path in held_in_files(tmp_path)} >= {"wal"}

        assert [*DagsterEvents(instance).purge(config.surfaces, erased())] == []

        assert held_in_files(tmp_path) == set()
        # Whoever reads all the while keeps the log from being emptied, and that is told.
        with monkeypatched_timeout(0.1):
            of_the_ui.execute("begin")
            of_the_ui.execute("select count(*) from event_logs").fetchall()
            instance.add_run_tags(instance.get_runs()[0].run_id, {"a": "b"})
            (held,) = DagsterEvents(instance).purge(config.surfaces, erased())
            assert held.said.endswith("index.db-wal is being read: do the same again")
            of_the_ui.rollback()
    assert [*DagsterEvents(instance).purge(config.surfaces, erased())] == []


@contextmanager
def monkeypatched_timeout(seconds: float) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_events, "BUSY_TIMEOUT_S", seconds)
        yield


def held_in_files(folder: Path) -> set[str]:
    """Return the files of Dagster that have a byte of her, those in use too."""
    return {
        path.name
        for path in folder.joinpath("home").rglob("*")
        if path.is_file() and ANN.encode() in path.read_bytes().replace(f"{ANN}-2".encode(), b"")
    }


@pytest.mark.slow
@pytest.mark.parametrize("instance", ["postgres"], indirect=True)
def test_no_dead_row_is_left_in_tables_of_postgres(
    tmp_path: Path, instance: dg.DagsterInstance, database: Database, fast: None
) -> None:
    project = Project(tmp_path, instance)
    config = made(project)
    database.run("create extension if not exists pgstattuple schema pg_catalog")
    for table in ("event_logs", "asset_keys", "asset_check_executions"):
        database.run(f"alter table {table} set (autovacuum_enabled = off)")

    def dead() -> list[int]:
        return [
            database.one(f"select dead_tuple_count from pgstattuple('{table}')")
            for table in ("event_logs", "asset_keys", "asset_check_executions")
        ]

    assert any(dead())
    DagsterEvents(instance).purge(config.surfaces, erased())

    assert dead() == [0, 0, 0]


@pytest.mark.parametrize("instance", ["sqlite"], indirect=True)
class TestJob:
    """Job `erase`."""

    def run(self, project: Project, config: Config, **settings: Any) -> dg.ExecuteInProcessResult:
        key = erase_key(Place("demo", "home"))
        asked = {
            "surface": "demo/home",
            "reason": "ticket 7",
            "persons": [key.entry(ANN).token],
            "reader_seconds": 0,
            **settings,
        }
        return (
            build_definitions(config)
            .resolve_job_def("erase")
            .execute_in_process(
                run_config={"loggers": QUIET, "ops": {"erase_from": {"config": asked}}},
                instance=project.instance,
                raise_on_error=False,
            )
        )

    def test_it_takes_a_hash_and_leaves_nothing(
        self, tmp_path: Path, instance: dg.DagsterInstance, fast: None
    ) -> None:
        project = Project(tmp_path, instance)
        config = made(project)

        (surface,) = config.surfaces
        deliver(project.store, config.root, surface, surface.sinks[0])
        sinks = InSinks(project.store, config.root)
        assert len([*sinks.find([surface], erased())]) == 1

        would = outputs(self.run(project, config))
        assert would["outcome"].startswith("dry run")
        assert would["places"] > 4
        done = outputs(self.run(project, config, dry_run=False))

        assert (done["outcome"], done["events"], done["days"]) == ("erased", 2, 1)
        # The pages show the days as they are now, as made by the job.
        told = shown(project, "implicit")
        assert (told["users"].value, shown(project, "canonical_events")["users"].value) == (1, 1)
        newest = instance.get_latest_materialization_event(
            dg.AssetKey(["demo", "home", "manifest"])
        )
        assert newest
        run = instance.get_run_by_id(newest.run_id)
        assert run
        assert run.job_name == "erase"
        holders: list[Holder] = [sinks, DagsterEvents(instance)]
        found = find_user(project.store, config.surfaces, erased(), ids=[ANN], holders=holders)
        assert [*found] == []
        assert ANN not in texts(instance).replace(f"{ANN}-2", "")
        assert 'user_id":"ann-the-user-2' in str(project.blobs())

    def test_what_is_no_hash_is_refused_and_not_quoted(
        self, tmp_path: Path, instance: dg.DagsterInstance, fast: None
    ) -> None:
        project = Project(tmp_path, instance)
        config = project.configure(SMALL)
        for persons, said in (
            ([ANN], "persons, number 1: not what `recsys-assets erase --print-hash` prints"),
            ([f"{'0' * 64}:{ANN}"], "persons, number 1: has letters"),
            ([], "persons: none"),
        ):
            found = failure(self.run(project, config, persons=persons, dry_run=False))
            assert found.description.startswith(said)
            assert ANN not in found.description
