"""The card of a surface: the day that is live, since when, by whom, and the flips before."""

from __future__ import annotations

from typing import Any

import pytest

from recsys_assets.errors import StorageError, StoreUnavailableError
from recsys_assets.live import card
from recsys_assets.live.card import Flip, flips_since
from recsys_assets.live.history import publications
from recsys_assets.operations.pointer import pin
from recsys_assets.pages import Rows
from recsys_assets.storage import layout
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.live.test_history import publish_as_another_producer
from recsys_assets_tests.shop import WHY, Shop, on


@pytest.fixture
def three(shop: Shop) -> Shop:
    for number in (1, 2, 3):
        shop.day(on(number), number)
        shop.time.passes(hours=1)
    return shop


def flips(shop: Shop, since: int = 0) -> list[Flip]:
    return flips_since(shop.store, shop.surface, since)


def rows(flip: Flip, name: str) -> list[Any]:
    shown = flip.shown[name]
    assert isinstance(shown, Rows)
    return [*shown.rows]


def test_nothing_live_has_no_flips(shop: Shop) -> None:
    assert flips(shop) == []


def test_the_newest_flip_has_the_whole_card_and_the_others_what_they_were(three: Shop) -> None:
    first, second, newest = flips(three)

    assert [first.generation, second.generation, newest.generation] == [1, 2, 3]
    assert first.title == "publish by somebody: an incident"
    assert first.shown == {
        "day": str(on(1)),
        "first_day": str(on(1)),
        "generation": 1,
        "action": "publish",
        "pinned": "no",
        "flipped_at": "2020-01-10T02:00:00.000000Z",
        "who": WHY.who,
        "reason": WHY.reason,
        "run": WHY.run_id,
    }
    assert newest.shown["day"] == str(on(3))
    versions = {row["kind"]: row["version"] for row in rows(newest, "documents")}
    assert versions == {
        kind: uri.rpartition("/")[2][:12] for kind, uri in three.live.current.items()
    }
    assert newest.shown["size_bytes"] == sum(
        len(blob)
        for key, blob in three.files("objectstore").items()
        if any(version in key for version in versions.values())
    )
    history = rows(newest, "history")
    assert [row["generation"] for row in history] == ["3", "2", "1"]
    assert [row["day"] for row in history] == [str(on(3)), str(on(2)), str(on(1))]


def test_only_what_is_new_is_returned(three: Shop) -> None:
    assert [flip.generation for flip in flips(three, 2)] == [3]
    assert flips(three, 3) == []
    pin(three.store, three.surface, WHY)
    (pinned,) = flips(three, 3)
    assert pinned.title == "pin by somebody: an incident"
    assert pinned.shown["pinned"] == "yes: publishes wait for a release"
    assert rows(pinned, "history")[0]["action"] == "pin, pinned"


def test_a_rollback_shows_the_older_day(three: Shop) -> None:
    three.rollback("1")
    (flip,) = flips(three, 3)
    assert (flip.shown["day"], flip.shown["action"]) == (str(on(1)), "rollback")


def test_a_generation_of_another_root_counts_for_nothing(three: Shop) -> None:
    assert [flip.generation for flip in flips(three, 99)] == [1, 2, 3]


def test_of_many_the_newest_are_returned(three: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "MOST_FLIPS", 2)
    assert [flip.generation for flip in flips(three)] == [2, 3]


def test_a_missing_document_is_told(three: Shop) -> None:
    three.store.delete(three.store.key(three.live.current["cooc"]))
    *_, newest = flips(three)
    sizes = {row["kind"]: row["bytes"] for row in rows(newest, "documents")}
    assert sizes["cooc"] == "missing"
    assert newest.shown["size_bytes"] == int(sizes["popularity"])


def test_a_damaged_record_of_an_older_flip_hides_no_newer_one(three: Shop) -> None:
    chain = publications(three.store, three.surface, limit=3)
    lost = layout.publication(three.place, 1, chain[-1].publish_id)
    three.store.replace(lost, b"{")
    assert [flip.generation for flip in flips(three)] == [2, 3]


def test_a_store_that_does_not_answer_is_not_taken_for_a_damaged_record(
    three: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = LocalStore.read

    def silent(self: LocalStore, key: str) -> Any:
        if "/0000000001-" in key:
            raise StoreUnavailableError("no answer came in time")
        return read(self, key)

    monkeypatch.setattr(LocalStore, "read", silent)
    with pytest.raises(StoreUnavailableError):
        flips(three)


def test_another_producers_manifest_has_a_card_without_history(shop: Shop) -> None:
    publish_as_another_producer(shop)
    (flip,) = flips(shop)
    assert (flip.generation, flip.title) == (0, "published by another producer")
    assert flip.shown["day"] == str(on(1))
    assert len(rows(flip, "documents")) == 2


def test_a_damaged_manifest_is_an_error(three: Shop) -> None:
    three.store.replace(layout.manifest(three.place), b"{")
    with pytest.raises(StorageError):
        flips(three)
