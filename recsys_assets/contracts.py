"""The data dictionary: every frame of the project as a Pandera contract.

Column names, dtypes and rules are written here and nowhere else. An artifact frame is flat, one row
per list entry, in the order in which it is published; an owner of an empty list (a user with one
event, an item without a strong neighbour) is one row whose entry columns are null.

Strings are ordered by their UTF-8 bytes. "Blank" means empty or only Unicode white space.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

import pandera.polars as pa
import polars as pl

TIMESTAMP: Final = pl.Datetime("ns", "UTC")

# White space as Unicode defines it (property White_Space), which is what ids are trimmed of.
# Python's own str.strip() also removes U+001C to U+001F, Polars' strip_chars() removes exactly
# these.
WHITE_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def _is_trimmed(column: str) -> pl.Expr:
    return (pl.col(column) != "") & (pl.col(column) == pl.col(column).str.strip_chars())


_TRIMMED: Final = pa.Check(
    lambda data: data.lazyframe.select(_is_trimmed(data.key)), name="trimmed_and_not_blank"
)


def _rule(name: str, holds: pl.Expr) -> pa.Check:
    """Build a rule on whole rows; the name is what a failing run shows."""
    return pa.Check(lambda data: data.lazyframe.select(holds), name=name)


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
    # Not a number is greater than anything to Polars.
    finite = pa.Check(
        lambda data: data.lazyframe.select(pl.col(data.key).cast(pl.Float64).is_finite()),
        name="finite",
    )
    return pa.Column(dtype, [pa.Check.ge(1), finite], nullable=nullable, description=description)


def canonical_event(day: date) -> pa.DataFrameSchema:
    """Build the contract of one UTC day of canonical events; rows are in source order."""
    start = pl.lit(day).cast(TIMESTAMP)
    return pa.DataFrameSchema(
        {
            "ts": pa.Column(
                TIMESTAMP,
                pa.Check(
                    lambda data: data.lazyframe.select(
                        pl.col(data.key).is_between(start, start.dt.offset_by("1d"), closed="left")
                    ),
                    name="within_the_day",
                ),
                description="When the item was shown, UTC, to the nanosecond.",
            ),
            "user_id": _id("Who saw it; null when absent or blank.", nullable=True),
            "session_id": _id("The session it was shown in."),
            "request_id": _id("The request it answered; tells redeliveries.", nullable=True),
            "item_id": _id("The item that was shown."),
            "rank": pa.Column(
                pl.Int64, pa.Check.ge(0), nullable=True, description="Position in the list shown."
            ),
            "file": pa.Column(
                pl.Int32, pa.Check.ge(0), description="Index into the source files in the footer."
            ),
            "line": _at_least_one(pl.Int64, "Line of that file, the first is 1."),
        },
        checks=[_rule("in_source_order", _strictly_ascending("file", "line"))],
        strict=True,
        ordered=True,
        name="canonical_event",
    )


POPULARITY: Final = pa.DataFrameSchema(
    {
        "item_id": _id("The item."),
        "count": _at_least_one(pl.Int64, "Exposures of the item in the window."),
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
        _rule("neighbour_is_unique_per_item", pl.struct("item_id", "neighbour_id").is_unique()),
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
            _rule("item_is_unique_per_user", pl.struct("user_id", "item_id").is_unique()),
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

CONTENT_SIM: Final = pa.DataFrameSchema(
    {
        "item_id": _id("The catalog item; a repeated id stays repeated."),
        "tags": pa.Column(
            pl.List(pl.String),
            [
                pa.Check(
                    lambda data: data.lazyframe.select(pl.col(data.key).list.len() > 0),
                    name="at_least_one_tag",
                ),
                pa.Check(
                    lambda data: data.lazyframe.select(
                        pl.col(data.key).list.n_unique() == pl.col(data.key).list.len()
                    ),
                    name="tags_are_distinct",
                ),
                pa.Check(
                    lambda data: data.lazyframe.select(
                        pl.col(data.key)
                        .list.eval(
                            (pl.element().fill_null("") != "")
                            & (pl.element() == pl.element().str.strip_chars())
                            & (pl.element() == pl.element().str.to_lowercase())
                        )
                        .list.all()
                    ),
                    name="tags_are_trimmed_and_lower_case",
                ),
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

ARTIFACTS: Final = {
    schema.name: schema for schema in (POPULARITY, COOC, IMPLICIT, SESSION_SEQ, CONTENT_SIM)
}


def dtypes(contract: pa.DataFrameSchema) -> pl.Schema:
    """Return the columns of a contract as a Polars schema, for reading and for empty frames."""
    return pl.Schema({name: column.dtype.type for name, column in contract.columns.items()})


CANONICAL_DTYPES: Final = dtypes(canonical_event(date.min))
