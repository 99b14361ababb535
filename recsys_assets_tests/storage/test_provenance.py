"""What an accepted day says of itself: read from its file, or the file is named."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_assets.errors import StorageError
from recsys_assets.events import partition as events
from recsys_assets.events.partition import FOOTER_KEY, Provenance, RawFileSeen, read_provenance
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.store import Store

KEY = "canonical/demo/home/exposures/2026-01-05.parquet"
FILES = [
    {"name": "b.jsonl", "size_bytes": 3, "sha256": "b" * 64},
    {"name": "a.jsonl.gz", "size_bytes": 0, "sha256": "a" * 64},
]
FOOTER = json.dumps({"format": 1, "fingerprint": "abc", "files": FILES}).encode()


def partition(footer: dict[bytes, bytes]) -> bytes:
    table = pa.table({"item_id": ["a"]}).replace_schema_metadata(footer)
    with pa.BufferOutputStream() as stream:
        pq.write_table(table, stream)
        whole: bytes = stream.getvalue().to_pybytes()
    return whole


def test_fingerprint_and_raw_files_are_read_from_the_footer_in_its_order(store: Store) -> None:
    store.replace(KEY, partition({FOOTER_KEY: FOOTER}))

    assert read_provenance(store, KEY) == Provenance(
        "abc", [RawFileSeen("b.jsonl", 3, "b" * 64), RawFileSeen("a.jsonl.gz", 0, "a" * 64)]
    )


def test_a_day_without_raw_files_says_so(store: Store) -> None:
    store.replace(KEY, partition({FOOTER_KEY: b'{"format":1,"fingerprint":"abc","files":[]}'}))

    assert read_provenance(store, KEY) == Provenance("abc", [])


@pytest.mark.parametrize(
    "footer",
    [
        {},
        {FOOTER_KEY: b"{"},
        {FOOTER_KEY: b"{}"},
        {FOOTER_KEY: b"[]"},
        {FOOTER_KEY: b"\xff"},
        {FOOTER_KEY: b'{"format":1,"fingerprint":"abc"}'},
        {FOOTER_KEY: b'{"format":1,"files":[]}'},
        {FOOTER_KEY: b'{"format":1,"fingerprint":"abc","files":null}'},
        {FOOTER_KEY: b'{"format":1,"fingerprint":"abc","files":[3]}'},
        {FOOTER_KEY: b'{"format":1,"fingerprint":"abc","files":[{"name":"a.jsonl"}]}'},
        {FOOTER_KEY: b'{"fingerprint":"abc","files":[]}'},
        {FOOTER_KEY: b'{"format":"1","fingerprint":"abc","files":[]}'},
    ],
)
def test_a_parquet_file_of_something_else_is_named_with_what_to_do(
    store: Store, footer: dict[bytes, bytes]
) -> None:
    store.replace(KEY, partition(footer))

    with pytest.raises(StorageError, match="Materialize canonical_events of 2026-01-05") as error:
        read_provenance(store, KEY)

    assert store.location(KEY) in str(error.value)


@pytest.mark.parametrize(
    ("of_format", "oldest", "newest", "reads"),
    [(2, 1, 1, "1"), (0, 1, 1, "1"), (1, 2, 3, "2 or 3"), (4, 2, 3, "2 or 3")],
)
def test_a_format_that_is_not_read_is_refused_with_what_to_do(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    of_format: int,
    oldest: int,
    newest: int,
    reads: str,
) -> None:
    monkeypatch.setattr(events, "OLDEST_READABLE_FORMAT", oldest)
    monkeypatch.setattr(events, "CANONICAL_FORMAT", newest)
    footer = json.dumps({"format": of_format, "fingerprint": "abc", "files": FILES}).encode()
    store.replace(KEY, partition({FOOTER_KEY: footer}))

    with pytest.raises(StorageError) as error:
        read_provenance(store, KEY)

    assert str(error.value) == (
        f"{store.location(KEY)} is of format {of_format}, this project reads {reads}. Materialize "
        "canonical_events of 2026-01-05 again; it replaces it."
    )


@pytest.mark.parametrize("of_format", [1, 2])
def test_an_older_format_that_is_read_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch, of_format: int
) -> None:
    monkeypatch.setattr(events, "CANONICAL_FORMAT", 2)
    footer = json.dumps({"format": of_format, "fingerprint": "abc", "files": []}).encode()
    store.replace(KEY, partition({FOOTER_KEY: footer}))

    assert read_provenance(store, KEY) == Provenance("abc", [])


def test_junk_and_a_partition_cut_short_are_named(store: Store) -> None:
    whole = partition({FOOTER_KEY: FOOTER})

    for data in (b"junk" * 100, *(whole[:length] for length in range(0, len(whole), 7))):
        store.replace(KEY, data)
        with pytest.raises(StorageError, match="is not a readable canonical partition"):
            read_provenance(store, KEY)


def test_a_directory_in_place_of_a_partition_is_named(tmp_path: Path) -> None:
    (tmp_path / KEY).mkdir(parents=True)

    with pytest.raises(StorageError, match="is not a readable canonical partition"):
        read_provenance(LocalStore(tmp_path), KEY)


@pytest.mark.parametrize("neighbour", [None, KEY + "2"])
def test_an_absent_partition_stays_a_missing_file(store: Store, neighbour: str | None) -> None:
    if neighbour:
        store.put_new(neighbour, partition({FOOTER_KEY: FOOTER}))

    with pytest.raises(FileNotFoundError):
        read_provenance(store, KEY)
