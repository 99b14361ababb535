"""Where an accepted value goes, and what its readers get: events, artifacts, manifest.

By the time a value gets here it has passed its checks. An IO manager stores the value of one day; a
run of several days calls the same functions day by day (`surface._write_audit_publish`).
`publish_release` is the only code that flips.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from recsys_assets.contracts import CANONICAL_DTYPES
from recsys_assets.documents import RenderedDocument, Window
from recsys_assets.events.partition import StagedPartition, read_provenance
from recsys_assets.operations.compare import as_rows, compare_up_to
from recsys_assets.pages import table
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.publications import Live, Why, actor, generation_of, publish, read_live
from recsys_assets.storage.registry import accept
from recsys_assets.storage.store import Store

# Asset metadata that the IO managers read: an asset key cannot hold every name.
TENANT, SURFACE = "tenant", "surface"
# Two such documents take some 350 MB while they are compared, and the day is published by then.
_MAX_COMPARED_BYTES = 20_000_000


@dataclass(frozen=True)
class CanonicalPartition:
    """An accepted day of canonical events."""

    location: str
    fingerprint: str

    @property
    def frame(self) -> pl.LazyFrame:
        """The events, contract `canonical_event`; a column that an older format lacks is null."""
        return pl.scan_parquet(
            self.location, glob=False, schema=CANONICAL_DTYPES, missing_columns="insert"
        )


@dataclass(frozen=True)
class Release:
    """What is to be live for a day: the staged and verified version of every enabled kind."""

    day: date
    window: Window
    current: Mapping[str, str]  # kind: URI
    seen: int  # the generation that was live before the versions were gathered


def accept_partition(
    store: Store, tenant: str, surface: str, staged: StagedPartition
) -> dict[str, Any]:
    """Put an audited day of canonical events in place of what was there."""
    store.replace(layout.canonical(tenant, surface, staged.day), staged.path)
    return {}


def accept_document(store: Store, document: RenderedDocument, *, run_id: str) -> dict[str, Any]:
    """Store and verify an audited document, and make it the version of its day."""
    day = document.head.window.end - timedelta(days=1)
    accept(store, document, day=day, run_id=run_id, now=datetime.now(UTC))
    return {}


def read_partitions(
    store: Store, tenant: str, surface: str, days: Iterable[date]
) -> dict[date, CanonicalPartition]:
    """Return the accepted days of canonical events; one that is not there is left out."""
    found = {}
    for day in days:
        key = layout.canonical(tenant, surface, day)
        with suppress(FileNotFoundError):
            fingerprint = read_provenance(store, key).fingerprint
            found[day] = CanonicalPartition(store.location(key), fingerprint)
    return found


def materialized(release: Release, *, run_id: str) -> Why:
    """Return who publishes a day, and why, when its manifest is materialized."""
    return Why(run_id, actor(), f"manifest of {release.day} was materialized")


def publish_release(
    store: Store, tenant: str, surface: str, release: Release, why: Why
) -> dict[str, Any]:
    """Publish a day, and return what the asset page of the manifest shows of it.

    Raises:
        StaleReleaseError: the surface was flipped since the release was audited.
    """
    outcome, live = publish(
        store,
        tenant=tenant,
        surface=surface,
        window=release.window,
        current=release.current,
        why=why,
        seen=release.seen,
    )
    return {
        "outcome": outcome,
        "flipped": int(outcome == "published"),
        "live_window_end": str(live.window.end) if live.window else "unknown",
        "generation": generation_of(live),
    }


def changes(
    store: Store, before: Live | None, release: Release, shown: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the asset page shows of the change that a flip made; never fails.

    Args:
        store: where the documents are.
        before: what was live.
        release: what was made live.
        shown: what `publish_release` returned; nothing is compared unless it flipped.
    """
    if not shown["flipped"]:
        return {}
    if before is None:
        return {"compared": "nothing was live before"}
    differences, left_out = compare_up_to(
        store, before.current, release.current, max_bytes=_MAX_COMPARED_BYTES
    )
    last = before.window.end - timedelta(days=1) if before.window else "an unknown day"
    return {
        "changes": table(as_rows(differences)),
        "compared": f"generation {generation_of(before)} ({last}) with {shown['generation']} "
        f"({release.day})",
        **({"not_compared": dg.MetadataValue.json(left_out)} if left_out else {}),
    }


class CanonicalIOManager(dg.ConfigurableIOManager):
    """Keeps canonical events as one Parquet file a day; readers get `{day: CanonicalPartition}`."""

    root: str

    def handle_output(self, context: dg.OutputContext, obj: StagedPartition) -> None:
        """Replace the day's file atomically."""
        accept_partition(open_store(self.root), *_names(context), obj)

    def load_input(self, context: dg.InputContext) -> Mapping[date, CanonicalPartition]:
        """Return the accepted days among those asked for; one that is not there is left out."""
        days = map(date.fromisoformat, context.asset_partition_keys)
        return read_partitions(open_store(self.root), *_names(context.upstream_output), days)


class ArtifactIOManager(dg.ConfigurableIOManager):
    """Keeps artifact documents as immutable blobs."""

    root: str

    def handle_output(self, context: dg.OutputContext, obj: RenderedDocument) -> None:
        """Store and verify the document, then make it the day's version."""
        accept_document(open_store(self.root), obj, run_id=_run_id(context))

    def load_input(self, context: dg.InputContext) -> None:
        """Refuse: manifest gathers what is staged itself, after it looked at what is live."""
        raise NotImplementedError(f"{context.asset_key.to_user_string()} is read as a document")


class ManifestIOManager(dg.ConfigurableIOManager):
    """Flips the live pointer; the only code that does."""

    root: str

    def handle_output(self, context: dg.OutputContext, obj: Release) -> None:
        """Publish the day, unless a later window is live, and show what changed."""
        store, names = open_store(self.root), _names(context)
        before = read_live(store, *names)
        why = materialized(obj, run_id=_run_id(context))
        shown = publish_release(store, *names, obj, why)
        context.add_output_metadata({**shown, **changes(store, before, obj, shown)})

    def load_input(self, context: dg.InputContext) -> None:
        """Refuse: readers of the manifest read the file."""
        raise NotImplementedError(f"{context.asset_key.to_user_string()} is read as manifest.json")


def _metadata(context: dg.OutputContext | None) -> Mapping[str, Any]:
    assert context is not None, "an asset is only ever read as an asset"  # noqa: S101
    return context.definition_metadata or {}


def _names(context: dg.OutputContext | None) -> tuple[str, str]:
    """Return tenant and surface of the asset."""
    metadata = _metadata(context)
    return str(metadata[TENANT]), str(metadata[SURFACE])


def _run_id(context: dg.OutputContext) -> str:
    return context.step_context.run_id
