"""A root in which documents of any rows are published, without computing them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from recsys_assets.compute.coded import Piece
from recsys_assets.contracts import dtypes
from recsys_assets.documents import DocumentHead, RenderedDocument, list_text, render
from recsys_assets.kinds import KINDS
from recsys_assets.places import Place
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.flips import publish
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Why
from recsys_assets.storage.registry import stage_version
from recsys_assets.storage.store import Store
from recsys_assets.windows import Window

PLACE = Place("shop", "home")
NAMES = ("popularity", "cooc", "implicit", "session_seq", "content_sim")
# What is documented of each kind.
EXAMPLES = {kind: KINDS[kind].example.rows for kind in NAMES}


def rendered(
    kind: str, rows: Sequence[tuple[Any, ...]], path: Path, *, of: date = date(2026, 1, 1)
) -> RenderedDocument:
    """Write a document to a path."""
    return render(
        list_text(
            [Piece(pl.DataFrame(list(rows), schema=dtypes(KINDS[kind].contract), orient="row"))],
            KINDS[kind].layout,
        ),
        DocumentHead(kind, PLACE, "default", Window.ending_with(of, days=1)),
        path,
        source_hash="f" * 64,
        built_at=datetime(2026, 1, 9, tzinfo=UTC),
    )


@dataclass(frozen=True)
class Published:
    """What is published of `shop/home` below a root."""

    root: str

    @property
    def store(self) -> Store:
        return open_store(self.root)

    @property
    def manifest(self) -> str:
        """The key of the manifest."""
        return layout.manifest(PLACE)

    @property
    def file(self) -> Path:
        """The manifest of a root on this disk."""
        return Path(self.root) / self.manifest

    def day(self, number: int, rows: Mapping[str, Sequence[tuple[Any, ...]]]) -> dict[str, str]:
        """Publish a day of January 2026; return what is live then."""
        of, store = date(2026, 1, number), self.store
        current = {}
        for kind, of_kind in rows.items():
            with store.scratch() as scratch:
                written = rendered(kind, of_kind, scratch / kind, of=of)
                ref = stage_version(store, written, run_id="run", now=datetime.now(UTC))
            current[kind] = ref.uri
        self.flip(number, current)
        return current

    def flip(self, number: int, current: Mapping[str, str]) -> None:
        """Make documents live that are stored."""
        outcome, _ = publish(
            self.store,
            PLACE,
            window=Window.ending_with(date(2026, 1, number), days=1),
            current=current,
            why=Why("run", "somebody", "a test"),
        )
        assert outcome == "published"

    def write(self, current: Mapping[str, str], /, **members: Any) -> None:
        """Write a manifest as it is, whoever would write it so."""
        manifest = {
            "v": 1,
            "tenant": PLACE.tenant,
            "surface": PLACE.surface,
            "current": dict(current),
            "updated_at": "2026-01-09T00:00:00Z",
        }
        LocalStore(self.root).replace(self.manifest, json.dumps(manifest | members).encode())
