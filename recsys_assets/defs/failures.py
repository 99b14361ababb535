"""Failed runs reach people: a sensor posts each to a webhook, as one JSON object.

Dagster's own run-failure sensor goes on to the next run when a post fails, so that report would be
lost, and by default it does not see the runs of the command line. This one reads the same events,
and its cursor passes a run only once the webhook took the report. What was reported and is made
later is told too: `recoveries.py`.
"""

# No postponed annotations here: Dagster reads the type of `context` when a sensor is declared.
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
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
from recsys_assets.defs.recoveries import Failed, Progress, recoveries
from recsys_assets.errors import WebhookError
from recsys_assets.operations.webhook import MAX_DAYS, bounded, post
from recsys_assets.verdicts import runbook_page

# What failed longer ago is no news: neither a webhook that was dead for a week nor one that refuses
# a report holds back the next ones for ever.
OLDEST: Final = timedelta(hours=24)
_EVENTS_PER_TICK: Final = 100
_LONGEST_TICK_S: Final = 25  # and a post; Dagster ends a tick after 60 s
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


def build_failure_reports(config: Config) -> dg.Definitions:
    """Build the sensor `report_failures`, which has to be started."""
    variable = config.alerts.webhook_env

    @dg.sensor(
        name="report_failures",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Posts each failed run to the webhook whose URL is in ${variable}: surface, days, "
            "asset, check, sample, links; and, once, that what failed has been made since."
        ),
    )
    def report_failures(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if context.cursor is None:
            newest = context.instance.fetch_run_status_changes(
                dg.DagsterEventType.RUN_FAILURE, limit=1
            ).records
            context.update_cursor(Progress(newest[0].storage_id if newest else 0).to_cursor())
            return dg.SkipReason("Reports the runs that fail from now on.")
        url = os.environ.get(variable)
        if not url:
            return dg.SkipReason(
                f"${variable} is not set: set it to the URL of the webhook where Dagster runs, and "
                "start Dagster again. Runs that fail meanwhile are reported then."
            )
        return dg.SkipReason(_report_all(context, Progress.of_cursor(context.cursor), config, url))

    return dg.Definitions(sensors=[report_failures])


def _report_all(
    context: dg.SensorEvaluationContext, progress: Progress, config: Config, url: str
) -> str:
    """Post what failed since, and what has recovered, and move the cursor on; say what became.

    Raises:
        WebhookError: the first post failed. The cursor is where it was.
    """
    instance, started = context.instance, time.monotonic()
    posted = {"failed runs": 0, "recovered surfaces": 0}

    def move(to: Progress) -> Progress:
        context.update_cursor(to.to_cursor())
        return to

    try:
        after = progress.after
        failed = dg.RunStatusChangeRecordsFilter(
            dg.DagsterEventType.RUN_FAILURE, after_storage_id=after
        )
        records = instance.fetch_run_status_changes(
            failed, limit=_EVENTS_PER_TICK, ascending=True
        ).records
        for record in records:
            run = instance.get_run_by_id(record.run_id)
            if run and _is_ours(run, context, config) and _is_first_failure(instance, record):
                if datetime.fromtimestamp(record.timestamp, UTC) < datetime.now(UTC) - OLDEST:
                    context.log.warning(f"run {run.run_id} failed over a day ago: not reported")
                else:
                    failures = failures_of(instance, run, config)
                    post(url, config.alerts, report_of(run, failures, config))
                    posted["failed runs"] += 1
                    followed = _followed(instance, run, failures, config, at=record.timestamp)
                    progress = progress.reported(followed)
            progress = move(replace(progress, after=record.storage_id))
            if time.monotonic() - started > _LONGEST_TICK_S:
                return _said(posted)
        if len(records) < _EVENTS_PER_TICK:  # what fails again is known by now
            progress = progress.recent()
            for recovered in recoveries(instance, progress.failed):
                post(url, config.alerts, recovered.report(config.alerts.ui_url))
                posted["recovered surfaces"] += 1
                progress = move(progress.told(recovered))
    except WebhookError as error:
        if not any(posted.values()):
            raise
        return f"{_said(posted)[:-1]}; then {error}"
    return _said(posted)


def _said(posted: Mapping[str, int]) -> str:
    told = ", ".join(f"{number} {what}" for what, number in posted.items() if number)
    return f"{told} reported." if told else "No run failed."


def _followed(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    failures: Sequence[Mapping[str, Any]],
    config: Config,
    *,
    at: float,
) -> list[Failed]:
    """Return the assets and days that failed with a run; of one that died, all it has not made."""
    made = {
        (found.asset_key, found.partition)
        for record in instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        if (found := record.asset_materialization)
    }
    failed = []
    for failure in failures:
        known = failure["asset"]
        assets = [dg.AssetKey.from_user_string(known)] if known else run.asset_selection or ()
        for asset in sorted(assets):
            surface = _surface_of(asset, config)
            days = [day for day in failure["days"] if (asset, day) not in made]
            if surface and days:
                failed.append(Failed(surface.name, asset.to_user_string(), days, at))
    return failed


def _is_ours(run: dg.DagsterRun, context: dg.SensorEvaluationContext, config: Config) -> bool:
    """Tell whether a run is of this configuration; others may share the instance.

    One that Ctrl-C ended has failed first, and was canceled then: nobody need be told.
    """
    if run.status is dg.DagsterRunStatus.CANCELED:
        return False
    if run.asset_selection:
        return bool(_surfaces(run, config))
    here, origin = context.code_location_origin, run.remote_job_origin
    # The command line's runs belong to no code location.
    return not origin or not here or origin.location_name == here.location_name


def _is_first_failure(instance: dg.DagsterInstance, record: dg.EventLogRecord) -> bool:
    """Tell whether it is what made the run fail: its worker and the daemon may both say so."""
    events = instance.get_records_for_run(
        record.run_id, of_type=dg.DagsterEventType.RUN_FAILURE, limit=1, ascending=True
    ).records
    return not events or record.timestamp <= events[0].timestamp


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
        "surfaces": sorted({*_surfaces(run, config), *of_failures}),
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
    surface = _surface_of(asset, config)
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
    surface = _surface_of(asset, config) if asset else None
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


def _surfaces(run: dg.DagsterRun, config: Config) -> list[str]:
    """Name the surfaces of a run, by its assets or by what the Launchpad was told."""
    found = (_surface_of(key, config) for key in run.asset_selection or ())
    of_assets = {surface.name for surface in found if surface}
    ops: Any = run.run_config.get("ops", {})
    of_ops = {op["config"].get("surface") for op in ops.values() if "config" in op}
    return sorted(name for name in of_assets | of_ops if name)


def _surface_of(key: dg.AssetKey, config: Config) -> Surface | None:
    for surface in config.surfaces:
        if asset_key(surface, key.path[-1]) == key:
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
