"""A history with a lost record, or without a manifest, is mended on the record and goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.config import Retention, Surface
from recsys_assets.errors import (
    InputError,
    ManifestConflictError,
    StorageError,
    StoreUnavailableError,
)
from recsys_assets.live.history import publications
from recsys_assets.live.status import surface_status
from recsys_assets.live.verify import verify_each
from recsys_assets.operations.pointer import pin, plan_rollback
from recsys_assets.operations.repair import plan_repair, repair
from recsys_assets.operations.retention import plan_retention
from recsys_assets.storage import layout
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Publication, Why
from recsys_assets.windows import Window
from recsys_assets_tests.live.test_history import publish_as_another_producer
from recsys_assets_tests.shop import WHY, Shop, Watched, on, verified


@pytest.fixture
def five(shop: Shop) -> Shop:
    """Publish five days, an hour apart."""
    for number in range(1, 6):
        shop.day(on(number), number)
        shop.time.passes(hours=1)
    return shop


def record(shop: Shop, generation: int) -> Path:
    """Return the file of the record of a generation."""
    records = shop.root / layout.of_place("registry/publications", shop.place)
    (found,) = records.glob(f"{generation:010d}-*.json")
    return found


def manifest(shop: Shop) -> Path:
    return shop.root / layout.manifest(shop.place)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "no object": lambda path: path.write_bytes(b"[1]"),
    "no URI": lambda path: path.write_bytes(
        path.read_bytes().replace(b'"popularity"', b'"odd": 5, "popularity"', 1)
    ),
    "another record": lambda path: path.write_bytes(
        next(each for each in path.parent.iterdir() if each != path).read_bytes()
    ),
}


def assert_all_works(shop: Shop) -> list[Publication]:
    """Look, roll back, publish and plan a retention; return the history before."""
    chain = publications(shop.store, shop.surface, limit=100)
    newest, oldest = chain[0].generation, chain[-1].generation
    assert [each.generation for each in chain] == [*range(newest, oldest - 1, -1)]
    assert all(newer.parent == older.publish_id for newer, older in pairwise(chain))
    assert chain[-1].parent is None
    assert verified(shop.store, shop.live.current)
    assert surface_status(shop.store, shop.surface, now=shop.time()).error is None
    plan_rollback(shop.store, shop.surface, to="previous")
    plan_retention(
        shop.store,
        shop.surface,
        Retention(publications=3, days=30, grace_hours=24),
        now=shop.time(),
    )
    (found,) = verify_each(shop.store, [shop.surface], last=1, grace_hours=24)
    assert not found.findings
    assert plan_repair(shop.store, shop.surface) is None
    current = shop.stage(on(9), 9)
    assert shop.publish(on(9), current)[0] == "published"
    return chain


@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_live_stays_when_only_its_record_is_lost(five: Shop, how: str) -> None:
    before, lost = five.live, record(five, 5)
    DAMAGE[how](lost)
    with pytest.raises(StorageError, match="recsys-assets repair demo/home --dry-run"):
        _ = five.live

    plan = plan_repair(five.store, five.surface)
    assert plan
    assert not plan.goes_back
    assert len(plan.problems) == 1
    assert str(lost) in plan.problems[0]
    outcome, live = repair(five.store, plan, WHY)

    assert outcome == "published"
    assert live.current == before.current
    newest = five.newest
    assert (newest.action, newest.who, newest.reason) == ("repair", WHY.who, WHY.reason)
    assert newest.window == Window.ending_with(on(5), days=1)
    chain = assert_all_works(five)
    assert [each.generation for each in chain] == [6, 5, 4, 3, 2, 1]
    assert [each.window.last_day for each in chain] == [on(day) for day in (5, 5, 4, 3, 2, 1)]
    assert chain[1].reason == f"its record was lost; put here by a repair: {WHY.reason}"
    assert chain[1].published_at == before.updated_at


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_it_goes_back_to_the_last_whole_publication(five: Shop, damage: str) -> None:
    live, fourth = five.live, publications(five.store, five.surface, limit=2)[1]
    DAMAGE[damage](record(five, 5))
    blob = five.root / five.store.key(live.current["cooc"])
    blob.write_bytes(blob.read_bytes()[:-9])

    plan = plan_repair(five.store, five.surface)
    assert plan
    assert plan.goes_back
    assert plan.target == fourth
    repair(five.store, plan, WHY)

    assert five.live.current == fourth.current
    assert five.newest.window.last_day == on(4)
    assert five.newest.restored == {"popularity": 4, "cooc": 4}
    blob.unlink()
    assert_all_works(five)


def test_a_store_that_does_not_answer_is_no_reason_to_go_back(
    five: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    DAMAGE["missing"](record(five, 5))
    opened, answers = LocalStore.open, iter([False])

    def silent(self: LocalStore, key: str) -> Any:
        if next(answers, True):
            return opened(self, key)
        raise StoreUnavailableError("no answer came in time")

    monkeypatch.setattr(LocalStore, "open", silent)
    with pytest.raises(StoreUnavailableError):
        plan_repair(five.store, five.surface)


@pytest.mark.parametrize("lost", [{3}, {1}, {2, 3}, {1, 2, 3}, {5, 4}, {5, 3}], ids=str)
@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_any_records_may_be_lost(five: Shop, lost: set[int], damage: str) -> None:
    before = five.live.current
    kept = {each.generation: each for each in publications(five.store, five.surface, limit=9)}
    for path in [record(five, generation) for generation in lost]:
        DAMAGE[damage](path)

    plan = plan_repair(five.store, five.surface)
    assert plan
    repair(five.store, plan, WHY)

    assert five.live.current == before
    chain = {each.generation: each for each in assert_all_works(five)}
    for generation, publication in kept.items():
        if generation not in lost and generation in chain:
            assert chain[generation] == publication
    assert [each for each in chain.values() if each.generation < 6 and each.action == "repair"]


@pytest.mark.parametrize("how", ["missing", "empty", "cut short", "no object", "no URI"])
@pytest.mark.parametrize("record_too", [False, True])
def test_a_manifest_is_written_anew(five: Shop, how: str, *, record_too: bool) -> None:
    before, newest = five.live.current, record(five, 5)
    DAMAGE[how](manifest(five))
    if record_too:
        newest.write_bytes(b"")
    (found,) = verify_each(five.store, [five.surface], last=1, grace_hours=24)
    assert "repair demo/home" in found.findings[0].detail

    plan = plan_repair(five.store, five.surface)
    assert plan
    assert len(plan.problems) == 1 + record_too
    repair(five.store, plan, WHY)

    # Which versions a record named that is lost together with the manifest, nobody knows.
    expected = publications(five.store, five.surface, limit=3)[2].current if record_too else before
    assert five.live.current == expected
    assert_all_works(five)


def test_what_is_replaced_is_kept(five: Shop) -> None:
    lost = record(five, 5)
    lost.write_bytes(b"half")
    manifest(five).write_bytes(b"half a manifest")

    plan = plan_repair(five.store, five.surface)
    assert plan
    repair(five.store, plan, WHY)

    assert lost.with_name(f"{lost.name}.damaged").read_bytes() == b"half"
    assert manifest(five).with_name("manifest.json.damaged").read_bytes() == b"half a manifest"


@pytest.mark.parametrize("told_by", ["the parent of a later record", "that the loser came again"])
def test_the_record_of_a_flip_that_lost_its_race_is_not_taken_for_history(
    five: Shop, told_by: str
) -> None:
    winner = json.loads(record(five, 4).read_bytes())
    later = json.loads(record(five, 5).read_bytes())
    record(five, 5).write_bytes(b"")

    def put(generation: int, publish_id: str, parent: str) -> None:
        path = five.root / layout.publication(five.place, generation, publish_id)
        path.write_text(
            json.dumps(
                later
                | {"generation": generation, "publish_id": publish_id, "parent": parent}
                | {"published_at": "2099-01-01T00:00:00.000000Z"}
            )
        )

    put(4, "loser", winner["parent"])
    if told_by == "that the loser came again":
        put(5, "loser", "unknown")
    else:
        put(5, "other", winner["publish_id"])

    plan = plan_repair(five.store, five.surface)

    assert plan
    assert plan.newest.parent == winner["publish_id"]


@pytest.mark.parametrize("at", range(1, 7))
def test_a_repair_that_is_killed_is_finished_by_the_next(five: Shop, at: int) -> None:
    before = five.live.current
    for generation in (5, 3):
        record(five, generation).write_bytes(b"half")
    manifest(five).write_bytes(b"half")
    writes = 0

    class KilledError(Exception):
        pass

    def count(when: str, _: str) -> None:
        nonlocal writes
        writes += when.startswith("before")
        if writes == at:
            raise KilledError

    plan = plan_repair(five.store, five.surface)
    assert plan
    try:
        repair(_Counting(five.store, count), plan, WHY)
    except KilledError:
        rest = plan_repair(five.store, five.surface)
        if rest:
            repair(five.store, rest, WHY)

    assert five.live.current != before  # day 5 is known to nobody any more: back to day 4
    assert five.newest.window.last_day == on(4)
    assert_all_works(five)


class _Counting(Watched):
    def replace(self, key: str, content: bytes | Path) -> None:
        self._call("before replace", key)
        super().replace(key, content)

    def put_new(self, key: str, content: bytes | Path) -> bool:
        self._call("before put", key)
        return super().put_new(key, content)


def test_a_pin_holds_across_a_repair(five: Shop) -> None:
    pin(five.store, five.surface, WHY)
    assert five.publish(on(8), five.stage(on(8), 8))[0] == "pinned"
    DAMAGE["missing"](record(five, 3))

    plan = plan_repair(five.store, five.surface)
    assert plan
    repair(five.store, plan, WHY)

    assert five.newest.pinned
    assert five.newest.window.last_day == on(5)


def test_whole_is_left_alone(five: Shop) -> None:
    files = five.files()
    assert plan_repair(five.store, five.surface) is None
    assert five.files() == files


def test_nothing_published_is_nothing_to_repair(shop: Shop) -> None:
    assert plan_repair(shop.store, shop.surface) is None


def test_somebody_who_flips_meanwhile_wins(five: Shop) -> None:
    DAMAGE["missing"](record(five, 3))
    plan = plan_repair(five.store, five.surface)
    assert plan
    five.day(on(6), 6)

    with pytest.raises(ManifestConflictError):
        repair(five.store, plan, WHY)

    assert five.newest.window.last_day == on(6)


def test_a_repair_without_a_reason_is_refused(five: Shop) -> None:
    DAMAGE["missing"](record(five, 5))
    plan = plan_repair(five.store, five.surface)
    assert plan
    files = five.files()
    with pytest.raises(InputError, match="a reason is required"):
        repair(five.store, plan, Why("run", "somebody", " "))
    assert five.files() == files


def test_no_record_at_all_is_told_with_the_way_out(five: Shop) -> None:
    for path in [record(five, generation) for generation in range(1, 6)]:
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"Move .*manifest\.json away and materialize"):
        plan_repair(five.store, five.surface)


@pytest.mark.parametrize("how", ["empty", "names no record"])
def test_a_damaged_manifest_without_any_record_is_told_with_the_way_out(
    five: Shop, how: str
) -> None:
    key = five.store.key(five.live.current["popularity"])
    for generation in range(1, 6):
        record(five, generation).unlink()
    members = json.loads(manifest(five).read_bytes())
    members["current"]["publication"] = five.store.uri(key)  # a document, and no record
    manifest(five).write_text(json.dumps(members) if how == "names no record" else "")

    with pytest.raises(StorageError, match="is not a manifest"):
        _ = five.live
    with pytest.raises(InputError, match=r"Move .*manifest\.json away and materialize"):
        plan_repair(five.store, five.surface)


def test_a_manifest_that_names_no_record_is_written_anew(five: Shop) -> None:
    before = five.live
    members = json.loads(manifest(five).read_bytes())
    uri = members["current"]["publication"]
    members["current"]["publication"] = uri.replace("/0000000005-", "/5-")
    manifest(five).write_text(json.dumps(members))

    plan = plan_repair(five.store, five.surface)
    assert plan
    assert not plan.goes_back
    repair(five.store, plan, WHY)
    assert five.live.current == before.current
    assert_all_works(five)


def test_a_problem_is_told_whole_and_without_advice(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "a. `b")
    shop.root.mkdir()
    shop.day(on(1), 1)
    shop.day(on(2), 2)
    lost = record(shop, 2)
    lost.unlink()
    plan = plan_repair(shop.store, shop.surface)
    assert plan
    assert plan.problems == [f"file://{lost} is missing, though the manifest's history names it"]


def test_no_whole_publication_is_told_with_the_way_out(five: Shop) -> None:
    DAMAGE["missing"](record(five, 5))
    for blob in five.root.glob("objectstore/**/*.json"):
        blob.write_bytes(b"")
    with pytest.raises(InputError, match="materialize the artifacts of the newest day again"):
        plan_repair(five.store, five.surface)


def test_another_producers_manifest_has_nothing_to_repair(shop: Shop) -> None:
    publish_as_another_producer(shop)
    with pytest.raises(InputError, match="another producer"):
        plan_repair(shop.store, shop.surface)


def denying(shop: Shop, *items: str) -> Surface:
    path = shop.root.parent / "denied.txt"
    path.write_text("\n".join(items))
    of = shop.surface
    return of.model_copy(update={"items": of.items.model_copy(update={"deny": str(path)})})


def test_going_back_to_a_denied_item_is_refused_unless_forced(five: Shop) -> None:
    five.store.delete(five.store.key(five.live.current["cooc"]))
    record(five, 5).unlink()
    surface, before = denying(five, "b", "c"), five.files()

    plan = plan_repair(five.store, surface)

    assert plan is not None
    assert plan.goes_back
    with pytest.raises(InputError, match=r"cooc lists b: denied by .* force it with a reason"):
        repair(five.store, plan, WHY)
    assert five.files() == before
    repair(five.store, plan, WHY, force=True)
    assert five.newest.reason.startswith("an incident (forced: cooc lists b")


def test_what_is_live_and_whole_stays_whatever_is_denied(five: Shop) -> None:
    surface, current = denying(five, "a"), five.live.current
    record(five, 5).unlink()

    plan = plan_repair(five.store, surface)

    assert plan is not None
    assert not plan.goes_back
    repair(five.store, plan, WHY)
    assert five.live.current == current
