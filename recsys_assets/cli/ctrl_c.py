"""Ctrl-C where there is nothing yet to bring to an end, and where that goes on already."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process where it is, with exit code 130.

    For the seconds in which modules are read. An exception would come up anywhere in them: with a
    stack, or in a callback of Python's own, which prints it and goes on as if nothing had happened.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"Stopped by Ctrl-C; nothing was started\n")
    os._exit(130)


def is_not_heard() -> None:
    """Let no further Ctrl-C disturb what the first one began: telling what is done, and the end."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def is_left_to_the_system() -> None:
    """Let the next Ctrl-C end the process: what is left is Python waiting for its threads."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
