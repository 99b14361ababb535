"""Deliver what is live to a sink, look at what sinks hold, and keep what is known of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Final

from recsys_assets.config import AnySink, Surface
from recsys_assets.errors import ConfigError, InputError, RecsysAssetsError, SinkError
from recsys_assets.places import Place
from recsys_assets.sinks import open_sink
from recsys_assets.sinks.sink import Delivered, Delivery
from recsys_assets.storage.deliveries import Held, note_failure, note_held
from recsys_assets.storage.publications import Live, generation_of, read_live
from recsys_assets.storage.store import Store

# Places, such as servers, that are asked at once.
_PLACES: Final = 8
# Keys of sinks that do not say where they keep what they hold.
_NOT_WHERE: Final = {
    *("name", "grace_minutes", "max_minutes_behind"),
    *("service_tables", "max_load_minutes"),
}
# Kinds that keep what they hold by the name of the sink.
_BY_NAME: Final = {"webhook"}
# A tick of a sensor has 60 s.
_LONGEST_LOOK_S: Final = 40
_SILENT: Final = SinkError("it was not asked in time: too many others do not answer")

Clock = Callable[[], datetime]
# A sink of a surface.
Target = tuple[Surface, AnySink]


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def sink_of(surface: Surface, name: str) -> AnySink:
    """Return the sink of a surface that has a name.

    Raises:
        ConfigError: it has none; says which there are.
    """
    for sink in surface.sinks:
        if sink.name == name:
            return sink
    known = ", ".join(sink.name for sink in surface.sinks) or "none"
    raise ConfigError(f"surface {surface.name} has no sink {name!r}; there are: {known}")


def deliver(
    store: Store, root: str, surface: Surface, sink: AnySink, *, clock: Clock = utc_now
) -> Delivered:
    """Deliver what is live now, and keep what became of it.

    What is live is read first, so a sink is never ahead of it.

    Raises:
        InputError: nothing is live.
        RecsysAssetsError: as `Sink.deliver`; what was held is still held.
    """
    place, generation = surface.place, None
    try:
        delivery = _of_live(store, surface)
        generation = delivery.generation
        delivered = open_sink(sink, root).deliver(delivery)
        if delivered.outcome == "outdated":
            _refuse_another_root(delivered.held, read_live(store, place))
    except (RecsysAssetsError, OSError) as error:
        note_failure(
            store,
            place,
            sink.name,
            str(error),
            now=clock(),
            soon=not isinstance(error, SinkError) or error.soon,
            generation=generation,
            max_tries=getattr(sink, "max_tries", None),
        )
        raise
    note_held(
        store,
        place,
        sink.name,
        delivered.held,
        delivery.publication.current,
        now=clock(),
        delivered=delivered.outcome == "delivered",
    )
    return delivered


def _refuse_another_root(held: Held, live: Live | None) -> None:
    """Raise SinkError where what is held is newer than all that was ever live."""
    if held.generation > generation_of(live):
        raise SinkError(
            f"it holds generation {held.generation}, and only {generation_of(live)} is live: "
            "another root has delivered to it",
            advice="Give each root a schema or a path of its own, or remove what it holds.",
        )


def _of_live(store: Store, surface: Surface) -> Delivery:
    live = read_live(store, surface.place)
    if live is None:
        raise InputError(f"nothing is live for {surface.name} yet: materialize a day first")
    if live.publication is None:
        raise SinkError(
            f"what is live for {surface.name} was published by another producer, which counts no "
            "generations",
            advice="The first day that is published here is delivered.",
        )
    return Delivery(store, live.publication)


def look(
    targets: Sequence[Target], root: str
) -> Iterator[tuple[Target, Held | RecsysAssetsError | None]]:
    """Yield what sinks hold by their own record, None where that is nothing.

    Of those that are the same place, such as one schema of one database, all are asked by one
    connection, and several places at once. What cannot be asked is an error in its place.
    """
    together: dict[str, list[Target]] = {}
    for target in targets:
        where = target[1].model_dump_json(exclude=_NOT_WHERE)
        name = target[1].name if target[1].type in _BY_NAME else ""
        together.setdefault(f"{name} {where}", []).append(target)
    pool = ThreadPoolExecutor(_PLACES)
    asked = [(group, pool.submit(_held, group, root)) for group in together.values()]
    try:
        wait([future for _, future in asked], timeout=_LONGEST_LOOK_S)
        for group, future in asked:
            found = future.result() if future.done() else _SILENT
            for target in group:
                if isinstance(found, RecsysAssetsError):
                    yield target, found
                else:
                    yield target, found.get(target[0].place)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _held(group: Sequence[Target], root: str) -> Mapping[Place, Held] | RecsysAssetsError:
    try:
        return open_sink(group[0][1], root).held([surface.place for surface, _ in group])
    except RecsysAssetsError as error:
        return error
