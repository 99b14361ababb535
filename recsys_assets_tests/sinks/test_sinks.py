"""What every kind of sink promises, whatever it is made of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Final

import pytest

from recsys_assets.errors import SinkError
from recsys_assets.sinks import Delivery, HoldsUsers, open_sink
from recsys_assets.sinks.delivering import deliver
from recsys_assets.storage.deliveries import Held, is_behind, read_known
from recsys_assets_tests.shop import KINDS, Shop, on
from recsys_assets_tests.sinks.conftest import CutOffError, Tried

# Those that only tell somebody; any other has ids of users, and says whose.
HOLD_NOBODY: Final = {"webhook"}


def test_what_is_live_is_held_and_read_and_again_changes_nothing(tried: Tried) -> None:
    published = tried.publish(1, 5)
    assert tried.held is None

    first, again = tried.deliver(), tried.deliver()

    assert (first.outcome, again.outcome) == ("delivered", "unchanged")
    assert first.rows == tried.written
    assert again.held == first.held == tried.held == Delivery(tried.shop.store, published).held
    assert tried.read("popularity") == [("a", 5)]
    assert tried.read("cooc") == [("a", "b", 5)]


def test_a_rollback_is_a_newer_generation_with_older_versions(tried: Tried) -> None:
    for day in (1, 2):
        tried.publish(day, day)
        tried.deliver()
    before = tried.number

    tried.shop.rollback("previous")

    assert is_behind(tried.shop.live.current, tried.held)
    assert tried.deliver().outcome == "delivered"
    assert (before, tried.number) == (2, 1)
    assert tried.held == Held(3, Delivery(tried.shop.store, tried.shop.newest).versions)


def test_another_generation_of_the_same_versions_is_not_behind(tried: Tried) -> None:
    tried.publish(1, 1)
    tried.deliver()
    tried.shop.rollback("1", pin=True)

    assert tried.shop.generation == 2
    assert not is_behind(tried.shop.live.current, tried.held)
    assert (tried.deliver().held.generation, tried.number) == (2, 1)


def test_an_older_delivery_never_wins(tried: Tried) -> None:
    old, new = tried.publish(1, 1), tried.publish(2, 2)
    tried.deliver(new)

    late = tried.deliver(old)

    assert (late.outcome, late.held.generation) == ("outdated", new.generation)
    assert (tried.number, tried.held) == (2, late.held)


def test_of_deliverers_that_race_the_newest_delivery_is_held_in_the_end(tried: Tried) -> None:
    deliveries = [tried.publish(day, day) for day in range(1, 4)]

    with ThreadPoolExecutor(6) as pool:
        done = [*pool.map(tried.deliver, [*deliveries, *reversed(deliveries)])]

    assert {each.outcome for each in done} <= {"delivered", "unchanged", "outdated"}
    assert (tried.number, tried.held) == (3, Delivery(tried.shop.store, deliveries[-1]).held)


def test_a_deliverer_that_is_cut_off_anywhere_leaves_the_old_or_the_new(tried: Tried) -> None:
    """And the next one goes on from what it left: nothing that was acknowledged is lost."""
    tried.publish(1, 1)
    tried.deliver()
    held = 1
    for at in count():
        number = at + 2
        tried.publish(number, number)
        with tried.cut(at) as calls:
            try:
                tried.deliver()
            except CutOffError:
                assert tried.number in {held, number}
            else:
                assert tried.number == number
        held = tried.number or 0
        if len(calls) <= at:
            break
    assert at >= 3, "there are steps"
    assert held == number


def test_a_kind_that_is_not_live_any_more_is_not_held_either(tried: Tried) -> None:
    tried.publish(1, 1)
    tried.deliver()
    tried.shop.publish(on(2), tried.shop.stage(on(2), 2, kinds=["popularity"]))

    tried.deliver()

    held = tried.held
    assert held is not None
    assert set(held.versions) == {"popularity"}


def test_whose_ids_it_holds_is_told_and_those_of_what_is_not_live_are_purged(tried: Tried) -> None:
    """Also those of a generation that left within the grace, and of another surface nothing."""
    if tried.config.type in HOLD_NOBODY:
        return
    shop, other = tried.shop, Shop(tried.shop.root, name="cart")

    def users(of: Shop = shop) -> set[str]:
        opened = open_sink(tried.config, str(shop.root))
        assert isinstance(opened, HoldsUsers)
        return {user for _, users in opened.users(of.place) for user in users}

    def purge() -> None:
        opened = open_sink(tried.config, str(shop.root))
        assert isinstance(opened, HoldsUsers)
        opened.purge(shop.place)

    assert users() == set()
    for day, user, of in ((1, "1,001", shop), (1, "eve", other), (2, "bob", shop)):
        of.publish(on(day), of.stage(on(day), day, kinds=[*KINDS, "implicit"], user=user))
        tried.deliver(of.newest)
    left = {"1,001"} if hasattr(tried.config, "grace_minutes") else set()
    assert (users(), users(other)) == ({"bob"} | left, {"eve"})

    purge()

    assert (users(), users(other)) == ({"bob"}, {"eve"})
    assert (tried.number, tried.deliver().outcome) == (2, "unchanged")
    purge()
    assert users() == {"bob"}


def test_what_another_root_delivered_is_not_taken_for_ones_own(tried: Tried) -> None:
    tried.publish(1, 1)
    tried.deliver()
    other = tried.publish(2, 2)

    with pytest.raises(SinkError, match="another generation 1 of demo/home"):
        tried.deliver(type(other)(**{**vars(other), "generation": 1}))


def test_a_damaged_document_is_not_delivered(tried: Tried) -> None:
    tried.publish(1, 1)
    tried.deliver()
    new = tried.publish(2, 2)
    path = tried.shop.root / tried.shop.store.key(new.current["cooc"])
    path.write_bytes(path.read_bytes().replace(b'"count":2', b'"count":3'))

    with pytest.raises(Exception, match="should hash to"):
        tried.deliver()

    assert tried.number == 1


def test_what_is_newer_than_all_that_was_live_is_of_another_root(tried: Tried) -> None:
    """Its generations were counted from 1 again: nothing would ever be delivered."""
    old = tried.publish(1, 1)
    tried.deliver(type(old)(**{**vars(old), "generation": 100}))
    shop, name = tried.shop, tried.config.name

    with pytest.raises(SinkError, match="holds generation 100, and only 1 is live: another root"):
        deliver(shop.store, str(shop.root), shop.surface, tried.config)

    failure = read_known(shop.store, shop.place, name).failure
    assert failure
    assert "another root" in failure.error
