"""Steps that do not wait for each other are executed at the same time, in threads of the run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from threading import Barrier, Event
from typing import Any

import dagster as dg
import pytest

from recsys_assets.defs.side_by_side import run_steps_side_by_side
from recsys_assets.defs.stopping import stoppable
from recsys_assets.kinds import KINDS
from recsys_assets_tests.project import DAY, Project, event

RUN = "0c2b1e0e-63f5-4a7e-9d16-8a1f1f3f7d11"
_SOON = 20.0  # seconds; only a fault takes as long


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    run_steps_side_by_side()
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _outputs(call: Callable[[], None]) -> Iterator[dg.Output[None]]:
    call()
    yield dg.Output(None)


def job_of(*calls: Callable[[], None], after: Callable[[], None] | None = None) -> Any:
    """Return a job whose first steps are independent, with one after all of them."""

    def op(number: int, call: Callable[[], None], ins: dict[str, dg.In]) -> dg.OpDefinition:
        return dg.OpDefinition(
            name=f"step{number}",
            compute_fn=lambda *_: _outputs(call),
            ins=ins,
            outs={"result": dg.Out()},
        )

    @dg.job
    def job() -> None:
        made = [op(number, call, {})() for number, call in enumerate(calls)]
        if after:
            ins = {f"of{number}": dg.In() for number in range(len(calls))}
            op(len(calls), after, ins)(*made)

    return job


def statuses(result: dg.ExecuteInProcessResult) -> dict[str | None, str]:
    ends = {"STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED"}
    return {
        each.step_key: each.event_type_value
        for each in result.all_events
        if each.event_type_value in ends
    }


def test_steps_that_are_ready_go_on_together_and_one_that_waits_for_them_later(
    instance: dg.DagsterInstance,
) -> None:
    met, last = Barrier(3), list[bool]()

    def meets() -> None:
        met.wait(_SOON)

    result = job_of(meets, meets, meets, after=lambda: last.append(met.broken)).execute_in_process(
        instance=instance
    )

    assert result.success
    assert last == [False]
    assert set(statuses(result).values()) == {"STEP_SUCCESS"}


def test_no_more_than_four_go_on_together(instance: dg.DagsterInstance) -> None:
    lock, now, most, met = threading.Lock(), [0], [0], Barrier(4)

    def counts() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        met.wait(_SOON)
        with lock:
            now[0] -= 1

    assert job_of(*[counts] * 8).execute_in_process(instance=instance).success
    assert most == [4]


def test_a_step_that_is_alone_is_executed_in_the_thread_of_the_run(
    instance: dg.DagsterInstance,
) -> None:
    threads = list[threading.Thread]()

    def tells() -> None:
        threads.append(threading.current_thread())

    job_of(tells, tells, after=tells).execute_in_process(instance=instance)

    assert threads[2] is threading.current_thread()
    assert threading.current_thread() not in threads[:2]


def test_one_that_fails_stops_what_waits_for_it_and_no_other(instance: dg.DagsterInstance) -> None:
    failed, done = Event(), list[str]()

    def fails() -> None:
        failed.set()
        raise ValueError("as ever")

    def goes_on() -> None:
        assert failed.wait(_SOON)
        done.append("the other")

    job = job_of(fails, goes_on, after=lambda: done.append("never"))
    result = job.execute_in_process(instance=instance, raise_on_error=False)

    assert done == ["the other"]
    assert statuses(result) == {"step0": "STEP_FAILURE", "step1": "STEP_SUCCESS"}
    (failure,) = result.get_step_failure_events()
    assert "as ever" in failure.step_failure_data.error.to_string()


def test_what_the_last_step_raises_is_raised(instance: dg.DagsterInstance) -> None:
    first_is_over = Event()

    def fails() -> None:
        assert first_is_over.wait(_SOON)
        time.sleep(0.2)  # its last event is handled, so that this one ends the run
        raise ValueError("as ever")

    for _ in range(3):
        with pytest.raises(ValueError, match="as ever"):
            job_of(fails, first_is_over.set).execute_in_process(instance=instance)


def test_one_that_is_to_be_tried_again_is(instance: dg.DagsterInstance) -> None:
    tries = list[int]()

    def fails_once() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise dg.RetryRequested(max_retries=1, seconds_to_wait=0.1)

    assert job_of(fails_once, lambda: None).execute_in_process(instance=instance).success
    assert len(tries) == 2


def test_ctrl_c_ends_the_run_and_waits_for_no_step(instance: dg.DagsterInstance) -> None:
    begun, released, over = Barrier(3), Event(), Event()

    def hangs() -> None:
        begun.wait(_SOON)
        released.wait(_SOON)

    def presses() -> None:
        begun.wait(_SOON)
        while not over.wait(0.5):  # one that comes while Dagster stores an event is forgotten
            os.kill(os.getpid(), signal.SIGINT)

    def executes() -> None:
        try:
            job_of(hangs, hangs).execute_in_process(
                instance=instance, run_id=RUN, raise_on_error=False
            )
        finally:
            over.set()

    threading.Thread(target=presses, daemon=True).start()
    with pytest.raises(KeyboardInterrupt), stoppable(instance, RUN):
        executes()

    failures = instance.all_logs(RUN, of_type=dg.DagsterEventType.STEP_FAILURE)
    assert {entry.step_key for entry in failures} == {"step0", "step1"}
    (run,) = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert not released.is_set()
    released.set()


def test_the_kinds_of_a_day_are_computed_side_by_side(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them, so that memory stays bounded; the run's timeline shows all."""
    kinds, met = ("popularity", "implicit"), Barrier(2)
    config = project.configure({"artifacts": {kind: {} for kind in kinds}})
    project.land(DAY, [event("a"), event("b")])
    for name in kinds:
        compute = KINDS[name].compute

        def meeting(*arguments: Any, compute: Any = compute) -> Any:
            met.wait(_SOON)
            return compute(*arguments)

        monkeypatch.setitem(vars(KINDS[name]), "compute", meeting)

    assert project.materialize(config, [DAY]).succeeded

    (run,) = project.instance.get_runs()
    begun = {stats.step_key: stats for stats in project.instance.get_run_step_stats(run.run_id)}
    one, other = (begun[f"demo__home__{kind}"] for kind in kinds)
    assert one.start_time
    assert one.end_time
    assert other.start_time
    assert other.end_time
    assert max(one.start_time, other.start_time) < min(one.end_time, other.end_time)
