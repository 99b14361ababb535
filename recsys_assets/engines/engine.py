"""What an engine has to do, and what the rules of kinds ask it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl

from recsys_assets.compute.bots import BotLimits
from recsys_assets.compute.built import BUILT
from recsys_assets.engines import rules
from recsys_assets.errors import EngineError
from recsys_assets.events.accepted import AcceptedDay, AcceptedDays

_EPOCH: Final = date(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)
# Columns of canonical events that a day may lack, besides those that no rule asks for.
_SOME_LACK: Final = ("part", "weight")


class Session(Protocol):
    """Days of canonical events that can be asked; the text of a query is Spark's SQL.

    The view `stored` has the columns that canonical events have in any day, null where a day lacks
    one; `ts` in nanoseconds since 1970.

    All raise EngineError: the engine is away, refuses, or has not the memory.
    """

    def define(self, name: str, text: str) -> None:
        """Give a query a name, by which later ones may ask it."""

    def give(self, name: str, frame: pl.DataFrame) -> None:
        """Give rows, at least one, a name, by which later queries may ask them."""

    def query(self, text: str) -> Iterator[pl.DataFrame]:
        """Yield the rows of a query in its order, in pieces of bounded size."""


class Engine(Protocol):
    """Where a session is opened."""

    def session(
        self, days: Sequence[AcceptedDay], scratch: Path
    ) -> AbstractContextManager[Session]:
        """Open a session on some days.

        Args:
            days: at least one.
            scratch: an empty directory, for as long as the session is open.

        Raises:
            EngineError: the engine is away, of another version than it has to be, or does not find
                the days.
        """


@dataclass(frozen=True)
class SqlEvents:
    """The accepted events of a window, as the SQL of a kind sees them.

    The views are those of `rules.py`.

    Attributes:
        session: what is asked.
        days: that are there, oldest first.
    """

    session: Session
    days: Sequence[date]

    @classmethod
    def of(cls, session: Session, window: AcceptedDays, bots: BotLimits) -> SqlEvents:
        """Define the views of a window; nothing is listed as withdrawn yet.

        Raises:
            EngineError: there are other events than were accepted.
        """
        wanted = sum(of.events for of in window.values())
        found = _first_row(session.query("select count(*) as events from stored"))["events"]
        if found != wanted:
            raise EngineError(
                f"the engine sees {found:,} events of {', '.join(map(str, window))}, and "
                f"{wanted:,} are accepted",
                advice="If these days were made again just now, materialize the artifact again. "
                "Otherwise the engine does not read what is in `root`: look at engine.root.",
            )
        session.define("everything", rules.EVERYTHING)
        session.define("events", _without_bots(bots))
        gaps = {day: of.gap for day, of in window.items() if of.gap}
        session.define("visits", _visits(gaps) if len(window) > 1 and gaps else rules.VISITS)
        session.define("unlisted", rules.NONE_UNLISTED)
        return cls(session, list(window))

    def leave_out(self, items: pl.Series) -> None:
        """Say which items, at least one, may not be listed."""
        self.session.give("given", items.to_frame("item_id"))
        self.session.define("unlisted", rules.UNLISTED)

    def items(self) -> Iterator[pl.Series]:
        """Yield the ids of all items, each once."""
        for frame in self.session.query(rules.ITEMS):
            yield frame["item_id"]

    def rows(self, text: str, **options: Any) -> Iterator[pl.DataFrame]:
        """Yield the rows of a rule with options filled in, in its order."""
        return self.session.query(text.format(**options))

    def numbers(self, text: str, **options: Any) -> Mapping[str, int]:
        """Return the only row of a rule with options filled in."""
        return _first_row(self.rows(text, **options))

    def of_day(self, numbers: Iterable[int]) -> str:
        """Return what gives a number of each day, in the order of `days`."""
        return _by_day(dict(zip(self.days, numbers, strict=True)))


def _first_row(frames: Iterator[pl.DataFrame]) -> Mapping[str, int]:
    (row,) = [row for frame in frames for row in frame.iter_rows(named=True)]
    return row


def _without_bots(bots: BotLimits) -> str:
    found = "select * from everything"
    for of, most in (("session_id", bots.items_per_session), ("user_id", bots.items_per_user)):
        if most is not None:
            found += rules.LEAVE_OUT.format(of=of, most=most)
    return found


def _visits(gaps: Mapping[date, timedelta]) -> str:
    nanoseconds = {day: gap // _MICROSECOND * 1000 for day, gap in gaps.items()}
    return rules.JOINED_VISITS.format(gap=_by_day(nanoseconds), built=BUILT)


def _by_day(numbers: Mapping[date, int]) -> str:
    """Return what gives a number of some days, and 0 of others."""
    cases = " ".join(f"when {(day - _EPOCH).days} then {number}" for day, number in numbers.items())
    return f"case day {cases} else 0 end"


def by_columns(days: Sequence[AcceptedDay]) -> dict[str, list[AcceptedDay]]:
    """Return days by what of a select gives the columns that some of them lack."""
    found: dict[str, list[AcceptedDay]] = {}
    for day in days:
        columns = ", ".join(
            f"{name if name in day.columns else 'null'} as {name}" for name in _SOME_LACK
        )
        found.setdefault(columns, []).append(day)
    return found
