"""Artifacts that another engine than Polars computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import polars as pl

from recsys_assets.compute.bots import BotLimits
from recsys_assets.compute.coded import Streamed
from recsys_assets.config import Surface
from recsys_assets.engines import open_engine
from recsys_assets.engines.engine import SqlEvents
from recsys_assets.errors import EngineError
from recsys_assets.events.accepted import AcceptedDays
from recsys_assets.events.listed import ListedItems
from recsys_assets.kind import Computed, Kind
from recsys_assets.storage.store import Store

_PIECE_ROWS: Final = 100_000


def compute_by_engine(
    store: Store,
    kind: Kind,
    surface: Surface,
    window: AcceptedDays,
    bots: BotLimits,
    items: ListedItems,
) -> tuple[Computed, Mapping[str, int]]:
    """Compute an artifact by the engine of a surface; its rows are made as they are read.

    Args:
        store: gives the engine room on a disk.
        kind: the artifact kind, which has its rule in SQL.
        surface: whose engine, options and limits.
        window: the accepted days, oldest first, at least one.
        bots: above which sizes sessions and users are left out.
        items: which may be listed.

    Returns:
        What is computed, and how many items were left out, as the asset page shows it.

    Raises:
        ConfigError: the engine is not installed, or its address is not set.
        EngineError: it cannot compute it now; also while the rows are read.
    """
    if kind.sql is None:  # the configuration refuses it
        raise EngineError(f"{kind.name} has no rule in SQL: `engine: {{type: polars}}` computes it")
    engine = open_engine(surface.engine)
    with ExitStack() as opened:
        scratch = opened.enter_context(store.scratch())
        session = opened.enter_context(engine.session([*window.values()], scratch))
        events = SqlEvents.of(session, window, bots)
        unlisted, left_out = _unlisted(events, items)
        if unlisted.len():
            events.leave_out(unlisted)
        options = surface.artifacts.options(kind.name)
        computed = kind.sql(events, options, surface).without_items(unlisted, kind.layout)
        frames = (piece.frame for piece in computed.rows.pieces(_PIECE_ROWS))
        rows = _until_the_end(frames, opened.pop_all())
        next(rows)
    return replace(computed, frame=Streamed(rows)), left_out


def _unlisted(events: SqlEvents, items: ListedItems) -> tuple[pl.Series, Mapping[str, int]]:
    """Return the items of some events that may not be listed, and their numbers."""
    found, left_out = [pl.Series(dtype=pl.String)], Counter[str]()
    for some in events.items() if items.any else ():
        listed, counts = items.judge(some)
        left_out.update(counts)
        found.append(some.filter(~listed) if listed is not None else some.clear())
    return pl.concat(found), left_out


def _until_the_end(frames: Iterator[pl.DataFrame], opened: ExitStack) -> Iterator[pl.DataFrame]:
    """Yield an empty frame, then the others; close what is open, wherever they are dropped."""
    with opened:
        yield pl.DataFrame()
        yield from frames
