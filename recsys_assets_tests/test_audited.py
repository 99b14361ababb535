"""The days of a run are audited ahead: in order, two at once, and each breaks alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from recsys_assets import surface
from recsys_assets.audits import Audited
from recsys_assets.errors import InputError
from recsys_assets_tests.project import day

DAYS = [day(number) for number in range(6)]


class Watched:
    """An audit that knows how many of it went on at once."""

    def __init__(self, work: Callable[[date], None] = lambda _: None) -> None:
        self._work, self._lock, self._now = work, threading.Lock(), 0
        self.most, self.begun = 0, list[date]()

    def __call__(self, of: date) -> Audited[Any]:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.begun.append(of)
        time.sleep(0.02)
        self._work(of)
        with self._lock:
            self._now -= 1
        return Audited([], str(of))


def values(audit: Watched) -> list[tuple[date, Any]]:
    return [(of, found.value) for of, found in surface._audited(audit, DAYS)]


def test_days_come_in_order_and_two_are_audited_at_once() -> None:
    audit = Watched(lambda of: time.sleep(0.03 * (of.day % 2)))

    assert values(audit) == [(of, str(of)) for of in DAYS]
    assert audit.most == 2


def test_days_that_take_long_are_audited_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two large days at once would take twice the memory."""
    monkeypatch.setattr(surface, "_SHORT_S", 0.01)
    audit = Watched()

    assert values(audit) == [(of, str(of)) for of in DAYS]
    assert audit.most == 1


def test_the_next_day_is_audited_while_one_is_accepted() -> None:
    audit = Watched()
    audited = surface._audited(audit, DAYS)

    next(audited)
    time.sleep(0.5)

    assert audit.begun == DAYS[:3]  # and no further: what waits takes room on the disk
    del audited


def test_a_single_day_is_audited_where_it_is_asked_for() -> None:
    threads = []
    audit = Watched(lambda _: threads.append(threading.current_thread()))

    assert [found.value for _, found in surface._audited(audit, DAYS[:1])] == [str(DAYS[0])]
    assert threads == [threading.main_thread()]


def test_a_day_without_inputs_keeps_none_of_the_others() -> None:
    def work(of: date) -> None:
        if of == DAYS[2]:
            raise InputError("not there")

    found = values(Watched(work))

    assert [of for of, value in found if value is None] == [DAYS[2]]


def test_an_audit_that_breaks_is_raised_after_the_days_before_it() -> None:
    def work(of: date) -> None:
        if of == DAYS[1]:
            raise RuntimeError("broken")

    audited = surface._audited(Watched(work), DAYS)

    first, _ = next(audited)
    time.sleep(0.1)  # by now it is broken

    assert first == DAYS[0]
    with pytest.raises(RuntimeError, match="broken"):
        next(audited)


def audits_going_on() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "audit"]


def test_an_audit_that_breaks_waits_for_those_that_go_on() -> None:
    """They write to the directory that is removed next."""

    def work(of: date) -> None:
        time.sleep(0.2 if of == DAYS[2] else 0)
        if of == DAYS[1]:
            raise RuntimeError("broken")

    audited = surface._audited(Watched(work), DAYS)
    next(audited)
    with pytest.raises(RuntimeError, match="broken"):
        next(audited)

    assert not audits_going_on()


def test_an_interrupt_waits_for_no_audit_nor_does_the_end_of_the_process() -> None:
    """One that hangs would keep a run beyond its limit."""
    go_on = threading.Event()

    def work(of: date) -> None:
        if of > DAYS[0]:
            go_on.wait(9)

    def interrupted() -> None:
        for _ in surface._audited(Watched(work), DAYS):
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert time.monotonic() - started < 1
    assert audits_going_on()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "audit")
    go_on.set()
