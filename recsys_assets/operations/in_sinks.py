"""What sinks hold of some persons: it goes once they hold what is live without them.

Their readers have the time that those of the manifest have: what a sink does not name any more is
removed after that, and not after the sink's grace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from recsys_assets.config import AnySink, Surface
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.events.erased import Erased
from recsys_assets.operations.find_user import Held, number_of
from recsys_assets.places import Place
from recsys_assets.sinks import HoldsUsers, open_sink
from recsys_assets.sinks.delivering import Target, deliver
from recsys_assets.storage.publications import read_live
from recsys_assets.storage.store import Store

_ERRORS = (RecsysAssetsError, OSError)


class InSinks:
    """The sinks of surfaces, as a holder of ids (`operations.find_user.Holder`).

    What cannot be reached counts as a place that holds them.
    """

    def __init__(
        self,
        store: Store,
        root: str,
        *,
        reader_seconds: float = 0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Look at sinks of a root.

        Args:
            store: the root.
            root: its place.
            reader_seconds: how long a reader may go on with what a sink named before.
            sleep: waits.
        """
        self._store, self._root = store, root
        self._reader_seconds, self._sleep = reader_seconds, sleep

    def find(self, surfaces: Sequence[Surface], erased: Erased) -> Iterator[Held]:
        """Yield where sinks hold rows of them, and which sinks cannot be looked through."""
        for surface, sink in _sinks(surfaces):
            try:
                opened = self._opened(sink)
                if opened:
                    yield from _found(opened, surface.place, erased)
            except _ERRORS as error:
                yield _failed(surface, sink, error)

    def purge(self, surfaces: Sequence[Surface], erased: Erased) -> Sequence[Held]:
        """Deliver what is live, wait for readers of what was before, and have that removed."""
        failed, delivered, is_read = list[Held](), list[Target](), False
        for surface, sink in _sinks(surfaces):
            try:
                opened = self._opened(sink)
                if opened and read_live(self._store, surface.place):
                    deliver(self._store, self._root, surface, sink)
                    is_read |= len([*_found(opened, surface.place, erased)]) > 0
                    delivered.append((surface, sink))
            except _ERRORS as error:
                failed.append(_failed(surface, sink, error))
        if is_read:
            self._sleep(self._reader_seconds)
        for surface, sink in delivered:
            try:
                if opened := self._opened(sink):
                    opened.purge(surface.place)
            except _ERRORS as error:
                failed.append(_failed(surface, sink, error))
        return failed

    def _opened(self, sink: AnySink) -> HoldsUsers | None:
        """Return a sink that holds ids of users; nothing is connected to yet."""
        opened = open_sink(sink, self._root)
        return opened if isinstance(opened, HoldsUsers) else None


def _sinks(surfaces: Sequence[Surface]) -> Iterator[Target]:
    return ((surface, sink) for surface in surfaces for sink in surface.sinks)


def _found(opened: HoldsUsers, place: Place, erased: Erased) -> Iterator[Held]:
    for where, users in opened.users(place):
        if found := number_of(users, erased):
            yield Held("sink", where, f"{found:,} users")


def _failed(surface: Surface, sink: AnySink, error: Exception) -> Held:
    return Held("sink", f"{sink.name} of {surface.name}", str(error))
