"""The project as people install it: a wheel, among other packages, without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest
import yaml

from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.reader.published import EXAMPLES, Published

ROOT: Final = Path(__file__).parents[1]
READER: Final = "recsys_assets_reader"
PIP: Final = (sys.executable, "-m", "pip", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both wheels from a copy of the sources; return their folder."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for package in ("recsys_assets", "recsys_assets_reader"):
        shutil.copytree(
            ROOT / package, source / package, ignore=shutil.ignore_patterns("__py*", "build")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = subprocess.run(
        [*PIP, "wheel", "--no-deps", "-w", folder / "built", source, source / READER],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        skip_unless_required("wheel", f"the wheels cannot be built here: {built.stderr[-300:]}")
    return folder / "built"


def install(wheels: Path, package: str) -> Path:
    (wheel,) = wheels.glob(f"{package}-*.whl")
    target = wheels.with_name(package)
    subprocess.run(
        [*PIP, "install", "--no-deps", "--no-index", "--target", target, wheel],
        capture_output=True,
        check=True,
    )
    return target


@pytest.fixture(scope="module")
def installed(wheels: Path) -> Path:
    """Install the project's own wheel into a folder."""
    return install(wheels, "recsys_assets")


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


@pytest.mark.slow
def test_each_wheel_has_its_own_package_and_nothing_of_the_other(wheels: Path) -> None:
    for package in ("recsys_assets", READER):
        (wheel,) = wheels.glob(f"{package}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()

        tops = {name.partition("/")[0] for name in names}
        assert tops == {package, wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}
        assert f"{package}/py.typed" in names
        assert any(name.endswith("licenses/LICENSE") for name in names)
        written = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py")}
        assert {name for name in names if name.endswith(".py")} == {
            name for name in written if not name.startswith(f"{READER}/build/")
        }


@pytest.mark.slow
def test_the_reader_works_where_nothing_else_is_installed(wheels: Path, tmp_path: Path) -> None:
    target = install(wheels, READER)
    published = Published(str(tmp_path / "root"))
    published.day(1, EXAMPLES)
    code = f"""
import sys
for name in ("recsys_assets", "dagster", "polars", "numpy", "pyarrow", "obstore"):
    sys.modules[name] = None  # as if it were absent
import recsys_assets_reader
assert recsys_assets_reader.__file__.startswith({str(target)!r})
with recsys_assets_reader.open({published.root!r}, "shop/home") as reader:
    print(reader.neighbours("tea"))
"""

    done = start(target, tmp_path, "-c", code)

    assert done.stdout == "[Scored(item_id='cup', score=2)]\n", done.stderr
