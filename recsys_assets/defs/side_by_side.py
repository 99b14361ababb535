"""Steps of a run that do not wait for each other are executed side by side, in threads.

Dagster's in-process executor executes one step after the other, and its other ones start a process
for each, which takes longer than most days do. Polars lets other threads go on while it computes,
so the kinds of a day can share the cores. How many compute at the same time is decided where the
memory that they need is known (`audit/turns.py`).

A step that is alone is executed in the thread of the run, as by Dagster: so is the publish of a run
over one surface.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError, raise_execution_interrupts
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context.system import PlanExecutionContext, StepExecutionContext
from dagster._core.execution.plan import execute_plan
from dagster._core.execution.plan.objects import ErrorSource, step_failure_event_from_exc_info
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.executor import in_process

_AT_ONCE: Final = 4  # steps of a run: as many as kinds read the events of a day


def run_steps_side_by_side() -> None:
    """Let the runs of this process execute steps side by side."""
    module: Any = in_process
    module.inner_plan_execution_iterator = _execute


def _execute(
    job: PlanExecutionContext, plan: ExecutionPlan, concurrency: Any = None
) -> Iterator[dg.DagsterEvent]:
    """Execute a plan, and yield what happens."""
    start = plan.start(
        retry_mode=job.retry_mode,
        max_concurrent=_AT_ONCE,
        instance_concurrency_context=concurrency,
        step_dependency_config=job.step_dependency_config,
    )
    with start as active, ExitStack() as captured:
        yield from _capture_logs(job, plan, captured)
        steps = _Steps()
        try:
            while not active.is_complete:
                for step in active.get_steps_to_execute():
                    steps.add(job.for_step(step, active.get_known_state()))
                yield from active.concurrency_event_iterator(job)
                if not steps.running:
                    active.sleep_til_ready()
                    continue
                wait_s = active.sleep_interval()  # type: ignore[no-untyped-call]
                for event in steps.events(wait_s):
                    yield event
                    active.handle_event(event)
                for context, happened in steps.over():
                    active.verify_complete(job, context.step.key)
                    for event in active.plan_events_iterator(job):
                        happened.append(event)
                        yield event
                    yield from execute_plan._trigger_hook(context, happened)
        except BaseException:
            yield from steps.interrupted()
            raise


@dataclass
class _Step:
    context: StepExecutionContext
    happened: list[dg.DagsterEvent] = field(default_factory=list)
    in_thread: bool = False
    is_over: bool = False


@dataclass(frozen=True)
class _Happened:
    events: list[dg.DagsterEvent]
    is_last: bool = False
    error: BaseException | None = None  # to be raised once the events are handled


class _Steps:
    """The steps of a run that are executed now."""

    def __init__(self) -> None:
        self.running: dict[str, _Step] = {}
        self._waiting: list[_Step] = []  # for the others that are ready at the same time
        self._came: SimpleQueue[tuple[_Step, _Happened]] = SimpleQueue()

    def add(self, context: StepExecutionContext) -> None:
        """Take on a step."""
        step = _Step(context)
        self.running[context.step.key] = step
        self._waiting.append(step)

    def events(self, wait_s: float) -> Iterator[dg.DagsterEvent]:
        """Execute, and yield what happens next.

        Args:
            wait_s: how long to wait at most, where that is not 0.
        """
        begun, self._waiting = self._waiting, []
        if len(self.running) == 1 and begun:
            (step,) = begun
            for event in execute_plan.dagster_event_sequence_for_step(step.context):
                step.happened.append(event)
                yield event
            step.is_over = True
            return
        for step in begun:
            step.in_thread = True
            Thread(target=copy_context().run, args=(self._execute, step), daemon=True).start()
        try:
            with raise_execution_interrupts():
                step, came = self._came.get(timeout=wait_s or None)
        except Empty:
            return
        step.happened += came.events
        step.is_over = came.is_last
        yield from came.events
        if came.error:
            raise came.error

    def over(self) -> Iterator[tuple[StepExecutionContext, list[dg.DagsterEvent]]]:
        """Take out the steps that are over, with what happened."""
        for key in [key for key, step in self.running.items() if step.is_over]:
            step = self.running.pop(key)
            yield step.context, step.happened

    def interrupted(self) -> Iterator[dg.DagsterEvent]:
        """Say of the steps in threads that they were interrupted, if they were; wait for none."""
        if isinstance(sys.exception(), KeyboardInterrupt | DagsterExecutionInterruptedError):
            for step in self.running.values():
                if step.in_thread:
                    yield step_failure_event_from_exc_info(
                        step.context, sys.exc_info(), error_source=ErrorSource.INTERRUPT
                    )

    def _execute(self, step: _Step) -> None:
        # The last event, by which the run sees that a step is done, comes when its thread is too:
        # what is ready then finds itself alone.
        last: list[dg.DagsterEvent] = []
        try:
            for event in execute_plan.dagster_event_sequence_for_step(step.context):
                self._came.put((step, _Happened(last)))
                last = [event]
            self._came.put((step, _Happened(last, is_last=True)))
        except BaseException as error:
            # Together: the run may be over with the event, and would not look for the error.
            self._came.put((step, _Happened(last, error=error)))


def _capture_logs(
    job: PlanExecutionContext, plan: ExecutionPlan, captured: ExitStack
) -> Iterator[dg.DagsterEvent]:
    """Keep what the process prints, for all steps together, until the stack is left."""
    manager = job.instance.compute_log_manager
    name = create_compute_log_file_key()  # type: ignore[no-untyped-call]
    key = manager.build_log_key_for_run(job.run_id, name)
    steps = [step.key for step in plan.get_steps_to_execute_in_topo_order()]
    try:
        context = captured.enter_context(manager.capture_logs(key))
        yield dg.DagsterEvent.capture_logs(job, steps, key, context)
    except Exception:  # a run goes on without them
        yield from execute_plan._handle_compute_log_setup_error(job, sys.exc_info())
