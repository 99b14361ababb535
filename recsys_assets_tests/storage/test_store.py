"""What every backend does for a caller, whatever it is made of."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsys_assets.errors import ManifestConflictError, StorageError
from recsys_assets.storage.store import Store
from recsys_assets_tests.storage.conftest import Backend, at_once, on_every_backend

pytestmark = on_every_backend

KEY = "objectstore/demo/home/popularity/1.json"


def test_an_absent_object_reads_as_none(store: Store) -> None:
    assert store.read(KEY) is None
    with pytest.raises(FileNotFoundError):
        store.open(KEY)


def test_what_was_put_is_what_is_read(store: Store) -> None:
    store.put_new(KEY, b"one")

    found = store.read(KEY)
    assert found is not None
    assert found.data == b"one"
    file, size_bytes = store.open(KEY)
    with file:
        assert (file.read(), size_bytes) == (b"one", 3)


def test_the_tag_of_an_object_stays_until_its_bytes_change(store: Store) -> None:
    store.put_new(KEY, b"one")
    first = tag(store, KEY)
    store.put_new(KEY, b"refused")
    store.put_new(KEY + "2", b"another object")

    assert tag(store, KEY) == first
    store.replace(KEY, b"two")
    assert tag(store, KEY) != first


@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_the_second_put_keeps_the_first_bytes(backend: Backend, store: Store, kind: str) -> None:
    assert put(store, KEY, b"one", kind)
    before = backend.contents()

    assert not put(store, KEY, b"two", kind)

    assert backend.contents() == before


@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_replacing_writes_whatever_was_there(store: Store, kind: str) -> None:
    for data in (b"one", b"three", b"2"):
        if kind == "bytes":
            store.replace(KEY, data)
        else:
            with store.scratch() as scratch:
                store.replace(KEY, file_with(scratch, data))
        assert content(store, KEY) == data


def test_of_eight_threads_that_put_at_once_exactly_one_writes(backend: Backend) -> None:
    barrier = threading.Barrier(8)

    def put_own(number: int) -> bool:
        store = backend.open()
        barrier.wait(30)
        return store.put_new(KEY, b"%d" % number)

    with ThreadPoolExecutor(8) as threads:
        written = list(threads.map(put_own, range(8)))

    assert sum(written) == 1
    assert content(backend.open(), KEY) == b"%d" % written.index(True)


def test_of_four_processes_that_put_at_once_exactly_one_writes_each_object(
    backend: Backend,
) -> None:
    answers = at_once(put_twenty, [(backend.open, number) for number in range(4)])

    store = backend.open()
    for index in range(20):
        written = [answer[index] for answer in answers]
        assert sum(written) == 1
        assert content(store, f"objectstore/{index}") == b"%d" % written.index(True)


def put_twenty(open_store: Callable[[], Store], number: int) -> list[bool]:
    store = open_store()
    return [store.put_new(f"objectstore/{index}", b"%d" % number) for index in range(20)]


def test_deleting_twice_is_fine_and_leaves_the_neighbours(store: Store) -> None:
    store.put_new(KEY, b"one")
    store.put_new(KEY + "2", b"two")

    store.delete(KEY)
    store.delete(KEY)
    store.delete("never/was/there")

    assert store.read(KEY) is None
    assert content(store, KEY + "2") == b"two"


def test_what_was_deleted_can_be_put_again(store: Store) -> None:
    store.put_new(KEY, b"one")
    store.delete(KEY)

    assert store.put_new(KEY, b"two")
    assert content(store, KEY) == b"two"


def test_a_swap_that_expects_nothing_creates_the_object(store: Store) -> None:
    store.compare_and_swap(KEY, b"one", expected=None)

    assert content(store, KEY) == b"one"


def test_a_swap_that_expects_the_tag_read_replaces_the_object(store: Store) -> None:
    store.compare_and_swap(KEY, b"one", expected=None)

    store.compare_and_swap(KEY, b"two", expected=tag(store, KEY))

    assert content(store, KEY) == b"two"


def test_a_swap_that_expects_nothing_is_refused_when_something_is_there(
    backend: Backend, store: Store
) -> None:
    store.put_new(KEY, b"one")
    before = backend.contents()

    with pytest.raises(ManifestConflictError) as conflict:
        store.compare_and_swap(KEY, b"two", expected=None)

    assert backend.contents() == before
    assert conflict.value.uri == store.uri(KEY)
    assert conflict.value.expected is None
    assert "expected nothing" in str(conflict.value)


def test_a_swap_that_expects_a_stale_tag_is_refused(backend: Backend, store: Store) -> None:
    store.put_new(KEY, b"one")
    stale = tag(store, KEY)
    store.replace(KEY, b"two")
    before = backend.contents()

    with pytest.raises(ManifestConflictError) as conflict:
        store.compare_and_swap(KEY, b"three", expected=stale)

    assert backend.contents() == before
    assert conflict.value.expected == stale
    assert stale in str(conflict.value)


def test_a_swap_that_expects_a_tag_is_refused_when_nothing_is_there(
    backend: Backend, store: Store
) -> None:
    store.put_new(KEY, b"one")
    expected = tag(store, KEY)
    store.delete(KEY)

    with pytest.raises(ManifestConflictError) as conflict:
        store.compare_and_swap(KEY, b"two", expected=expected)

    assert backend.contents() == {}
    assert conflict.value.expected == expected


def test_six_processes_that_count_by_swaps_lose_no_count(backend: Backend) -> None:
    backend.open().compare_and_swap(KEY, b'{"count":0}', expected=None)

    at_once(count_up, [(backend.open, 15)] * 6)

    assert json.loads(content(backend.open(), KEY)) == {"count": 90}


def count_up(open_store: Callable[[], Store], times: int) -> None:
    store = open_store()
    for _ in range(times):
        while True:
            found = store.read(KEY)
            assert found is not None
            count = json.loads(found.data)["count"] + 1
            try:
                store.compare_and_swap(KEY, b'{"count":%d}' % count, expected=found.tag)
            except ManifestConflictError:
                continue
            break


def test_settling_changes_nothing_that_is_seen(backend: Backend, store: Store) -> None:
    store.compare_and_swap(KEY, b"one", expected=None)
    before = backend.contents()

    store.settle(KEY)

    assert backend.contents() == before


@pytest.mark.parametrize("key", ["a/b.json", "with space/50%.json", "Zürich/żółć/日本.json"])
def test_a_uri_is_literal_and_leads_back_to_its_key(store: Store, key: str) -> None:
    """The online service cuts the prefix off and decodes no %20."""
    uri = store.uri(key)

    assert uri.endswith("/" + key)
    assert store.key(uri) == key
    store.put_new(key, b"one")
    assert content(store, store.key(uri)) == b"one"


def test_a_uri_of_another_root_is_refused(store: Store) -> None:
    root = store.uri("a").removesuffix("/a")
    for other in (f"{root}2/a", "file:///somewhere/else", "s3://bucket/a", f"{root}", "a", ""):
        with pytest.raises(StorageError, match="another root"):
            store.key(other)


def test_a_listing_names_every_object_below_the_prefix_however_deep(store: Store) -> None:
    for key in (KEY, "objectstore/2.json", "registry/a/b/c/d/3.json"):
        store.put_new(key, b"one")

    assert keys(store, "objectstore") == ["objectstore/2.json", KEY]
    assert keys(store, "objectstore/demo/home") == [KEY]
    assert keys(store, "registry/a") == ["registry/a/b/c/d/3.json"]


def test_a_listing_says_how_large_an_object_is_and_when_it_was_written(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    for key, data in [("a/1", b"one"), ("a/2", b""), ("a/b/3", "Zürich".encode())]:
        store.put_new(key, data)
    after = datetime.now(UTC) + timedelta(minutes=1)

    found = list(store.list("a"))

    assert {stored.key: stored.size_bytes for stored in found} == {"a/1": 3, "a/2": 0, "a/b/3": 7}
    assert all(before < stored.modified < after for stored in found)
    assert {stored.modified.utcoffset() for stored in found} == {timedelta(0)}


def test_one_object_is_told_as_a_listing_tells_it(store: Store) -> None:
    store.put_new("a/1", b"one")
    store.put_new("a/10", b"two")

    assert [store.stat("a/1")] == [found for found in store.list("a") if found.key == "a/1"]
    assert [store.stat(absent) for absent in ("a", "a/2", "b", "a/100")] == [None] * 4


def test_the_tag_of_a_listing_is_another_one_when_the_bytes_are(store: Store) -> None:
    store.replace("a/1", b"one")
    before = store.stat("a/1")
    assert before is not None
    assert store.stat("a/1") == before

    store.replace("a/1", b"two")

    after = store.stat("a/1")
    assert after is not None
    assert after.tag != before.tag


@pytest.mark.parametrize(
    "neighbour", ["ab", "a.json", "a b/1", "ab/1", "a.b/1", "A/1", "x/a/1", "b/1"]
)
def test_a_prefix_ends_where_a_path_segment_does(store: Store, neighbour: str) -> None:
    store.put_new("a/1", b"one")
    store.put_new(neighbour, b"two")

    assert keys(store, "a") == ["a/1"]


@pytest.mark.parametrize("prefix", ["absent", "a/absent", "a/1"])
def test_nothing_is_listed_below_a_prefix_without_objects(store: Store, prefix: str) -> None:
    store.put_new("a/1", b"one")

    assert keys(store, prefix) == []


@pytest.mark.parametrize(
    "key", ["a/with space.json", "a/50%.json", "a/[b]*?.json", "a/.hidden", "a/Zürich/日本.json"]
)
def test_a_listed_key_is_the_one_that_was_written(store: Store, key: str) -> None:
    store.put_new(key, b"one")

    assert keys(store, "a") == [key]
    assert content(store, keys(store, "a")[0]) == b"one"


def test_a_listing_follows_what_is_written_and_deleted(store: Store) -> None:
    with store.scratch() as scratch:
        store.put_new("a/put", file_with(scratch, b"one"))
    store.replace("a/replaced", b"one")
    store.replace("a/replaced", b"three")
    store.compare_and_swap("a/swapped", b"one", expected=None)
    store.put_new("a/deleted", b"one")
    store.delete("a/deleted")

    assert {stored.key: stored.size_bytes for stored in store.list("a")} == {
        "a/put": 3,
        "a/replaced": 5,
        "a/swapped": 3,
    }


def test_finished_writes_leave_nothing_behind(store: Store) -> None:
    put(store, KEY, b"one", "bytes")
    put(store, "replaced", b"one", "file")
    store.compare_and_swap("swapped", b"one", expected=None)
    with pytest.raises(ManifestConflictError):
        store.compare_and_swap("swapped", b"two", expected=None)

    assert list(store.left_behind(before=datetime.now(UTC) + timedelta(days=1))) == []


def test_a_scratch_directory_is_private_and_removed_afterwards(store: Store) -> None:
    with store.scratch() as one, store.scratch() as other:
        assert one != other
        file_with(one, b"one")
        file_with(other, b"other")

    assert not one.exists()
    assert not other.exists()


def test_a_scratch_directory_is_removed_after_an_error(backend: Backend, store: Store) -> None:
    def fail() -> None:
        with store.scratch() as scratch:
            file_with(scratch, b"one")
            (scratch / "deep").mkdir()
            file_with(scratch / "deep", b"two")
            raise RuntimeError("computation failed")

    with pytest.raises(RuntimeError, match="computation failed"):
        fail()

    assert backend.contents() == {}


def test_a_handed_over_file_needs_no_second_copy_and_leaves_none(
    backend: Backend, store: Store
) -> None:
    with store.scratch() as scratch:
        store.put_new(KEY, file_with(scratch, b"one"))
    with store.scratch() as scratch:
        store.replace("other", file_with(scratch, b"two"))

    assert set(backend.contents()) == {KEY, "other"}


def test_nothing_but_the_objects_is_left_after_every_operation(
    backend: Backend, store: Store
) -> None:
    for kind in ("bytes", "file"):
        put(store, KEY, b"one", kind)
    store.replace("replaced", b"one")
    store.compare_and_swap("swapped", b"one", expected=None)
    stale = tag(store, "swapped")
    store.replace("swapped", b"two")
    with pytest.raises(ManifestConflictError):
        store.compare_and_swap("swapped", b"three", expected=stale)
    store.put_new("deleted", b"one")
    store.delete("deleted")

    assert set(backend.contents()) == {KEY, "replaced", "swapped"}


def keys(store: Store, prefix: str) -> list[str]:
    """Return the keys of a listing, which may come in any order, but each once."""
    return sorted(stored.key for stored in store.list(prefix))


def put(store: Store, key: str, data: bytes, kind: str) -> bool:
    if kind == "bytes":
        return store.put_new(key, data)
    with store.scratch() as scratch:
        return store.put_new(key, file_with(scratch, data))


def file_with(directory: Path, data: bytes) -> Path:
    path = directory / "content"
    path.write_bytes(data)
    return path


def content(store: Store, key: str) -> bytes:
    found = store.read(key)
    assert found is not None, f"{key} is absent"
    return found.data


def tag(store: Store, key: str) -> str:
    found = store.read(key)
    assert found is not None, f"{key} is absent"
    return found.tag
