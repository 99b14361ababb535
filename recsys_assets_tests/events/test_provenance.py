"""What an accepted day says of itself: read from its file, or the file is named."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_assets.contracts import CANONICAL_DTYPES
from recsys_assets.errors import StorageError
from recsys_assets.events import provenance as of_a_day
from recsys_assets.events.provenance import (
    CANONICAL_FORMAT,
    FOOTER_KEY,
    Provenance,
    provenance_of,
    read_provenance,
)
from recsys_assets.events.sources import InputSeen
from recsys_assets.events.sources.jsonl import JsonLines
from recsys_assets.events.writers import EventsWriter
from recsys_assets.places import Place
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.store import Store
from recsys_assets_tests.events.conftest import DAY, Folder, footer, line, provenance

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
        "abc", [InputSeen("b.jsonl", 3, "b" * 64), InputSeen("a.jsonl.gz", 0, "a" * 64)], {}
    )


def test_a_day_without_raw_files_says_so(store: Store) -> None:
    store.replace(KEY, partition({FOOTER_KEY: b'{"format":1,"fingerprint":"abc","files":[]}'}))

    assert read_provenance(store, KEY) == Provenance("abc", [], {})


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
    monkeypatch.setattr(of_a_day, "OLDEST_READABLE_FORMAT", oldest)
    monkeypatch.setattr(of_a_day, "CANONICAL_FORMAT", newest)
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
    monkeypatch.setattr(of_a_day, "CANONICAL_FORMAT", 2)
    footer = json.dumps({"format": of_format, "fingerprint": "abc", "files": []}).encode()
    store.replace(KEY, partition({FOOTER_KEY: footer}))

    assert read_provenance(store, KEY) == Provenance("abc", [], {})


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


# Footer and fingerprint


@pytest.mark.parametrize("redelivered", [False, True])
def test_the_footer_names_the_sources_with_size_and_hash(
    folder: Folder, *, redelivered: bool
) -> None:
    plain = f"{line(request_id='r')}\n".encode() * (2 if redelivered else 1)
    packed = gzip.compress(line().encode())
    folder.write(plain, "exposure.2026-01-02-a.jsonl")
    folder.write(packed, "exposure.2026-01-02-b.jsonl.gz")

    parsed = folder.parse()

    assert parsed.redelivered == redelivered
    assert footer(parsed) == {
        "format": CANONICAL_FORMAT,
        "tenant": "acme",
        "surface": "home",
        "day": "2026-01-02",
        "fingerprint": parsed.fingerprint,
        "files": [
            {
                "name": "exposure.2026-01-02-a.jsonl",
                "size_bytes": len(plain),
                "sha256": hashlib.sha256(plain).hexdigest(),
            },
            {
                "name": "exposure.2026-01-02-b.jsonl.gz",
                "size_bytes": len(packed),
                "sha256": hashlib.sha256(packed).hexdigest(),
            },
        ],
    }
    assert provenance(parsed) == Provenance(
        parsed.fingerprint,
        [
            InputSeen("exposure.2026-01-02-a.jsonl", len(plain), hashlib.sha256(plain).hexdigest()),
            InputSeen(
                "exposure.2026-01-02-b.jsonl.gz", len(packed), hashlib.sha256(packed).hexdigest()
            ),
        ],
        {},
    )
    assert len(parsed.fingerprint) == 64


def test_the_fingerprint_changes_with_everything_the_events_depend_on(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [folder.parse().fingerprint, folder.parse(day=date(2026, 1, 3)).fingerprint]
    folder.write([line()], "exposure.2026-01-02-a")
    found.append(folder.parse().fingerprint)
    found.append(folder.parse(tenant="other").fingerprint)
    folder.write([line(other=1)], "exposure.2026-01-02-a")
    found.append(folder.parse().fingerprint)
    folder.write([line(other=2)], "exposure.2026-01-02-a")
    found.append(folder.parse().fingerprint)
    (folder.raw / "exposure.2026-01-02-a").rename(folder.raw / "exposure.2026-01-02-b")
    found.append(folder.parse().fingerprint)
    folder.write(b"", "exposure.2026-01-02-c")
    found.append(folder.parse().fingerprint)
    monkeypatch.setattr(of_a_day, "CANONICAL_FORMAT", CANONICAL_FORMAT + 1)
    found.append(folder.parse().fingerprint)

    assert len(set(found)) == len(found) == 9


def test_the_fingerprint_depends_on_nothing_else(tmp_path: Path, folder: Folder) -> None:
    folder.write([line()])
    before = folder.parse()
    folder.raw = folder.raw.rename(tmp_path / "moved")

    after = folder.parse()

    assert after.fingerprint == before.fingerprint
    assert after.path.read_bytes() == before.path.read_bytes()


PARTS = [InputSeen("a.jsonl", 3, "a" * 64), InputSeen("b.jsonl.gz", 0, "b" * 64)]
# Of the same parts as JSON lines, when there was no other source.
OF_LINES = "2f96f36ff2a63b9a5d2235cd6d0a266156646b03b652dd4ceb2d24269de822de"
ANOTHER: list[dict[str, Any]] = [
    {"type": "parquet"},
    {"type": "parquet", "format": 2},
    {"type": "parquet", "columns": {"item_id": "sku"}},
    {"type": "parquet", "columns": {"item_id": "product"}},
]


def test_a_day_of_json_lines_has_the_fingerprint_that_such_days_have_been_stored_with(
    folder: Folder,
) -> None:
    """Another one would have every artifact of every stored day made again."""
    source = JsonLines(folder.surface())
    of_lines = provenance_of(Place("acme", "home"), DAY, PARTS, source.identity)

    assert of_lines.fingerprint == OF_LINES


def test_the_fingerprint_changes_with_the_identity_of_the_source() -> None:
    found = [
        provenance_of(Place("acme", "home"), DAY, PARTS, source).fingerprint
        for source in ({}, *ANOTHER)
    ]

    assert len(set(found)) == len(found)


def test_a_day_is_of_the_source_that_it_was_read_from(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write([line()])
    of_lines = folder.parse()
    monkeypatch.setattr(JsonLines, "identity", ANOTHER[2])

    parsed = folder.parse()

    assert parsed.fingerprint != of_lines.fingerprint
    assert footer(parsed)["source"] == ANOTHER[2]
    assert provenance(parsed) == parsed.provenance
    assert provenance(parsed).source == ANOTHER[2]


@pytest.mark.parametrize("source", [{}, *ANOTHER], ids=repr)
def test_the_footer_keeps_and_gives_back_where_the_day_is_from(
    store: Store, source: dict[str, Any]
) -> None:
    place = Place("acme", "home")
    written = provenance_of(place, DAY, PARTS, source)
    with store.scratch() as scratch:
        with EventsWriter(scratch / "day.parquet", CANONICAL_DTYPES) as writer:
            writer.footer = of_a_day.footer(place, DAY, written)
        store.replace(KEY, scratch / "day.parquet")

    assert read_provenance(store, KEY) == written
    assert ("source" in json.loads(of_a_day.footer(place, DAY, written))) == bool(source)


FORMS = {
    "a.jsonl": (f"{line()}\n{line(item_id='b')}\n".encode(), ""),
    "b.jsonl": ((line() + line(item_id="c")).encode(), "joined"),
    "c.jsonl": (f"[{line()}]".encode(), "array"),
    "d.jsonl.xz": (lzma.compress(f"{line()}\r{line(item_id='d')}".encode()), "xz cr"),
    "e.jsonl.GZ": (gzip.compress(line(item_id="e").encode()), "gzip"),
    "f.jsonl.gz": (gzip.compress(line(item_id="f").encode()), ""),
}


def test_the_form_of_a_file_is_kept_where_there_was_only_one_once(folder: Folder) -> None:
    for name, (data, _) in FORMS.items():
        folder.write(data, f"exposure.2026-01-02.{name}")

    parsed = folder.parse()

    assert [file.form for file in parsed.files] == [form for _, form in FORMS.values()]
    assert [file.get("form", "") for file in footer(parsed)["files"]] == [
        form for _, form in FORMS.values()
    ]
    assert provenance(parsed) == parsed.provenance


def test_other_events_of_the_same_bytes_have_another_fingerprint() -> None:
    """The days before read such a file as one refused line; what is counted of them stays kept."""
    place = Place("acme", "home")
    found = {
        provenance_of(place, DAY, [InputSeen("a", 3, "a" * 64, form)], {}).fingerprint
        for form in ("", "joined", "array", "xz")
    }

    assert len(found) == 4
