"""What is live, and the records of how it came to be: read as they were written, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_assets.errors import StorageError
from recsys_assets.storage import layout
from recsys_assets.storage.flips import publish
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Publication, history, read_live
from recsys_assets.storage.registry import to_bytes
from recsys_assets.storage.store import Store
from recsys_assets.windows import Window
from recsys_assets_tests.storage.conftest import (
    DAY,
    MANIFEST,
    PLACE,
    SURFACE,
    TENANT,
    TOMORROW,
    Backend,
    Clock,
    accept_rendered,
    lineage,
    live_now,
    manifest_bytes,
    on_one_backend,
    publish_arguments,
    record,
)


def test_nothing_is_live_before_the_first_publish(store: Store) -> None:
    assert read_live(store, PLACE) is None


@on_one_backend
def test_the_record_says_what_went_live_and_who_did_it_why(store: Store) -> None:
    arguments = publish_arguments(store)

    publish(store, **arguments, clock=Clock(), publish_id="p1")

    assert record(store, 1, "p1") == {
        "v": 1,
        "generation": 1,
        "publish_id": "p1",
        "parent": None,
        "action": "publish",
        "tenant": "demo",
        "surface": "home",
        "window": {"start": "2026-01-05T00:00:00Z", "end": "2026-01-06T00:00:00Z"},
        "current": arguments["current"],
        "pinned": False,
        "retiring": [],
        "restored": {},
        "run_id": "run-1",
        "who": "somebody",
        "reason": "a test",
        "published_at": "2026-01-06T02:00:00.000000Z",
    }


def test_history_gives_the_newest_first_as_they_were_published(store: Store) -> None:
    published = [
        publish(store, **publish_arguments(store, version=number))[1].publication
        for number in (1, 2, 3)
    ]

    assert list(history(store, live_now(store))) == published[::-1]


@on_one_backend
@pytest.mark.parametrize(
    "missing", [("who",), ("reason",), ("pinned",), ("retiring",), ("restored",), ()], ids=repr
)
def test_a_record_of_before_these_members_is_read_and_published_upon(
    store: Store, missing: tuple[str, ...]
) -> None:
    publish(store, **publish_arguments(store, version=1), publish_id="p1")
    key = layout.publication(PLACE, 1, "p1")
    members = record(store, 1, "p1")
    for member in missing or ("who", "reason", "pinned", "retiring", "restored"):
        del members[member]
    store.replace(key, json.dumps(members).encode())

    publication = live_now(store).publication

    assert publication is not None
    assert (publication.pinned, publication.retiring, publication.restored) == (False, (), {})
    assert publication.who == ("somebody" if "who" in members else "")
    assert publication.reason == ("a test" if "reason" in members else "")
    arguments = publish_arguments(store, day=TOMORROW, version=2)
    assert publish(store, **arguments, seen=0, publish_id="p2")[0] == "published"
    assert lineage(store) == [(2, "p2", "p1"), (1, "p1", None)]


def test_another_producer_s_manifest_is_replaced_by_generation_one(store: Store) -> None:
    """The ancestor system knows no publications; its documents name their window as ours do."""
    key = "objectstore/theirs.json"
    window = Window.ending_with(DAY, days=1).to_json()
    store.put_new(key, json.dumps({"v": 1, "window": window, "items": []}).encode())
    put_manifest(store, {"popularity": "file:///elsewhere/popularity.json", "cooc": store.uri(key)})
    live = live_now(store)
    assert live.publication is None
    assert live.window == Window.ending_with(DAY, days=1)
    assert list(history(store, live)) == []

    outcome, _ = publish(store, **publish_arguments(store), publish_id="p1")

    assert outcome == "published"
    assert lineage(store) == [(1, "p1", None)]


def test_another_producer_s_manifest_is_replaced_even_by_what_it_names(store: Store) -> None:
    """The same blobs, but no record says who published them when."""
    arguments = publish_arguments(store)
    arguments["current"] = {"popularity": accept_rendered(store).uri}
    put_manifest(store, arguments["current"])

    outcome, _ = publish(store, **arguments, publish_id="p1")

    assert outcome == "published"
    assert lineage(store) == [(1, "p1", None)]


@pytest.mark.parametrize(
    "name",
    [
        None,
        "file:///elsewhere/popularity.json",
        "s3://bucket/popularity.json",
        "objectstore/absent.json",
        "objectstore",
        "objectstore/../../outside.json",
        "objectstore/a\x00b.json",
        "objectstore/junk.json",
    ],
)
def test_another_producer_s_manifest_of_unknown_window_is_not_replaced(
    backend: Backend, store: Store, name: str | None
) -> None:
    """It may be of a later window, so only a person can say that it may go."""
    store.put_new("objectstore/junk.json", b'{"v":1,"items":[{"item_id":')
    uri = name if name is None or ":" in name else f"{store.uri('')}/{name}".replace("//o", "/o")
    put_manifest(store, {} if uri is None else {"popularity": uri})
    before = backend.contents()
    live = live_now(store)
    assert live.window is None

    with pytest.raises(StorageError, match="written by another producer") as error:
        publish(store, **publish_arguments(store))

    assert store.uri(MANIFEST) in str(error.value)
    assert "move that manifest away first" in str(error.value)
    assert backend.contents() == before
    store.delete(MANIFEST)
    assert publish(store, **publish_arguments(store))[0] == "published"


def test_another_producer_s_manifest_of_a_later_window_is_not_moved_back(
    backend: Backend, store: Store
) -> None:
    """Somebody wrote the manifest by hand, as in a rollback without this project's help."""
    ref = accept_rendered(store, day=TOMORROW)
    old = accept_rendered(store, day=DAY)
    absent = store.uri("objectstore/absent.json")
    put_manifest(
        store, {"popularity": old.uri, "cooc": ref.uri, "implicit": old.uri, "content_sim": absent}
    )
    before = backend.contents()

    outcome, live = publish(store, **publish_arguments(store, day=DAY))

    assert outcome == "superseded"
    assert live.window == Window.ending_with(TOMORROW, days=1)
    assert backend.contents() == before
    assert publish(store, **publish_arguments(store, day=TOMORROW))[0] == "published"


@on_one_backend
@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"updated_at":"2026-01-06T02:00:00Z"}',
        b'{"current":{}}',
        b'{"current":null,"updated_at":""}',
        b'{"current":"text","updated_at":""}',
        b'{"current":{"popularity":3},"updated_at":""}',
        b'{"current":{"publication":null},"updated_at":""}',
    ],
)
def test_a_damaged_manifest_is_refused_and_left_as_it_is(
    backend: Backend, store: Store, damaged: bytes
) -> None:
    """Overwriting it would hide what happened, and which versions readers had."""
    store.replace(MANIFEST, damaged)
    before = backend.contents()

    with pytest.raises(StorageError, match="is not a manifest") as error:
        publish(store, **publish_arguments(store))

    assert store.uri(MANIFEST) in str(error.value)
    assert backend.contents() == before


@on_one_backend
def test_a_manifest_cut_short_is_refused(store: Store) -> None:
    publish(store, **publish_arguments(store))
    whole = manifest_bytes(store)

    for length in range(0, len(whole), 7):
        store.replace(MANIFEST, whole[:length])
        with pytest.raises(StorageError, match="is not a manifest"):
            read_live(store, PLACE)


def test_a_manifest_that_names_a_missing_publication_is_refused(
    backend: Backend, store: Store
) -> None:
    publish(store, **publish_arguments(store, version=1), publish_id="p1")
    record = layout.publication(PLACE, 1, "p1")
    store.delete(record)
    before = backend.contents()

    with pytest.raises(StorageError, match="is missing") as error:
        publish(store, **publish_arguments(store, version=2))

    assert store.uri(record) in str(error.value)
    assert backend.contents() == before


@on_one_backend
@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{}",
        b"[]",
        b"3",
        b'{"v":1}',
        b'{"v":1,"window":3}',
        b'{"v":1,"window":{"start":"2026-01-05T00:00:00Z","end":"2026-01-06T00:00:00Z"},'
        b'"action":"publish","current":{},"retiring":3}',
        b'{"v":1,"window":{"start":"2026-01-05T00:00:00Z","end":"2026-01-06T00:00:00Z"},'
        b'"action":"publish","current":{},"unknown":3}',
    ],
)
def test_a_manifest_that_names_a_damaged_publication_is_refused(
    backend: Backend, store: Store, damaged: bytes
) -> None:
    publish(store, **publish_arguments(store, version=1), publish_id="p1")
    store.replace(layout.publication(PLACE, 1, "p1"), damaged)
    before = backend.contents()

    with pytest.raises(StorageError, match="is not a publication record"):
        publish(store, **publish_arguments(store, version=2))

    assert backend.contents() == before


def test_a_manifest_of_another_root_is_refused(store: Store, tmp_path: Path) -> None:
    """The root was copied: its URIs still name the original, which readers would go on using."""
    original = LocalStore(tmp_path / "original")
    publish(original, **publish_arguments(original))
    store.replace(MANIFEST, manifest_bytes(original))

    with pytest.raises(StorageError, match="another root"):
        publish(store, **publish_arguments(store))


def test_a_publication_reads_back_as_it_was_written(store: Store) -> None:
    _, live = publish(store, **publish_arguments(store))

    assert live.publication is not None
    assert Publication.from_bytes(to_bytes(live.publication.to_json())) == live.publication


def put_manifest(store: Store, current: dict[str, str]) -> None:
    manifest = {
        "v": 1,
        "tenant": TENANT,
        "surface": SURFACE,
        "current": current,
        "updated_at": "2026-01-06T02:00:00Z",
    }
    store.replace(MANIFEST, json.dumps(manifest).encode())
