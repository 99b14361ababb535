"""DuckDB is killed, or has not the room: what is live stays, and the next run finishes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recsys_assets.engines import rules
from recsys_assets_tests.engines.windows import DAY, is_what_polars_makes
from recsys_assets_tests.project import SMALL, Project, day, event

# What does not end, and soon spills.
ENDLESS = "select md5(cast(range as string)) as a from range(100000000000) numbers group by a"
CHILD = """
import sys
from recsys_assets.cli import main
from recsys_assets.engines import rules
rules.COOC = sys.argv.pop(1)
main()
"""
_SECONDS = 120


def landed(project: Project, **engine: str) -> None:
    """Have two days of events, the first of them live."""
    for number in range(2):
        events = [
            event(f"i{item}", of=day(number), session_id=f"s{item // 3}") for item in range(60)
        ]
        project.land(day(number), events)
    config = project.configure({**SMALL, "engine": {"type": "duckdb", **engine}})
    assert project.materialize(config, [DAY]).published == [DAY]


def test_a_run_that_is_killed_in_a_query_leaves_nothing_that_the_next_one_does_not_clean_up(
    project: Project,
) -> None:
    where = project.folder / "spill"
    engine = {"memory_limit": "50MB", "spill": str(where)}
    landed(project, **engine)
    config = project.configure({**SMALL, "engine": {"type": "duckdb", **engine}})
    live = project.live(config)
    home = project.folder / "home"
    home.mkdir()
    days = ["--from", str(day(1)), "--to", str(day(1))]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, ENDLESS, "materialize", *days],
        env={
            **os.environ,
            "DAGSTER_HOME": str(home),
            "RECSYS_CONFIG": str(project.config_file),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_spills(where, child)
    finally:
        child.kill()
        child.wait()

    assert project.live(config) == live
    assert list(where.rglob("duckdb_temp*"))
    assert project.materialize(config, [day(1)]).published == [day(1)]
    assert list(where.iterdir()) == []
    assert list((project.folder / "var/.scratch").iterdir()) == []
    is_what_polars_makes(project, day(1))


def test_a_disk_that_does_not_hold_it_is_told_with_the_key(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = {"type": "duckdb", "memory_limit": "50MB", "spill_limit": "10MB"}
    landed(project)
    config = project.configure({**SMALL, "engine": engine})
    live = project.live(config)
    with monkeypatch.context() as patch:
        patch.setattr(rules, "COOC", ENDLESS)
        failures = project.materialize(config, [day(1)]).failures

    (told,) = [failure.description for failure in failures if failure.asset == "cooc"]
    assert "memory_limit and the disk together do not hold it" in told
    assert "Raise engine.spill_limit" in told
    assert project.live(config) == live
    assert list((project.folder / "var/.scratch").iterdir()) == []
    assert project.materialize(config, [day(1)]).published == [day(1)]
    is_what_polars_makes(project, day(1))


def _wait_until_it_spills(where: Path, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _SECONDS
    while not any(where.rglob("duckdb_temp*")):
        assert child.poll() is None, "it has ended"
        assert time.monotonic() < until, "it does not spill"
        time.sleep(0.05)
