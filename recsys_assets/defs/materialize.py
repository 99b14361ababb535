"""Materialize a range of days through Dagster, from a process that is not the UI.

The days go through the graph layer by layer, all days of a layer in one run, so that starting one
is paid once and a day that fails a layer keeps only itself from the next. A step that breaks takes
all days of its run with it; follow-up runs over halves of the range find those that break it, and
finish the others.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import dagster as dg

from recsys_assets.config import Surface
from recsys_assets.defs.checks import FAILED_PARTITIONS, WARNED_PARTITIONS
from recsys_assets.defs.internals import (
    MAX_RETRIES,
    RANGE_END,
    RANGE_START,
    count_with_location,
    failure_message,
    interrupts_held_back,
    materializations_of,
    was_stopped_by_user,
)
from recsys_assets.defs.keys import CODE_LOCATION, EVENTS, MANIFEST, asset_key, asset_names
from recsys_assets.defs.stopping import stoppable
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.events.sources import open_source
from recsys_assets.storage import layout
from recsys_assets.storage.flips import actor
from recsys_assets.storage.store import Store

# A full disk breaks every day: a range is halved only so often before what is left is given up.
_MOST_CUTS: Final = 16
_NO_EVENTS: Final = (EVENTS, "min_events")
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Complaint:
    """What is wrong with an asset of a day, by a check; `check` is None when the step broke."""

    day: date
    asset: str
    check: str | None
    description: str


@dataclass
class RangeResult:
    """What became of one surface's days; `metadata` is what Dagster shows, by day and asset."""

    surface: Surface
    days: Sequence[date]
    metadata: dict[date, dict[str, dict[str, Any]]] = field(default_factory=dict)
    failures: list[Complaint] = field(default_factory=list)  # why assets were not materialized
    warnings: list[Complaint] = field(default_factory=list)  # of checks; they hold nothing back
    run_ids: list[str] = field(default_factory=list)
    without_files: Collection[date] = ()
    stopped: bool = False

    @property
    def published(self) -> list[date]:
        """Days that went live, or were live already, in order."""
        return [day for day in self.days if self.outcome(day) in {"published", "unchanged"}]

    @property
    def done(self) -> list[date]:
        """Days whose manifest was materialized, in order; not each is live, see `outcome`."""
        return [day for day in self.days if MANIFEST in self.metadata.get(day, {})]

    @property
    def not_done(self) -> list[date]:
        """Days that were not come to, in order; none unless the user stopped before."""
        come_to = {*self.done, *(failure.day for failure in self.failures)}
        return [day for day in self.days if self.stopped and day not in come_to]

    def outcome(self, day: date) -> str:
        """Return what became of a day.

        `published`; `unchanged`, it was live already; staged and not live: `superseded` by a later
        live window, or `pinned`; not stored: `no files`, nothing has landed, `not done`, since the
        user stopped before, or `blocked`.
        """
        made = self.metadata.get(day, {}).get(MANIFEST, {})
        if "outcome" in made:
            return str(made["outcome"])
        if day in self.not_done:
            return "not done"
        return "no files" if day in self.without_files else "blocked"

    @property
    def succeeded(self) -> bool:
        """Whether every day was stored, and published unless something newer is to stay live."""
        return not self.failures and len(self.done) == len(self.days)


class Stopped(KeyboardInterrupt):
    """The user stopped it; `report` says what was done before."""

    def __init__(self, report: RangeResult) -> None:
        super().__init__()
        self.report = report


def materialize(
    definitions: dg.Definitions,
    surface: Surface,
    days: Sequence[date],
    *,
    store: Store,
    instance: dg.DagsterInstance,
) -> RangeResult:
    """Materialize every asset of a surface for consecutive days, and publish them in order.

    A day that fails a check blocks itself and nothing else; so does one of a variant whose base has
    no events of it. With a trailing window, the days after
    the last one whose window holds a day of the range are made again from it, where the root has
    their events; they are in the report too.

    Args:
        definitions: what `build_definitions` returned for a configuration with this surface.
        surface: whose assets.
        days: consecutive days, ascending, each a partition of the surface.
        store: the root of that configuration. It says which days were made; the instance may be
            another one than theirs.
        instance: where runs, events and checks are recorded.

    Raises:
        Stopped: by the user; days that were published stay published.
    """
    report = RangeResult(surface, days)
    try:
        _materialize(definitions, report, store, instance)
    except KeyboardInterrupt:
        report.stopped = True
        raise Stopped(report) from None
    return report


def _materialize(
    definitions: dg.Definitions, report: RangeResult, store: Store, instance: dg.DagsterInstance
) -> None:
    """Do what `materialize` says, and fill in the report on the way."""
    surface, days = report.surface, report.days
    following = _following_days(surface, days[-1], store)
    report.days = [*days, *following]
    job = definitions.resolve_implicit_global_asset_job_def()
    missing = {day: set(asset_names(surface)) for day in days}
    missing |= {day: {*surface.artifacts.of("events"), MANIFEST} for day in following}
    cuts: set[date] = set()
    # Ends: a run settles something, or a cut is added, or its days are given up.
    limit = surface.guardrails.max_backfill_days
    while planned := list(_ranges(_ready(surface, missing), cuts, limit=limit)):
        for layer, first, last in planned:
            waits = any(assets for day, assets in missing.items() if day < first)
            if waits and MANIFEST in layer:
                continue  # the history has each day, oldest first
            # A single day goes through the whole graph at once: what fails blocks only that day.
            assets = set(missing[first]) if first == last and not waits else layer
            result, settled = _run(job, report, assets, first, last, instance=instance)
            before = sum(map(len, missing.values()))
            for day in _days(first, last):
                for asset in assets & missing[day]:
                    if (asset, day) in settled:
                        missing[day] -= {asset, *_blocked_by(surface, asset, settled[asset, day])}
            if sum(map(len, missing.values())) < before:
                continue
            if first < last and len(cuts) < _MOST_CUTS:
                cuts.add(first + timedelta(days=(last - first).days // 2 + 1))
            else:
                _record_breakdown(report, result, first, last)
                for day in _days(first, last):
                    missing[day].clear()
    report.failures.sort(key=lambda failure: failure.day)
    report.without_files = _without_files(report)


def _run(
    job: dg.JobDefinition,
    report: RangeResult,
    assets: Collection[str],
    first: date,
    last: date,
    *,
    instance: dg.DagsterInstance,
) -> tuple[dg.ExecuteInProcessResult, dict[tuple[str, date], bool]]:
    """Run assets of some days, and record what came of it; also of a run that was stopped."""
    run_id = str(uuid.uuid4())
    report.run_ids.append(run_id)
    try:
        with stoppable(instance, run_id):
            result = job.execute_in_process(
                instance=instance,
                asset_selection=[asset_key(report.surface, asset) for asset in assets],
                raise_on_error=False,
                run_config=_QUIET,
                run_id=run_id,
                **_partitions(first, last),
            )
            count_with_location(instance, run_id, CODE_LOCATION)
            settled = _record(report, result)
            if any(was_stopped_by_user(each) for each in result.all_events if each.is_step_failure):
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        with interrupts_held_back():  # the run knows of days that its result does not
            _record_materializations(report, materializations_of(instance, run_id))
        raise
    return result, settled


def _partitions(first: date, last: date) -> dict[str, Any]:
    """Return the partitions of a run, and its tags."""
    # The UI says who launched it by `user`. Whoever waits for it in a shell is told what failed:
    # the daemon is not to start it again.
    tags = {"user": actor(), MAX_RETRIES: "0"}
    if first == last:
        return {"partition_key": first.isoformat(), "tags": tags}
    return {"tags": tags | {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}}


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _following_days(surface: Surface, last: date, store: Store) -> list[date]:
    """Return the days after `last` whose events the root has and whose window holds it."""
    if not surface.artifacts.of("events"):
        return []
    days = (last + timedelta(days=number) for number in range(1, surface.window_days))
    return [day for day in days if store.stat(layout.canonical(surface.events_of, day))]


def _ready(surface: Surface, missing: Mapping[date, set[str]]) -> dict[date, set[str]]:
    """Leave of what is missing the assets whose upstream is not: the next layer of each day."""
    ready: dict[date, set[str]] = {}
    for day, assets in missing.items():
        waiting = {MANIFEST} if assets - {MANIFEST} else set()
        if EVENTS in assets:
            waiting |= {*surface.artifacts.of("events")}
        ready[day] = assets - waiting
    return ready


def _without_files(report: RangeResult) -> Collection[date]:
    """Return the days that lack events because nothing has landed for them."""
    lacking = {each.day for each in report.failures if (each.asset, each.check) == _NO_EVENTS}
    with suppress(RecsysAssetsError):  # a source that cannot be listed has been told of already
        if not lacking or not report.surface.source.is_by_day:
            return set()
        return lacking - open_source(report.surface).landed().keys()
    return set()


def _ranges(
    missing: Mapping[date, set[str]], cuts: Collection[date] = (), *, limit: int
) -> Iterator[tuple[set[str], date, date]]:
    """Group consecutive days with the same assets to do into (assets, first, last).

    No group has more than `limit` days, or reaches across a day of `cuts`, which starts another.
    """
    days = [day for day in sorted(missing) if missing[day]]
    start = 0
    for end in range(1, len(days) + 1):
        joined = (
            end < len(days)
            and missing[days[end]] == missing[days[start]]
            and days[end] - days[end - 1] == timedelta(days=1)
            and days[end] not in cuts
            and end - start < limit
        )
        if not joined:
            yield set(missing[days[start]]), days[start], days[end - 1]
            start = end


def _record(report: RangeResult, result: dg.ExecuteInProcessResult) -> dict[tuple[str, date], bool]:
    """Take over what a run materialized (True) and what its checks refused (False)."""
    settled = _record_materializations(report, result.get_asset_materialization_events())
    for evaluation in result.get_asset_check_evaluations():
        report.warnings += _told(evaluation, WARNED_PARTITIONS)
        for failure in _told(evaluation, FAILED_PARTITIONS):
            report.failures.append(failure)
            settled[failure.asset, failure.day] = False
    return settled


def _told(evaluation: dg.AssetCheckEvaluation, outcome: str) -> Iterator[Complaint]:
    """Yield what a check says of each day with this outcome."""
    by_day: Any = evaluation.metadata[outcome].value if outcome in evaluation.metadata else {}
    for day, text in by_day.items():
        asset = evaluation.asset_key.path[-1]
        yield Complaint(date.fromisoformat(day), asset, evaluation.check_name, text)


def _record_materializations(
    report: RangeResult, events: Iterable[dg.DagsterEvent]
) -> dict[tuple[str, date], bool]:
    """Take over what was materialized."""
    settled: dict[tuple[str, date], bool] = {}
    for event in events:
        materialization = event.step_materialization_data.materialization
        if materialization.partition is None:
            continue
        asset, day = (
            materialization.asset_key.path[-1],
            date.fromisoformat(materialization.partition),
        )
        values = {name: value.value for name, value in materialization.metadata.items()}
        report.metadata.setdefault(day, {})[asset] = values
        settled[asset, day] = True
    return settled


def _blocked_by(surface: Surface, asset: str, materialized: bool) -> Collection[str]:
    """Return what cannot be materialized because `asset` was not."""
    if materialized:
        return ()
    return (*surface.artifacts.of("events"), MANIFEST) if asset == EVENTS else (MANIFEST,)


def _record_breakdown(
    report: RangeResult, result: dg.ExecuteInProcessResult, first: date, last: date
) -> None:
    """Report a run that settled nothing: a step broke for a reason that no check knows."""
    broken = [
        ((event.step_key or "").rpartition("__")[2], failure_message(event).strip())
        for event in result.all_events
        if event.is_step_failure
    ]
    first_asset, *_ = asset_names(report.surface)
    for asset, text in broken or [
        (first_asset, f"run {result.run_id} ended with nothing materialized")
    ]:
        said = text or "the step failed"
        report.failures.extend(Complaint(day, asset, None, said) for day in _days(first, last))
