"""What a sensor remembers from one tick to the next, of one root."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


def remembered(text: str | None, root: str, read: Callable[[dict[str, Any]], T], *, new: T) -> T:
    """Return what a cursor holds, as `read` makes it of its members.

    Of none, of another root's, or of one that cannot be read, it is `new`: that costs only time.
    Earlier versions named no root.
    """
    try:
        members = json.loads(text or "{}")
        return read(members) if members.get("root", root) == root else new
    except (ValueError, KeyError, TypeError, AttributeError):
        return new


@dataclass
class Cursor:
    """What a tick needs to know of those before it; a few dozen bytes a day that is looked at.

    Signatures tell whether names, sizes or times of a day's files are others than they were.
    """

    root: str = ""  # whose days these are
    seen: dict[str, str] = field(default_factory=dict)  # day: signature of what was dealt with
    waiting: dict[str, tuple[str, float]] = field(default_factory=dict)  # signature, since when
    catalog: tuple[str, str] = ("", "")  # signature, and the day it was dealt with for
    denied: tuple[str, str] = ("", "")  # signature of the list, and its fingerprint
    # day: what its canonical events were when it was reported, and when that was; of the catalog,
    # its fingerprint.
    reported: dict[str, tuple[str, float]] = field(default_factory=dict)
    at_rest: str = ""  # signature of what was listed, and for what, when all of it was dealt with

    @classmethod
    def from_text(cls, text: str | None, root: str) -> Cursor:
        """Read the cursor of a root, as `remembered` does."""

        def read(found: dict[str, Any]) -> Cursor:
            waiting = {day: (str(sig), float(at)) for day, (sig, at) in found["waiting"].items()}
            catalog = (str(found["catalog"][0]), str(found["catalog"][1]))
            signature, version = found.get("denied", ("", ""))
            denied = (str(signature), str(version))
            reported = {
                day: (str(tag), float(at)) for day, (tag, at) in found.get("reported", {}).items()
            }
            at_rest = str(found.get("at_rest", ""))
            return cls(root, dict(found["seen"]), waiting, catalog, denied, reported, at_rest)

        return remembered(text, root, read, new=cls(root))

    def forget(self, all_but: Collection[str]) -> None:
        """Forget days without raw files: who deletes old ones does not want them computed again."""
        self.seen = {day: signature for day, signature in self.seen.items() if day in all_but}
        self.waiting = {what: since for what, since in self.waiting.items() if what in all_but}
        self.reported = {day: of for day, of in self.reported.items() if day in all_but}

    def to_text(self) -> str:
        """Write the cursor down."""
        return json.dumps(vars(self), separators=(",", ":"))
