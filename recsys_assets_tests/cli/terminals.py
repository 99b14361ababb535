"""A terminal of so many columns, for commands in processes of their own."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from typing import Final

WIDTH: Final = 80


def in_terminal(*arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run `recsys-assets` in a terminal of 80 columns; return its exit code and what it printed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
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
    printed = bytearray()
    try:
        while data := os.read(ours, 65_536):
            printed += data
    except OSError:  # EIO: nobody has the other end any more
        pass
    os.close(ours)
    return process.wait(60), printed.decode().replace("\r\n", "\n")
