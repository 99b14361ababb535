"""What an audit of one day comes to, and the audits of many days one ahead of the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from threading import Thread
from typing import Final, Generic, TypeVar

from recsys_assets.pages import Shown
from recsys_assets.verdicts import Check, Verdict, complete

# Days of a run that are audited at the same time, if the last one took less than so many seconds.
_AUDITS_AT_ONCE: Final = 2
_SHORT_S: Final = 1.0

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Later:
    """What is found of a day once the days before it are accepted, or refused.

    Attributes:
        verdicts: by name.
        shown: what the asset page shows of the day, whether it is accepted or not.
    """

    verdicts: Mapping[str, Verdict]
    shown: Mapping[str, Shown]


@dataclass(frozen=True)
class Audited(Generic[T]):
    """One day of one asset.

    Attributes:
        verdicts: what its checks found, by name.
        value: what is to be stored, if there is anything.
        data_version: another one whenever the value is another.
        shown: what the asset page shows of the day.
        later: finds out the rest, in the order of days.
        observed: what the asset page shows of the day even if it is refused.
    """

    verdicts: Mapping[str, Verdict]
    value: T | None = None
    data_version: str = ""
    shown: Mapping[str, Shown] = field(default_factory=dict)
    later: Callable[[], Later] | None = None
    observed: Mapping[str, Shown] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether there is a value, and no check refuses it."""
        return self.value is not None and not self.failures

    @property
    def failures(self) -> dict[str, Verdict]:
        """The verdicts that refuse the day."""
        return {name: each for name, each in self.verdicts.items() if each.outcome == "failed"}

    def settled(self) -> Audited[T]:
        """Return the same with what is found last; the days before it are stored by now."""
        if self.later is None:
            return self
        found = self.later()
        return replace(
            self,
            verdicts={**self.verdicts, **found.verdicts},
            shown={**self.shown, **found.shown},
            later=None,
            observed=found.shown,
        )

    def held_to(self, checks: Iterable[Check]) -> Audited[T]:
        """Return the same with a verdict of each declared check; one that gave none refuses it."""
        return replace(self, verdicts=complete(checks, self.verdicts))


@contextmanager
def auditing(
    audit: Callable[[date], Audited[T]], days: Sequence[date]
) -> Iterator[Iterator[tuple[date, Audited[T]]]]:
    """Give each day with its audit, in order; while one is stored, the next are audited.

    Two at once, as long as they are short: what an audit needs in memory is as large as its day.
    Where an audit breaks, or what is done with one, those that were begun are waited for: what they
    write to is removed next. An interrupt waits for none.
    """
    ahead: deque[tuple[date, Future[tuple[Audited[T], float]]]] = deque()
    try:
        yield _in_order(audit, deque(days), ahead)
    except Exception:
        wait([future for _, future in ahead])
        raise


def _in_order(
    audit: Callable[[date], Audited[T]],
    waiting: deque[date],
    ahead: deque[tuple[date, Future[tuple[Audited[T], float]]]],
) -> Iterator[tuple[date, Audited[T]]]:
    if len(waiting) == 1:
        yield waiting[0], audit(waiting[0])
        return

    def begin(day: date) -> None:
        ahead.append((day, _in_background(partial(timed, day))))

    def timed(day: date) -> tuple[Audited[T], float]:
        started = time.monotonic()
        return audit(day), time.monotonic() - started

    begin(waiting.popleft())
    while ahead:
        day, future = ahead.popleft()
        found, seconds = future.result()
        while waiting and len(ahead) < (_AUDITS_AT_ONCE if seconds < _SHORT_S else 1):
            begin(waiting.popleft())
        yield day, found


def _in_background(call: Callable[[], U]) -> Future[U]:
    """Run in a thread that no interrupt waits for, not even when it hangs."""
    future: Future[U] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="audit", daemon=True).start()
    return future
