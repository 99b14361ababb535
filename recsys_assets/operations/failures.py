"""Failed runs reach people: a sensor posts each to a webhook, as one JSON object.

Dagster's own run-failure sensor goes on to the next run when a post fails, so that report would be
lost, and by default it does not see the runs of the command line. This one reads the same events,
and its cursor passes a run only once the webhook took the report.
"""

# No postponed annotations here: Dagster reads the type of `context` when a sensor is declared.
import http.client
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import dagster as dg

from recsys_assets.checks import FAILED_PARTITIONS, runbook, runbook_page
from recsys_assets.config import Alerts, Config, without_secrets
from recsys_assets.errors import WebhookError
from recsys_assets.operations.steps import failure_message
from recsys_assets.surface import asset_key

# What failed longer ago is no news: neither a webhook that was dead for a week nor one that refuses
# a report holds back the next ones for ever.
OLDEST: Final = timedelta(hours=24)
_EVENTS_PER_TICK: Final = 100
_LONGEST_TICK_S: Final = 25  # and a post; Dagster ends a tick after 60 s
_MAX_FAILURES: Final = 10
_MAX_DAYS: Final = 10
_MAX_ROWS: Final = 10
_MAX_TEXT: Final = 1000
_MAX_CELL: Final = 200
# A receiver that wants nothing but a text says so with one of these.
_REFUSED: Final = {400, 413, 422}
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
            "asset, check, sample, links."
        ),
    )
    def report_failures(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if context.cursor is None:
            newest = context.instance.fetch_run_status_changes(
                dg.DagsterEventType.RUN_FAILURE, limit=1
            ).records
            context.update_cursor(str(newest[0].storage_id if newest else 0))
            return dg.SkipReason("Reports the runs that fail from now on.")
        url = os.environ.get(variable)
        if not url:
            return dg.SkipReason(
                f"${variable} is not set: set it to the URL of the webhook where Dagster runs, and "
                "start Dagster again. Runs that fail meanwhile are reported then."
            )
        return dg.SkipReason(_report_all(context, config, url))

    return dg.Definitions(sensors=[report_failures])


def _report_all(context: dg.SensorEvaluationContext, config: Config, url: str) -> str:
    """Post what failed since the cursor, and move it on; say what became of it.

    Raises:
        WebhookError: the first post failed. The cursor is where it was.
    """
    instance, started, posted = context.instance, time.monotonic(), 0
    failed = dg.RunStatusChangeRecordsFilter(
        dg.DagsterEventType.RUN_FAILURE, after_storage_id=int(context.cursor or 0)
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
                try:
                    post(url, config.alerts, describe(instance, run, config))
                except WebhookError as error:
                    if not posted:
                        raise
                    return f"{posted} failed runs reported; then {error}"
                posted += 1
        context.update_cursor(str(record.storage_id))
        if time.monotonic() - started > _LONGEST_TICK_S:
            break
    return f"{posted} failed runs reported." if posted else "No run failed."


def _is_ours(run: dg.DagsterRun, context: dg.SensorEvaluationContext, config: Config) -> bool:
    """Tell whether a run is of this configuration; others may share the instance."""
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


def describe(instance: dg.DagsterInstance, run: dg.DagsterRun, config: Config) -> dict[str, Any]:
    """Return the report of a failed run; every list in it is bounded and says how many more.

    Args:
        instance: where the run is recorded.
        run: a run that failed.
        config: whose surfaces, and where links lead.
    """
    ui = config.alerts.ui_url
    events = [
        record.event_log_entry.dagster_event
        for record in instance.get_records_for_run(run.run_id, of_type=_OF_INTEREST).records
    ]
    failures = list(_failures(run, [event for event in events if event], config))
    days = sorted({day for failure in failures for day in failure["days"]})
    of_failures = {failure["surface"] for failure in failures if failure["surface"]}
    report = {
        "run_id": run.run_id,
        "job": run.job_name,
        "run_url": f"{ui}/runs/{run.run_id}",
        "will_retry": run.tags.get("dagster/will_retry") == "true" and bool(run.remote_job_origin),
        "surfaces": sorted({*_surfaces(run, config), *of_failures}),
        **_bounded("days", days, _MAX_DAYS),
        **_bounded("failures", failures, _MAX_FAILURES),
    }
    for failure in report["failures"]:
        failure.update(_bounded("days", failure["days"], _MAX_DAYS))
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
        if event.event_type is dg.DagsterEventType.STEP_FAILURE and not _is_of_a_check(event)
    ]
    yield from (
        _broken(
            run,
            event.step_key,
            assets.get(event.step_key or ""),
            _why_it_ended(events) if _was_interrupted(event) else failure_message(event),
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
        text, kind = event.message or "", event.event_type
        # Dagster puts who speaks before it: [DagsterApiServer]. The run itself speaks without.
        if kind in _ENDS or (kind is dg.DagsterEventType.ENGINE_EVENT and text.startswith("[")):
            said[text] = None
        if kind is dg.DagsterEventType.RUN_FAILURE:
            break
    return " ".join(said)


def _failed_check(
    run: dg.DagsterRun, evaluation: dg.AssetCheckEvaluation, config: Config
) -> dict[str, Any]:
    asset, check, metadata = evaluation.asset_key, evaluation.check_name, evaluation.metadata
    by_day: Any = metadata[FAILED_PARTITIONS].value if FAILED_PARTITIONS in metadata else {}
    sample = metadata.get("sample")
    rows = sample.records if isinstance(sample, dg.TableMetadataValue) else []
    return {
        "surface": _surface_of(asset, config),
        "asset": asset.to_user_string(),
        "check": check,
        "days": sorted(by_day) or _days(run),
        # Of a single day without the day before it, which is said already.
        "description": _short(
            "".join(by_day.values()) if len(by_day) == 1 else evaluation.description or ""
        ),
        "sample": [
            {name: str(cell)[:_MAX_CELL] for name, cell in row.data.items()}
            for row in rows[:_MAX_ROWS]
        ],
        "error": None,
        "url": f"{_asset_url(asset, config.alerts)}?view=checks&checkDetail={quote(check)}",
        "runbook": runbook(check, config.docs_url),
    }


def _broken(
    run: dg.DagsterRun, step: str | None, asset: dg.AssetKey | None, error: str, config: Config
) -> dict[str, Any]:
    return {
        "surface": _surface_of(asset, config) if asset else None,
        "asset": asset.to_user_string() if asset else None,
        "check": None,
        "days": _days(run),
        "description": f"{asset.path[-1] if asset else step} broke" if step else "the run ended",
        "sample": [],
        "error": _short(error),
        "url": _asset_url(asset, config.alerts) if asset else None,
        "runbook": runbook_page("pipeline-failed", config.docs_url),
    }


def _is_of_a_check(event: dg.DagsterEvent) -> bool:
    """Tell a step that Dagster ended because of a failed check."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == "DagsterAssetCheckFailedError"


def _was_interrupted(event: dg.DagsterEvent) -> bool:
    """Tell a step that hung when its run was ended; of itself it only says so."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == "DagsterExecutionInterruptedError"


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
    of_assets = {_surface_of(key, config) for key in run.asset_selection or ()}
    ops: Any = run.run_config.get("ops", {})
    of_ops = {op["config"].get("surface") for op in ops.values() if "config" in op}
    return sorted(name for name in of_assets | of_ops if name)


def _surface_of(key: dg.AssetKey, config: Config) -> str | None:
    for surface in config.surfaces:
        if asset_key(surface, key.path[-1]) == key:
            return surface.name
    return None


def _days(run: dg.DagsterRun) -> list[str]:
    """Return the days of a run; none when it has no partition."""
    first = run.tags.get("dagster/asset_partition_range_start", run.tags.get("dagster/partition"))
    last = run.tags.get("dagster/asset_partition_range_end", first)
    if not first or not last:
        return []
    start, count = date.fromisoformat(first), (date.fromisoformat(last) - date.fromisoformat(first))
    return [str(start + timedelta(days=number)) for number in range(count.days + 1)]


def _asset_url(key: dg.AssetKey, alerts: Alerts) -> str:
    return f"{alerts.ui_url}/assets/{'/'.join(quote(part, safe='') for part in key.path)}"


def _bounded(name: str, values: Sequence[Any], most: int) -> dict[str, Any]:
    return {name: values[:most], f"more_{name}": max(0, len(values) - most)}


def _short(text: str) -> str:
    """Cut a text, and blank what looks like a secret; the blanking is quadratic in long words."""
    text = without_secrets(text[: 5 * _MAX_TEXT]).strip()
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."


def post(url: str, alerts: Alerts, report: Mapping[str, Any]) -> None:
    """Post a report; only its text to a receiver that refuses the rest.

    Raises:
        WebhookError: it was not taken; says what happened, without the URL.
    """
    variable = alerts.webhook_env
    if not url.startswith(("http://", "https://")):
        raise WebhookError(f"${variable} must hold an http:// or https:// URL; nothing was posted")
    answer = _send(url, report, alerts.timeout_seconds)
    if answer in _REFUSED:
        answer = _send(url, {"text": report["text"]}, alerts.timeout_seconds)
    if answer:
        said = f"answered {answer}" if isinstance(answer, int) else f"did not answer ({answer})"
        raise WebhookError(
            f"the webhook at ${variable} {said}: run {report['run_id']} is not reported yet. The "
            "next tick tries again, for a day after the failure."
        )


def _send(url: str, body: Mapping[str, Any], timeout_s: int) -> int | str | None:
    """Return None when it was taken, else the status, else the type of what went wrong.

    Nothing of an exception gets out: most hold the URL.
    """
    from urllib import error, request  # not before something failed

    class DoNotFollow(request.HTTPRedirectHandler):
        """A followed POST becomes a GET without the report."""

        def redirect_request(self, *_: Any) -> None:
            return None

    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "recsys-assets"}
    try:
        message = request.Request(url, data=data, headers=headers)  # noqa: S310 (checked by post)
        with request.build_opener(DoNotFollow).open(message, timeout=timeout_s):
            return None
    except error.HTTPError as refused:
        return refused.code
    except (OSError, ValueError, http.client.HTTPException) as problem:
        reason = getattr(problem, "reason", None)
        return type(reason if isinstance(reason, Exception) else problem).__name__
