"""How the artifacts of a day compared with what was live: what later comparisons are judged by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.derived import read_derived
from recsys_assets.storage.registry import to_bytes
from recsys_assets.storage.store import Store


@dataclass(frozen=True)
class Comparison:
    """One comparison.

    Attributes:
        day: that was to become live.
        live_day: the last one of what was live.
        changes: logarithms of changes of scores, by name; those that say what is usual.
    """

    day: date
    live_day: date
    changes: Mapping[str, float]


def write_comparison(store: Store, place: Place, comparison: Comparison) -> None:
    """Keep how a day compared, in place of how it did before."""
    members = asdict(comparison) | {
        "day": str(comparison.day),
        "live_day": str(comparison.live_day),
    }
    store.write_derived(layout.comparison(place, comparison.day), to_bytes({"v": 1, **members}))


def read_comparison(store: Store, place: Place, day: date) -> Comparison | None:
    """Return how a day compared last; None where it did not, or that cannot be read.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """

    def parse(data: bytes) -> Comparison:
        members: dict[str, Any] = json.loads(data)
        changes = {name: float(value) for name, value in members["changes"].items()}
        return Comparison(day, date.fromisoformat(members["live_day"]), changes)

    return read_derived(store, layout.comparison(place, day), parse, then="passed over")
