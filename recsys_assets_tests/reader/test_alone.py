"""The reader needs nothing of the producer, and the producer nothing of the reader."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import recsys_assets
import recsys_assets_reader
from recsys_assets_tests.test_docs import ROOT
from recsys_assets_tests.test_layers import MOST_LINES, libraries_of

FOLDER: Final = Path(recsys_assets_reader.__file__).parent
PROJECT: Final[dict[str, Any]] = tomllib.loads((FOLDER / "pyproject.toml").read_text("utf-8"))
# From the top down, as in `test_layers.py`.
LAYERS: Final = ("serve", "titles", "reader", "stores", "documents", "errors")


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}


def libraries(module: str) -> set[str]:
    found = libraries_of((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
    return found - sys.stdlib_module_names - {"recsys_assets_reader"}


def test_it_imports_what_its_wheel_asks_for_and_nothing_else() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    extra = names(PROJECT["project"]["optional-dependencies"]["serve"])

    assert modules == set(LAYERS)
    assert libraries("serve") == extra == {"uvicorn"}
    rest = set().union(*map(libraries, modules - {"serve"}), libraries("__init__"))
    assert rest == names(PROJECT["project"]["dependencies"]) == {"obstore"}


def test_its_imports_point_down_only_and_no_module_is_too_long() -> None:
    for number, module in enumerate(LAYERS):
        source = (FOLDER / f"{module}.py").read_text(encoding="utf-8")
        imported = set(re.findall(r"from recsys_assets_reader\.(\w+) import", source))
        assert imported <= set(LAYERS[number + 1 :]), module
        assert len(source.splitlines()) <= MOST_LINES, module


def test_the_producer_does_not_import_it() -> None:
    for path in Path(recsys_assets.__file__).parent.rglob("*.py"):
        assert "recsys_assets_reader" not in path.read_text(encoding="utf-8"), path


def test_a_reader_of_files_loads_no_library_at_all() -> None:
    """Of the producer it would be seconds, of obstore 50 ms."""
    told = (
        "import json, sys, recsys_assets_reader, recsys_assets_reader.serve; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True
    )

    loaded = set(json.loads(done.stdout))
    assert "recsys_assets_reader" in loaded
    heavy = {"obstore", "polars", "pyarrow", "numpy", "dagster", "recsys_assets", "uvicorn"}
    assert loaded & heavy == set()


def test_both_wheels_say_the_same_of_python_and_licence_and_bound_obstore_alike() -> None:
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    theirs = PROJECT["project"]

    for key in ("requires-python", "license", "license-files", "classifiers"):
        assert theirs[key] == ours[key], key
    assert set(theirs["dependencies"]) <= set(ours["dependencies"])
    assert (FOLDER / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (FOLDER / "py.typed").exists()
