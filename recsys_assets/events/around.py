"""Which files a day is read from, and which of their events are its own.

A file is of a day by its name, an event by its time. With `source.days_around` a day is looked for
in the files of the days around it too. Whatever is no event of the day that is read counts once, on
the day of the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import polars as pl

from recsys_assets.config import Surface
from recsys_assets.events.parsed import ParsedChunk
from recsys_assets.events.sources import Source


@dataclass(frozen=True)
class Around:
    """The inputs that a day is read from.

    Attributes:
        surface: whose day.
        day: UTC day that is kept.
        names: the inputs in source order.
        days: of each, the days that it is of by its name, of those that are read.
    """

    surface: Surface
    day: date
    names: Sequence[str]
    days: Mapping[str, Sequence[date]]

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides, besides the source and the inputs, which events the day has."""
        source = self.surface.source
        found: dict[str, Any] = source.model_dump(
            include={"days_around", "deduplicate_by"}, exclude_defaults=True
        )
        # An earlier one of two events stays only on a day that is made.
        if found.keys() >= {"days_around", "deduplicate_by"} and self._is_reach_cut:
            found["since"] = self.surface.start_date.isoformat()
        return found

    @property
    def _is_reach_cut(self) -> bool:
        reach = 2 * self.surface.source.days_around
        return (self.day - self.surface.start_date).days < reach

    @property
    def is_wider(self) -> bool:
        """Whether the days around are looked at too."""
        return self.surface.source.days_around > 0

    def is_own(self, name: str) -> bool:
        """Tell whether an input is of the day itself."""
        return self.day in self.days[name]

    def split(self, name: str, parsed: ParsedChunk) -> tuple[ParsedChunk, pl.DataFrame, int]:
        """Return what of a piece of an input counts on the day.

        Args:
            name: of the input.
            parsed: the piece, with the events of all days.

        Returns:
            What becomes of the day's events and, where the input is the day's own, of the rest; the
            events that other days have; how many of the day's own lines are such.
        """
        number = parsed.events["ts"].dt.date().to_physical()
        events = parsed.events.filter(number == _number(self.day))
        days, reach = self.days[name], self.surface.source.days_around
        first, last = _number(days[0]) - reach, _number(days[-1]) + reach
        others = parsed.events.filter(
            number.is_between(first, last) & (number != _number(self.day))
        )
        made = others.filter(pl.col("ts").dt.date() >= self.surface.start_date)
        if not self.is_own(name):
            return ParsedChunk(events, lines=events.height), made, 0
        outside = parsed.outside_window + parsed.events.height - events.height - others.height
        return replace(parsed, events=events, outside_window=outside), made, others.height


def _number(day: date) -> int:
    """Return the number of a day, as Polars counts them."""
    return day.toordinal() - date(1970, 1, 1).toordinal()


def around(source: Source, surface: Surface, day: date) -> Around:
    """Find the inputs that a day is read from: its own, and those of the days around.

    A day around it that is to be marked as complete and is not yet is not read.

    Raises:
        RawEventsError: what stands for the source is not there.
        StoreUnavailableError: it cannot be listed.
    """
    days: dict[str, list[date]] = {}
    for of in surface.days_read(day):
        if of == day or source.is_complete(of) is not False:
            for name in source.inputs(of):
                days.setdefault(name, []).append(of)
    return Around(surface, day, sorted(days, key=os.fsencode), days)
