"""What only object stores have: keys in URLs, parts and ranges, conditions, and a network."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from recsys_assets.errors import (
    ManifestConflictError,
    PublishOutcomeUnknownError,
    StorageError,
    StoreUnavailableError,
)
from recsys_assets.storage import layout, objects, open_store
from recsys_assets.storage.flips import publish
from recsys_assets.storage.frames import scan
from recsys_assets.storage.objects import ObjectStore
from recsys_assets.storage.store import Store
from recsys_assets_tests.storage.conftest import (
    BODY,
    KEY,
    MANIFEST,
    OPERATIONS,
    PLACE,
    QUICKLY,
    assert_reveals_nothing,
    at_once,
    lineage,
    live_now,
    on_every_url,
    publish_arguments,
)
from recsys_assets_tests.storage.proxy import KIND, Proxy, Request, Treatment, always, every, first
from recsys_assets_tests.storage.servers import Server

# Keys and URLs


NAMES = [
    "a b", "a%20b", "a+b", "a%2Bb", "a%25b", "a#b", "a?b=c", "a&b", "żółć", "日本",
    "a[b]c", "a*b", "{a}", "a'b", 'a"b', "a;b", "a:b", "a@b", "a=b", "a~b", "%",
]  # fmt: skip


@on_every_url
def test_a_url_is_literal_whatever_its_prefix_and_key_hold(url: str) -> None:
    store = open_store(url)
    for name in NAMES:
        assert store.uri(f"{name}/{name}.json") == f"{url}/{name}/{name}.json"
        assert store.key(f"{url}/{name}/{name}.json") == f"{name}/{name}.json"


@on_every_url
def test_names_that_only_a_url_confuses_are_different_objects(url: str) -> None:
    store = open_store(url)

    for name in NAMES:
        assert store.put_new(f"objectstore/{name}.json", name.encode())

    assert {name: content(store, f"objectstore/{name}.json") for name in NAMES} == {
        name: name.encode() for name in NAMES
    }
    assert {stored.key for stored in store.list("objectstore")} == {
        f"objectstore/{name}.json" for name in NAMES
    }


@on_every_url
@pytest.mark.parametrize("name", NAMES)
def test_polars_finds_the_object_at_its_location(url: str, tmp_path: Path, name: str) -> None:
    store, key = open_store(url), f"canonical/{name}/2026-01-05.parquet"
    pl.DataFrame({"name": [name]}).write_parquet(tmp_path / "day")
    store.replace(key, tmp_path / "day")

    assert scan(store.location(key)).collect()["name"].to_list() == [name]


@on_every_url
def test_a_prefix_is_not_a_root_to_its_neighbours(url: str) -> None:
    store = open_store(url)
    open_store(f"{url}2").put_new(KEY, b"theirs")
    open_store(f"{url}/deeper").put_new(KEY, b"deeper")

    assert store.read(KEY) is None
    assert {stored.key for stored in store.list("objectstore")} == set()
    assert {stored.key for stored in store.list("deeper")} == {f"deeper/{KEY}"}


def test_a_bucket_without_prefix_is_a_root(s3_server: Server, s3_url: str) -> None:
    key = s3_url.removeprefix(s3_server.url("")) + "/one"
    store = ObjectStore(s3_server.url("").rstrip("/"))

    store.put_new(key, b"one")

    assert content(open_store(s3_url), "one") == b"one"
    assert store.key(store.uri(key)) == key


def test_a_listing_of_more_than_a_page_is_whole(s3_url: str, proxy: Proxy) -> None:
    store = open_store(s3_url)
    names = {f"staged/{number:04} ü%20.json" for number in range(1005)}
    for name in names:
        store.replace(name, b"")
    proxy.requests.clear()

    assert {stored.key for stored in store.list("staged")} == names
    assert proxy.counted()["GET"] >= 2, "one page: it says nothing"


# Large objects


@on_every_url
def test_reading_a_large_object_in_ranges_gives_what_was_written(url: str, tmp_path: Path) -> None:
    draw, store = random.Random(1), open_store(url)  # noqa: S311
    written = draw.randbytes(21 * 2**20 + 17)
    (tmp_path / "large").write_bytes(written)
    assert store.put_new(KEY, tmp_path / "large")

    file, size_bytes = store.open(KEY)

    assert size_bytes == len(written)
    with file:
        assert file.read() == written
        for _ in range(20):
            start, length = draw.randrange(len(written)), draw.randrange(10 * 2**20)
            file.seek(start)
            assert file.tell() == start
            assert file.read(length) == written[start : start + length]
        file.seek(-5, os.SEEK_END)
        assert file.read() == written[-5:]
        assert file.read() == b""


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("limit", ["_BLOCK_BYTES", "_ONE_PUT_BYTES"])
def test_an_object_about_as_large_as_a_limit_is_whole(
    s3_url: str, tmp_path: Path, limit: str, over: int
) -> None:
    store, size = open_store(s3_url), getattr(objects, limit) + over
    written = random.Random(size).randbytes(size)  # noqa: S311
    (tmp_path / "large").write_bytes(written)
    store.put_new(KEY, tmp_path / "large")

    file, size_bytes = store.open(KEY)

    with file:
        assert (file.read() == written, size_bytes) == (True, size)


@pytest.mark.parametrize("over", [-1, 1], ids=["one put", "parts"])
def test_a_file_is_taken_over_also_when_the_object_was_there(
    url: str, tmp_path: Path, over: int
) -> None:
    """A run of many days would keep every one of them until its end."""
    store, path = open_store(url), tmp_path / "large"

    def file_of(byte: bytes) -> Path:
        path.write_bytes(byte * (objects._ONE_PUT_BYTES + over))
        return path

    for written in (True, False):
        assert store.put_new(KEY, file_of(b"1")) == written
        assert not path.exists()
    store.replace(KEY, file_of(b"2"))
    assert not path.exists()

    assert set(content(store, KEY)) == set(b"2")


def test_a_footer_is_read_without_the_rest(s3_url: str, tmp_path: Path, proxy: Proxy) -> None:
    store = open_store(s3_url)
    values = [random.Random(1).randbytes(2**20) for _ in range(30)]  # noqa: S311
    pl.DataFrame({"value": values}).write_parquet(tmp_path / "day", compression="uncompressed")
    store.replace(KEY, tmp_path / "day")
    proxy.requests.clear()

    file, _ = store.open(KEY)
    with file:
        assert pq.read_metadata(file).num_rows == 30

    assert proxy.counted(KEY)["GET"] <= 3


def test_a_small_object_is_read_and_put_by_one_request_each(s3_url: str, proxy: Proxy) -> None:
    store = open_store(s3_url)

    assert store.put_new(KEY, b"one")
    assert content(store, KEY) == b"one"
    file, _ = store.open(KEY)
    file.close()

    assert proxy.counted() == {"PUT": 1, "GET": 2}


@pytest.mark.parametrize("piece_bytes", [2**16, 2**20, 3 * 2**20, -1])
def test_a_large_object_is_read_by_a_request_for_each_block(
    s3_url: str, tmp_path: Path, proxy: Proxy, piece_bytes: int
) -> None:
    store = open_store(s3_url)
    (tmp_path / "large").write_bytes(bytes(20 * 2**20))
    store.replace(KEY, tmp_path / "large")
    proxy.requests.clear()

    file, _ = store.open(KEY)
    with file:
        while file.read(piece_bytes):
            pass

    assert proxy.counted(KEY)["GET"] <= 1 + 3


@pytest.mark.parametrize("fate", ["replaced", "removed"])
def test_what_changes_while_it_is_read_is_an_error_not_a_mixture(
    url: str, tmp_path: Path, fate: str
) -> None:
    store = open_store(url)
    (tmp_path / "large").write_bytes(bytes(20 * 2**20))
    store.replace(KEY, tmp_path / "large")
    file, _ = store.open(KEY)

    with file:
        assert file.read(10) == bytes(10)
        if fate == "removed":
            store.delete(KEY)
        else:
            (tmp_path / "large").write_bytes(b"x" * (20 * 2**20))
            store.replace(KEY, tmp_path / "large")
        with pytest.raises(StorageError, match="while it was read") as error:
            file.read()

    # Azure answers the same to both.
    assert f"was {fate}" in str(error.value) or url.startswith("az")
    assert store.uri(KEY) in str(error.value)
    assert_reveals_nothing(error.value)


_PUT_LARGE = """
import resource, sys
from pathlib import Path
from recsys_assets.documents import stored_version
from recsys_assets.storage import open_store

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

store, large = open_store(sys.argv[1]), Path(sys.argv[2])
store.put_new("small", b"one")
store.read("small")
before = peak_mib()
again = large.with_name("again")
again.hardlink_to(large)
assert store.put_new("large", large)
written = peak_mib()
assert not store.put_new("large", again)
import hashlib
file, size = store.open("large")
digest = hashlib.sha256()
while chunk := file.read(2**20):
    digest.update(chunk)
print(written - before, peak_mib() - before, size, digest.hexdigest())
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_size_of_an_object(s3_url: str, tmp_path: Path) -> None:
    block, digest = random.Random(1).randbytes(2**20), hashlib.sha256()  # noqa: S311
    with (tmp_path / "large").open("wb") as file:
        for number in range(300):
            file.write(part := number.to_bytes(4) + block[4:])
            digest.update(part)

    ran = subprocess.run(
        [sys.executable, "-c", _PUT_LARGE, s3_url, tmp_path / "large"],
        capture_output=True,
        text=True,
        check=True,
    )

    written_mib, read_mib, size, found = ran.stdout.split()
    assert (int(size), found) == (300 * 2**20, digest.hexdigest())
    assert float(written_mib) < 150
    assert float(read_mib) < 150


# Conditions


@pytest.mark.parametrize(
    "ignored",
    [{"if-none-match", "if-match"}, {"if-none-match"}, {"if-match"}],
    ids=lambda ignored: ", ".join(sorted(ignored)),
)
def test_a_store_that_ignores_conditions_is_refused_before_the_first_manifest(
    s3_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, ignored: set[str]
) -> None:
    # A stripped header would invalidate the signature.
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    proxy.treat = always(Treatment(strip=frozenset(ignored)))
    store = open_store(s3_url)
    assert store.put_new("a", b"one"), "unsigned requests are denied: this would say nothing"
    assert store.put_new("a", b"two") == ("if-none-match" in ignored), "the proxy strips otherwise"

    for _ in range(2):  # the probe of the first one is there by the second
        with pytest.raises(StorageError, match="ignores conditional writes") as error:
            publish(store, **publish_arguments(store))

        assert s3_url in str(error.value)
        assert "Nothing was published" in str(error.value)
        assert store.read(MANIFEST) is None

    proxy.treat = always(KIND)
    assert publish(store, **publish_arguments(store))[0] == "published"


def test_the_question_whether_conditions_hold_is_asked_once_per_surface(
    s3_url: str, proxy: Proxy
) -> None:
    """A flip reads the manifest and its record, and writes the next of each."""
    store = open_store(s3_url)
    publish(store, **publish_arguments(store, version=1))
    assert proxy.counted(".conditional-writes") == {"PUT": 3}
    proxy.requests.clear()

    publish(store, **publish_arguments(store, version=2))

    record = layout.publication(PLACE, 1, "").removesuffix("-.json")
    assert [request.method for request in proxy.requests] == ["GET", "GET", "PUT", "PUT"]
    assert [request.path.endswith(MANIFEST) for request in proxy.requests] == [
        True, False, False, True,
    ]  # fmt: skip
    assert record in proxy.requests[1].path


# Failures


PASSING = {
    "500": Treatment(status=500, body=BODY),
    "503": Treatment(status=503, body=BODY),
    "reset": Treatment(reset=True),
    "lost answer": Treatment(lose_answer=True),
}
# The client does not send a delete again after a reset.
OUTLASTED = [
    (operation, failure)
    for operation in ("read", "open", "list", "replace", "delete")
    for failure in PASSING
    if (operation, failure) != ("delete", "reset")
]


def test_a_store_without_the_request_to_delete_many_can_be_used(s3_url: str, proxy: Proxy) -> None:
    """Not every store with S3's API has it; it is a POST."""
    store = open_store(s3_url)
    store.replace(KEY, b"one")
    proxy.treat = always(Treatment(status=501, body=BODY), method="POST")

    store.delete(KEY)
    store.delete(KEY)  # absent is fine

    assert store.read(KEY) is None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("operation", "failure"), OUTLASTED)
def test_a_failure_that_passes_is_not_seen(
    s3_url: str, proxy: Proxy, operation: str, failure: str
) -> None:
    store = open_store(s3_url)
    store.replace(KEY, b"one")
    proxy.requests.clear()
    proxy.treat = first(2, always(PASSING[failure]))

    OPERATIONS[operation](store)

    assert len(proxy.requests) == 3
    proxy.treat = always(KIND)
    expected = {"replace": b"two", "delete": None}.get(operation, b"one")
    found = store.read(KEY)
    assert (found.data if found else None) == expected


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "passing", [Treatment(status=503, body=BODY), Treatment(reset=True), Treatment(delay_s=0.1)]
)
def test_a_publish_outlasts_a_failure_that_passes(
    s3_url: str, proxy: Proxy, passing: Treatment
) -> None:
    store = open_store(s3_url)
    publish(store, **publish_arguments(store, version=1), publish_id="p1")
    proxy.treat = first(2, always(passing, path=MANIFEST))

    outcome, _ = publish(store, **publish_arguments(store, version=2), publish_id="p2")

    assert outcome == "published"
    assert lineage(store) == [(2, "p2", "p1"), (1, "p1", None)]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("first_publish", [True, False])
@pytest.mark.parametrize("done", [True, False])
def test_a_flip_whose_answer_never_comes_is_unknown_until_the_store_answers(
    s3_url: str, proxy: Proxy, *, first_publish: bool, done: bool
) -> None:
    store = open_store(s3_url)
    if not first_publish:
        publish(store, **publish_arguments(store, version=1), publish_id="p1")
    proxy.requests.clear()
    lost = Treatment(lose_answer=True) if done else Treatment(status=503, body=BODY)
    down = Treatment(status=503, body=BODY)

    def treat(request: Request) -> Treatment:
        flips = [seen for seen in proxy.requests if is_flip(seen)]
        if not flips:
            return KIND
        return lost if is_flip(request) and len(flips) == 1 else down

    proxy.treat = treat
    with pytest.raises(PublishOutcomeUnknownError) as error:
        publish(store, **publish_arguments(store, version=2), publish_id="p2")
    assert s3_url in str(error.value)
    assert "again" in str(error.value)
    assert_reveals_nothing(error.value)

    proxy.treat = always(KIND)
    outcome, _ = publish(store, **publish_arguments(store, version=2), publish_id="again")

    assert outcome == ("unchanged" if done else "published")
    mine = "p2" if done else "again"
    expected = [(1, mine, None)] if first_publish else [(2, mine, "p1"), (1, "p1", None)]
    assert lineage(store) == expected


NO_BUCKET = "<Error><Code>NoSuchBucket</Code></Error>"


@pytest.mark.parametrize(
    ("status", "body", "said", "first_publish"),
    [
        (403, BODY, "access was denied (403", True),
        (403, BODY, "access was denied (403", False),
        (401, BODY, "access was denied (401", False),
        (404, NO_BUCKET, "does not exist: create it", True),
    ],
)
def test_a_flip_that_the_store_refuses_is_told_as_it_is_and_not_as_unknown(
    s3_url: str, proxy: Proxy, status: int, body: str, said: str, *, first_publish: bool
) -> None:
    """Who may write records but no manifest would wait for an answer that has been given."""
    store = open_store(s3_url)
    if not first_publish:
        publish(store, **publish_arguments(store, version=1), publish_id="p1")
    proxy.treat = always(Treatment(status=status, body=body), method="PUT", path=MANIFEST)

    with pytest.raises(StoreUnavailableError) as error:
        publish(store, **publish_arguments(store, version=2), publish_id="p2")

    assert said in str(error.value)
    assert error.value.refused
    assert "unknown" not in str(error.value)
    assert_reveals_nothing(error.value)
    assert sum(map(is_flip, proxy.requests)) == (1 if first_publish else 2)
    proxy.treat = always(KIND)
    assert publish(store, **publish_arguments(store, version=2), publish_id="p3")[0] == "published"
    assert [publish_id for _, publish_id, _ in lineage(store)] == (
        ["p3"] if first_publish else ["p3", "p1"]
    )


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("loss", ["answer", "connection"])
@pytest.mark.parametrize("first_publish", [True, False])
def test_a_lost_answer_of_a_flip_is_not_a_second_flip(
    s3_url: str, proxy: Proxy, loss: str, *, first_publish: bool
) -> None:
    """The client sends it again by itself, and meets its own success as a conflict."""
    store = open_store(s3_url)
    if not first_publish:
        publish(store, **publish_arguments(store, version=1), publish_id="p1")
    treatment = Treatment(lose_answer=True) if loss == "answer" else Treatment(reset=True)
    proxy.treat = first(1, always(treatment, method="PUT", path=MANIFEST))

    outcome, live = publish(store, **publish_arguments(store, version=2), publish_id="p2")

    assert outcome == "published"
    assert live.publication
    assert live.publication == live_now(store).publication
    assert live.updated_at == live_now(store).updated_at
    assert live.publication.published_at == live.updated_at
    expected = [(1, "p2", None)] if first_publish else [(2, "p2", "p1"), (1, "p1", None)]
    assert lineage(store) == expected


@pytest.mark.usefixtures("quick")
def test_a_record_whose_answer_is_lost_is_no_obstacle(s3_url: str, proxy: Proxy) -> None:
    store = open_store(s3_url)
    proxy.treat = first(1, always(Treatment(lose_answer=True), path="registry/publications"))

    outcome, _ = publish(store, **publish_arguments(store), publish_id="p1")

    assert outcome == "published"
    assert lineage(store) == [(1, "p1", None)]


IN_THE_WAY = Treatment(
    status=409,
    body="<Error><Code>ConditionalRequestConflict</Code><Message>Try again.</Message></Error>",
)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("path", ["registry/publications", MANIFEST])
@pytest.mark.parametrize("times", [1, 3])
def test_a_conflict_that_stored_nothing_is_no_record_that_is_there(
    s3_url: str, proxy: Proxy, path: str, times: int
) -> None:
    """S3 answers a conditional create so when another request was in the way: try again."""
    store = open_store(s3_url)
    publish(store, **publish_arguments(store, version=1), publish_id="p1")
    proxy.treat = first(times, always(IN_THE_WAY, method="PUT", path=path))

    outcome, _ = publish(store, **publish_arguments(store, version=2), publish_id="p2")

    assert outcome == "published"
    assert lineage(store) == [(2, "p2", "p1"), (1, "p1", None)]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("given", ["bytes", "file"])
def test_only_what_is_there_keeps_a_new_object_from_being_written(
    s3_url: str, proxy: Proxy, tmp_path: Path, given: str
) -> None:
    store = open_store(s3_url)
    file = tmp_path / "content"
    file.write_bytes(b"one")
    proxy.treat = first(1, always(IN_THE_WAY, method="PUT"))

    assert store.put_new(KEY, file if given == "file" else b"one")

    assert content(store, KEY) == b"one"
    assert not store.put_new(KEY, b"two")
    assert content(store, KEY) == b"one"


@pytest.mark.usefixtures("quick")
def test_a_conflict_without_end_is_an_error_and_the_old_manifest_stays(
    s3_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_CREATE_PAUSES_S", (0.0, 0.0))
    store = open_store(s3_url)
    publish(store, **publish_arguments(store, version=1), publish_id="p1")
    proxy.treat = always(IN_THE_WAY, method="PUT", path="registry/publications")

    with pytest.raises(StoreUnavailableError, match="it is not there") as error:
        publish(store, **publish_arguments(store, version=2), publish_id="p2")

    assert "Run again" in str(error.value)
    assert lineage(store) == [(1, "p1", None)]


_PUBLISHERS, _PUBLISHES = 4, 6


def test_four_publishers_with_every_third_answer_lost_publish_each_once(
    s3_url: str, proxy: Proxy
) -> None:
    """With re-reading and trying again alone, there are about twice as many flips."""
    proxy.treat = every(3, "PUT", Treatment(lose_answer=True))

    answers = at_once(publish_six, [(s3_url, number) for number in range(_PUBLISHERS)])

    proxy.treat = always(KIND)
    chain = lineage(open_store(s3_url))
    acknowledged = [publish_id for answer in answers for publish_id in answer]
    assert len(chain) == len(acknowledged) == _PUBLISHERS * _PUBLISHES
    assert sorted(publish_id for _, publish_id, _ in chain) == sorted(acknowledged)
    assert [generation for generation, _, _ in chain] == [*range(len(chain), 0, -1)]
    lost = sum(request.number % 3 == 0 for request in proxy.requests if request.method == "PUT")
    assert lost > _PUBLISHERS * _PUBLISHES / 2


def publish_six(url: str, number: int) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "_RETRY", {**objects._RETRY, "backoff": QUICKLY})
        store, acknowledged = open_store(url), []
    for version in range(number * 100, number * 100 + _PUBLISHES):
        arguments = publish_arguments(store, version=version)
        outcome, _ = publish(store, **arguments, publish_id=f"p{version}")
        assert outcome == "published"
        acknowledged.append(f"p{version}")
    return acknowledged


@pytest.mark.parametrize("server", ["local", "s3"])
def test_flips_from_many_processes_are_all_made_and_without_conditions_some_are_lost(
    request: pytest.FixtureRequest, tmp_path: Path, server: str
) -> None:
    root = str(tmp_path / "root") if server == "local" else request.getfixturevalue("s3_url")
    store = open_store(root)
    for key in _COUNTERS.values():
        store.replace(key, b'{"count":0}')

    at_once(count_up, [(root,)] * 4)

    counted = {swap: json.loads(content(store, key))["count"] for swap, key in _COUNTERS.items()}
    assert counted[True] == 4 * _COUNTS
    assert counted[False] < 4 * _COUNTS, "the control lost nothing: this would say nothing"


_COUNTS = 15
_COUNTERS = {swap: f"registry/current/counter/{swap}/manifest.json" for swap in (True, False)}


def count_up(root: str) -> None:
    """Count by compare-and-swap, then without."""
    store = open_store(root)
    for swap, key in _COUNTERS.items():
        for _ in range(_COUNTS):
            while not count_one(store, key, swap=swap):
                pass


def count_one(store: Store, key: str, *, swap: bool) -> bool:
    found = store.read(key)
    assert found is not None
    data = b'{"count":%d}' % (json.loads(found.data)["count"] + 1)
    if not swap:
        time.sleep(0.005)  # or on a busy machine one process may be done before the next begins
        store.replace(key, data)
        return True
    try:
        store.compare_and_swap(key, data, expected=found.tag)
    except ManifestConflictError:
        return False
    return True


def is_flip(request: Request) -> bool:
    return request.method == "PUT" and request.path.endswith(MANIFEST)


def content(store: Store, key: str) -> bytes:
    found = store.read(key)
    assert found is not None, f"{key} is absent"
    return found.data
