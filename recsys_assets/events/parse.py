"""Raw exposure event v1, one JSON object a line, to canonical events and refused lines.

Three readers give the same answer. A line that one regular expression recognises as a flat object
of known fields, each at most once, without escapes, goes through Polars. A line with further fields
or escapes goes through pyarrow, which takes twice as long. Every other line goes through
`_parse_line`, which is the definition and a good ten times slower.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import polars as pl

from recsys_assets.contracts import CANONICAL_DTYPES, TIMESTAMP
from recsys_assets.events.chunks import Chunk, count_byte
from recsys_assets.events.json_text import (
    JSON_SPACE,
    decodable,
    json_object,
    json_type,
    refused_as_too_long,
    whole_text,
)
from recsys_assets.events.objects import in_halves, read_objects
from recsys_assets.events.parsed import ParsedChunk, RefusedError, RefusedLine, keep
from recsys_assets.events.timestamps import EPOCH, NEAR_RFC_3339, nanoseconds, rfc_3339
from recsys_assets.places import Place
from recsys_assets.texts import WHITE_SPACE

_REQUIRED: Final = ("tenant", "surface", "session_id", "item_id")
_OPTIONAL: Final = ("user_id", "request_id")
_TEXTS: Final = ("ts", *_REQUIRED, *_OPTIONAL)
_IDS: Final = ("session_id", "item_id", *_OPTIONAL)  # kept trimmed
_RAW_DTYPES: Final = {"v": pl.Int64, **dict.fromkeys(_TEXTS, pl.String), "rank": pl.Int64}
_RAW_ARROW: Final = pl.DataFrame(schema=_RAW_DTYPES).to_arrow().schema
_KEPT: Final = {name: dtype for name, dtype in CANONICAL_DTYPES.items() if name != "file"}
_LOOKED_AT: Final = 20  # lines that tell whether any of a chunk is plain

# [ \t\r] and not \s: JSON knows four blanks, the regular expression engine every Unicode one.
_MEMBER: Final = (
    rf'(?:"(?:{"|".join(_TEXTS)})"[ \t\r]*:[ \t\r]*"[^"\\\x00-\x1f]*"'
    r'|"(?:v|rank)"[ \t\r]*:[ \t\r]*(?:0|[1-9][0-9]{0,17}))'
)
_PLAIN_LINE: Final = (
    rf"^[ \t\r]*\{{[ \t\r]*{_MEMBER}[ \t\r]*(?:,[ \t\r]*{_MEMBER}[ \t\r]*)*\}}[ \t\r]*$"
)
_DAY_NS: Final = 86_400 * 10**9


def parse_chunk(chunk: Chunk, *, place: Place, day: date | None) -> ParsedChunk:
    """Split a chunk into the events of a surface and day and the lines that are refused.

    Every line that is not blank is an event that is kept, an event that is counted because it
    belongs to another day or surface, or a refused line. Order of lines is kept in both.
    """
    data, undecodable = decodable(chunk)
    refused = undecodable + refused_as_too_long(chunk)
    lines, other = _split_plain(data, chunk.first_line)
    whole = data if other.is_empty() else lines["text"].str.join("\n").item().encode()
    plain, doubtful = _read_plain(lines, whole)
    further, other = _read_further(pl.concat([other, doubtful]))
    if further.height:
        plain = pl.concat([plain, further]).sort("line")
    slow_events: list[dict[str, Any]] = []
    for line, text in other.select("line", "text").iter_rows():
        try:
            slow_events.append({**_parse_line(text), "line": line})
        except RefusedError as problem:
            refused.append(RefusedLine(line, problem.reason, problem.detail, text.encode()))

    result = ParsedChunk(pl.DataFrame(), sorted(refused, key=lambda item: item.line))
    result.lines = plain.height + other.height + len(undecodable) + len(chunk.oversized)
    result.size_bytes = chunk.size_bytes
    slow, where = _keep(slow_events, place=place, day=day)
    plain = plain.with_columns(pl.when(pl.col(name) != "").then(name) for name in _OPTIONAL)
    fast, fast_where = keep(plain, _KEPT, place=place, day=day)
    where.update(fast_where)
    result.outside_window, result.other_surface = where["outside_window"], where["other_surface"]
    result.events = pl.concat([fast, slow]).sort("line") if slow.height else fast
    return result


def collect(
    rows: Sequence[Mapping[str, Any]],
    refused: Sequence[RefusedLine],
    *,
    place: Place,
    day: date | None,
    size_bytes: int,
) -> ParsedChunk:
    """Return what became of a piece whose lines were read one by one, for sources of other formats.

    Args:
        rows: in source order: `tenant`, `surface`, `ts` in nanoseconds since 1970, and every
            canonical column but `file`; ids trimmed and not blank, optional ones null.
        refused: the other lines that are not blank.
        place: whose events are kept.
        day: UTC day that is kept; None keeps all of them.
        size_bytes: of the piece, as `Chunk.size_bytes` counts.
    """
    events, where = _keep(rows, place=place, day=day)
    return ParsedChunk(
        events,
        sorted(refused, key=lambda line: line.line),
        lines=len(rows) + len(refused),
        size_bytes=size_bytes,
        outside_window=where["outside_window"],
        other_surface=where["other_surface"],
    )


def _read_further(lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read lines with fields that are not known; return those with `line`, and the other lines."""
    read, other = [], [lines.clear()]
    for some, found in in_halves(lines.sort("line"), lambda few: read_objects(few, _RAW_ARROW)):
        if found is None:
            other.append(some)
            continue
        certain, doubtful = _certain(found.lazy(), some, pl.lit(value=False), has_space=True)
        read.append(certain)
        other.append(doubtful)
    return pl.concat(read) if read else pl.DataFrame(), pl.concat(other)


def _split_plain(data: bytes, first_line: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return `line`, `text` of the plain lines, and of the others that are not blank."""
    lines = pl.read_lines(data, name="text").select(
        "text", line=pl.int_range(pl.len()) + first_line
    )
    text = pl.col("text")
    is_plain = text.str.contains(_PLAIN_LINE)
    # Where lines have further fields, all have them, and looking at each is in vain.
    if not lines.head(_LOOKED_AT).select(is_plain.any()).item():
        is_plain = pl.lit(value=False)
    lines = lines.with_columns(plain=is_plain)
    if lines["plain"].all():
        return lines, lines.clear()
    other = lines.filter(~pl.col("plain"), text.str.strip_chars(JSON_SPACE) != "")
    return lines.filter("plain"), other


def _read_plain(lines: pl.DataFrame, source: bytes) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read what Polars is known to read right; return that with `line`, and the other lines.

    Args:
        lines: plain ones.
        source: the same lines, and no others that are not blank.
    """
    raw = pl.read_ndjson(source, schema=_RAW_DTYPES)
    # Of white space, a plain line can have in its values what is not ASCII, and the space.
    has_space = not source.isascii() or b" " in source
    repeats = _repeats(raw, source, lines["text"])
    return _certain(raw.lazy(), lines, repeats, has_space=has_space)


def _certain(
    raw: pl.LazyFrame, lines: pl.DataFrame, repeats: pl.Expr, *, has_space: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return with `line` what is surely an event, and the other lines."""
    ids, required = pl.col(_IDS), pl.col(_REQUIRED)
    read = (
        raw.with_columns(
            lines["line"],
            ids.str.strip_chars() if has_space else ids,
            # Null where no RFC 3339 timestamp, and where the year is not near.
            ts=pl.when(pl.col("ts").str.contains(NEAR_RFC_3339)).then("ts"),
            certain=pl.all_horizontal(
                ~repeats,
                pl.col("v") == 1,
                (required.str.strip_chars() if has_space else required) != "",
                pl.col("rank").fill_null(0) >= 0,
            ).fill_null(value=False),
        )
        .with_columns(rfc_3339())
        .collect()
    )
    certain = read["certain"] & read["ts"].is_not_null()
    if certain.all():
        return read, lines.clear()
    return read.filter(certain), lines.filter(~certain)


def _repeats(read: pl.DataFrame, source: bytes, texts: pl.Series) -> pl.Expr:
    """Hold for the plain lines that have a field twice.

    Polars reads a repeated field as its last one and never says so. A plain line has no escapes, so
    its quotes are four for each text and two for each number: more than its fields need means a
    repeat. No line has fewer, so when all of them together have no more, none has.
    """
    quotes = {name: 4 if dtype == pl.String else 2 for name, dtype in _RAW_DTYPES.items()}
    if count_byte(source, b'"') == sum(quotes[name] * read[name].count() for name in quotes):
        return pl.lit(value=False)
    needed = pl.sum_horizontal(pl.col(name).is_not_null() * quotes[name] for name in quotes)
    return pl.lit(texts.str.count_matches('"', literal=True)) > needed


def _keep(
    events: Sequence[Mapping[str, Any]], *, place: Place, day: date | None
) -> tuple[pl.DataFrame, Counter[str]]:
    start = None if day is None else (day - EPOCH.date()).days * _DAY_NS
    # Any that a column holds, or those of the day.
    window = range(-(2**63), 2**63) if start is None else range(start, start + _DAY_NS)
    where: Counter[str] = Counter()
    kept = []
    for event in events:
        if (event["tenant"], event["surface"]) != (place.tenant, place.surface):
            where["other_surface"] += 1
        elif event["ts"] not in window:
            where["outside_window"] += 1
        else:
            kept.append(tuple(event[name] for name in _KEPT))
    frame = pl.DataFrame(kept, schema={**_KEPT, "ts": pl.Int64}, orient="row")
    return frame.with_columns(pl.col("ts").cast(TIMESTAMP)), where


def _parse_line(text: str) -> dict[str, Any]:
    """Return tenant, surface, and every column that is kept, `ts` in ns since 1970; or refuse."""
    event = json_object(text)
    texts = {name: _text(event, name) for name in _TEXTS}
    rank = _integer(event, "rank")
    if (version := _integer(event, "v")) != 1:
        found = "missing" if version is None else version
        raise RefusedError("wrong_version", f"v is {found}, this project reads v 1")
    for name in _REQUIRED:
        if not texts[name].strip(WHITE_SPACE):
            raise RefusedError("missing_id", f"{name} is missing or blank")
    if rank is not None and rank < 0:
        raise RefusedError("negative_rank", f"rank is {rank}")
    return {
        "tenant": texts["tenant"],
        "surface": texts["surface"],
        "ts": nanoseconds(texts["ts"]),
        **{name: texts[name].strip(WHITE_SPACE) or None for name in _IDS},
        "rank": rank,
    }


def _text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RefusedError("wrong_type", f"{name} is {json_type(value)}, not a string")
    return whole_text(value)


def _integer(event: dict[str, Any], name: str) -> int | None:
    value = event.get(name)
    if value is None:
        return None
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise RefusedError("wrong_type", f"{name} is {json_type(value)}, not a 64-bit integer")
    return value
