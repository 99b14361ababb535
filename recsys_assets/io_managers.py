"""Where an accepted value goes, and what its readers get: events, artifacts, manifest.

A value is a mapping from day to what was staged for that day, because one run may cover many days.
By the time it gets here it has passed its checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from recsys_assets.documents import RenderedDocument, Window
from recsys_assets.errors import MissingPartitionError
from recsys_assets.events.partition import StagedPartition, read_fingerprint
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.publications import Live, Outcome, publish
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
    """What is to be live for one day: every enabled kind with its verified URI."""

    window: Window
    current: Mapping[str, str]


def accept_partition(store: Store, tenant: str, surface: str, staged: StagedPartition) -> None:
    """Put an audited day of canonical events in place of what was there."""
    store.replace(layout.canonical(tenant, surface, staged.day), staged.path)


class CanonicalIOManager(dg.ConfigurableIOManager):
    """Keeps canonical events as one Parquet file a day; readers get `{day: CanonicalPartition}`."""

    root: str

    def handle_output(self, context: dg.OutputContext, obj: Mapping[date, StagedPartition]) -> None:
        """Replace each day's file atomically."""
        tenant, surface = _names(context)
        for staged in obj.values():
            accept_partition(open_store(self.root), tenant, surface, staged)

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

    def handle_output(
        self, context: dg.OutputContext, obj: Mapping[date, RenderedDocument]
    ) -> None:
        """Store and verify each day's document, then make it the day's version."""
        store = open_store(self.root)
        for day, document in obj.items():
            accept(store, document, day=day, run_id=_run_id(context), now=datetime.now(UTC))

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

    def handle_output(self, context: dg.OutputContext, obj: Mapping[date, Release]) -> None:
        """Publish the days in order, so that the history names each; never an older window."""
        tenant, surface = _names(context)
        outcomes = {
            day: publish_release(self.root, tenant, surface, obj[day], run_id=_run_id(context))
            for day in sorted(obj)
        }
        metadata = outcome_metadata(*outcomes[max(outcomes)])
        if len(outcomes) > 1:  # an output has one set of metadata, whatever the number of its days
            metadata["outcomes"] = {str(day): outcome for day, (outcome, _) in outcomes.items()}
        context.add_output_metadata(metadata)

    def load_input(self, context: dg.InputContext) -> None:
        """Refuse: readers of the manifest read the file."""
        raise NotImplementedError(f"{context.asset_key.to_user_string()} is read as manifest.json")


def outcome_metadata(outcome: Outcome, live: Live) -> dict[str, Any]:
    """Return what the asset page of a manifest shows of a publish."""
    return {
        "outcome": outcome,
        "live_window_end": str(live.window.end) if live.window else "unknown",
        "generation": live.publication.generation if live.publication else 0,
    }


def publish_release(
    root: str, tenant: str, surface: str, release: Release, *, run_id: str
) -> tuple[Outcome, Live]:
    """Publish one day."""
    return publish(
        open_store(root),
        tenant=tenant,
        surface=surface,
        window=release.window,
        current=release.current,
        run_id=run_id,
    )


def _metadata(context: dg.OutputContext | None) -> Mapping[str, Any]:
    assert context is not None, "an asset is only ever read as an asset"  # noqa: S101
    return context.definition_metadata or {}


def _names(context: dg.OutputContext | None) -> tuple[str, str]:
    """Return tenant and surface of the asset."""
    metadata = _metadata(context)
    return str(metadata[TENANT]), str(metadata[SURFACE])


def _run_id(context: dg.OutputContext) -> str:
    return context.step_context.run_id
