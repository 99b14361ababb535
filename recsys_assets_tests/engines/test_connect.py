"""A Spark Connect server gives what Polars gives, or it is told why it cannot."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from recsys_assets.config import Engine
from recsys_assets.engines import open_engine
from recsys_assets.errors import ConfigError, EngineError
from recsys_assets_tests.engines import spark_servers
from recsys_assets_tests.engines.test_duckdb import window
from recsys_assets_tests.engines.windows import (
    Window,
    accepted,
    is_what_polars_makes,
    made,
    windows,
)
from recsys_assets_tests.needed import Group
from recsys_assets_tests.ports import free_port
from recsys_assets_tests.project import DAY, SMALL, Project, day, event
from recsys_assets_tests.test_golden import GOLDEN, check_case, load_case

VARIABLE = "SPARK_OF_TESTS"
SPARK = {"type": "spark", "remote_env": VARIABLE}
SECRET = "s3cret-of-spark"  # noqa: S105 (of a server on loopback that asks for none)
ADDRESS = f"sc://h:1/;token={SECRET};other={SECRET}%3D%2F"


@pytest.fixture(scope="module", params=["sail", "spark"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Run a server for all tests that ask for it; give its group."""
    port = free_port()
    program = spark_servers.command(request.param, port)
    with spark_servers.running(program, port, tmp_path_factory.mktemp(request.param)):
        os.environ[VARIABLE] = f"sc://{spark_servers.HOST}:{port}/;user_id={SECRET}"
        yield request.param
    del os.environ[VARIABLE]


@pytest.mark.parametrize("name", ["exotic", "exotic_support2", "synth20k"])
def test_it_gives_the_reference_versions(project: Project, server: str, name: str) -> None:
    case = load_case(GOLDEN, name)

    check_case(project, case, GOLDEN / case["raw"], GOLDEN, engine=SPARK)


def test_a_window_is_the_same_by_spark_and_by_polars(server: str) -> None:
    @settings(
        max_examples=10 if server == "sail" else 2,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=True,
    )
    @given(windows())
    def is_the_same(window: Window) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            days = accepted(window, folder)

            assert made(window, days, folder, SPARK) == made(window, days, folder, {})

    is_the_same()


def test_a_cluster_that_does_not_see_the_files_is_told_and_where_to_look(
    server: str, tmp_path: Path
) -> None:
    days = accepted(window(), tmp_path)

    with pytest.raises(EngineError, match=r"engine\.root"):
        made(window(), days, tmp_path, SPARK | {"root": f"file://{tmp_path}/elsewhere"})

    (tmp_path / "there").symlink_to(tmp_path)
    assert made(window(), days, tmp_path, SPARK | {"root": f"file://{tmp_path}/there"})


def test_a_limit_that_cuts_nothing_takes_no_memory(server: str, tmp_path: Path) -> None:
    """The largest ones: a task of Spark would make room for so many rows, and its server end."""
    most = 1_000_000_000
    options = {"popularity": {"top_n": most}, "cooc": {"max_items": most, "min_support": 1}}
    everything = window(surface={"artifacts": options})
    days = accepted(everything, tmp_path)

    assert made(everything, days, tmp_path, SPARK) == made(everything, days, tmp_path, {})


# Asked in the place of the rule of cooc: what computes for long, and what gives many rows.
LONG = "select count(*) as n from range(1000000) a join range(1000000) b on hash(a.id, b.id) = 1"
MANY = """
select lpad(cast(id as string), 9, '0') as item_id, 'x' as neighbour_id, cast(2 as bigint) as count
from range(9000000) order by item_id
"""


@pytest.mark.parametrize(
    ("group", "moment"),
    [
        ("sail", "before it is asked"),
        ("sail", "while it computes"),
        ("sail", "while rows come"),
        ("spark", "while it computes"),
    ],
)
def test_a_server_that_is_killed_leaves_what_is_live_and_a_rerun_finishes(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: Group, moment: str
) -> None:
    port = free_port()
    program = spark_servers.command(group, port)
    monkeypatch.setenv(VARIABLE, f"sc://{spark_servers.HOST}:{port}/;user_id={SECRET}")
    config = project.configure({**SMALL, "engine": SPARK})
    for number in range(2):
        project.land(day(number), [event(item, of=day(number)) for item in "ab"])
    servers = tmp_path / "servers"  # of which one may tell its user
    servers.mkdir()
    with spark_servers.running(program, port, servers) as running:
        assert project.materialize(config, [day(0)]).published == [day(0)]
        live = project.live(config)
        with monkeypatch.context() as patch:
            patch.setattr(spark_session(), "query", killing(running, moment))
            patch.setattr("recsys_assets.engines.spark._RETRIES", {"max_retries": 2})
            failures = project.materialize(config, [day(1)]).failures

    (told,) = [failure for failure in failures if failure.asset == "cooc"]
    assert f"the Spark server of ${VARIABLE}: it does not answer" in told.description
    assert project.live(config) == live
    with spark_servers.running(program, port, servers):
        assert project.materialize(config, [day(1)]).published == [day(1)]
    is_what_polars_makes(project, day(1))
    assert SECRET not in all_that_is_kept(project)


def test_a_server_that_is_away_leaves_what_is_live_and_polars_finishes(
    project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    spark_servers.needs_client()
    port = free_port()
    monkeypatch.setenv(VARIABLE, f"sc://{spark_servers.HOST}:{port}/;token={SECRET}")
    monkeypatch.setattr("recsys_assets.engines.spark._RETRIES", {"max_retries": 1})
    project.land(DAY, [event(item) for item in "ab"])

    failures = project.materialize(project.configure({**SMALL, "engine": SPARK}), [DAY]).failures

    assert {failure.asset for failure in failures} == {"popularity", "cooc"}
    for failure in failures:
        assert f"the Spark server of ${VARIABLE}: it does not answer" in failure.description
    assert SECRET not in all_that_is_kept(project)
    assert SECRET not in "".join(capfd.readouterr())
    config = project.configure(SMALL)
    assert project.live(config) is None
    assert project.materialize(config, [DAY]).published == [DAY]


def spark_session() -> Any:
    from recsys_assets.engines import spark

    return spark._Session


def killing(server: subprocess.Popen[bytes], moment: str) -> Callable[..., Iterator[pl.DataFrame]]:
    """Return what asks as a session does, and kills the server at a moment of the rule of cooc."""
    query: Callable[..., Iterator[pl.DataFrame]] = spark_session().query

    def ask(session: Any, text: str) -> Iterator[pl.DataFrame]:
        if "both_of" not in text:
            yield from query(session, text)
            return
        if moment == "before it is asked":
            spark_servers.kill(server)
        if moment == "while it computes":
            threading.Timer(1, spark_servers.kill, [server]).start()
            text = LONG
        if moment == "while rows come":
            text = MANY
        for frame in query(session, text):
            spark_servers.kill(server)
            yield frame

    return ask


def all_that_is_kept(project: Project) -> str:
    """Return what Dagster keeps of all runs, and all that lies below the folder of a project."""
    runs = project.instance.get_runs()
    kept = [str(run) for run in runs]
    kept += [str(entry) for run in runs for entry in project.instance.all_logs(run.run_id)]
    files = (path for path in project.folder.rglob("*") if path.is_file())
    kept += [
        path.read_bytes().decode("latin-1") for path in files if not path.match("server-*.log")
    ]
    return "".join(kept)


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        f"https://h/;token={SECRET}",
        f"sc://;t={SECRET}",
        f"sc://h;token={SECRET}",
        f"sc://u:{SECRET}@h:1",
        f"sc://h:{SECRET}",
        f"sc://h:1/{SECRET}",
        f"sc://h:1/;{SECRET}",
        f"sc://h:99999/;token={SECRET}",
    ],
)
def test_an_address_that_is_none_is_told_without_it(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if address is not None:
        monkeypatch.setenv(VARIABLE, address)
    spark_servers.needs_client()

    with pytest.raises(ConfigError, match=rf"\${VARIABLE} is not set, or is no address") as error:
        open_engine(Engine.model_validate(SPARK))
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"no such thing at {ADDRESS}\nand more", "no such thing at ***."),
        (f"bearer {SECRET} is odd", "bearer *** is odd"),
        (f"bearer {SECRET}=/ is odd", "bearer *** is odd"),
        (f'<RPC that ended\n\tdetails = "no {SECRET} here"\n', "$SPARK_OF_TESTS: no *** here"),
        (
            "Total size of serialized results of 2 tasks (1347.4 MiB) is bigger than "
            "spark.driver.maxResultSize (1024.0 MiB)",
            "its spark.driver.maxResultSize is less than the rows take: set it to 0",
        ),
        ("java.lang.OutOfMemoryError: GC overhead", "it has not the memory: give it more, or more"),
        ("UNAVAILABLE: failed to connect", "it does not answer: is it up"),
        ("[PATH_NOT_FOUND] Path does not exist", "it does not find the files of `root`"),
    ],
)
def test_what_a_server_says_is_told_without_secrets(
    said: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spark_servers.needs_client()
    from pyspark.errors import PySparkException

    from recsys_assets.engines import spark

    def refuse(**_: Any) -> None:
        raise PySparkException(said)

    monkeypatch.setenv(VARIABLE, ADDRESS)
    monkeypatch.setattr(spark, "SparkSession", refuse)
    engine = open_engine(Engine.model_validate(SPARK))

    with pytest.raises(EngineError) as error, engine.session([], tmp_path):
        pass
    assert told in str(error.value)
    assert SECRET not in str(error.value)
    assert SECRET not in repr(engine)
    assert error.value.__cause__ is None


def test_a_server_of_an_older_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spark_servers.needs_client()
    from recsys_assets.engines import spark

    class Old:
        version = "3.5.6"

        def __getattr__(self, _: str) -> Any:
            return self

        def __call__(self, *_: Any) -> Any:
            return self

    monkeypatch.setenv(VARIABLE, "sc://h:1")
    monkeypatch.setattr(spark, "SparkSession", lambda **_: Old())

    with (
        pytest.raises(EngineError, match=r"is 3\.5\.6, and has to be 4\.0 or later"),
        open_engine(Engine.model_validate(SPARK)).session([], tmp_path),
    ):
        pass
