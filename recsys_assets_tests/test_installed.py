"""The project as people install it: a wheel, among other packages, without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

from recsys_assets_tests.needed import skip_unless_required

ROOT: Final = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, and install it into a folder."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(
        ROOT / "recsys_assets", source / "recsys_assets", ignore=shutil.ignore_patterns("__py*")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", folder / "built", source],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        skip_unless_required("wheel", f"the wheel cannot be built here: {built.stderr[-300:]}")
    (wheel,) = (folder / "built").glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", folder / "site-packages", wheel],
        capture_output=True,
        check=True,
    )
    return folder / "site-packages"


def start(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: of for name, of in os.environ.items() if not name.startswith("RECSYS_")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(installed), "DAGSTER_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_without_a_configuration_it_says_how_to_make_one(installed: Path, tmp_path: Path) -> None:
    """Never the demo, whose root would be a folder among the installed packages."""
    before = sorted(installed.parent.rglob("*.yaml"))

    status = start(installed, tmp_path, "-m", "recsys_assets.cli", "status")
    code = "from recsys_assets.definitions import defs; defs()"
    loaded = start(installed, tmp_path, "-c", code)

    assert (status.returncode, status.stdout) == (2, "")
    assert status.stderr.startswith(
        "Error: there is no configuration: $RECSYS_CONFIG is not set. Write a file surfaces.yaml"
    )
    assert loaded.returncode == 1
    assert "DagsterInvalidDefinitionError: there is no configuration" in loaded.stderr
    assert sorted(installed.parent.rglob("*.yaml")) == before
    example = yaml.safe_load(status.stderr.partition("\n\n")[2])
    example |= {"root": "var", "surfaces": [example["surfaces"][0] | {"source": {"path": "raw"}}]}
    (tmp_path / "surfaces.yaml").write_text(yaml.safe_dump(example))
    named = start(
        installed, tmp_path, "-m", "recsys_assets.cli", "--config", "surfaces.yaml", "status"
    )
    assert named.returncode == 1, named.stderr  # nothing is live
    assert "shop/home" in named.stdout
