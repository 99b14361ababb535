"""The pieces of a day's inputs, read in order and parsed a few ahead: by threads or processes."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Final, NamedTuple

from recsys_assets.config import Surface
from recsys_assets.events.around import Around
from recsys_assets.events.chunks import Chunk
from recsys_assets.events.parsed import ParsedChunk
from recsys_assets.events.processes import Processes
from recsys_assets.events.sources import InputSeen, Source
from recsys_assets.events.sources.hashing import LinesHash

_THREADS: Final = 2
_PROGRESS_SECONDS: Final = 5.0

_LOG = logging.getLogger(__name__)


class Read(NamedTuple):
    """An input that was read to its end."""

    seen: InputSeen
    content: str | None


def parse_all(
    source: Source, inputs: Around, surface: Surface
) -> Iterator[tuple[int, ParsedChunk | Read]]:
    """Yield (index of the input, parsed piece) in source order, parsing a few pieces ahead.

    Once an input is read to its end, what was read of it comes too.

    Raises:
        RawEventsError: an input cannot be read to its end.
        ParsingError: a process that parsed ended.
    """
    at_once = surface.source.processes or _THREADS
    ahead: deque[tuple[int, Future[ParsedChunk]]] = deque()
    said, lines = time.monotonic(), 0
    with ExitStack() as stack:
        by = stack.enter_context(Processes(surface)) if surface.source.processes else source
        parse = partial(by.parse, day=None if inputs.is_wider else inputs.day)
        # Each thread waits for a process, where there are such.
        pool = stack.enter_context(ThreadPoolExecutor(at_once, thread_name_prefix="parse"))
        for index, name in enumerate(inputs.names):
            lines_hash: LinesHash | None = None
            with source.open(name, inputs.days[name]) as reading:
                for piece in reading.pieces():
                    # By its lines, however they end; of a file alone, nobody asks.
                    if len(inputs.names) > 1 and isinstance(piece, Chunk):
                        lines_hash = lines_hash or LinesHash()
                        lines_hash.update(piece)
                    ahead.append((index, pool.submit(parse, piece)))
                    if len(ahead) > at_once:
                        number, parsed = ahead.popleft()
                        result = parsed.result()
                        lines += result.lines
                        yield number, result
                    if time.monotonic() - said > _PROGRESS_SECONDS:
                        said = time.monotonic()
                        _LOG.info(
                            "%s %s: %d lines read, now %s", surface.name, inputs.day, lines, name
                        )
                content = lines_hash.hexdigest() if lines_hash else reading.content()
                yield index, Read(reading.seen(), content)
        while ahead:
            number, parsed = ahead.popleft()
            yield number, parsed.result()
