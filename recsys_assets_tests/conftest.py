from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import settings

from recsys_assets_tests.project import Project

settings.register_profile("recsys_assets", max_examples=50, deadline=None)
settings.load_profile("recsys_assets")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Project(tmp_path, instance)
