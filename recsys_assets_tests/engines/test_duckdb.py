"""DuckDB gives what Polars gives, or says why it cannot."""

from __future__ import annotations

import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings

from recsys_assets.config import Engine
from recsys_assets.engines import VERSIONS, open_engine
from recsys_assets.errors import ConfigError, EngineError, InputError
from recsys_assets.events.accepted import AcceptedDay
from recsys_assets.live.inputs import inputs_of
from recsys_assets.storage import open_store
from recsys_assets_tests.engines.windows import (
    DAY,
    Window,
    accepted,
    made,
    surface_of,
    windows,
)
from recsys_assets_tests.needed import examples
from recsys_assets_tests.project import SMALL, Project, day, event, expected_versions
from recsys_assets_tests.storage.conftest import new_prefix, use
from recsys_assets_tests.storage.servers import Server
from recsys_assets_tests.test_golden import GOLDEN, check_case, load_case

DUCKDB = {"type": "duckdb", "memory_limit": "500MB"}
_MANY = range(500)
ROWS = [(0, "u", "s", "a", 0, 0, 2), (1, "u", "s", "b", 0, 0, None)]


def window(**changes: Any) -> Window:
    given: dict[str, Any] = {
        "days": {0: ROWS},
        "gap_minutes": 30,
        "further": {0: ["weight"]},
        "surface": {"artifacts": {kind: {} for kind in ("popularity", "implicit")}},
        "denied": None,
        "known": None,
    }
    return Window(**given | changes)


@settings(max_examples=examples(24))
@given(windows())
def test_a_window_is_the_same_by_duckdb_and_by_polars(window: Window) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        days = accepted(window, folder)

        assert made(window, days, folder, DUCKDB) == made(window, days, folder, {})


def test_a_built_session_goes_on_over_midnights_as_with_polars(tmp_path: Path) -> None:
    """One takes up a whole day; another user's ends, and begins anew on the next evening."""
    minute = 60_000_000_000
    late, early, noon = 1430 * minute, 10 * minute, 720 * minute
    rows = {
        0: [(late, "u", None, "a"), (late, "v", None, "a")],
        1: [(of * minute, "u", None, "b") for of in range(0, 1440, 30)]
        + [(early, "v", None, "b"), (noon, "v", None, "x"), (late, "v", None, "c")],
        2: [(0, "u", None, "c"), (early, "v", None, "d")],
    }
    nights = window(
        days={at: [(*row, 0, 0, None) for row in of] for at, of in rows.items()},
        further={at: [] for at in rows},
        surface={"window_days": 3, "artifacts": {"cooc": {"min_support": 1}}},
    )
    days = accepted(nights, tmp_path)

    found = made(nights, days, tmp_path, DUCKDB)

    assert found == made(nights, days, tmp_path, {})
    assert found["cooc"][1] == {"sessions": 4, "oversized": 0}


@pytest.mark.parametrize("name", ["exotic", "exotic_support2", "synth20k"])
def test_it_gives_the_reference_versions(project: Project, name: str) -> None:
    case = load_case(GOLDEN, name)
    assert expected_versions(case)

    check_case(project, case, GOLDEN / case["raw"], GOLDEN, engine=DUCKDB)


def test_what_memory_and_disk_do_not_hold_leaves_what_is_live_and_a_rerun_finishes(
    project: Project,
) -> None:
    config = project.configure(SMALL)
    for number in range(2):
        events = [event(f"i{item}", of=day(number), session_id=f"s{item // 2}") for item in _MANY]
        project.land(day(number), events)
    assert project.materialize(config, [day(0)]).failures == []
    live = project.live(config)

    config = project.configure({**SMALL, "engine": {"type": "duckdb", "memory_limit": "1MB"}})
    failures = project.materialize(config, [day(1)]).failures

    assert {failure.asset for failure in failures} == {"popularity", "cooc"}
    for failure in failures:
        assert "memory_limit and the disk together do not hold it" in failure.description
        assert "Raise engine.memory_limit" in failure.description
    assert project.live(config) == live
    assert not list((project.folder / "var/.scratch").iterdir())

    config = project.configure({**SMALL, "engine": DUCKDB})
    assert project.materialize(config, [day(1)]).published == [day(1)]


def test_a_day_that_is_not_there_any_more_is_told(tmp_path: Path) -> None:
    days = accepted(window(), tmp_path)
    Path(days[DAY].location).unlink()

    with pytest.raises(EngineError, match=r"DuckDB could not begin: .*\.parquet"):
        made(window(), days, tmp_path, DUCKDB)


def test_other_events_than_were_accepted_are_refused(tmp_path: Path) -> None:
    days = accepted(window(), tmp_path)
    of = days[DAY]
    more = {DAY: AcceptedDay(of.location, of.fingerprint, of.gap, 3, of.columns)}

    with pytest.raises(EngineError, match=r"sees 2 events of 2026-01-01, and 3 are accepted"):
        made(window(), more, tmp_path, DUCKDB)


def test_weights_that_polars_does_not_hold_are_refused_alike(tmp_path: Path) -> None:
    heavy = window(
        days={0: [(0, "u", "s", "a", 0, 0, 2**31)] * 2},
        surface={
            "artifacts": {"implicit": {}},
            "source": {"path": "raw", "weight": {"column": "k", "values": {"x": 2}}},
        },
    )
    days = accepted(heavy, tmp_path)

    for engine in ({}, DUCKDB):
        with pytest.raises(InputError, match=r"source\.weight\.values"):
            made(heavy, days, tmp_path, engine)


def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "a*[b]{c}'d?"
    folder.mkdir()
    days = accepted(window(), folder)

    assert made(window(), days, folder, DUCKDB) == made(window(), days, folder, {})


def test_a_day_of_an_object_store_is_copied_to_where_it_spills(
    tmp_path: Path, s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = accepted(window(), tmp_path)[DAY]
    use(s3_server, monkeypatch)
    store = open_store(s3_server.url(new_prefix()))
    store.replace("canonical/2026-01-01.parquet", Path(of.location).read_bytes())
    there = AcceptedDay(
        store.location("canonical/2026-01-01.parquet"), "f", of.gap, of.events, of.columns
    )
    engine = {**DUCKDB, "spill": str(tmp_path / "spill")}

    assert made(window(), {DAY: there}, tmp_path, engine) == made(window(), {DAY: of}, tmp_path, {})
    assert list((tmp_path / "spill").iterdir()) == []


@pytest.mark.parametrize(
    ("engine", "module", "told"),
    [
        ({"type": "duckdb"}, "duckdb", r"needs duckdb: pip install 'recsys-assets\[duckdb\]'"),
        ({"type": "duckdb"}, "sqlglot", r"needs sqlglot: pip install 'recsys-assets\[duckdb\]'"),
        (
            {"type": "spark", "remote_env": "X"},
            "pyspark.errors",
            r"needs pyspark: pip install 'recsys-assets\[spark\]'",
        ),
    ],
)
def test_what_is_not_installed_is_told_with_what_installs_it(
    engine: dict[str, str], module: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"recsys_assets.engines.{engine['type']}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigError, match=told):
        open_engine(Engine.model_validate(engine))


def test_checking_a_surface_says_what_its_engine_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = inputs_of(surface_of(window(), tmp_path, DUCKDB), now=datetime.now(UTC))
    monkeypatch.delitem(sys.modules, "recsys_assets.engines.duckdb")
    monkeypatch.setitem(sys.modules, "duckdb", None)

    lacking = inputs_of(surface_of(window(), tmp_path, DUCKDB), now=datetime.now(UTC))

    (told,) = set(lacking.problems) - set(found.problems)
    assert "needs duckdb: pip install" in told


@pytest.mark.parametrize(
    ("library", "version", "told"),
    [
        ("duckdb", "1.4.4", r"duckdb is 1\.4\.4, and .* needs 2 or later, below 3: pip install"),
        ("duckdb", "3.0.0", r"duckdb is 3\.0\.0, and .* needs 2 or later, below 3: pip install"),
        ("sqlglot", "29.9", r"sqlglot is 29\.9, and .* needs 30 or later, below 31: pip install"),
    ],
)
def test_another_version_than_the_extra_has_is_refused(
    library: str, version: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{library}.__version__", version)

    with pytest.raises(ConfigError, match=told):
        open_engine(Engine.model_validate(DUCKDB))


@pytest.mark.parametrize("version", ["3.5.6", "4.0.1", "4.3.0"])
def test_another_version_of_the_client_of_spark_is_refused(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ModuleType("pyspark")
    old.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyspark", old)

    with pytest.raises(ConfigError, match=rf"pyspark is {version}, and .*\[spark\]"):
        open_engine(Engine.model_validate({"type": "spark", "remote_env": "X"}))


def test_the_versions_are_those_of_the_extras() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    extras = pyproject["project"]["optional-dependencies"]

    for extra, versions in VERSIONS.items():
        assert sorted(extras[extra]) == sorted(
            f"{'pyspark-client' if name == 'pyspark' else name}>={first},<{after}"
            for name, (first, after) in versions.items()
        )
