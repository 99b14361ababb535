"""Rollback, pin and release: verified first, on the record, and nothing by halves."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from recsys_assets.audit import checks
from recsys_assets.audit.candidates import audit_candidate
from recsys_assets.audit.events import audit_events
from recsys_assets.audit.shared import Shared
from recsys_assets.config import Surface
from recsys_assets.errors import (
    CandidateOvertakenError,
    InputError,
    ManifestConflictError,
    StorageError,
    StoreUnavailableError,
)
from recsys_assets.events.accepted import accept_day
from recsys_assets.live.history import publications
from recsys_assets.live.staged import held_back
from recsys_assets.operations import pointer
from recsys_assets.operations.pointer import (
    Released,
    pin,
    plan_rollback,
    release,
    roll_back,
)
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.flips import MANIFEST_FORMAT
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Live, Publication, read_live
from recsys_assets.verdicts import Check, Verdict, failed
from recsys_assets.windows import Window
from recsys_assets_tests.live.test_history import publish_as_another_producer
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import (
    KINDS,
    WHY,
    Shop,
    make_day,
    on,
    verified,
)
from recsys_assets_tests.storage.conftest import Passing


@pytest.fixture
def three(shop: Shop) -> Shop:
    """Publish three days."""
    for number in (1, 2, 3):
        shop.day(on(number), number)
    return shop


class TestRollback:
    """Make an earlier publication live again."""

    @pytest.mark.parametrize(
        ("to", "generation"), [("previous", 2), ("2", 2), ("1", 1), (str(on(1)), 1)]
    )
    def test_the_whole_manifest_is_that_of_the_target(
        self, three: Shop, to: str, generation: int
    ) -> None:
        plan = plan_rollback(three.store, three.surface, to=to)
        outcome, live = roll_back(three.store, plan, WHY)

        assert outcome == "published"
        assert plan.target.generation == generation
        assert live.current == three.live.current == plan.target.current
        newest = three.newest
        assert newest == replace(
            plan.target,
            generation=4,
            action="rollback",
            publish_id=newest.publish_id,
            parent=newest.parent,
            published_at=newest.published_at,
            run_id="run-1",
            who="somebody",
            reason="an incident",
            restored=dict.fromkeys(KINDS, generation),
        )
        assert verified(three.store, live.current)

    def test_the_manifest_is_byte_for_byte_what_readers_know(self, three: Shop) -> None:
        published = json.loads(three.files("registry/current").popitem()[1])
        three.rollback("1")

        ((_, data),) = three.files("registry/current").items()

        manifest = json.loads(data)
        record = layout.publication(Place("demo", "home"), 4, three.newest.publish_id)
        expected = {
            "v": MANIFEST_FORMAT,
            "tenant": "demo",
            "surface": "home",
            "current": {**three.live.current, "publication": three.store.uri(record)},
            "updated_at": three.newest.published_at,
        }
        assert manifest == expected
        assert list(manifest) == list(published)
        assert data == json.dumps(expected, ensure_ascii=False, separators=(",", ":")).encode()

    @pytest.mark.parametrize("to", ["previous", "1", str(on(1))])
    def test_one_kind_goes_back_and_the_others_stay(self, three: Shop, to: str) -> None:
        before = three.live
        plan = plan_rollback(three.store, three.surface, to=to, kind="cooc")
        newest = three.rollback(to, kind="cooc")

        assert newest.current == {
            "popularity": before.current["popularity"],
            "cooc": plan.target.current["cooc"],
        }
        assert newest.window == before.window
        assert newest.restored == {"cooc": plan.target.generation}
        assert list(newest.current) == list(before.current)
        assert verified(three.store, three.live.current)

    def test_a_kind_that_is_no_longer_live_comes_back(self, three: Shop) -> None:
        current = three.stage(on(4), 4, kinds=["popularity"])
        three.publish(on(4), current)

        three.rollback("previous", kind="cooc")

        assert three.live.current.keys() == {"popularity", "cooc"}
        assert three.live.current["popularity"] == current["popularity"]

    @pytest.mark.parametrize("kind", [None, "cooc"])
    def test_a_pin_comes_with_it_in_the_same_flip_and_stays_with_the_next(
        self, three: Shop, kind: str | None
    ) -> None:
        assert three.rollback("previous", kind=kind, pin=True).pinned
        assert three.generation == 4
        assert three.rollback("1", kind=kind).pinned

    def test_a_publish_afterwards_moves_forward_again(self, three: Shop) -> None:
        bad = three.live.current
        three.rollback("1")

        assert three.publish(on(2), three.stage(on(2), 2))[0] == "published"
        assert three.publish(on(3), three.stage(on(3), 7))[0] == "published"
        assert three.live.window == Window(on(3), on(4))
        assert not set(three.live.current.values()) & set(bad.values())

    def test_rolling_back_to_what_is_live_changes_nothing(self, three: Shop) -> None:
        before = three.files()
        plan = plan_rollback(three.store, three.surface, to="live")

        assert plan.is_empty
        assert roll_back(three.store, plan, WHY)[0] == "unchanged"
        assert three.files() == before

    def test_rolling_back_to_what_is_live_with_a_pin_pins(self, three: Shop) -> None:
        plan = plan_rollback(three.store, three.surface, to="live", pin=True)

        assert not plan.is_empty
        assert roll_back(three.store, plan, WHY)[0] == "published"
        assert (three.newest.action, three.newest.pinned) == ("rollback", True)

    def test_a_plan_shows_what_changes_and_changes_nothing(self, three: Shop) -> None:
        before = three.files()

        plan = plan_rollback(three.store, three.surface, to="1", kind="popularity", pin=True)

        assert three.files() == before
        assert [(each.kind, each.is_empty) for each in plan.differences] == [("popularity", True)]
        assert (plan.seen, plan.change.pinned) == (3, True)

    @pytest.mark.parametrize("reason", ["", "  ", "\n"])
    def test_a_reason_is_required(self, three: Shop, reason: str) -> None:
        before = three.files()
        plan = plan_rollback(three.store, three.surface, to="1")
        why = replace(WHY, reason=reason)

        for act in (
            lambda: roll_back(three.store, plan, why),
            lambda: pin(three.store, three.surface, why),
            lambda: release(three.store, three.surface, why),
        ):
            with pytest.raises(InputError, match="a reason is required"):
                act()
        assert three.files() == before

    def test_another_producers_manifest_is_refused(self, shop: Shop) -> None:
        publish_as_another_producer(shop)
        before = shop.files()

        for act in (
            lambda: plan_rollback(shop.store, shop.surface, to="previous"),
            lambda: pin(shop.store, shop.surface, WHY),
            lambda: release(shop.store, shop.surface, WHY),
        ):
            with pytest.raises(InputError, match="by another producer and has no history"):
                act()
        assert shop.files() == before

    @pytest.mark.parametrize("to", ["1", "previous"])
    def test_an_unknown_kind_is_told_with_those_there_are(self, three: Shop, to: str) -> None:
        with pytest.raises(InputError, match="no kind 'cook'; there are: popularity, cooc, "):
            plan_rollback(three.store, three.surface, to=to, kind="cook")

    def test_a_kind_that_the_target_has_not_is_told(self, shop: Shop) -> None:
        shop.publish(on(1), shop.stage(on(1), 1, kinds=["popularity"]))
        shop.day(on(2), 2)

        with pytest.raises(InputError, match="generation 1 has no 'cooc'; it has popularity"):
            plan_rollback(shop.store, shop.surface, to="previous", kind="cooc")


class TestVerifiedFirst:
    """No blob becomes live that was not hashed just before."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("asked", [None, *KINDS])
    def test_a_missing_blob_of_what_is_asked_for_is_named_and_nothing_is_changed(
        self, three: Shop, kind: str, asked: str | None
    ) -> None:
        target = plan_rollback(three.store, three.surface, to="1").target
        lost = three.store.key(target.current[kind])
        three.store.delete(lost)
        before = three.files()

        if asked in {None, kind}:
            with pytest.raises(StorageError) as caught:
                plan_rollback(three.store, three.surface, to="1", kind=asked)
            assert str(caught.value).startswith(
                f"cannot roll demo/home back to generation 1: {target.current[kind]} is missing"
            )
            assert "Nothing was changed; choose another" in str(caught.value)
        else:
            plan_rollback(three.store, three.surface, to="1", kind=asked)
        assert three.files() == before

    def test_every_damaged_blob_is_named(self, three: Shop) -> None:
        target = plan_rollback(three.store, three.surface, to="1").target
        three.store.delete(three.store.key(target.current["cooc"]))
        altered = Path(target.current["popularity"].removeprefix("file://"))
        altered.write_bytes(altered.read_bytes().replace(b'"count":1', b'"count":8'))

        with pytest.raises(StorageError) as caught:
            plan_rollback(three.store, three.surface, to="1")

        for uri, problem in (
            (altered.as_uri(), " should hash to"),
            (target.current["cooc"], " is"),
        ):
            assert uri + problem in str(caught.value)
        # Their own advice, to move blobs away and materialize, is not the one that is given.
        assert str(caught.value).endswith(
            "is missing. Nothing was changed; choose another from `recsys-assets history "
            "demo/home`, or materialize the day again."
        )
        assert "Move it away" not in str(caught.value)

    def test_a_blob_of_another_root_is_refused(self, three: Shop) -> None:
        moved = Shop(three.root.with_name("moved"), three.time)
        three.root.rename(moved.root)

        with pytest.raises(StorageError, match="another root wrote it"):
            plan_rollback(moved.store, moved.surface, to="1")

    @pytest.mark.parametrize("damage", ["missing", "altered", "no document"])
    def test_that_what_is_live_is_damaged_is_no_obstacle_but_a_reason(
        self, three: Shop, damage: str
    ) -> None:
        live = Path(three.live.current["cooc"].removeprefix("file://"))
        if damage == "missing":
            live.unlink()
        else:
            live.write_bytes(b"{}" if damage == "no document" else live.read_bytes() + b" ")

        plan = plan_rollback(three.store, three.surface, to="2")
        roll_back(three.store, plan, WHY)

        assert {each.kind for each in plan.differences} == {*KINDS}
        assert verified(three.store, three.live.current)

    def test_a_store_that_does_not_answer_is_not_taken_for_damage(self, three: Shop) -> None:
        class Silent(Passing):
            def open(self, key: str) -> tuple[BinaryIO, int]:
                raise StoreUnavailableError("no answer")

        with pytest.raises(StoreUnavailableError, match="no answer"):
            plan_rollback(Silent(three.store), three.surface, to="1")


class TestBetweenPlanAndFlip:
    """What somebody else does meanwhile."""

    @pytest.mark.parametrize("what", ["publish", "pin", "rollback"])
    def test_a_flip_by_somebody_else_refuses_the_plan(self, three: Shop, what: str) -> None:
        plan = plan_rollback(three.store, three.surface, to="1")
        if what == "publish":
            three.day(on(4), 4)
        elif what == "pin":
            pin(three.store, three.surface, WHY)
        else:
            three.rollback("2")
        before = three.files()

        with pytest.raises(
            ManifestConflictError, match="expected generation 3, found generation 4"
        ):
            roll_back(three.store, plan, WHY)

        assert three.files() == before

    def test_a_flip_in_the_very_moment_refuses_the_plan_too(self, three: Shop) -> None:
        class Raced(Passing):
            def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
                three.day(on(4), 4)
                super().compare_and_swap(key, data, expected=expected)

        plan = plan_rollback(three.store, three.surface, to="1")

        with pytest.raises(ManifestConflictError, match="found generation 4"):
            roll_back(Raced(three.store), plan, WHY)

        assert three.newest.action == "publish"

    def test_a_publish_that_was_gathered_before_is_refused(self, three: Shop) -> None:
        seen, current = three.generation, three.stage(on(4), 4)
        three.rollback("1")

        with pytest.raises(CandidateOvertakenError, match=r"generation 4 \(rollback, somebody\)"):
            three.publish(on(4), current, seen=seen)

        assert three.publish(on(4), current, seen=4)[0] == "published"


class TestPin:
    """What is live stays; what is staged advances."""

    def test_publishes_come_out_pinned_and_only_stage(self, three: Shop) -> None:
        live = three.live.current
        assert pin(three.store, three.surface, WHY)[0] == "published"

        for of in (on(3), on(4)):
            current = three.stage(of, 9)
            assert three.publish(of, current, seen=4)[0] == "pinned"

        assert three.live.current == live
        assert three.generation == 4
        assert len(three.files("staged/demo/home/default/cooc")) == 4

    def test_an_older_day_is_superseded_and_the_same_one_unchanged_all_the_same(
        self, three: Shop
    ) -> None:
        pin(three.store, three.surface, WHY)

        assert three.publish(on(2), three.stage(on(2), 9))[0] == "superseded"
        assert three.publish(on(3), three.live.current)[0] == "unchanged"

    def test_pinning_twice_is_one_flip(self, three: Shop) -> None:
        first = pin(three.store, three.surface, WHY)
        second = pin(three.store, three.surface, replace(WHY, reason="another"))

        assert (first[0], second[0]) == ("published", "unchanged")
        assert (three.generation, three.newest.reason) == (4, "an incident")

    def test_it_changes_neither_window_nor_versions(self, three: Shop) -> None:
        before = three.newest
        pin(three.store, three.surface, WHY)

        assert (three.newest.window, three.newest.current) == (before.window, before.current)
        assert (three.newest.action, three.newest.pinned) == ("pin", True)
        assert verified(three.store, three.live.current)

    def test_before_the_first_publish_there_is_nothing_to_hold(self, shop: Shop) -> None:
        with pytest.raises(InputError, match="nothing is live for demo/home yet"):
            pin(shop.store, shop.surface, WHY)
        assert shop.files() == {}


@dataclass(frozen=True)
class Made:
    """A project whose days are made from raw lines."""

    project: Project
    surface: Surface

    @property
    def store(self) -> LocalStore:
        return self.project.store

    @property
    def live(self) -> Live:
        live = read_live(self.store, Place("demo", "home"))
        assert live is not None
        return live

    @property
    def newest(self) -> Publication:
        assert self.live.publication
        return self.live.publication

    def make(self, number: int, items: str = "ab") -> str:
        of = day(number)
        self.project.land(of, [event(item, of=of) for item in items])
        return make_day(self.store, self.surface, of)

    def staged(self, number: int, kind: str) -> Path:
        key = layout.staged(Place("demo", "home"), "default", kind, day(number))
        return Path(self.store.location(key))

    def release(self) -> Released:
        return release(self.store, self.surface, WHY)


@pytest.fixture
def pinned(project: Project, fast: None) -> Made:
    """Publish day 0 and pin it."""
    small = {"artifacts": {"popularity": {}, "cooc": {"min_support": 1}}, "catalog": None}
    made = Made(project, project.configure(small).surfaces[0])
    assert made.make(0) == "published"
    pin(made.store, made.surface, WHY)
    return made


class TestRelease:
    """Publishes go through again, the newest complete day at once."""

    def test_the_newest_complete_day_that_was_held_back_is_published(self, pinned: Made) -> None:
        assert [pinned.make(1), pinned.make(2)] == ["pinned", "pinned"]
        assert held_back(pinned.store, pinned.surface, pinned.live) == day(2)

        released = pinned.release()

        assert released == Released("published", released.live, day(2), "published")
        assert released.succeeded
        assert pinned.live.current == released.live.current
        assert verified(pinned.store, pinned.live.current)
        assert pinned.newest.window == Window(day(2), day(3))
        assert [
            (each.action, each.pinned)
            for each in publications(pinned.store, pinned.surface, limit=9)
        ] == [("publish", False), ("release", False), ("pin", True), ("publish", False)]
        assert pinned.make(3) == "published"

    def test_a_day_of_which_a_kind_is_missing_is_passed_over(self, pinned: Made) -> None:
        pinned.make(1)
        pinned.make(2)
        pinned.staged(2, "cooc").unlink()

        assert pinned.release().next_day == day(1)
        assert pinned.newest.window == Window(day(1), day(2))

    def test_a_correction_of_the_day_that_is_live_is_published(self, pinned: Made) -> None:
        assert pinned.make(0, "abc") == "pinned"

        released = pinned.release()

        assert (released.next_day, released.next_outcome) == (day(0), "published")

    @pytest.mark.parametrize("step", ["nothing", "the same again", "an older day", "of a segment"])
    def test_when_just_what_is_live_is_staged_nothing_was_held_back(
        self, pinned: Made, step: str
    ) -> None:
        if step == "the same again":
            assert pinned.make(0) == "unchanged"
        elif step == "an older day":
            pinned.release()
            pinned.make(2)
            pin(pinned.store, pinned.surface, WHY)
            assert pinned.make(1) == "superseded"
        elif step == "of a segment":
            other = Made(pinned.project, pinned.surface.model_copy(update={"segment": "of others"}))
            assert other.make(1) == "pinned"
        before = pinned.live.current

        assert held_back(pinned.store, pinned.surface, pinned.live) is None
        released = pinned.release()

        assert (released.outcome, released.next_day, released.next_outcome) == (
            "published", None, "",
        )  # fmt: skip
        assert released.succeeded
        assert (pinned.newest.action, pinned.newest.pinned) == ("release", False)
        assert pinned.live.current == before

    def test_what_makes_the_day_that_is_live_unpublishable_is_no_failure(
        self, pinned: Made
    ) -> None:
        """Nothing has to be published then."""
        pinned.project.land(day(0), [event("z")])
        with pinned.store.scratch() as scratch:
            events = audit_events(pinned.store, pinned.surface, day(0), scratch, Shared()).value
            assert events
            accept_day(pinned.store, pinned.surface.place, events)

        assert pinned.release().succeeded

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            ("blob", "cooc: file://.* is missing. Materialize the day's artifact again"),
            ("reference", "cooc: .*2026-01-02.json is not a staged reference"),
            ("events", "cooc: made of other events than are accepted now"),
        ],
    )
    def test_a_day_that_cannot_be_published_is_told_and_the_surface_is_released(
        self, pinned: Made, damage: str, message: str
    ) -> None:
        before = pinned.live.current
        assert pinned.make(1) == "pinned"
        reference = pinned.staged(1, "cooc")
        if damage == "blob":
            Path(json.loads(reference.read_text())["uri"].removeprefix("file://")).unlink()
        elif damage == "reference":
            reference.write_text("{}")
        else:
            Path(pinned.store.location(layout.canonical(Place("demo", "home"), day(1)))).unlink()

        released = pinned.release()

        assert (released.outcome, released.next_day) == ("published", day(1))
        assert re.search(message, released.next_outcome)
        assert not released.succeeded
        assert pinned.live.current == before
        assert not pinned.newest.pinned

    @pytest.mark.parametrize(
        ("found", "told"),
        [
            (failed("nobody has signed 2 of its kinds"), "nobody has signed 2 of its kinds"),
            (None, "check signed gave no verdict, so the day is refused: this is a fault of the"),
        ],
        ids=["failed", "no verdict"],
    )
    def test_a_day_that_another_gate_refuses_is_told_with_what_the_gate_says(
        self,
        pinned: Made,
        monkeypatch: pytest.MonkeyPatch,
        found: Verdict | None,
        told: str,
    ) -> None:
        signed = Check("signed", ["manifest"], "Signed.", "validation-failed", lambda _: found)
        before = pinned.live.current
        assert pinned.make(1) == "pinned"
        monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, signed))

        released = pinned.release()

        assert (released.outcome, released.next_day) == ("published", day(1))
        assert released.next_outcome.startswith(told)
        assert not released.succeeded
        assert pinned.live.current == before
        assert not pinned.newest.pinned

    def test_what_two_gates_say_is_told_together(
        self, pinned: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        signed = Check(
            "signed", ["manifest"], "Signed.", "validation-failed", lambda _: failed("unsigned")
        )
        pinned.make(1)
        pinned.staged(1, "cooc").write_text("{}")
        monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, signed))

        released = pinned.release()

        publishable, *others = released.next_outcome.split("; ")
        assert publishable.startswith("cooc: ")
        assert others[-1] == "unsigned"

    def test_a_gate_that_only_warns_holds_nothing_back(
        self, pinned: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        signed = Check(
            "signed",
            ["manifest"],
            "Signed.",
            "validation-failed",
            lambda _: failed("unsigned"),
            blocks=False,
        )
        pinned.make(1)
        monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, signed))

        assert pinned.release().next_outcome == "published"

    def test_without_a_pin_it_publishes_what_a_rollback_left_behind(self, pinned: Made) -> None:
        pinned.release()
        pinned.make(1)
        plan = plan_rollback(pinned.store, pinned.surface, to="previous")
        roll_back(pinned.store, plan, WHY)

        released = pinned.release()

        assert (released.outcome, released.next_day, released.next_outcome) == (
            "unchanged", day(1), "published",
        )  # fmt: skip

    def test_without_a_pin_and_with_nothing_new_it_changes_nothing(self, pinned: Made) -> None:
        pinned.release()
        before = pinned.project.blobs(), pinned.live

        released = pinned.release()

        assert released == Released("unchanged", pinned.live)
        assert (pinned.project.blobs(), pinned.live) == before

    def test_a_day_that_was_released_and_pinned_again_by_somebody_else_is_not_a_success(
        self, pinned: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pinned.make(1)

        def pin_meanwhile(*arguments: Any) -> Any:
            pin(pinned.store, pinned.surface, WHY)
            return audit_candidate(*arguments)

        monkeypatch.setattr(pointer, "audit_candidate", pin_meanwhile)

        released = pinned.release()

        assert (released.next_outcome, released.succeeded) == ("pinned", False)


@pytest.mark.parametrize(
    ("items", "lists"),
    [
        (["a"], "popularity lists a; cooc lists a: denied by "),
        (["b"], "cooc lists b: denied by "),
        (["c", "item"], None),
        ([], None),
    ],
)
def test_what_lists_denied_items_is_neither_gone_back_to_nor_held(
    three: Shop, tmp_path: Path, items: list[str], lists: str | None
) -> None:
    path = tmp_path / "denied.txt"
    path.write_text("\n".join(items))
    surface = three.surface
    of = surface.items.model_copy(update={"deny": str(path)})
    surface = surface.model_copy(update={"items": of})
    before = three.files()

    plan = plan_rollback(three.store, surface, to="1")

    if lists is None:
        assert plan.denied is None
        assert roll_back(three.store, plan, WHY)[0] == "published"
        assert pin(three.store, surface, WHY)[0] == "published"
        return
    assert plan.denied == f"{lists}{path}"
    with pytest.raises(InputError, match="will not roll demo/home back"):
        roll_back(three.store, plan, WHY)
    with pytest.raises(InputError, match="will not pin demo/home"):
        pin(three.store, surface, WHY)
    assert three.files() == before
    assert pin(three.store, surface, WHY, force=True)[0] == "published"
    assert three.newest.reason == f"an incident (forced: {plan.denied})"
