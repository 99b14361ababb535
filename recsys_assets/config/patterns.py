"""Patterns of one day's files: their rules, known here only. Text in, text out, no file system."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import translate
from functools import cached_property, lru_cache
from itertools import takewhile
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Final

from recsys_assets.config.quoting import quoted_key
from recsys_assets.config.values import CONTROL
from recsys_assets.places import Place

# What may stand behind a % in {day:...}: how many digits it is, and what they are of a day.
_DIGITS: Final = {"Y": 4, "m": 2, "d": 2, "j": 3}
_VALUES: Final[dict[str, Callable[[date], int]]] = {
    "Y": lambda day: day.year,
    "m": lambda day: day.month,
    "d": lambda day: day.day,
    "j": lambda day: day.timetuple().tm_yday,
}
# What is looked for in a name; a long number in it holds few of these, and many of any digits.
_FOUND: Final = {
    "Y": r"\d{4}",
    "m": r"(?:0[1-9]|1[0-2])",
    "d": r"(?:0[1-9]|[12]\d|3[01])",
    "j": r"[0-3]\d\d",
}
_ISO: Final = "%Y-%m-%d"
_FORMAT: Final = re.compile(r"(?:%[Ymdj]|[^%*?\[\]{}])+")

Matcher = Callable[[str], bool]
_Parts = tuple[tuple[str, str], ...]  # what is of a day, such as its month, and its digits


@dataclass(frozen=True)
class DayPattern:
    """A glob below a source in which {tenant}, {surface} and {day} are filled in.

    {day} is YYYY-MM-DD. {day:...} is the day as `strftime` writes it, of %Y, %m, %d and %j, in one
    place or in several: `{day:%Y/%m/%d}/*`, `year={day:%Y}/month={day:%m}/day={day:%d}/*`.
    """

    text: str

    @property
    def is_of_a_day(self) -> bool:
        """Whether a day has files of its own; every day reads every file otherwise."""
        return any(name == "day" for _, name, *_ in Formatter().parse(self.text))

    def check(self, key: str, *, needs_day: bool = True) -> None:
        """Refuse what is not a path below a source.

        Args:
            key: the key of the configuration that is named.
            needs_day: whether it has to be of one day.

        Raises:
            ValueError: what is wrong, behind the key.
        """
        if problem := self._placeholder_problem(needs_day=needs_day) or self._path_problem():
            raise ValueError(f"{key}: {problem}")

    def _placeholder_problem(self, *, needs_day: bool) -> str | None:
        try:
            fields = [field for field in Formatter().parse(self.text) if field[1] is not None]
        except ValueError as error:
            return f"{error}; a brace itself is written twice"
        names = {str(name) for _, name, _, _ in fields}
        if unknown := names - {"tenant", "surface", "day"}:
            named = ", ".join(f"{{{quoted_key(name)}}}" for name in sorted(unknown))
            return f"unknown placeholder {named}; there are {{tenant}}, {{surface}} and {{day}}"
        if "day" not in names and needs_day:
            return "needs {day}, otherwise every day would read every file"
        if any(conversion for *_, conversion in fields):
            return "a placeholder takes no !"
        if any(spec for _, name, spec, _ in fields if name != "day"):
            return "only {day} takes a format"
        specs = [spec or _ISO for _, name, spec, _ in fields if name == "day"]
        if not all(_FORMAT.fullmatch(spec) and "%" in spec for spec in specs):
            return "{day:...} is made of %Y, %m, %d and %j (digits only), and of plain text"
        parts = set(re.findall("%(.)", "".join(specs)))
        if specs and not (parts >= {"Y", "m", "d"} or parts >= {"Y", "j"}):
            return (
                "{day:...} must name the whole day, by %Y, %m and %d or by %Y and %j, otherwise "
                "several days would read the same files"
            )
        return None

    def _path_problem(self) -> str | None:
        path = self._filled(lambda name: name, lambda spec: spec)
        if path.startswith("/") or ".." in Path(path).parts:
            return "must stay below `path`"
        if path.endswith("/"):
            return "must name files, not a directory"
        if CONTROL.search(path):
            return "must hold no control characters"
        if "**" in path:
            return "** is not supported: write */ for each folder"
        return None

    def filled(self, place: Place, day: date) -> str:
        """Return the pattern as people read it, wildcards and names as they are."""
        return self._filled(lambda name: getattr(place, name), lambda spec: _written(spec, day))

    def glob(self, place: Place, day: date | None) -> str:
        """Return the glob for the file system: wildcards in the names are only characters.

        Of no day, it takes whatever is written as one.
        """
        return self._filled(
            lambda name: glob.escape(getattr(place, name)), lambda spec: _written(spec, day)
        )

    def folder(self, place: Place, day: date | None) -> str:
        """Return the folder that the glob spells out, "" if none; all that it takes is below."""
        folders = PurePosixPath(self.glob(place, day)).parts[:-1]
        return "/".join(takewhile(lambda segment: not glob.has_magic(segment), folders))

    def matcher(self, place: Place, day: date | None) -> Matcher:
        """Return what tells whether a name is taken.

        It matches as `glob.glob` does: segment by segment, and `*` finds nothing hidden.
        """
        segments = PurePosixPath(self.glob(place, day)).parts
        expressions = [re.compile(translate(segment)) for segment in segments]

        def matches(name: str) -> bool:
            parts = segments_of(name)
            return len(parts) == len(segments) and all(
                expression.match(part) is not None
                and not (part.startswith(".") and segment[0] in "*?[")
                for expression, part, segment in zip(expressions, parts, segments, strict=True)
            )

        return matches

    def days_in(self, name: str) -> set[date]:
        """Return every day that a name may be of, overlapping ones too; `matcher` decides."""
        parts = segments_of(name)
        return self._days_in([parts[number] for number in self._dates if number < len(parts)])

    def days_of(self, place: Place) -> Callable[[str], Collection[date]]:
        """Return what tells the days that take a name, of names that are taken for no day.

        Only the segments that tell the day are looked at, and the same ones only once: a listing
        holds a hundred thousand names.
        """
        known: dict[tuple[str, ...], Collection[date]] = {}
        matchers: dict[date, list[Callable[[str], object]]] = {}

        def of(dated: Sequence[str], day: date) -> bool:
            if day not in matchers:
                segments = segments_of(self.glob(place, day))
                matchers[day] = [re.compile(translate(segments[n])).match for n in self._dates]
            return all(match(part) for match, part in zip(matchers[day], dated, strict=True))

        def days(name: str) -> Collection[date]:
            parts = segments_of(name)
            dated = tuple([parts[number] for number in self._dates])
            if dated not in known:
                known[dated] = [day for day in self._days_in(dated) if of(dated, day)]
            return known[dated]

        return days

    def _days_in(self, dated: Sequence[str]) -> set[date]:
        """Return the days that may be meant by the segments that tell the day."""
        found: set[_Parts] | None = None
        for expressions, part in zip(self._dates.values(), dated, strict=False):
            for expression in expressions:
                names = expression.groupindex
                seen = {
                    tuple(zip(names, match.groups(), strict=True))
                    for match in expression.finditer(part)
                }
                found = seen if found is None else _joined(found, seen)
        return {day for parts in found or () if (day := _as_day(parts))}

    @cached_property
    def _dates(self) -> dict[int, list[re.Pattern[str]]]:
        """What finds the dates, or parts of one, in the segments of a name that hold any."""
        # A mark around each format, which may go over several segments.
        path = self._filled(lambda _: "x", lambda spec: "\0" + spec.replace("/", "\0/\0") + "\0")
        specs = {
            number: re.findall("\0([^\0]+)\0", segment)
            for number, segment in enumerate(segments_of(path))
        }
        return {
            number: [re.compile(_expression(spec), re.ASCII) for spec in of]
            for number, of in specs.items()
            if of
        }

    def _filled(self, name_as: Callable[[str], str], day_as: Callable[[str], str]) -> str:
        def parts() -> Iterator[str]:
            for literal, name, spec, _ in Formatter().parse(self.text):
                yield literal
                if name == "day":
                    yield day_as(spec or _ISO)
                elif name is not None:
                    yield name_as(name)

        return "".join(parts())


def _written(spec: str, day: date | None) -> str:
    """Write a day as a format says, years below 1000 too; of no day, the glob of its digits."""
    return re.sub(
        "%(.)",
        lambda found: (
            "[0-9]" * _DIGITS[found[1]]
            if day is None
            else f"{_VALUES[found[1]](day):0{_DIGITS[found[1]]}}"
        ),
        spec,
    )


def _expression(spec: str) -> str:
    """Return the expression that finds a format wherever it stands, overlapping ones too."""
    text, known = "", set[str]()
    for literal, part in re.findall("([^%]*)(?:%(.))?", spec):
        text += re.escape(literal)
        if part:
            text += f"(?P={part})" if part in known else f"(?P<{part}>{_FOUND[part]})"
            known.add(part)
    return f"(?={text})"


def segments_of(name: str) -> Sequence[str]:
    """Return the segments of a relative path as `PurePosixPath` does, in a tenth of the time."""
    return PurePosixPath(name).parts if "//" in name or "./" in name else name.split("/")


def _joined(found: Iterable[_Parts], seen: Iterable[_Parts]) -> set[_Parts]:
    """Return what both may be: the parts of each two that do not contradict each other."""
    return {
        (*known, *more)
        for known in found
        for more in seen
        if all(dict(known).get(of, value) == value for of, value in more)
    }


@lru_cache(maxsize=4096)  # a listing names a day a thousand times
def _as_day(parts: _Parts) -> date | None:
    """Return the day that these are the parts of, None if there is no such day."""
    of = {name: int(digits) for name, digits in parts}
    with suppress(ValueError, KeyError, OverflowError):
        if {"m", "d"} <= of.keys():
            return date(of["Y"], of["m"], of["d"])
        return date(of["Y"], 1, 1) + timedelta(days=of["j"] - 1)
    return None
