"""Artifact frame to artifact document v1 and its version.

The names inside the document belong to the online service and are spelled here only. A document is
written and hashed in one pass over slices of the frame, so memory does not grow with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.compute.coded import Piece
from recsys_assets.compute.outlines import Outline, Outliner
from recsys_assets.config import Surface
from recsys_assets.errors import StorageError
from recsys_assets.places import Place
from recsys_assets.windows import Window

DOCUMENT_FORMAT: Final = 1
_SLICE_ROWS: Final = 100_000
# Whole numbers up to this one are written once for all rows that have them.
_MANY_NUMBERS: Final = 10_000
_BLOCK_BYTES: Final = 2**18
_HEAD_BYTES: Final = 2**16
# `build` is the last member; the version is that of the document with this in its place.
_BUILD_KEY: Final = b'"build":'
_UNBUILT: Final = b'{"built_at":"","version":""}}'

# What Go's encoding/json escapes, besides control characters.
_ESCAPES: Final = {
    "\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f",
    "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029",
}  # fmt: skip
_ESCAPES_ALL: Final = {
    **{chr(code): f"\\u{code:04x}" for code in range(32)},
    **_ESCAPES,
}
_NEEDS_ESCAPE: Final = r'[\x00-\x1f"\\<>&\x{2028}\x{2029}]'
_NEEDS_ESCAPE_PATTERN: Final = re.compile(_NEEDS_ESCAPE.replace(r"\x{", r"\u").replace("}", ""))


@dataclass(frozen=True)
class DocumentHead:
    """What a document says of itself before its list."""

    kind: str
    place: Place
    segment: str
    window: Window

    @classmethod
    def of_day(cls, surface: Surface, kind: str, day: date) -> DocumentHead:
        """Return what the document of a day says of itself."""
        return cls(kind, surface.place, surface.segment, surface.window(day))

    def to_bytes(self) -> bytes:
        """Return the document up to its list."""
        members = {
            "v": DOCUMENT_FORMAT,
            "artifact_type": self.kind,
            **asdict(self.place),
            "segment": self.segment,
            "window": self.window.to_json(),
        }
        return (
            "{" + ",".join(f'"{key}":{_to_json(value)}' for key, value in members.items()) + ","
        ).encode()


@dataclass(frozen=True)
class ListLayout:
    """How the list of a kind is laid out in its document; the names are also the frame's columns.

    Documents are written, shown, compared and traced by it.

    Attributes:
        key: the member that holds the list.
        owner: what names an entry of it: `item_id` or `user_id`.
        value: what is said: a number, or `tags`.
        entry: the frame's column of the items in an owner's own list, where they are `item_id`;
            None where owners have a value and no list.
    """

    key: str
    owner: str
    value: str
    entry: str | None = None

    @property
    def of_items(self) -> bool:
        """Whether owners are items."""
        return self.owner == "item_id"

    @property
    def owners(self) -> str:
        """What owners are called: `items` or `users`."""
        return self.owner.replace("_id", "s")

    @property
    def entries(self) -> str:
        """What the items of an owner's list are called, where there is one."""
        return (self.entry or "").replace("_id", "s")

    def outliner(self, *, may_be_brief: bool = False) -> Outliner:
        """Return what makes the outline of such a list."""
        return Outliner(self.owner, self.entry, self.value, may_be_brief=may_be_brief)


@dataclass(frozen=True)
class RenderedDocument:
    """A document on disk."""

    head: DocumentHead
    path: Path
    version: str
    source_hash: str
    size_bytes: int
    built_at: datetime
    outline: Outline | None = None
    details: pl.DataFrame | None = None  # what the catalog it is made of says besides the tags


def render(
    text: Iterable[bytes], head: DocumentHead, path: Path, *, source_hash: str, built_at: datetime
) -> RenderedDocument:
    """Write a document to `path` and return its version.

    Args:
        text: what `list_text` gives for an artifact of `head.kind`.
        head: the document's first members.
        path: a file to create.
        source_hash: fingerprint of what the frame was computed from; not part of the version.
        built_at: UTC; not part of the version.
    """
    digest = hashlib.sha256()
    size = 0
    with path.open("xb") as file:
        for piece in chain((head.to_bytes(),), text, (b"," + _BUILD_KEY,)):
            digest.update(piece)
            size += file.write(piece)
        digest.update(_UNBUILT)
        version = digest.hexdigest()
        build = {
            "built_at": built_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "version": version,
            "source_hash": source_hash,
        }
        size += file.write(f"{_to_json(build)}}}".encode())
    return RenderedDocument(head, path, version, source_hash, size, built_at)


def stored_version(file: BinaryIO, size_bytes: int) -> str:
    """Recompute the version of a stored document from its bytes, in bounded memory.

    Raises:
        StorageError: there is no `build` member at the end, so this is no artifact document; or it
            names another version than the bytes have.
    """
    file.seek(max(0, size_bytes - 4096))
    tail = file.read()
    found = tail.rfind(_BUILD_KEY)
    if found < 0:
        raise StorageError("no build member at the end: not an artifact document, or cut short")
    remaining = size_bytes - len(tail) + found + len(_BUILD_KEY)
    try:
        named = json.loads(b"{" + tail[found:])["build"]["version"]
    except (KeyError, TypeError):
        raise StorageError("the build member names no version") from None
    except ValueError:
        raise StorageError("the build member is damaged, or the document is cut short") from None
    digest = hashlib.sha256()
    file.seek(0)
    while remaining:
        block = file.read(min(_BLOCK_BYTES, remaining))
        digest.update(block)
        remaining -= len(block)
    digest.update(_UNBUILT)
    version = digest.hexdigest()
    if named != version:
        raise StorageError(
            f"the build member names version {named}, the document hashes to {version}"
        )
    return version


def read_window(file: BinaryIO) -> Window | None:
    """Return the window that an artifact document names before its list, None if it cannot be read.

    Other producers' documents are read too: whitespace is passed over, a window that is not whole
    days is widened to them, a time without zone is UTC. Only the first 64 KiB are looked at.
    """
    text = file.read(_HEAD_BYTES).decode(errors="replace")
    try:
        for key, value in _first_members(text):
            if key == "window":
                return _whole_days(value)
    except (ValueError, RecursionError):  # no JSON object, or cut at the bound
        return None
    return None


def list_text(pieces: Iterable[Piece], layout: ListLayout) -> Iterator[bytes]:
    """Yield the list of a document, key included, in pieces of bounded size.

    Args:
        pieces: rows in published order, one piece after the other; no owner's list of its own is
            split between two.
        layout: of the kind.
    """
    yield f'"{layout.key}":['.encode()
    texts = _flat(pieces, layout) if layout.entry is None else _nested(pieces, layout, layout.entry)
    for number, text in enumerate(texts):
        # As binary: one copy less than through a Python string.
        data = text.str.join("").cast(pl.Binary).item()
        yield data if number else data.removeprefix(b",")
    yield b"]"


def _first_members(text: str) -> Iterator[tuple[object, Any]]:
    """Yield the members of a JSON object one by one; raise ValueError where the text ends."""
    decode = json.JSONDecoder().raw_decode
    separator, at = "{", 0
    while True:
        at = _after(separator, text, at)
        key, at = decode(text, at)
        at = _after(":", text, at)
        value, at = decode(text, at)
        yield key, value
        separator = ","


def _after(separator: str, text: str, at: int) -> int:
    found = re.compile(rf"[ \t\r\n]*{re.escape(separator)}[ \t\r\n]*").match(text, at)
    if found is None:
        raise ValueError(f"no {separator} at {at}")
    return found.end()


def _whole_days(window: Any) -> Window | None:
    try:
        start, end = (_utc(datetime.fromisoformat(window[name])) for name in ("start", "end"))
        last = end - timedelta(microseconds=1)
        days = Window(start.date(), last.date() + timedelta(days=1))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    return days if start < end else None


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _flat(pieces: Iterable[Piece], layout: ListLayout) -> Iterator[pl.Series]:
    """Yield texts that make up the entries of a list, a comma before each."""
    for piece in pieces:
        for rows in piece.decoded().iter_slices(_SLICE_ROWS):
            owner, value = _escaped(rows[layout.owner]), rows[layout.value]
            text = _tags_text(value) if value.dtype == pl.List else _number_text(value)
            yield _concat(f',{{"{layout.owner}":"', owner, f'","{layout.value}":', text, "}")


def _tags_text(tags: pl.Series) -> pl.Series:
    escaped = pl.element().map_batches(_escaped, return_dtype=pl.String, is_elementwise=True)
    quoted = pl.concat_str(pl.lit('"'), escaped, pl.lit('"'))
    return _concat("[", pl.select(pl.lit(tags).list.eval(quoted).list.join(",")).to_series(), "]")


def _nested(pieces: Iterable[Piece], layout: ListLayout, entry: str) -> Iterator[pl.Series]:
    """Yield texts that make up entries `{owner, items: [{item_id, number}]}`, a comma before each.

    Text is made of an id or of a number once, and gathered for each row that has it.
    """
    made_of, beginnings = None, pl.Series(dtype=pl.String)
    for piece in pieces:
        if piece.frame.is_empty():
            continue
        ids, at_id = piece.coded(entry)
        if ids is not made_of:
            made_of = ids
            beginnings = _concat('{"item_id":"', _escaped(ids), f'","{layout.value}":')
        starts = piece.starts
        ids_of_owners = _escaped(piece.at(layout.owner, pl.Series(starts)))
        openings = _concat(f',{{"{layout.owner}":"', ids_of_owners, '","items":[')
        endings, at_ending = _endings(piece.frame[layout.value], _before(starts, at_id.len()))
        parts = pl.concat([beginnings, pl.Series([""]), endings, openings], rechunk=True)
        places = np.empty((at_id.len(), 2), np.uint32)
        places[:, 0] = at_id.fill_null(beginnings.len())
        places[:, 1] = at_ending + (beginnings.len() + 1)
        of_openings = np.arange(parts.len() - openings.len(), parts.len(), dtype=np.uint32)
        in_order = np.insert(places.ravel(), 2 * starts, of_openings)
        yield parts.gather(pl.Series(in_order))


def _before(starts: npt.NDArray[np.int64], rows: int) -> pl.Series:
    """Tell of each row, of which there are some, whether it is the last one of a list."""
    last = np.zeros(rows, np.bool_)
    last[starts - 1] = True  # that of the first list is the last of all
    return pl.Series(last)


def _endings(number: pl.Series, last: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return how entries end, and of each row which of these is its own.

    Args:
        number: of each row; null where the owner's list is empty.
        last: whether the row is its owner's last.
    """
    most: Any = number.max()
    whole = number.cast(pl.UInt32, strict=False)
    is_whole = whole.null_count() == number.null_count() and (whole == number).all()
    if most is None or most > _MANY_NUMBERS or not is_whole:
        closing = pl.when(last).then(pl.lit("}]}")).otherwise(pl.lit("},"))
        texts = pl.select(pl.concat_str(_number_text(number), closing).fill_null("]}")).to_series()
        return texts, pl.int_range(texts.len(), dtype=pl.UInt32, eager=True)
    numbers = pl.int_range(most + 1, eager=True).cast(pl.String)
    endings = pl.concat([_concat(numbers, "},"), _concat(numbers, "}]}"), pl.Series(["]}"])])
    return endings, (whole + last.cast(pl.UInt32) * numbers.len()).fill_null(endings.len() - 1)


def _concat(*parts: str | pl.Series) -> pl.Series:
    """Put texts together row by row; a string is the same in each."""
    return pl.select(pl.concat_str(map(pl.lit, parts))).to_series()


def _escaped(text: pl.Series) -> pl.Series:
    # Looking first, at all together, is cheaper than replacing: ids that need an escape are rare.
    if text.str.join("").str.contains(_NEEDS_ESCAPE).item():
        return text.str.replace_many(_ESCAPES_ALL)
    return text


def _number_text(numbers: pl.Series) -> pl.Series:
    """Write numbers as Go does: the shortest text that reads back, 3 and not 3.0."""
    if numbers.dtype == pl.Int64:
        return numbers.cast(pl.String)
    whole = numbers.cast(pl.Int64, strict=False)
    # From 2^53 on, the shortest digits of a float are no longer those of the integer it holds.
    exact = ((whole == numbers) & (whole.abs() < 2**53)).fill_null(value=False)
    if (exact | numbers.is_null()).all():
        return whole.cast(pl.String)
    return pl.Series([None if n is None else _float_text(n) for n in numbers], dtype=pl.String)


def _float_text(number: float) -> str:
    if number == 0 or 1e-6 <= abs(number) < 1e21:
        text = format(Decimal(repr(number)), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, exponent = repr(number).split("e")
    return f"{mantissa}e{int(exponent):+d}"


def _to_json(value: object) -> str:
    """Return compact JSON with Go's escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if not _NEEDS_ESCAPE_PATTERN.search(text):
        return text
    for character in "<>&\u2028\u2029":
        text = text.replace(character, _ESCAPES[character])
    return text
