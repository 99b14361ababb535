"""What is kept of an artifact to compare it with others: how large it is, and its first entries.

Ids are hashes, the same as in samples of days (`compute/samples.py`), so what artifacts list can be
looked up for what happened on days. Of large artifacts, owners are thinned as samples are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from recsys_assets.compute.coded import Piece
from recsys_assets.compute.samples import hashes, is_in_sample, pair_keys

# A ranking of items; neighbours of items; items of users; and what is not scored.
Form = Literal["ranking", "neighbours", "users", "tags"]
FIRST: Final[Mapping[Form, int]] = {"ranking": 100, "neighbours": 20, "users": 50, "tags": 0}
# Entries of lists in an outline: as many as 14 samples of days may ask for.
_MOST_ENTRIES: Final = 200_000
# Rows of an artifact that may have a brief outline: its lists are soon made again of its document.
_MOST_BRIEF: Final = 50_000
_MANY: Final = 20_000  # from here on, looking for equal ones is cheaper than hashing all
NO_LISTS: Final = pl.DataFrame(schema={"owner": pl.UInt32, "item": pl.UInt32})


@dataclass(frozen=True)
class Outline:
    """An artifact as it is compared.

    Attributes:
        form: of its list.
        owners: entries of its list: items, or users.
        entries: items in the lists of all owners; `owners` where they have none.
        lists: `owner`, `item` (UInt32): the first items of owners in published order; of a ranking,
            where `owner` is 0, of all.
        thinned: one of 2**`thinned` owners is in `lists`.
        settings: what it was made with; None where that is not known.
        is_brief: whether `lists` was left out: nobody is likely to ask for it.
    """

    form: Form
    owners: int
    entries: int
    lists: pl.DataFrame
    thinned: int = 0
    settings: Mapping[str, Any] | None = field(default=None, compare=False)
    is_brief: bool = False

    @cached_property
    def keys(self) -> pl.Series:
        """Key (UInt64) of owner and item of each entry of `lists`."""
        owner, item = (self.lists[name].to_numpy() for name in ("owner", "item"))
        return pl.Series("key", pair_keys(owner, item))


class Outliner:
    """Makes the outline of an artifact as its rows come by; no owner's rows are in two pieces."""

    def __init__(
        self, owner: str, entry: str | None, value: str, *, may_be_brief: bool = False
    ) -> None:
        """Begin.

        Args:
            owner: the column of owners.
            entry: the column of the items in the lists of owners; None where they have none.
            value: the column of what is said.
            may_be_brief: whether lists may be left out of it, where there are few rows.
        """
        self._owner, self._entry = owner, entry
        self._form: Form = "users" if owner != "item_id" else "neighbours"
        if entry is None:
            self._form = "ranking" if owner == "item_id" and value != "tags" else "tags"
        self._owners = self._entries = self._kept = self._thinned = 0
        self._pieces: list[pl.DataFrame] = []
        self._rows = 0
        self._may_be_brief = may_be_brief
        self._unlisted: list[Piece] = []
        self._of_codes: pl.Series | None = None

    def add(self, piece: Piece) -> None:
        """Look at the next rows; ids that are codes are the same as before."""
        self._count(piece)
        self._rows += piece.frame.height
        self._unlisted.append(piece)
        if not self._may_be_brief or self._rows > _MOST_BRIEF:
            for each in self._unlisted:
                self._list(each)
            self._unlisted.clear()

    def _count(self, piece: Piece) -> None:
        rows = piece.frame
        if self._entry is None:
            self._owners += rows.height
            self._entries += rows.height
        else:
            self._owners += piece.starts.size
            self._entries += rows.height - rows[self._entry].null_count()

    def _list(self, piece: Piece) -> None:
        rows = piece.frame
        if self._entry is None:
            items = piece.decoded()[self._owner].head(FIRST[self._form] - self._kept)
            if items.len():
                zero = pl.zeros(items.len(), dtype=pl.UInt32, eager=True)
                self._keep(pl.DataFrame({"owner": zero, "item": hashes(items)}))
            return
        entry, starts = rows[self._entry], piece.starts
        sizes = np.diff(starts, append=rows.height)
        hashed = hashes(piece.at(self._owner, pl.Series(starts))).to_numpy()
        place = np.arange(rows.height) - starts.repeat(sizes)
        wanted = (place < FIRST[self._form]) & entry.is_not_null().to_numpy()
        if self._thinned:
            wanted &= is_in_sample(hashed, self._thinned).to_numpy().repeat(sizes)
        entries = self._hashed(piece, pl.Series(np.flatnonzero(wanted)))
        self._keep(pl.DataFrame({"owner": hashed.repeat(sizes)[wanted], "item": entries}))
        while self._kept > _MOST_ENTRIES:
            self._thin()

    def made(self, settings: Mapping[str, Any] | None = None) -> Outline:
        """Return the outline of what came by."""
        lists = pl.concat(self._pieces) if self._pieces else NO_LISTS
        return Outline(
            self._form,
            self._owners,
            self._entries,
            lists,
            self._thinned,
            settings,
            is_brief=bool(self._unlisted),
        )

    def _hashed(self, piece: Piece, wanted: pl.Series) -> pl.Series:
        """Return the hashes of the items of some rows."""
        entry = self._entry or ""
        if entry not in piece.ids:
            return _hashed(piece.at(entry, wanted))
        if self._of_codes is None:
            self._of_codes = hashes(piece.ids[entry])
        return self._of_codes.gather(piece.frame[entry].gather(wanted))

    def _keep(self, entries: pl.DataFrame) -> None:
        self._pieces.append(entries)
        self._kept += entries.height

    def _thin(self) -> None:
        self._thinned += 1
        self._pieces = [
            piece.filter(is_in_sample(piece["owner"].to_numpy(), self._thinned))
            for piece in self._pieces
        ]
        self._kept = sum(piece.height for piece in self._pieces)


def _hashed(items: pl.Series) -> pl.Series:
    """Return the hash of each item; of many, each is hashed once, as most come often."""
    if items.len() < _MANY:
        return hashes(items)
    distinct = items.unique()
    table = pl.DataFrame({"id": distinct, "hash": hashes(distinct)})
    found = items.to_frame("id").join(table, on="id", how="left", maintain_order="left")
    return found["hash"]
