"""Rows of any shape to canonical events, as `source.columns` maps their fields.

Rows come as frames with a column for each field that the mapping names, of whatever type it has in
the source. Every row is an event that is kept, one that is counted because it belongs to another
day or surface, one that `where` leaves out, or a refused one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import polars as pl

from recsys_assets.config.columns import Column, Columns, Matches, Moment, Wanted, text_of
from recsys_assets.config.sources import Source
from recsys_assets.contracts import canonical_dtypes
from recsys_assets.events.fields import LINE, PART, is_fraction, is_text, is_whole, trimmed
from recsys_assets.events.parsed import ParsedChunk, RefusedLine, keep
from recsys_assets.events.timestamps import moments
from recsys_assets.places import Place
from recsys_assets.texts import cut_between_values

_DIGITS: Final = r"^[+-]?[0-9]{1,18}$"


def same_names(names: Collection[str] | None, source: Source) -> Columns:
    """Return the mapping of fields that have the canonical names, of those that are there."""
    known, needed = [*Columns.model_fields], {"ts", "item_id", _of_session(source)}
    there = known if names is None else [name for name in known if name in {*names, *needed}]
    return Columns.model_validate({name: name for name in there})


def _of_session(source: Source) -> str:
    """Return the column that events have their session by: where it is built, that of the user."""
    return "user_id" if source.sessions else "session_id"


@dataclass(frozen=True)
class Rules:
    """How the rows of a source are mapped.

    Attributes:
        source: what is configured.
        columns: which field each canonical column is taken from.
    """

    source: Source
    columns: Columns

    @property
    def fields(self) -> list[str]:
        """Every field that is read of a row, or of an entry of its list."""
        mapped: list[Moment | Column] = [self.columns.ts, *self.columns.of_events().values()]
        read = [field for column in mapped for field in column.fields or []]
        weight = [self.source.weight.column] if self.source.weight else []
        return list(dict.fromkeys([*read, *self.source.where, *weight]))

    @property
    def dtypes(self) -> Mapping[str, pl.DataType]:
        """The columns of an event, without `file`."""
        kept = dict(canonical_dtypes(self.source.further_columns))
        kept.pop("file")
        return kept


@dataclass(frozen=True)
class _Read:
    """A canonical column as it is read: null where a row has none, and where its type is wrong."""

    value: pl.Expr
    is_wrong: pl.Expr
    wanted: str


def map_rows(
    rows: pl.DataFrame,
    rules: Rules,
    *,
    place: Place,
    day: date | None,
    raw_of: Callable[[Mapping[str, Any]], tuple[bytes, int]],
) -> ParsedChunk:
    """Split rows into the events of a surface and day and those that are refused.

    Args:
        rows: in source order: LINE; PART and ENTRIES, their number, where a list is exploded; each
            field of `rules`.
        rules: of the source.
        place: whose events are kept.
        day: UTC day that is kept; None keeps all of them.
        raw_of: what is kept of a refused row as its text, and the bytes that it counts.
    """
    wanted, is_undecodable = decoded(rows)
    is_wanted = wanted.select(wanted=_wanted(rules.source.where, wanted.schema)).to_series()
    if not is_wanted.all():
        wanted, is_undecodable = wanted.filter(is_wanted), is_undecodable.filter(is_wanted)
    schema = wanted.schema
    read = {
        name: _rank(column, schema, rules.source.rank_from or 0)
        if name == "rank"
        else _text(column, schema)
        for name, column in rules.columns.of_events().items()
    }
    none = _is_none(rules, schema)
    if "session_id" in read and rules.source.no_session:
        of_session = read["session_id"]
        none |= of_session.value.is_in(rules.source.no_session).fill_null(value=False)
        read["session_id"] = replace(of_session, value=pl.when(~none).then(of_session.value))
    ts = moments(wanted, rules.columns.ts, rules.source.time_zone)
    needed = ("tenant", "surface", *([] if rules.source.sessions else ["session_id"]), "item_id")
    required = [name for name in needed if name in read]
    problems: list[tuple[str, str, pl.Expr]] = [
        ("invalid_utf8", "ts", pl.lit(is_undecodable)),
        *(("wrong_type", name, of.is_wrong) for name, of in read.items()),
    ]
    problems += [
        (
            "missing_id",
            name,
            read[name].value.is_null() & ~(none if name == "session_id" else pl.lit(value=False)),
        )
        for name in required
    ]
    if "rank" in read:
        problems.append(("negative_rank", "rank", read["rank"].value < 0))
    problems.append(("bad_timestamp", "ts", pl.lit(ts).is_null()))
    mapped = wanted.select(
        pl.col(LINE).alias("line"),
        *([pl.col(PART).alias("part")] if PART in schema else []),
        ts,
        *(of.value.alias(name) for name, of in read.items()),
        *(
            pl.lit(None, dtype).alias(name)
            for name, dtype in rules.dtypes.items()
            if name in {"session_id", "user_id", "request_id", "rank"} and name not in read
        ),
        *_weight(rules, schema),
        problem=pl.coalesce(
            pl.when(is_so).then(pl.lit(number, pl.Int8))
            for number, (_, _, is_so) in enumerate(problems)
        ),
    )
    refused = _refused(wanted, mapped["problem"], problems, rules, read, raw_of)
    good = mapped.filter(pl.col("problem").is_null()) if refused else mapped
    events, where = keep(good, rules.dtypes, place=place, day=day)
    result = ParsedChunk(events, refused, lines=rows.height)
    result.left_out = rows.height - wanted.height
    result.outside_window, result.other_surface = where["outside_window"], where["other_surface"]
    return result


def _wanted(where: Mapping[str, Sequence[Wanted]], schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """Hold for the rows that `where` names."""
    conditions = [_is_one_of(pl.col(field), schema[field], where[field]) for field in where]
    return pl.all_horizontal(conditions) if conditions else pl.lit(value=True)


def _is_one_of(column: pl.Expr, dtype: pl.DataType, values: Sequence[Wanted]) -> pl.Expr:
    """Tell whether a field has one of some values: a number is also its text, the other way too."""
    found = column.is_null() if None in values else pl.lit(value=False)
    plain = [value for value in values if not isinstance(value, Matches)]
    texts = [text_of(value) for value in plain if value is not None]
    if not dtype.is_nested() and dtype != pl.Null:
        for value in values:
            if isinstance(value, Matches):
                found |= column.cast(pl.String).str.contains(value.matches).fill_null(value=False)
    if is_fraction(dtype):
        column = column.cast(pl.Float64)
        numbers = [number for text in texts if (number := _as_number(text)) is not None]
        return found | column.is_in(numbers).fill_null(value=False)
    if dtype.is_nested() or dtype == pl.Null:
        return found
    return found | column.cast(pl.String).is_in(texts).fill_null(value=False)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def decoded(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Return rows whose texts are texts, and which of them are not, being no UTF-8."""
    undecodable = pl.repeat(value=False, n=rows.height, eager=True)
    for name in (name for name, dtype in rows.schema.items() if dtype == pl.Binary):
        try:
            texts = rows[name].cast(pl.String)
        except pl.exceptions.ComputeError:  # says of none of them that it is the one
            texts = pl.Series(name, map(_decode, rows[name]), pl.String)
            undecodable |= texts.is_null() & rows[name].is_not_null()
        rows = rows.with_columns(texts)
    return rows, undecodable


def _decode(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return None


def _text(column: Column, schema: Mapping[str, pl.DataType]) -> _Read:
    wanted = "a text or an integer"
    if column.fields is None:
        return _Read(pl.lit(column.value, pl.String), pl.lit(value=False), wanted)
    texts = [trimmed(field, schema[field]) for field in column.fields]
    wrong = [
        pl.col(field).is_not_null()
        for field in column.fields
        if not (is_text(schema[field]) or is_whole(schema[field]))
    ]
    joined = (
        pl.concat_str(texts, separator=column.join)
        if column.join is not None
        else pl.coalesce(texts)
    )
    if column.extract is not None:
        joined = joined.str.extract(column.extract).str.strip_chars()
        joined = pl.when(joined != "").then(joined)
    return _Read(joined, pl.any_horizontal(wrong) if wrong else pl.lit(value=False), wanted)


def _rank(column: Column, schema: Mapping[str, pl.DataType], first: int) -> _Read:
    if column.fields is None:
        return _Read(pl.lit(column.value).cast(pl.Int64), pl.lit(value=False), "an integer")
    numbers, wrong = [], []
    for field in column.fields:
        dtype, raw = schema[field], pl.col(field)
        if dtype.is_float():  # where some are missing, tools write integers so
            raw = raw.fill_nan(None)
            number = pl.when(raw == raw.floor()).then(raw).cast(pl.Int64, strict=False)
        elif is_whole(dtype):
            number = raw.cast(pl.Int64, strict=False)
        elif is_text(dtype):
            text = trimmed(field, dtype)
            number = pl.when(text.str.contains(_DIGITS)).then(text).cast(pl.Int64, strict=False)
            raw = text
        else:
            number = pl.lit(None, pl.Int64)
        numbers.append(number)
        wrong.append(raw.is_not_null() & number.is_null())
    return _Read(pl.coalesce(numbers) - first, pl.any_horizontal(wrong), "an integer")


def _is_none(rules: Rules, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """Hold for the rows whose session says that there is none."""
    session, markers = rules.columns.session_id, rules.source.no_session
    if session is None or session.fields is None or not markers:
        return pl.lit(value=False)
    parts = [trimmed(field, schema[field]).fill_null("") for field in session.fields]
    if session.join is None:  # the first that is set
        return (
            pl.coalesce(pl.when(part != "").then(part) for part in parts)
            .fill_null("")
            .is_in(markers)
        )
    return pl.any_horizontal(part.is_in(markers) for part in parts)


def _weight(rules: Rules, schema: Mapping[str, pl.DataType]) -> Iterator[pl.Expr]:
    weight = rules.source.weight
    if weight is None:
        return
    kind, dtype, values = (
        pl.col(weight.column),
        schema[weight.column],
        dict[Any, int](weight.values),
    )
    if is_fraction(dtype):
        numbers = {_as_number(text): of for text, of in weight.values.items()}
        kind, values = kind.cast(pl.Float64), {n: of for n, of in numbers.items() if n is not None}
    elif dtype.is_nested() or dtype == pl.Null:
        values = {}
    else:
        kind = kind.cast(pl.String).str.strip_chars()
    counted = kind.replace_strict(values, default=1, return_dtype=pl.Int64) if values else None
    yield (pl.lit(1, pl.Int64) if counted is None else counted.fill_null(1)).alias("weight")


def _refused(
    rows: pl.DataFrame,
    problem: pl.Series,
    problems: Sequence[tuple[str, str, pl.Expr]],
    rules: Rules,
    read: Mapping[str, _Read],
    raw_of: Callable[[Mapping[str, Any]], tuple[bytes, int]],
) -> list[RefusedLine]:
    if problem.null_count() == problem.len():
        return []
    refused = []
    numbers = problem.filter(problem.is_not_null())
    for number, row in zip(
        numbers, rows.filter(problem.is_not_null()).iter_rows(named=True), strict=True
    ):
        reason, name, _ = problems[number]
        raw, counted = raw_of(row)
        detail = _detail(reason, name, rules, read, row)
        refused.append(RefusedLine(row[LINE], reason, detail, raw, counted))
    return refused


def _detail(
    reason: str, name: str, rules: Rules, read: Mapping[str, _Read], row: Mapping[str, Any]
) -> str:
    fields: Sequence[str] = getattr(rules.columns, name).fields or []
    found = ", ".join(f"{field} is {_shown(row[field])}" for field in fields)
    entry = f"entry {row[PART] + 1}: " if PART in row else ""
    match reason:
        case "invalid_utf8":
            return f"{entry}a field is not UTF-8"
        case "wrong_type":
            return f"{entry}{name} takes {read[name].wanted}, {found}"
        case "missing_id":
            return f"{entry}{name} is missing or blank: {found}"
        case "negative_rank":
            return (
                f"{entry}rank is below 0: {found}, and ranks begin at {rules.source.rank_from or 0}"
            )
    return f"{entry}ts: {found}, {_wanted_time(rules)}"


def _wanted_time(rules: Rules) -> str:
    ts, zone = rules.columns.ts, rules.columns.ts.time_zone or rules.source.time_zone
    if ts.unit is not None:
        return f"no number of {ts.unit} since 1970"
    form = f"a time in the format {ts.format!r}" if ts.format else "a time in ISO 8601"
    with_offset = f", or one that exists once in {zone}" if zone else ""
    return f"not {form}{with_offset}" + (
        "" if zone else " with an offset, and no `time_zone` is set"
    )


def _shown(value: Any) -> str:
    return "not there" if value is None else cut_between_values(repr(value), 80)
