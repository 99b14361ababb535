"""Retention keeps what is named, what is young and what is not its own, also under publishes."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.config import Retention, Surface
from recsys_assets.errors import (
    CandidateOvertakenError,
    InputError,
    ManifestConflictError,
    RecsysAssetsError,
    StorageError,
    StoreUnavailableError,
)
from recsys_assets.live.verify import verify_surface
from recsys_assets.operations import retention
from recsys_assets.operations.pointer import pin, plan_rollback, release, roll_back
from recsys_assets.operations.retention import Plan, plan_retention, retain, retain_each, sweep
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.publications import Publication, history
from recsys_assets.storage.store import Store
from recsys_assets_tests.live.test_history import publish_as_another_producer
from recsys_assets_tests.needed import examples
from recsys_assets_tests.shop import (
    KINDS,
    START,
    WHY,
    Shop,
    Watched,
    on,
    time_of,
    verified,
)
from recsys_assets_tests.storage.conftest import CrashError

STRICT = Retention(publications=1, days=1, grace_hours=1)


def run(shop: Shop, keep: Retention = STRICT, *, store: Store | None = None) -> Plan:
    plan = retain(store or shop.store, shop.surface, keep, WHY, clock=shop.time)
    shop.stamp()
    return plan


def planned(shop: Shop, keep: Retention = STRICT) -> Plan:
    return plan_retention(shop.store, shop.surface, keep, now=shop.time())


def uris(shop: Shop, plan: Plan) -> set[str]:
    return {shop.store.uri(stored.key) for stored in plan.blobs}


def keys(*currents: dict[str, str], shop: Shop) -> set[str]:
    return {shop.store.key(uri) for current in currents for uri in current.values()}


def chain(shop: Shop) -> list[Publication]:
    return list(history(shop.store, shop.live)) if shop.generation else []


class TestWhatGoes:
    """The rules, one by one."""

    @pytest.fixture
    def old(self, shop: Shop) -> Shop:
        """Publish five days, long ago."""
        for number in range(5):
            shop.day(on(number - 2), number + 1)
        shop.time.passes(days=99)
        return shop

    @pytest.mark.parametrize("keep", [1, 2, 4, 5, 6])
    def test_the_newest_publications_keep_their_blobs(self, old: Shop, keep: int) -> None:
        currents = [publication.current for publication in chain(old)]

        run(old, STRICT.model_copy(update={"publications": keep}))

        there = {old.store.uri(key) for key in old.files("objectstore")}
        assert there == {uri for current in currents[:keep] for uri in current.values()}
        assert all(verified(old.store, current) for current in currents[:keep])

    def test_flips_that_change_no_version_do_not_count(self, old: Shop) -> None:
        nobody = old.surface.model_copy(update={"segment": "of nobody"})
        for _ in range(3):
            pin(old.store, old.surface, WHY)
            release(old.store, nobody, WHY)
        assert old.generation == 5 + 6
        old.time.passes(days=9)

        gone = planned(old, STRICT.model_copy(update={"publications": 2})).blobs

        assert {current_day(stored.key, old) for stored in gone} == {on(-2), on(-1), on(0)}

    def test_the_publications_of_the_last_days_keep_theirs(self, shop: Shop) -> None:
        for number in range(5):
            shop.day(on(number - 2), number + 1)
            shop.time.passes(days=1)

        # The five were published 5, 4, 3, 2 and 1 days ago; the second was live until 3 days ago.
        gone = planned(shop, STRICT.model_copy(update={"days": 3})).blobs

        assert {current_day(stored.key, shop) for stored in gone} == {on(-2)}

    @pytest.mark.parametrize("stamp", ["1970-01-01T00:00:00.000000Z", "soon", "2020-01-01"])
    def test_a_wrong_clock_widens_nothing(self, shop: Shop, stamp: str) -> None:
        """Fifty publications five hours apart; one says that it is of long ago, or of no time."""
        for number in range(50):
            shop.day(on(0), number + 1)
            shop.time.passes(hours=5)
        (path,) = (shop.root / "registry/publications/demo/home").glob("0000000046-*")
        path.write_text(re.sub(r'(?<="published_at": ")[^"]*', stamp, path.read_text()))

        plan = planned(shop, Retention(publications=3, days=30, grace_hours=1))

        assert not plan.blobs
        assert planned(shop, Retention(publications=3, days=1, grace_hours=1)).blobs

    def test_what_was_live_until_lately_stays_however_long_ago_it_was_published(
        self, shop: Shop
    ) -> None:
        """It is what a rollback goes back to."""
        before = shop.day(on(-2), 1)
        shop.time.passes(days=10)
        until_yesterday = shop.day(on(-1), 2)
        shop.time.passes(days=39)
        now = shop.day(on(0), 3)
        shop.time.passes(days=1)

        plan = run(shop, Retention(publications=1, days=30, grace_hours=1))

        assert uris(shop, plan) == set(before.values())
        assert verified(shop.store, until_yesterday)
        assert verified(shop.store, now)
        assert shop.rollback("previous").current == until_yesterday

    @pytest.mark.parametrize(("days", "kept"), [(29, 1), (30, 2), (31, 2)])
    def test_a_day_without_a_publish_does_not_shorten_what_is_kept(
        self, shop: Shop, days: int, kept: int
    ) -> None:
        """The last publication was 30 days ago, the one that it replaced 40."""
        for number in (0, 1, 2):
            shop.day(on(number), number + 1)
            shop.time.passes(days=10)
        shop.time.passes(days=20)

        plan = planned(shop, Retention(publications=1, days=days, grace_hours=1))

        assert len(plan.blobs) == (3 - kept) * len(KINDS)
        assert plan.kept_blobs == kept * len(KINDS)

    def test_what_was_written_within_the_grace_stays(self, shop: Shop) -> None:
        for number in (1, 2, 3):
            shop.stage(on(1), number)
            shop.time.passes(hours=10)
        shop.day(on(2), 9)

        def count(hours: int) -> int:
            return len(planned(shop, STRICT.model_copy(update={"grace_hours": hours})).blobs)

        assert [count(hours) for hours in (19, 20, 29, 30)] == [4, 2, 2, 0]

    @pytest.mark.parametrize(
        ("days", "staged", "rejected"),
        [(98, 4, 5), (99, 0, 5), (101, 0, 3), (103, 0, 1), (104, 0, 0)],
    )
    def test_staged_references_and_refused_lines_of_the_last_days_stay(
        self, old: Shop, days: int, staged: int, rejected: int
    ) -> None:
        """All were written 99 days ago, for the five days before."""
        for number in range(5):
            key = layout.rejected(Place("demo", "home"), on(number - 2))
            old.store.replace(key, b"refused")
            os.utime(old.store.location(key), (START.timestamp(),) * 2)

        plan = run(old, Retention(publications=1, days=days, grace_hours=1))

        assert len(plan.rejected) == rejected
        assert len(plan.staged) == staged * len(KINDS)
        assert len(old.files("rejected")) == 5 - rejected

    @pytest.mark.parametrize(("days", "window_days", "gone"), [(99, 1, 4), (99, 3, 2), (103, 1, 0)])
    def test_counts_stay_as_long_as_a_window_of_the_last_days_holds_their_day(
        self, old: Shop, days: int, window_days: int, gone: int
    ) -> None:
        """All were written 99 days ago, for the five days before."""
        for number in range(5):
            key = layout.counts(Place("demo", "home"), on(number - 2), "f" * 64, "items")
            old.store.replace(key, b"counts")
            os.utime(old.store.location(key), (START.timestamp(),) * 2)
        old.window_days = window_days

        plan = run(old, Retention(publications=1, days=days, grace_hours=1))

        assert len(plan.counts) == gone
        assert len(old.files("counts")) == 5 - gone

    def test_counts_that_were_written_lately_stay(self, old: Shop) -> None:
        old.store.replace(
            layout.counts(Place("demo", "home"), on(-2), "f" * 64, "items"), b"counts"
        )

        assert not run(old, Retention(publications=1, days=99, grace_hours=1)).counts

    @pytest.mark.parametrize(("days", "gone"), [(99, 5), (101, 3), (104, 0)])
    def test_profiles_stay_as_long_as_a_day_of_the_last_days_is_judged_by_them(
        self, old: Shop, days: int, gone: int
    ) -> None:
        """All were written 99 days ago, for five days of which the oldest is 56 days before."""
        for number in range(5):
            first = on(-2) - timedelta(days=old.surface.gates.history_days)
            day = first + timedelta(days=number)
            key = layout.profile(Place("demo", "home"), day, "f" * 64, 1)
            old.store.replace(key, b"a profile")
            os.utime(old.store.location(key), (START.timestamp(),) * 2)

        plan = run(old, Retention(publications=1, days=days, grace_hours=1))

        assert len(plan.profiles) == gone
        assert len(old.files("profiles")) == 5 - gone

    def test_a_staged_reference_that_was_written_lately_stays_with_its_blob(
        self, old: Shop
    ) -> None:
        """A backfill of old days is on the way."""
        current = old.stage(on(-2), 77)
        old.time.passes(hours=12)

        plan = run(old)

        assert not uris(old, plan) & set(current.values())
        assert verified(old.store, current)
        assert str(on(-2)) in "".join(old.files("staged"))

    def test_a_staged_reference_goes_with_its_blob_and_not_before(self, old: Shop) -> None:
        plan = run(old)

        assert {Path(stored.key).stem for stored in plan.staged} == {
            str(on(number)) for number in (-2, -1, 0, 1)
        }
        assert {Path(key).stem for key in old.files("staged")} == {str(on(2))}
        assert verify_surface(
            old.store, old.surface, last=9, grace=timedelta(0), now=old.time()
        ).findings == []  # fmt: skip

    def test_records_canonical_events_and_other_surfaces_are_left_alone(self, old: Shop) -> None:
        others = [Shop(old.root, old.time, name=name) for name in ("home2", "hom", "checkout")]
        old.time.passes(days=-99)
        for other in others:
            other.day(on(1), 1)
            other.stage(on(2), 1)
            other.stage(on(2), 2)
            other.store.replace(layout.rejected(other.place, on(-2)), b"refused")
            other.stamp()
        old.store.replace(layout.canonical(Place("demo", "home"), on(-2)), b"events")
        old.store.replace("objectstore/elsewhere", b"a file of somebody")
        old.stamp()
        old.time.passes(days=99)
        before = old.files()

        plan = run(old)

        gone = {stored.key for stored in plan.going}
        assert len(plan.blobs) == 8
        left = old.files()
        assert before.keys() - left.keys() == gone
        assert all("/demo/home/" in key for key in gone)
        assert all(key.startswith("registry/") for key in left.keys() - before.keys())
        assert {k: v for k, v in left.items() if k in before and "current" not in k} == {
            k: v for k, v in before.items() if k not in gone and "current" not in k
        }

    def test_a_dry_run_changes_nothing_and_says_what_would_go(self, old: Shop) -> None:
        before = old.files()

        plan = planned(old)

        assert old.files() == before
        assert (len(plan.blobs), len(plan.staged), plan.kept_blobs) == (8, 8, 2)
        assert plan.size_bytes == sum(
            len(before[stored.key]) for stored in (*plan.blobs, *plan.staged)
        )
        assert not plan.is_empty
        assert run(old) == plan

    def test_a_second_run_has_nothing_to_do_and_flips_nothing(self, old: Shop) -> None:
        run(old)
        before = old.files()

        assert run(old).is_empty
        assert old.files() == before

    def test_what_is_being_deleted_is_on_the_record_while_it_is(self, old: Shop) -> None:
        plan = run(old)

        end, fence, last, *_ = chain(old)
        assert [end.action, fence.action, last.action] == ["retention", "retention", "publish"]
        assert (set(fence.retiring), end.retiring) == (uris(old, plan), ())
        assert (end.who, end.reason) == (WHY.who, WHY.reason)
        assert {(each.window, *each.current.items()) for each in (end, fence, last)} == {
            (last.window, *last.current.items())
        }

    def test_a_pin_outlives_it(self, old: Shop) -> None:
        pin(old.store, old.surface, WHY)
        run(old)

        assert old.newest.pinned
        assert old.publish(on(9), old.stage(on(9), 9))[0] == "pinned"

    def test_the_temporary_files_of_killed_processes_are_found(self, old: Shop) -> None:
        scratch = old.root / ".scratch/somebody"
        scratch.mkdir(parents=True)
        (scratch / "half").write_bytes(b"x")
        moment = old.time() - timedelta(hours=2)
        os.utime(scratch / "half", (moment.timestamp(),) * 2)

        def found(hours: int) -> list[str]:
            keep = STRICT.model_copy(update={"grace_hours": hours})
            return [stored.key for stored in sweep(old.store, keep, dry_run=True, now=old.time())]

        assert (found(1), found(2)) == ([".scratch/somebody/half"], [])
        assert (scratch / "half").exists()


class Watching:
    """Remembers which surfaces are watched, and what happens in which order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.told.append(f"{name} begins")
        try:
            yield
        finally:
            self.told.append(f"{name} ends")


class TestSurfaceBySurface:
    """`retain_each`: a surface that cannot be judged holds back no other."""

    @pytest.fixture
    def three(self, shop: Shop) -> list[Shop]:
        """Publish two days of three surfaces, long ago; the second cannot be judged."""
        shops = [Shop(shop.root, shop.time, name=name) for name in ("one", "two", "three")]
        for each in shops:
            each.day(on(1), 1)
            each.day(on(2), 2)
        key = layout.staged(shops[1].place, "default", "cooc", on(1))
        shop.store.replace(key, b"{")
        shop.time.passes(days=99)
        return shops

    def retained(
        self, three: list[Shop], *, dry_run: bool, watch: Watching
    ) -> Iterator[tuple[Surface, Plan | RecsysAssetsError]]:
        return retain_each(
            three[0].store,
            [each.surface for each in three],
            STRICT,
            WHY,
            dry_run=dry_run,
            watch=watch,
            clock=three[0].time,
        )

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_it_goes_on_after_one_that_cannot_be_judged_and_says_why(
        self, three: list[Shop], dry_run: bool
    ) -> None:
        (_, one), (broken, two), (_, last) = found = list(
            self.retained(three, dry_run=dry_run, watch=Watching())
        )

        assert [surface.name for surface, _ in found] == ["demo/one", "demo/two", "demo/three"]
        assert isinstance(one, Plan)
        assert isinstance(last, Plan)
        assert len(one.blobs) == len(last.blobs) == 2
        assert broken == three[1].surface
        assert isinstance(two, StorageError)
        assert "default/cooc/2020-01-08.json is damaged" in str(two)
        left = [len(each.files(f"objectstore/demo/{each.name}/")) for each in three]
        assert left == ([4, 4, 4] if dry_run else [2, 4, 2])

    def test_each_is_watched_by_its_name_while_it_is_worked_on_and_told_at_once(
        self, three: list[Shop]
    ) -> None:
        watch = Watching()

        for surface, _ in self.retained(three, dry_run=False, watch=watch):
            watch.told.append(f"{surface.name} told")

        assert watch.told == [
            f"demo/{name} {what}"
            for name in ("one", "two", "three")
            for what in ("begins", "ends", "told")
        ]

    def test_a_store_that_does_not_answer_ends_it(
        self, three: list[Shop], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would be the same for each of the others."""

        def silent(*_: object) -> None:
            raise StoreUnavailableError("no answer came in time")

        monkeypatch.setattr(retention, "read_live", silent)

        with pytest.raises(StoreUnavailableError):
            list(self.retained(three, dry_run=True, watch=Watching()))


class TestWhereNothingMayGo:
    """Surfaces that it cannot judge."""

    def test_before_the_first_publish_no_blob_goes(self, shop: Shop) -> None:
        shop.stage(on(1), 1)
        shop.stage(on(1), 2)
        shop.time.passes(days=99)

        plan = run(shop)

        assert (plan.blobs, plan.kept_blobs) == ([], 4)
        assert len(shop.files("objectstore")) == 4

    def test_under_another_producers_manifest_no_blob_goes(self, shop: Shop) -> None:
        publish_as_another_producer(shop)
        shop.stage(on(1), 2)
        shop.stamp()
        shop.time.passes(days=99)
        manifest = shop.files("registry/current")

        assert not run(shop).blobs
        assert shop.files("registry/current") == manifest
        assert len(shop.files("objectstore")) == 4

    @pytest.mark.parametrize("data", [b"{", b"{}", b"", b"\xff"])
    def test_a_damaged_staged_reference_stops_it(self, shop: Shop, data: bytes) -> None:
        shop.day(on(1), 1)
        shop.day(on(2), 2)
        key = layout.staged(Place("demo", "home"), "default", "cooc", on(1))
        shop.store.replace(key, data)
        shop.time.passes(days=99)
        before = shop.files()

        with pytest.raises(StorageError, match=f"{key} is damaged .* Nothing was deleted"):
            run(shop)
        assert shop.files() == before

    def test_a_lost_record_stops_it(self, shop: Shop) -> None:
        shop.day(on(1), 1)
        lost = layout.publication(Place("demo", "home"), 1, shop.newest.publish_id)
        shop.day(on(2), 2)
        shop.store.delete(lost)
        shop.time.passes(days=99)
        before = shop.files()

        with pytest.raises(StorageError, match="is missing, though the manifest's history"):
            run(shop)
        assert shop.files() == before


class TestAnySequence:
    """A model: whatever was done before, what must be there is there and verifies."""

    @settings(max_examples=examples(15))
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    ["day", "day", "rerun", "orphan", "rollback", "one kind", "pin", "retain"]
                ),
                st.integers(1, 4),
                st.integers(0, 40),
            ),
            max_size=14,
        )
    )
    def test_everything_that_is_to_be_kept_verifies(
        self, steps: list[tuple[str, int, int]]
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            shop = Shop(Path(folder) / "root")
            with time_of(shop.time):
                other = Shop(shop.root, shop.time, name="other")
                other.day(on(0), 1)
                other.stage(on(0), 2)
                of = 0
                shop.day(on(of), 0)
                for number, (step, size, hours) in enumerate([*steps, ("retain", 1, 99)], 1):
                    shop.time.passes(hours=hours)
                    if step == "day":
                        of += 1
                        shop.publish(on(of), shop.stage(on(of), number))
                    elif step == "rerun":
                        shop.publish(on(of), shop.stage(on(of), number))
                    elif step == "orphan":
                        shop.stage(on(of), number)
                    elif step == "pin":
                        pin(shop.store, shop.surface, WHY)
                    elif step == "retain":
                        self.retain(
                            shop,
                            other,
                            Retention(
                                publications=size, days=1 + hours // 9, grace_hours=1 + hours // 4
                            ),
                        )
                    else:
                        self.roll_back(shop, to=size, kind="cooc" if step == "one kind" else None)
                    shop.stamp()

    def roll_back(self, shop: Shop, *, to: int, kind: str | None) -> None:
        generation = max(1, shop.generation - to)
        try:
            plan = plan_rollback(shop.store, shop.surface, to=str(generation), kind=kind)
        except StorageError:  # retention was there first
            return
        roll_back(shop.store, plan, WHY)

    def retain(self, shop: Shop, other: Shop, keep: Retention) -> None:
        now, before = shop.time(), shop.files()
        modified = {key: (shop.root / key).stat().st_mtime for key in before}
        kept = {uri for current in self.kept(shop, keep, now) for uri in current.values()}
        there = {uri for uri in kept if shop.store.key(uri) in before}

        run(shop, keep)

        after = shop.files()
        assert verified(shop.store, shop.live.current)
        assert verified(shop.store, {uri: uri for uri in there})
        for key in before.keys() - after.keys():
            assert key.startswith(("objectstore/demo/home/", "staged/demo/home/"))
            assert modified[key] < (now - timedelta(hours=keep.grace_hours)).timestamp()
        unnamed = {shop.store.uri(key) for key in after if key.startswith("objectstore/demo/home/")}
        for uri in unnamed - kept - self.staged(shop):
            young = (now - timedelta(hours=keep.grace_hours)).timestamp()
            assert modified[shop.store.key(uri)] >= young
        for key in before:
            if not key.startswith(
                ("objectstore/demo/home", "staged/demo/home", "registry/current")
            ):
                assert after[key] == before[key]
        assert other.newest.generation == 1
        assert verified(other.store, other.live.current)

    def kept(self, shop: Shop, keep: Retention, now: datetime) -> Iterator[dict[str, str]]:
        """Say anew, in other words than the code, whose blobs are to be kept."""
        newest_first = chain(shop)
        distinct: list[dict[str, str]] = []
        for publication in newest_first:
            if not distinct or distinct[-1] != publication.current:
                distinct.append(dict(publication.current))
        yield from distinct[: keep.publications]
        live_until = now
        for publication in newest_first:
            if now - live_until <= timedelta(days=keep.days):
                yield dict(publication.current)
            live_until = datetime.fromisoformat(publication.published_at)

    def staged(self, shop: Shop) -> set[str]:
        text = "".join(data.decode() for data in shop.files("staged/demo/home").values())
        return {uri for uri in text.split('"') if uri.startswith("file://")}


MOMENTS = ["before", "at the fence", "fenced", "half way", "all deleted", "at the end", "after"]


@dataclass
class Race:
    """A retention with something going on at each moment of it.

    `doomed` was gathered by a publish whose day was then staged anew, so that nothing names it.
    """

    shop: Shop
    doomed: dict[str, str]
    fine: dict[str, str]

    def retain(self, do: Callable[[str], None]) -> Plan:
        """Run retention, and `do` something at each moment."""
        came: set[str] = set()

        def once(moment: str) -> None:
            if moment not in came:
                came.add(moment)
                do(moment)

        def call(what: str, key: str) -> None:
            if what == "before flip":
                once("all deleted" if self.fenced else "at the fence")
            elif what == "after flip":
                once("fenced" if self.fenced else "at the end")
            elif what == "after delete" and "objectstore" in key:
                once("half way")

        do("before")
        two = STRICT.model_copy(update={"publications": 2})
        plan = run(self.shop, two, store=Watched(self.shop.store, call))
        do("after")
        return plan

    @property
    def fenced(self) -> bool:
        return bool(self.shop.newest.retiring)


@pytest.fixture
def race(shop: Shop) -> Race:
    shop.day(on(1), 1)
    doomed = shop.stage(on(2), 2)
    shop.time.passes(days=99)
    fine = shop.stage(on(2), 3)
    return Race(shop, doomed, fine)


class TestRaces:
    """A publish that runs at the same time: it succeeds as a whole, or is refused as a whole."""

    @pytest.mark.parametrize(
        ("gathered", "published"),
        [
            (gathered, published)
            for number, gathered in enumerate(MOMENTS[:5])
            for published in MOMENTS[max(2, number) :]
        ],
    )
    def test_a_publish_of_what_goes_is_refused_at_every_moment(
        self, race: Race, gathered: str, published: str
    ) -> None:
        shop, seen, refused = race.shop, [-1], [False]

        def do(moment: str) -> None:
            if moment == gathered:
                seen[0] = shop.generation
            if moment == published:
                before = shop.live
                with pytest.raises(CandidateOvertakenError):
                    shop.publish(on(2), race.doomed, seen=seen[0])
                refused[0] = True
                assert shop.live == before

        plan = race.retain(do)

        assert refused[0]
        assert uris(shop, plan) == set(race.doomed.values())
        assert verified(shop.store, shop.live.current)
        assert chain(shop)[0].retiring == ()

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_a_publish_of_other_blobs_succeeds_at_every_moment(
        self, race: Race, moment: str
    ) -> None:
        shop = race.shop
        seen = shop.generation

        def do(now: str) -> None:
            if now == moment:
                assert shop.publish(on(2), race.fine, seen=seen)[0] == "published"

        plan = race.retain(do)

        assert shop.live.current == race.fine
        assert uris(shop, plan) == set(race.doomed.values())
        assert not set(shop.files("objectstore")) & keys(race.doomed, shop=shop)
        assert verified(shop.store, race.fine)
        assert shop.newest.retiring == ()

    @pytest.mark.parametrize("moment", ["before", "at the fence"])
    def test_what_is_published_before_the_fence_stays(self, race: Race, moment: str) -> None:
        """Retention plans again, with what is live now."""
        shop = race.shop
        seen = shop.generation

        def do(now: str) -> None:
            if now == moment:
                assert shop.publish(on(2), race.doomed, seen=seen)[0] == "published"

        plan = race.retain(do)

        assert shop.live.current == race.doomed
        assert plan.blobs == []
        assert verified(shop.store, race.doomed)
        assert shop.newest.action == "publish"

    def test_a_rollback_to_what_goes_is_refused_at_every_moment(self, race: Race) -> None:
        shop = race.shop
        shop.publish(on(2), race.doomed)
        shop.publish(on(3), shop.stage(on(3), 4))
        shop.time.passes(days=99)
        plan = plan_rollback(shop.store, shop.surface, to="1")
        refused: list[str] = []

        def do(moment: str) -> None:
            if moment in MOMENTS[2:]:
                with pytest.raises(ManifestConflictError, match=r"found generation [45]"):
                    roll_back(shop.store, plan, WHY)
            if moment == "fenced":
                again = plan_rollback(shop.store, shop.surface, to="1")
                with pytest.raises(CandidateOvertakenError, match="retention is deleting"):
                    roll_back(shop.store, again, WHY)
            if moment in MOMENTS[3:]:
                with pytest.raises(StorageError, match="is missing"):
                    plan_rollback(shop.store, shop.surface, to="1")
            refused.append(moment)

        race.retain(do)

        assert refused == MOMENTS
        assert verified(shop.store, shop.live.current)

    def test_a_pin_in_the_middle_outlives_it_and_keeps_the_fence(self, race: Race) -> None:
        shop = race.shop

        def do(moment: str) -> None:
            if moment == "half way":
                pin(shop.store, shop.surface, WHY)
                assert race.fenced

        race.retain(do)

        assert shop.newest.pinned
        assert not race.fenced
        assert [each.action for each in chain(shop)] == ["retention", "pin", "retention", "publish"]

    def test_when_others_keep_flipping_it_gives_up_and_nothing_is_deleted(self, race: Race) -> None:
        """Also not the rest of what was planned: the plan was of another state of things."""
        shop, attempts = race.shop, [0]
        shop.stage(on(0), 9)
        shop.store.replace(layout.rejected(Place("demo", "home"), on(0)), b"refused")
        shop.stamp()
        shop.time.passes(days=99)
        plan = planned(shop)
        assert {Path(stored.key).stem for stored in plan.staged} == {str(on(0)), str(on(2))}
        assert len(plan.rejected) == 1
        assert uris(shop, plan) > set(race.doomed.values())
        before = shop.files("staged", "rejected", "objectstore").keys()

        def call(what: str, _: str) -> None:
            if what == "before flip":
                attempts[0] += 1
                shop.publish(on(2), shop.stage(on(2), shop.generation + 10))

        with pytest.raises(ManifestConflictError):
            run(shop, store=Watched(shop.store, call))

        assert attempts == [5]
        assert before <= shop.files().keys()
        assert not race.fenced

    def test_when_somebody_flips_once_it_plans_anew_and_deletes(self, race: Race) -> None:
        shop, plan = race.shop, planned(race.shop)

        def do(moment: str) -> None:
            if moment == "at the fence":
                pin(shop.store, shop.surface, WHY)

        done = race.retain(do)

        assert (done.seen, done.blobs) == (plan.seen + 1, plan.blobs)
        assert not keys(race.doomed, shop=shop) & shop.files("objectstore").keys()


class TestKilled:
    """A retention that does not come to its end."""

    def kill(self, race: Race, *, after: int = 1) -> None:
        """Kill it once it has deleted a number of blobs."""
        deleted = [0]

        def call(what: str, key: str) -> None:
            deleted[0] += what == "after delete" and "objectstore" in key
            if deleted[0] == after:
                raise CrashError

        with pytest.raises(CrashError):
            run(race.shop, store=Watched(race.shop.store, call))
        race.shop.stamp()

    @pytest.mark.parametrize("minutes", [0, 119])
    def test_another_is_refused_within_two_hours_and_says_when(
        self, race: Race, minutes: int
    ) -> None:
        self.kill(race)
        race.shop.time.passes(minutes=minutes)
        before = race.shop.files()

        for act in (planned, run):
            with pytest.raises(InputError) as caught:
                act(race.shop)
            assert str(caught.value) == (
                "retention of demo/home is running since 2020-04-18T02:00:00.000000Z (somebody). "
                "If it was killed, run it again after 04:00 UTC: it finishes what was begun"
            )
        assert race.shop.files() == before

    def test_another_finishes_it_after_two_hours(self, race: Race) -> None:
        self.kill(race)
        assert len(keys(race.doomed, shop=race.shop) & set(race.shop.files("objectstore"))) == 1
        race.shop.time.passes(hours=2)

        plan = run(race.shop)

        assert len(plan.blobs) == 1
        assert not keys(race.doomed, shop=race.shop) & set(race.shop.files("objectstore"))
        assert not race.fenced
        assert verified(race.shop.store, race.shop.live.current)

    def test_another_lifts_the_fence_also_when_nothing_is_left_to_delete(self, race: Race) -> None:
        """Else those versions could not be published any more, and nothing would ever change it."""
        shop = race.shop
        self.kill(race, after=len(race.doomed))
        assert not keys(race.doomed, shop=shop) & shop.files("objectstore").keys()
        assert race.fenced
        shop.time.passes(hours=2)
        with pytest.raises(CandidateOvertakenError, match="retention is deleting"):
            shop.publish(on(2), race.doomed)

        plan = run(shop)

        assert (plan.is_empty, plan.unfinished) == (True, 2)
        assert shop.newest.retiring == ()
        assert shop.stage(on(2), 2) == race.doomed
        assert shop.publish(on(2), race.doomed)[0] == "published"
        assert verified(shop.store, shop.live.current)
        assert [each.action for each in chain(shop)] == [
            "publish", "retention", "retention", "publish",
        ]  # fmt: skip

    def test_a_dry_run_lifts_no_fence(self, race: Race) -> None:
        self.kill(race, after=len(race.doomed))
        race.shop.time.passes(hours=2)
        before = race.shop.files()

        assert planned(race.shop).is_empty
        assert race.shop.files() == before

    def test_publishes_since_do_not_hide_that_it_was_begun(self, race: Race) -> None:
        self.kill(race)
        race.shop.time.passes(hours=1)
        race.shop.publish(on(2), race.fine)
        pin(race.shop.store, race.shop.surface, WHY)
        race.shop.time.passes(minutes=59)

        with pytest.raises(InputError, match="is running since 2020-04-18T02:00"):
            run(race.shop)
        race.shop.time.passes(minutes=1)
        run(race.shop)
        assert not race.fenced

    def test_the_one_that_finishes_it_is_not_joined_by_a_third(self, race: Race) -> None:
        """What counts is when the last one began."""
        self.kill(race)
        race.shop.time.passes(hours=2)
        asked: list[str] = []

        def call(what: str, _: str) -> None:
            if race.fenced and race.shop.generation > fenced:
                race.shop.time.passes(minutes=10)
                with pytest.raises(InputError, match="is running since 2020-04-18T04:00"):
                    run(race.shop)
                asked.append(what)

        fenced = race.shop.generation
        run(race.shop, store=Watched(race.shop.store, call))

        assert asked == ["after flip", "before delete", "after delete", "before flip"]
        assert not race.fenced

    @pytest.mark.parametrize("numbers", [(5, 6), (2, 3)], ids=["another list", "an equal list"])
    def test_one_that_was_asleep_does_not_lift_the_fence_of_the_next(
        self, race: Race, numbers: tuple[int, int]
    ) -> None:
        """Its list is no proof that a fence is its own: what was deleted may be made again."""
        shop, flips = race.shop, [0]

        def die(what: str, _: str) -> None:
            if what == "after flip":
                raise CrashError

        def fall_asleep_before_the_end(what: str, _: str) -> None:
            flips[0] += what == "before flip"
            if what == "before flip" and flips[0] == 2:
                for number in numbers:
                    shop.stage(on(2), number)
                shop.time.passes(hours=3)
                with pytest.raises(CrashError):
                    run(shop, store=Watched(shop.store, die))

        run(shop, store=Watched(shop.store, fall_asleep_before_the_end))

        fence, first, *_ = (each.retiring for each in chain(shop))
        assert fence
        assert {shop.store.key(uri) for uri in fence} <= set(shop.files("objectstore"))
        assert (set(fence) == set(first)) == (numbers == (2, 3))

    def test_one_that_takes_over_an_hour_stops_and_says_what_is_left(self, race: Race) -> None:
        def call(what: str, key: str) -> None:
            if what == "after delete" and "objectstore" in key:
                race.shop.time.passes(minutes=61)

        with pytest.raises(InputError, match="took over an hour; 1 blobs are left"):
            run(race.shop, store=Watched(race.shop.store, call))

        assert race.fenced
        race.shop.time.passes(hours=1)
        assert len(run(race.shop).blobs) == 1


def current_day(key: str, shop: Shop) -> date:
    """Return the day that a blob was made for."""
    data = (shop.root / key).read_text()
    return date.fromisoformat(data.partition('"start":"')[2][:10])
