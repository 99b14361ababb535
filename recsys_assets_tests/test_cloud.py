"""`dagster_cloud.yaml`: Dagster+ takes it, and it loads what `workspace.yaml` does."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from recsys_assets_tests.needed import skip_unless_required

ROOT: Final = Path(__file__).parents[1]
TEXT: Final = (ROOT / "dagster_cloud.yaml").read_text(encoding="utf-8")


def test_it_loads_what_the_workspace_loads() -> None:
    (location,) = yaml.safe_load(TEXT)["locations"]
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    (loaded,) = workspace["load_from"]

    assert location["location_name"] == loaded["python_module"]["location_name"]
    assert location["code_source"] == {"module_name": loaded["python_module"]["module_name"]}
    assert importlib.util.find_spec(location["code_source"]["module_name"])
    # What is built is a package: it is installed by what lies in that directory.
    assert (ROOT / location["build"]["directory"] / "pyproject.toml").is_file()


@pytest.fixture
def load() -> Any:
    """Give what Dagster's own command line reads the file with."""
    if importlib.util.find_spec("dagster_cloud_cli") is None:
        skip_unless_required("kubernetes", "the package dagster-cloud-cli is not installed")
    return importlib.import_module("dagster_cloud_cli.config.models").load_dagster_cloud_yaml


def test_dagster_plus_takes_it(load: Any) -> None:
    (location,) = load(TEXT).locations
    assert location.code_source.module_name == "recsys_assets.definitions"


def test_dagster_plus_refuses_a_wrong_key(load: Any) -> None:
    with pytest.raises(Exception, match="code_sauce"):
        load(TEXT.replace("code_source", "code_sauce"))
