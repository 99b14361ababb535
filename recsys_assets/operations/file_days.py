"""The days that raw files are of, by their names: which have come to rest, and which are new."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Literal

from recsys_assets.config import Surface
from recsys_assets.events.sources import Source
from recsys_assets.events.sources.files import Files
from recsys_assets.operations.cursors import Cursor
from recsys_assets.storage.store import Stored

# Seen: dealt with as it is. New: it is at rest and is not what was dealt with. Moving: it is waited
# for. Unmarked: it has files, and not yet the mark that says that they are all.
State = Literal["seen", "new", "moving", "unmarked"]


class FileDays:
    """The files of each day, and what is to be done about them."""

    def __init__(
        self,
        source: Source,
        surface: Surface,
        landed: Mapping[date, Sequence[Stored]],
        cursor: Cursor,
        now: datetime,
    ) -> None:
        """Look at days by their files.

        Args:
            source: where the files are.
            surface: whose.
            landed: the files that are there, of the days that are over.
            cursor: what was seen; it is changed.
            now: UTC.
        """
        self._source, self._surface, self._landed = source, surface, landed
        self._cursor, self._now = cursor, now
        self._states: dict[date, State] = {}
        self._signatures: dict[date, str] = {}

    def read_for(self, day: date) -> list[date]:
        """Return the days whose files are read for a day, those with files."""
        return [of for of in self._surface.days_read(day) if of in self._landed]

    def files_for(self, day: date) -> list[Stored]:
        """Return the files that are read for a day, in source order."""
        read = [of for of in self.read_for(day) if of == day or self.state(of) != "unmarked"]
        files = {file.key: file for of in read for file in self._landed[of]}
        return [files[key] for key in sorted(files, key=os.fsencode)]

    def are_dealt_with(self, days: Iterable[date]) -> bool:
        """Tell whether there is nothing left to do about these days, and those with files."""
        seen = self._cursor.seen
        return all(seen.get(str(day)) == self._signature(day) for day in {*days, *self._landed})

    def _signature(self, day: date) -> str:
        if day not in self._signatures:
            self._signatures[day] = signature_of(self._landed.get(day, ()))
        return self._signatures[day]

    def state(self, day: date) -> State:
        """Return the state of a day's own files; a day without any comes to rest in the end."""
        if day not in self._states:
            self._states[day] = self._look(day)
        return self._states[day]

    def _look(self, day: date) -> State:
        signature = self._signature(day)
        if self._cursor.seen.get(day.isoformat()) == signature:
            self._cursor.waiting.pop(day.isoformat(), None)
            return "seen"
        marked = self._source.is_complete(day)
        if marked is not None:
            return "new" if marked else "unmarked"
        if day in self._landed:
            at_rest = has_settled(
                self._surface, day.isoformat(), signature, self._cursor, self._now
            )
        else:
            # Its files may still come. Once later ones are there and nothing moves, they will not.
            at_rest = day < max(self._landed) and all(
                self.state(of) in {"seen", "new"} for of in self._landed
            )
        return "new" if at_rest else "moving"

    def settle(self, done: Iterable[date], days: Iterable[date]) -> None:
        """Take note of what is new, once every day that reads it was dealt with."""
        left = {of for day in {*days} - {*done} for of in (day, *self.read_for(day))}
        for day, state in self._states.items():
            if state == "new" and day not in left:
                self._cursor.waiting.pop(day.isoformat(), None)
                self._cursor.seen[day.isoformat()] = self._signature(day)


def files_by_day(
    source: Source, surface: Surface, cursor: Cursor, asked: Sequence[date]
) -> tuple[Mapping[date, Sequence[Stored]], str | None]:
    """Return what has landed, and of files a signature of their listing and of what is asked of it.

    Where that is `cursor.at_rest`, every day is as it was when all were dealt with: the days with
    files are told without their files.
    """
    if not isinstance(source, Files):
        return source.landed(), None
    listed = source.listed()
    of = f"{surface.events_of} {surface.source.model_dump_json()} {[*map(str, asked)]}"
    signature = hashlib.sha256(f"{of} {signature_of(listed)}".encode()).hexdigest()[:16]
    if signature != cursor.at_rest:
        return source.by_day(listed), signature
    none = signature_of(())
    return {
        date.fromisoformat(of): () for of, seen in cursor.seen.items() if seen != none
    }, signature


def has_settled(surface: Surface, what: str, signature: str, cursor: Cursor, now: datetime) -> bool:
    """Tell whether something was seen like this for `landing.settle_seconds`.

    By this clock alone: a copy may carry the times of the original, and a file server has its own.
    """
    seen, since = cursor.waiting.get(what, ("", 0.0))
    if seen != signature or since > now.timestamp():
        since = now.timestamp()
    cursor.waiting[what] = (signature, since)
    return now.timestamp() - since >= surface.source.landing.settle_seconds


def signature_of(files: Sequence[Stored]) -> str:
    """Return what differs when names, sizes or times of files do."""
    lines = "\n".join(f"{file.key}\t{file.size_bytes}\t{file.tag}" for file in files)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:16]
