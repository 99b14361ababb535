"""A terminal of so many columns, for commands."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from recsys_assets import cli

WIDTH: Final = 80


def in_terminal(*arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run `recsys-assets` in a terminal of 80 columns; return its exit code and what it printed."""
    ours, theirs = _open()
    names = os.environ if environment is None else environment
    process = subprocess.Popen(
        [sys.executable, "-m", "recsys_assets.cli", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        # COLUMNS would be believed instead of the terminal, and TERM=dumb means 80 as it is.
        env={name: text for name, text in names.items() if name != "COLUMNS"} | {"TERM": "xterm"},
        start_new_session=True,
    )
    os.close(theirs)
    printed = _read(ours)
    return process.wait(60), printed


def in_terminal_here(*arguments: str) -> tuple[int, str]:
    """Do the same in this process, to which nothing else writes meanwhile.

    A process of its own takes seconds to start. It is needed for how one begins and ends.
    """
    ours, theirs = _open()
    with ThreadPoolExecutor() as reader, pytest.MonkeyPatch.context() as patch:
        printed = reader.submit(_read, ours)
        patch.delenv("COLUMNS", raising=False)
        patch.setenv("TERM", "xterm")
        kept = {number: os.dup(number) for number in (0, 1)}
        sys.stdout.flush()
        try:
            # Rich asks the terminal of these numbers for its size, whatever is `sys.stdout`.
            for number in kept:
                os.dup2(theirs, number)
            with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
                patch.setattr(sys, "stdout", terminal)
                patch.setattr(sys, "stderr", io.StringIO())
                try:
                    cli.main(arguments)
                    code = 0
                except SystemExit as ended:
                    code = int(ended.code or 0)
        finally:
            for number, descriptor in kept.items():
                os.dup2(descriptor, number)
                os.close(descriptor)
        return code, printed.result(60)


def _open() -> tuple[int, int]:
    """Return both ends of a new terminal: ours, and that of the command."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    return ours, theirs


def _read(ours: int) -> str:
    """Return what is written until the other end is closed."""
    printed = bytearray()
    try:
        while data := os.read(ours, 65_536):
            printed += data
    except OSError:  # EIO: nobody has the other end any more
        pass
    os.close(ours)
    return printed.decode().replace("\r\n", "\n")
