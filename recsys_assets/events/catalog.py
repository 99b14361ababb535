"""The item catalog, as CSV or JSON lines, to the frame that content_sim reads."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice, repeat
from operator import itemgetter
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.config.catalogs import Catalog, CatalogColumns
from recsys_assets.errors import CatalogError
from recsys_assets.events.fields import value_of
from recsys_assets.events.sources.compression import most_bytes
from recsys_assets.storage import open_store

CATALOG_DTYPES: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    "item_id": pl.String,
    "tags": pl.List(pl.String),
    "namespace": pl.String,
    "title": pl.String,
}
# The names a column may have, the first that is there wins.
_COLUMNS: Final = {
    "item_id": ("item_id", "itemid", "id"),
    "tags": ("tags", "tag_list"),
    "namespace": ("namespace", "surface"),
    "title": ("title",),
    "price": ("price",),
    "created_at": ("created_at",),
}
# What only sinks read; a row, in the order of the columns.
_DETAILS: Final = ("price", "created_at")
_Row = tuple[str, list[str], str, str, str, str]
# Other names for them, which are not taken: a hint is given.
_OTHER_NAMES: Final = {
    "item_id": ("movieid", "movie_id", "productid", "product_id", "article_id", "asin", "sku"),
    "tags": ("genres", "genre", "categories", "category", "keywords"),
}
_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars", "::": "double colons"}
# What a compressed catalog may become: it is read into memory.
_MOST_BYTES: Final = 2**30
_MAX_FIELD_CHARACTERS: Final = 2**24
_ROWS_AT_ONCE: Final = 500
# Of a catalog this large or smaller, what was parsed last is kept.
_MAX_KEPT_BYTES: Final = 2**26

# Item ids, the tags of all items, how many of them each item has, namespaces, titles; prices, and
# since when there are the items.
Columns = tuple[
    Sequence[str], Sequence[str], Iterable[int], Sequence[str], Sequence[str], tuple[Any, Any]
]


@dataclass(frozen=True)
class CatalogSnapshot:
    """A catalog as it was read: `frame` in file order, `fingerprint` of its bytes (SHA-256).

    `details` has what only sinks read, as texts, in the same order.
    """

    frame: pl.DataFrame
    fingerprint: str
    details: pl.DataFrame = field(default_factory=pl.DataFrame)


class CatalogCache:
    """Keeps the catalog that was parsed last: the assets of a process share it."""

    def __init__(self) -> None:
        self._last: tuple[Catalog, CatalogSnapshot] | None = None

    def read(self, catalog: Catalog) -> CatalogSnapshot:
        """Read a catalog as `read_catalog` does; the bytes of last time are not parsed again."""
        data = _read(catalog.path)
        fingerprint = _fingerprint(data, catalog)
        if self._last and self._last[0] == catalog and self._last[1].fingerprint == fingerprint:
            return self._last[1]
        snapshot = _parse(data, catalog, fingerprint)
        self._last = (catalog, snapshot) if len(data) <= _MAX_KEPT_BYTES else None
        return snapshot


def read_catalog(catalog: Catalog) -> CatalogSnapshot:
    """Read a catalog; the title, for people only, is optional, as is the namespace.

    Args:
        catalog: a file, or the URL of an object, and which of its fields are which.

    Raises:
        CatalogError: the file cannot be read, is damaged, is larger than 1 GiB or far larger than
            it was once it is decompressed, is not UTF-8 or is broken as CSV or JSON, or has no
            column for item_id or tags; says the line.
        StoreUnavailableError: the object store does not answer.
    """
    data = _read(catalog.path)
    return _parse(data, catalog, _fingerprint(data, catalog))


def _fingerprint(data: bytes, catalog: Catalog) -> str:
    """Tell a catalog from any other: by its bytes, and by how they are read where that is said."""
    digest = hashlib.sha256(data)
    keys = catalog.model_dump(mode="json", exclude={"path"}, exclude_defaults=True)
    if keys:
        digest.update(json.dumps(keys, sort_keys=True).encode())
    return digest.hexdigest()


def _read(path: str) -> bytes:
    folder, name = catalog_object(path)
    try:
        found = open_store(folder).read(name)
    except OSError as error:
        raise CatalogError(f"catalog {path} cannot be read: {error.strerror}") from error
    if found is None:
        raise CatalogError(f"catalog {path} cannot be read: it is not there")
    return found.data


def _parse(data: bytes, catalog: Catalog, fingerprint: str) -> CatalogSnapshot:
    path = catalog.path
    name = path.lower()
    if name.endswith(".parquet"):
        return _snapshot(*_parquet_columns(data, catalog), fingerprint=fingerprint)
    if name.endswith(".gz"):
        data = _decompressed(data, path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CatalogError(f"catalog {path}, line {line}: is not UTF-8 ({error.reason})") from None
    is_csv = name.removesuffix(".gz").endswith(".csv")
    columns = _csv_columns(text, catalog) if is_csv else _json_columns(text, catalog)
    return _snapshot(*columns, fingerprint=fingerprint)


def _decompressed(data: bytes, path: str) -> bytes:
    most = min(_MOST_BYTES, most_bytes(len(data)))
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            plain = stream.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogError(f"catalog {path} cannot be decompressed: {error}") from None
    if len(plain) > most:
        raise CatalogError(f"catalog {path} is larger than {most:,} bytes, decompressed")
    return plain


def _snapshot(
    items: Sequence[str],
    tags: Sequence[str],
    counts: Iterable[int],
    namespaces: Sequence[str],
    titles: Sequence[str],
    details: tuple[Any, Any],
    *,
    fingerprint: str,
) -> CatalogSnapshot:
    """Lay a catalog out by column: of rows, Polars would make a series of each list of tags.

    Args:
        items: their ids.
        tags: the tags of all items, one after the other.
        counts: of each item, how many of them are its own.
        namespaces: of each item, empty where there is none.
        titles: of each item, empty where there is none.
        details: prices and times, empty where there are none.
        fingerprint: of the bytes.
    """
    offsets = pa.array([0, *accumulate(counts)], pa.int64())
    lists = pl.from_arrow(pa.LargeListArray.from_arrays(offsets, pa.array(tags, pa.large_string())))
    columns = {"item_id": items, "tags": lists, "namespace": namespaces, "title": titles}
    beside = pl.DataFrame(
        dict(zip(_DETAILS, details, strict=True)), schema=dict.fromkeys(_DETAILS, pl.String)
    )
    return CatalogSnapshot(pl.DataFrame(columns, schema=CATALOG_DTYPES), fingerprint, beside)


def catalog_object(path: str) -> tuple[str, str]:
    """Split the path of a catalog into the root of its store and its key there."""
    folder, slash, name = path.rpartition("/")
    return folder or slash or ".", name


def _names(catalog: Catalog) -> Mapping[str, Sequence[str]]:
    """Return the names that each column may have."""
    if catalog.columns is None:
        return _COLUMNS
    named = catalog.columns.model_dump()
    return {column: [named[column]] if named[column] else [] for column in _COLUMNS}


def _csv_columns(text: str, catalog: Catalog) -> Columns:
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    path, known = catalog.path, _names(catalog)
    reader = _rows(text, catalog)
    try:
        header = [name.strip() for name in next(reader, [])]
        if catalog.columns is None:
            header = [name.lower() for name in header]
        index = {column: _find(names, header) for column, names in known.items()}
        required = {"item_id", "tags"} if catalog.columns is None else known.keys()
        for column, names in known.items():
            if names and column in required and index[column] == len(header):
                raise CatalogError(
                    f"catalog {path}: no column for {column}; expected one of "
                    f"{', '.join(known[column])}, found {', '.join(header) or 'an empty file'}"
                    f"{_hint(text, header, catalog)}"
                )
        # A few hundred rows at a time: Python looks for garbage among lists that live together.
        columns = [list[str]() for _ in header]
        while read := [*islice(reader, _ROWS_AT_ONCE)]:
            rows = [row for row in read if row]
            if any(len(row) != len(header) for row in rows):
                _refuse_ragged(text, catalog)
            for held, values in zip(columns, zip(*rows, strict=True), strict=bool(rows)):
                held.extend(values)
    except csv.Error as error:
        _refuse_ragged(text, catalog)  # which may stand before
        hint = _hint(text, [], catalog) if reader.line_num == 1 else ""
        raise CatalogError(f"catalog {path}, line {reader.line_num}: {error}{hint}") from None
    # What a column that is not there holds comes last, where `_find` points to.
    columns.append([""] * len(columns[0]))
    items, tags, namespaces, titles, *details = (columns[index[column]] for column in _COLUMNS)
    return items, tags, repeat(1, len(items)), namespaces, titles, (details[0], details[1])


def _rows(text: str, catalog: Catalog) -> Any:
    return csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=catalog.delimiter)


def _hint(text: str, header: Sequence[str], catalog: Catalog) -> str:
    """Say what to change where a header has no known columns, if that can be guessed."""
    line = text.partition("\n")[0]
    between, count = max(
        ((words, line.count(text)) for text, words in _SEPARATORS.items()), key=itemgetter(1)
    )
    if count > line.count(catalog.delimiter):
        separator = next(text for text, words in _SEPARATORS.items() if words == between)
        say = f"say catalog.delimiter: {json.dumps(separator)}"
        commas = "separate them by commas"
        return f". Its columns are separated by {between}: {say if len(separator) == 1 else commas}"
    if catalog.columns is not None:
        return ""
    renamed = [
        f"{column}: {name}"
        for column, names in _OTHER_NAMES.items()
        for name in names
        if name in header
    ]
    return f". Say catalog.columns: {{{', '.join(renamed)}}}" if renamed else ""


def _refuse_ragged(text: str, catalog: Catalog) -> None:
    """Raise for the first row that has not as many fields as the header, unless it is broken."""
    path, reader = catalog.path, _rows(text, catalog)
    with suppress(csv.Error):
        fields = len(next(reader, []))
        for row in reader:
            if row and len(row) != fields:
                raise CatalogError(
                    f"catalog {path}, line {reader.line_num}: {len(row)} fields, the header has "
                    f"{fields}"
                )


def _find(names: Sequence[str], header: Sequence[str]) -> int:
    """Return where a column stands, or the number of columns when it is not there."""
    return next((header.index(name) for name in names if name in header), len(header))


def _json_columns(text: str, catalog: Catalog) -> Columns:
    return _by_column(list(_json_rows(text, catalog)))


def _by_column(rows: Sequence[_Row]) -> Columns:
    items, tags, namespaces, titles, *more = zip(*rows, strict=True) if rows else [()] * 6
    flat = list(chain.from_iterable(tags))
    return items, flat, map(len, tags), namespaces, titles, (more[0], more[1])


def _json_rows(text: str, catalog: Catalog) -> Iterator[_Row]:
    path = catalog.path
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if catalog.columns and isinstance(row, dict):
                row = _mapped(row, catalog.columns)
            problem = _json_problem(row)
        except (ValueError, RecursionError) as error:
            raise CatalogError(f"catalog {path}, line {number}: {error}") from None
        if problem:
            raise CatalogError(f"catalog {path}, line {number}: {problem}")
        yield _cells(row)


def _cells(row: Mapping[str, Any]) -> _Row:
    """Return a row without problems by column, empty where it has nothing."""
    return (
        row.get("item_id") or "",
        row.get("tags") or [],
        row.get("namespace") or "",
        str(row.get("title") or ""),
        _detail(row.get("price")),
        _detail(row.get("created_at")),
    )


def _detail(value: Any) -> str:
    """Return what is a number, a time or a text as a text; of anything else, nothing is known."""
    return "" if isinstance(value, bool | dict | list | None) else str(value)


def _mapped(row: dict[str, Any], columns: CatalogColumns) -> dict[str, Any]:
    """Return the columns of a row of other fields; an integer is a text, one text a list."""
    found = {
        column: value_of(row, field)
        for column, field in columns.model_dump().items()
        if field is not None
    }
    if found["item_id"] is None:  # which is to be told, while other columns may be empty
        del found["item_id"]
    for column in ("item_id", "namespace"):
        if type(found.get(column)) is int:
            found[column] = str(found[column])
    for column in _DETAILS:
        found[column] = _detail(found.get(column))
    if isinstance(found.get("tags"), str):
        found["tags"] = [found["tags"]]
    return found


def _parquet_columns(data: bytes, catalog: Catalog) -> Columns:
    """Read the columns of a Parquet file, as the rows of JSON that it could be."""
    path = catalog.path
    try:
        rows = pq.read_table(pa.BufferReader(data)).to_pylist()
    except pa.ArrowException as error:
        raise CatalogError(f"catalog {path} cannot be read as Parquet: {error}") from None
    found = []
    usual = CatalogColumns.model_validate({name: name for name in _COLUMNS})
    for number, whole in enumerate(rows, start=1):
        row = _mapped(whole, catalog.columns or usual)
        if problem := _json_problem(row):
            there = ", ".join(whole)
            raise CatalogError(f"catalog {path}, row {number}: {problem}; there are {there}")
        found.append(_cells(row))
    return _by_column(found)


def _json_problem(row: Any) -> str | None:
    if not isinstance(row, dict):
        return "is not an object"
    if "item_id" not in row:
        return "has no item_id"
    for name in ("item_id", "namespace"):
        if not isinstance(row.get(name), str | None):
            return f"{name} is not a string"
    tags = row.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(t, str) for t in tags)):
        return "tags is not an array of strings"
    try:
        line_text = json.dumps(row, ensure_ascii=False)
        line_text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair"
    return None
