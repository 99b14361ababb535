"""Where what is live is delivered to, after a flip: one file per kind of sink, behind `Sink`."""

from __future__ import annotations

from importlib import import_module

from recsys_assets.config import AnySink
from recsys_assets.errors import ConfigError
from recsys_assets.sinks.sink import Delivered, Delivery, HoldsUsers, Sink

__all__ = ["Delivered", "Delivery", "HoldsUsers", "Sink", "open_sink"]


def open_sink(sink: AnySink, root: str) -> Sink:
    """Return a sink; nothing is connected to yet.

    `type` is the name of the file here that delivers to it: what a sink needs to have installed is
    imported only where it is used.

    Args:
        sink: of the configuration.
        root: where everything is written, for a sink that lies there.

    Raises:
        ConfigError: what it needs is not installed.
    """
    try:
        module = import_module(f"{__name__}.{sink.type}")
    except ImportError as error:
        if (error.name or "").startswith("recsys_assets"):
            raise
        raise ConfigError(
            f"a sink of `type: {sink.type}` needs {error.name}: pip install "
            f"'recsys-assets[{sink.type}-sink]'"
        ) from None
    opened: Sink = module.open_sink(sink, root)
    return opened
