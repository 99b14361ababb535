"""What does without Dagster and Pandera: they take a second each to import."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from typing import Final

from recsys_assets import cli, live

LIGHT: Final = [
    "recsys_assets.audit.candidates",
    "recsys_assets.operations.landing",
    "recsys_assets.operations.pointer",
    "recsys_assets.operations.promote",
    "recsys_assets.operations.retention",
    *(
        found.name
        for package in (cli, live)
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__")
    ),
]
# All in one process: the first module that brings one of the two is the one to look at.
TOLD: Final = """
import importlib, json, sys
found = {}
for module in sys.argv[1:]:
    importlib.import_module(module)
    heavy = {name.partition(".")[0] for name in sys.modules} & {"dagster", "pandera"}
    found[module] = sorted(heavy)
print(json.dumps(found))
"""


def test_they_import_without_dagster_and_pandera() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD, *LIGHT], capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == {module: [] for module in LIGHT}
