"""Patterns of one day's files: their rules, known here only. Text in, text out, no file system."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from fnmatch import translate
from itertools import takewhile
from pathlib import Path, PurePosixPath
from string import Formatter

from recsys_assets.config.quoting import quoted_key
from recsys_assets.places import Place

# In place of a day, the glob of whatever is written as one.
ANY_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"

Matcher = Callable[[str], bool]


@dataclass(frozen=True)
class DayPattern:
    """A glob below a source in which {tenant}, {surface} and {day} are filled in.

    Where `day` is text, it is a day as YYYY-MM-DD or `ANY_DAY`.
    """

    text: str

    def check(self, key: str) -> None:
        """Refuse what is not a path of one day below a source.

        Args:
            key: the key of the configuration that is named.

        Raises:
            ValueError: what is wrong, behind the key.
        """
        try:
            names = {name for _, name, _, _ in Formatter().parse(self.text) if name is not None}
        except ValueError as error:
            raise ValueError(f"{key}: {error}; a brace itself is written twice") from None
        if unknown := names - {"tenant", "surface", "day"}:
            named = ", ".join(f"{{{quoted_key(name)}}}" for name in sorted(unknown))
            raise ValueError(
                f"{key}: unknown placeholder {named}; there are {{tenant}}, {{surface}} and {{day}}"
            )
        if "day" not in names:
            raise ValueError(f"{key}: needs {{day}}, otherwise every day would read every file")
        if self.text.startswith("/") or ".." in Path(self.text).parts:
            raise ValueError(f"{key}: must stay below `path`")
        if self.text.endswith("/"):
            raise ValueError(f"{key}: must name files, not a directory")

    def filled(self, place: Place, day: date) -> str:
        """Return the pattern as people read it, wildcards and names as they are."""
        return self.text.format(tenant=place.tenant, surface=place.surface, day=day)

    def glob(self, place: Place, day: str) -> str:
        """Return the glob for the file system: wildcards in the names are only characters."""
        return self.text.format(
            tenant=glob.escape(place.tenant), surface=glob.escape(place.surface), day=day
        )

    def folder(self, place: Place, day: str) -> str:
        """Return the folder that the glob spells out, "" if none; all that it takes is below."""
        folders = PurePosixPath(self.glob(place, day)).parts[:-1]
        return "/".join(takewhile(lambda segment: not glob.has_magic(segment), folders))

    def matcher(self, place: Place, day: str) -> Matcher:
        """Return what tells whether a name is taken.

        It matches as `glob.glob` does: segment by segment, and `*` finds nothing hidden.
        """
        segments = PurePosixPath(self.glob(place, day)).parts
        expressions = [re.compile(translate(segment)) for segment in segments]

        def matches(name: str) -> bool:
            parts = PurePosixPath(name).parts
            return len(parts) == len(segments) and all(
                expression.match(part) is not None
                and not (part.startswith(".") and segment[0] in "*?[")
                for expression, part, segment in zip(expressions, parts, segments, strict=True)
            )

        return matches

    @staticmethod
    def dates_in(name: str) -> set[date]:
        """Return every date that a name holds, overlapping ones too: the days it may be of."""
        found = set()
        for text in re.findall(r"(?=(\d{4}-\d\d-\d\d))", name, re.ASCII):
            with suppress(ValueError):
                found.add(date.fromisoformat(text))
        return found
