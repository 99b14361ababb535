"""The gates of a release: what would become live is held against what is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from recsys_assets.compute.outlines import NO_LISTS
from recsys_assets.config import Retention
from recsys_assets.kinds import KINDS
from recsys_assets.live.outlines import outline_of, sizes_of
from recsys_assets.operations.pointer import pin, plan_rollback, release, roll_back
from recsys_assets.operations.retention import retain
from recsys_assets.storage import layout
from recsys_assets.storage.outlines import read_outline, write_outline
from recsys_assets.storage.publications import Why, history
from recsys_assets.storage.registry import version_of
from recsys_assets_tests.project import Project, day, event

WHY = Why("run-1", "ann@host", "users are out of order since noon")

OF_USERS: Final[dict[str, Any]] = {kind: {} for kind in ("popularity", "implicit", "session_seq")}


def visits(number: int, users: int, **members: Any) -> list[dict[str, Any]]:
    """Return a session of two items of each of some users."""
    return [
        event(item, of=day(number), session_id=f"s{n}", user_id=f"u{n}", **members)
        for n in range(users)
        for item in ("a", "b")
    ]


class TestNothingEmptied:
    """`nothing_emptied`, which needs no history."""

    def test_users_that_are_lost_are_refused_and_accepted_with_a_reason(
        self, project: Project
    ) -> None:
        config = project.configure({"artifacts": OF_USERS})
        (surface,) = config.surfaces
        project.land(day(0), visits(0, 200))
        project.materialize(config, [day(0)])
        live = project.live(config)
        project.land(day(1), [event(i, of=day(1), user_id=None) for i in ("a", "b")] * 100)

        refused = project.materialize(config, [day(1)])

        (failure,) = refused.failures
        assert (failure.asset, failure.check) == ("manifest", "nothing_emptied")
        assert failure.description == (
            "implicit: 200 users are live, 0 would be; session_seq: 200 users are live, 0 would be"
        )
        assert project.live(config) == live
        held = release(project.store, surface, WHY)
        assert not held.succeeded
        assert "`recsys-assets release --force` accepts it" in held.next_outcome
        assert project.live(config) == live

        forced = release(project.store, surface, WHY, force=True)

        assert (forced.next_day, forced.next_outcome) == (day(1), "published")
        now = project.live(config)
        assert now
        assert now.publication
        assert now.window
        assert now.window.last_day == day(1)
        assert now.publication.who == "ann@host"
        assert now.publication.reason.startswith(
            "users are out of order since noon (forced: implicit: 200 users are live, 0 would be"
        )
        project.land(day(2), [event("a", of=day(2), user_id=None)])
        assert project.materialize(config, [day(2)]).succeeded

    @pytest.mark.parametrize(("mode", "succeeds"), [("warn", True), ("block", False)])
    def test_what_drops_to_nearly_nothing_warns_unless_gates_block(
        self, project: Project, mode: str, succeeds: bool
    ) -> None:
        config = project.configure({"gates": {"mode": mode}})
        project.land(day(0), visits(0, 200))
        nobody = [event("a", of=day(1), user_id=None, session_id=f"t{n}") for n in range(200)]
        project.land(day(1), [*visits(1, 5), *nobody])

        found = project.materialize(config, [day(0), day(1)])

        assert found.succeeded == succeeds
        told = [*found.warnings, *found.failures]
        assert [each.check for each in told if each.asset == "manifest"] == ["nothing_emptied"]
        assert "implicit: 200 users are live, 5 would be" in told[-1].description

    def test_where_gates_are_off_nothing_is_compared_and_nothing_kept_for_it(
        self, project: Project
    ) -> None:
        config = project.configure({"gates": {"mode": "off"}})
        project.land(day(0), visits(0, 200))
        project.land(day(1), [event("a", of=day(1), user_id=None)])

        assert project.materialize(config, [day(0), day(1)]).succeeded
        assert not [*project.store.list("outlines")]

    @pytest.mark.parametrize("least", [0, 1])
    def test_an_empty_day_that_may_be_empties_what_is_live_and_says_that_no_file_has_landed(
        self, project: Project, least: int
    ) -> None:
        config = project.configure({"guardrails": {"min_events": least}})
        project.land(day(0), visits(0, 200))
        project.land(day(2), [])

        found = project.materialize(config, [day(0), day(1), day(2)])

        assert found.succeeded == (least == 0)
        if least == 0:
            (warned,) = found.warnings
            assert (warned.day, warned.asset, warned.check) == (
                day(1), "canonical_events", "inputs",
            )  # fmt: skip
            assert warned.description.startswith("no raw file matches 'demo/home/exposure.2026-01")

    def test_events_without_users_are_a_fault_where_days_may_be_empty_too(
        self, project: Project
    ) -> None:
        config = project.configure({"guardrails": {"min_events": 0}})
        project.land(day(0), visits(0, 200))
        project.land(day(1), [event("a", of=day(1), user_id=None)])

        found = project.materialize(config, [day(0), day(1)])

        assert [each.check for each in found.failures] == ["nothing_emptied"]

    def test_a_ranking_is_lost_however_short_it_was(self, project: Project) -> None:
        denied = project.folder / "denied.txt"
        denied.write_text("")
        changed = {"items": {"only_in_catalog": True}}
        config = project.configure({**changed, "artifacts": {"popularity": {}}})
        project.land(day(0), visits(0, 1))
        project.land(day(1), [event("unknown", of=day(1))])

        found = project.materialize(config, [day(0), day(1)])

        (failure,) = found.failures
        assert failure.description == "popularity: 2 items are live, 0 would be"

    def test_what_a_changed_option_or_list_explains_is_named_and_published(
        self, project: Project
    ) -> None:
        config = project.configure({"artifacts": {"popularity": {}, "cooc": {"min_support": 1}}})
        project.land(day(0), visits(0, 30))
        project.materialize(config, [day(0)])
        denied = project.folder / "denied.txt"
        denied.write_text("a\nb\n")
        config = project.configure(
            {
                "artifacts": {"popularity": {}, "cooc": {"min_support": 1, "max_items": 1}},
                "items": {"deny": str(denied)},
                "gates": {"mode": "block"},
            }
        )
        project.land(day(1), visits(1, 30))

        found = project.materialize(config, [day(1)])

        assert found.succeeded
        (warning,) = [each for each in found.warnings if each.asset == "manifest"]
        assert warning.description == (
            "popularity: 2 items are live, 0 would be (items.deny is another list)"
        )

    def test_a_list_that_withdraws_other_items_explains_no_loss(self, project: Project) -> None:
        denied = project.folder / "denied.txt"
        denied.write_text("")
        config = project.configure({"artifacts": OF_USERS, "items": {"deny": str(denied)}})
        project.land(day(0), visits(0, 200))
        project.materialize(config, [day(0)])
        denied.write_text("an item that nobody sees\n")
        project.land(day(1), [event(i, of=day(1), user_id=None) for i in ("a", "b")] * 100)

        found = project.materialize(config, [day(1)])

        assert [each.check for each in found.failures] == ["nothing_emptied"]
        assert found.failures[0].description.endswith("session_seq: 200 users are live, 0 would be")

    def test_a_quiet_day_is_no_fault_of_its_lists_and_says_nothing_of_what_is_usual(
        self, project: Project
    ) -> None:
        config = project.configure(
            {
                "artifacts": {"popularity": {}, "implicit": {}},
                "guardrails": {"min_events": 0},
                "gates": {
                    "mode": "block",
                    "min_sessions": 1,
                    "history_days": 14,
                    "reference_days": 2,
                    "warm_up_days": 3,
                    "release": {"trusted_days": 2},
                },
            }
        )
        for number in range(11):
            project.land(day(number), [] if number == 8 else visits(number, 30))
        days = [day(number) for number in range(11)]

        found = project.materialize(config, days)

        assert found.published == days
        pages = [found.metadata[of]["manifest"] for of in days]
        learned = [n for n, page in enumerate(pages) if "gate/popularity_20" in page]
        assert learned == [2, 3, 4, 5, 6, 7, 10]

    def test_a_rollback_a_pin_and_a_pinned_day_are_not_asked(self, project: Project) -> None:
        config = project.configure({"gates": {"mode": "block"}})
        (surface,) = config.surfaces
        project.land(day(0), [event("a", user_id=None)])
        project.land(day(1), visits(1, 200))
        project.land(day(2), [event("a", of=day(2), user_id=None)])
        project.materialize(config, [day(0), day(1)])

        plan = plan_rollback(project.store, surface, to="1")
        assert roll_back(project.store, plan, WHY)[0] == "published"
        assert roll_back(
            project.store, plan_rollback(project.store, surface, to="2"), WHY
        )[0] == "published"  # fmt: skip
        assert pin(project.store, surface, WHY)[0] == "published"
        pinned = project.materialize(config, [day(2)])

        assert pinned.outcome(day(2)) == "pinned"
        assert not release(project.store, surface, WHY).succeeded
        live = project.live(config)
        assert live
        assert [each.action for each in history(project.store, live)][:4] == [
            "release", "pin", "rollback", "rollback",
        ]  # fmt: skip


class TestOutlines:
    """What versions are compared by."""

    def test_one_that_is_missing_or_damaged_is_made_again(self, project: Project) -> None:
        config = project.configure()
        project.land(day(0), visits(0, 200))
        project.materialize(config, [day(0)])
        root = project.folder / "var"
        kept = {stored.key: (root / stored.key) for stored in project.store.list("outlines")}
        assert len(kept) == len(KINDS)
        before = {key: project.store.read(key) for key in kept}
        for number, path in enumerate(kept.values()):
            path.chmod(0o600)
            path.write_bytes(b"") if number % 2 else path.unlink()
        project.land(day(1), [event("a", of=day(1), user_id=None)])

        found = project.materialize(config, [day(1)])

        assert [each.check for each in found.failures] == ["nothing_emptied"]
        assert {stored.key for stored in project.store.list("outlines")} >= kept.keys()
        assert before

    def test_a_brief_one_is_made_whole_when_its_lists_are_asked_for(self, project: Project) -> None:
        config = project.configure({"artifacts": OF_USERS})
        (surface,) = config.surfaces
        project.land(day(0), visits(0, 5))
        project.materialize(config, [day(0)])
        live = project.live(config)
        assert live
        (root, place), uri = (project.store, surface.place), live.current["implicit"]
        whole = outline_of(root, place, "implicit", uri)
        shutil.rmtree(project.folder / "var/outlines")
        brief = replace(whole, lists=NO_LISTS, is_brief=True)
        write_outline(root, place, "implicit", version_of(uri), brief)

        assert sizes_of(root, place, "implicit", uri).is_brief
        made = outline_of(root, place, "implicit", uri)

        assert made.lists.rows() == whole.lists.rows()
        assert made.settings == whole.settings is not None
        assert read_outline(root, place, "implicit", version_of(uri)) is not None

    def test_retention_takes_those_of_the_blobs_that_go_and_of_no_other(
        self, project: Project
    ) -> None:
        config = project.configure()
        (surface,) = config.surfaces
        for number in range(3):
            project.land(day(number), visits(number, 2))
        project.materialize(config, [day(0), day(1), day(2)])
        later = datetime.now(UTC) + timedelta(days=400)
        keep = Retention(publications=1, days=1, grace_hours=1)

        plan = retain(project.store, surface, keep, WHY, clock=lambda: later)

        live = project.live(config)
        assert live
        assert len(plan.blobs) == 2 * len(KINDS)
        left = {layout.outlined(of.key) for of in project.store.list("outlines")}
        assert left == {Path(uri).stem for uri in live.current.values()}

    def test_what_is_live_and_damaged_is_not_compared_and_the_day_is_published(
        self, project: Project
    ) -> None:
        config = project.configure({"artifacts": OF_USERS})
        project.land(day(0), visits(0, 200))
        project.land(day(1), [event("a", of=day(1), user_id=None)])
        project.materialize(config, [day(0)])
        live = project.live(config)
        assert live
        shutil.rmtree(project.folder / "var/outlines")
        for kind in ("implicit", "session_seq"):
            Path(live.current[kind].removeprefix("file://")).unlink()

        assert project.materialize(config, [day(1)]).succeeded

    def test_they_stand_under_the_version(self, project: Project) -> None:
        config = project.configure()
        project.land(day(0), visits(0, 2))
        project.materialize(config, [day(0)])

        live = project.live(config)
        assert live
        versions = {Path(uri).stem for uri in live.current.values()}
        assert {layout.outlined(of.key) for of in project.store.list("outlines")} == versions
