"""What was live when, and what a person means by `previous`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.config import Retention
from recsys_assets.errors import InputError, StorageError
from recsys_assets.live.history import (
    began_pin,
    find,
    last_change,
    live_at,
    publications,
    recorded_live,
)
from recsys_assets.operations.pointer import pin, release
from recsys_assets.operations.retention import retain
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.flips import flip
from recsys_assets.storage.publications import Change, Why
from recsys_assets.storage.store import Stored, Versioned
from recsys_assets.windows import Window
from recsys_assets_tests.shop import KINDS, START, WHY, Shop, on
from recsys_assets_tests.storage.conftest import Passing

RETAIN = Retention(publications=1, days=1, grace_hours=1)
CHOICES = st.integers(0, 11)
KINDS_OF = st.sampled_from([["popularity"], ["cooc"], ["popularity", "cooc"]])


class Memory(Passing):
    """A store in memory, as far as flips and the history need one."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def uri(self, key: str) -> str:
        return f"mem:{key}"

    def key(self, uri: str) -> str:
        return uri.removeprefix("mem:")

    def read(self, key: str) -> Versioned | None:
        data = self.objects.get(key)
        return Versioned(data, str(hash(data))) if data else None

    def list(self, prefix: str) -> Iterator[Stored]:
        for key in self.objects:
            if key.startswith(prefix):
                yield Stored(key, 1, datetime(2020, 1, 1, tzinfo=UTC), "")

    def put_new(self, key: str, content: bytes | Path) -> bool:
        assert isinstance(content, bytes)
        self.objects[key] = content
        return True

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        self.objects[key] = data

    def settle(self, key: str) -> None:
        pass


def previous(shop: Shop, *, kind: str | None = None) -> int:
    return find(shop.store, shop.surface, "previous", kinds=[kind] if kind else ()).generation


class TestFind:
    """What a person names."""

    @pytest.mark.parametrize(
        ("target", "generation"),
        [("live", 4), ("previous", 3), ("1", 1), ("4", 4), ("004", 4), (str(on(2)), 3)],
    )
    def test_a_publication_is_found_by(self, shop: Shop, target: str, generation: int) -> None:
        for of, number in ((1, 1), (2, 2), (2, 3), (3, 4)):
            shop.day(on(of), number)

        found = find(shop.store, shop.surface, target)

        assert (found.generation, found.tenant, found.surface) == (generation, "demo", "home")

    def test_a_day_is_the_newest_publication_whose_window_ends_with_it(self, shop: Shop) -> None:
        shop.day(on(1), 1)
        shop.day(on(2), 2)
        shop.rollback(str(on(1)))

        assert find(shop.store, shop.surface, str(on(1))).generation == 3

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("0", "demo/home has no generation 0; there are 1 to 2"),
            ("3", "demo/home has no generation 3; there are 1 to 2"),
            (
                "2019-12-31",
                "2019-12-31 was never live for demo/home; the days that were: "
                "2020-01-09, 2020-01-08",
            ),
            ("yesterday", "'yesterday' is neither `live`, `previous`, a generation"),
            ("-1", "'-1' is neither"),
            ("", "'' is neither"),
            ("2020-02-30", "'2020-02-30' is neither"),
            ("\x1b[31m", r"'\\x1b\[31m' is neither"),
        ],
    )
    def test_what_is_not_there_is_told_with_what_there_is(
        self, shop: Shop, target: str, message: str
    ) -> None:
        shop.day(on(1), 1)
        shop.day(on(2), 2)

        with pytest.raises(InputError, match=message):
            find(shop.store, shop.surface, target)

    def test_only_the_newest_days_are_listed(self, shop: Shop) -> None:
        for number in range(12):
            shop.day(on(number), number + 1)

        with pytest.raises(InputError) as caught:
            find(shop.store, shop.surface, "2019-01-01")

        assert str(caught.value).endswith(f"{on(11)}, " + ", ".join(
            str(on(n)) for n in range(10, 1, -1)
        ) + ", ...")  # fmt: skip

    @pytest.mark.parametrize("target", ["live", "previous", "1", "2020-01-08"])
    def test_before_the_first_publish_there_is_nothing_to_find(
        self, shop: Shop, target: str
    ) -> None:
        with pytest.raises(InputError, match="nothing is live for demo/home yet"):
            find(shop.store, shop.surface, target)

    @pytest.mark.parametrize("target", ["live", "previous", "1", "2020-01-08"])
    def test_another_producers_manifest_has_no_history(self, shop: Shop, target: str) -> None:
        publish_as_another_producer(shop)

        with pytest.raises(InputError, match="by another producer and has no history"):
            find(shop.store, shop.surface, target)
        with pytest.raises(InputError, match="by another producer and has no history"):
            live_at(shop.store, shop.surface, START)
        assert publications(shop.store, shop.surface, limit=5) == []

    def test_a_record_that_is_missing_is_named(self, shop: Shop) -> None:
        shop.day(on(1), 1)
        lost = shop.newest
        shop.day(on(2), 2)
        key = layout.publication(Place("demo", "home"), 1, lost.publish_id)
        shop.store.delete(key)

        assert find(shop.store, shop.surface, "live").generation == 2
        for target in ("previous", "1", str(on(1))):
            with pytest.raises(StorageError, match=f"{lost.publish_id}.json is missing"):
                find(shop.store, shop.surface, target)


class TestPrevious:
    """An undo that never goes forward again."""

    def test_there_is_none_before_the_second_version(self, shop: Shop) -> None:
        shop.day(on(1), 1)
        pin(shop.store, shop.surface, WHY)

        with pytest.raises(InputError, match="no earlier publication with other versions"):
            previous(shop)

    @pytest.mark.parametrize(
        "step",
        [
            lambda shop: pin(shop.store, shop.surface, WHY),
            lambda shop: (
                pin(shop.store, shop.surface, WHY),
                release(shop.store, shop.surface, WHY),
            ),
            lambda shop: (
                shop.stage(on(1), 9),
                shop.stage(on(1), 1),
                shop.time.passes(days=9),
                retain(shop.store, shop.surface, RETAIN, WHY, clock=shop.time),
            ),
        ],
        ids=["pin", "pin and release", "retention"],
    )
    def test_flips_that_change_no_version_are_looked_through(
        self, shop: Shop, step: Callable[[Shop], object]
    ) -> None:
        shop.day(on(1), 1)
        shop.day(on(2), 2)
        step(shop)

        assert shop.generation > 2
        assert previous(shop) == 1

    def test_rollbacks_in_a_row_go_ever_further_back(self, shop: Shop) -> None:
        for number in (1, 2, 3, 4):
            shop.day(on(number), number)

        targets = [shop.rollback("previous").restored["cooc"] for _ in range(3)]

        assert targets == [3, 2, 1]
        with pytest.raises(InputError, match="no earlier publication"):
            previous(shop)

    def test_flips_between_rollbacks_do_not_bring_back_what_was_left_behind(
        self, shop: Shop
    ) -> None:
        for number in (1, 2, 3):
            shop.day(on(number), number)
        shop.rollback("previous", pin=True)
        pin(shop.store, shop.surface, WHY)
        release(shop.store, shop.surface.model_copy(update={"segment": "of nobody"}), WHY)

        assert previous(shop) == 1

    def test_a_publish_after_a_rollback_is_undone_to_what_was_rolled_back_to(
        self, shop: Shop
    ) -> None:
        for number in (1, 2, 3):
            shop.day(on(number), number)
        shop.rollback("1")
        shop.day(on(3), 5)

        assert previous(shop) == 4
        shop.rollback("previous")
        with pytest.raises(InputError, match="no earlier publication"):
            previous(shop)

    def test_a_generation_rolls_forward_again_and_previous_goes_on_from_there(
        self, shop: Shop
    ) -> None:
        for number in (1, 2, 3):
            shop.day(on(number), number)
        shop.rollback("1")
        shop.rollback("3")

        assert previous(shop) == 2

    def test_of_one_kind_only_that_kind_counts(self, shop: Shop) -> None:
        shop.day(on(1), 1)
        both = shop.stage(on(2), 2)
        shop.publish(on(2), both)
        shop.publish(on(2), both | shop.stage(on(2), 3, kinds=["popularity"]))

        assert previous(shop) == 2
        assert previous(shop, kind="popularity") == 2
        assert previous(shop, kind="cooc") == 1

    def test_of_one_kind_it_is_an_undo_too(self, shop: Shop) -> None:
        for number in (1, 2, 3):
            shop.day(on(number), number)

        targets = [shop.rollback("previous", kind="cooc").restored for _ in range(2)]

        assert targets == [{"cooc": 2}, {"cooc": 1}]
        with pytest.raises(InputError, match="no earlier publication"):
            previous(shop, kind="cooc")
        assert previous(shop, kind="popularity") == 2

    def test_the_whole_goes_not_back_to_the_kind_that_was_rolled_back(self, shop: Shop) -> None:
        """The cooc of 3 was bad; that the rest of 3 is bad too must not make it live again."""
        for number in (1, 2, 3):
            shop.day(on(number), number)
        bad = shop.live.current["cooc"]
        shop.rollback("previous", kind="cooc")

        assert previous(shop) == 2
        shop.rollback("previous")
        assert bad not in shop.live.current.values()

    def test_one_kind_goes_back_from_where_the_whole_was_rolled_back_to(self, shop: Shop) -> None:
        for number in (1, 2, 3):
            shop.day(on(number), number)
        shop.rollback("previous")

        assert previous(shop, kind="cooc") == 1

    def test_a_kind_that_is_no_longer_built_is_a_difference(self, shop: Shop) -> None:
        current = shop.day(on(1), 1)
        shop.publish(on(1), {"popularity": current["popularity"]})

        assert previous(shop) == 1

    @given(st.lists(st.tuples(st.sampled_from(["publish", "rollback", "pin"]), CHOICES, KINDS_OF)))
    def test_it_agrees_with_following_each_kind_to_where_it_came_from(
        self, steps: list[tuple[str, int, list[str]]]
    ) -> None:
        """The oracle: a kind of a generation came from where it was rolled back to, or the last.

        Versions are few, so that the same one becomes live again by a publish too.
        """
        store = Memory()
        surface = Shop(Path("/nowhere")).surface
        chain: list[Change] = []
        came_from: list[dict[str, set[int]]] = [{kind: set() for kind in KINDS}]
        for action, choice, kinds in [("publish", 9, KINDS), *steps]:
            live = chain[-1].current if chain else {}
            restored: dict[str, int] = {}
            if action == "publish":
                current = {"popularity": f"mem:{choice % 4}", "cooc": f"mem:{choice % 3}"}
            elif action == "rollback":
                target = choice % len(chain) + 1
                restored = dict.fromkeys(kinds, target)
                current = {**live, **{k: chain[target - 1].current[k] for k in kinds}}
            else:
                current = {**live}
            change = Change("publish", Window(on(1), on(2)), current, restored=restored)
            flip(store, Place("demo", "home"), decide=lambda _, c=change: c, why=WHY)  # type: ignore[misc]
            chain.append(change)
            came_from.append(
                {k: came_from[restored.get(k, len(chain) - 1)][k] | {len(chain)} for k in KINDS}
            )

            for asked in ([], ["popularity"], ["cooc"]):
                of = asked or KINDS
                earlier = set.intersection(*(came_from[-1][k] for k in of))
                expected = [
                    generation
                    for generation in sorted(earlier, reverse=True)
                    if any(chain[generation - 1].current[k] != current[k] for k in of)
                ]
                try:
                    found = [find(store, surface, "previous", kinds=asked).generation]
                except InputError:
                    found = []
                assert found == expected[:1]


class TestLiveAt:
    """What was live at a time."""

    def test_it_is_the_flip_before(self, shop: Shop) -> None:
        first = shop.time.now
        shop.day(on(1), 1)
        second = shop.time.passes(hours=5)
        shop.day(on(2), 2)

        def at(moment: datetime) -> int:
            return live_at(shop.store, shop.surface, moment).generation

        tick = timedelta(microseconds=1)
        assert [at(first), at(second - tick), at(second), at(second + timedelta(days=9))] == [
            1, 1, 2, 2,
        ]  # fmt: skip
        with pytest.raises(InputError) as caught:
            at(first - tick)
        assert str(caught.value) == (
            "nothing of demo/home was live at 2020-01-10T01:59:59Z; the first publication is of "
            "2020-01-10T02:00:00.000000Z"
        )

    def test_offsets_are_understood(self, shop: Shop) -> None:
        shop.day(on(1), 1)

        assert live_at(
            shop.store, shop.surface, datetime.fromisoformat("2020-01-10T03:00:00+01:00")
        )
        with pytest.raises(InputError, match="was live at 2020-01-10T01:59:00Z"):
            live_at(shop.store, shop.surface, datetime.fromisoformat("2020-01-10T02:59:00+01:00"))

    def test_after_a_clock_was_set_back_the_newest_flip_of_that_time_counts(
        self, shop: Shop
    ) -> None:
        shop.day(on(1), 1)
        shop.time.passes(hours=-3)
        shop.day(on(2), 2)
        shop.time.passes(hours=6)
        shop.day(on(3), 3)

        def at(hours: int) -> int:
            moment = START + timedelta(hours=hours)
            return live_at(shop.store, shop.surface, moment).generation

        assert [at(-3), at(-1), at(0), at(2), at(3)] == [2, 2, 2, 2, 3]
        with pytest.raises(InputError, match="first publication is of 2020-01-10T02:00"):
            at(-4)

    def test_before_the_first_publish_nothing_was(self, shop: Shop) -> None:
        with pytest.raises(InputError, match="nothing is live for demo/home yet"):
            live_at(shop.store, shop.surface, datetime.now(UTC))


class TestPublications:
    """The list of flips."""

    def test_the_newest_come_first_and_no_more_than_asked_for(self, shop: Shop) -> None:
        assert publications(shop.store, shop.surface, limit=3) == []
        for number in (1, 2, 3):
            shop.day(on(number), number)

        def generations(limit: int) -> list[int]:
            return [p.generation for p in publications(shop.store, shop.surface, limit=limit)]

        assert generations(2) == [3, 2]
        assert generations(3) == generations(9) == [3, 2, 1]

    def test_what_is_beyond_the_limit_is_not_read(self, shop: Shop) -> None:
        for number in (1, 2, 3):
            shop.day(on(number), number)
        (lost,) = publications(shop.store, shop.surface, limit=3)[2:]
        shop.store.delete(layout.publication(Place("demo", "home"), 1, lost.publish_id))

        assert [p.generation for p in publications(shop.store, shop.surface, limit=2)] == [3, 2]
        with pytest.raises(StorageError, match="is missing"):
            publications(shop.store, shop.surface, limit=3)

    def test_what_is_live_is_returned_with_its_record(self, shop: Shop) -> None:
        shop.day(on(1), 1)

        live, newest = recorded_live(shop.store, shop.surface)

        assert live.publication == newest
        assert (newest.action, newest.reason, newest.who) == ("publish", WHY.reason, WHY.who)


def publish_as_another_producer(shop: Shop) -> None:
    current = shop.stage(on(1), 1)
    manifest = {"v": 1, "current": current, "updated_at": "2020-01-09T00:00:00Z"}
    shop.store.replace(layout.manifest(Place("demo", "home")), json.dumps(manifest).encode())


class TestSince:
    """Since when what is live is so, and is held."""

    def test_a_surface_that_is_not_pinned_has_no_pin(self, shop: Shop) -> None:
        shop.day(on(1), 1)
        pin(shop.store, shop.surface, WHY)
        release(shop.store, shop.surface, WHY)

        assert began_pin(shop.store, shop.live) is None

    def test_a_pin_begins_with_the_first_flip_of_an_unbroken_row(self, shop: Shop) -> None:
        """A rollback and retention keep a pin; a release ends it, and the next is another."""
        shop.day(on(0), 1)
        shop.day(on(1), 2)
        pin(shop.store, shop.surface, WHY)
        release(shop.store, shop.surface, WHY)
        pin(shop.store, shop.surface, Why("r", "nina", "INC-7"))
        shop.rollback("previous")

        pinned = began_pin(shop.store, shop.live)

        assert pinned is not None
        assert (pinned.generation, pinned.who, pinned.reason) == (5, "nina", "INC-7")

    @pytest.mark.parametrize("last", ["publish", "rollback"])
    def test_what_is_live_was_changed_by_the_last_publish_or_rollback(
        self, shop: Shop, last: str
    ) -> None:
        shop.day(on(0), 1)
        shop.day(on(1), 2)
        if last == "rollback":
            shop.rollback("previous")
        changed = shop.generation
        pin(shop.store, shop.surface, WHY)
        release(shop.store, shop.surface, WHY)

        publication = last_change(shop.store, shop.live)

        assert publication is not None
        assert (publication.generation, publication.action) == (changed, last)

    def test_an_older_record_that_is_damaged_only_shortens_the_answer(self, shop: Shop) -> None:
        shop.day(on(0), 1)
        pin(shop.store, shop.surface, WHY)
        (first,) = (shop.root / "registry/publications").rglob("*1-*.json")
        first.write_bytes(b"{")

        pinned, changed = began_pin(shop.store, shop.live), last_change(shop.store, shop.live)

        assert pinned is not None
        assert changed is not None
        assert (pinned.generation, changed.generation) == (2, 2)

    def test_another_producer_leaves_neither(self, shop: Shop) -> None:
        shop.day(on(0), 1)
        live = replace(shop.live, publication=None)

        assert began_pin(shop.store, live) is None
        assert last_change(shop.store, live) is None
