"""What is live in one root becomes live in another: whole, once, and whatever gets in the way."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys_assets.config import Retention, Surface
from recsys_assets.errors import (
    CandidateOvertakenError,
    CorruptBlobError,
    InputError,
    ManifestConflictError,
    StorageError,
)
from recsys_assets.events.accepted import accepted_days, days_of_events
from recsys_assets.live.history import last_change
from recsys_assets.live.staged import held_back
from recsys_assets.live.tables import read_document
from recsys_assets.live.verify import verify_each
from recsys_assets.operations import retention
from recsys_assets.operations.pointer import pin, release
from recsys_assets.operations.promote import Promotion, plan_promotion, promote
from recsys_assets.operations.retention import retain
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.erasures import EraseKey, add_erased, read_erased
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Origin, Why, read_live
from recsys_assets.storage.registry import read_staged, version_of
from recsys_assets.storage.store import Store
from recsys_assets_tests.live.test_history import publish_as_another_producer
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import KINDS, WHY, Shop, Watched, make_day, on, publish_day, verified
from recsys_assets_tests.storage.conftest import CrashError, Crashing, Passing, new_prefix, use
from recsys_assets_tests.storage.servers import Server


@pytest.fixture
def target(shop: Shop, tmp_path: Path) -> Shop:
    """Publish three days in one root; give another one, which is empty."""
    for number in (1, 2, 3):
        shop.day(on(number), number)
        shop.time.passes(hours=1)
    return Shop(tmp_path / "target", shop.time)


def planned(shop: Shop, target: Shop, *, store: Store | None = None) -> Promotion:
    return plan_promotion(shop.store, store or target.store, shop.surface)


def run(
    shop: Shop, target: Shop, *, store: Store | None = None, force: bool = False, why: Why = WHY
) -> str:
    outcome, _ = promote(planned(shop, target, store=store), why, force=force)
    target.stamp()
    return outcome


def assert_is_whole(target: Shop, *, like: Shop, of: int) -> None:
    """What is live is what is live in the other root, below this one, and nothing is amiss."""
    live = target.live
    assert live.window == like.live.window
    assert live.current.keys() == like.live.current.keys()
    for kind, uri in live.current.items():
        assert target.store.key(uri) == like.store.key(like.live.current[kind])
        ref = read_staged(target.store, target.place, "default", kind, on(of))
        record = json.loads(
            (target.root / layout.record(target.place, kind, ref.version)).read_bytes()
        )
        assert ref.uri == record["uri"] == uri
        assert (
            ref.size_bytes
            == record["size_bytes"]
            == (target.root / target.store.key(uri)).stat().st_size
        )
    assert verified(target.store, live.current)
    (found,) = verify_each(target.store, [target.surface], last=10, grace_hours=0)
    assert found.findings == []
    assert held_back(target.store, target.surface, live) is None


def test_what_is_live_there_is_live_here_with_all_that_belongs_to_it(
    shop: Shop, target: Shop
) -> None:
    before = shop.files()

    plan = planned(shop, target)
    outcome, live = promote(plan, Why("run-9", "ada", "INC-9"))

    assert outcome == "published"
    assert_is_whole(target, like=shop, of=3)
    assert shop.files() == before
    newest = target.newest
    assert live.publication == newest
    assert (newest.generation, newest.parent, newest.action) == (1, None, "promote")
    assert newest.promoted_from == Origin(f"file://{shop.root}", 3, shop.newest.publish_id)
    assert (newest.who, newest.run_id) == ("ada", "run-9")
    assert newest.reason == f"INC-9 (promoted from file://{shop.root}, generation 3)"
    assert plan.new_blobs == list(KINDS)
    assert set(target.files("objectstore")) == {
        layout.blob(shop.place, kind, version_of(uri)) for kind, uri in shop.live.current.items()
    }


def test_the_next_generation_follows_and_what_is_live_already_is_left_alone(
    shop: Shop, target: Shop
) -> None:
    run(shop, target)
    shop.day(on(4), 4)
    assert run(shop, target) == "published"
    before = target.files()

    plan = planned(shop, target)
    outcome, _ = promote(plan, WHY)

    assert plan.is_empty
    assert outcome == "unchanged"
    assert target.files() == before
    assert target.generation == 2
    assert_is_whole(target, like=shop, of=4)


def test_it_is_rolled_back_there_and_promoted_again(shop: Shop, target: Shop) -> None:
    run(shop, target)
    shop.day(on(4), 4)
    run(shop, target)

    rolled_back = target.rollback("previous")

    assert rolled_back.window.last_day == on(3)
    assert rolled_back.promoted_from is None
    assert "promoted_from" not in rolled_back.to_json()
    assert verified(target.store, target.live.current)
    assert run(shop, target) == "published"
    assert_is_whole(target, like=shop, of=4)


def test_it_changed_what_is_live_and_overtakes_a_candidate_of_its_window(
    shop: Shop, target: Shop
) -> None:
    run(shop, target)
    shop.day(on(4), 4)
    current = target.stage(on(4), 77)
    run(shop, target)
    pin(target.store, target.surface, WHY)
    release(target.store, target.surface, WHY)

    changed = last_change(target.store, target.live)

    assert changed
    assert (changed.action, changed.generation) == ("promote", 2)
    with pytest.raises(CandidateOvertakenError, match="generation 2"):
        target.publish(on(4), current, seen=1)


def test_a_later_version_of_the_day_goes_too(shop: Shop, target: Shop) -> None:
    run(shop, target)
    shop.day(on(3), 33)

    run(shop, target)

    assert_is_whole(target, like=shop, of=3)


def test_kinds_of_two_days_go_as_they_are_live(shop: Shop, target: Shop) -> None:
    shop.rollback("2", kind="cooc")

    run(shop, target)

    assert target.live.window == shop.live.window
    for kind, of in {"popularity": 3, "cooc": 2}.items():
        ref = read_staged(target.store, target.place, "default", kind, on(of))
        assert ref.uri == target.live.current[kind]
    assert verified(target.store, target.live.current)


def test_what_is_staged_and_not_live_stays_behind(shop: Shop, target: Shop) -> None:
    """Else a release in the other root would publish what nobody let out here."""
    pin(shop.store, shop.surface, WHY)
    shop.stage(on(3), 33)
    shop.stage(on(4), 4)

    run(shop, target)

    assert_is_whole(target, like=shop, of=3)
    assert release(target.store, target.surface, WHY).next_day is None


class TestRefused:
    """What is not done, and says why; nothing is written then."""

    def refused(self, shop: Shop, target: Shop, *, force: bool = False, why: Why = WHY) -> str:
        before = target.files()
        with pytest.raises((InputError, StorageError)) as error:
            run(shop, target, force=force, why=why)
        assert target.files() == before
        return str(error.value)

    def test_a_later_window_is_live(self, shop: Shop, target: Shop) -> None:
        run(shop, target)
        target.day(on(4), 4)

        for force in (False, True):
            message = self.refused(shop, target, force=force)
            assert f"{on(4)} is live for demo/home below file://{target.root}" in message
            assert (
                f"`recsys-assets rollback demo/home` with RECSYS_ROOT=file://{target.root}"
                in message
            )

    def test_it_is_pinned(self, shop: Shop, target: Shop) -> None:
        run(shop, target)
        pin(target.store, target.surface, Why("r", "nina", "INC-7"))
        shop.day(on(4), 4)

        for force in (False, True):
            message = self.refused(shop, target, force=force)
            assert "demo/home is pinned below" in message
            assert (
                "(nina: INC-7). Nothing was changed. `recsys-assets release demo/home`" in message
            )

    def test_its_days_are_made_there(self, shop: Shop, target: Shop) -> None:
        target.day(on(1), 7)

        message = self.refused(shop, target)

        other = (
            f"generation 1 below file://{target.root} was made there (publish, {WHY.who}), not "
            f"promoted from file://{shop.root}"
        )
        assert f"{other}. Nothing was changed. --force promotes it" in message
        assert run(shop, target, force=True) == "published"
        assert target.newest.reason.endswith(f"(forced: {other})")
        assert target.newest.parent is not None
        assert target.rollback("1").window.last_day == on(1)

    def test_it_was_promoted_from_elsewhere(self, shop: Shop, target: Shop, tmp_path: Path) -> None:
        """A flip since that brought nothing, and a rollback, change nothing of that."""
        other = Shop(tmp_path / "other", shop.time)
        other.day(on(1), 8)
        other.day(on(2), 9)
        run(other, target)
        pin(target.store, target.surface, WHY)
        release(target.store, target.surface, WHY)

        message = self.refused(shop, target)

        assert f"was promoted from file://{other.root} (promote, " in message

    def test_another_producer_published_there(self, shop: Shop, target: Shop) -> None:
        publish_as_another_producer(target)

        assert "was published by another producer" in self.refused(shop, target)
        assert run(shop, target, force=True) == "published"

    def test_nobody_knows_what_another_producer_published_there(
        self, shop: Shop, target: Shop
    ) -> None:
        manifest = {"v": 1, "current": {"cooc": "gs://else/where.json"}, "updated_at": "?"}
        target.store.replace(layout.manifest(target.place), json.dumps(manifest).encode())

        assert "its window cannot be read" in self.refused(shop, target, force=True)

    def test_the_history_there_is_damaged(self, shop: Shop, target: Shop) -> None:
        run(shop, target)
        shop.day(on(4), 4)
        run(shop, target)
        target.store.delete(layout.manifest(target.place))

        assert "recsys-assets repair demo/home" in self.refused(shop, target, force=True)

    def test_nothing_is_live_here(self, shop: Shop, target: Shop) -> None:
        message = self.refused(target, shop)

        assert message == f"nothing is live for demo/home below file://{target.root}"

    def test_another_producer_published_here(self, target: Shop, tmp_path: Path) -> None:
        other = Shop(tmp_path / "other", target.time)
        publish_as_another_producer(other)

        assert "by another producer and has no record" in self.refused(other, target)

    def test_both_are_the_same_root(self, shop: Shop, target: Shop) -> None:
        assert "name two roots" in self.refused(shop, Shop(shop.root / "." / "x" / ".."))

    @pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"current": 5}'])
    def test_the_manifest_here_is_none(self, shop: Shop, target: Shop, damage: bytes) -> None:
        shop.store.replace(layout.manifest(shop.place), damage)

        assert "is not a manifest" in self.refused(shop, target)

    @pytest.mark.parametrize("damage", ["missing", "cut short"])
    def test_a_blob_here_is_damaged(self, shop: Shop, target: Shop, damage: str) -> None:
        blob = shop.root / shop.store.key(shop.live.current["cooc"])
        if damage == "missing":
            blob.unlink()
        else:
            blob.write_bytes(blob.read_bytes()[:-9])

        message = self.refused(shop, target)

        assert message.startswith("cannot promote generation 3 of demo/home: file://")
        assert str(blob) in message

    def test_a_document_is_too_large_for_its_readers(self, shop: Shop, target: Shop) -> None:
        """Its root may have been made with a higher limit."""
        limits = shop.surface.guardrails.model_copy(update={"max_artifact_bytes": 400})
        surface = shop.surface.model_copy(update={"guardrails": limits})

        with pytest.raises(StorageError, match=r"max_artifact_bytes is 400, found \d{3}"):
            plan_promotion(shop.store, target.store, surface)

    def test_no_reason_is_given(self, shop: Shop, target: Shop) -> None:
        assert "a reason is required" in self.refused(shop, target, why=Why("r", "w", " "))

    def test_it_lists_what_is_denied(self, shop: Shop, target: Shop, tmp_path: Path) -> None:
        path = tmp_path / "denied.txt"
        path.write_text("b\n")
        items = shop.surface.items.model_copy(update={"deny": str(path)})
        surface = shop.surface.model_copy(update={"items": items})
        plan = plan_promotion(shop.store, target.store, surface)

        with pytest.raises(InputError, match="will not promote demo/home: cooc lists b"):
            promote(plan, WHY)

        assert target.files() == {}
        assert plan.refused == f"cooc lists b: denied by {path}"
        assert promote(plan, WHY, force=True)[0] == "published"
        assert f"(forced: cooc lists b: denied by {path})" in target.newest.reason


@pytest.mark.parametrize("damage", [None, b"", b"{}", b'{"kind": "cooc"}', b"[]"])
def test_a_record_that_is_damaged_or_missing_is_told(
    shop: Shop, target: Shop, damage: bytes | None
) -> None:
    key = layout.record(shop.place, "cooc", version_of(shop.live.current["cooc"]))
    (shop.root / key).unlink()
    if damage is not None:
        (shop.root / key).write_bytes(damage)

    with pytest.raises(StorageError, match="Materialize cooc of its day again where it was made"):
        run(shop, target)

    assert target.generation == 0


def test_a_blob_that_is_damaged_there_is_told(shop: Shop, target: Shop) -> None:
    key = shop.store.key(shop.live.current["cooc"])
    target.store.put_new(key, (shop.root / key).read_bytes()[:-9])

    with pytest.raises(CorruptBlobError, match=str(target.root)):
        run(shop, target)

    assert target.generation == 0


class TestKilled:
    """Whatever was written by then: the old manifest is live, and the same command finishes it."""

    def test_before_and_after_each_write(self, shop: Shop, target: Shop) -> None:
        run(shop, target)
        old = target.live
        shop.day(on(4), 4)
        as_it_was = target.root.with_name("as it was")
        shutil.copytree(target.root, as_it_was)
        watched = Passing(target.store)
        run(shop, target, store=watched)
        writes = len(watched.writes)
        assert writes > 2 * len(KINDS)

        for number in range(writes):
            for after in (False, True):
                shutil.rmtree(target.root)
                shutil.copytree(as_it_was, target.root)
                store = Crashing(target.store, write=number, after=after)
                with pytest.raises(CrashError):
                    run(shop, target, store=store)

                if (number, after) != (writes - 1, True):  # the flip itself
                    assert target.live == old
                    assert verified(target.store, old.current)
                assert run(shop, target) in {"published", "unchanged"}
                assert_is_whole(target, like=shop, of=4)
                assert target.generation == 2


class Busy(Passing):
    """A store where somebody does something just before a write of a kind."""

    def __init__(self, inner: Store, write: str, do: Callable[[], object]) -> None:
        super().__init__(inner)
        self._write, self._do = write, [do]

    def _meanwhile(self, write: str) -> None:
        if write == self._write and self._do:
            self._do.pop()()

    def put_new(self, key: str, content: bytes | Path) -> bool:
        self._meanwhile("put_new")
        return super().put_new(key, content)

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        self._meanwhile("flip")
        super().compare_and_swap(key, data, expected=expected)


@pytest.mark.parametrize("write", ["put_new", "flip"])
class TestMeanwhile:
    """Others work in the other root at the same time."""

    @pytest.fixture
    def again(self, shop: Shop, target: Shop) -> Shop:
        run(shop, target)
        shop.day(on(4), 4)
        return target

    def conflict(self, shop: Shop, target: Shop, write: str, do: Callable[[], object]) -> None:
        with pytest.raises(ManifestConflictError, match="moved meanwhile"):
            run(shop, target, store=Busy(target.store, write, do))
        target.stamp()

    @pytest.mark.parametrize("of", [2, 3, 4])
    def test_a_publish_is_not_lost(self, shop: Shop, again: Shop, write: str, of: int) -> None:
        current = again.stage(on(of), 77)

        def published() -> None:
            again.publish(on(of), current)

        if of == 2:  # an older day, which is staged only
            assert run(shop, again, store=Busy(again.store, write, published)) == "published"
            return
        self.conflict(shop, again, write, published)
        assert again.live.current == current
        with pytest.raises(InputError, match="was made there"):
            run(shop, again)
        assert run(shop, again, force=True) == "published"
        assert again.rollback("previous").current == current

    def test_a_pin_holds(self, shop: Shop, again: Shop, write: str) -> None:
        self.conflict(shop, again, write, lambda: pin(again.store, again.surface, WHY))

        with pytest.raises(InputError, match="is pinned"):
            run(shop, again)

    def test_retention_deletes_nothing_that_becomes_live(
        self, shop: Shop, again: Shop, write: str
    ) -> None:
        """What was promoted, then killed, lies there old and unnamed."""
        strict = Retention(publications=1, days=1, grace_hours=1)
        plan = planned(shop, again)
        for kind, uri in plan.taken.current.items():
            key = layout.blob(shop.place, kind, version_of(uri))
            (again.root / key).write_bytes((shop.root / key).read_bytes())
            os.utime(again.root / key, (0, 0))

        gone = list[str]()

        def retained() -> None:
            plan = retain(again.store, again.surface, strict, WHY, clock=shop.time)
            gone.extend(stored.key for stored in plan.blobs)

        store = Busy(again.store, write, retained)
        if write == "flip":  # they are staged by then, so retention keeps them
            assert run(shop, again, store=store) == "published"
            assert gone == []
        else:
            with pytest.raises(ManifestConflictError, match="moved meanwhile"):
                run(shop, again, store=store)
            assert len(gone) == len(KINDS)
            assert run(shop, again) == "published"
        assert_is_whole(again, like=shop, of=4)


def test_what_retention_is_deleting_does_not_become_live(
    shop: Shop, target: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fence stands already when the promotion begins."""
    run(shop, target)
    shop.day(on(4), 4)
    for kind, uri in shop.live.current.items():
        key = layout.blob(shop.place, kind, version_of(uri))
        (target.root / key).write_bytes((shop.root / key).read_bytes())
        os.utime(target.root / key, (0, 0))

    def killed(event: str, _key: str) -> None:
        if event == "before delete":
            raise CrashError

    with pytest.raises(CrashError):
        retain(
            Watched(target.store, killed),
            target.surface,
            Retention(publications=1, days=1, grace_hours=1),
            WHY,
            clock=shop.time,
        )

    with pytest.raises(CandidateOvertakenError, match="retention is deleting"):
        run(shop, target)
    shop.day(on(5), 5)
    assert run(shop, target) == "published"  # of others, and the fence stands
    assert len(target.newest.retiring) == len(KINDS)
    monkeypatch.setattr(retention, "ABANDONED_AFTER", retention.ABANDONED_AFTER * 0)
    retain(target.store, target.surface, Retention(publications=1, days=1, grace_hours=1), WHY)
    assert target.newest.retiring == ()


def test_a_copy_of_a_root_gives_what_was_live_there(shop: Shop, target: Shop) -> None:
    """All its URIs name a root that may be gone."""
    copy = Shop(shop.root.with_name("copy"), shop.time)
    shop.root.rename(copy.root)
    with pytest.raises(StorageError, match="another root wrote it"):
        read_live(copy.store, copy.place)

    run(copy, target)

    shop.root.mkdir()
    copy.root.rename(shop.root.with_name("away"))
    shop.root.rmdir()
    shop.root.with_name("away").rename(shop.root)
    assert_is_whole(target, like=shop, of=3)
    origin = target.newest.promoted_from
    assert origin
    assert origin.root == f"file://{copy.root}"


def two_days(project: Project, store: Store, *, window: int = 2) -> Surface:
    surface = project.configure({"window_days": window}).surfaces[0]
    for number in (0, 1):
        of = day(number)
        project.land(of, [event(item, of=of) for item in ("a", "b", "a")[number:]])
        make_day(store, surface, of)
    return surface


def test_it_goes_from_store_to_store_and_on_with_the_day_that_follows(
    project: Project, tmp_path: Path, s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a disk to a bucket, to a prefix of it, and to a disk, where the next day is made.

    Its window of two days needs the events of the day before.
    """
    use(s3_server, monkeypatch)
    roots = [s3_server.url(new_prefix()), s3_server.url(new_prefix()), str(tmp_path / "last")]
    source: Store = project.store
    surface = two_days(project, source)
    override = layout.override(surface.place, "one")
    source.put_new(override, b"{}")
    source.put_new(layout.details(surface.place, "of another catalog"), b"prices")
    monkeypatch.setenv("RECSYS_ERASE_KEY", "a key of the tests")
    add_erased(source, key := EraseKey(surface.place, b"a key of the tests"), [key.entry("nobody")])

    for target in map(open_store, roots):
        plan = plan_promotion(source, target, surface)
        outcome, _ = promote(plan, WHY)

        assert outcome == "published"
        assert plan.new_days == [day(0), day(1)]
        assert plan.size_bytes > 0
        assert plan_promotion(source, target, surface).is_empty
        source = target

    layers = {
        layer for layer in layout.LAYERS if any(source.list(layout.of_place(layer, surface.place)))
    }
    made_there = {"registry/current", "registry/publications"}
    assert layers == {name for name, how in layout.LAYERS.items() if how != "not"} | made_there
    assert publish_day(source, surface, day(1)) == "unchanged"
    source.delete(override)  # which is no record
    project.land(day(2), [event("b", of=day(2))])
    assert make_day(source, surface, day(2)) == "published"
    document = read_document(source, _current(source, surface)["popularity"], "popularity")
    assert document["items"] == [{"item_id": "b", "count": 2}, {"item_id": "a", "count": 1}]


def _current(store: Store, surface: Surface) -> dict[str, str]:
    live = read_live(store, surface.place)
    assert live
    return dict(live.current)


def test_days_that_are_there_are_not_copied_and_damaged_or_other_ones_are(
    project: Project, tmp_path: Path
) -> None:
    surface = two_days(project, project.store)
    target = LocalStore(tmp_path / "target")
    promote(plan_promotion(project.store, target, surface), WHY)
    project.land(day(2), [event("b", of=day(2))])
    make_day(project.store, surface, day(2))
    target.replace(layout.canonical(surface.place, day(0)), b"damaged")
    assert plan_promotion(project.store, target, surface).new_days == [day(0), day(2)]
    project.land(day(1), [event("late", of=day(1))], part=".late")
    make_day(project.store, surface, day(1))

    plan = plan_promotion(project.store, target, surface)
    promote(plan, WHY)

    assert plan.new_days == [day(0), day(1), day(2)]
    assert days_of_events(target, surface.place) == [day(0), day(1), day(2)]
    days = days_of_events(target, surface.place)
    fingerprints = [
        {of: each.fingerprint for of, each in accepted_days(store, surface.place, days).items()}
        for store in (target, project.store)
    ]
    assert fingerprints[0] == fingerprints[1]


def test_only_days_that_are_looked_back_to_are_copied(project: Project, tmp_path: Path) -> None:
    surface = two_days(project, project.store, window=1)
    off = surface.model_copy(update={"gates": surface.gates.model_copy(update={"mode": "off"})})
    target = LocalStore(tmp_path / "target")

    assert plan_promotion(project.store, target, off).new_days == [day(1)]
    assert plan_promotion(project.store, target, surface).new_days == [day(0), day(1)]


def test_a_variant_takes_the_events_of_its_base(project: Project, tmp_path: Path) -> None:
    config = project.configure(
        {}, {"surface": "other", "variant_of": "demo/home", "window_days": 2}
    )
    base, variant = config.surfaces
    project.land(day(0), [event("a"), event("b")])
    make_day(project.store, base, day(0))
    make_day(project.store, variant, day(0))
    target = LocalStore(tmp_path / "target")

    promote(plan_promotion(project.store, target, variant), WHY)

    assert days_of_events(target, base.place) == [day(0)]
    assert publish_day(target, variant, day(0)) == "unchanged"
    assert read_live(target, base.place) is None


class TestErased:
    """Who was erased stays so: with the source's list, and against the target's."""

    def test_the_list_of_the_source_goes_along_and_grows(self, shop: Shop, target: Shop) -> None:
        key = EraseKey(shop.place, b"a key of the tests")
        add_erased(shop.store, key, [key.entry("ann")])
        assert run(shop, target) == "published"
        add_erased(shop.store, key, [key.entry("bob")])
        shop.day(on(4), 4)

        assert run(shop, target) == "published"

        taken = read_erased(target.store, shop.place)
        assert taken is not None
        assert [each.hash for each in taken.entries] == [key.hash("ann"), key.hash("bob")]

    @pytest.mark.parametrize("source_has", ["no list", "a list", "a list of another key"])
    def test_who_was_erased_in_the_target_alone_is_not_brought_back(
        self, shop: Shop, target: Shop, source_has: str
    ) -> None:
        key, other = (EraseKey(shop.place, text) for text in (b"a key of the tests", b"another"))
        add_erased(target.store, key, [key.entry("ann"), key.entry("bob")])
        if source_has != "no list":
            by = key if source_has == "a list" else other
            add_erased(shop.store, by, [by.entry("ann")])
        before = target.files()

        with pytest.raises(InputError, match=r"persons were erased from .* would bring them back"):
            run(shop, target, force=True)

        assert target.files() == before

    def test_who_is_erased_while_the_promotion_goes_on_is_not_brought_back(
        self, shop: Shop, target: Shop
    ) -> None:
        plan, key = planned(shop, target), EraseKey(shop.place, b"a key of the tests")
        add_erased(shop.store, key, [key.entry("ann")])
        add_erased(target.store, key, [key.entry("bob")])

        with pytest.raises(ManifestConflictError):
            promote(plan, WHY)

        assert not target.files("registry/current")
