"""The settings of the Dagster instance, with SQLite and with PostgreSQL."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest
import yaml

from recsys_assets.defs.instance import LOCK
from recsys_assets.locks import exclusive
from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.postgres import Database
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.test_docs import Step, steps
from recsys_assets_tests.test_followed import BIN, type_in

ROOT: Final = Path(__file__).parents[2]
SETTINGS: Final = ("dagster.yaml", "dagster-postgres.yaml")
VARIABLE: Final = "DAGSTER_POSTGRES_URL"
SMALL: Final[dict[str, Any]] = {"artifacts": {"popularity": {}}, "catalog": None}


def settings(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return loaded


def home_with(name: str, folder: Path) -> Path:
    """Make a DAGSTER_HOME with one of the files of settings."""
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copy(ROOT / name, home / "dagster.yaml")
    return home


def test_the_two_files_of_settings_differ_in_the_storage_only() -> None:
    sqlite, postgres = map(settings, SETTINGS)
    assert sqlite.pop("storage") != postgres.pop("storage")

    assert sqlite == postgres


_OPEN: Final = (sys.executable, "-m", "recsys_assets.defs.instance")


def heads(home: Path) -> dict[str, int]:
    """Return how many versions each database says it has."""
    found = {}
    for path in home.rglob("*.db"):
        with contextlib.closing(sqlite3.connect(path)) as database:
            (rows,) = database.execute("SELECT count(*) FROM alembic_version").fetchone()
            found[path.name] = rows
    return found


@pytest.mark.long
def test_the_first_to_open_an_instance_keeps_others_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two who make its databases at once leave each with two versions, and it broken for good."""
    home = home_with("dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with exclusive(home / LOCK):
        others = [subprocess.Popen(_OPEN, stderr=subprocess.PIPE) for _ in range(3)]
        with pytest.raises(subprocess.TimeoutExpired):
            others[0].wait(6)  # it takes two seconds alone
        assert not (home / "history").exists()
    for other in others:
        _, told = other.communicate(timeout=60)
        assert (other.returncode, told) == (0, b"")

    assert heads(home) == dict.fromkeys(("runs.db", "index.db", "schedules.db"), 1)


def test_an_instance_that_two_have_made_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_with("dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    subprocess.run(_OPEN, check=True)
    with contextlib.closing(sqlite3.connect(home / "history/runs.db")) as database, database:
        database.execute("INSERT INTO alembic_version VALUES ('29b539ebc72b')")

    done = subprocess.run(_OPEN, check=False, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: the databases below {home} are half made: two processes")
    for folder in ("history", "schedules"):
        assert f"{home}/{folder}" in done.stderr
        shutil.rmtree(home / folder)
    subprocess.run(_OPEN, check=True)
    assert set(heads(home).values()) == {1}


def test_a_run_of_the_command_line_claims_no_place_in_a_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed frees nothing, so what it claimed would hold back the next one."""
    home = home_with("dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        events = instance.event_log_storage
        events.initialize_concurrency_limit_to_default("demo__home__publish")
        claims: list[str] = []
        monkeypatch.setattr(
            type(events), "claim_concurrency_slot", lambda _, pool, *__: claims.append(pool)
        )
        project = Project(tmp_path, instance)
        config = project.configure(SMALL)
        project.land(day(0), [event("a")])

        assert project.materialize(config, [day(0)]).succeeded

        limits = {pool.name: pool.limit for pool in events.get_pool_limits()}
        assert limits == {"demo__home__publish": 1}
        assert claims == []


def test_postgres_without_its_variable_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    home = home_with("dagster-postgres.yaml", tmp_path)

    with pytest.raises(dg.DagsterInvalidConfigError, match=VARIABLE):
        dg.DagsterInstance.from_config(str(home))


@pytest.fixture
def postgres(postgres_server: Database) -> str:
    """Give the URL of a database, as SQLAlchemy takes it."""
    return url_for_dagster(postgres_server)


def url_for_dagster(database: Database) -> str:
    """Return the URL of a database, as SQLAlchemy takes it; skip where Dagster cannot use it."""
    if importlib.util.find_spec("dagster_postgres") is None:
        skip_unless_required(
            "postgres", "dagster-postgres is not installed: the storage in PostgreSQL is not tried"
        )
    return database.url.replace("postgresql:", "postgresql+psycopg2:")


@pytest.mark.slow
def test_days_are_materialized_on_postgres_that_is_set_up_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str
) -> None:
    """But for the installation, which is in `dev` too, and for the address of the server."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{BIN}:{os.environ['PATH']}"}
    for step in steps("operate-instance.md", "run: postgres"):
        if step.command.startswith("pip "):
            assert step.command == "pip install -c constraints.txt -e '.[postgres]'"
            continue
        url = step.command.removeprefix(f"export {VARIABLE}=")
        if url != step.command:
            assert url.split(":")[0] == postgres.split(":")[0]
            step = Step(f"export {VARIABLE}={postgres}", 0, [])
        type_in(step, tmp_path, environment)
        assert not step.shown
    home = tmp_path / "on_postgres"
    assert environment["DAGSTER_HOME"] == str(home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv(VARIABLE, postgres)
    days = [day(0), day(1)]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        project = Project(tmp_path, instance)
        config = project.configure(SMALL)
        for of in days:
            project.land(of, [event("a", of=of)])

        report = project.materialize(config, days)

        assert report.published == days
    with dg.DagsterInstance.from_config(str(home)) as instance:
        key = dg.AssetKey(["demo", "home", "manifest"])
        assert instance.get_materialized_partitions(key) == {str(of) for of in days}
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
    assert not list(home.rglob("*.db")), "something is still in SQLite"
