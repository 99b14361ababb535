"""Where raw events come from: one file per kind of source, behind `Source`."""

from __future__ import annotations

from importlib import import_module

from recsys_assets.config import Surface
from recsys_assets.events.sources.source import InputSeen, Reading, Source

__all__ = ["InputSeen", "Reading", "Source", "open_source"]


def open_source(surface: Surface) -> Source:
    """Return the source of a surface's raw events; nothing is read yet.

    `source.type` is the name of the file here that reads it: what a source needs to have installed
    is imported only where it is used.
    """
    module = import_module(f"{__name__}.{surface.source.type}")
    source: Source = module.open_source(surface.of_events)
    return source
