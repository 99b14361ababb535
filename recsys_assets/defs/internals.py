"""What the project relies on inside Dagster, in one place.

None of it is promised by Dagster. All of it was seen in the version that `SEEN_IN` names, and
`test_internals.py` fails when an upgrade changes it: then look at each use, and name the version.
The event log's own parts stand in `defs/event_log.py`, which overrides them: they take SQLAlchemy,
which takes half a second to import, and definitions need none.
"""

from __future__ import annotations

import inspect
import multiprocessing.context
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial, wraps
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import dagster as dg
from dagster._core.definitions.asset_selection import KeysAssetSelection
from dagster._core.execution import compute_logs
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._utils.interrupts import capture_interrupts

SEEN_IN: Final = "1.13.27"

# Within it Ctrl-C is only noted; the next step raises it.
interrupts_held_back = capture_interrupts
# Dagster's own job over every asset; the one that the UI launches.
ASSET_JOB: Final = "__ASSET_JOB"
# Run monitoring reads this tag, in seconds, each time it looks at a run.
MAX_RUNTIME: Final = "dagster/max_runtime"
# Tags of a run over one partition, and of one that covers a range of them.
PARTITION: Final = "dagster/partition"
RANGE_START: Final = "dagster/asset_partition_range_start"
RANGE_END: Final = "dagster/asset_partition_range_end"
# Of the steps of a run that are ready, those with the highest go first.
PRIORITY: Final = "dagster/priority"
# A run that failed and is started again has it.
WILL_RETRY: Final = "dagster/will_retry"
# The run that was started in place of one that failed.
RETRIED_AS: Final = "dagster/auto_retry_run_id"
# The daemon says it of a run that it could not start again, and never looks at it again.
COULD_NOT_RETRY: Final = "Failed to retry run"
# It says this of a run whose backfill was over, or deleted, when it looked.
OF_ENDED_BACKFILL: Final = "Not retrying run since it is part of a backfill that"
# The backfill that a run is of.
BACKFILL: Final = "dagster/backfill"
# A run that failed says by it why.
FAILURE_REASON: Final = "dagster/failure_reason"
# A run says by them which code location it is of.
CODE_LOCATION_TAG: Final = "dagster/code_location"
REPOSITORY_TAG: Final = ".dagster/repository"
# Dagster's name for the definitions of a module, within its code location.
REPOSITORY: Final = "__repository__"
# A materialization says by it what its data is.
DATA_VERSION: Final = "dagster/data_version"
# A run has it that makes a day whole because it is due: conditions leave what it makes alone.
LANDED: Final = "recsys_assets/landed"
# A run has it that makes days of several surfaces: what breaks it is retried surface by surface.
BATCH: Final = "recsys_assets/batch"
# How often a run that broke is started again, where its tags say otherwise than the instance.
MAX_RETRIES: Final = "dagster/max_retries"
# States of a run that has not ended.
UNFINISHED: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
# A batch of events is stored as one only where this variable is set.
BATCH_SIZE_VARIABLE: Final = "DAGSTER_EVENT_BATCH_SIZE"

# The function that executes a run in a worker, and what it calls the run. Not imported: gRPC is.
_EXECUTES_RUN: Final = ("dagster._grpc.impl", "core_execute_run")
_ITS_RUN: Final = "dagster_run"
_CUT_SHORT: Final = "UNEXPECTED_TERMINATION"
# What serves a code location, and starts a process for each run. Not imported either.
_SERVES: Final = "dagster._grpc.server"
# What is imported once for all runs of a code server: whatever most of them need.
READY: Final = "ready-to-fork"  # the name of a process, of 15 letters at most
IMPORTED_FOR_RUNS: Final = (
    "dagster._grpc.impl",
    "recsys_assets.definitions",
    # The instance, where it is in SQLite and where it is in PostgreSQL.
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.execution.plan.active",
    "dagster._core.instance.factory",
    "dagster._core.instance.runs.run_domain",
    "dagster._core.storage.legacy_storage",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.runs.sqlite",
    "dagster._core.storage.schedules.sqlite",
    "recsys_assets.defs.event_log",
    "dagster_postgres",
    # What a run imports on its way.
    "dagster._core.secrets.env_file",
    "pyarrow.compute",
    "upath.implementations.local",
    "recsys_assets.defs.ready_to_fork",  # the last one
)
# Errors of steps, by the name of their class.
_INTERRUPTED: Final = "DagsterExecutionInterruptedError"
_INTERRUPTIONS: Final = {_INTERRUPTED, "KeyboardInterrupt"}
# The second where other checks had nothing to look at, and so gave no result.
_REFUSED_BY_CHECK: Final = frozenset(
    {"DagsterAssetCheckFailedError", "DagsterStepOutputNotFoundError"}
)


class AssetsAlone(KeysAssetSelection):
    """Assets by their keys, without their checks.

    With them, Dagster looks through the checks of all surfaces for the sensor of each.
    """

    def resolve_checks_inner(self, *_: Any, **__: Any) -> frozenset[dg.AssetCheckKey]:
        """Return none."""
        return frozenset()

    def to_serializable_asset_selection(self, asset_graph: Any) -> dg.AssetSelection:
        """Return what processes without this class read."""
        return KeysAssetSelection(selected_keys=self.selected_keys)


def partition_statuses(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    partitions: dg.PartitionsDefinition[str],
    names: Sequence[str],
) -> dict[str, str]:
    """Return what became of partitions: MATERIALIZED, IN_PROGRESS, FAILED; nothing if not tried."""
    found = instance.get_status_by_partition(key, names, partitions) or {}
    return {name: status.value for name, status in found.items() if status}


@cache
def end_newest_partitions() -> None:
    """Let the newest partitions that the UI asks for be those before the end, where there is one.

    It plots the newest 120 of an asset. Dagster counts them back from today even where an
    `end_date` lies before, so that the plots of a surface that has ended had no points.
    """
    definition: Any = dg.TimeWindowPartitionsDefinition
    paginated = definition.get_paginated_partition_keys

    @wraps(paginated)
    def ending(self: Any, context: Any, *arguments: Any, **named: Any) -> Any:
        end = self.end
        if end and end < context.effective_dt:
            context = context.updated(effective_dt=end, dynamic_partitions_store=None)
        return paginated(self, context, *arguments, **named)

    definition.get_paginated_partition_keys = ending


@cache
def look_up_targets_once() -> None:
    """Let the checks of a step share which materialization they are about.

    Dagster looks it up for each of them: of a small day, that is a tenth of what a run takes.
    """
    result: Any = dg.AssetCheckResult
    look_up = result._get_target_materialization_data

    @wraps(look_up)
    def once(self: Any, step: Any, check: dg.AssetCheckKey) -> Any:
        known = vars(step).setdefault("_targets_of_checks", {})
        if check.asset_key not in known:
            known[check.asset_key] = look_up(self, step, check)
        return known[check.asset_key]

    result._get_target_materialization_data = once


@contextmanager
def helpers_hear_no_ctrl_c() -> Iterator[None]:
    """Give the processes that show what a step prints a session of their own.

    A terminal sends Ctrl-C to all that it started. Whoever runs the steps ends them; they would
    only leave a stack of their own on the screen.
    """
    module: Any = compute_logs
    before = module.subprocess
    module.subprocess = SimpleNamespace(Popen=partial(subprocess.Popen, start_new_session=True))
    try:
        yield
    finally:
        module.subprocess = before


def count_with_location(instance: dg.DagsterInstance, run_id: str, location: str) -> None:
    """Let the UI show a run of this process with those of a code location.

    Its timeline, which it opens with, and the pages of jobs leave out runs without an origin, and
    runs of a process that is no code server have none.
    """
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), REPOSITORY)
    tags = {CODE_LOCATION_TAG: location, REPOSITORY_TAG: origin.get_label()}
    instance.add_run_tags(run_id, tags)
    if run := instance.get_run_by_id(run_id):
        instance.run_storage.replace_job_origin(run, origin.get_job_origin(run.job_name))


def run_of_worker() -> dg.DagsterRun | None:
    """Return the run that this process was started for, while Dagster loads its definitions.

    None in any other process. Whatever starts the worker, the code server or a launcher, one
    function of Dagster loads the definitions and executes the run, which it is given.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) == _EXECUTES_RUN:
            run = frame.f_locals.get(_ITS_RUN)
            return run if isinstance(run, dg.DagsterRun) else None
        frame = frame.f_back
    return None


@cache
def fork_runs() -> None:
    """Let the code server of this process fork its runs from a process that has imported all.

    Dagster starts a Python for each run: its imports take longer than most days do. Where that
    process is not ready, or a module of the project was changed since, a run starts as by Dagster.
    """
    server: Any = sys.modules.get(_SERVES)
    if server is not None and sys.platform == "linux":
        server.DagsterApiServer._mp_ctx = property(lambda _: context_of_runs(), lambda *_: None)


def context_of_runs() -> multiprocessing.context.BaseContext:
    """Return how the next run is started."""
    began_at, files = _began_to_import()
    forking: Any = forkserver
    forking.set_forkserver_preload([*IMPORTED_FOR_RUNS])
    forking.ensure_running()
    is_ready = _text(Path(f"/proc/{forking._forkserver._forkserver_pid}/comm")) == READY
    if is_ready and not any(_changed_at(file) > began_at for file in files):
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


@cache
def _began_to_import() -> tuple[float, list[Path]]:
    """Return when runs began to be forked, and the files of the project's modules."""
    ours = f"{__name__.partition('.')[0]}."
    files = [module.__file__ for name, module in [*sys.modules.items()] if name.startswith(ours)]
    return time.time(), [Path(file) for file in files if file]


def _changed_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:  # the process is gone
        return ""


def ask_to_retry(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Let the daemon look once more at a run that failed: what it looks at are new failures."""
    instance.report_run_failed(run, "It is to be started again: the code server is back.")


def launch_again(instance: dg.DagsterInstance, backfill_id: str) -> str | None:
    """Launch what a backfill has not made, as "Re-execute from failure" of its page does; once.

    Returns:
        What was done; `waits` while it goes on; None where somebody has canceled or deleted it, or
        launched it again, or it is no backfill of assets, or nothing of it is left.
    """
    # Not imported with definitions, which need none of it.
    from dagster._core.execution.backfill import (
        BulkActionsFilter,
        BulkActionStatus,
        PartitionBackfill,
    )
    from dagster._core.storage.tags import PARENT_BACKFILL_ID_TAG, ROOT_BACKFILL_ID_TAG
    from dagster._core.utils import make_new_backfill_id

    backfill = instance.get_backfill(backfill_id)
    if backfill is None or not backfill.is_asset_backfill:
        return None
    if backfill.status in {BulkActionStatus.REQUESTED, BulkActionStatus.FAILING}:
        return "waits"
    if backfill.status not in {BulkActionStatus.COMPLETED_FAILED, BulkActionStatus.FAILED}:
        return None
    # Dagster's own filter by tags makes SQLAlchemy warn.
    later = BulkActionsFilter(
        created_after=datetime.fromtimestamp(backfill.backfill_timestamp, UTC)
    )
    children = (each.tags.get(PARENT_BACKFILL_ID_TAG) for each in instance.get_backfills(later))
    if backfill_id in children:
        return None
    data: Any = backfill.asset_backfill_data
    left = data.target_subset - data.materialized_subset
    if not left.num_partitions_and_non_partitioned_assets:
        return None
    again = PartitionBackfill.from_asset_graph_subset(
        backfill_id=make_new_backfill_id(),
        asset_graph_subset=left,
        dynamic_partitions_store=instance,
        tags={
            **backfill.tags,
            PARENT_BACKFILL_ID_TAG: backfill_id,
            ROOT_BACKFILL_ID_TAG: backfill.tags.get(ROOT_BACKFILL_ID_TAG, backfill_id),
        },
        backfill_timestamp=time.time(),
        title=f"Re-execution of {backfill.title or backfill_id}",
        description=backfill.description,
        run_config=backfill.run_config,
    )
    instance.add_backfill(again)
    return f"what backfill {backfill_id} has not made is launched again as {again.backfill_id}"


def failure_message(event: dg.DagsterEvent) -> str:
    """Return why the step of a failure event broke, in our words where they are ours."""
    error = event.step_failure_data.error
    # Dagster wraps ours; what ours was raised from says less.
    while error and error.cause and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return error.message if error else ""


def is_of_a_check(event: dg.DagsterEvent) -> bool:
    """Tell a step that Dagster ended because of a failed check."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name in _REFUSED_BY_CHECK


def materializations_of(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.DagsterEvent]:
    """Yield what a run has materialized, as the instance was told of it at once.

    What a step logs itself is no part of the run's result before the step's next event.
    """
    of_type = dg.DagsterEventType.ASSET_MATERIALIZATION
    for entry in instance.all_logs(run_id, of_type=of_type):
        if entry.dagster_event:
            yield entry.dagster_event


def was_interrupted(event: dg.DagsterEvent) -> bool:
    """Tell a step that hung when its run was ended; of itself it only says so."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == _INTERRUPTED


def was_stopped_by_user(event: dg.DagsterEvent) -> bool:
    """Tell a step that the user's Ctrl-C ended; Dagster takes it for a failure like any other."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name in _INTERRUPTIONS


def was_cut_short(run: dg.DagsterRun) -> bool:
    """Tell a run that failed because Ctrl-C came, of whatever it was doing."""
    return run.tags.get(FAILURE_REASON) == _CUT_SHORT


def says_why_run_ended(event: dg.DagsterEvent) -> bool:
    """Tell an event from outside of the run, of whoever saw it end.

    Dagster puts who speaks before the text, [DagsterApiServer]. The run itself speaks without.
    """
    is_engine = event.event_type is dg.DagsterEventType.ENGINE_EVENT
    return is_engine and (event.message or "").startswith("[")


def is_of_half_made_databases(error: Exception) -> bool:
    """Tell what Alembic and SQLAlchemy say of databases that two processes made at once."""
    return type(error).__module__.partition(".")[0] in {"alembic", "sqlalchemy"}


def problem_of_instance(error: Exception) -> str:
    """Return what is wrong with dagster.yaml, without the whole of Dagster's schema behind it."""
    return str(error).partition(" Expected:")[0]
