"""Objects as files below a directory: atomic for readers, durable across a power cut.

No library does both on a local filesystem (docs/decisions/local-files.md), so the few system calls
are made here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from recsys_assets.errors import (
    ManifestConflictError,
    PublishOutcomeUnknownError,
    StorageError,
)
from recsys_assets.locks import exclusive
from recsys_assets.storage.private import private_directory
from recsys_assets.storage.store import Stored, Versioned

_SCRATCH = ".scratch"
_LOCK = ".lock"
# What a killed process of another machine left in the scratch directory is removed after this; no
# day takes that long.
_ABANDONED_AFTER_S = 86_400


class LocalStore:
    """A `Store` in a directory of a local POSIX filesystem."""

    def __init__(self, root: str | Path) -> None:
        # URIs are compared as text, so `../var` and `/srv/var` must become one spelling.
        self._root = Path(os.path.normpath(Path(root).absolute()))
        self._durable: set[Path] = set()

    def uri(self, key: str) -> str:
        """Return `file://` and the absolute path, literally: the online service decodes nothing."""
        return f"file://{self._path(key)}"

    def key(self, uri: str) -> str:
        """Return the key behind a URI of this store."""
        prefix = f"file://{self._root}/"
        if not uri.startswith(prefix):
            raise StorageError(f"{uri} is not below {prefix}: another root wrote it")
        return uri.removeprefix(prefix)

    def read(self, key: str) -> Versioned | None:
        """Return a small object whole, or None when it is absent."""
        try:
            data = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        return Versioned(data, _tag(data))

    def open(self, key: str) -> tuple[BinaryIO, int]:
        """Return an object for reading and its size in bytes."""
        file = self._path(key).open("rb")
        return file, os.fstat(file.fileno()).st_size

    def location(self, key: str) -> str:
        """Return the object's file, whether or not it is there."""
        return str(self._path(key))

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield the objects below a prefix; links to directories are not followed."""
        for directory, folders, names in os.walk(self._path(prefix), onerror=_refuse_unreadable):
            if Path(directory) == self._root and _SCRATCH in folders:
                folders.remove(_SCRATCH)
            for name in names:
                path = Path(directory, name)
                if path.suffix != _LOCK:
                    yield from self._stored(path)

    def stat(self, key: str) -> Stored | None:
        """Return size and times of one file, or None when it is absent."""
        try:
            found = os.stat(self._within(key))  # noqa: PTH116 (a listing has a hundred thousand)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ELOOP}:  # a link to itself leads to nothing
                return None
            raise
        return _as_stored(key, found) if stat.S_ISREG(found.st_mode) else None

    def put_new(self, key: str, content: bytes | Path) -> bool:
        """Write an object unless it is there already; of two that race, one writes."""
        path = self._path(key)
        if path.is_dir():
            raise IsADirectoryError(
                errno.EISDIR, "a directory is where a file should be", str(path)
            )
        if path.exists():
            # Another writer may not have synced it yet, and we are about to rely on it.
            self._sync_directory(path.parent)
            return False
        with self._ready(content) as ready:
            self._make_directory(path.parent)
            try:
                os.link(ready, path)
            except FileExistsError:
                written = False
            else:
                written = True
            self._sync_directory(path.parent)
        return written

    def replace(self, key: str, content: bytes | Path) -> None:
        """Write an object, whatever was there."""
        path = self._path(key)
        with self._ready(content) as ready:
            self._make_directory(path.parent)
            ready.replace(path)
            self._sync_directory(path.parent)

    def write_derived(self, key: str, data: bytes) -> None:
        """Write what can be made again, whatever was there, without waiting for the disk."""
        path = self._path(key)
        ready = self._scratch() / uuid.uuid4().hex
        try:
            ready.write_bytes(data)
            path.parent.mkdir(parents=True, exist_ok=True)
            ready.replace(path)
        finally:
            ready.unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        """Remove an object; absent is fine."""
        path = self._path(key)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            self._sync_directory(path.parent)

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        """Write an object if its tag is still `expected`; None means that it must be absent."""
        path = self._path(key)
        with self._ready(data) as ready:
            self._make_directory(path.parent)
            with exclusive(path.with_suffix(_LOCK)):
                live = self.read(key)
                found = live.tag if live else None
                if found != expected:
                    raise ManifestConflictError(self.uri(key), expected=expected, found=found)
                ready.replace(path)
                with _outcome_unknown(path):
                    self._sync_directory(path.parent)

    def settle(self, key: str) -> None:
        """Make what readers see of an object durable; cheap when it is."""
        path = self._path(key)
        with _outcome_unknown(path):
            _sync(path)
            self._sync_directory(path.parent)

    def left_behind(self, *, before: datetime) -> Iterator[Stored]:
        """Yield the files in the scratch directory that nobody has touched since `before`."""
        for directory, _, names in os.walk(self._root / _SCRATCH, onerror=_refuse_unreadable):
            for name in names:
                for stored in self._stored(Path(directory, name)):
                    if stored.modified < before:
                        yield stored

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a private directory on the root's filesystem, so that a file can be linked away."""
        parent = self._scratch()
        for left_behind in parent.iterdir():
            with contextlib.suppress(OSError):  # another process may sweep it too
                if time.time() - left_behind.stat().st_mtime > _ABANDONED_AFTER_S:
                    _remove(left_behind)
        with private_directory(parent) as directory:
            yield directory

    def _stored(self, path: Path) -> Iterator[Stored]:
        with contextlib.suppress(FileNotFoundError):  # removed since it was listed
            yield _as_stored(str(path.relative_to(self._root)), path.lstat())

    def _path(self, key: str) -> Path:
        return Path(self._within(key))

    def _within(self, key: str) -> str:
        if key.startswith("/") or (".." in key and ".." in key.split("/")):
            raise StorageError(f"key {key!r} leaves {self._root}")
        return f"{self._root}/{key}"

    def _scratch(self) -> Path:
        self._make_directory(self._root)
        directory = self._root / _SCRATCH
        directory.mkdir(exist_ok=True)
        return directory

    @contextlib.contextmanager
    def _ready(self, content: bytes | Path) -> Iterator[Path]:
        """Give a synced file with the content; what is left of it afterwards is removed."""
        if isinstance(content, Path):
            _sync(content)
            yield content
            content.unlink(missing_ok=True)
            return
        ready = self._scratch() / uuid.uuid4().hex
        try:
            # Not tempfile: its files are 0600, and the online service is another user.
            with ready.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield ready
        finally:
            ready.unlink(missing_ok=True)

    def _make_directory(self, directory: Path) -> None:
        """Create a directory whose name survives a power cut, each parent's included."""
        # Counts and profiles may be deleted at any time, and their directories with them.
        if directory in self._durable and directory.is_dir():
            return
        ours = self._root in directory.parents
        if ours or not directory.parent.exists():
            self._make_directory(directory.parent)
        created = _mkdir(directory)
        if ours or created:
            _sync(directory.parent)
        elif directory == self._root:
            # Its maker may not have synced it; but its parent is not ours, nor always readable.
            with contextlib.suppress(PermissionError):
                _sync(directory.parent)
        self._durable.add(directory)

    def _sync_directory(self, directory: Path) -> None:
        _sync(directory)


def _refuse_unreadable(error: OSError) -> None:
    """Raise what os.walk would pass over, unless there is no directory, or none any more."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _as_stored(key: str, found: os.stat_result) -> Stored:
    modified = datetime.fromtimestamp(found.st_mtime, UTC)
    # The time of change too: `cp -p`, `rsync -t` and `touch -d` set the other one to the past.
    tag = f"{found.st_mtime_ns}-{found.st_ctime_ns}"
    return Stored(key, found.st_size, modified, tag)


def _mkdir(directory: Path) -> bool:
    """Make a directory unless it is there; return whether it was made."""
    try:
        directory.mkdir()
    except OSError:  # not FileExistsError only: a system may say first that the parent is read-only
        if not directory.is_dir():
            raise
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _outcome_unknown(path: Path) -> Iterator[None]:
    """Say of a failure to sync that readers see `path` all the same."""
    try:
        yield
    except OSError as error:
        raise PublishOutcomeUnknownError(
            f"{path} was flipped but may not survive a power cut ({error}). Publish the same day "
            "again: it settles which of the two is live."
        ) from error
