"""What an artifact kind is, what it is computed from, and what its checks look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl

from recsys_assets import pages
from recsys_assets.compute.coded import Coded, Rows
from recsys_assets.compute.day_counts import Counts, DayCounts
from recsys_assets.config import Surface
from recsys_assets.config.options import (
    Options,
    Reads,
)
from recsys_assets.documents import ListLayout
from recsys_assets.engines.engine import SqlEvents
from recsys_assets.verdicts import Check, Verdict

if TYPE_CHECKING:  # Pandera takes a second to import, and many commands need no contract
    import pandera.polars as pa


@dataclass(frozen=True)
class WindowEvents:
    """The accepted events of a window, counted: what a kind that reads events is computed from.

    Attributes:
        days: the counts of each day that is there, oldest first, at least one.
        counts: those of all days as if they were one.
        listed: of each of the `item_ids` of `counts`, whether it may be listed; None lists all.
    """

    days: Mapping[date, DayCounts]
    counts: Counts
    listed: pl.Series | None = None

    @property
    def listed_ids(self) -> pl.Series | None:
        """The ids of the items that may be listed; None lists all."""
        return None if self.listed is None else self.counts.item_ids.filter(self.listed)


@dataclass(frozen=True)
class Computed:
    """What a kind's function returns.

    Attributes:
        frame: the artifact's rows in published order, before they are held to the contract; those
            of a kind that counts codes are `Coded`, those of an engine `Streamed`.
        unit: what the numbers in the rows count, such as `exposures`; for the asset page.
        shown: further numbers for the asset page.
        found: what the kind's own checks look at.
    """

    frame: pl.LazyFrame | Rows
    unit: str = ""
    shown: Mapping[str, float] = field(default_factory=dict)
    found: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> Rows:
        """The rows, whether or not their ids are codes."""
        return Coded(self.frame) if isinstance(self.frame, pl.LazyFrame) else self.frame

    def without_items(self, unlisted: pl.Series, layout: ListLayout) -> Computed:
        """Take out rows of items that may not be listed, which a kind should not have listed.

        The kinds of this project leave them out themselves, before they cut, and lose nothing here.
        """
        rows = self.rows
        for column in {layout.owner, layout.entry} & {"item_id", "neighbour_id"}:
            rows = rows.without(str(column), unlisted)
        return replace(self, frame=rows)


@dataclass(frozen=True)
class ArtifactFacts:
    """What is known of the artifact of a day when its checks look at it.

    Attributes:
        surface: whose it is.
        contract: whether its rows keep their contract.
        found: what the kind's function found for the kind's own checks.
        size_bytes: of its document; None where the contract is broken, and there is none.
        missing: days of its window that are not there.
    """

    surface: Surface
    contract: Verdict
    found: Mapping[str, Any]
    size_bytes: int | None
    missing: Sequence[date] = ()


@dataclass(frozen=True)
class Example:
    """A small case: it is shown in the documentation, and holds the kind's function to its rule.

    Attributes:
        events: (user_id, session_id, item_id) in the order in which they happened, where the kind
            reads events.
        catalog: (item_id, tags, namespace), where it reads the catalog.
        options: those that differ from the defaults.
        rows: what is published.
    """

    rows: Sequence[tuple[Any, ...]]
    events: Sequence[tuple[str | None, str, str]] = ()
    catalog: Sequence[tuple[str, Sequence[str], str]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """An artifact kind.

    Attributes:
        name: its key in surfaces.yaml, in the manifest and in asset keys. Its contract has it too.
        options: the model of its options; says what the kind reads.
        layout: how its list is written in the document; the names are the frame's columns.
        compute: the rows, from `WindowEvents` (a kind that reads the catalog: from its frame), the
            options and the surface.
        text: what the asset page says of it.
        rule: in words, for the documentation.
        guarantee: what its blocking checks guarantee, for the documentation.
        order: of the entries in the document, for the documentation.
        example: a small case.
        sql: the same rows, from `SqlEvents`, by the engines besides Polars; where the options are
            `in_sql`.
        draw: its picture on the asset page: a `pages.FlatPicture`, or, where owners have lists, a
            `pages.ListPicture`; None shows rows only.
        checks: those of this kind alone.
    """

    name: str
    options: type[Options]
    layout: ListLayout
    # Any: input and options are the kind's own.
    compute: Callable[[Any, Any, Surface], Computed]
    text: str
    rule: str
    guarantee: str
    order: str
    example: Example
    sql: Callable[[SqlEvents, Any, Surface], Computed] | None = None
    draw: Callable[..., str] | None = None
    checks: Sequence[Check] = ()

    @property
    def reads(self) -> Reads:
        """Whether it is computed from the events or from the catalog."""
        return self.options.reads

    @property
    def contract(self) -> pa.DataFrameSchema:
        """What its rows are held to."""
        from recsys_assets import contracts

        return contracts.ARTIFACTS[self.name]

    @property
    def own_checks(self) -> list[Check]:
        """Its own checks, which no other kind has."""
        return [self._own(check) for check in self.checks]

    def _own(self, check: Check) -> Check:
        def where(surface: Surface, asset: str) -> bool:
            return asset == self.name and check.where(surface, asset)

        return replace(check, where=where, where_text=f"{self.name}{check.where_text}")

    def page(self, unit: str = "") -> pages.FlatPage | pages.ListsPage:
        """Return what gathers the asset page of one artifact, whose numbers count `unit`."""
        if self.layout.entry is None:
            return pages.FlatPage(self.layout, self.draw, unit)
        return pages.ListsPage(self.layout, self.draw, unit)
