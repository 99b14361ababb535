"""Raw rows as frames of the fields that a mapping reads: of columns, and of lines of JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any, Final

import polars as pl
import pyarrow as pa

from recsys_assets.config.columns import Explode
from recsys_assets.events.chunks import Chunk
from recsys_assets.events.fields import (
    ENTRIES,
    ITEM,
    KEY,
    LINE,
    PART,
    VALUE,
    UnknownFieldError,
    expression,
    is_text,
    listed,
    steps,
    value_of,
)
from recsys_assets.events.json_text import (
    JSON_SPACE,
    decodable,
    json_object,
    json_type,
    refused_as_too_long,
    whole_text,
)
from recsys_assets.events.mapping import Rules, decoded, map_rows
from recsys_assets.events.objects import in_halves, read_objects
from recsys_assets.events.parsed import ParsedChunk, RefusedError, RefusedLine
from recsys_assets.places import Place

# Lines whose fields are looked at for their types.
_LOOKED_AT: Final = 20
# Refused lines of a piece that say which fields there are.
_NAMED: Final = 10
_ARROW: Final[Mapping[str, pa.DataType]] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "nothing": pa.string(),
}
_POLARS: Final[Mapping[str, pl.DataType]] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "nothing": pl.Null(),
    "other": pl.List(pl.String()),  # a list or an object, of whatever
}
_LIST, _PAIRS = "[list]", "[pairs]"
RawOf = Callable[[Mapping[str, Any]], tuple[bytes, int]]


def map_frame(
    frame: pl.DataFrame,
    rules: Rules,
    *,
    place: Place,
    day: date | None,
    raw_of: RawOf | None = None,
) -> ParsedChunk:
    """Map rows whose fields are columns, or parts of them.

    Args:
        frame: in source order; LINE is the number of each row in its input.
        rules: of the source.
        place: whose events are kept.
        day: UTC day that is kept; None keeps all of them.
        raw_of: as `map_rows` has it; by default the fields that were read, each row a byte.

    Raises:
        UnknownFieldError: the frame lacks a field.
    """
    read, explode = rules.fields, rules.source.explode
    of_entry = [field for field in read if explode and steps(field)[0][0] == ITEM]
    of_row = [field for field in read if field not in of_entry]
    frame = _with_texts(frame, [*of_row, *([explode.field] if explode else [])])
    columns = [expression(field, frame.schema).alias(field) for field in of_row]
    rows = frame.select(LINE, *columns, *_entries(frame, explode))
    if explode:
        rows = rows.explode(ITEM, PART).filter(pl.col(ITEM).is_not_null())
        dtype = {ITEM: rows.schema[ITEM]}
        fields = [expression(field, dtype).alias(field) for field in of_entry if field != ITEM]
        rows = rows.with_columns(fields)
    result = map_rows(rows, rules, place=place, day=day, raw_of=raw_of or _fields_of(read))
    without = frame.height - rows[LINE].n_unique() if explode else 0
    result.lines += without
    result.left_out += without
    result.size_bytes = result.lines
    return result


def _with_texts(frame: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    """Decode the columns that fields are looked for within; what is no UTF-8 has none."""
    within = {steps(field)[0][0] for field in fields if field not in frame.schema}
    binary = [name for name in within if frame.schema.get(name) == pl.Binary]
    return decoded(frame.select(binary))[0].hstack(frame.drop(binary)) if binary else frame


def _entries(frame: pl.DataFrame, explode: Explode | None) -> list[pl.Expr]:
    if explode is None:
        return []
    found = expression(explode.field, frame.schema)
    if explode.split is not None:
        text = found.cast(pl.String).str.strip_chars()
        found = pl.when(text != "").then(text).str.split(explode.split)
    elif not isinstance(dtype := frame.select(found.alias(ITEM)).schema[ITEM], pl.List):
        if not (is_text(dtype) or dtype == pl.Binary):
            raise UnknownFieldError(f"explode: {explode.field!r} is {dtype}, not a list")
        texts = decoded(frame.select(found.alias(ITEM)))[0][ITEM]
        found = pl.lit(pl.Series(map(_entries_of, texts), dtype=pl.List(pl.String)))
    length = found.list.len()
    return [
        found.alias(ITEM),
        pl.int_ranges(length, dtype=pl.Int32).alias(PART),
        length.alias(ENTRIES),
    ]


def _entries_of(text: str | None) -> list[str | None] | None:
    """Return the entries of a list in JSON as texts; a blank one of what is no list."""
    try:
        found = json.loads(text) if text and text.strip() else None
    except (ValueError, RecursionError):
        found = text
    if not isinstance(found, list | None):
        return [""]
    return found and [
        entry if isinstance(entry, str | None) else json.dumps(entry) for entry in found
    ]


def _fields_of(fields: Sequence[str]) -> RawOf:
    def raw_of(row: Mapping[str, Any]) -> tuple[bytes, int]:
        return json.dumps({field: row[field] for field in fields}, default=str).encode(), 1

    return raw_of


def map_json_lines(chunk: Chunk, rules: Rules, *, place: Place, day: date | None) -> ParsedChunk:
    """Map lines of JSON of any shape; a line that is no object is refused.

    Two readers give the same answer: one that is fast and takes lines whose fields have the types
    of the first ones; and a walk through each other line, which is the definition.
    """
    data, undecodable = decodable(chunk)
    refused = undecodable + refused_as_too_long(chunk)
    unread = len(refused)
    number = (pl.int_range(pl.len()) + chunk.first_line).alias(LINE)
    lines = pl.read_lines(data, name="text").with_columns(number)
    lines = lines.filter(pl.col("text").str.strip_chars(JSON_SPACE) != "")
    mapped = [*_map_lines(lines, rules, place, day)]
    refused += [line for part in mapped for line in part.refused]
    refused.sort(key=lambda line: line.line)
    refused[:_NAMED] = [_with_names(line, rules) for line in refused[:_NAMED]]
    order = ["line", *(["part"] if "part" in rules.dtypes else [])]
    return ParsedChunk(
        pl.concat([pl.DataFrame(schema=rules.dtypes), *(part.events for part in mapped)]).sort(
            order
        ),
        refused,
        lines=sum(part.lines for part in mapped) + unread,
        size_bytes=chunk.size_bytes,
        outside_window=sum(part.outside_window for part in mapped),
        other_surface=sum(part.other_surface for part in mapped),
        left_out=sum(part.left_out for part in mapped),
    )


def _with_names(line: RefusedLine, rules: Rules) -> RefusedLine:
    """Add to a line that lacks a field which ones it has: that shows a mapping that is wrong."""
    if line.reason not in {"missing_id", "bad_timestamp"} or "not there" not in line.detail:
        return line
    row = json_object(line.raw.decode())
    said = f"the line has {listed(row)}"
    for entry, *_ in _rows_of(row, rules.source.explode)[:1]:
        if isinstance(entry.get(ITEM), dict) and rules.source.explode:
            said += f"; {ITEM} has {listed(entry[ITEM])}"
    return replace(line, detail=f"{line.detail}; {said}")


def _map_lines(
    lines: pl.DataFrame, rules: Rules, place: Place, day: date | None
) -> Iterator[ParsedChunk]:
    for some, frame in in_halves(lines, partial(_read_alike, rules=rules)):
        if frame is None:
            yield from _map_one_by_one(some, rules, place, day)
        else:
            yield map_frame(frame, rules, place=place, day=day, raw_of=_text_of(some))


def _text_of(lines: pl.DataFrame) -> RawOf:
    def raw_of(row: Mapping[str, Any]) -> tuple[bytes, int]:
        raw = lines["text"][int(lines[LINE].search_sorted(row[LINE]))].encode()
        return raw, (len(raw) + 1) // row.get(ENTRIES, 1)

    return raw_of


def _read_alike(lines: pl.DataFrame, rules: Rules) -> pl.DataFrame | None:
    """Read lines whose fields have the types of the first ones; None where any is otherwise."""
    schema = _schema(lines["text"].head(_LOOKED_AT).to_list(), rules)
    # A name with a dot may be one key: that is looked for line by line.
    dotted = [f'"{field}"' for field in rules.fields if len(steps(field)) > 1]
    if schema is None or (dotted and lines["text"].str.contains_any(dotted).any()):
        return None
    found = read_objects(lines, schema)
    return None if found is None else found.with_columns(lines[LINE])


def _schema(texts: Sequence[str], rules: Rules) -> pa.Schema | None:
    """Return the types of the fields of some lines, None where two of them have different ones."""
    kinds: dict[str, set[str]] = {field: set() for field in rules.fields}
    explode = rules.source.explode
    try:
        for text in texts:
            for row, *_ in _rows_of(json_object(text), explode):
                for field, found in kinds.items():
                    found.add(_kind(value_of(row, field)))
    except RefusedError:
        return None
    tree: dict[str, Any] = {}
    if explode:
        at = _node(tree, explode.field)
        if at is None:
            return None
        parent, name = at
        parent[name] = pa.string() if explode.split is not None else {_LIST: {}}
    for field, found in kinds.items():
        found.discard("nothing")
        if len(found) > 1 or "other" in found:
            return None
        if not _add(tree, field, explode, _ARROW[found.pop() if found else "nothing"]):
            return None
    return pa.schema([(name, _arrow_type(node)) for name, node in tree.items()])


def _add(tree: dict[str, Any], field: str, explode: Explode | None, dtype: pa.DataType) -> bool:
    """Put a field into the tree of fields; False where another one is in its way."""
    first, *rest = steps(field)
    if explode and first == (ITEM, None):
        if explode.split is not None:
            return not rest
        parent, name = _node(tree, explode.field) or ({}, "")
        if not rest:
            if parent[name][_LIST]:
                return False
            parent[name][_LIST] = dtype
            return True
        tree, field = parent[name][_LIST], field.removeprefix(f"{ITEM}.")
        if not isinstance(tree, dict):
            return False
    at = _node(tree, field)
    if at is None:
        return False
    parent, name = at
    return bool(parent.setdefault(name, dtype) == dtype)


def _node(tree: dict[str, Any], field: str) -> tuple[dict[str, Any], str] | None:
    """Return where a field stands in a tree, its parents made; None where a value is in the way."""
    here, name = tree, ""
    for number, (step, key) in enumerate(steps(field)):
        if number:
            here = here.setdefault(name, {})
            if not isinstance(here, dict):
                return None
        name = step
        if key is not None:
            here = here.setdefault(step, {})
            if not isinstance(here, dict):
                return None
            name = _PAIRS
    return here, name


def _arrow_type(node: Any) -> pa.DataType:
    if not isinstance(node, dict):
        return node
    if _LIST in node:
        return pa.list_(_arrow_type(node[_LIST]))
    if _PAIRS in node:
        return pa.list_(pa.struct([(KEY, pa.string()), (VALUE, _arrow_type(node[_PAIRS]))]))
    return pa.struct([(name, _arrow_type(inner)) for name, inner in node.items()])


def _map_one_by_one(
    lines: pl.DataFrame, rules: Rules, place: Place, day: date | None
) -> Iterator[ParsedChunk]:
    """Map lines of whatever shape, those together whose fields are of the same kinds."""
    explode, fields = rules.source.explode, rules.fields
    alike: dict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    refused, without = [], 0
    for text, line in lines.select("text", LINE).iter_rows():
        try:
            rows = _rows_of(json_object(text), explode)
        except RefusedError as problem:
            refused.append(RefusedLine(line, problem.reason, problem.detail, text.encode()))
            continue
        without += not rows
        for row, *at in rows:
            values = [value_of(row, field) for field in fields]
            kinds = tuple(map(_kind, values))
            alike[kinds].append((line, *map(_plain, values), *at))
    yield ParsedChunk(
        pl.DataFrame(schema=rules.dtypes), refused, lines=len(refused) + without, left_out=without
    )
    of_list = {PART: pl.Int32(), ENTRIES: pl.UInt32()} if explode else {}
    for kinds, values in alike.items():
        dtypes = dict(zip(fields, (_POLARS[kind] for kind in kinds), strict=True))
        frame = pl.DataFrame(values, {LINE: pl.Int64(), **dtypes, **of_list}, orient="row")
        yield map_rows(frame, rules, place=place, day=day, raw_of=_text_of(lines))


def _rows_of(row: dict[str, Any], explode: Explode | None) -> list[tuple[Any, ...]]:
    """Return the rows of an object: itself, or each entry of its list with its place and number."""
    if explode is None:
        return [(row,)]
    found = value_of(row, explode.field)
    if explode.split is not None and isinstance(found, str):
        found = found.strip().split(explode.split) if found.strip() else []
    elif isinstance(found, str):
        with suppress(ValueError, RecursionError):
            found = json.loads(found) if found.strip() else None
    if not isinstance(found, list | None):
        raise RefusedError("wrong_type", f"{explode.field} is {json_type(found)}, not an array")
    entries = found or []
    return [
        ({**row, ITEM: entry}, place, len(entries))
        for place, entry in enumerate(entries)
        if entry is not None
    ]


def _kind(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "boolean"
        case int():
            return "integer" if -(2**63) <= value < 2**63 else "text"
        case float():
            return "number"
        case str():
            return "text"
    return "other"


def _plain(value: Any) -> Any:
    match value:
        case str():
            return whole_text(value)
        case int() if not -(2**63) <= value < 2**63:
            return str(value)
        case list() | dict():
            return []
    return value
