"""What the audits of a process share: what is parsed and counted already, and turns to compute."""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys_assets.audit.turns import Turns
from recsys_assets.events.catalog import CatalogCache
from recsys_assets.storage.counts import CountsCache
from recsys_assets.storage.profiles import KnownProfiles


@dataclass(frozen=True)
class Shared:
    """Caches that begin empty; whoever builds the assets of a process makes one for all of them."""

    counts: CountsCache = field(default_factory=CountsCache)
    catalogs: CatalogCache = field(default_factory=CatalogCache)
    profiles: KnownProfiles = field(default_factory=KnownProfiles)
    turns: Turns = field(default_factory=Turns)
