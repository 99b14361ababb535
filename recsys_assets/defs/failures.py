"""Failed runs reach people: a sensor posts each to a webhook, as one JSON object.

Dagster's own run-failure sensor goes on to the next run when a post fails, so that report would be
lost, and by default it does not see the runs of the command line. This one reads the same events,
and its cursor passes a run only once the webhook took the report. What was reported and is made
later is told too: `recoveries.py`.
"""

# No postponed annotations here: Dagster reads the type of `context` when a sensor is declared.
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from recsys_assets.config import Config
from recsys_assets.defs.recoveries import Failed, Progress, recoveries
from recsys_assets.defs.reports import (
    OLDEST,
    failures_after,
    failures_of,
    is_ours,
    newest_failure,
    report_of,
    surface_of,
)
from recsys_assets.errors import WebhookError
from recsys_assets.operations.webhook import post

_EVENTS_PER_TICK: Final = 100
_LONGEST_TICK_S: Final = 25  # and a post; Dagster ends a tick after 60 s


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
            context.update_cursor(Progress(newest_failure(context.instance)).to_cursor())
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
        records = failures_after(instance, progress.after, _EVENTS_PER_TICK)
        for record in records:
            run = instance.get_run_by_id(record.run_id)
            if run and is_ours(run, context, config) and _is_first_failure(instance, record):
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
                if time.monotonic() - started > _LONGEST_TICK_S:
                    break
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
            surface = surface_of(asset, config)
            days = [day for day in failure["days"] if (asset, day) not in made]
            if surface and days:
                failed.append(Failed(surface.name, asset.to_user_string(), days, at))
    return failed


def _is_first_failure(instance: dg.DagsterInstance, record: dg.EventLogRecord) -> bool:
    """Tell whether it is what made the run fail: its worker and the daemon may both say so."""
    events = instance.get_records_for_run(
        record.run_id, of_type=dg.DagsterEventType.RUN_FAILURE, limit=1, ascending=True
    ).records
    return not events or record.timestamp <= events[0].timestamp
