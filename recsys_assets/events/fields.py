"""Fields of raw rows by their names in the configuration, such as `params[session].value`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import polars as pl

from recsys_assets.config.columns import FIELD_STEP

ITEM: Final = "item"  # what an entry of the exploded list is called
# Where rows stand; no field of others can be named so, with a blank in front.
LINE, PART, ENTRIES = " line", " part", " entries"
KEY, VALUE = "key", "value"  # what the fields of an entry of a list of pairs are called


class UnknownFieldError(Exception):
    """There is no such field: says what there is."""


def steps(field: str) -> list[tuple[str, str | None]]:
    """Return the names that lead to a field, each with the key of a pair or None."""
    return [(step[1], step[2]) for step in FIELD_STEP.finditer(field)]


def expression(field: str, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """Return what reads a field of a frame; a column of that very name is it.

    Texts that a field is looked for within are read as JSON.

    Raises:
        UnknownFieldError: the frame has no such field.
    """
    if field in schema:
        return pl.col(field)
    here: Mapping[str, Any] = schema
    found: pl.Expr | None = None
    dtype: Any = None
    for number, (name, key) in enumerate(path := steps(field)):
        if name not in here:
            rest, is_json = path[number:], is_text(dtype) or dtype == pl.Binary
            if found is not None and is_json and all(key is None for _, key in rest):
                return _within_text(found, rest)
            there = f"there are {listed(here)}" if here else f"{path[number - 1][0]!r} is {dtype}"
            raise UnknownFieldError(f"no field {field!r}: {there}")
        found = pl.col(name) if found is None else found.struct.field(name)
        dtype = here[name]
        if key is not None:
            pair = _fields(dtype.inner) if isinstance(dtype, pl.List) else {}
            if isinstance(dtype, pl.Map):
                found, pair = found.map.entries(), {KEY: dtype.key, VALUE: dtype.value}
            if not {KEY, VALUE} <= pair.keys():
                raise UnknownFieldError(
                    f"{field!r}: {name!r} is no list of entries of key and value"
                )
            of_key = pl.element().filter(pl.element().struct.field(KEY).cast(pl.String) == key)
            found = found.list.eval(of_key.struct.field(VALUE)).list.first()
            dtype = pair[VALUE]
        here = _fields(dtype)
    if found is None:
        raise UnknownFieldError(f"no field {field!r}")
    return found


def _within_text(found: pl.Expr, path: Sequence[tuple[str, str | None]]) -> pl.Expr:
    """Read a field of a text that is an object in JSON; null where it is none, or has no such."""
    json_path = "".join(f"[{json.dumps(name, ensure_ascii=False)}]" for name, _ in path)
    return found.cast(pl.String).str.json_path_match(f"${json_path}")


def value_of(row: Any, field: str) -> Any:
    """Return a field of a decoded object, None where there is none."""
    if isinstance(row, dict) and field in row:
        return row[field]
    for name, key in steps(field):
        row = _object(row).get(name)
        if key is not None:
            pairs = row if isinstance(row, list) else []
            row = next(
                (
                    pair.get(VALUE)
                    for pair in pairs
                    if isinstance(pair, dict) and pair.get(KEY) == key
                ),
                None,
            )
    return row


def _object(value: Any) -> dict[str, Any]:
    """Return an object, also where it is a text that holds it as JSON; an empty one of others."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _fields(dtype: object) -> Mapping[str, Any]:
    return (
        {field.name: field.dtype for field in dtype.fields} if isinstance(dtype, pl.Struct) else {}
    )


def listed(names: Iterable[str], most: int = 20) -> str:
    """Return names for people, the first ones of many."""
    known = sorted(name for name in names if name != LINE)
    shown = ", ".join(known[:most]) or "none"
    return f"{shown} and {len(known) - most} more" if len(known) > most else shown


def is_text(dtype: pl.DataType) -> bool:
    """Tell whether a field of a type holds texts, or nothing at all."""
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Null)


def is_whole(dtype: pl.DataType) -> bool:
    """Tell whether a field of a type holds integers."""
    return dtype.is_integer() or (isinstance(dtype, pl.Decimal) and dtype.scale == 0)


def is_fraction(dtype: pl.DataType) -> bool:
    """Tell whether a field of a type holds numbers that may have decimals."""
    return dtype.is_float() or (isinstance(dtype, pl.Decimal) and dtype.scale > 0)


def trimmed(field: str, dtype: pl.DataType) -> pl.Expr:
    """Read a field as a text without white space around it; null when blank, or no text."""
    if not (is_text(dtype) or is_whole(dtype)):
        return pl.lit(None, pl.String)
    text = pl.col(field).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)
