"""What computes an artifact of events besides Polars: one file per type of engine.

An engine runs the rule of a kind, one text in Spark's SQL (`rules.py`), over days of canonical
events that lie where they are stored, and gives its rows in published order, piece by piece.
"""

from __future__ import annotations

from importlib import import_module

from recsys_assets.config import Engine as Configured
from recsys_assets.engines.engine import Engine
from recsys_assets.errors import ConfigError

__all__ = ["Engine", "open_engine"]


def open_engine(configured: Configured) -> Engine:
    """Return an engine; nothing is connected to yet.

    `type` is the name of the file here: what an engine needs to have installed is imported only
    where it is used.

    Raises:
        ConfigError: what it needs is not installed, or the variable of its address is not set.
    """
    try:
        module = import_module(f"{__name__}.{configured.type}")
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library == "recsys_assets":
            raise
        raise ConfigError(
            f"`engine: {{type: {configured.type}}}` needs {library}: pip install "
            f"'recsys-assets[{configured.type}]'"
        ) from None
    opened: Engine = module.open_engine(configured)
    return opened
