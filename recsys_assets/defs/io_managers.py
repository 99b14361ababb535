"""Where an accepted value goes, and what its readers get: events, artifacts, manifest.

By the time a value gets here it has passed its checks. An IO manager stores the value of one day; a
run of several days calls the same functions day by day (`defs/write_audit_publish.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from recsys_assets.audit.candidates import Candidate
from recsys_assets.defs.metadata import as_metadata
from recsys_assets.documents import RenderedDocument
from recsys_assets.events.accepted import AcceptedDay, accept_day, accepted_days
from recsys_assets.events.days import ParsedDay
from recsys_assets.operations.publish import materialized, publish_and_compare
from recsys_assets.places import Place
from recsys_assets.storage import open_store
from recsys_assets.storage.registry import stage_version

# Asset metadata that the IO managers read: an asset key cannot hold every name.
TENANT, SURFACE = "tenant", "surface"


class CanonicalIOManager(dg.ConfigurableIOManager):
    """Keeps canonical events as one Parquet file a day; readers get `{day: AcceptedDay}`."""

    root: str

    def handle_output(self, context: dg.OutputContext, obj: ParsedDay) -> None:
        """Replace the day's file atomically."""
        accept_day(open_store(self.root), _place(context), obj)

    def load_input(self, context: dg.InputContext) -> Mapping[date, AcceptedDay]:
        """Return the accepted days among those asked for; one that is not there is left out."""
        days = map(date.fromisoformat, context.asset_partition_keys)
        return accepted_days(open_store(self.root), _place(context.upstream_output), days)


class ArtifactIOManager(dg.ConfigurableIOManager):
    """Keeps artifact documents as immutable blobs."""

    root: str

    def handle_output(self, context: dg.OutputContext, obj: RenderedDocument) -> None:
        """Store and verify the document, then make it the day's version."""
        stage_version(open_store(self.root), obj, run_id=context.run_id, now=datetime.now(UTC))

    def load_input(self, context: dg.InputContext) -> None:
        """Refuse: manifest gathers what is staged itself, after it looked at what is live."""
        raise NotImplementedError(f"{context.asset_key.to_user_string()} is read as a document")


class ManifestIOManager(dg.ConfigurableIOManager):
    """Flips the live pointer."""

    root: str

    def handle_output(self, context: dg.OutputContext, obj: Candidate) -> None:
        """Publish the day, unless a later window is live, and show what changed."""
        store, place = open_store(self.root), _place(context)
        why = materialized(obj, run_id=context.run_id)
        context.add_output_metadata(as_metadata(publish_and_compare(store, place, obj, why)))

    def load_input(self, context: dg.InputContext) -> None:
        """Refuse: readers of the manifest read the file."""
        raise NotImplementedError(f"{context.asset_key.to_user_string()} is read as manifest.json")


def _place(context: dg.OutputContext | None) -> Place:
    assert context is not None, "an asset is only ever read as an asset"  # noqa: S101
    metadata: Mapping[str, Any] = context.definition_metadata or {}
    return Place(str(metadata[TENANT]), str(metadata[SURFACE]))
