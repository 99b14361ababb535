"""What an erasure made again, as Dagster is told of it: days where they lie, and their artifacts.

Each is a materialization with the data version that is stored now, so lineage and conditions go by
it. Told is only what the instance has as made, and has otherwise: a day that failed stays failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import dagster as dg
import polars as pl

from recsys_assets.audit.candidates import release_version
from recsys_assets.config import Surface
from recsys_assets.defs.internals import DATA_VERSION, partition_statuses
from recsys_assets.defs.keys import EVENTS, MANIFEST, asset_key, partitions_of
from recsys_assets.defs.metadata import as_metadata
from recsys_assets.errors import MissingPartitionError
from recsys_assets.events.accepted import AcceptedDay, accepted_days
from recsys_assets.operations.erase import Erasure
from recsys_assets.operations.remade import Remade
from recsys_assets.pages import Json, Shown, show_events
from recsys_assets.storage.registry import StagedRef, read_staged
from recsys_assets.storage.store import Store

# What `manifest` shows of the flip that it was, which this is none of: `live` shows that.
_OF_A_FLIP: Final = frozenset(
    {"outcome", "flipped", "generation", "why", "changes", "compared", "not_compared"}
)
_SAID: Final = "made again without persons who were erased"


@dataclass(frozen=True)
class _Stored:
    """A day of an asset as it is stored now: its data version, and what its page shows."""

    day: date
    version: str
    shown: Mapping[str, Shown]


def remade_days(
    instance: dg.DagsterInstance, store: Store, done: Erasure
) -> Iterator[dg.AssetMaterialization]:
    """Yield what an instance is to be told, what it is made of first."""
    base, *_ = done.surfaces
    days = accepted_days(store, base.events_of, done.days)
    yield from _news(instance, base, EVENTS, [_of_events(day, of) for day, of in days.items()])
    for surface in done.surfaces:
        remade = done.remade[surface.name]
        refs = {of: ref for of in remade.made if (ref := _staged(store, surface, *of))}
        for kind in surface.artifacts.of("events"):
            found = [_of_ref(ref, remade) for (of, _), ref in refs.items() if of == kind]
            yield from _news(instance, surface, kind, found)
        released = (_release(store, surface, day) for day in sorted({day for _, day in refs}))
        yield from _news(instance, surface, MANIFEST, [each for each in released if each])


def _news(
    instance: dg.DagsterInstance, surface: Surface, asset: str, stored: Iterable[_Stored]
) -> Iterator[dg.AssetMaterialization]:
    """Yield the days of an asset that the instance has with another data version."""
    key, of_day = asset_key(surface, asset), {each.day: each for each in stored}
    names = [str(day) for day in sorted(of_day)]
    statuses = partition_statuses(instance, key, partitions_of(surface), names)
    for name in names:
        known = statuses.get(name) == "MATERIALIZED" and _last(instance, key, name)
        now = of_day[date.fromisoformat(name)]
        if not known or (known.tags or {}).get(DATA_VERSION) == now.version:
            continue
        # What is not looked at again is as it was: how many lines were refused, and how long it
        # took. Without it, plots would have a gap.
        metadata: dict[str, Any] = {
            **{of: value for of, value in known.metadata.items() if of not in _OF_A_FLIP},
            **as_metadata(now.shown, show_ids=surface.shows_ids),
        }
        yield dg.AssetMaterialization(
            key,
            description=_SAID,
            partition=name,
            metadata=metadata,
            tags={DATA_VERSION: now.version},
        )


def _last(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str
) -> dg.AssetMaterialization | None:
    wanted = dg.AssetRecordsFilter(key, asset_partitions=[partition])
    for record in instance.fetch_materializations(wanted, limit=1).records:
        return record.asset_materialization
    return None


def _of_events(day: date, accepted: AcceptedDay) -> _Stored:
    ids = [pl.col(name).drop_nulls().n_unique() for name in ("session_id", "user_id", "item_id")]
    sessions, users, items = accepted.frame.select(ids).collect(engine="streaming").row(0)
    hours = accepted.frame.group_by(pl.col("ts").dt.hour()).len().collect(engine="streaming")
    by_hour = dict(hours.iter_rows())
    return _Stored(
        day,
        accepted.fingerprint,
        {
            **show_events([by_hour.get(hour, 0) for hour in range(24)]),
            "dagster/row_count": accepted.events,
            "sessions": sessions,
            "users": users,
            "items": items,
            "fingerprint": accepted.fingerprint,
        },
    )


def _staged(store: Store, surface: Surface, kind: str, day: date) -> StagedRef | None:
    try:
        return read_staged(store, surface.place, surface.segment, kind, day)
    except MissingPartitionError:
        return None


def _of_ref(ref: StagedRef, remade: Remade) -> _Stored:
    shown = remade.shown.get((ref.kind, ref.day)) or {
        "dagster/uri": ref.uri,
        "version": ref.version,
        "source_hash": ref.source_hash,
        "size_bytes": ref.size_bytes,
    }
    return _Stored(ref.day, ref.version, shown)


def _release(store: Store, surface: Surface, day: date) -> _Stored | None:
    """Return what a publish of the day would have now; None where something of it is missing."""
    refs = [_staged(store, surface, kind, day) for kind in surface.artifacts.kinds]
    current = {ref.kind: ref.uri for ref in refs if ref}
    if len(current) < len(refs):
        return None
    size_bytes = sum(ref.size_bytes for ref in refs if ref)
    shown: dict[str, Shown] = {"size_bytes": size_bytes, "current": Json(current)}
    return _Stored(day, release_version(current), shown)
