"""What computes an artifact of events besides Polars: one file per type of engine.

An engine runs the rule of a kind, one text in Spark's SQL (`rules.py`), over days of canonical
events that lie where they are stored, and gives its rows in published order, piece by piece.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Final

from recsys_assets.config import Engine as Configured
from recsys_assets.engines.engine import Engine
from recsys_assets.errors import ConfigError

__all__ = ["Engine", "open_engine"]

# The first version of a library that does, and the first that is not known to: those of the extras.
VERSIONS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "duckdb": {"duckdb": ("2", "3"), "sqlglot": ("30", "31")},
    "spark": {"pyspark": ("4.1", "4.3"), "pandas": ("2.2", "3")},
}


def open_engine(configured: Configured) -> Engine:
    """Return an engine; nothing is connected to yet.

    `type` is the name of the file here: what an engine needs to have installed is imported only
    where it is used.

    Raises:
        ConfigError: what it needs is not installed, or in another version than it has to be, or the
            variable of its address is not set.
    """
    install = f"pip install 'recsys-assets[{configured.type}]'"
    try:
        for name, (first, after) in VERSIONS[configured.type].items():
            found = import_module(name).__version__
            if not _numbers(first) <= _numbers(found) < _numbers(after):
                raise ConfigError(
                    f"{name} is {found}, and `engine: {{type: {configured.type}}}` needs {first} "
                    f"or later, below {after}: {install}"
                )
        module = import_module(f"{__name__}.{configured.type}")
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library == "recsys_assets":
            raise
        raise ConfigError(
            f"`engine: {{type: {configured.type}}}` needs {library}: {install}"
        ) from None
    opened: Engine = module.open_engine(configured)
    return opened


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]
