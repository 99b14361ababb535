"""What of the configuration decides which lists an artifact has, and what of it was changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from recsys_assets.config import Surface
from recsys_assets.kinds import KINDS
from recsys_assets.windows import SourceHash

_DENY: Final = "items.deny"


def settings_of(surface: Surface, kind: str, source_hash: str) -> dict[str, Any]:
    """Return what an artifact is made with, by the key in surfaces.yaml; for a list, which one."""
    of_kind = surface.artifacts.options(kind).model_dump(mode="json")
    settings = {f"artifacts.{kind}.{name}": value for name, value in of_kind.items()}
    settings["items.only_in_catalog"] = surface.items.only_in_catalog
    settings[_DENY] = SourceHash.from_text(source_hash).denied
    if KINDS[kind].reads == "events":
        limit = "max_items_per_session"
        bots = surface.bots.model_dump(mode="json")
        settings |= {
            "window_days": surface.window_days,
            f"guardrails.{limit}": getattr(surface.guardrails, limit),
            **{f"bots.{name}": value for name, value in bots.items()},
        }
    return settings


def changed_settings(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> list[str]:
    """Say which settings differ, but for lists of items; none where one side is not known."""
    if before is None or after is None:
        return []
    return [
        f"{name} was {before[name]}, is {after[name]}"
        for name in after
        if name != _DENY and name in before and before[name] != after[name]
    ]


def changed_list(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[str]:
    """Say whether other items are withdrawn."""
    if before is None or after is None or before.get(_DENY) == after.get(_DENY):
        return []
    return [f"{_DENY} is another list"]
