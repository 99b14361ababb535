"""What the audits of a process share in memory, so that nothing is parsed or counted twice."""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys_assets.events.catalog import CatalogCache
from recsys_assets.storage.counts import CountsCache


@dataclass(frozen=True)
class Shared:
    """Caches that begin empty; whoever builds the assets of a process makes one for all of them."""

    counts: CountsCache = field(default_factory=CountsCache)
    catalogs: CatalogCache = field(default_factory=CatalogCache)
