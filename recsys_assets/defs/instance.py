"""The Dagster instance that the command line records its runs on.

`python -m recsys_assets.defs.instance` opens it once. On a new one that makes the databases. With a
storage of Dagster's own no two processes may do so at the same time: so whoever starts Dagster's
servers runs it before them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import dagster as dg
import yaml

from recsys_assets.defs.internals import is_of_half_made_databases, problem_of_instance
from recsys_assets.errors import ConfigError
from recsys_assets.locks import exclusive

# For a storage that is not of this project: those of it keep others waiting by themselves.
LOCK: Final = ".opening.lock"


def dagster_home() -> Path:
    """Return $DAGSTER_HOME; ConfigError says what is wrong with it."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        raise ConfigError(
            "DAGSTER_HOME is not set: set it to the absolute path of the directory that keeps "
            "Dagster's runs and events; the Makefile uses .dagster/ of the project"
        )
    if not Path(home).is_absolute():
        raise ConfigError(
            f"DAGSTER_HOME is {home!r}, a relative path: set it to {str(Path(home).absolute())!r}, "
            "or wherever Dagster's runs and events are to be kept"
        )
    if not Path(home).is_dir():
        raise ConfigError(f"DAGSTER_HOME is {home!r}, not a directory: create it with `mkdir -p`")
    return Path(home)


@contextmanager
def open_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance there.

    Raises:
        ConfigError: its dagster.yaml or its databases cannot be used; says what to do.
    """
    try:
        with exclusive(home / LOCK):
            opened = dg.DagsterInstance.get()
    except (dg.DagsterError, yaml.YAMLError, OSError) as error:
        raise ConfigError(
            f"Dagster cannot use {home}/dagster.yaml: {problem_of_instance(error)}"
        ) from None
    except Exception as error:
        if not is_of_half_made_databases(error):
            raise
        raise ConfigError(
            f"the databases below {home} are half made: two processes opened it for the first time "
            "at the same moment. They hold runs and events, no artifacts. Stop every process that "
            f"uses it, remove {home}/history and {home}/schedules (with PostgreSQL, the database), "
            "run `python -m recsys_assets.defs.instance`, then start the servers"
        ) from None
    with opened as instance:
        yield instance


if __name__ == "__main__":
    try:
        with open_instance(dagster_home()):
            pass
    except ConfigError as error:
        sys.exit(f"Error: {error}")
