"""The data dictionary: every frame of the project as a Pandera contract.

Column names, dtypes and rules are written here and nowhere else. An artifact frame is flat, one row
per list entry, in the order in which it is published; an owner of an empty list (a user with one
event, an item without a strong neighbour) is one row whose entry columns are null.

Strings are ordered by their UTF-8 bytes. "Blank" means empty or only Unicode white space.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from functools import reduce
from operator import xor
from typing import Any, Final

import numpy as np
import pandera.polars as pa
import polars as pl

TIMESTAMP: Final = pl.Datetime("ns", "UTC")


def _check(
    name: str, holds: Callable[[str], pl.Expr], surely: Callable[[str], pl.Expr] | None = None
) -> pa.Check:
    """Build a check whose name is what a failing run shows.

    It keeps what tells that all rows of a frame pass as `surely`, so that a frame can be held to
    all rules in one pass.

    Args:
        name: of the rule.
        holds: tells of each row whether it passes.
        surely: never true where a row fails; by default, whether all rows pass.
    """
    # Not a subclass: Pandera looks up how to run a check by its exact class.
    check: Any = pa.Check(lambda data: data.lazyframe.select(holds(data.key)), name=name)
    check.surely = surely or (lambda column: holds(column).all())
    return check  # type: ignore[no-any-return]


def _rule(name: str, holds: pl.Expr) -> pa.Check:
    """Build a rule on whole rows."""
    return _check(name, lambda _: holds)


def row_hash(columns: Iterable[str]) -> pl.Expr:
    """Give the hash of some columns of a row, in a quarter of the time of that of a struct."""
    # Each column has a seed of its own, so rows differ in which column has a value.
    return reduce(xor, (pl.col(name).hash(seed=seed) for seed, name in enumerate(columns)))


def _unique(name: str, *columns: str) -> pa.Check:
    """Build a rule that no two rows agree in all of some columns."""
    hashes = row_hash(columns).map_batches(
        _are_distinct, return_dtype=pl.Boolean, returns_scalar=True
    )
    return _check(
        name,
        lambda _: pl.struct(columns).is_unique(),
        # Rows of different hashes are different, and integers are compared in a third of the time.
        surely=lambda _: hashes,
    )


def _are_distinct(hashes: pl.Series) -> pl.Series:
    ordered = np.sort(hashes.to_numpy())
    return pl.Series([bool((ordered[1:] != ordered[:-1]).all())])


def _on_column(name: str, holds: Callable[[pl.Expr], pl.Expr]) -> pa.Check:
    """Build a rule on one column; nulls are for `nullable` to refuse."""
    return _check(name, lambda column: holds(pl.col(column)))


_TRIMMED: Final = _on_column(
    "trimmed_and_not_blank", lambda text: (text != "") & (text == text.str.strip_chars())
)


def _strictly_ascending(*columns: str, descending: Sequence[str] = ()) -> pl.Expr:
    """Hold where a row comes after the row before it; the first row always does.

    Nulls never occur in `columns` of rows that are compared by them: an empty list is one row.
    """
    after = pl.lit(value=False)
    for column in reversed(columns):
        here, before = pl.col(column), pl.col(column).shift()
        later = here < before if column in descending else here > before
        after = later | ((here == before) & after)
    return after.fill_null(value=True)


def _entry_is_whole(owner: str, *entry: str) -> pl.Expr:
    """Hold where the entry columns are all set, or all null on the owner's only row."""
    nulls = pl.sum_horizontal(pl.col(column).is_null() for column in entry)
    alone = (pl.col(owner) != pl.col(owner).shift()).fill_null(value=True) & (
        pl.col(owner) != pl.col(owner).shift(-1)
    ).fill_null(value=True)
    return (nulls == 0) | ((nulls == len(entry)) & alone)


def _id(description: str, *, nullable: bool = False) -> pa.Column:
    return pa.Column(pl.String, _TRIMMED, nullable=nullable, description=description)


def _at_least_one(
    dtype: type[pl.DataType], description: str, *, nullable: bool = False
) -> pa.Column:
    rules = [_at_least(1)]
    if dtype == pl.Float64:  # not a number is greater than anything to Polars
        rules.append(_on_column("finite", lambda number: number.is_finite()))
    return pa.Column(dtype, rules, nullable=nullable, description=description)


def _at_least(least: int) -> pa.Check:
    # Named as Pandera names its own.
    return _on_column(f"greater_than_or_equal_to({least})", lambda number: number >= least)


def canonical_event(day: date, further: Collection[str] = ()) -> pa.DataFrameSchema:
    """Build the contract of one UTC day of canonical events; rows are in source order.

    Args:
        day: the day.
        further: which of FURTHER_COLUMNS it has, as its source is configured.
    """
    start = pl.lit(day).cast(TIMESTAMP)
    order = ["file", "line", *(["part"] if "part" in further else [])]
    return pa.DataFrameSchema(
        {
            "ts": pa.Column(
                TIMESTAMP,
                _on_column(
                    "within_the_day",
                    lambda ts: ts.is_between(start, start.dt.offset_by("1d"), closed="left"),
                ),
                description="When the item was shown, UTC, to the nanosecond.",
            ),
            "user_id": _id("Who saw it; null when absent or blank.", nullable=True),
            "session_id": _id("The session it was shown in."),
            "request_id": _id("The request it answered; tells redeliveries.", nullable=True),
            "item_id": _id("The item that was shown."),
            "rank": pa.Column(
                pl.Int64, _at_least(0), nullable=True, description="Position in the list shown."
            ),
            "file": pa.Column(
                pl.Int32, _at_least(0), description="Index into the source files in the footer."
            ),
            "line": _at_least_one(pl.Int64, "Line of that file, the first is 1."),
            **{name: column for name, column in FURTHER_COLUMNS.items() if name in further},
        },
        checks=[_rule("in_source_order", _strictly_ascending(*order))],
        strict=True,
        ordered=True,
        name="canonical_event",
    )


# Columns that a day has only where its source is configured so; a day without them has 0 and 1.
FURTHER_COLUMNS: Final = {
    "part": pa.Column(
        pl.Int32, _at_least(0), description="Place in the list of that line, the first is 0."
    ),
    "weight": _at_least_one(pl.Int64, "What the event counts in popularity and implicit."),
}


POPULARITY: Final = pa.DataFrameSchema(
    {
        "item_id": _id("The item."),
        "count": _at_least_one(
            pl.Int64,
            "Exposures of the item in the window; with a half-life, in thousandths of one of its "
            "last day.",
        ),
    },
    checks=[
        _rule("by_count_then_id", _strictly_ascending("count", "item_id", descending=["count"])),
        _rule("item_is_unique", pl.col("item_id").is_unique()),
    ],
    strict=True,
    ordered=True,
    name="popularity",
)

COOC: Final = pa.DataFrameSchema(
    {
        "item_id": _id("The item whose neighbours these are."),
        "neighbour_id": _id("An item found in the same sessions; null: none.", nullable=True),
        "count": _at_least_one(pl.Int64, "Distinct sessions that hold both.", nullable=True),
    },
    checks=[
        _rule("no_item_is_its_own_neighbour", pl.col("item_id") != pl.col("neighbour_id")),
        _rule(
            "by_item_then_count_then_neighbour",
            _strictly_ascending("item_id", "count", "neighbour_id", descending=["count"]),
        ),
        _unique("neighbour_is_unique_per_item", "item_id", "neighbour_id"),
        _rule("empty_list_is_one_row", _entry_is_whole("item_id", "neighbour_id", "count")),
    ],
    strict=True,
    ordered=True,
    name="cooc",
)


def _scores_per_user(name: str, score: str, *, empty_lists: bool) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(
        {
            "user_id": _id("The user."),
            "item_id": _id("The item; null: the list is empty.", nullable=empty_lists),
            "score": _at_least_one(pl.Float64, score, nullable=empty_lists),
        },
        checks=[
            _rule(
                "by_user_then_score_then_item",
                _strictly_ascending("user_id", "score", "item_id", descending=["score"]),
            ),
            _unique("item_is_unique_per_user", "user_id", "item_id"),
            _rule("empty_list_is_one_row", _entry_is_whole("user_id", "item_id", "score")),
        ],
        strict=True,
        ordered=True,
        name=name,
    )


IMPLICIT: Final = _scores_per_user(
    "implicit", "Exposures of the item to the user in the window.", empty_lists=False
)

SESSION_SEQ: Final = _scores_per_user(
    "session_seq", "How often the item came next after another event of the user.", empty_lists=True
)


def _are_trimmed_and_lower_case(tags: pl.Expr) -> pl.Expr:
    tag = pl.element()
    return tags.list.eval(
        (tag.fill_null("") != "") & (tag == tag.str.strip_chars()) & (tag == tag.str.to_lowercase())
    ).list.all()


CONTENT_SIM: Final = pa.DataFrameSchema(
    {
        "item_id": _id("The catalog item; a repeated id stays repeated."),
        "tags": pa.Column(
            pl.List(pl.String),
            [
                _on_column("at_least_one_tag", lambda tags: tags.list.len() > 0),
                _on_column(
                    "tags_are_distinct", lambda tags: tags.list.n_unique() == tags.list.len()
                ),
                _on_column("tags_are_trimmed_and_lower_case", _are_trimmed_and_lower_case),
            ],
            description="Its tags, trimmed, lower-cased, distinct, in catalog order.",
        ),
    },
    checks=[
        _rule(
            "by_item",
            (pl.col("item_id") >= pl.col("item_id").shift()).fill_null(value=True),
        )
    ],
    strict=True,
    ordered=True,
    name="content_sim",
)

# One a kind, in the order of the configuration.
_OF_KINDS: Final = (
    POPULARITY,
    COOC,
    IMPLICIT,
    SESSION_SEQ,
    CONTENT_SIM,
)
ARTIFACTS: Final = {contract.name: contract for contract in _OF_KINDS}


def dtypes(contract: pa.DataFrameSchema) -> pl.Schema:
    """Return the columns of a contract as a Polars schema, for reading and for empty frames."""
    return pl.Schema({name: column.dtype.type for name, column in contract.columns.items()})


def holds(contract: pa.DataFrameSchema, frame: pl.DataFrame, coded: Collection[str] = ()) -> bool:
    """Tell in one pass whether a frame keeps a contract.

    True is certain. What is not held, Pandera decides, slower: it says what breaks the contract.

    Args:
        contract: that the frame is held to.
        frame: its rows.
        coded: the columns with codes in place of ids, of which `ids_hold`.
    """
    expected = dtypes(contract)
    expected.update(dict.fromkeys(coded, pl.UInt32()))
    if frame.schema != expected:
        return False
    if contract.unique or any(column.unique for column in contract.columns.values()):
        return False
    kept = [
        pl.col(name).null_count() == 0
        for name, column in contract.columns.items()
        if not column.nullable
    ]
    rules = [
        (name, rule)
        for name, column in contract.columns.items()
        if name not in coded
        for rule in column.checks
    ]
    return _all_hold(frame, [*rules, *(("", rule) for rule in contract.checks)], kept)


def ids_hold(contract: pa.DataFrameSchema, ids: Mapping[str, pl.Series]) -> bool:
    """Tell whether ids keep the rules of their columns, and codes compare as they do.

    So they hold wherever codes stand for them. True is certain.

    Args:
        contract: that rows with codes are held to.
        ids: of each column with codes, what a code is the place in.
    """
    return all(
        _all_hold(
            of.to_frame(name),
            [(name, rule) for rule in contract.columns[name].checks],
            [_strictly_ascending(name).all(), pl.col(name).null_count() == 0],
        )
        for name, of in ids.items()
    )


def _all_hold(
    frame: pl.DataFrame, rules: Sequence[tuple[str, Any]], kept: Sequence[pl.Expr]
) -> bool:
    if not all(hasattr(rule, "surely") for _, rule in rules):  # some are Pandera's own
        return False
    surely = [rule.surely(name) for name, rule in rules]
    return bool(frame.select(pl.all_horizontal(*kept, *surely)).item())


def canonical_dtypes(further: Collection[str] = ()) -> Mapping[str, pl.DataType]:
    """Return the columns of canonical events in their order."""
    added = {name: of.dtype.type for name, of in FURTHER_COLUMNS.items() if name in further}
    return {**CANONICAL_DTYPES, **added}  # no contract: this is asked for each piece of a file


CANONICAL_DTYPES: Final = dtypes(canonical_event(date.min))
