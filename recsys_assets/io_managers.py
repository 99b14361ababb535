"""Where an accepted value goes, and what its readers get: events, artifacts, manifest.

By the time a value gets here it has passed its checks. An IO manager stores the value of one day; a
run of several days calls the same functions day by day (`surface._write_audit_publish`).
`publish_release` is the only code that flips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from recsys_assets.documents import RenderedDocument, Window
from recsys_assets.errors import MissingPartitionError, StaleReleaseError
from recsys_assets.events.partition import StagedPartition, read_fingerprint
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.publications import publish
from recsys_assets.storage.registry import StagedRef, accept, read_staged
from recsys_assets.storage.store import Store

# Asset metadata that the IO managers read: an asset key cannot hold every name.
TENANT, SURFACE, SEGMENT = "tenant", "surface", "segment"


@dataclass(frozen=True)
class CanonicalPartition:
    """An accepted day of canonical events."""

    path: Path
    fingerprint: str

    @property
    def frame(self) -> pl.LazyFrame:
        """The events, contract `canonical_event`."""
        return pl.scan_parquet(self.path, glob=False)


@dataclass(frozen=True)
class Release:
    """What is to be live for a day: the staged and verified version of every enabled kind."""

    day: date
    window: Window
    segment: str
    refs: Mapping[str, StagedRef]

    @property
    def current(self) -> dict[str, str]:
        """The URI of each kind."""
        return {kind: ref.uri for kind, ref in self.refs.items()}


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


def publish_release(
    store: Store, tenant: str, surface: str, release: Release, *, run_id: str
) -> dict[str, Any]:
    """Publish a day, and return what the asset page of the manifest shows of it.

    Raises:
        StaleReleaseError: other versions were staged since the release was audited.
    """

    def confirm() -> None:
        for kind, ref in release.refs.items():
            staged = read_staged(store, tenant, surface, release.segment, kind, release.day)
            if staged.version != ref.version:
                raise StaleReleaseError(
                    f"{tenant}/{surface} {release.day}: another run staged {kind} "
                    f"{staged.version[:12]} while {ref.version[:12]} was being published. Nothing "
                    "was changed; materialize manifest of the day again."
                )

    outcome, live = publish(
        store,
        tenant=tenant,
        surface=surface,
        window=release.window,
        current=release.current,
        run_id=run_id,
        confirm=confirm,
    )
    return {
        "outcome": outcome,
        "live_window_end": str(live.window.end) if live.window else "unknown",
        "generation": live.publication.generation if live.publication else 0,
    }


class CanonicalIOManager(dg.ConfigurableIOManager):
    """Keeps canonical events as one Parquet file a day; readers get `{day: CanonicalPartition}`."""

    root: str

    def handle_output(self, context: dg.OutputContext, obj: StagedPartition) -> None:
        """Replace the day's file atomically."""
        accept_partition(open_store(self.root), *_names(context), obj)

    def load_input(self, context: dg.InputContext) -> Mapping[date, CanonicalPartition]:
        """Return the accepted days among those asked for; one that is not there is left out."""
        tenant, surface = _names(context.upstream_output)
        store = open_store(self.root)
        days = map(date.fromisoformat, context.asset_partition_keys)
        found = {day: store.path(layout.canonical(tenant, surface, day)) for day in days}
        return {
            day: CanonicalPartition(path, read_fingerprint(path))
            for day, path in found.items()
            if path
        }


class ArtifactIOManager(dg.ConfigurableIOManager):
    """Keeps artifact documents as immutable blobs; readers get `{day: StagedRef}`."""

    root: str

    def handle_output(self, context: dg.OutputContext, obj: RenderedDocument) -> None:
        """Store and verify the document, then make it the day's version."""
        accept_document(open_store(self.root), obj, run_id=_run_id(context))

    def load_input(self, context: dg.InputContext) -> Mapping[date, StagedRef]:
        """Return the staged references of the days asked for; a missing one is left out."""
        tenant, surface = _names(context.upstream_output)
        segment, kind = _metadata(context.upstream_output)[SEGMENT], context.asset_key.path[-1]
        store, refs = open_store(self.root), {}
        for day in map(date.fromisoformat, context.asset_partition_keys):
            try:
                refs[day] = read_staged(store, tenant, surface, segment, kind, day)
            except MissingPartitionError:
                continue
        return refs


class ManifestIOManager(dg.ConfigurableIOManager):
    """Flips the live pointer; the only code that does."""

    root: str

    def handle_output(self, context: dg.OutputContext, obj: Release) -> None:
        """Publish the day, unless a later window is live."""
        outcome = publish_release(
            open_store(self.root), *_names(context), obj, run_id=_run_id(context)
        )
        context.add_output_metadata(outcome)

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
