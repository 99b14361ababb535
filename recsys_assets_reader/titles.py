"""What people call the items: the titles of a catalog, for the page of `serve`."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TextIO

from recsys_assets_reader.errors import ReaderError

# As the producer finds it: whatever the case.
_ID_COLUMNS: Final = ("item_id", "itemid", "id")


def read_titles(path: Path, column: str = "title") -> dict[str, str]:
    """Return titles by item, of a CSV file or of JSON lines, plain or as `.gz`.

    Args:
        path: the catalog; `.jsonl` is JSON lines, anything else CSV with a header.
        column: what has the title. An item without one is left out; of a repeated item, the first
            counts.

    Raises:
        ReaderError: it cannot be read, or has no such columns.
    """
    try:
        with _opened(path) as file:
            is_json = ".jsonl" in path.suffixes
            found = _of_json(file, column) if is_json else _of_csv(file, path, column)
            titles: dict[str, str] = {}
            for item, title in found:
                if item.strip() and title.strip():
                    titles.setdefault(item.strip(), title.strip())
            return titles
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise ReaderError(f"the catalog {path} cannot be read: {error}") from None


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _of_csv(file: TextIO, path: Path, column: str) -> Iterator[tuple[str, str]]:
    rows = csv.reader(file)
    names = [name.strip().casefold() for name in next(rows, [])]
    of_item = next((names.index(name) for name in _ID_COLUMNS if name in names), None)
    if of_item is None or column.casefold() not in names:
        raise ReaderError(
            f"the catalog {path} needs a column {' or '.join(_ID_COLUMNS)} and a column {column}; "
            f"it has: {', '.join(names) or 'none'}"
        )
    of_title = names.index(column.casefold())
    for row in rows:
        if len(row) > max(of_item, of_title):
            yield row[of_item], row[of_title]


def _of_json(file: TextIO, column: str) -> Iterator[tuple[str, str]]:
    for line in file:
        row = json.loads(line) if line.strip() else None
        if isinstance(row, Mapping):
            yield str(row.get("item_id") or ""), str(row.get(column) or "")
