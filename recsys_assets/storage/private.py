"""Directories for what a process writes before it is handed over."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def private_directory(parent: Path) -> Iterator[Path]:
    """Give a directory of one's own, and remove those beside it that killed processes left.

    It is locked, and the kernel drops a lock with its process. The name has that of this machine in
    it, since the kernel knows no other's processes. Where directories cannot be locked, none are
    removed.
    """
    prefix = f"recsys_assets-{socket.gethostname()}-"
    for left in parent.iterdir():
        if left.name.startswith(prefix):
            with suppress(OSError):  # it is gone, held, or another user's
                _remove_unless_held(left)
    directory, descriptor = _held(parent, prefix)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(descriptor)


def _remove_unless_held(directory: Path) -> None:
    descriptor = _opened(directory)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(descriptor)


def _held(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with suppress(FileNotFoundError):  # removed by another process before it was held
            descriptor = _opened(directory)
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if directory.exists():
                return directory, descriptor
            os.close(descriptor)


def _opened(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
