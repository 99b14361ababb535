"""The fingerprint of an accepted day: read from its file, or the file is named."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_assets.errors import StorageError
from recsys_assets.events.partition import FOOTER_KEY, read_fingerprint


def partition(path: Path, footer: dict[bytes, bytes]) -> bytes:
    table = pa.table({"item_id": ["a"]}).replace_schema_metadata(footer)
    pq.write_table(table, path)
    return path.read_bytes()


def test_a_fingerprint_is_read_from_the_footer(tmp_path: Path) -> None:
    path = tmp_path / "2026-01-05.parquet"
    partition(path, {FOOTER_KEY: json.dumps({"fingerprint": "abc"}).encode()})

    assert read_fingerprint(path) == "abc"


@pytest.mark.parametrize(
    "footer",
    [{}, {FOOTER_KEY: b"{"}, {FOOTER_KEY: b"{}"}, {FOOTER_KEY: b"[]"}, {FOOTER_KEY: b"\xff"}],
)
def test_a_parquet_file_of_something_else_is_named_with_what_to_do(
    tmp_path: Path, footer: dict[bytes, bytes]
) -> None:
    path = tmp_path / "2026-01-05.parquet"
    partition(path, footer)

    with pytest.raises(StorageError, match="Materialize canonical_events of 2026-01-05") as error:
        read_fingerprint(path)

    assert str(path) in str(error.value)


def test_junk_and_a_partition_cut_short_are_named(tmp_path: Path) -> None:
    path = tmp_path / "2026-01-05.parquet"
    whole = partition(path, {FOOTER_KEY: json.dumps({"fingerprint": "abc"}).encode()})

    for data in (b"junk" * 100, *(whole[:length] for length in range(0, len(whole), 7))):
        path.write_bytes(data)
        with pytest.raises(StorageError, match="is not a readable canonical partition"):
            read_fingerprint(path)


def test_a_directory_in_place_of_a_partition_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is not a readable canonical partition"):
        read_fingerprint(tmp_path)


def test_an_absent_partition_stays_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_fingerprint(tmp_path / "2026-01-05.parquet")
