"""`check` of a surface whose events are rows of a table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from recsys_assets_tests.cli.conftest import done, run
from recsys_assets_tests.config.files import UNTOLD
from recsys_assets_tests.postgres import Database
from recsys_assets_tests.project import DAY, Project

SOURCE: Final[dict[str, Any]] = {
    "source": {"type": "postgres", "dsn_env": "SHOP_DSN", "table": "events", "time_column": "ts"},
    "artifacts": {"popularity": {}},
    "catalog": None,
}
pytestmark = pytest.mark.usefixtures("nothing_is_started")


@pytest.fixture
def table(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("SHOP_DSN", replace(database, password=UNTOLD).url)
    values = [("s", "\x1b[2Jtea"), ("s", "cup"), ("", "\x1b]0;x\x07")]
    database.run(
        "create table events (ts timestamptz, session_id text, item_id text)",
        "insert into events values "
        + ", ".join(f"('{DAY} 12:00Z', '{session}', '{item}')" for session, item in values),
    )
    return database


@pytest.mark.usefixtures("table")
def test_it_shows_the_first_rows_and_spells_out_what_a_terminal_would_obey(
    project: Project,
) -> None:
    project.configure(SOURCE)

    result = done(run("check", "--surface", "demo/home"))

    assert f"demo/home: the first rows of events {DAY} in $SHOP_DSN" in result.stdout
    assert "\\x1b[2Jtea" in result.stdout
    assert "missing_id" in result.stdout
    assert "\x1b" not in result.output
    (surface,) = json.loads(run("check", "--json").stdout)["surfaces"]
    assert surface["sample"]["events"] == 2


@pytest.mark.parametrize("dsn", ["", f"postgresql://u:{UNTOLD}@127.0.0.1:1/x", UNTOLD])
@pytest.mark.usefixtures("table")
def test_a_database_that_cannot_be_used_is_told_without_its_address(
    project: Project, monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    project.configure(SOURCE)
    monkeypatch.setenv("SHOP_DSN", dsn)

    result = run("check", "--surface", "demo/home")

    assert result.exit_code == 1
    assert "Error: demo/home: " in result.stderr
    assert "$SHOP_DSN" in result.stderr
    assert UNTOLD not in result.output + repr(result.exception)
