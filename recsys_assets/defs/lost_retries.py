"""Runs that Dagster would have started again, but its code server was away: asked for once more.

A machine that is lost takes runs and their code server with it. The daemon starts such a run again
as soon as it sees that it failed. Should the code server not be back by then, it says `Failed to
retry run` and never looks again: the days are not made, and a backfill ends as failed. A backfill
may also end between the failure of its run and the moment when Dagster notes that it is to be
started again, and of a backfill that is over no run is. A sensor is evaluated by the code server.
So it looks when that is back, and does what the daemon could not.
"""

# No postponed annotations here: Dagster reads the type of `context` when a sensor is declared.
from datetime import UTC, datetime
from typing import Final, Literal

import dagster as dg

from recsys_assets.config import Config
from recsys_assets.defs.internals import (
    BACKFILL,
    COULD_NOT_RETRY,
    OF_ENDED_BACKFILL,
    RETRIED_AS,
    WILL_RETRY,
    ask_to_retry,
    launch_again,
)
from recsys_assets.defs.reports import OLDEST, failures_after, is_ours, newest_failure

_INTERVAL_S: Final = 15
_FAILURES_A_TICK: Final = 50
_MOST_TIMES: Final = 5  # of a run: what stands in its way may be no code server that is away


def build_lost_retries(config: Config) -> dg.Definitions:
    """Build the sensor `lost_retries`, which runs from the start."""

    @dg.sensor(
        name="lost_retries",
        minimum_interval_seconds=_INTERVAL_S,
        # It only does what run_retries of dagster.yaml asks for.
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Lets runs be started again that Dagster could not start again because the code server "
            "was away, or their backfill was over: a run of a backfill by launching what that has "
            "not made, once it is over."
        ),
    )
    def lost_retries(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        instance = context.instance
        if context.cursor is None:
            context.update_cursor(str(newest_failure(instance)))
            return dg.SkipReason("Looks at the runs that fail from now on.")
        said, waits = list[str](), False
        for record in failures_after(instance, int(context.cursor), _FAILURES_A_TICK):
            run = instance.get_run_by_id(record.run_id)
            became = None
            if run and is_ours(run, context, config):
                became = see_to(instance, run)
            if became == "waits" and not _is_old(record):
                waits = True  # the cursor stays before it; what comes later is seen to all the same
            elif became and became != "waits":
                said.append(f"run {record.run_id[:8]}: {became}")
            if not waits:
                context.update_cursor(str(record.storage_id))
        return dg.SkipReason("; ".join(said) or "No retry was lost.")

    return dg.Definitions(sensors=[lost_retries])


def see_to(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | Literal["waits"] | None:
    """Let a run that failed be made up for, if its retry was lost.

    Returns:
        What was done; `waits` while nobody knows yet what becomes of it; None where nothing is to
        be done.
    """
    if RETRIED_AS in run.tags:
        return None
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    backfill = run.tags.get(BACKFILL)
    if backfill and any(OF_ENDED_BACKFILL in entry.message for entry in entries):
        return launch_again(instance, backfill)
    if run.tags.get(WILL_RETRY) == "true":
        return "waits"
    lost = sum(entry.message.endswith(COULD_NOT_RETRY) for entry in entries)
    if not 0 < lost <= _MOST_TIMES:
        return None
    if backfill:
        return launch_again(instance, backfill)
    ask_to_retry(instance, run)
    return "is to be started again"


def _is_old(record: dg.EventLogRecord) -> bool:
    return datetime.fromtimestamp(record.timestamp, UTC) < datetime.now(UTC) - OLDEST
