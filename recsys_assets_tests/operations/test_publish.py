"""A candidate becomes live unless a flip came in between, and its page says what that changed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.audit import candidates
from recsys_assets.audit.candidates import Candidate, audit_candidate
from recsys_assets.errors import CandidateOvertakenError
from recsys_assets.events.accepted import accepted_days
from recsys_assets.kinds import KINDS
from recsys_assets.operations import publish
from recsys_assets.operations.publish import publish_candidate
from recsys_assets.storage.flips import flip
from recsys_assets.storage.publications import Action, Change, Live, Why
from recsys_assets.storage.registry import StagedRef, read_staged
from recsys_assets.storage.store import Store
from recsys_assets_tests.defs.looking import HOME, land, launch, shown
from recsys_assets_tests.project import Project, day, event

WHY = Why("slow run", "somebody", "a test")


def act(
    store: Store, action: Action, *, pinned: bool = False, retiring: tuple[str, ...] = ()
) -> None:
    """Flip to what is live, in another action's name."""

    def decide(live: Live | None) -> Change:
        assert live
        assert live.window
        return Change(action, live.window, live.current, pinned=pinned, retiring=retiring)

    flip(store, HOME, decide=decide, why=WHY)


def audited_candidate(project: Project, surface: Any) -> Candidate:
    events = accepted_days(project.store, HOME, [day(0)])
    audited = audit_candidate(project.store, surface, day(0), events)
    assert audited.value is not None
    return audited.value


def test_a_candidate_audited_before_a_newer_publish_of_its_day_is_not_flipped(
    project: Project,
) -> None:
    config = project.configure({"artifacts": {"popularity": {}}, "catalog": None})
    surface = config.surfaces[0]
    land(project, 0)
    project.materialize(config, [day(0)])
    old = audited_candidate(project, surface)
    project.land(day(0), [event("late")], part=".2")
    project.materialize(config, [day(0)])
    live = project.live(config)

    with pytest.raises(CandidateOvertakenError, match=r"generation 2 \(publish, .*came in while"):
        publish_candidate(project.store, HOME, old, WHY)

    assert project.live(config) == live


@pytest.mark.parametrize("when", ["while it is gathered", "after it was gathered"])
@pytest.mark.parametrize("action", ["rollback", "retention"])
def test_a_candidate_is_not_flipped_over_a_flip_that_it_did_not_see(
    project: Project, monkeypatch: pytest.MonkeyPatch, when: str, action: Action
) -> None:
    """What is live is looked at before the first version is: only then nothing is missed."""
    config = project.configure({"artifacts": {"popularity": {}}, "catalog": None})
    land(project, 0)
    project.materialize(config, [day(0)])
    project.land(day(0), [event("late")], part=".2")
    for asset in ("canonical_events", "popularity"):
        launch(project, config, asset)
    staged = read_staged(project.store, HOME, "default", "popularity", day(0))
    interrupt = partial(act, project.store, action, retiring=(staged.uri,))

    def read_interrupted(*arguments: Any) -> StagedRef:
        interrupt()
        return read_staged(*arguments)

    if when == "while it is gathered":
        monkeypatch.setattr(candidates, "read_staged", read_interrupted)
    candidate = audited_candidate(project, config.surfaces[0])
    if when == "after it was gathered":
        interrupt()
    live = project.live(config)

    assert candidate.seen == 1
    with pytest.raises(CandidateOvertakenError, match=rf"generation 2 \({action}, "):
        publish_candidate(project.store, HOME, candidate, WHY)

    assert project.live(config) == live


def test_a_candidate_is_flipped_after_other_days_were_published_meanwhile(project: Project) -> None:
    config = project.configure({"artifacts": {"popularity": {}}, "catalog": None})
    land(project, 0, 1)
    project.materialize(config, [day(0)])
    project.land(day(0), [event("late")], part=".2")
    for asset in ("canonical_events", "popularity"):
        launch(project, config, asset)
    candidate = audited_candidate(project, config.surfaces[0])
    act(project.store, "release")

    answer = publish_candidate(project.store, HOME, candidate, WHY)

    assert answer.shown == {"outcome": "published", "flipped": 1, "generation": 3}


def test_a_pinned_surface_is_built_and_staged_and_what_is_live_stays(project: Project) -> None:
    config = project.configure()
    land(project, 0, 1, 2)
    project.materialize(config, [day(1)])
    act(project.store, "pin", pinned=True)
    live = project.live(config)
    project.land(day(1), [event("late", of=day(1))], part=".2")

    report = project.materialize(config, [day(0), day(1), day(2)])

    assert report.succeeded
    outcomes = [report.outcome(day(n)) for n in range(3)]
    assert outcomes == ["superseded", "pinned", "pinned"]
    assert report.metadata[day(2)]["manifest"]["generation"] == 2
    reasons = [report.metadata[day(n)]["manifest"]["why"] for n in range(3)]
    assert reasons == [f"{day(1)} was live, which is later", *[f"{day(1)} was live and pinned"] * 2]
    assert project.live(config) == live
    act(project.store, "release")
    launch(project, config, "manifest", number=2)
    released = project.live(config)
    assert released is not None
    assert released.window is not None
    assert released.window.start == day(2)


def changed(metadata: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return how many items or users came and went, by kind."""
    rows = [row.data for row in metadata["changes"].records]
    return {f"{row['kind']} {row['of']}": (str(row["added"]), str(row["removed"])) for row in rows}


class TestChanges:
    """What the asset page of the manifest shows of a flip."""

    def test_the_first_day_has_nothing_to_be_compared_with(self, project: Project) -> None:
        config = project.configure()
        land(project, 0)

        project.materialize(config, [day(0)])

        found = shown(project, "manifest")
        assert found["compared"].value == "nothing was live before"
        assert "changes" not in found
        assert found["flipped"].value == 1
        sizes = [shown(project, kind)["size_bytes"].value for kind in KINDS]
        assert found["size_bytes"].value == sum(sizes)

    def test_a_day_shows_what_it_changed(self, project: Project) -> None:
        config = project.configure({"artifacts": {"popularity": {}, "implicit": {}}})
        land(project, 0)
        project.land(day(1), [event(item, of=day(1)) for item in "bcd"])
        project.materialize(config, [day(0)])

        project.materialize(config, [day(1)])

        found = shown(project, "manifest", number=1)
        assert found["compared"].value == f"generation 1 ({day(0)}) with 2 ({day(1)})"
        assert changed(found) == {
            "popularity items": ("2", "1"),
            "implicit users": ("0", "0"),
            "implicit items": ("2", "1"),
        }
        assert "not_compared" not in found

    def test_a_day_that_changes_nothing_is_not_compared(self, project: Project) -> None:
        config = project.configure()
        land(project, 0)
        project.materialize(config, [day(0)])

        project.materialize(config, [day(0)])

        found = shown(project, "manifest")
        assert (found["outcome"].value, found["flipped"].value) == ("unchanged", 0)
        assert not {"changes", "compared"} & set(found)

    def test_of_many_days_the_last_one_shows_what_it_changed(self, project: Project) -> None:
        """It stands on the page of the manifest, which shows the newest materialization."""
        config = project.configure({"artifacts": {"popularity": {}, "content_sim": {}}})
        land(project, 0, 1)
        project.land(day(2), [event(item, of=day(2)) for item in "bcd"])

        assert project.materialize(config, [day(0), day(1), day(2)]).succeeded

        found = shown(project, "manifest", number=2)
        assert found["compared"].value == f"generation 2 ({day(1)}) with 3 ({day(2)})"
        assert changed(found)["popularity items"] == ("2", "1")
        for number in (0, 1):
            assert not {"changes", "compared"} & set(shown(project, "manifest", number=number))

    def test_where_the_last_day_is_blocked_the_one_before_shows_it(self, project: Project) -> None:
        config = project.configure({"artifacts": {"popularity": {}, "content_sim": {}}})
        land(project, 0, 1)

        report = project.materialize(config, [day(0), day(1), day(2)])

        assert report.published == [day(0), day(1)]
        found = shown(project, "manifest", number=1)
        assert found["compared"].value == f"generation 1 ({day(0)}) with 2 ({day(1)})"

    def test_a_damaged_document_of_the_day_before_never_fails_a_publish(
        self, project: Project
    ) -> None:
        config = project.configure({"artifacts": {"popularity": {}, "content_sim": {}}})
        land(project, 0, 1)
        project.materialize(config, [day(0)])
        live = project.live(config)
        assert live is not None
        blob = Path(live.current["popularity"].removeprefix("file://"))
        blob.chmod(0o600)
        blob.write_bytes(b"\xff{")

        report = project.materialize(config, [day(1)])

        assert report.succeeded
        found = shown(project, "manifest", number=1)
        assert set(found["not_compared"].value) == {"popularity"}
        assert changed(found) == {"content_sim items": ("0", "0")}

    def test_a_document_that_is_too_large_to_be_compared_is_named(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publish, "_MAX_COMPARED_BYTES", 100)
        config = project.configure({"artifacts": {"popularity": {}}})
        land(project, 0, 1)
        project.materialize(config, [day(0)])

        project.materialize(config, [day(1)])

        found = shown(project, "manifest", number=1)
        assert found["changes"].value == "none"
        assert "compared are at most 100" in found["not_compared"].value["popularity"]
