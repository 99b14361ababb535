"""How every asset is materialized: a day is computed, held to its checks, and only then stored.

A day that fails leaves its failed check and nothing else, and does not hold back the other days of
its run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from threading import Lock
from typing import Any, TypeVar

import dagster as dg

from recsys_assets.audit.audited import Audited, auditing
from recsys_assets.audit.checks import checks_of
from recsys_assets.config import Surface
from recsys_assets.defs.checks import check_results
from recsys_assets.defs.internals import DATA_VERSION, MAX_RUNTIME
from recsys_assets.defs.keys import asset_key
from recsys_assets.defs.metadata import as_metadata, no_ids_in_errors, problem_of
from recsys_assets.errors import InputError
from recsys_assets.pages import Shown
from recsys_assets.verdicts import Verdict, failed, skipped

T = TypeVar("T")

_LIMITING = Lock()

_LOG = logging.getLogger(__name__)


def write_audit_publish(
    context: dg.AssetExecutionContext,
    surface: Surface,
    asset: str,
    *,
    audit: Callable[[date], Audited[T]],
    save: Callable[[T], Mapping[str, Shown]],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Audit the run's days, and store and materialize exactly those that pass.

    A single day goes through the IO manager. Dagster materializes either all days of a run or none
    of them that way, and with one data version; so the days of a longer run are stored and logged
    one by one, each as soon as it passed, and the failed checks end the step.

    Args:
        context: of the step.
        surface: whose asset.
        asset: its name. Its first check also says when its inputs are not there, and when there are
            more days than one run may cover.
        audit: of a day.
        save: stores a day; returns what the asset page shows of that.
    """
    _limit_run_time(context, surface.max_run_minutes)
    checks, key = checks_of(surface, asset), asset_key(surface, asset)
    show_ids = surface.shows_ids
    days = [date.fromisoformat(partition) for partition in context.partition_keys]
    verdicts: dict[date, Mapping[str, Verdict]] = {}
    if too_many := _too_many_days(surface, days):
        yield from check_results(checks, {days[0]: {checks[0].name: too_many}})
        return

    def audited(day: date) -> Audited[T]:
        try:
            return audit(day)
        except InputError as error:
            (first, *others) = (check.name for check in checks)
            reason = skipped(f"there was nothing to look at: {first} failed")
            return Audited(
                {first: failed(problem_of(error, surface)), **dict.fromkeys(others, reason)}
            )

    with no_ids_in_errors(surface), auditing(audited, days) as audits:
        for day, begun in audits:
            found = begun.settled().held_to(checks)
            verdicts[day] = found.verdicts
            _LOG.info("%s %s: %d of %d days", key.to_user_string(), day, len(verdicts), len(days))
            if found.value is None or not found.passed:
                _observe(context, key, day, found, show_ids=show_ids)
                continue
            if len(days) == 1:
                yield dg.MaterializeResult(
                    value=found.value,
                    metadata=as_metadata(found.shown, show_ids=show_ids),
                    data_version=dg.DataVersion(found.data_version),
                    check_results=check_results(checks, verdicts, show_ids=show_ids),
                )
                return
            shown = {**save(found.value), **found.shown}  # what is told first
            tags = {DATA_VERSION: found.data_version}
            metadata = as_metadata(shown, show_ids=show_ids)
            context.log_event(
                dg.AssetMaterialization(key, partition=str(day), metadata=metadata, tags=tags)
            )
    yield from check_results(checks, verdicts, show_ids=show_ids)


def _observe(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    day: date,
    refused: Audited[T],
    *,
    show_ids: bool,
) -> None:
    """Show the numbers that a day was refused for where those of other days are plotted."""
    if refused.observed:
        metadata = as_metadata(refused.observed, show_ids=show_ids)
        context.log_event(dg.AssetObservation(key, partition=str(day), metadata=metadata))


def _too_many_days(surface: Surface, days: Sequence[date]) -> Verdict | None:
    """Return what is wrong with a run over more days than it may cover, or None."""
    limit = surface.guardrails.max_backfill_days
    if len(days) <= limit:
        return None
    return failed(
        f"guardrails.max_backfill_days is {limit:,}, asked for {len(days):,} "
        f"days, {days[0]} to {days[-1]}: nothing was materialized. Launch fewer days at a time, or "
        "raise the limit."
    )


def _limit_run_time(context: dg.AssetExecutionContext, minutes: int) -> None:
    """Tell run monitoring when to end the run: whoever launched it wins, then the largest surface.

    The run itself says so, because a backfill from the UI gives its runs no tags of ours.
    """
    if MAX_RUNTIME in context.run.tags:  # as they were when the run began
        return
    limit = minutes * 60
    with _LIMITING:  # steps of a run begin at the same time
        run = context.instance.get_run_by_id(context.run.run_id)
        if run and limit > int(run.tags.get(MAX_RUNTIME, 0)):
            context.instance.add_run_tags(run.run_id, {MAX_RUNTIME: str(limit)})
