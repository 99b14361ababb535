"""What the project asks of a source of raw events.

Each kind of source is one file in this folder, and its model in `config/sources.py`.
docs/add-a-source.md adds one, step by step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol

from recsys_assets.pages import Shown
from recsys_assets.storage.store import Stored

if TYPE_CHECKING:
    from recsys_assets.events.parsed import ParsedChunk


@dataclass(frozen=True)
class InputSeen:
    """An input of a day, such as a raw file, as it was when it was read to its end.

    Attributes:
        name: what it is called in the source.
        size_bytes: of the bytes as they are stored.
        sha256: of the same; of a file of a table, of what the table says of it.
        form: how they were read, in a word or two; "" in the way that days are stored in which was
            the only one once. Another sha256 or form whenever the events may be others.
    """

    name: str
    size_bytes: int
    sha256: str
    form: str = ""
    version: str = ""


class Reading(Protocol):
    """One input that is being read."""

    def pieces(self) -> Iterator[Any]:
        """Yield it in pieces of bounded size, for `Source.parse`, in source order.

        Raises:
            RawEventsError: it cannot be read to its end.
            StoreUnavailableError: the object store does not answer.
        """

    def seen(self) -> InputSeen:
        """Return what was read; only once all pieces were yielded."""

    def content(self) -> str | None:
        """Return what is equal where two inputs hold the same, then too; None where none can.

        Of inputs in chunks of lines, the lines are compared, and this is asked of empty ones only.
        """


class Source(Protocol):
    """Where the raw events of one surface are. An input is known by its name in the source."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What, besides the inputs, decides which events they give: kind of source, format, ...

        It is part of the fingerprint of a day. Empty for JSON lines of raw event v1, as days have
        it that were stored when there was nothing else.
        """

    @property
    def tag(self) -> str:
        """What the asset graph calls its format, a word that Dagster has a picture for."""

    @property
    def description(self) -> str:
        """What lands and where, in Markdown, for the asset page of the raw events."""

    @property
    def shown(self) -> Mapping[str, Shown]:
        """What else that page shows."""

    def inputs(self, day: date) -> list[str]:
        """Return the names of the day's inputs in source order, which is that of their UTF-8 bytes.

        Raises:
            RawEventsError: what stands for the source is not there: a mount is broken, say.
            StoreUnavailableError: it cannot be listed.
        """

    def wanted(self, day: date) -> str:
        """Return what was looked for on a day that has no inputs: `raw file matches ...`."""

    def open(self, name: str, days: Collection[date]) -> AbstractContextManager[Reading]:
        """Open an input for reading: what it holds of some days where it can tell, else all."""

    def parse(self, piece: Any, day: date | None) -> ParsedChunk:
        """Split a piece into the events of the surface and day, and what is refused.

        None keeps the events of all days, to look at them.

        Called in any thread, or in another process, by a source that was opened and asked nothing
        else: pieces can be pickled. Lines and order are those of the source.
        """

    def label(self, name: str) -> str:
        """Return the path or URL by which a person finds an input."""

    def size_bytes(self, name: str) -> int | None:
        """Return the size of an input as it is now; None when it is not there, or not readable."""

    def landed(self) -> dict[date, list[Stored]]:
        """Return what is there, by day, with its state, in source order.

        Raises:
            RawEventsError: what stands for the source is not there.
            StoreUnavailableError: it cannot be listed.
        """

    def is_complete(self, day: date) -> bool | None:
        """Tell whether a day was marked as complete; None where days are not marked."""

    def content(self, landed: Stored) -> str:
        """Return what tells the content of an input from any other.

        Raises:
            FileNotFoundError: it was replaced or removed meanwhile.
        """

    def is_still(self, seen: InputSeen, landed: Stored, *, read_at: datetime) -> bool:
        """Tell whether an input is what was read at a time; the name is the same already."""
