"""Examples of what would be lost where an artifact is worse than what is live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from recsys_assets.audit.release_facts import Scored
from recsys_assets.compute.samples import hashes
from recsys_assets.compute.scores import Asked, held_by_owner
from recsys_assets.errors import StorageError
from recsys_assets.kinds import KINDS
from recsys_assets.live.tables import read_document
from recsys_assets.storage.store import Store

_MOST: Final = 3  # of a kind
# Of a larger document none are named: reading it takes some ten times as much memory.
_MOST_BYTES: Final = 50_000_000


def lost_examples(
    store: Store, live: Mapping[str, str], worse: Sequence[Scored], asked: Asked
) -> list[dict[str, Any]]:
    """Name what lost most: the item of a ranking, or the owner of a list.

    Args:
        store: where documents are.
        live: kind to URI, of what is live.
        worse: kinds that are worse; each is named once.
        asked: what happened on the days that they are scored on.
    """
    rows = list[dict[str, Any]]()
    for kind, scored in {each.pair.kind: each for each in reversed(worse)}.items():
        try:
            rows += _of_kind(store, live[kind], scored, asked)
        except StorageError:
            continue  # that it cannot be read is for others to say
    return rows


def _of_kind(store: Store, uri: str, scored: Scored, asked: Asked) -> list[dict[str, Any]]:
    pair, layout = scored.pair, KINDS[scored.pair.kind].layout
    thinned = max(pair.before.thinned, pair.after.thinned)
    before, after = (
        held_by_owner(outline, asked, scored.cut, thinned=thinned)
        for outline in (pair.before, pair.after)
    )
    lost = before.join(after.rename({"events": "now"}), on="owner", how="left").fill_null(0)
    lost = lost.with_columns(lost=pl.col("events").cast(pl.Int64) - pl.col("now").cast(pl.Int64))
    most = lost.filter(pl.col("lost") > 0).sort("lost", "owner", descending=[True, False])
    names = _names(store, uri, pair.kind)
    return [
        {
            "kind": pair.kind,
            layout.owner: names.get(owner, f"(hash {owner:08x})"),
            "events": events,
            "would be": now,
        }
        for owner, events, now, _ in most.head(_MOST)
        .select("owner", "events", "now", "lost")
        .iter_rows()
    ]


def _names(store: Store, uri: str, kind: str) -> dict[int, str]:
    """Return the owners of a document by their hash; none of one that is too large."""
    stored = store.stat(store.key(uri))
    if stored is None or stored.size_bytes > _MOST_BYTES:
        return {}
    layout = KINDS[kind].layout
    document = read_document(store, uri, kind)
    owners = [entry[layout.owner] for entry in document[layout.key]]
    ids = pl.Series(owners, dtype=pl.String)
    return dict(zip(hashes(ids).to_list(), owners, strict=True))
