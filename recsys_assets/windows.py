"""The days that an artifact looks back on, and the fingerprint of what was there on them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class Window:
    """Whole UTC days, `end` exclusive."""

    start: date
    end: date

    @classmethod
    def ending_with(cls, day: date, *, days: int) -> Window:
        """Return the `days` days of which `day` is the last."""
        return cls(day - timedelta(days=days - 1), day + timedelta(days=1))

    @property
    def last_day(self) -> date:
        """The last day that is in it."""
        return self.end - timedelta(days=1)

    def __str__(self) -> str:
        """Return it as people write it: by its days."""
        return span_text(self.start, self.last_day)

    def days(self, since: date | None = None) -> list[date]:
        """Return its days, oldest first, without those before `since`."""
        first = self.start if since is None else max(self.start, since)
        return [first + timedelta(days=number) for number in range((self.end - first).days)]

    def to_json(self) -> dict[str, str]:
        """Return the RFC 3339 form of both ends."""
        return {"start": f"{self.start}T00:00:00Z", "end": f"{self.end}T00:00:00Z"}

    @classmethod
    def from_json(cls, window: dict[str, str]) -> Window:
        """Read what `to_json` wrote."""
        return cls(date.fromisoformat(window["start"][:10]), date.fromisoformat(window["end"][:10]))


@dataclass(frozen=True)
class SourceHash:
    """What an artifact is made of, in one text that is compared: `data`, then what else decides.

    Attributes:
        data: fingerprint of the events, or of the catalog.
        catalog: that of the catalog, where its items alone are listed.
        denied: that of the list of withdrawn items, where there is one.
    """

    data: str
    catalog: str | None = None
    denied: str | None = None

    def __str__(self) -> str:
        """Return the text; without anything else, `data` alone."""
        of = {"catalog": self.catalog, "denied": self.denied}
        return self.data + "".join(f"-{name}-{text}" for name, text in of.items() if text)

    @classmethod
    def from_text(cls, text: str) -> SourceHash:
        """Read the text; fingerprints have no dashes."""
        data, *more = text.split("-")
        of = dict(zip(more[::2], more[1::2], strict=False))
        return cls(data, of.get("catalog"), of.get("denied"))


def span_text(first: date, last: date) -> str:
    """Return a day, or the first and the last one."""
    return str(first) if first == last else f"{first} to {last}"


def source_hash(fingerprints: Mapping[date, str]) -> str:
    """Fingerprint the days that an artifact is computed from, in any order; of one, it is its own.

    Args:
        fingerprints: those of the accepted days of canonical events, by day.
    """
    if len(fingerprints) == 1:
        return next(iter(fingerprints.values()))
    lines = "\n".join(f"{day} {fingerprints[day]}" for day in sorted(fingerprints))
    return hashlib.sha256(lines.encode()).hexdigest()
