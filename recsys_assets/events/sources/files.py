"""Raw events in files or objects, plain or compressed, any number a day: which, and their lines."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

import pyarrow as pa

from recsys_assets.config import DayPattern, Surface, is_object_url
from recsys_assets.errors import RawEventsError, StorageError, StoreUnavailableError
from recsys_assets.events.chunks import Chunk, whole_lines
from recsys_assets.events.sources.hashing import HashingReader, sha256_of
from recsys_assets.events.sources.source import InputSeen
from recsys_assets.pages import Location, Shown
from recsys_assets.storage import open_store
from recsys_assets.storage.store import Stored
from recsys_assets.texts import as_code

_CODECS: Final = {".gz": "gzip", ".zst": "zstd"}
# A larger file is told by its size and times: reading it would take longer than a tick may.
_MOST_BYTES: Final = 4 * 2**30
# Names under which common tools write a file that is not finished yet.
_UNFINISHED: Final = (
    ".tmp",
    ".temp",
    ".part",
    ".partial",
    ".inprogress",
    ".crdownload",
    "._COPYING_",
    "~",
)


class Files:
    """What sources of files have in common: the files below `source.path` that match its pattern.

    Hidden files, files that are still being written by their name, and directories are left out. A
    source of files says besides what its lines are: `identity`, `tag`, `description` and `parse`.
    """

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self._root = surface.source.path
        self._pattern = DayPattern(surface.source.pattern)
        self._in_bucket = is_object_url(self._root)
        self._store = open_store(self._root)

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
                nothing. Neither is an empty day: a mount or a landing job is broken.
            StorageError: the object store at `source.path` cannot be listed.
        """
        names: Iterable[str] = (
            (stored.key for stored in self._matching_objects(day))
            if self._in_bucket
            else self._files_of(day)
        )
        return sorted(filter(_is_finished, names), key=os.fsencode)

    def wanted(self, day: date) -> str:
        """Return the pattern of the day, and where."""
        return f"raw file matches {self.surface.raw_pattern(day)!r} below {self._root}"

    @contextmanager
    def open(self, name: str) -> Iterator[_Reading]:
        """Open a file; it is decompressed by its suffix."""
        location = self.label(name)
        with _told_of(location):
            raw = self._store.open(name)[0]
        with raw:
            yield _Reading(name, location, raw)

    def label(self, name: str) -> str:
        """Return the file's path or URL."""
        return self._store.location(name)

    def size_bytes(self, name: str) -> int | None:
        """Return the size of the file, if it can be opened."""
        try:
            opened, size_bytes = self._store.open(name)
        except StoreUnavailableError:
            raise
        except (OSError, StorageError):
            return None
        opened.close()
        return size_bytes

    def landed(self) -> dict[date, list[Stored]]:
        """List the files of every day, in one pass, as `inputs` does for one.

        A link to nothing is left out: only its own day is broken, and says so when it is
        materialized.
        """
        if self._in_bucket:
            found = self._matching_objects()
        else:
            names = self._glob()
            found = (stored for name in names if (stored := self._store.stat(name)) is not None)
        place = self.surface.place
        matchers = {}
        by_day: dict[date, list[Stored]] = {}
        for stored in found:
            if not _is_finished(stored.key):
                continue
            for day in self._pattern.days_in(stored.key):
                if day not in matchers:
                    matchers[day] = self._pattern.matcher(place, day)
                if matchers[day](stored.key):
                    by_day.setdefault(day, []).append(stored)
        for files in by_day.values():
            files.sort(key=lambda stored: os.fsencode(stored.key))
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

    def _files_of(self, day: date) -> Iterator[str]:
        for name in self._glob(day):
            path = Path(self._root) / name
            if path.is_symlink() and not path.exists() and _is_finished(name):
                raise RawEventsError(
                    f"{path} is a link to {path.readlink()}, which is not there: is it "
                    "mounted? nothing was read"
                )
            if path.is_file():
                yield name

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

    def __init__(self, name: str, location: str, raw: BinaryIO) -> None:
        self._name = name
        self._location = location
        self._reader = HashingReader(raw)
        self._at_end = False

    def pieces(self) -> Iterator[Chunk]:
        """Yield chunks of whole lines.

        Raises:
            RawEventsError: the compressed stream is damaged or of no bytes at all: even of nothing,
                a compressor writes a header. Or the disk fails.
            StoreUnavailableError: the object store does not answer.
        """
        codec = _CODECS.get(PurePosixPath(self._name).suffix)
        with _told_of(self._location):
            if codec is None:
                yield from whole_lines(self._reader)
            else:
                with pa.CompressedInputStream(
                    pa.PythonFile(self._reader, mode="r"), codec
                ) as plain:
                    yield from whole_lines(plain)
                if not self._reader.size_bytes:
                    raise EOFError("0 bytes, as an aborted upload leaves it")
        self._at_end = True

    def seen(self) -> InputSeen:
        """Return size and SHA-256 of the bytes as they are stored."""
        if not self._at_end:
            raise RuntimeError(f"{self._location} was not read to its end")
        return InputSeen(self._name, self._reader.size_bytes, self._reader.sha256)


@contextmanager
def _told_of(location: str) -> Iterator[None]:
    try:
        yield
    except StoreUnavailableError:  # not the file's fault
        raise
    except (OSError, EOFError, pa.ArrowException, StorageError) as error:
        raise RawEventsError(
            f"{location}: cannot be read to its end ({error}). Nothing of the day was kept; "
            "land the file again and materialize the day."
        ) from error


def _is_finished(name: str) -> bool:
    return not name.endswith(_UNFINISHED) and not PurePosixPath(name).name.startswith((".", "_"))
