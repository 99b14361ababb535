"""Withdrawn items, weights and bots, from the configuration to what is live, through Dagster."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.config import Config
from recsys_assets.kinds import KINDS
from recsys_assets.storage import layout
from recsys_assets.storage.registry import read_staged
from recsys_assets.windows import SourceHash
from recsys_assets_tests.defs.test_jobs import ASKED, DO_IT, Site, failure
from recsys_assets_tests.defs.test_sensors import FEW, everything, factory
from recsys_assets_tests.project import DAY, SMALL, Project, day, event

EVENT_KINDS = [kind.name for kind in KINDS.values() if kind.reads == "events"]
DENY = {"items": {"deny": "denied.txt"}}


def deny(project: Project, *items: str) -> Path:
    path = project.folder / "denied.txt"
    path.write_text("# withdrawn\n\n" + "".join(f" {item}\n" for item in items))
    return path


def documents(project: Project, config: Config, of: date) -> dict[str, str]:
    """Return the list of each staged document of a day, as text."""
    (surface,) = config.surfaces
    texts = {}
    for kind in surface.artifacts.kinds:
        ref = read_staged(project.store, surface.place, surface.segment, kind, of)
        found = project.store.read(layout.blob(surface.place, kind, ref.version))
        assert found is not None
        texts[kind] = json.dumps(json.loads(found.data)[KINDS[kind].layout.key])
    return texts


def hashes(project: Project, config: Config, of: date) -> dict[str, SourceHash]:
    (surface,) = config.surfaces
    where = (project.store, surface.place, surface.segment)
    return {
        kind: SourceHash.from_text(read_staged(*where, kind, of).source_hash)
        for kind in surface.artifacts.kinds
    }


class TestSensors:
    """A changed list makes the newest day again, and nothing else."""

    @pytest.mark.parametrize("window_days", [1, 3])
    def test_another_list_makes_only_the_newest_day_again(
        self, project: Project, window_days: int
    ) -> None:
        deny(project, "b")
        shop = factory(project, window_days=window_days, **DENY)
        for number in range(3):
            shop.land(number, "a", "b", "c")
        shop.tick()
        shop.requested()
        shop.make(0, 1, 2)
        for _ in range(2):
            assert shop.tick() == []
            assert shop.requested() == {}
        deny(project, "b", "c")

        (reported,) = shop.tick()

        assert reported.asset_key.path[-1] == "denied_items"
        kinds = [*FEW, "manifest"]
        assert shop.requested() == {name: [day(2)] for name in kinds}
        shop.make(2)
        assert shop.tick() == []
        assert shop.requested() == {}
        made = documents(project, shop.config, day(2))
        assert not [kind for kind, text in made.items() if '"c"' in text]

    def test_late_data_for_a_day_that_no_list_was_reported_for_is_made(
        self, project: Project
    ) -> None:
        deny(project, "b")
        shop = factory(project, **DENY)
        for number in range(3):
            shop.land(number, "a", "b")
        shop.tick()
        shop.requested()
        shop.make(0, 1, 2)
        shop.land(0, "a", "b", "c")

        shop.tick()

        assert shop.asked() == everything(DAY)

    def test_another_catalog_makes_all_that_lists_only_its_items_again(
        self, project: Project
    ) -> None:
        shop = factory(project, items={"only_in_catalog": True})
        for number in range(2):
            shop.land(number, "a", "b", "c")
        shop.tick()
        shop.requested()
        shop.make(0, 1)
        assert shop.tick() == []
        (project.folder / "catalog.csv").write_text("item_id,tags\na,blue\n")

        shop.tick()

        kinds = [*FEW, "manifest"]
        assert shop.requested() == {name: [day(1)] for name in kinds}


class TestArtifacts:
    """What is left out is in no document, and is counted."""

    def test_denied_items_are_in_no_list_and_are_counted(self, project: Project) -> None:
        path = deny(project, "b", "never seen")
        config = project.configure(DENY)
        project.land(DAY, [event(item) for item in "abca"])

        report = project.materialize(config, [DAY])

        assert report.published == [DAY]
        made = documents(project, config, DAY)
        assert not [kind for kind, text in made.items() if '"b"' in text]
        assert all('"a"' in text for text in made.values())
        shown = report.metadata[DAY]
        assert {kind: shown[kind]["denied_items"] for kind in KINDS} == dict.fromkeys(KINDS, 1)
        path.write_text("")
        again = project.materialize(config, [DAY])
        assert again.metadata[DAY]["popularity"]["denied_items"] == 0
        assert '"b"' in documents(project, config, DAY)["popularity"]

    def test_only_what_the_catalog_of_the_surface_has_is_listed(self, project: Project) -> None:
        config = project.configure({"items": {"only_in_catalog": True}})
        (project.folder / "catalog.csv").write_text(
            "item_id,tags,namespace\na,red,\nb,,home\nc,red,other\n"
        )
        project.land(DAY, [event(item) for item in "abcd"])

        report = project.materialize(config, [DAY])

        made = documents(project, config, DAY)
        for kind in EVENT_KINDS:
            assert not [item for item in "cd" if f'"{item}"' in made[kind]], kind
            assert report.metadata[DAY][kind]["not_in_catalog"] == 2
        assert '"b"' in made["popularity"]  # without tags, it is of the catalog all the same

    def test_the_source_hash_holds_a_list_only_where_one_is_configured(
        self, project: Project
    ) -> None:
        project.land(DAY, [event(item) for item in "abc"])
        plain = project.configure()
        assert project.materialize(plain, [DAY]).published
        before, versions = hashes(project, plain, DAY), project.live(plain)
        assert {(of.catalog, of.denied) for of in before.values()} == {(None, None)}
        deny(project, "b")
        config = project.configure({"items": {"deny": "denied.txt", "only_in_catalog": True}})
        assert project.materialize(config, [DAY]).published

        after = hashes(project, config, DAY)

        assert {kind: of.data for kind, of in after.items()} == {
            kind: of.data for kind, of in before.items()
        }
        assert len({of.denied for of in after.values()} - {None}) == 1
        assert {kind for kind, of in after.items() if of.catalog} == {*EVENT_KINDS}
        assert versions is not None

    def test_a_list_that_is_not_there_fails_the_artifacts_and_says_what_to_do(
        self, project: Project
    ) -> None:
        config = project.configure(DENY)
        project.land(DAY, [event("a")])

        report = project.materialize(config, [DAY])

        failures = {each.asset: each.description for each in report.failures}
        assert failures.keys() >= {*KINDS}
        assert "denied.txt is not there" in failures["popularity"]
        assert report.published == []

    @pytest.mark.parametrize("window_days", [1, 2])
    def test_bots_of_all_are_in_no_kind_and_counts_of_everything_are_not_taken_for_theirs(
        self, project: Project, window_days: int
    ) -> None:
        """The day was made, and its counts were kept, before bots were left out."""
        surface: dict[str, Any] = {
            "window_days": window_days,
            "guardrails": {"max_items_per_session": 2, "max_oversized_session_share": 1},
        }
        bot = [event(item, session_id="bot", user_id="robot") for item in "xyz"]
        project.land(DAY, [event("a"), event("b"), *bot])
        config = project.configure(surface)
        assert project.materialize(config, [DAY]).published
        before = documents(project, config, DAY)
        assert '"x"' in before["popularity"]
        config = project.configure(surface | {"bots": {"leave_out_of": "all"}})

        report = project.materialize(config, [DAY])

        made = documents(project, config, DAY)
        for kind in EVENT_KINDS:
            assert '"x"' not in made[kind], kind
            assert '"a"' in made[kind] or '"b"' in made[kind], kind
        assert made["cooc"] == before["cooc"]
        assert report.metadata[DAY]["canonical_events"]["oversized_sessions"] == 1
        assert project.materialize(project.configure(surface), [DAY]).done
        assert documents(project, config, DAY) == before

    def test_the_share_of_sessions_left_out_of_all_blocks_the_events(
        self, project: Project
    ) -> None:
        config = project.configure(
            {
                "guardrails": {"max_items_per_session": 2},
                "bots": {"leave_out_of": "all"},
            }
        )
        project.land(DAY, [event(item) for item in "xyz"])

        report = project.materialize(config, [DAY])

        failed = [(each.asset, each.check) for each in report.failures]
        assert failed == [("canonical_events", "max_oversized_session_share")]

    def test_users_of_too_many_items_are_left_out_too(self, project: Project) -> None:
        config = project.configure({"bots": {"leave_out_of": "all", "max_items_per_user": 2}})
        robot = [event(item, session_id=f"s{item}", user_id="robot") for item in "xyz"]
        project.land(DAY, [event("a"), event("b"), *robot])

        assert project.materialize(config, [DAY]).published

        for kind, text in documents(project, config, DAY).items():
            assert not [item for item in "xyz" if f'"{item}"' in text], kind

    @pytest.mark.parametrize("window_days", [1, 2])
    def test_weights_count_in_popularity_and_implicit_alone(
        self, project: Project, window_days: int
    ) -> None:
        events = [
            {"ts": f"{DAY}T12:00:0{at}Z", "s": "s1", "u": "u1", "i": item, "e": kind}
            for at, (item, kind) in enumerate([("a", "view"), ("b", "buy"), ("b", "other")])
        ]
        columns = {"ts": "ts", "session_id": "s", "user_id": "u", "item_id": "i"}
        project.land(DAY, events)
        plain = {"path": "raw", "columns": columns}
        weight = {"column": "e", "values": {"view": 1, "buy": 5}}
        made = {}
        for name, source in (("plain", plain), ("weighted", plain | {"weight": weight})):
            config = project.configure({"source": source, "window_days": window_days})
            assert project.materialize(config, [DAY]).done
            made[name] = documents(project, config, DAY)

        popularity = json.loads(made["weighted"]["popularity"])
        assert {each["item_id"]: each["count"] for each in popularity} == {"a": 1, "b": 6}
        (user,) = json.loads(made["weighted"]["implicit"])
        assert {each["item_id"]: each["score"] for each in user["items"]} == {"a": 1, "b": 6}
        for kind in ("cooc", "session_seq", "content_sim"):
            assert made["weighted"][kind] == made["plain"][kind]


class TestLive:
    """A version that lists denied items becomes live again only by force."""

    def site(self, project: Project) -> Site:
        """Publish two days, then withdraw an item of the first one."""
        path = deny(project)
        site = Site(project, project.configure({**DENY, **SMALL}))
        for number, items in enumerate(("ab", "ac")):
            project.land(day(number), [event(item, of=day(number)) for item in items])
            assert project.materialize(site.config, [day(number)]).published
        path.write_text("b\n")
        return site

    def test_a_rollback_to_a_denied_item_is_refused_unless_forced(self, project: Project) -> None:
        site = self.site(project)
        before = site.live

        refused = site.run("rollback", {**ASKED, "to": "1", **DO_IT})

        assert not refused.success
        assert "popularity lists b" in str(failure(refused))
        assert site.live == before
        dry = site.shown("rollback", {**ASKED, "to": "1"})
        assert "popularity lists b" in dry["denied_items"]
        done = site.shown("rollback", {**ASKED, "to": "1", "force": True, **DO_IT})
        assert done["outcome"] == "published"
        assert "forced: popularity lists b" in site.newest.reason
        pinned = site.run("pin", ASKED)
        assert "popularity lists b" in str(failure(pinned))
        assert site.shown("pin", {**ASKED, "force": True})["pinned"]

    def test_a_list_that_cannot_be_read_lets_nothing_back_unforced(self, project: Project) -> None:
        site = self.site(project)
        (project.folder / "denied.txt").unlink()

        refused = site.run("rollback", {**ASKED, "to": "1", **DO_IT})

        assert "nobody knows which items are denied" in str(failure(refused))

    def test_a_rollback_of_a_kind_looks_at_that_kind_alone(self, project: Project) -> None:
        site = self.site(project)
        (project.folder / "denied.txt").write_text("a\n")

        done = site.run("rollback", {**ASKED, "to": "1", "kind": "cooc", **DO_IT})

        assert not done.success
        (project.folder / "denied.txt").write_text("unknown\n")
        assert site.shown("rollback", {**ASKED, "to": "1", "kind": "cooc", **DO_IT})

    def test_a_newest_day_made_before_the_list_changed_is_not_published(
        self, project: Project
    ) -> None:
        site = self.site(project)
        site.shown("rollback", {**ASKED, "to": "1", "force": True, "pin": True, **DO_IT})
        (project.folder / "denied.txt").write_text("a\n")

        released = site.run("release", ASKED)

        assert "denied by" in str(failure(released))
        assert project.materialize(site.config, [day(1)]).published
