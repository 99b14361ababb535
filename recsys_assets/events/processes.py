"""Processes that parse pieces of raw events, beside the one that reads and writes.

Each has a socket to the process that began it, and ends when that is closed: also where that
process was killed. docs/decisions/parsing-on-processes.md says why it is no pool of the standard
library.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from datetime import date
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final, Self

from recsys_assets.config import Surface
from recsys_assets.errors import ParsingError, RecsysAssetsError
from recsys_assets.events.parsed import ParsedChunk
from recsys_assets.events.sources import open_source

# -P: what lies in the directory that a step runs in is no module of ours.
_BEGIN: Final = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"]
# As many cores as processes are asked for; threads of each would only be in each other's way.
_ONE_THREAD: Final = {"POLARS_MAX_THREADS": "1"}
_FEWER: Final = (
    "Give the step more memory, or set source.processes to fewer, and materialize the day."
)


class Processes:
    """As many processes as there are threads that call `parse`; each begins when it is needed."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._begun: list[_Process] = []
        self._idle: list[_Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._begun:
            process.end()

    def parse(self, piece: Any, day: date | None) -> ParsedChunk:
        """Do in another process what `Source.parse` does.

        Raises:
            ParsingError: that process ended.
        """
        try:
            process = self._idle.pop()
        except IndexError:
            process = _Process(self._surface)
            self._begun.append(process)
        answer = process.ask((piece, day))
        self._idle.append(process)
        if isinstance(answer, Exception):
            raise answer
        parsed: ParsedChunk = answer
        return parsed


class _Process:
    """One of them, as it is seen by who began it."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._connection, theirs = Pipe()
        path = os.pathsep.join(folder or os.curdir for folder in sys.path)
        with theirs:
            try:
                self._running = subprocess.Popen(  # noqa: S603 - this Python
                    [*_BEGIN, str(theirs.fileno())],
                    env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    process_group=0,  # Ctrl-C is for the step, which closes the sockets
                )
            except OSError as error:
                raise ParsingError(
                    f"{surface.name}: no process to parse raw events can begin ({error}). "
                    "Nothing of the day was kept",
                    advice=_FEWER,
                ) from error
        with suppress(OSError):  # it has ended already, as the first question will tell
            self._connection.send(surface)

    def ask(self, question: tuple[Any, date | None]) -> Any:
        """Return what it answers."""
        try:
            self._connection.send(question)
            return self._connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None

    def end(self) -> None:
        """Have it end, once it has done what it does."""
        self._connection.close()
        self._running.wait()

    def _ended(self) -> ParsingError:
        code = self._running.wait()
        how = f"with code {code}: the output of the step has what it said"
        if code < 0:
            how = f"by {signal.Signals(-code).name}, as where memory runs out"
        return ParsingError(
            f"{self._surface.name}: process {self._running.pid}, which parsed raw events, ended "
            f"{how}. Nothing of the day was kept",
            advice=_FEWER,
        )


def serve() -> None:
    """Be one of the processes: parse what comes through the socket until it is closed."""
    with suppress(EOFError, OSError), Connection(int(sys.argv[1])) as connection:
        surface, source = connection.recv(), None
        while True:
            piece, day = connection.recv()
            answer: ParsedChunk | Exception
            try:
                source = source or open_source(surface)
                answer = source.parse(piece, day)
            except RecsysAssetsError as error:
                answer = error
            except Exception:  # of a class that may not be there, or not be sent
                answer = RuntimeError(traceback.format_exc())
            connection.send(answer)
