"""What is told of a failed run: each failed check and broken step, its days, why, and links.

Dagster's events in, one JSON object out; every list in it is bounded. `failures.py` posts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import quote

import dagster as dg

from recsys_assets.audit.checks import checks_of
from recsys_assets.config import Alerts, Config, Surface, without_secrets
from recsys_assets.defs.checks import FAILED_PARTITIONS, PARTITIONS, SAMPLE, told
from recsys_assets.defs.internals import (
    PARTITION,
    RANGE_END,
    RANGE_START,
    WILL_RETRY,
    failure_message,
    is_of_a_check,
    says_why_run_ended,
    was_interrupted,
)
from recsys_assets.defs.keys import asset_key
from recsys_assets.defs.mistakes import MISTAKE, mistake_key
from recsys_assets.operations.webhook import MAX_DAYS, bounded
from recsys_assets.verdicts import runbook_page

# What failed longer ago is no news: neither a webhook that was dead for a week nor one that refuses
# a report holds back the next ones for ever.
OLDEST: Final = timedelta(hours=24)
_MAX_FAILURES: Final = 10
_MAX_ROWS: Final = 10
_MAX_TEXT: Final = 1000
_MAX_CELL: Final = 200
_ENDS: Final = {dg.DagsterEventType.RUN_CANCELING, dg.DagsterEventType.RUN_FAILURE}
_OF_INTEREST: Final = {
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.ENGINE_EVENT,
    *_ENDS,
}


def newest_failure(instance: dg.DagsterInstance) -> int:
    """Return where a cursor over the failures of runs begins: at the last one, a storage id."""
    found = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records
    return found[0].storage_id if found else 0


def failures_after(
    instance: dg.DagsterInstance, storage_id: int, limit: int
) -> Sequence[dg.EventLogRecord]:
    """Return the next failures of runs, the earliest first."""
    later = dg.RunStatusChangeRecordsFilter(
        dg.DagsterEventType.RUN_FAILURE, after_storage_id=storage_id
    )
    return instance.fetch_run_status_changes(later, limit=limit, ascending=True).records


def failures_of(
    instance: dg.DagsterInstance, run: dg.DagsterRun, config: Config
) -> list[dict[str, Any]]:
    """Return what failed in a run that failed, each with all its days."""
    events = [
        record.event_log_entry.dagster_event
        for record in instance.get_records_for_run(run.run_id, of_type=_OF_INTEREST).records
    ]
    return list(_failures(run, [event for event in events if event], config))


def report_of(
    run: dg.DagsterRun, failures: Sequence[dict[str, Any]], config: Config
) -> dict[str, Any]:
    """Return the report of a failed run; every list in it is bounded and says how many more.

    Args:
        run: a run that failed.
        failures: what failed in it.
        config: whose surfaces, and where links lead.
    """
    ui = config.alerts.ui_url
    days = sorted({day for failure in failures for day in failure["days"]})
    of_failures = {failure["surface"] for failure in failures if failure["surface"]}
    report = {
        "run_id": run.run_id,
        "job": run.job_name,
        "run_url": f"{ui}/runs/{run.run_id}",
        "will_retry": run.tags.get(WILL_RETRY) == "true" and bool(run.remote_job_origin),
        "surfaces": sorted({*surfaces_of(run, config), *of_failures}),
        **bounded("days", days, MAX_DAYS),
        **bounded("failures", failures, _MAX_FAILURES),
    }
    report["failures"] = [
        {**failure, **bounded("days", failure["days"], MAX_DAYS)} for failure in report["failures"]
    ]
    return {"text": _text(report), **report}


def _failures(
    run: dg.DagsterRun, events: Sequence[dg.DagsterEvent], config: Config
) -> Iterator[dict[str, Any]]:
    """Yield the failed checks, then the broken steps, or else why the run ended."""
    evaluations = [
        event.asset_check_evaluation_data
        for event in events
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    failed = [
        evaluation
        for evaluation in evaluations
        if not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR
    ]
    yield from (_failed_check(run, evaluation, config) for evaluation in failed)
    assets = {key.to_python_identifier(): key for key in run.asset_selection or ()}
    broken = [
        event
        for event in events
        if event.event_type is dg.DagsterEventType.STEP_FAILURE and not is_of_a_check(event)
    ]
    yield from (
        _broken(
            run,
            event.step_key,
            assets.get(event.step_key or ""),
            _why_it_ended(events) if was_interrupted(event) else failure_message(event),
            config,
        )
        for event in broken
    )
    if not failed and not broken:
        yield _broken(run, None, None, _why_it_ended(events), config)


def _why_it_ended(events: Sequence[dg.DagsterEvent]) -> str:
    """Join what was said of a run from outside: its process died, or it was ended."""
    said: dict[str, None] = {}  # in order, each once
    for event in events:
        if event.event_type in _ENDS or says_why_run_ended(event):
            said[event.message or ""] = None
        if event.event_type is dg.DagsterEventType.RUN_FAILURE:
            break
    return " ".join(said)


def _failed_check(
    run: dg.DagsterRun, evaluation: dg.AssetCheckEvaluation, config: Config
) -> dict[str, Any]:
    asset, check, metadata = evaluation.asset_key, evaluation.check_name, evaluation.metadata
    by_day: Any = metadata[FAILED_PARTITIONS].value if FAILED_PARTITIONS in metadata else {}
    sample = metadata.get(SAMPLE)
    rows = sample.records if isinstance(sample, dg.TableMetadataValue) else []
    surface = surface_of(asset, config)
    return {
        "surface": surface.name if surface else _name_of_broken(asset, config),
        "asset": asset.to_user_string(),
        "check": check,
        "days": sorted(by_day) or _days(run),
        "description": _short(_why_it_failed(evaluation, by_day)),
        "sample": [
            {name: str(cell)[:_MAX_CELL] for name, cell in row.data.items()}
            for row in rows[:_MAX_ROWS]
        ],
        "error": None,
        "url": f"{_asset_url(asset, config.alerts)}?view=checks&checkDetail={quote(check)}",
        "runbook": _runbook(surface, asset, check, config),
    }


def _why_it_failed(evaluation: dg.AssetCheckEvaluation, by_day: Mapping[str, str]) -> str:
    """Return the text of a failed check as it was before it became Markdown, where it is kept."""
    if not by_day:
        return evaluation.description or ""
    if len(by_day) == 1:  # without the day before it, which is said already
        return "".join(by_day.values())
    days: Any = evaluation.metadata[PARTITIONS].value
    return told(by_day, days=days, what="failed")


def _broken(
    run: dg.DagsterRun, step: str | None, asset: dg.AssetKey | None, error: str, config: Config
) -> dict[str, Any]:
    surface = surface_of(asset, config) if asset else None
    return {
        "surface": surface.name if surface else None,
        "asset": asset.to_user_string() if asset else None,
        "check": None,
        "days": _days(run),
        "description": f"{asset.path[-1] if asset else step} broke" if step else "the run ended",
        "sample": [],
        "error": _short(error),
        "url": _asset_url(asset, config.alerts) if asset else None,
        "runbook": runbook_page("pipeline-failed", config.docs_url),
    }


def _text(report: Mapping[str, Any]) -> str:
    """Say the report in a line, with the link."""
    first, more = report["failures"][0], report["more_failures"] + len(report["failures"]) - 1
    days = report["days"]
    when = f" {days[0]}" if days else ""
    if len(days) > 1:
        when += f" and {len(days) - 1 + report['more_days']} more days"
    what = (
        f"{first['asset'].rpartition('/')[2]} failed {first['check']}: {first['description']}"
        if first["check"]
        else f"{first['description']}: {first['error']}"
    )
    return (
        f"{first['surface'] or ', '.join(report['surfaces'][:3]) or report['job']}{when}: {what}"
        + (f" (and {more} more failures)" if more else "")
        + (" Dagster starts it again." if report["will_retry"] else "")
        + f" {report['run_url']}"
    )


def surfaces_of(run: dg.DagsterRun, config: Config) -> list[str]:
    """Name the surfaces of a run, by its assets or by what the Launchpad was told."""
    found = (surface_of(key, config) for key in run.asset_selection or ())
    of_assets = {surface.name for surface in found if surface}
    ops: Any = run.run_config.get("ops", {})
    of_ops = {op["config"].get("surface") for op in ops.values() if "config" in op}
    return sorted(name for name in of_assets | of_ops if name)


def is_ours(run: dg.DagsterRun, context: dg.SensorEvaluationContext, config: Config) -> bool:
    """Tell whether a run is of this configuration; others may share the instance.

    One that Ctrl-C ended has failed first, and was canceled then: nobody need be told.
    """
    if run.status is dg.DagsterRunStatus.CANCELED:
        return False
    if run.asset_selection:
        return bool(surfaces_of(run, config))
    here, origin = context.code_location_origin, run.remote_job_origin
    # The command line's runs belong to no code location.
    return not origin or not here or origin.location_name == here.location_name


def surface_of(key: dg.AssetKey, config: Config) -> Surface | None:
    """Return the surface that an asset is of; None when it is none that is configured."""
    for surface in config.surfaces:
        if asset_key(surface.place, key.path[-1]) == key:
            return surface
    return None


def _name_of_broken(key: dg.AssetKey, config: Config) -> str | None:
    """Return the surface that an asset stands for because its entry has a mistake."""
    return next((each.name for each in config.broken if mistake_key(each) == key), None)


def _runbook(surface: Surface | None, asset: dg.AssetKey, name: str, config: Config) -> str:
    """Return where it is written what to do; of a check that is declared no more, how to start."""
    for check in checks_of(surface, asset.path[-1]) if surface else (MISTAKE,):
        if check.name == name:
            return check.help(config.docs_url)
    return runbook_page("validation-failed", config.docs_url)


def _days(run: dg.DagsterRun) -> list[str]:
    """Return the days of a run; none when it has no partition."""
    first = run.tags.get(RANGE_START, run.tags.get(PARTITION))
    last = run.tags.get(RANGE_END, first)
    if not first or not last:
        return []
    start, count = date.fromisoformat(first), (date.fromisoformat(last) - date.fromisoformat(first))
    return [str(start + timedelta(days=number)) for number in range(count.days + 1)]


def _asset_url(key: dg.AssetKey, alerts: Alerts) -> str:
    return f"{alerts.ui_url}/assets/{'/'.join(quote(part, safe='') for part in key.path)}"


def _short(text: str) -> str:
    """Cut a text, and blank what looks like a secret; the blanking is quadratic in long words."""
    text = without_secrets(text[: 5 * _MAX_TEXT]).strip()
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
