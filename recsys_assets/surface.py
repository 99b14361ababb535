"""The asset graph of one (tenant, surface).

Every asset follows write-audit-publish: a day is computed into a scratch directory, held to its
contract and guardrails, and only then handed to its IO manager and materialized. A day that fails
leaves its failed check and nothing else, and does not hold back the other days of its run.
"""

# No postponed annotations here: Dagster reads the type of `context` when an asset is declared.
import hashlib
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import dagster as dg
import polars as pl

from recsys_assets import checks, contracts
from recsys_assets.compute.content_sim import normalise_tags
from recsys_assets.compute.cooc import count_cooccurrence
from recsys_assets.compute.implicit import count_user_exposures
from recsys_assets.compute.popularity import count_exposures
from recsys_assets.compute.session_seq import count_next_items
from recsys_assets.config import Surface
from recsys_assets.documents import DocumentHead, RenderedDocument, Window, list_text, render
from recsys_assets.errors import InputError, MissingPartitionError, RecsysAssetsError
from recsys_assets.events.catalog import read_catalog
from recsys_assets.events.partition import CANONICAL_FORMAT, StagedPartition, stage_partition
from recsys_assets.io_managers import (
    SEGMENT,
    SURFACE,
    TENANT,
    CanonicalPartition,
    Release,
    accept_partition,
    outcome_metadata,
    publish_release,
)
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.registry import StagedRef, accept, verify_blob

T = TypeVar("T")
Days = Mapping[date, CanonicalPartition]

CODE_VERSION = "1"  # of the artifacts: raise it when the same events would give other documents
OWNERS = ["team:recsys"]

# Days that one run of a backfill covers: starting a run costs as much as computing many days.
# Assets whose numbers differ are never put into the same run, and that is wanted: a day that fails
# one layer must not keep the next layer from the days that passed.
_DAYS_PER_RUN = {"events": 400, "artifacts": 399, "manifest": 398}

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Audited(Generic[T]):
    """One day of one asset: what was staged, if anything, and what its checks found."""

    verdicts: Sequence[checks.Verdict]
    value: T | None = None
    data_version: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether every check that blocks has passed."""
        return self.value is not None and all(
            verdict.passed or verdict.check == checks.WINDOW_IS_COMPLETE
            for verdict in self.verdicts
        )


@dataclass(frozen=True)
class Computed:
    """An artifact frame before its contract, other verdicts found, and numbers to show."""

    frame: pl.LazyFrame
    verdicts: Sequence[checks.Verdict] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """An artifact that was held to its contract; `text` is its list, nothing when it failed."""

    source_hash: str
    verdicts: Sequence[checks.Verdict]
    text: Iterable[bytes]
    metadata: Mapping[str, Any]


def build_surface(surface: Surface, *, root: str) -> dg.Definitions:
    """Build the assets of one surface.

    Args:
        surface: its configuration.
        root: where everything is written.
    """
    partitions = dg.DailyPartitionsDefinition(
        start_date=datetime.combine(surface.start_date, datetime.min.time()),
        end_date=datetime.combine(surface.end_date, datetime.min.time())
        if surface.end_date
        else None,
    )
    graph = _Graph(surface, root, partitions)
    assets: list[dg.AssetSpec | dg.AssetsDefinition] = [
        graph.raw_events(),
        graph.canonical_events(),
    ]
    if surface.catalog:
        assets.append(graph.catalog())
    assets += [graph.artifact(kind) for kind in surface.artifacts.kinds]
    assets.append(graph.manifest())
    return dg.Definitions(assets=assets)


def asset_key(surface: Surface, name: str) -> dg.AssetKey:
    """Return `[tenant, surface, name]`; Dagster allows fewer characters in it than a folder has."""
    parts = (re.sub(r"[^A-Za-z0-9_.-]", "_", part) for part in (surface.tenant, surface.surface))
    return dg.AssetKey([*parts, name])


def event_kinds(surface: Surface) -> tuple[str, ...]:
    """Return the enabled kinds that are computed from events."""
    return tuple(kind for kind in surface.artifacts.kinds if kind != "content_sim")


def source_hash(window: Days) -> str:
    """Fingerprint the accepted days that an artifact is computed from."""
    if len(window) == 1:
        return next(iter(window.values())).fingerprint
    lines = "\n".join(f"{day} {window[day].fingerprint}" for day in sorted(window))
    return hashlib.sha256(lines.encode()).hexdigest()


class _Graph:
    """The assets of one surface; each method builds one."""

    def __init__(
        self, surface: Surface, root: str, partitions: dg.DailyPartitionsDefinition
    ) -> None:
        self._surface = surface
        self._root = root
        self._partitions = partitions

    def _key(self, name: str) -> dg.AssetKey:
        return asset_key(self._surface, name)

    def _names(self) -> dict[str, str]:
        """Return the metadata that the IO managers read."""
        surface = self._surface
        return {TENANT: surface.tenant, SURFACE: surface.surface, SEGMENT: surface.segment}

    def _shared(self, *, kinds: set[str]) -> dict[str, Any]:
        """Return what every asset of the surface has in common."""
        return {
            "group_name": self._surface.group,
            "partitions_def": self._partitions,
            "owners": OWNERS,
            "tags": {
                "tenant": _tag_value(self._surface.tenant),
                "surface": _tag_value(self._surface.surface),
            },
            "kinds": kinds,
        }

    def _asset(
        self, name: str, check_names: Sequence[str], *, max_partitions_per_run: int, **details: Any
    ) -> Callable[..., Any]:
        """Return `dg.asset` with what the materialized assets have in common filled in."""
        key = self._key(name)
        with warnings.catch_warnings():
            # backfill_policy is beta in this version; what it is relied on for is held by a test.
            warnings.simplefilter("ignore", dg.BetaWarning)
            decorator: Callable[..., Any] = dg.asset(
                key=key,
                backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run),
                output_required=False,  # a day that fails its checks is not materialized
                check_specs=[checks.check_spec(key, check) for check in check_names],
                **self._shared(kinds=details.pop("kinds")),
                **details,
            )
        return decorator

    def raw_events(self) -> dg.AssetSpec:
        """Declare the raw exposure events, which somebody else lands."""
        source = self._surface.source
        return dg.AssetSpec(
            self._key("raw_events"),
            description=(
                f"Raw exposure events v1 as they land: `{source.pattern}` below `{source.path}`. "
                "One JSON object a line; required are v, ts, tenant, surface, session_id, item_id."
            ),
            metadata={"pattern": source.pattern, "path": dg.MetadataValue.path(source.path)},
            **self._shared(kinds={"json"}),
        )

    def catalog(self) -> dg.AssetSpec:
        """Declare the item catalog, which somebody else keeps."""
        assert self._surface.catalog is not None  # noqa: S101 (the caller asked)
        path = self._surface.catalog.path
        return dg.AssetSpec(
            self._key("catalog"),
            description=f"The item catalog `{path}`: id, tags and, optionally, namespace.",
            metadata={"path": dg.MetadataValue.path(path)},
            **self._shared(kinds={Path(path).suffix.lstrip(".").lower()}),
        )

    def canonical_events(self) -> dg.AssetsDefinition:
        """Build the asset that turns a day's raw lines into canonical events."""
        surface, root, key = self._surface, self._root, self._key("canonical_events")

        @self._asset(
            "canonical_events",
            [checks.INPUTS, checks.CONTRACT, *checks.EVENT_GUARDRAILS],
            deps=[self._key("raw_events")],
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
                "dagster/column_schema": _column_schema(contracts.canonical_event(date.min)),
            },
        )
        def canonical_events(context: dg.AssetExecutionContext) -> Iterator[Any]:
            store = open_store(root)

            def accept_one(_: date, staged: StagedPartition) -> dict[str, Any]:
                accept_partition(store, surface.tenant, surface.surface, staged)
                return {}

            with store.scratch() as scratch:
                yield from _write_audit_publish(
                    context,
                    key,
                    audit=lambda day: _audit_events(surface, root, day, scratch),
                    accept_one=accept_one,
                )

        return canonical_events  # type: ignore[no-any-return]

    def artifact(self, kind: str) -> dg.AssetsDefinition:
        """Build the asset of one artifact kind."""
        surface, root, key = self._surface, self._root, self._key(kind)
        of_events = kind != "content_sim"
        names = [checks.INPUTS, checks.CONTRACT, checks.MAX_ARTIFACT_BYTES]
        if kind == "cooc":
            names.append(checks.MAX_OVERSIZED_SESSION_SHARE)
        if of_events and surface.window_days > 1:
            names.append(checks.WINDOW_IS_COMPLETE)
        contract = contracts.ARTIFACTS[kind]

        @self._asset(
            kind,
            names,
            ins={"canonical_events": self._events_in()} if of_events else {},
            deps=[] if of_events else [self._key("catalog")],
            io_manager_key="artifact_io",
            max_partitions_per_run=_DAYS_PER_RUN["artifacts"],
            kinds={"polars", "json"},
            code_version=CODE_VERSION,
            description=_DESCRIPTIONS[kind],
            metadata={
                **self._names(),
                "dagster/column_schema": _column_schema(contract),
                "options": dg.MetadataValue.json(getattr(surface.artifacts, kind).model_dump()),
            },
        )
        def artifact(context: dg.AssetExecutionContext, **inputs: Days) -> Iterator[Any]:
            store = open_store(root)
            compute = _from_events(surface, kind, inputs) if of_events else _from_catalog(surface)

            def accept_one(day: date, document: RenderedDocument) -> dict[str, Any]:
                accept(store, document, day=day, run_id=context.run.run_id, now=datetime.now(UTC))
                return {}

            with store.scratch() as scratch:
                yield from _write_audit_publish(
                    context,
                    key,
                    audit=lambda day: _audit_artifact(surface, root, kind, day, scratch, compute),
                    accept_one=accept_one,
                )

        return artifact  # type: ignore[no-any-return]

    def manifest(self) -> dg.AssetsDefinition:
        """Build the asset that publishes a day: it flips what the online service reads."""
        surface, root, key = self._surface, self._root, self._key("manifest")
        ins = {kind: dg.AssetIn(key=self._key(kind)) for kind in surface.artifacts.kinds}
        if event_kinds(surface):
            ins["canonical_events"] = self._events_in()

        @self._asset(
            "manifest",
            [checks.PUBLISHABLE],
            ins=ins,
            io_manager_key="manifest_io",
            metadata=self._names(),
            max_partitions_per_run=_DAYS_PER_RUN["manifest"],
            kinds={"json"},
            code_version=CODE_VERSION,
            description=(
                "The live pointer of the surface: which version of each kind the online service "
                "reads. Flipped atomically once every kind of the day is verified, and never to an "
                "older window."
            ),
        )
        def manifest(context: dg.AssetExecutionContext, **inputs: Any) -> Iterator[Any]:
            events: Days = inputs.pop("canonical_events", {})

            def accept_one(_: date, release: Release) -> dict[str, Any]:
                run_id = context.run.run_id
                return outcome_metadata(
                    *publish_release(root, surface.tenant, surface.surface, release, run_id=run_id)
                )

            yield from _write_audit_publish(
                context,
                key,
                audit=lambda day: _audit_release(surface, root, day, inputs, events),
                accept_one=accept_one,
            )

        return manifest  # type: ignore[no-any-return]

    def _events_in(self) -> dg.AssetIn:
        """Return the trailing window of canonical events; at the start of history it is shorter."""
        days = self._surface.window_days
        return dg.AssetIn(
            key=self._key("canonical_events"),
            partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-(days - 1))
            if days > 1
            else None,
        )


_DESCRIPTIONS = {
    "popularity": 'Most exposed items of the window, by count; serves "popular now" shelves.',
    "cooc": 'Neighbours of each item by shared sessions; serves "seen together" shelves.',
    "implicit": "How often each user was shown each item: implicit feedback.",
    "session_seq": "Which items came next in each user's sequence of events.",
    "content_sim": "The tags of each catalog item; serves similarity by content.",
}


def _write_audit_publish(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    *,
    audit: Callable[[date], Audited[T]],
    accept_one: Callable[[date, T], Mapping[str, Any]],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Audit every day of the run, then materialize exactly those that passed.

    When all pass, they go through the IO manager. Dagster materializes either all days of a run or
    none of them that way, so when some fail, the good ones are accepted and logged one by one here,
    and the failed checks end the step.
    """
    days = [date.fromisoformat(key) for key in context.partition_keys]
    audited: dict[date, Audited[T]] = {}
    for day in days:
        audited[day] = _audit(audit, day)
        _LOG.info("%s %s: %d of %d days", key.to_user_string(), day, len(audited), len(days))
    results = checks.check_results({day: found.verdicts for day, found in audited.items()})
    values = {day: found.value for day, found in audited.items() if found.value is not None}
    if all(found.accepted for found in audited.values()):
        single = audited[days[0]] if len(days) == 1 else None
        if single is None:
            for day, found in audited.items():
                context.add_asset_metadata(found.metadata, partition_key=day.isoformat())
        yield dg.MaterializeResult(
            value=values,
            metadata=single.metadata if single else {},
            data_version=dg.DataVersion(single.data_version) if single else None,
            check_results=results,
        )
        return
    for day, found in audited.items():
        if found.accepted:
            accepted = accept_one(day, values[day])
            context.log_event(
                dg.AssetMaterialization(
                    key,
                    partition=day.isoformat(),
                    metadata={**found.metadata, **accepted},
                    tags={"dagster/data_version": found.data_version},
                )
            )
    yield from results


def _audit(audit: Callable[[date], Audited[T]], day: date) -> Audited[T]:
    try:
        return audit(day)
    except InputError as error:
        return Audited(
            [checks.Verdict(checks.INPUTS, passed=False, description=str(error), failures=1)]
        )


def _audit_events(
    surface: Surface, root: str, day: date, scratch: Path
) -> Audited[StagedPartition]:
    store = open_store(root)
    staged = stage_partition(surface, day, scratch=scratch)
    rejected = layout.rejected(surface.tenant, surface.surface, day)
    if staged.rejected_path:
        # Kept whether or not the day passes: it is what one needs to see when it does not.
        store.replace(rejected, staged.rejected_path)
    else:
        store.delete(rejected)
    distinct = staged.count_distinct()
    metadata: dict[str, Any] = {
        "dagster/row_count": staged.events,
        "dagster/uri": store.uri(layout.canonical(surface.tenant, surface.surface, day)),
        "sessions": distinct["session_id"],
        "users": distinct["user_id"],
        "items": distinct["item_id"],
        "refused": staged.refused.total(),
        "refused_by_reason": dg.MetadataValue.json(dict(sorted(staged.refused.items()))),
        "redelivered": staged.redelivered,
        "outside_window": staged.outside_window,
        "other_surface": staged.other_surface,
        "raw_files": dg.MetadataValue.json([file.name for file in staged.files]),
        "raw_bytes": sum(file.size_bytes for file in staged.files),
        "size_bytes": staged.path.stat().st_size,
        "seconds": round(staged.seconds, 3),
        "fingerprint": staged.fingerprint,
    }
    if staged.rejected_path:
        metadata["rejected"] = dg.MetadataValue.url(store.uri(rejected))
    return Audited(
        [
            checks.Verdict(checks.INPUTS, passed=True, numbers={"raw_files": len(staged.files)}),
            checks.hold_groups_to_contract(contracts.canonical_event(day), staged.groups()),
            *checks.judge_events(surface, staged, distinct),
        ],
        staged,
        staged.fingerprint,
        metadata,
    )


_Compute = Callable[[date], Judged]


def _judge(kind: str, source: str, computed: Computed) -> Judged:
    """Collect an artifact and hold it to its contract."""
    frame = computed.frame.collect(engine="streaming")
    verdict = checks.hold_to_contract(contracts.ARTIFACTS[kind], frame)
    metadata = {
        "dagster/row_count": frame.height,
        frame.columns[0].replace("_id", "s"): frame.to_series(0).n_unique(),
        **computed.metadata,
    }
    # A document of a broken frame would be meaningless, or impossible.
    text = list_text(frame, kind) if verdict.passed else ()
    return Judged(source, [verdict, *computed.verdicts], text, metadata)


def _from_events(surface: Surface, kind: str, inputs: Mapping[str, Days]) -> _Compute:
    def compute(day: date) -> Judged:
        wanted = _window_days(surface, day)
        window = {
            day: inputs["canonical_events"][day]
            for day in wanted
            if day in inputs["canonical_events"]
        }
        if day not in window:
            raise MissingPartitionError(
                f"{surface.name} {day} has no accepted canonical events: materialize "
                "canonical_events of that day first, and look at its failed checks if it fails"
            )
        computed = _COMPUTE[kind](surface, pl.concat([part.frame for part in window.values()]))
        missing = [str(day) for day in wanted if day not in window]
        gap = checks.Verdict(
            checks.WINDOW_IS_COMPLETE,
            passed=not missing,
            description=f"the window lacks {', '.join(missing)}" if missing else "",
            failures=len(missing),
        )
        with_gap = Computed(
            computed.frame,
            [*computed.verdicts, *([gap] if surface.window_days > 1 else [])],
            {**computed.metadata, **({"missing_days": ", ".join(missing)} if missing else {})},
        )
        return _judge(kind, source_hash(window), with_gap)

    return compute


def _from_catalog(surface: Surface) -> _Compute:
    assert surface.catalog is not None  # noqa: S101 (the configuration's rule)
    assert surface.artifacts.content_sim is not None  # noqa: S101
    path, max_items = Path(surface.catalog.path), surface.artifacts.content_sim.max_items

    @cache  # only the head of the document belongs to a day: the rest is made once a run
    def read() -> Judged:
        snapshot = read_catalog(path)
        tags = normalise_tags(snapshot.frame.lazy(), surface=surface.surface, max_items=max_items)
        computed = Computed(tags, metadata={"catalog_rows": snapshot.frame.height})
        judged = _judge("content_sim", snapshot.fingerprint, computed)
        return replace(judged, text=list(judged.text))

    return lambda _: read()


def _window_days(surface: Surface, day: date) -> list[date]:
    """Return the days of the trailing window, oldest first, from the start of history on."""
    days = [day - timedelta(days=back) for back in reversed(range(surface.window_days))]
    return [each for each in days if each >= surface.start_date]


def _popularity(surface: Surface, events: pl.LazyFrame) -> Computed:
    options = surface.artifacts.popularity
    assert options is not None  # noqa: S101 (only enabled kinds are built)
    return Computed(count_exposures(events, top_n=options.top_n))


def _cooc(surface: Surface, events: pl.LazyFrame) -> Computed:
    options = surface.artifacts.cooc
    assert options is not None  # noqa: S101
    found = count_cooccurrence(
        events,
        max_neighbours=options.max_neighbours,
        min_support=options.min_support,
        max_items=options.max_items,
        max_items_per_session=surface.guardrails.max_items_per_session,
    )
    share = found.oversized_sessions / found.sessions if found.sessions else 0.0
    return Computed(
        found.neighbours,
        [checks.at_most(surface.guardrails, checks.MAX_OVERSIZED_SESSION_SHARE, share)],
        {"oversized_sessions": found.oversized_sessions},
    )


def _implicit(surface: Surface, events: pl.LazyFrame) -> Computed:
    options = surface.artifacts.implicit
    assert options is not None  # noqa: S101
    return Computed(count_user_exposures(events, top_n=options.top_n))


def _session_seq(surface: Surface, events: pl.LazyFrame) -> Computed:
    options = surface.artifacts.session_seq
    assert options is not None  # noqa: S101
    return Computed(count_next_items(events, top_n=options.top_n))


_COMPUTE: Mapping[str, Callable[[Surface, pl.LazyFrame], Computed]] = {
    "popularity": _popularity,
    "cooc": _cooc,
    "implicit": _implicit,
    "session_seq": _session_seq,
}


def _audit_artifact(
    surface: Surface, root: str, kind: str, day: date, scratch: Path, compute: _Compute
) -> Audited[RenderedDocument]:
    started = time.monotonic()
    judged = compute(day)
    verdicts = [checks.Verdict(checks.INPUTS, passed=True), *judged.verdicts]
    if not judged.text:
        return Audited(verdicts)
    head = DocumentHead(
        kind,
        surface.tenant,
        surface.surface,
        surface.segment,
        Window.ending_with(day, days=surface.window_days),
    )
    document = render(
        judged.text,
        head,
        scratch / f"{kind}.{day}.json",
        source_hash=judged.source_hash,
        built_at=datetime.now(UTC),
    )
    size = checks.at_most(surface.guardrails, checks.MAX_ARTIFACT_BYTES, document.size_bytes)
    uri = open_store(root).uri(layout.blob(surface.tenant, surface.surface, kind, document.version))
    return Audited(
        [*verdicts, size],
        document,
        document.version,
        {
            **judged.metadata,
            "dagster/uri": uri,
            "version": document.version,
            "source_hash": judged.source_hash,
            "size_bytes": document.size_bytes,
            "seconds": round(time.monotonic() - started, 3),
        },
    )


def _audit_release(
    surface: Surface,
    root: str,
    day: date,
    staged: Mapping[str, Mapping[date, StagedRef]],
    events: Days,
) -> Audited[Release]:
    """Gather the day's staged versions and find out whether they may be published."""
    store = open_store(root)
    window = {each: events[each] for each in _window_days(surface, day) if each in events}
    expected = source_hash(window) if day in window else None
    problems: list[dict[str, str]] = []
    current: dict[str, str] = {}
    for kind in surface.artifacts.kinds:
        ref = staged[kind].get(day)
        problem = None
        if ref is None:
            problem = f"no version is staged: materialize {kind} of the day"
        elif kind in event_kinds(surface) and ref.source_hash != expected:
            problem = f"made of other events than are accepted now: materialize {kind} of the day"
        else:
            try:
                verify_blob(store, store.key(ref.uri), ref.version)
            except RecsysAssetsError as error:
                problem = str(error)
        if problem:
            problems.append({"kind": kind, "problem": problem})
        elif ref:
            current[kind] = ref.uri
    if problems:
        text = "; ".join(f"{found['kind']}: {found['problem']}" for found in problems)
        verdict = checks.Verdict(
            checks.PUBLISHABLE,
            passed=False,
            description=text,
            failures=len(problems),
            rows=problems,
        )
        return Audited([verdict])
    versions = hashlib.sha256("\n".join(sorted(current.values())).encode()).hexdigest()
    uri = store.uri(layout.manifest(surface.tenant, surface.surface))
    return Audited(
        [checks.Verdict(checks.PUBLISHABLE, passed=True, numbers={"kinds": len(current)})],
        Release(Window.ending_with(day, days=surface.window_days), current),
        versions,
        {"dagster/uri": uri, "current": dg.MetadataValue.json(current)},
    )


def _column_schema(contract: Any) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable,
                    unique=column.unique,
                    other=[check.name or check.error or "" for check in column.checks],
                ),
            )
            for name, column in contract.columns.items()
        ],
        constraints=dg.TableConstraints(other=[check.name or "" for check in contract.checks]),
    )


def _tag_value(text: str) -> str:
    """Return text as a Dagster tag value, which is at most 63 of a few characters."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:63]
