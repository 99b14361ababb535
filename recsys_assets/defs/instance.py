"""The Dagster instance that the command line records its runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml

from recsys_assets.defs.internals import problem_of_instance
from recsys_assets.errors import ConfigError


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
    """Open the instance there; ConfigError says what is wrong with its dagster.yaml."""
    try:
        opened = dg.DagsterInstance.get()
    except (dg.DagsterError, yaml.YAMLError, OSError) as error:
        raise ConfigError(
            f"Dagster cannot use {home}/dagster.yaml: {problem_of_instance(error)}"
        ) from None
    with opened as instance:
        yield instance
