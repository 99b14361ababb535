"""A run in this process that Ctrl-C ends is over on the instance too, whenever it comes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, Final

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import capture_interrupts

from recsys_assets.defs.stopping import stoppable

RUN: Final = "6a1f0b5e-2f0d-4b7e-93b5-8a1f1f3f7d10"


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def status(instance: dg.DagsterInstance) -> str:
    (run,) = instance.get_runs()
    return str(run.status.value)


@dg.op
def works() -> None:
    pass


@dg.op
def fails() -> None:
    raise ValueError("as ever")


@dg.op
def is_stopped() -> None:
    ctrl_c()


@dg.op
def hangs() -> None:
    raise DagsterExecutionInterruptedError


def job_of(op: dg.OpDefinition) -> dg.JobDefinition:
    @dg.job
    def job() -> None:
        op()

    return job


def execute(instance: dg.DagsterInstance, op: dg.OpDefinition) -> None:
    with stoppable(instance, RUN):
        job_of(op).execute_in_process(instance=instance, run_id=RUN, raise_on_error=False)


def test_a_run_that_nobody_stops_is_as_it_is(instance: dg.DagsterInstance) -> None:
    execute(instance, works)

    assert status(instance) == "SUCCESS"


def test_a_run_that_is_stopped_in_a_step_is_canceled(instance: dg.DagsterInstance) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(instance, is_stopped)

    assert status(instance) == "CANCELED"


def test_one_that_failed_before_stays_failed(instance: dg.DagsterInstance) -> None:
    def failed_and_stopped() -> None:
        with stoppable(instance, RUN):
            execute(instance, fails)
            ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        failed_and_stopped()

    assert status(instance) == "FAILURE"


@pytest.mark.parametrize("before", [dg.DagsterEventType.RUN_START, dg.DagsterEventType.RUN_SUCCESS])
def test_a_signal_between_the_steps_is_not_lost(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, before: dg.DagsterEventType
) -> None:
    """Dagster keeps it for the next step, and forgets it when there is none."""
    told = dg.DagsterInstance.handle_new_event

    def reported(self: Any, entry: dg.EventLogEntry, *args: Any, **kwargs: Any) -> None:
        if entry.dagster_event and entry.dagster_event.event_type is before:
            ctrl_c()
        told(self, entry, *args, **kwargs)

    monkeypatch.setattr(dg.DagsterInstance, "handle_new_event", reported)

    with pytest.raises(KeyboardInterrupt):
        execute(instance, works)

    assert status(instance) == (
        "SUCCESS" if before is dg.DagsterEventType.RUN_SUCCESS else "CANCELED"
    )


def test_a_run_that_has_not_started_is_canceled(instance: dg.DagsterInstance) -> None:
    def made_and_stopped() -> None:
        with stoppable(instance, RUN):
            instance.create_run_for_job(job_of(works), run_id=RUN)
            ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        made_and_stopped()

    assert status(instance) == "CANCELED"


def test_a_second_ctrl_c_waits_until_the_run_is_canceled(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = type(instance).report_run_canceled

    def impatient(self: Any, *args: Any) -> Any:
        ctrl_c()
        return report(self, *args)

    monkeypatch.setattr(dg.DagsterInstance, "report_run_canceled", impatient)

    with pytest.raises(KeyboardInterrupt):
        execute(instance, is_stopped)

    assert status(instance) == "CANCELED"


def test_before_there_is_a_run_nothing_is_to_cancel(instance: dg.DagsterInstance) -> None:
    with pytest.raises(KeyboardInterrupt), stoppable(instance, RUN):
        ctrl_c()

    assert instance.get_runs() == []


def test_the_handlers_are_as_they_were(instance: dg.DagsterInstance) -> None:
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), stoppable(instance, RUN), capture_interrupts():
        ctrl_c()

    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_in_a_thread_it_hears_nothing_and_a_stop_of_the_run_is_one(
    instance: dg.DagsterInstance,
) -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            execute(instance, works)
            with stoppable(instance, RUN):
                raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert len(raised) == 1
    assert status(instance) == "SUCCESS"
