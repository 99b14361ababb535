"""From what is live back to the raw lines."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Any

import pytest

from recsys_assets.audit.events import audit_events
from recsys_assets.audit.shared import Shared
from recsys_assets.config import Surface
from recsys_assets.errors import InputError, StorageError
from recsys_assets.events.accepted import accept_day
from recsys_assets.kinds import KINDS
from recsys_assets.live.trace import Trace, trace
from recsys_assets.operations.pointer import plan_rollback, roll_back
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.publications import read_live
from recsys_assets_tests.live.test_history import publish_as_another_producer
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import WHY, Shop, make_day


@pytest.fixture
def made(project: Project, fast: None) -> Surface:
    """Publish the first day, of two files, of all kinds."""
    return first_day(project)


@pytest.fixture(scope="module")
def untouched(once: Project) -> Surface:
    """Do the same for tests that only read."""
    return first_day(once)


def first_day(project: Project) -> Surface:
    surface = project.configure().surfaces[0]
    project.land(day(0), [event("a"), event("b", user_id="u2"), event("a")], part=".1")
    project.land(day(0), ["", event("b"), event("a", user_id="u2"), event("b")], part=".2")
    assert make_day(project.store, surface, day(0)) == "published"
    return surface


def of(project: Project, surface: Surface, kind: str, owner: str | None = None) -> Trace:
    return trace(project.store, surface, kind, owner=owner)


def lines(found: Trace) -> list[list[tuple[int | None, int | None]]]:
    """Return how many events of the owner, from which line on, by day and file."""
    return [[(file.events, file.first_line) for file in day.files] for day in found.days]


class TestAnArtifact:
    """Where a whole artifact comes from."""

    @pytest.mark.parametrize(
        "kind", [name for name, kind in KINDS.items() if kind.reads == "events"]
    )
    def test_it_leads_to_the_flip_the_record_the_partition_and_the_raw_files(
        self, once: Project, untouched: Surface, kind: str
    ) -> None:
        found = of(once, untouched, kind)

        store, live = once.store, read_live(once.store, Place("demo", "home"))
        assert live is not None
        assert live.publication is not None
        assert found.publication == live.publication.to_json()
        assert found.uri == live.current[kind]
        assert found.record is not None
        assert (found.record["uri"], found.record["run_id"]) == (found.uri, "run-1")
        (traced,) = found.days
        assert traced.day == day(0)
        assert traced.uri == store.uri(layout.canonical(Place("demo", "home"), day(0)))
        assert traced.fingerprint == found.record["source_hash"]
        for number, file in enumerate(traced.files, 1):
            raw = once.folder / f"raw/demo/home/exposure.{day(0)}.{number}.jsonl"
            assert once.folder / "raw" / file.file.name == raw
            assert file.file.size_bytes == raw.stat().st_size
            assert file.file.sha256 == hashlib.sha256(raw.read_bytes()).hexdigest()
            assert (file.now, file.events, file.first_line) == ("there", None, None)
        assert len(traced.files) == 2
        assert found.is_current

    def test_it_is_all_there_as_json(self, once: Project, untouched: Surface) -> None:
        found = json.loads(json.dumps(of(once, untouched, "cooc", "a").to_json(), default=str))

        assert found["days"][0]["day"] == "2026-01-01"
        assert found["days"][0]["files"][0]["file"].keys() == {
            "name",
            "size_bytes",
            "sha256",
            "form",
            "version",
        }
        assert found["days"][0]["files"][0]["events"] == 2
        assert (found["kind"], found["owner"], found["is_current"]) == ("cooc", "a", True)

    def test_a_version_is_live_since_the_flip_that_brought_it(
        self, project: Project, made: Surface
    ) -> None:
        project.land(day(1), [event("z", of=day(1))])
        make_day(project.store, made, day(1))
        plan = plan_rollback(project.store, made, to="1", kind="cooc")
        roll_back(project.store, plan, WHY)
        plan = plan_rollback(project.store, made, to="live", pin=True)
        roll_back(project.store, plan, WHY)

        generations = {
            kind: of(project, made, kind).publication["generation"]
            for kind in ("cooc", "popularity")
        }

        assert generations == {"cooc": 3, "popularity": 2}
        assert of(project, made, "cooc").publication["reason"] == "an incident"
        assert [each.day for each in of(project, made, "cooc").days] == [day(0)]


class TestAnOwner:
    """Where one item or user comes from."""

    @pytest.mark.parametrize(
        ("kind", "owner", "expected"),
        [
            ("popularity", "a", [(2, 1), (1, 3)]),
            ("popularity", "b", [(1, 2), (2, 2)]),
            ("cooc", "a", [(2, 1), (1, 3)]),
            ("implicit", "u1", [(2, 1), (2, 2)]),
            ("implicit", "u2", [(1, 2), (1, 3)]),
            ("session_seq", "u2", [(1, 2), (1, 3)]),
        ],
    )
    def test_its_events_are_counted_by_file_from_the_first_line_on(
        self,
        once: Project,
        untouched: Surface,
        kind: str,
        owner: str,
        expected: list[tuple[int, int]],
    ) -> None:
        found = of(once, untouched, kind, owner)

        assert lines(found) == [expected]
        assert found.owner == owner

    def test_a_file_without_an_event_of_it_has_none(self, project: Project, made: Surface) -> None:
        project.land(day(0), [event("c", user_id="u9")], part=".3")
        make_day(project.store, made, day(0))

        assert lines(of(project, made, "popularity", "c")) == [[(0, None), (0, None), (1, 1)]]

    def test_the_tags_of_an_item_come_from_the_catalog(
        self, once: Project, untouched: Surface
    ) -> None:
        found = of(once, untouched, "content_sim", "b")

        assert (list(found.days), found.is_current) == ([], True)
        assert found.record is not None
        assert found.record["kind"] == "content_sim"

    @pytest.mark.parametrize(
        ("kind", "owner", "name"),
        [
            ("popularity", "z", "item_id"),
            ("cooc", "u1", "item_id"),
            ("implicit", "a", "user_id"),
            ("session_seq", "", "user_id"),
            ("content_sim", "z", "item_id"),
        ],
    )
    def test_one_that_is_not_in_it_is_refused(
        self, once: Project, untouched: Surface, kind: str, owner: str, name: str
    ) -> None:
        with pytest.raises(InputError, match=f"no {name} '{owner}' in the live {kind}"):
            of(once, untouched, kind, owner)


class TestAWindow:
    """Several days, not each of them there."""

    @pytest.fixture
    def weekly(self, project: Project, fast: None) -> Surface:
        """Publish the fourth day; of its five the first is before the start, the third missing."""
        surface = project.configure(
            {"window_days": 5, "artifacts": {"popularity": {}}, "catalog": None}
        ).surfaces[0]
        for number in (0, 1, 3):
            items = "ab" if number else "bb"
            project.land(day(number), [event(item, of=day(number)) for item in items])
            make_day(project.store, surface, day(number))
        return surface

    def test_each_day_of_it_is_told_a_missing_one_too(
        self, project: Project, weekly: Surface
    ) -> None:
        found = of(project, weekly, "popularity", "a")

        assert [each.day for each in found.days] == [day(0), day(1), day(2), day(3)]
        assert [bool(each.fingerprint) for each in found.days] == [True, True, False, True]
        assert lines(found) == [[(0, None)], [(1, 1)], [], [(1, 1)]]
        assert found.is_current

    def test_a_day_that_came_later_makes_it_out_of_date(
        self, project: Project, weekly: Surface
    ) -> None:
        project.land(day(2), [event("a", of=day(2))])
        replace_events(project, weekly, day(2))

        found = of(project, weekly, "popularity", "a")

        assert lines(found)[2] == [(1, 1)]
        assert not found.is_current

    def test_a_day_that_went_makes_it_out_of_date(self, project: Project, weekly: Surface) -> None:
        project.store.delete(layout.canonical(Place("demo", "home"), day(1)))

        assert not of(project, weekly, "popularity").is_current


class TestSinceThen:
    """What changed since the artifact was built."""

    def test_a_raw_file_that_was_replaced_or_removed_is_told(
        self, project: Project, made: Surface
    ) -> None:
        raw = project.folder / "raw/demo/home"
        (raw / f"exposure.{day(0)}.1.jsonl").write_text("{}\n")
        (raw / f"exposure.{day(0)}.2.jsonl").unlink()

        found = of(project, made, "cooc", "a")

        assert [file.now for file in found.days[0].files] == ["size differs", "missing"]
        assert lines(found) == [[(2, 1), (1, 3)]]
        assert found.is_current

    def test_a_source_that_is_gone_has_no_files(self, project: Project, made: Surface) -> None:
        (project.folder / "raw").rename(project.folder / "moved")

        assert {file.now for file in of(project, made, "cooc").days[0].files} == {"missing"}

    def test_canonical_events_that_were_replaced_make_it_out_of_date(
        self, project: Project, made: Surface
    ) -> None:
        project.land(day(0), [event("z")], part=".1")
        replace_events(project, made, day(0))

        found = of(project, made, "popularity", "a")

        assert not found.is_current
        assert found.record is not None
        assert found.days[0].fingerprint != found.record["source_hash"]
        assert lines(found) == [[(0, None), (1, 3)]]

    def test_canonical_events_that_are_gone_make_it_out_of_date(
        self, project: Project, made: Surface
    ) -> None:
        project.store.delete(layout.canonical(Place("demo", "home"), day(0)))

        (traced,) = of(project, made, "popularity", "a").days

        assert (traced.fingerprint, list(traced.files)) == (None, [])
        assert not of(project, made, "popularity").is_current

    @pytest.mark.parametrize("catalog", ["id,tags\na,other\n", "sku\n1\n", None])
    def test_a_catalog_that_changed_broke_or_went_makes_content_sim_out_of_date(
        self, project: Project, made: Surface, catalog: str | None
    ) -> None:
        file = project.folder / "catalog.csv"
        file.unlink() if catalog is None else file.write_text(catalog)

        assert not of(project, made, "content_sim", "a").is_current

    def test_a_surface_that_has_no_catalog_any_more_makes_it_out_of_date(
        self, project: Project, made: Surface
    ) -> None:
        without = made.model_copy(update={"catalog": None})

        assert not of(project, without, "content_sim").is_current


class TestDamage:
    """What cannot be traced."""

    def test_a_version_without_a_record_is_traced_all_the_same(
        self, project: Project, made: Surface
    ) -> None:
        found = of(project, made, "cooc")
        project.store.delete(record_key(found))

        assert of(project, made, "cooc").record is None

    @pytest.mark.parametrize("data", [b"", b"{", b"\xff"])
    def test_a_damaged_record_is_named(self, project: Project, made: Surface, data: bytes) -> None:
        key = record_key(of(project, made, "cooc"))
        project.store.replace(key, data)

        with pytest.raises(StorageError, match=f"{key} is not a registry record"):
            of(project, made, "cooc")

    @pytest.mark.parametrize("members", [{"build": None}, {"items": None}, {"items": [1]}])
    def test_a_document_laid_out_otherwise_is_named(
        self, project: Project, made: Surface, members: dict[str, Any]
    ) -> None:
        store = project.store
        key = store.key(of(project, made, "popularity").uri)
        found = store.read(key)
        assert found is not None
        store.replace(key, json.dumps(json.loads(found.data) | members).encode())

        with pytest.raises(StorageError, match="popularity document cannot be traced"):
            of(project, made, "popularity", "a")

    def test_a_damaged_partition_is_named(self, project: Project, made: Surface) -> None:
        key = layout.canonical(Place("demo", "home"), day(0))
        project.store.replace(key, b"PAR1")

        with pytest.raises(StorageError, match="is not a readable canonical partition"):
            of(project, made, "cooc", "a")

    def test_nothing_live_another_producer_and_a_kind_that_is_not_there(
        self, project: Project, made: Surface, shop: Shop
    ) -> None:
        with pytest.raises(InputError, match="no 'cook' is live for demo/home; there are: "):
            of(project, made, "cook")
        with pytest.raises(InputError, match="nothing is live for demo/home yet"):
            trace(shop.store, shop.surface, "cooc")
        publish_as_another_producer(shop)
        with pytest.raises(InputError, match="by another producer and has no history"):
            trace(shop.store, shop.surface, "cooc")


def record_key(found: Trace) -> str:
    assert found.record is not None
    return layout.record(Place("demo", "home"), found.kind, found.record["version"])


def replace_events(project: Project, surface: Surface, of: date) -> None:
    """Accept a day of canonical events anew, and nothing that is made of it."""
    with project.store.scratch() as scratch:
        events = audit_events(project.store, surface, of, scratch, Shared()).value
        assert events is not None
        accept_day(project.store, surface.place, events)
