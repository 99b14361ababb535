"""Frames held to their contract, and larger ones piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from recsys_assets import contracts
from recsys_assets.compute.coded import Piece
from recsys_assets.verdicts import Verdict, failed, passed

MAX_SHOWN_ROWS: Final = 10

T = TypeVar("T")


def check_contract(contract: pa.DataFrameSchema, frame: pl.DataFrame) -> Verdict:
    """Validate a frame; reports every broken rule at once, with a sample of the offending rows."""
    if contracts.holds(contract, frame):
        return passed(rows=frame.height)
    try:
        # A DataFrame on purpose: of a LazyFrame, pandera looks at the schema only, not at the
        # values.
        contract.validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        rules = cases.group_by("check").len().sort("len", "check", descending=[True, False])
        broken = ", ".join(f"{rule} ({count})" for rule, count in rules.iter_rows())
        shown = cases.group_by("check", maintain_order=True).head(MAX_SHOWN_ROWS)
        columns = ["check", "column", "failure_case", "index"]
        return failed(
            f"{cases.height} cases break contract {contract.name!r}: {broken}",
            failures=cases.height,
            rows=shown.select(columns).head(MAX_SHOWN_ROWS).to_dicts(),
        )
    return passed(rows=frame.height)


class PieceChecker:
    """Holds a frame that is too large to look at at once to its contract, piece by piece.

    Each piece is looked at together with the row before it, so that order holds across pieces too.
    """

    def __init__(self, contract: pa.DataFrameSchema) -> None:
        self._contract = contract
        self._before: pl.DataFrame | None = None
        self._ids_hold: bool | None = None
        self.verdict = passed(rows=0)

    def holds(self, piece: Piece) -> bool:
        """Look at the next piece, and tell whether all pieces hold; not after one did not.

        All pieces have the same ids.
        """
        if self._ids_hold is None:
            self._ids_hold = contracts.ids_hold(self._contract, piece.ids)
        frame = piece.frame
        together = frame if self._before is None else pl.concat([self._before, frame])
        if self._ids_hold and contracts.holds(self._contract, together, piece.ids):
            found = passed()
        else:
            found = check_contract(self._contract, Piece(together, piece.ids).decoded())
        if found.passed:
            found = passed(rows=self.verdict.numbers["rows"] + frame.height)
            self._before = frame.tail(1) if frame.height else self._before
        self.verdict = found
        return found.passed


def check_pieces(contract: pa.DataFrameSchema, pieces: Iterable[pl.DataFrame]) -> Verdict:
    """Validate a frame piece by piece, up to the first bad one."""
    checker = PieceChecker(contract)
    for piece in pieces:
        if not checker.holds(Piece(piece)):
            break
    return checker.verdict


def one_ahead(values: Iterator[T]) -> Iterator[T]:
    """Yield the same values; the next one is made in another thread while one is used."""
    yield from (begun := list(islice(values, 2)))
    if len(begun) < 2:
        return  # as for nearly all days of a small surface: not worth a thread
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        following = pool.submit(list, islice(values, 1))
        while value := following.result():
            following = pool.submit(list, islice(values, 1))
            yield from value
