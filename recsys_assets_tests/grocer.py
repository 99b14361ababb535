"""The surface of real days, as the demo has it: for what made-up days do not show."""

from __future__ import annotations

from datetime import date
from typing import Any

from recsys_assets.demo.complete_journey import SURFACE, TENANT


def grocer(**members: Any) -> dict[str, Any]:
    """Return its entry: January, with gates that block, and no catalog."""
    return {
        "tenant": TENANT,
        "surface": SURFACE,
        "start_date": date(2017, 1, 1),
        "end_date": date(2017, 1, 31),
        "catalog": None,
        "artifacts": {"popularity": {}},
        "gates": {"mode": "block"},
    } | members
