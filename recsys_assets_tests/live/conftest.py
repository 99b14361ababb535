"""What the tests of what is live share: documents, and publishing them as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from recsys_assets.config import Surface
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.flips import publish
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Why
from recsys_assets.windows import Window
from recsys_assets_tests.project import Project, day
from recsys_assets_tests.shop import Shop

PLACE: Final = Place("demo", "home")
FLIPPED: Final = datetime(2026, 1, 2, 3, tzinfo=UTC)
POPULARITY = {
    "v": 1,
    "artifact_type": "popularity",
    "window": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
    "items": [{"item_id": "a", "count": 12}, {"item_id": "b", "count": 3}],
}
COOC = {
    "artifact_type": "cooc",
    "neighbors": [
        {"item_id": "a", "items": [{"item_id": "b", "count": 2}, {"item_id": "c", "count": 1}]},
        {"item_id": "b", "items": [{"item_id": "a", "count": 2}]},
    ],
}


@pytest.fixture
def surface(project: Project) -> Surface:
    return project.configure().surfaces[0]


def put_live(store: LocalStore, documents: Mapping[str, Any]) -> None:
    """Publish documents as they are, without a pipeline."""
    current = {}
    for kind, document in documents.items():
        key = layout.blob(PLACE, kind, f"version-of-{kind}")
        store.replace(key, json.dumps(document).encode())
        current[kind] = store.uri(key)
    publish(
        store,
        PLACE,
        window=Window.ending_with(day(0), days=1),
        current=current,
        why=Why("run", "somebody", "a test"),
        clock=lambda: FLIPPED,
    )


def limited(shop: Shop, **changes: Any) -> Surface:
    """Return the surface of the shop with other dates or another `freshness`."""
    members = shop.surface.model_dump() | changes
    return Surface.model_validate(members)


def days(most: int, hours: int | None = None) -> dict[str, Any]:
    """Return limits of `freshness`."""
    return {"freshness": {"max_days_behind": most, "max_hours_since_flip": hours}}
