"""Ctrl-C while a run goes on in this process: the run is over then, and the instance says so."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import dagster as dg

from recsys_assets.defs.internals import (
    helpers_hear_no_ctrl_c,
    interrupts_held_back,
    was_cut_short,
)

# Dagster takes the second for the first, and so do we.
_STOPS: Final = {signal.SIGINT, signal.SIGTERM}


@contextmanager
def stoppable(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Execute a run in this process; Ctrl-C ends it.

    Raises:
        KeyboardInterrupt: the user stopped it. Whatever the run was doing, it is canceled, so that
            it takes no place in the queue and nobody is told of a failure.
    """
    # Held back but in a step: an exception in the middle of what Dagster stores would be printed.
    with _listening() as heard, interrupts_held_back(), helpers_hear_no_ctrl_c():
        try:
            yield
            if heard():
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            run = instance.get_run_by_id(run_id)
            if run and (not run.is_finished or was_cut_short(run)):
                instance.report_run_canceled(run, "Stopped by Ctrl-C.")
            raise


@contextmanager
def _listening() -> Iterator[Callable[[], bool]]:
    """Notice each Ctrl-C. One that comes between steps Dagster keeps, and forgets at the end."""
    if threading.current_thread() is not threading.main_thread():  # it gets no signals
        yield lambda: False
        return
    ours, pythons = socket.socketpair()
    with ours, pythons:
        ours.setblocking(False)
        pythons.setblocking(False)
        before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)

        def heard() -> bool:
            try:
                return not _STOPS.isdisjoint(ours.recv(4096))
            except BlockingIOError:
                return False

        try:
            yield heard
        finally:
            signal.set_wakeup_fd(before)
