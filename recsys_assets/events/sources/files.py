"""Raw events in files or objects, plain or compressed, any number a day: which, and their lines."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

import pyarrow as pa

from recsys_assets.config import DayPattern, Surface, is_object_url, segments_of
from recsys_assets.errors import RawEventsError, StorageError
from recsys_assets.events.chunks import Readable, whole_lines
from recsys_assets.events.forms import Text
from recsys_assets.events.sources.compression import (
    TOO_MUCH_MEMORY,
    decompressed,
    form,
    refuse_what_is_no_text,
    without_ending,
)
from recsys_assets.events.sources.hashing import HashingReader, sha256_of
from recsys_assets.events.sources.source import InputSeen, Reading
from recsys_assets.pages import Location, Shown
from recsys_assets.storage import open_store
from recsys_assets.storage.store import Stored
from recsys_assets.texts import as_code

# A larger file is told by its size and times: reading it would take longer than a tick may.
_MOST_BYTES: Final = 4 * 2**30
# How names begin and end, whatever their case, of what is no part of a day: hidden, not finished
# yet, a copy that a tool keeps, a checksum. docs/raw-events.md lists them.
PASSED_OVER: Final = (
    (".", "_"),
    (
        ".tmp", ".temp", ".part", ".partial", ".inprogress", ".crdownload", "._copying_",
        ".bak", ".orig", "~",
        ".crc", ".md5", ".sha1", ".sha256", ".sha512",
    ),
)  # fmt: skip


class Files:
    """What sources of files have in common: the files below `source.path` that match its pattern.

    Directories, and files that by their names are no part of a day, are left out. A source of files
    says besides what its lines are: `identity`, `tag`, `description` and `parse`.
    """

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self._root = surface.source.path
        self._pattern = DayPattern(surface.source.pattern)
        self._in_bucket = is_object_url(self._root)
        self._store = open_store(self._root)
        *folders, _ = segments_of(self._pattern.glob(surface.place, date.min))
        self._found = [n for n, folder in enumerate(folders) if folder.startswith(("*", "?"))]

    @property
    def where(self) -> str:
        """Pattern and path, in Markdown."""
        return f"{as_code(self._pattern.text)} below {as_code(self._root)}"

    @property
    def shown(self) -> Mapping[str, Shown]:
        """Pattern and path."""
        return {"pattern": self._pattern.text, "path": Location(self._root)}

    def inputs(self, day: date) -> list[str]:
        """Return the day's files.

        Raises:
            RawEventsError: `source.path` is no directory, or a file of the day is a link to
                nothing: neither is an empty day, a mount or a landing job is broken. A link leads
                elsewhere, or two files are one part, plain and compressed.
            StoreUnavailableError: the object store at `source.path` cannot be listed.
        """
        names: Iterable[str] = (
            (stored.key for stored in self._matching_objects(day))
            if self._in_bucket
            else self._files_of(day)
        )
        found = sorted(filter(self._is_part, names), key=os.fsencode)
        self._refuse_two_of_one(found)
        return found

    def wanted(self, day: date) -> str:
        """Return the pattern of the day, and where."""
        return f"raw file matches {self.surface.raw_pattern(day)!r} below {self._root}"

    @contextmanager
    def open(self, name: str, days: Collection[date]) -> Iterator[Reading]:
        """Open a file; it is decompressed by its suffix."""
        location = self.label(name)
        with told_of(location):
            raw, size_bytes = self._store.open(name)
        with raw:
            yield _Reading(self, name, location, raw, size_bytes)

    def text(self, stream: Readable) -> Text:
        """Return what a file holds as lines; a format may have further forms that are."""
        return Text(stream)

    def split(self, text: Text, location: str) -> Iterator[Any]:
        """Yield the text of a file at a location in pieces for `parse`."""
        return whole_lines(text)

    def label(self, name: str) -> str:
        """Return the file's path or URL."""
        return self._store.location(name)

    def size_bytes(self, name: str) -> int | None:
        """Return the size of the file, if it can be opened."""
        try:
            opened, size_bytes = self._store.open(name)
        except (OSError, StorageError):
            return None
        opened.close()
        return size_bytes

    def landed(self) -> dict[date, list[Stored]]:
        """List the files of every day, in one pass, as `inputs` does for one.

        A link to nothing is left out, and what else is wrong is not looked for: only its own day is
        broken, and says so when it is materialized.
        """
        return self.by_day(self.listed())

    def listed(self) -> list[Stored]:
        """List what may be of some day, in source order; `by_day` decides."""
        found: Iterable[Stored | None]
        if self._in_bucket:
            found = (stored for stored in self._matching_objects() if self._is_part(stored.key))
        else:
            found = map(self._store.stat, filter(self._is_part, self._glob()))
        return sorted(filter(None, found), key=lambda stored: os.fsencode(stored.key))

    def by_day(self, listed: Iterable[Stored]) -> dict[date, list[Stored]]:
        """Return the files of every day among those that are listed, in their order."""
        days_of = self._pattern.days_of(self.surface.place)
        by_day: dict[date, list[Stored]] = {}
        for stored in listed:
            for day in days_of(stored.key):
                by_day.setdefault(day, []).append(stored)
        return by_day

    def is_complete(self, day: date) -> bool | None:
        """Look for the success marker, if there is to be one."""
        marker = self.surface.success_marker(day)
        return None if marker is None else self._store.stat(marker) is not None

    def content(self, landed: Stored) -> str:
        """Return the SHA-256 of a file; of an object, which is not read here, size and tag."""
        if self._in_bucket or landed.size_bytes > _MOST_BYTES:
            return f"{landed.size_bytes}-{landed.tag}"
        return sha256_of(self._root, landed.key, landed.tag)

    def is_still(self, seen: InputSeen, landed: Stored, *, read_at: datetime) -> bool:
        """Compare the bytes of a file; of an object its size, and that it is not newer."""
        if landed.size_bytes != seen.size_bytes:
            return False
        if self._in_bucket:
            return landed.modified < read_at
        return self.content(landed) == seen.sha256

    def _is_part(self, name: str) -> bool:
        """Tell by its name, and those of the folders that a wildcard found, what is of a day."""
        begins, ends = PASSED_OVER
        segments = segments_of(name.lower())
        if segments[-1].endswith(ends) or segments[-1].startswith(begins):
            return False
        return not any(segments[number].startswith(begins) for number in self._found)

    def _files_of(self, day: date) -> Iterator[str]:
        names = self._glob(day)
        self._refuse_closed_folders(day)
        root = Path(self._root).resolve()
        for name in filter(self._is_part, names):
            path = Path(self._root) / name
            if path.is_symlink() and not path.exists():
                raise RawEventsError(
                    f"{path} is a link to {path.readlink()}, which is not there: is it "
                    "mounted? nothing was read"
                )
            if path.is_dir():
                continue
            real = path.resolve()
            if not (self.surface.source.follow_links_outside or real.is_relative_to(root)):
                raise RawEventsError(
                    f"{path} is a link to {real}, outside of source.path {self._root}: nothing "
                    "was read. Land the file itself, or set source.follow_links_outside"
                )
            if not path.is_file():
                raise RawEventsError(
                    f"{path} is no file but a pipe, a socket or a device: nothing was read. Take "
                    "it away, or land a file in its place"
                )
            yield name

    def _refuse_closed_folders(self, day: date) -> None:
        """Refuse folders on the way that may not be listed: to a glob they look empty."""
        segments = PurePosixPath(self._pattern.glob(self.surface.place, day)).parts
        for depth, segment in enumerate(segments):
            needed = os.R_OK | os.X_OK if glob.has_magic(segment) else os.X_OK
            above = "/".join(segments[:depth]) or "."
            for name in glob.glob(above, root_dir=self._root):  # noqa: PTH207 (as below)
                folder = Path(self._root) / name
                if folder.is_dir() and not os.access(folder, needed):
                    raise RawEventsError(
                        f"{folder} may not be listed by this user: nothing was read. Let it be "
                        "read, files and folders alike, and materialize the day"
                    )

    def _refuse_two_of_one(self, names: Iterable[str]) -> None:
        parts: dict[str, str] = {}
        for name in names:
            other = parts.setdefault(without_ending(name), name)
            if other != name:
                raise RawEventsError(
                    f"{self.label(other)} and {self.label(name)} are one part under two names, and "
                    "its events would count twice: nothing was read. Take one of them away; if "
                    "each has events of its own, give one another name"
                )

    def _glob(self, day: date | None = None) -> list[str]:
        if not Path(self._root).is_dir():
            raise RawEventsError(
                f"source.path {self._root} is not a directory: is it mounted? nothing was read"
            )
        pattern = self._pattern.glob(self.surface.place, day)
        return glob.glob(pattern, root_dir=self._root)  # noqa: PTH207 (Path.glob cannot escape)

    def _matching_objects(self, day: date | None = None) -> Iterator[Stored]:
        place = self.surface.place
        matches = self._pattern.matcher(place, day)
        folder = self._pattern.folder(place, day)
        return (stored for stored in self._store.list(folder) if matches(stored.key))


class _Reading:
    """A file that is being read."""

    def __init__(
        self, source: Files, name: str, location: str, raw: BinaryIO, size_bytes: int
    ) -> None:
        self._source = source
        self._name = name
        self._location = location
        self._stored = HashingReader(raw)
        self._size_bytes = size_bytes
        self._seen: InputSeen | None = None
        self._content: str | None = None

    def pieces(self) -> Iterator[Any]:
        """Yield what the format makes of its text, chunks of whole lines by default.

        Raises:
            RawEventsError: the compressed stream is damaged, of a compression that is not read or
                of no bytes; it expands beyond any measure, or holds no text. Or the disk fails.
            StoreUnavailableError: the object store does not answer.
        """
        with (
            told_of(self._location),
            decompressed(self._stored, self._name, self._size_bytes, self._location) as plain,
        ):
            text = self._source.text(plain)
            refuse_what_is_no_text(text.beginning, self._location)
            yield from self._source.split(text, self._location)
            self._seen = InputSeen(
                self._name,
                self._stored.size_bytes,
                self._stored.sha256,
                f"{form(self._name)} {text.form}".strip(),
            )
            self._content = plain.sha256

    def seen(self) -> InputSeen:
        """Return size and SHA-256 of the bytes as they are stored, and how they were read."""
        if self._seen is None:
            raise RuntimeError(f"{self._location} was not read to its end")
        return self._seen

    def content(self) -> str | None:
        """Return the SHA-256 of its bytes, decompressed."""
        return self._content


@contextmanager
def told_of(location: str) -> Iterator[None]:
    """Say of what fails while a file is read which file it is, and what to do."""
    try:
        yield
    except (OSError, EOFError, LZMAError, pa.ArrowException, StorageError) as error:
        advice = (
            "compress it so that 128 MiB are enough to decompress it (zstd --long=27)"
            if any(said in str(error) for said in TOO_MUCH_MEMORY)
            else "land the file again"
        )
        problem = error.problem if isinstance(error, StorageError) else error
        raise RawEventsError(
            f"{location}: cannot be read to its end ({problem}). Nothing of the day was kept; "
            f"{advice} and materialize the day."
        ) from error
