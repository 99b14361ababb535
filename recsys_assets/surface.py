"""The asset graph of one (tenant, surface).

Every asset follows write-audit-publish: a day is computed into a scratch directory, held to its
contract and guardrails, and only then handed to its IO manager and materialized. A day that fails
leaves its failed check and nothing else, and does not hold back the other days of its run.
"""

# No postponed annotations here: Dagster reads the type of `context` when an asset is declared.
import logging
import re
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import UTC, date, datetime
from functools import partial
from pathlib import PurePosixPath
from threading import Thread
from typing import Any, TypeVar

import dagster as dg

from recsys_assets import checks, contracts
from recsys_assets.audits import (
    Audited,
    Days,
    T,
    audit_artifact,
    audit_events,
    audit_release,
    event_kinds,
    judge_from_catalog,
    judge_from_events,
)
from recsys_assets.automation import ANY_DAY, of_window
from recsys_assets.config import ContentSim, Surface
from recsys_assets.errors import InputError
from recsys_assets.events.partition import CANONICAL_FORMAT
from recsys_assets.io_managers import (
    SURFACE,
    TENANT,
    Release,
    accept_document,
    accept_partition,
    changes,
    materialized,
    publish_release,
)
from recsys_assets.operations.freshness import longest_without_a_day
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.publications import read_live

CODE_VERSION = "1"  # of the artifacts: raise it when the same events would give other documents
OWNERS = ["team:recsys"]

# Days that one run of a backfill covers: starting a run costs as much as computing many days.
# Assets whose numbers differ are never put into the same run, and that is wanted: a day that fails
# one layer must not keep the next layer from the days that passed.
# Many: `guardrails.max_backfill_days` sees the whole range that way.
_DAYS_PER_RUN = {"events": 10_000, "artifacts": 9_999, "manifest": 9_998}

# Days of a run that are audited at the same time, if the last one took less than so many seconds.
_AUDITS_AT_ONCE = 2
_SHORT_S = 1.0

# Run monitoring reads this tag, in seconds, each time it looks at a run.
_MAX_RUNTIME = "dagster/max_runtime"

_LOG = logging.getLogger(__name__)

U = TypeVar("U")


def build_surface(surface: Surface, *, root: str, docs_url: str | None = None) -> dg.Definitions:
    """Build the assets of one surface.

    Args:
        surface: its configuration.
        root: where everything is written.
        docs_url: where docs/ is served; None when it is not.
    """
    partitions = dg.DailyPartitionsDefinition(
        start_date=datetime.combine(surface.start_date, datetime.min.time()),
        end_date=datetime.combine(surface.end_date, datetime.min.time())
        if surface.end_date
        else None,
    )
    graph = _Graph(surface, root, partitions, docs_url)
    assets: list[dg.AssetSpec | dg.AssetsDefinition] = [
        graph.raw_events(),
        graph.canonical_events(),
    ]
    if surface.catalog:
        assets.append(graph.catalog())
    assets += [graph.artifact(kind) for kind in surface.artifacts.kinds]
    assets += [graph.manifest(), graph.live()]
    return dg.Definitions(assets=assets)


def asset_key(surface: Surface, name: str) -> dg.AssetKey:
    """Return `[tenant, surface, name]`; Dagster allows fewer characters in it than a folder has."""
    parts = (re.sub(r"[^A-Za-z0-9_.-]", "_", part) for part in (surface.tenant, surface.surface))
    return dg.AssetKey([*parts, name])


def asset_names(surface: Surface) -> tuple[str, ...]:
    """Return the names of the assets that are materialized, each after those it reads."""
    return ("canonical_events", *surface.artifacts.kinds, "manifest")


class _Graph:
    """The assets of one surface; each method builds one."""

    def __init__(
        self,
        surface: Surface,
        root: str,
        partitions: dg.DailyPartitionsDefinition,
        docs_url: str | None,
    ) -> None:
        self._surface = surface
        self._store = open_store(root)
        self._partitions = partitions
        self._docs_url = docs_url

    def _key(self, name: str) -> dg.AssetKey:
        return asset_key(self._surface, name)

    def _names(self) -> dict[str, str]:
        """Return the metadata that the IO managers read."""
        surface = self._surface
        return {TENANT: surface.tenant, SURFACE: surface.surface}

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
                check_specs=[
                    checks.check_spec(key, check, docs_url=self._docs_url) for check in check_names
                ],
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
        path = self._surface.catalog_path
        return dg.AssetSpec(
            self._key("catalog"),
            description=f"The item catalog `{path}`: id, tags and, optionally, namespace.",
            metadata={"path": dg.MetadataValue.path(path)},
            **self._shared(kinds={PurePosixPath(path).suffix.lstrip(".").lower()}),
        )

    def canonical_events(self) -> dg.AssetsDefinition:
        """Build the asset that turns a day's raw lines into canonical events."""
        surface, store, key = self._surface, self._store, self._key("canonical_events")

        @self._asset(
            "canonical_events",
            [checks.INPUTS, checks.CONTRACT, *checks.EVENT_GUARDRAILS],
            deps=[self._key("raw_events")],
            automation_condition=ANY_DAY,
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
            with store.scratch() as scratch:
                yield from _write_audit_publish(
                    context,
                    key,
                    surface,
                    audit=lambda day: audit_events(store, surface, day, scratch),
                    accept=lambda staged: accept_partition(
                        store, surface.tenant, surface.surface, staged
                    ),
                )

        return canonical_events  # type: ignore[no-any-return]

    def artifact(self, kind: str) -> dg.AssetsDefinition:
        """Build the asset of one artifact kind."""
        surface, store, key = self._surface, self._store, self._key(kind)
        options = surface.artifacts.options(kind)
        of_events = kind in event_kinds(surface)
        names = [checks.INPUTS, checks.CONTRACT, checks.MAX_ARTIFACT_BYTES]
        if kind == "cooc":
            names.append(checks.MAX_OVERSIZED_SESSION_SHARE)
        if of_events and surface.window_days > 1:
            names.append(checks.WINDOW_IS_COMPLETE)
        contract = contracts.ARTIFACTS[kind]

        @self._asset(
            kind,
            names,
            ins=self._events_in() if of_events else {},
            deps=[] if of_events else [self._key("catalog")],
            automation_condition=self._automation() if of_events else ANY_DAY,
            io_manager_key="artifact_io",
            max_partitions_per_run=_DAYS_PER_RUN["artifacts"],
            kinds={"polars", "json"},
            code_version=CODE_VERSION,
            description=_DESCRIPTIONS[kind],
            metadata={
                **self._names(),
                "dagster/column_schema": _column_schema(contract),
                "options": dg.MetadataValue.json(options.model_dump()),
            },
        )
        def artifact(context: dg.AssetExecutionContext, **inputs: Days) -> Iterator[Any]:
            judge = (
                judge_from_catalog(surface, options)
                if isinstance(options, ContentSim)
                else judge_from_events(store, surface, kind, options, inputs["canonical_events"])
            )
            with store.scratch() as scratch:
                yield from _write_audit_publish(
                    context,
                    key,
                    surface,
                    audit=lambda day: audit_artifact(store, surface, kind, day, scratch, judge),
                    accept=lambda document: accept_document(
                        store, document, run_id=context.run.run_id
                    ),
                )

        return artifact  # type: ignore[no-any-return]

    def manifest(self) -> dg.AssetsDefinition:
        """Build the asset that publishes a day: it flips what the online service reads."""
        surface, store, key = self._surface, self._store, self._key("manifest")

        @self._asset(
            "manifest",
            [checks.PUBLISHABLE],
            ins=self._events_in() if event_kinds(surface) else {},
            deps=[self._key(kind) for kind in surface.artifacts.kinds],
            automation_condition=self._automation(),
            io_manager_key="manifest_io",
            # With the granularity of dagster.yaml: of the runs that publish this surface the queue
            # starts one at a time.
            pool=f"{surface.group}__publish",
            metadata=self._names(),
            freshness_policy=self._freshness_policy(),
            max_partitions_per_run=_DAYS_PER_RUN["manifest"],
            kinds={"json"},
            code_version=CODE_VERSION,
            description=(
                "The live pointer of the surface: which version of each kind the online service "
                "reads. Flipped atomically once every kind of the day is verified, and never to an "
                "older window."
            ),
        )
        def manifest(context: dg.AssetExecutionContext, **inputs: Days) -> Iterator[Any]:
            events = inputs.get("canonical_events", {})
            names = (surface.tenant, surface.surface)
            before = read_live(store, *names)
            flipped: list[tuple[Release, Mapping[str, Any]]] = []

            def accept(release: Release) -> Mapping[str, Any]:
                why = materialized(release, run_id=context.run.run_id)
                shown = publish_release(store, *names, release, why)
                if shown["flipped"]:
                    flipped[:] = [(release, shown)]
                return shown

            yield from _write_audit_publish(
                context,
                key,
                surface,
                gate=checks.PUBLISHABLE,
                audit=lambda day: audit_release(store, surface, day, events),
                accept=accept,
            )
            # Of many days, only what the run as a whole changed: comparing costs more than a flip.
            for release, shown in flipped:
                context.log_event(
                    dg.AssetObservation(
                        key,
                        partition=str(release.day),
                        metadata=changes(store, before, release, shown),
                        description="What this run changed, all its days together.",
                    )
                )

        return manifest  # type: ignore[no-any-return]

    def _automation(self) -> dg.AutomationCondition[dg.AssetKey]:
        """Return when an asset that reads canonical events is materialized by itself."""
        if self._surface.window_days == 1:
            return ANY_DAY
        return of_window(self._key("raw_events"), self._key("canonical_events"))

    def live(self) -> dg.AssetSpec:
        """Declare what readers see now: the pointer, whichever day it names."""
        surface = self._surface
        path = self._store.uri(layout.manifest(surface.tenant, surface.surface))
        return dg.AssetSpec(
            self._key("live"),
            deps=[self._key("manifest")],
            description=(
                "What the online service reads now, whichever day it is of. Flipped by `manifest`, "
                "a rollback, a pin and a release. Its check `fresh` says whether it is new enough."
            ),
            metadata={"path": dg.MetadataValue.path(path)},
            **self._shared(kinds={"json"}) | {"partitions_def": None},
        )

    def _freshness_policy(self) -> dg.FreshnessPolicy | None:
        """Return a policy that is late rather than wrong; the check `fresh` knows which day."""
        longest = longest_without_a_day(self._surface, now=datetime.now(UTC))
        return dg.FreshnessPolicy.time_window(fail_window=longest) if longest else None

    def _events_in(self) -> dict[str, dg.AssetIn]:
        """Return the trailing window of canonical events; at the start of history it is shorter."""
        days = self._surface.window_days
        mapping = dg.TimeWindowPartitionMapping(start_offset=-(days - 1)) if days > 1 else None
        return {
            "canonical_events": dg.AssetIn(self._key("canonical_events"), partition_mapping=mapping)
        }


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
    surface: Surface,
    *,
    gate: str = checks.INPUTS,
    audit: Callable[[date], Audited[T]],
    accept: Callable[[T], Mapping[str, Any]],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Audit the run's days, and accept and materialize exactly those that pass.

    A single day goes through the IO manager. Dagster materializes either all days of a run or none
    of them that way, and with one data version; so the days of a longer run are accepted and logged
    one by one, each as soon as it passed, and the failed checks end the step.

    `gate` is the asset's check that says when there are more days than one run may cover.
    """
    _limit_run_time(context, surface.max_run_minutes)
    days = [date.fromisoformat(key) for key in context.partition_keys]
    verdicts: dict[date, Sequence[checks.Verdict]] = {}
    too_many = checks.too_many_days(surface.guardrails, gate, days)
    if too_many:
        yield from checks.check_results({days[0]: [too_many]})
        return
    for day, found in _audited(audit, days):
        verdicts[day] = found.verdicts
        _LOG.info("%s %s: %d of %d days", key.to_user_string(), day, len(verdicts), len(days))
        if found.value is None or not found.accepted:
            continue
        if len(days) == 1:
            yield dg.MaterializeResult(
                value=found.value,
                metadata=found.metadata,
                data_version=dg.DataVersion(found.data_version),
                check_results=checks.check_results(verdicts),
            )
            return
        metadata = {**found.metadata, **accept(found.value)}
        tags = {"dagster/data_version": found.data_version}
        context.log_event(
            dg.AssetMaterialization(key, partition=str(day), metadata=metadata, tags=tags)
        )
    yield from checks.check_results(verdicts)


def _limit_run_time(context: dg.AssetExecutionContext, minutes: int) -> None:
    """Tell run monitoring when to end the run: whoever launched it wins, then the largest surface.

    The run itself says so, because a backfill from the UI gives its runs no tags of ours.
    """
    if _MAX_RUNTIME in context.run.tags:  # as they were when the run began
        return
    run = context.instance.get_run_by_id(context.run.run_id)
    limit = minutes * 60
    if run and limit > int(run.tags.get(_MAX_RUNTIME, 0)):
        context.instance.add_run_tags(run.run_id, {_MAX_RUNTIME: str(limit)})


def _audited(
    audit: Callable[[date], Audited[T]], days: Sequence[date]
) -> Iterator[tuple[date, Audited[T]]]:
    """Yield each day with its audit, in order; while one is accepted, the next are audited.

    Two at once, as long as they are short: what an audit needs in memory is as large as its day.
    """
    if len(days) == 1:
        yield days[0], _audit(audit, days[0])
        return

    def timed(day: date) -> tuple[Audited[T], float]:
        started = time.monotonic()
        return _audit(audit, day), time.monotonic() - started

    waiting = deque(days[1:])
    ahead = deque([(days[0], _in_background(partial(timed, days[0])))])
    while ahead:
        day, future = ahead.popleft()
        try:
            found, seconds = future.result()
        except Exception:
            wait([other for _, other in ahead])  # before what they write to is removed
            raise
        while waiting and len(ahead) < (_AUDITS_AT_ONCE if seconds < _SHORT_S else 1):
            following = waiting.popleft()
            ahead.append((following, _in_background(partial(timed, following))))
        yield day, found


def _in_background(call: Callable[[], U]) -> Future[U]:
    """Run in a thread that no interrupt waits for, not even when it hangs."""
    future: Future[U] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="audit", daemon=True).start()
    return future


def _audit(audit: Callable[[date], Audited[T]], day: date) -> Audited[T]:
    try:
        return audit(day)
    except InputError as error:
        return Audited(
            [checks.Verdict(checks.INPUTS, passed=False, description=str(error), failures=1)]
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
