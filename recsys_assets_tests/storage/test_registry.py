"""Accepting a version: blob, record, staged reference, in this order and each once."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from typing import BinaryIO

import polars as pl
import pytest

from recsys_assets.compute.coded import Piece
from recsys_assets.documents import DocumentHead, list_text, render
from recsys_assets.errors import (
    CorruptBlobError,
    MissingPartitionError,
    StorageError,
    StoreUnavailableError,
)
from recsys_assets.kinds import KINDS
from recsys_assets.storage import layout
from recsys_assets.storage.flips import publish
from recsys_assets.storage.registry import (
    StagedRef,
    read_staged,
    stage_version,
    utc_text,
    verify_blob,
    version_of,
    write_once,
)
from recsys_assets.storage.store import Store
from recsys_assets.windows import Window
from recsys_assets_tests.storage.conftest import (
    DAY,
    MANIFEST,
    PLACE,
    SEGMENT,
    SURFACE,
    TENANT,
    Backend,
    CrashError,
    Crashing,
    Passing,
    accept_rendered,
    on_one_backend,
    publish_arguments,
    rendered,
)

MORNING = datetime(2026, 1, 6, 1, tzinfo=UTC)
EVENING = datetime(2026, 1, 6, 19, 30, 0, 250_000, tzinfo=UTC)
STAGED = layout.staged(PLACE, SEGMENT, "popularity", DAY)


def test_an_accepted_document_is_stored_byte_for_byte_under_its_version(store: Store) -> None:
    with store.scratch() as scratch:
        document = rendered(scratch)
        written = document.path.read_bytes()

    ref = accept_rendered(store)

    assert ref.version == document.version
    assert ref.uri == store.uri(blob_key(document.version))
    assert read(store, blob_key(document.version)) == written


def test_the_record_says_where_a_version_came_from(store: Store) -> None:
    ref = accept_rendered(store, built_at=EVENING)

    assert json.loads(read(store, record_key(ref.version))) == {
        "v": 1,
        "kind": "popularity",
        "tenant": TENANT,
        "surface": SURFACE,
        "segment": SEGMENT,
        "window": {"start": "2026-01-05T00:00:00Z", "end": "2026-01-06T00:00:00Z"},
        "version": ref.version,
        "uri": ref.uri,
        "size_bytes": len(read(store, blob_key(ref.version))),
        "source_hash": "f" * 64,
        "built_at": "2026-01-06T19:30:00.250000Z",
        "run_id": "run-1",
    }


def test_the_staged_reference_names_the_day_s_version(store: Store) -> None:
    ref = accept_rendered(store, built_at=EVENING)

    assert staged(store) == ref
    assert ref == StagedRef(
        kind="popularity",
        day=DAY,
        version=ref.version,
        uri=store.uri(blob_key(ref.version)),
        source_hash="f" * 64,
        size_bytes=len(read(store, blob_key(ref.version))),
        staged_at="2026-01-06T19:30:00.250000Z",
    )


def test_blob_then_record_then_reference(store: Store) -> None:
    """A reference must never name what is not there yet."""
    watched = Passing(store)

    ref = accept_rendered(watched)

    assert watched.writes == [
        ("put_new", blob_key(ref.version)),
        ("put_new", record_key(ref.version)),
        ("replace", STAGED),
    ]


def test_accepting_again_keeps_blob_and_record_and_renews_the_reference(
    backend: Backend, store: Store
) -> None:
    first = accept_rendered(store, built_at=MORNING)
    before = backend.contents()

    second = accept_rendered(store, built_at=EVENING)

    after = backend.contents()
    assert second.version == first.version
    assert staged(store).staged_at == utc_text(EVENING)
    assert before.pop(STAGED) != after.pop(STAGED)
    assert after == before


def test_the_size_of_a_version_is_that_of_the_blob_that_is_there(store: Store) -> None:
    """The source hash stands in the blob and is longer once items are denied; the list is equal."""
    first = accept_rendered(store)

    second = accept_rendered(store, source_hash=f"{'f' * 64}-denied-{'d' * 64}")

    assert second.version == first.version
    assert second.source_hash != first.source_hash
    assert second.size_bytes == first.size_bytes == len(read(store, blob_key(first.version)))


def test_another_version_of_a_day_moves_the_reference_and_keeps_the_old_blob(
    store: Store,
) -> None:
    first = accept_rendered(store, count=1)
    second = accept_rendered(store, count=2)

    assert staged(store).version == second.version != first.version
    verify_blob(store, blob_key(first.version), first.version)
    verify_blob(store, blob_key(second.version), second.version)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", [0, 1, 2])
def test_a_crash_at_any_step_is_finished_by_doing_it_again(
    backend: Backend, store: Store, write: int, *, after: bool
) -> None:
    with pytest.raises(CrashError):
        accept_rendered(Crashing(store, write=write, after=after))
    if (write, after) != (2, True):
        with pytest.raises(MissingPartitionError):
            staged(store)

    ref = accept_rendered(store, built_at=EVENING)

    assert staged(store) == ref
    assert set(backend.contents()) == {blob_key(ref.version), record_key(ref.version), STAGED}
    verify_blob(store, blob_key(ref.version), ref.version)


@on_one_backend
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", [0, 1, 2])
def test_a_crash_while_accepting_another_version_leaves_the_old_one_or_the_new(
    store: Store, write: int, *, after: bool
) -> None:
    old = accept_rendered(store, count=1)

    with pytest.raises(CrashError):
        accept_rendered(Crashing(store, write=write, after=after), count=2)

    found = staged(store)
    assert (found == old) == ((write, after) != (2, True))
    verify_blob(store, store.key(found.uri), found.version)


def test_an_altered_blob_is_refused_with_both_hashes_and_not_staged(store: Store) -> None:
    """Somebody edited a file of the object store; its name is all that tells."""
    with store.scratch() as scratch:
        document = rendered(scratch, count=1)
    with store.scratch() as scratch:
        other = rendered(scratch, count=2)
        store.replace(blob_key(document.version), other.path)

    with pytest.raises(CorruptBlobError) as corrupt:
        accept_rendered(store, count=1)

    uri = store.uri(blob_key(document.version))
    assert corrupt.value.uri == uri
    assert corrupt.value.expected == document.version
    assert corrupt.value.found == other.version
    for part in (uri, document.version, other.version):
        assert part in str(corrupt.value)
    assert store.read(record_key(document.version)) is None
    with pytest.raises(MissingPartitionError):
        staged(store)


def test_an_altered_blob_keeps_the_reference_to_the_day_s_former_version(store: Store) -> None:
    old = accept_rendered(store, count=1)
    altered = accept_rendered(store, count=2)
    accept_rendered(store, count=1)
    store.replace(blob_key(altered.version), b"altered")

    with pytest.raises(CorruptBlobError):
        accept_rendered(store, count=2)

    assert staged(store).version == old.version


@pytest.mark.parametrize("kept", [0, 20, -1])
def test_a_blob_that_was_cut_short_is_corrupt(store: Store, kept: int) -> None:
    ref = accept_rendered(store)
    key = blob_key(ref.version)
    store.replace(key, read(store, key)[:kept])

    with pytest.raises(CorruptBlobError, match="cut short") as corrupt:
        verify_blob(store, key, ref.version)

    assert corrupt.value.expected == ref.version


def test_a_missing_blob_is_named_with_what_to_do(store: Store) -> None:
    key = blob_key("0" * 64)

    with pytest.raises(StorageError, match="Materialize the day's artifact again") as missing:
        verify_blob(store, key, "0" * 64)

    assert not isinstance(missing.value, CorruptBlobError)
    assert store.uri(key) in str(missing.value)


def test_a_day_without_accepted_artifact_is_named(store: Store) -> None:
    accept_rendered(store)

    with pytest.raises(MissingPartitionError, match=r"popularity .* demo/home 2026-01-06"):
        read_staged(store, PLACE, SEGMENT, "popularity", date(2026, 1, 6))


@on_one_backend
@pytest.mark.parametrize("edited", [b"{", b"", b"\xff", b"null", b"[]", b"3", b'"x"', b"{}"])
def test_a_staged_reference_that_is_none_is_named_with_what_to_do(
    store: Store, edited: bytes
) -> None:
    store.replace(STAGED, edited)

    with pytest.raises(StorageError, match="is not a staged reference") as error:
        staged(store)

    assert store.uri(STAGED) in str(error.value)
    assert f"Materialize popularity of {DAY} again" in str(error.value)


@on_one_backend
def test_a_staged_reference_cut_short_anywhere_is_refused(store: Store) -> None:
    accept_rendered(store)
    whole = read(store, STAGED)

    for length in range(len(whole.rstrip())):
        store.replace(STAGED, whole[:length])
        with pytest.raises(StorageError, match="is not a staged reference"):
            staged(store)


@on_one_backend
@pytest.mark.parametrize(
    "wrong",
    [
        {"uri": None},
        {"version": 3},
        {"source_hash": []},
        {"kind": None},
        {"staged_at": 0},
        {"size_bytes": "3"},
        {"day": None},
        {"day": "yesterday"},
        {"unknown": 1},
    ],
)
def test_a_staged_reference_with_a_wrong_member_is_refused(
    store: Store, wrong: dict[str, object]
) -> None:
    accept_rendered(store)
    members = json.loads(read(store, STAGED))
    store.replace(STAGED, json.dumps(members | wrong).encode())

    with pytest.raises(StorageError, match="is not a staged reference"):
        staged(store)


def test_a_blob_whose_build_member_names_another_version_is_corrupt(store: Store) -> None:
    """The online service checks a document against the version that is written in it."""
    ref = accept_rendered(store)
    key = blob_key(ref.version)
    edited = read(store, key).replace(ref.version.encode(), b"0" * 64)
    store.replace(key, edited)

    with pytest.raises(CorruptBlobError, match=f"names version {'0' * 64}") as corrupt:
        verify_blob(store, key, ref.version)

    assert f"the document hashes to {ref.version}" in str(corrupt.value)


@on_one_backend
def test_a_store_that_does_not_answer_is_no_damage_of_the_blob(store: Store) -> None:
    """Nobody has to move it away, as one that was altered."""
    ref = accept_rendered(store)

    class Silent(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise StoreUnavailableError("cannot read: no answer came in time.")

    class Gone(Passing):
        def open(self, key: str) -> tuple[BinaryIO, int]:
            file, size_bytes = super().open(key)
            file.close()
            return Silent(), size_bytes

    with pytest.raises(StoreUnavailableError, match="no answer came in time"):
        verify_blob(Gone(store), blob_key(ref.version), ref.version)


@pytest.mark.parametrize("items", [1, 10_000], ids=["small", "large"])
def test_a_verified_blob_is_returned_by_its_first_64_kib(store: Store, items: int) -> None:
    """What stands before the list is read again from there, not from the store."""
    frame = pl.DataFrame({"item_id": [f"{n:05}" for n in range(items)], "count": [1] * items})
    head = DocumentHead("popularity", PLACE, SEGMENT, Window.ending_with(DAY, days=1))
    with store.scratch() as scratch:
        document = render(
            list_text([Piece(frame)], KINDS[head.kind].layout),
            head,
            scratch / "document.json",
            source_hash="f" * 64,
            built_at=MORNING,
        )
        ref = stage_version(store, document, run_id="run-1", now=MORNING)

    found = verify_blob(store, blob_key(ref.version), ref.version)

    assert found == read(store, blob_key(ref.version))[: 64 * 1024]
    assert found.startswith(head.to_bytes())
    assert len(found) == min(ref.size_bytes, 65_536)


@pytest.mark.parametrize("named", ["a key", "a URI"])
def test_a_version_is_read_from_the_name_of_its_blob(store: Store, named: str) -> None:
    key = blob_key("0" * 64)

    assert version_of(key if named == "a key" else store.uri(key)) == "0" * 64


def test_moments_are_written_in_utc_whatever_their_zone() -> None:
    assert utc_text(datetime.fromisoformat("2026-01-06T01:30:00+05:30")) == (
        "2026-01-05T20:00:00.000000Z"
    )


def blob_key(version: str) -> str:
    return layout.blob(PLACE, "popularity", version)


def record_key(version: str) -> str:
    return layout.record(PLACE, "popularity", version)


def staged(store: Store) -> StagedRef:
    return read_staged(store, PLACE, SEGMENT, "popularity", DAY)


def read(store: Store, key: str) -> bytes:
    found = store.read(key)
    assert found is not None, f"{key} is absent"
    return found.data


class TestWriteOnce:
    """A record that is there already must say what was to be written."""

    def write(self, store: Store, *, run_id: str = "one") -> None:
        record = {"v": 1, "name": "ü", "run_id": run_id}
        write_once(store, "registry/a.json", record, may_differ=("run_id",))

    def test_the_same_again_is_fine_and_the_first_stays(self, store: Store) -> None:
        self.write(store)
        first = store.read("registry/a.json")
        self.write(store, run_id="two")
        assert store.read("registry/a.json") == first

    @on_one_backend
    @pytest.mark.parametrize("there", [b"", b"{", b"[]", b'{"v": 1, "name": "u"}'])
    def test_anything_else_is_an_error(self, store: Store, there: bytes) -> None:
        store.replace("registry/a.json", there)
        with pytest.raises(StorageError, match=r"a\.json was there already .* move it away"):
            self.write(store)

    @on_one_backend
    def test_what_is_said_to_be_there_and_is_not_is_an_error(self, store: Store) -> None:
        class Lying(Passing):
            def put_new(self, key: str, content: object) -> bool:
                return False

        with pytest.raises(StorageError, match=r"it is gone: run again"):
            self.write(Lying(store))

    @on_one_backend
    def test_a_flip_to_a_record_of_other_bytes_changes_nothing(self, store: Store) -> None:
        publish(store, **publish_arguments(store, version=1), publish_id="p1")
        before = store.read(MANIFEST)
        store.replace(layout.publication(PLACE, 2, "p2"), b"{}")

        with pytest.raises(StorageError, match="holds something else"):
            publish(store, **publish_arguments(store, version=2), publish_id="p2")

        assert store.read(MANIFEST) == before
