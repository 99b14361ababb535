"""Who was erased is left out of a day: its events, and the text of its refused lines.

It is the last thing that is done to a day, whatever its source is, so that the same is done to a
day that is read and to one that is stored already: both are the same bytes then. An id is known by
its keyed hash alone (`storage/erasures.py`). A session or a request is made of an id where the id
stands in its own and no letter or digit touches it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.config import Surface
from recsys_assets.events.provenance import Provenance, footer, provenance_of
from recsys_assets.events.writers import rewrite
from recsys_assets.places import Place
from recsys_assets.storage.erasures import (
    IN_WORD,
    Entry,
    EraseKey,
    erase_key,
    read_erased,
    refuse_other_key,
    shape_of,
)
from recsys_assets.storage.store import Store

USER: Final = "user_id"
# What may be made of the id of a user.
_MADE_OF_IDS: Final = ("session_id", "request_id")
# The member of a day's source that says who was found in it and left out.
MATCHED: Final = "erased"
# The reason of a line stays, what it said does not.
ERASED_TEXT: Final = "it held the id of a person who was erased"
_ERASED: Final = {"detail": ERASED_TEXT, "raw": ""}
_PARTS: Final = re.compile(r"x+|[^x]")
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_MOST_REMEMBERED: Final = 2**17
_LETTER: Final = "[0-9A-Za-z]"
# Beyond ASCII, regular expressions do not agree on what a letter is: those texts are looked at.
_FOREIGN: Final = r"[^\x00-\x7f]"
_MOST_SHAPES: Final = 100


class Erased:
    """Recognises the ids of some persons, of whom it knows keyed hashes.

    Attributes:
        tag: of the list that they are from; None where they are from none.
        hashes: of the persons.
    """

    def __init__(self, key: EraseKey, entries: Collection[Entry], tag: str | None = None) -> None:
        self.tag = tag
        self.hashes = frozenset(entry.hash for entry in entries)
        self._shapes = frozenset(entry.shape for entry in entries)
        self._lengths = sorted({len(shape) for shape in self._shapes})
        self._may_be, self._may_hold = _patterns(self._shapes)
        self._hash = lru_cache(_MOST_REMEMBERED)(key.hash)

    def whole(self, text: str) -> set[str]:
        """Return the hash of an id that is one of them; of any other, nothing."""
        if len(text) not in self._lengths or shape_of(text) not in self._shapes:
            return set()
        return {self._hash(text)} & self.hashes

    def within(self, text: str) -> set[str]:
        """Return the hashes of those of whose ids a text is made."""
        return {found for _, _, found in self._stretches(text)}

    def without(self, text: str) -> str:
        """Return a text with their ids taken out."""
        for start, end, _ in sorted(self._stretches(text), reverse=True):
            text = f"{text[:start]}erased{text[end:]}"
        return text

    def _stretches(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield where ids of theirs stand in a text, and their hashes."""
        if not self._lengths or len(text) < self._lengths[0]:
            return
        shape = shape_of(text)
        starts = [part.start() for part in _PARTS.finditer(shape)]
        ends = {*starts, len(shape)}
        for start in starts:
            for length in self._lengths:
                end = start + length
                if end not in ends or shape[start:end] not in self._shapes:
                    continue
                if (found := self._hash(text[start:end])) in self.hashes:
                    yield start, end, found

    def in_line(self, text: str) -> set[str]:
        """Return the hashes of those whose ids stand in a raw line, as it is or with escapes."""
        found = self.within(text)
        return found | self.within(_unescaped(text)) if "\\" in text else found

    def in_events(self, events: pl.DataFrame) -> tuple[pl.Series, set[str]]:
        """Tell of each event whether it is of one of them, and return whose are there.

        An event of another user is not, where its session holds only that user's own id: `ann` does
        not stand in the session `ann-marie-7` of `ann-marie`.

        Args:
            events: with `user_id`, `session_id` and `request_id`.
        """
        likely = _distinct(events[USER], self._may_be)
        users = {user: found for user in likely if (found := self.whole(user))}
        matched = set[str]().union(*users.values())
        are_erased = events[USER].is_in(pl.Series([*users], dtype=pl.String).implode())
        are_erased = are_erased.fill_null(value=False)
        for column in _MADE_OF_IDS:
            likely = _distinct(events[column], self._may_hold)
            made = [each for each in likely if self.within(each)]
            if not made:
                continue
            pairs = events.select(USER, column).filter(pl.col(column).is_in(made)).unique()
            hit = []
            for user, text in pairs.iter_rows():
                of_others = text if user is None or user in users else text.replace(user, _OTHER)
                if found := self.within(of_others):
                    hit.append((user, text))
                    matched |= found
            schema = {USER: pl.String, column: pl.String}
            rows = pl.DataFrame(hit, schema=schema, orient="row").with_columns(hit=True)
            joined = events.select(USER, column).join(
                rows, on=[USER, column], how="left", nulls_equal=True, maintain_order="left"
            )
            are_erased |= joined["hit"].fill_null(value=False)
        return are_erased, matched


# Stands for the id of a user in the session of that user: a letter, so that nothing begins at it.
_OTHER: Final = "x"


def erased_of(store: Store, surface: Surface) -> Erased | None:
    """Return who was erased from the events of a surface; None where nobody was.

    Raises:
        EraseKeyError: the key is not set, or is not that of the list.
        StorageError: the list is damaged.
    """
    place = surface.events_of
    found = read_erased(store, place)
    if found is None:
        return None
    key = erase_key(place)
    refuse_other_key(found, key)
    return Erased(key, found.entries, found.tag)


def erase_events(
    path: Path, erased: Erased, provenance: Provenance, *, place: Place, day: date
) -> tuple[int, Provenance]:
    """Take the events of erased persons out of the file of a day.

    Args:
        path: the file, which is replaced where there are such.
        erased: whose.
        provenance: of the day before.
        place: whose day.
        day: UTC.

    Returns:
        How many there were; and of what the day is made now: the fingerprint names who was found
        in it, so that of a day without them it stays.
    """
    masks, matched = list[pl.Series](), set[str]()
    for group in id_groups(path):
        mask, found = erased.in_events(group)
        masks.append(mask)
        matched |= found
    if not matched:
        return 0, provenance
    gone = pl.concat(masks)
    known = provenance.source.get(MATCHED, [])
    source = {**provenance.source, MATCHED: sorted({*known, *matched})}
    changed = provenance_of(place, day, provenance.files, source)
    dtypes = pl.scan_parquet(path, glob=False).collect_schema()
    rewrite(
        path,
        dtypes,
        lambda at, group: group.filter(~gone.slice(at, group.height)),
        footer=footer(place, day, changed),
    )
    return int(gone.sum()), replace(changed, events=gone.len() - int(gone.sum()))


def id_groups(file: Path | BinaryIO) -> Iterator[pl.DataFrame]:
    """Yield the ids of the events of a day, row group by row group."""
    with pq.ParquetFile(file) as whole:
        for number in range(whole.num_row_groups):
            yield pl.DataFrame(whole.read_row_group(number, columns=[USER, *_MADE_OF_IDS]))


def refused_of(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the entries of a file of refused lines."""
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as file:
        for line in file.read().splitlines():
            yield json.loads(line)


def is_of_erased(entry: Mapping[str, Any], erased: Erased) -> bool:
    """Tell whether a refused line holds the id of an erased person."""
    raw = entry.get("raw", "")
    if "raw_base64" in entry:
        raw = base64.b64decode(entry["raw_base64"]).decode(errors="replace")
    return any(erased.in_line(text) for text in (raw, entry.get("detail", "")))


def erase_refused(path: Path, erased: Erased) -> set[tuple[str, int]]:
    """Take what refused lines of erased persons said out of their file; return file and line.

    They stay counted, with their number and reason: the day is as refused as it was.
    """
    entries = [*refused_of(path.read_bytes())]
    gone = {(entry["file"], entry["line"]) for entry in entries if is_of_erased(entry, erased)}
    if gone:
        changed = path.with_suffix(".changed")
        with pa.output_stream(str(changed), compression="zstd") as out:
            for entry in entries:
                out.write(json.dumps(without_text(entry, gone)).encode() + b"\n")
        changed.replace(path)
    return gone


def without_text(entry: dict[str, Any], gone: Collection[tuple[str, int]]) -> dict[str, Any]:
    """Return the entry of a refused line, without what it said where it is one of some."""
    if (entry["file"], entry["line"]) not in gone or entry["reason"] == "not_kept":
        return entry
    return {name: entry[name] for name in ("file", "line", "reason")} | _ERASED


def _patterns(shapes: Collection[str]) -> tuple[str, str]:
    """Return what every text of some shapes, and every text that holds one, matches.

    Others may match too: it spares looking at most texts one by one.
    """
    if len(shapes) > _MOST_SHAPES:
        return "", ""
    each = [re.escape(shape).replace(IN_WORD, _LETTER) for shape in sorted(shapes)]
    whole, other = f"^(?:{'|'.join(each)})$", f"[^{_LETTER[1:]}"
    held = (
        f"{f'(?:^|{other})' * (shape[0] == IN_WORD)}{text}"
        f"{f'(?:{other}|$)' * (shape[-1] == IN_WORD)}"
        for shape, text in zip(sorted(shapes), each, strict=True)
    )
    return f"{whole}|{_FOREIGN}", "|".join([*held, _FOREIGN])


def _distinct(ids: pl.Series, pattern: str) -> list[str]:
    return ids.filter(ids.str.contains(pattern)).unique().to_list()


def _unescaped(text: str) -> str:
    """Return a text with the escapes of JSON read, as far as they are some."""

    def read(found: re.Match[str]) -> str:
        with suppress(ValueError):
            return str(json.loads(f'"{found[0]}"'))
        return found[0]

    joined = _ESCAPE.sub(read, text)
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
