"""The days of a run are audited ahead: in order, two at once, and each breaks alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from recsys_assets.audit import audited
from recsys_assets.audit.audited import Audited, auditing
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
        return Audited({}, str(of))


def values(audit: Watched) -> list[tuple[date, Any]]:
    with auditing(audit, DAYS) as audits:
        return [(of, found.value) for of, found in audits]


def test_days_come_in_order_and_two_are_audited_at_once() -> None:
    audit = Watched(lambda of: time.sleep(0.03 * (of.day % 2)))

    assert values(audit) == [(of, str(of)) for of in DAYS]
    assert audit.most == 2


def test_days_that_take_long_are_audited_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two large days at once would take twice the memory."""
    monkeypatch.setattr(audited, "_SHORT_S", 0.01)
    audit = Watched()

    assert values(audit) == [(of, str(of)) for of in DAYS]
    assert audit.most == 1


def test_the_next_day_is_audited_while_one_is_accepted() -> None:
    audit = Watched()

    with auditing(audit, DAYS) as audits:
        next(audits)
        time.sleep(0.5)

        assert audit.begun == DAYS[:3]  # and no further: what waits takes room on the disk


def test_a_single_day_is_audited_where_it_is_asked_for() -> None:
    threads = []
    audit = Watched(lambda _: threads.append(threading.current_thread()))

    with auditing(audit, DAYS[:1]) as audits:
        assert [found.value for _, found in audits] == [str(DAYS[0])]
    assert threads == [threading.main_thread()]


def test_an_audit_that_breaks_is_raised_after_the_days_before_it() -> None:
    def work(of: date) -> None:
        if of == DAYS[1]:
            raise RuntimeError("broken")

    days = []

    def audit_all() -> None:
        with auditing(Watched(work), DAYS) as audits:
            for of, _ in audits:
                days.append(of)
                time.sleep(0.1)  # by now it is broken

    with pytest.raises(RuntimeError, match="broken"):
        audit_all()

    assert days == DAYS[:1]


def audits_going_on() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "audit"]


def test_an_audit_that_breaks_waits_for_those_that_go_on() -> None:
    """They write to the directory that is removed next."""

    def work(of: date) -> None:
        time.sleep(0.2 if of == DAYS[2] else 0)
        if of == DAYS[1]:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        values(Watched(work))

    assert not audits_going_on()


def test_where_a_day_cannot_be_accepted_the_audits_that_go_on_are_waited_for() -> None:
    audit = Watched(lambda of: time.sleep(0.2 if of > DAYS[0] else 0))

    def accept_first() -> None:
        with auditing(audit, DAYS) as audits:
            next(audits)
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        accept_first()

    assert sorted(audit.begun) == DAYS[:3]  # there was something to wait for
    assert not audits_going_on()


def test_an_interrupt_waits_for_no_audit_nor_does_the_end_of_the_process() -> None:
    """One that hangs would keep a run beyond its limit."""
    go_on = threading.Event()

    def work(of: date) -> None:
        if of > DAYS[0]:
            go_on.wait(9)

    def interrupted() -> None:
        with auditing(Watched(work), DAYS) as audits:
            for _ in audits:
                raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert time.monotonic() - started < 6  # waited for, it would be 9
    assert audits_going_on()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "audit")
    go_on.set()
