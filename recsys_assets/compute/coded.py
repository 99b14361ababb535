"""Rows of an artifact with codes in place of ids: what an id needs is done once for all rows.

A code is the place of an id among distinct ones in the order of their UTF-8 bytes, so codes compare
as their ids do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl


@dataclass(frozen=True)
class Piece:
    """Some rows of an artifact, in published order.

    Attributes:
        frame: the columns of its contract.
        ids: of each column that has codes (UInt32) in place of ids, the ids: distinct, ascending.
            Columns that a rule of the contract compares with one another have the same.
    """

    frame: pl.DataFrame
    ids: Mapping[str, pl.Series] = field(default_factory=dict)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """The rows at which lists begin: each is of one owner, who stands in the first column."""
        owner = self.frame.to_series(0)
        if owner.name not in self.ids:
            return owner.ne_missing(owner.shift()).arg_true().to_numpy().astype(np.int64)
        codes = owner.to_numpy()
        is_first = np.concatenate(([True], codes[1:] != codes[:-1]))[: codes.size]  # of none, none
        return np.flatnonzero(is_first).astype(np.int64, copy=False)

    def coded(self, column: str) -> tuple[pl.Series, pl.Series]:
        """Return ids, and of each row its place among them (UInt32), or null."""
        of_rows = self.frame[column]
        if column in self.ids:
            return self.ids[column], of_rows
        places = pl.select(
            pl.when(of_rows.is_not_null()).then(pl.int_range(of_rows.len(), dtype=pl.UInt32))
        )
        return of_rows, places.to_series()

    def at(self, column: str, rows: pl.Series) -> pl.Series:
        """Return the ids of some rows, which are numbered from 0."""
        # Not by `gather`: that is a query of its own, which takes longer than what it does to few.
        found = self.frame[column][rows]
        return self.ids[column][found].alias(column) if column in self.ids else found

    def slice(self, start: int, length: int) -> Piece:
        """Return some of the rows."""
        return Piece(self.frame.slice(start, length), self.ids)

    def decoded(self) -> pl.DataFrame:
        """Return the rows with their ids."""
        return self.frame.with_columns(
            ids[self.frame[column]].alias(column) for column, ids in self.ids.items()
        )


class Rows(Protocol):
    """All rows of an artifact, not made yet."""

    def pieces(self, rows: int) -> Iterator[Piece]:
        """Yield them, so many at a time, and at last fewer, maybe none; all have the same ids."""

    def without(self, column: str, unwanted: pl.Series) -> Rows:
        """Leave out the rows of some ids."""

    def collect(self) -> pl.DataFrame:
        """Make all rows, with their ids."""


@dataclass(frozen=True)
class Coded:
    """All rows of an artifact, not made yet: a slice costs what the slice holds.

    Attributes:
        plan: gives `Piece.frame`.
        ids: as `Piece.ids`.
    """

    plan: pl.LazyFrame
    ids: Mapping[str, pl.Series] = field(default_factory=dict)

    def slice(self, start: int, length: int) -> Piece:
        """Make some of the rows."""
        return Piece(self.plan.slice(start, length).collect(), self.ids)

    def pieces(self, rows: int) -> Iterator[Piece]:
        """Make the rows, so many at a time, and at last fewer, maybe none."""
        for start in count(0, rows):
            yield (piece := self.slice(start, rows))
            if piece.frame.height < rows:
                return

    def without(self, column: str, unwanted: pl.Series) -> Coded:
        """Leave out the rows of some ids."""
        if column in self.ids:
            unwanted = self.ids[column].is_in(unwanted.implode()).arg_true().cast(pl.UInt32)
        is_unwanted = pl.col(column).is_in(unwanted.implode()).fill_null(value=False)
        return Coded(self.plan.filter(~is_unwanted), self.ids)

    def collect(self) -> pl.DataFrame:
        """Make all rows, with their ids."""
        return Piece(self.plan.collect(engine="streaming"), self.ids).decoded()


@dataclass(frozen=True)
class Streamed:
    """All rows of an artifact as they come, which is once.

    Attributes:
        frames: in published order, of any size; at least one, maybe empty.
    """

    frames: Iterator[pl.DataFrame]

    def pieces(self, rows: int) -> Iterator[Piece]:
        """Yield the rows, so many at a time, and at last fewer, maybe none."""
        held = next(self.frames)
        for frame in self.frames:
            held = pl.concat([held, frame])
            while held.height >= rows:
                yield Piece(held.head(rows))
                held = held.slice(rows)
        yield Piece(held)

    def without(self, column: str, unwanted: pl.Series) -> Streamed:
        """Leave out the rows of some ids."""
        table = unwanted.to_frame(column)
        return Streamed(
            frame.join(table, on=column, how="anti", maintain_order="left") for frame in self.frames
        )

    def collect(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.concat(self.frames)
