"""What the assets of a surface are called, and their partitions."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import dagster as dg

from recsys_assets.config import Surface
from recsys_assets.places import Place

CODE_LOCATION = "recsys_assets"  # as workspace.yaml names it
EVENTS = "canonical_events"
MANIFEST = "manifest"
OWNERS: Final = ["team:recsys"]


# Of these a variant has none: it reads those of its base.
_OF_THE_BASE: Final = ("raw_events", EVENTS, "catalog", "denied_items")


def asset_key(of: Surface | Place, name: str) -> dg.AssetKey:
    """Return `[tenant, surface, name]`; Dagster allows fewer characters in it than a folder has.

    Of a surface, it is the asset that it has or reads by this name.
    """
    if isinstance(of, Surface):
        of = of.events_of if name in _OF_THE_BASE else of.place
    parts = (re.sub(r"[^A-Za-z0-9_.-]", "_", part) for part in (of.tenant, of.surface))
    return dg.AssetKey([*parts, name])


def asset_names(surface: Surface) -> tuple[str, ...]:
    """Return the names of the assets that are materialized, each after those it reads."""
    events = () if surface.variant_of else (EVENTS,)
    return (*events, *surface.artifacts.kinds, MANIFEST)


def partitions_of(surface: Surface) -> dg.DailyPartitionsDefinition:
    """Return the partitions of its assets: its days, UTC."""
    start, end = surface.start_date, surface.end_date
    return dg.DailyPartitionsDefinition(
        start_date=datetime.combine(start, datetime.min.time()),
        end_date=datetime.combine(end, datetime.min.time()) if end else None,
    )


def tags_of(surface: Surface) -> dict[str, str]:
    """Return the tags of its assets; Dagster takes at most 63 of a few characters."""
    names = {"tenant": surface.tenant, "surface": surface.surface}
    return {key: re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:63] for key, name in names.items()}
