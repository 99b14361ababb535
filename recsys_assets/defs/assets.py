"""The asset graph of one (tenant, surface).

Every asset follows write-audit-publish: a day is computed into a scratch directory, held to its
contract and guardrails, and only then handed to its IO manager and materialized. A day that fails
leaves its failed check and nothing else, and does not hold back the other days of its run.
"""

# No postponed annotations here: Dagster reads the type of `context` when an asset is declared.
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from functools import cache, partial
from pathlib import PurePosixPath
from typing import Any

import dagster as dg

from recsys_assets import contracts
from recsys_assets.audit.artifacts import audit_artifact
from recsys_assets.audit.audited import Audited
from recsys_assets.audit.candidates import Candidate, audit_candidate
from recsys_assets.audit.checks import checks_of
from recsys_assets.audit.drafts import drafts
from recsys_assets.audit.events import audit_events
from recsys_assets.audit.gates import DayGates
from recsys_assets.audit.release_gates import ReleaseGates
from recsys_assets.audit.shared import Shared
from recsys_assets.config import Surface
from recsys_assets.defs.automation import ANY_DAY, OF_LANDED, of_window, with_lists
from recsys_assets.defs.checks import check_spec
from recsys_assets.defs.internals import PRIORITY
from recsys_assets.defs.io_managers import SURFACE, TENANT
from recsys_assets.defs.keys import (
    EVENTS,
    MANIFEST,
    OWNERS,
    asset_key,
    partitions_of,
    tags_of,
)
from recsys_assets.defs.landed import reports_in
from recsys_assets.defs.metadata import as_metadata, column_schema
from recsys_assets.defs.write_audit_publish import write_audit_publish
from recsys_assets.documents import RenderedDocument
from recsys_assets.events.accepted import AcceptedDays, accept_day
from recsys_assets.events.days import ParsedDay
from recsys_assets.events.provenance import CANONICAL_FORMAT
from recsys_assets.events.sources import open_source
from recsys_assets.kinds import KINDS
from recsys_assets.live.latency import count_flip
from recsys_assets.operations.publish import (
    materialized,
    publish_and_compare,
    publish_candidate,
)
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.registry import stage_version
from recsys_assets.texts import as_code, as_markdown

CODE_VERSION = "1"  # of the artifacts: raise it when the same events would give other documents

# Days that one run of a backfill covers: starting a run costs as much as computing many days.
# Assets whose numbers differ are never put into the same run, and that is wanted: a day that fails
# one layer must not keep the next layer from the days that passed.
# Many: `guardrails.max_backfill_days` sees the whole range that way.
_DAYS_PER_RUN = {"events": 10_000, "artifacts": 9_999, "manifest": 9_998}


def build_surface(
    surface: Surface, *, root: str, shared: Shared, docs_url: str | None = None
) -> dg.Definitions:
    """Build the assets of one surface.

    Args:
        surface: its configuration.
        root: where everything is written.
        shared: what the assets of all surfaces share in this process.
        docs_url: where docs/ is served; None when it is not.
    """
    graph = _Graph(surface, root, partitions_of(surface), shared, docs_url)
    assets: list[dg.AssetSpec | dg.AssetsDefinition] = []
    if not surface.variant_of:
        assets += graph.of_events()
    assets += [graph.artifact(kind) for kind in surface.artifacts.kinds]
    assets += [graph.manifest(), graph.live()]
    return dg.Definitions(assets=assets)


class _Graph:
    """The assets of one surface; each method builds one."""

    def __init__(
        self,
        surface: Surface,
        root: str,
        partitions: dg.DailyPartitionsDefinition,
        shared: Shared,
        docs_url: str | None,
    ) -> None:
        self._surface = surface
        self._root = root
        self._store = open_store(root)
        self._partitions = partitions
        self._shared = shared
        self._docs_url = docs_url

    def of_events(self) -> Iterator[dg.AssetSpec | dg.AssetsDefinition]:
        """Build what the artifacts are made of, which variants share."""
        yield self.raw_events()
        yield self.canonical_events()
        if self._surface.catalog:
            yield self.catalog()
        if self._surface.items.deny:
            yield self.denied_items()

    def _key(self, name: str) -> dg.AssetKey:
        return asset_key(self._surface, name)

    def _names(self) -> dict[str, str]:
        """Return the metadata that the IO managers read."""
        surface = self._surface
        return {TENANT: surface.tenant, SURFACE: surface.surface}

    def _common(self, *, kinds: set[str]) -> dict[str, Any]:
        """Return what every asset of the surface has in common."""
        return {
            "group_name": self._surface.group,
            "partitions_def": self._partitions,
            "owners": OWNERS,
            "tags": tags_of(self._surface),
            "kinds": kinds,
        }

    def _asset(
        self, name: str, *, max_partitions_per_run: int, **details: Any
    ) -> Callable[..., Any]:
        """Return `dg.asset` with what the materialized assets have in common filled in."""
        key = self._key(name)
        with warnings.catch_warnings():
            # backfill_policy is beta in this version; what it is relied on for is held by a test.
            warnings.simplefilter("ignore", dg.BetaWarning)
            decorator: Callable[..., Any] = dg.asset(
                key=key,
                op_tags={PRIORITY: self._priority(name)},
                backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run),
                output_required=False,  # a day that fails its checks is not materialized
                check_specs=[
                    check_spec(key, check, docs_url=self._docs_url)
                    for check in checks_of(self._surface, name)
                ],
                **self._common(kinds=details.pop("kinds")),
                **details,
            )
        return decorator

    def _priority(self, name: str) -> str:
        """Return what goes first in a run over many surfaces: one is done before the next begins.

        What breaks the run then finds the ones before it published. What a base publishes does not
        wait for its variants.
        """
        if self._surface.variant_of:
            return "-1"
        # What waits for no events could begin at once: it takes its turn beside them.
        reads_events = name in KINDS and KINDS[name].reads == "events"
        return "2" if name == MANIFEST else "1" if reads_events else "0"

    def raw_events(self) -> dg.AssetSpec:
        """Declare the raw exposure events, which somebody else lands."""
        source = open_source(self._surface)
        return dg.AssetSpec(
            self._key("raw_events"),
            description=source.description,
            metadata=as_metadata(source.shown),
            **self._common(kinds={source.tag}),
        )

    def catalog(self) -> dg.AssetSpec:
        """Declare the item catalog, which somebody else keeps."""
        path = self._surface.catalog_path
        return dg.AssetSpec(
            self._key("catalog"),
            description=f"The item catalog {as_code(path)}: id, tags and, optionally, namespace.",
            metadata={"path": dg.MetadataValue.path(path)},
            **self._common(
                kinds={PurePosixPath(path.lower().removesuffix(".gz")).suffix.lstrip(".")}
            ),
        )

    def denied_items(self) -> dg.AssetSpec:
        """Declare the list of withdrawn items, which somebody else keeps."""
        path = self._surface.items.deny or ""
        return dg.AssetSpec(
            self._key("denied_items"),
            description=f"The items that are withdrawn, an id a line: {as_code(path)}.",
            metadata={"path": dg.MetadataValue.path(path)},
            **self._common(kinds={"file"}),
        )

    def canonical_events(self) -> dg.AssetsDefinition:
        """Build the asset that turns a day's raw lines into canonical events."""
        surface, store, shared, root = self._surface, self._store, self._shared, self._root

        @self._asset(
            EVENTS,
            deps=[self._key("raw_events")],
            automation_condition=OF_LANDED,
            io_manager_key="canonical_io",
            max_partitions_per_run=_DAYS_PER_RUN["events"],
            kinds={"polars", "parquet"},
            code_version=str(CANONICAL_FORMAT),
            description=(
                "A UTC day of exposure events: parsed, trimmed, redeliveries dropped, in source "
                "order. Refused lines are kept beside it with their reason."
            ),
            metadata={
                **self._names(),
                "dagster/column_schema": _schema_of_events(tuple(surface.source.further_columns)),
            },
        )
        def canonical_events(context: dg.AssetExecutionContext) -> Iterator[Any]:
            def save(parsed: ParsedDay) -> Mapping[str, Any]:
                accept_day(store, surface.place, parsed)
                return {}

            for report in reports_in(context.run.tags, surface):
                context.log_event(report.event(surface, root))
            gates = DayGates(store, surface, shared) if surface.gates.are_on else None
            with store.scratch() as scratch:
                audit = partial(
                    audit_events, store, surface, scratch=scratch, shared=shared, gates=gates
                )
                yield from write_audit_publish(context, surface, EVENTS, audit=audit, save=save)

        return canonical_events  # type: ignore[no-any-return]

    def artifact(self, name: str) -> dg.AssetsDefinition:
        """Build the asset of one artifact kind."""
        surface, store, shared = self._surface, self._store, self._shared
        kind = KINDS[name]
        of_events = kind.reads == "events"
        lists = self._lists(of_events)
        of_catalog = with_lists(*lists) if lists else OF_LANDED

        @self._asset(
            name,
            ins=self._events_in() if of_events else {},
            deps=[*([] if of_events else [self._key("catalog")]), *lists],
            automation_condition=self._automation(*lists) if of_events else of_catalog,
            io_manager_key="artifact_io",
            max_partitions_per_run=_DAYS_PER_RUN["artifacts"],
            kinds={surface.engine.type if of_events else "polars", "json"},
            code_version=CODE_VERSION,
            description=self._described(kind.text),
            metadata={
                **self._names(),
                "dagster/column_schema": _schema_of_kind(name),
                "options": dg.MetadataValue.json(surface.artifacts.options(name).model_dump()),
            },
        )
        def artifact(context: dg.AssetExecutionContext, **inputs: AcceptedDays) -> Iterator[Any]:
            def save(document: RenderedDocument) -> Mapping[str, Any]:
                run_id = context.run.run_id
                stage_version(store, document, run_id=run_id, now=datetime.now(UTC))
                return {}

            accepted = inputs.get(EVENTS, {})
            last = date.fromisoformat(context.partition_keys[-1])
            drafted = drafts(store, surface, kind, accepted, shared, last)

            with store.scratch() as scratch:

                def audit(day: date) -> Audited[RenderedDocument]:
                    window = [accepted.get(each) for each in surface.days_of_window(day)]
                    with shared.turns.taken(sum(each.events for each in window if each)):
                        return audit_artifact(store, surface, name, day, scratch, drafted)

                yield from write_audit_publish(context, surface, name, audit=audit, save=save)

        return artifact  # type: ignore[no-any-return]

    def manifest(self) -> dg.AssetsDefinition:
        """Build the asset that publishes a day: it flips what the online service reads."""
        surface, store, known = self._surface, self._store, self._shared.profiles

        @self._asset(
            MANIFEST,
            ins=self._events_in() if surface.artifacts.of("events") else {},
            deps=[self._key(kind) for kind in surface.artifacts.kinds],
            automation_condition=self._automation(),
            io_manager_key="manifest_io",
            # With the granularity of dagster.yaml: of the runs that publish this surface the queue
            # starts one at a time.
            pool=f"{surface.group}__publish",
            metadata=self._names(),
            max_partitions_per_run=_DAYS_PER_RUN["manifest"],
            kinds={"json"},
            code_version=CODE_VERSION,
            description=self._described(
                "The publish of a day: once every kind of it is verified, the live pointer is "
                "flipped to it, atomically, and never to an older window. What is live now stands "
                "on the page of `live`, and nowhere else."
            ),
        )
        def manifest(context: dg.AssetExecutionContext, **inputs: AcceptedDays) -> Iterator[Any]:
            accepted = inputs.get(EVENTS, {})
            last = date.fromisoformat(context.partition_keys[-1])

            def save(candidate: Candidate) -> Mapping[str, Any]:
                why = materialized(candidate, run_id=context.run.run_id)
                # Of many days only the last is compared: that costs more than a flip.
                if candidate.day == last:
                    return publish_and_compare(store, surface.place, candidate, why)
                return publish_candidate(store, surface.place, candidate, why).shown

            on = surface.gates.are_on
            gates = ReleaseGates(store, surface, last, known=known) if on else None
            yield from write_audit_publish(
                context,
                surface,
                MANIFEST,
                audit=lambda day: audit_candidate(store, surface, day, accepted, gates),
                save=save,
            )
            if len(context.partition_keys) == 1:  # those of a backfill landed long ago
                count_flip(store, surface, last, context.run.run_id)

        return manifest  # type: ignore[no-any-return]

    def _described(self, text: str) -> str:
        """Return what an asset is, and of a variant, whose events it is made of."""
        base = self._surface.variant_of
        return f"{text} A variant of {as_markdown(base)}: made of its events." if base else text

    def _lists(self, of_events: bool) -> list[dg.AssetKey]:
        """Return what decides which items an artifact lists, besides what it is computed from."""
        items = self._surface.items
        names = ["catalog"] if of_events and items.only_in_catalog else []
        return [self._key(name) for name in [*names, *(["denied_items"] if items.deny else [])]]

    def _automation(self, *lists: dg.AssetKey) -> dg.AutomationCondition[Any]:
        """Return when an asset that reads canonical events is materialized by itself."""
        if self._surface.window_days > 1:
            return of_window(self._key("raw_events"), self._key(EVENTS), *lists)
        return with_lists(*lists) if lists else ANY_DAY

    def live(self) -> dg.AssetSpec:
        """Declare what readers see now: the pointer, whichever day it names."""
        surface = self._surface
        path = self._store.uri(layout.manifest(surface.place))
        return dg.AssetSpec(
            self._key("live"),
            deps=[self._key(MANIFEST)],
            description=self._described(
                "What the online service reads now, whichever day it is of: the newest event shows "
                "it, and each event is a flip, also of a command in a shell. The daemon's sensor "
                "`flips` looks every half minute. The check `fresh` says whether it is new enough."
            ),
            metadata={"path": dg.MetadataValue.path(path)},
            **self._common(kinds={"json"}) | {"partitions_def": None},
        )

    def _events_in(self) -> dict[str, dg.AssetIn]:
        """Return the trailing window of canonical events; at the start of history it is shorter."""
        days = self._surface.window_days
        mapping = dg.TimeWindowPartitionMapping(start_offset=-(days - 1)) if days > 1 else None
        return {EVENTS: dg.AssetIn(self._key(EVENTS), partition_mapping=mapping)}


@cache  # most surfaces have the same
def _schema_of_events(further: tuple[str, ...]) -> dg.TableSchema:
    return column_schema(contracts.canonical_event(date.min, further))


@cache
def _schema_of_kind(name: str) -> dg.TableSchema:
    return column_schema(KINDS[name].contract)
