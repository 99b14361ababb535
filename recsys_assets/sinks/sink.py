"""What the project asks of a sink, and what it is given.

`postgres.py` and `files.py` are two. A sink keeps, in its own place and in the same step that makes
a delivery visible, what it holds: that decides whether it is behind, and which of two deliverers
wins. What is behind is told in `storage/deliveries.py`, in one place for all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import polars as pl

from recsys_assets.errors import SinkError
from recsys_assets.places import Place
from recsys_assets.sinks.rows import read_rows
from recsys_assets.storage.deliveries import Held, versions_of
from recsys_assets.storage.details import read_details
from recsys_assets.storage.publications import Publication
from recsys_assets.storage.registry import source_hash_of
from recsys_assets.storage.store import Store

# delivered: it holds the delivery now, and did not before. unchanged: it held it already.
# outdated: it holds a newer one, which stays.
Outcome = Literal["delivered", "unchanged", "outdated"]


@dataclass(frozen=True)
class Delivery:
    """What is to be delivered: what a publication of a surface names, and its rows.

    Attributes:
        store: where the documents are.
        publication: the flip that made it live.
    """

    store: Store
    publication: Publication

    @property
    def place(self) -> Place:
        """Whose it is."""
        return self.publication.place

    @property
    def generation(self) -> int:
        """It grows by one at each flip, also a rollback: of two, the higher one is newer."""
        return self.publication.generation

    @cached_property
    def versions(self) -> dict[str, str]:
        """The version of each kind."""
        return versions_of(self.publication.current)

    @property
    def held(self) -> Held:
        """What a sink holds once it is delivered."""
        return Held(self.generation, self.versions)

    def rows(self, kind: str) -> pl.DataFrame:
        """Return the rows of a kind, in the columns of its contract, once its blob is verified.

        Raises:
            StorageError: the blob is missing, or is not what its version names.
        """
        return read_rows(self.store, self.publication.current[kind], kind)

    def details(self, kind: str) -> pl.DataFrame:
        """Return what the catalog that a kind is made of says of items besides their tags."""
        uri = self.publication.current[kind]
        source_hash = source_hash_of(self.store, self.place, kind, uri) or ""
        return read_details(self.store, self.place, source_hash)


@dataclass(frozen=True)
class Delivered:
    """What became of a delivery.

    Attributes:
        outcome: see `Outcome`.
        held: what the sink holds afterwards.
        rows: how many were written, by kind; those that were there already are not among them.
        flip_s: seconds of the step that made them visible.
        problems: what went wrong afterwards and does not matter to readers, such as old versions
            that could not be removed.
    """

    outcome: Outcome
    held: Held
    rows: Mapping[str, int] = field(default_factory=dict)
    flip_s: float = 0.0
    problems: tuple[str, ...] = ()


class Sink(Protocol):
    """A place that holds what is live of surfaces. Its readers never see half of a delivery."""

    def held(self, places: Collection[Place]) -> dict[Place, Held]:
        """Return what it holds of surfaces, by its own record; of others there is no entry.

        One connection serves all of them, and it takes a few seconds at most.

        Raises:
            ConfigError: what it connects with is not there.
            SinkError: it cannot be reached, or does not answer in time.
        """

    def deliver(self, delivery: Delivery) -> Delivered:
        """Make it hold a delivery, unless it holds it already or holds a newer one.

        Readers see what they saw before, or all of the delivery; whoever is killed meanwhile leaves
        it so, and doing it again finishes the work. Of several that deliver at once, the newest
        delivery is held in the end. When it returns, the delivery is durable.

        Raises:
            ConfigError: what it connects with is not there.
            SinkError: it cannot be reached, or refuses it. It holds what it held, or the delivery
                where only the answer was lost.
            StorageError: a blob is missing or damaged.
        """


@runtime_checkable
class HoldsUsers(Protocol):
    """What a sink can do besides, that holds ids of users: each but one that only tells somebody.

    An erasure of a person delivers what is without the person, and then has the rest purged.
    """

    def users(self, place: Place) -> Iterator[tuple[str, Iterable[str]]]:
        """Yield where ids of users of a surface stand, and which, of old versions too.

        Raises:
            ConfigError: what it connects with is not there.
            SinkError: it cannot be reached, or cannot be looked through.
        """

    def purge(self, place: Place) -> None:
        """Remove all of a surface that is not live, at once instead of after the grace.

        Raises:
            ConfigError: what it connects with is not there.
            SinkError: it cannot be reached, or something could not be removed.
        """


def outcome_before(held: Held | None, delivery: Delivery) -> Outcome | None:
    """Tell what to make of a delivery where a sink holds this; None has it delivered.

    Raises:
        SinkError: another root has delivered to it.
    """
    if held is None or held.generation < delivery.generation:
        return None
    if held.generation > delivery.generation:
        return "outdated"
    if dict(held.versions) != delivery.versions:
        raise SinkError(
            f"it holds another generation {held.generation} of {delivery.place.name}, which was "
            "delivered from another root",
            advice="Give each root a schema or a path of its own, or remove what it holds.",
        )
    return "unchanged"
