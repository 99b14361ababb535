from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import settings

from recsys_assets.events import kept_counts
from recsys_assets_tests.project import Project
from recsys_assets_tests.storage import servers
from recsys_assets_tests.storage.servers import Server

settings.register_profile("recsys_assets", max_examples=50, deadline=None)
settings.load_profile("recsys_assets")


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give what forgets the counts that the artifacts of a process share, as another process has.

    Each test begins so: its events may be those of another test, but in another root.
    """

    def forget() -> None:
        monkeypatch.setattr(kept_counts, "_shared", OrderedDict())

    forget()
    return forget


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Project(tmp_path, instance)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run SeaweedFS for all tests that ask for it.

    One for all, also because Polars looks for a bucket where it last found one of that name.
    """
    with servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server
