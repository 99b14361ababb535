"""What verify finds, what it leaves alone, and what it must not mistake for damage."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from recsys_assets.config import Retention
from recsys_assets.errors import StoreUnavailableError
from recsys_assets.live.verify import Finding, Verified, verify_each, verify_surface
from recsys_assets.operations.pointer import pin, release
from recsys_assets.operations.retention import retain
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.store import Store, Stored, Versioned
from recsys_assets_tests.live.test_history import publish_as_another_producer
from recsys_assets_tests.shop import WHY, Shop, on
from recsys_assets_tests.storage.conftest import Passing


def verify(
    shop: Shop, *, store: Store | None = None, last: int = 10, grace_hours: float = 24
) -> Verified:
    return verify_surface(
        store or shop.store,
        shop.surface,
        last=last,
        grace=timedelta(hours=grace_hours),
        now=shop.time(),
    )


def found(verified: Verified) -> list[tuple[str, str]]:
    return [(finding.problem, finding.uri) for finding in verified.findings]


@pytest.fixture
def three(shop: Shop) -> Shop:
    """Publish three days."""
    for number in (1, 2, 3):
        shop.day(on(number), number)
    return shop


def file_of(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


class TestWhatIsPublished:
    """Every blob of the live manifest and of the last publications is hashed again."""

    def test_when_all_is_as_it_was_written_there_is_nothing_to_tell(self, three: Shop) -> None:
        before = three.files()

        assert verify(three) == Verified(three.surface, blobs=6, publications=3, findings=[])
        assert three.files() == before

    def test_before_the_first_publish_there_is_nothing_to_look_at(self, shop: Shop) -> None:
        assert verify(shop) == Verified(shop.surface)

    @pytest.mark.parametrize("generation", [1, 3])
    def test_a_missing_blob_is_found_and_the_others_are_looked_at_all_the_same(
        self, three: Shop, generation: int
    ) -> None:
        uris = [current_of(three, number)["cooc"] for number in (generation, 2)]
        for uri in uris:
            file_of(uri).unlink()

        verified = verify(three)

        assert sorted(found(verified)) == sorted(("missing", uri) for uri in uris)
        assert verified.blobs == 6
        assert {each.detail for each in verified.findings} == {
            f"{uri} is missing. Materialize the day's artifact again." for uri in uris
        }

    @pytest.mark.parametrize(
        ("damage", "detail"),
        [
            (lambda data: data.replace(b'"count":3', b'"count":9'), "should hash to"),
            (lambda data: data[:-1], "should hash to"),
            (lambda _: b"", "should hash to"),
        ],
        ids=["altered", "truncated", "empty"],
    )
    def test_an_altered_blob_is_corrupt(self, three: Shop, damage: object, detail: str) -> None:
        assert callable(damage)
        uri = three.live.current["popularity"]
        file_of(uri).write_bytes(damage(file_of(uri).read_bytes()))

        verified = verify(three)

        assert found(verified) == [("corrupt", uri)]
        assert detail in verified.findings[0].detail

    def test_a_blob_that_the_disk_cannot_read_is_corrupt_and_not_the_end(self, three: Shop) -> None:
        bad = three.live.current["popularity"]

        class BadSector(Passing):
            def open(self, key: str) -> tuple[BinaryIO, int]:
                if self.uri(key) == bad:
                    raise OSError(errno.EIO, "Input/output error")
                return super().open(key)

        file_of(current_of(three, 1)["cooc"]).unlink()

        assert found(verify(three, store=BadSector(three.store))) == [
            ("corrupt", bad),
            ("missing", current_of(three, 1)["cooc"]),
        ]

    def test_only_the_last_publications_are_looked_at(self, three: Shop) -> None:
        file_of(current_of(three, 1)["cooc"]).unlink()

        found = [verify(three, last=n) for n in (1, 2, 3, 4)]

        assert [(each.blobs, len(each.findings)) for each in found] == [
            (2, 0), (4, 0), (6, 1), (6, 1),
        ]  # fmt: skip

    def test_flips_that_change_no_version_do_not_count_among_the_last(self, three: Shop) -> None:
        for _ in range(4):
            pin(three.store, three.surface, WHY)
            release(three.store, three.surface.model_copy(update={"segment": "of nobody"}), WHY)

        assert three.generation == 3 + 8
        assert [verify(three, last=n).blobs for n in (1, 2, 3)] == [2, 4, 6]

    def test_what_retention_deleted_is_not_missing(self, three: Shop) -> None:
        three.time.passes(days=9)
        keep = Retention(publications=1, days=1, grace_hours=1)
        plan = retain(three.store, three.surface, keep, WHY, clock=three.time)
        assert len(plan.blobs) == 4

        assert verify(three, last=10) == Verified(three.surface, blobs=2, publications=5)

    def test_what_retention_deleted_and_is_live_again_is_looked_at(self, three: Shop) -> None:
        three.time.passes(days=9)
        keep = Retention(publications=1, days=1, grace_hours=1)
        retain(three.store, three.surface, keep, WHY, clock=three.time)
        three.publish(on(4), three.stage(on(1), 1))
        three.day(on(5), 5)
        file_of(current_of(three, 1)["cooc"]).unlink()

        assert found(verify(three)) == [("missing", current_of(three, 1)["cooc"])]

    def test_another_producers_manifest_is_looked_at_too(self, shop: Shop) -> None:
        publish_as_another_producer(shop)
        assert verify(shop).findings == []

        uri = shop.live.current["cooc"]
        file_of(uri).unlink()

        assert found(verify(shop)) == [("missing", uri)]

    def test_a_blob_of_another_root_is_missing(self, three: Shop) -> None:
        """A root that was copied somewhere else names the blobs of the first."""
        moved = Shop(three.root.with_name("moved"), three.time)
        three.root.rename(moved.root)

        verified = verify(moved)

        uri = moved.store.uri(layout.manifest(Place("demo", "home")))
        assert found(verified) == [("corrupt", uri)]
        assert "another root wrote it" in verified.findings[0].detail


class TestTheRegistry:
    """The manifest, the history and the staged references."""

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"current": 3}'])
    def test_a_damaged_manifest_is_the_finding(self, three: Shop, data: bytes) -> None:
        key = layout.manifest(Place("demo", "home"))
        three.store.replace(key, data)

        verified = verify(three)

        assert found(verified) == [("corrupt", three.store.uri(key))]
        assert "is not a manifest" in verified.findings[0].detail

    @pytest.mark.parametrize("damage", ["missing", "damaged"])
    def test_what_is_behind_a_lost_record_is_told_and_no_blob_is_called_an_orphan(
        self, three: Shop, damage: str
    ) -> None:
        lost = publication_of(three, 2)
        if damage == "missing":
            three.store.delete(lost)
        else:
            three.store.replace(lost, b"{}")
        three.time.passes(days=99)

        verified = verify(three)

        assert found(verified) == [("missing", three.store.uri(lost))]
        assert "What is live is not affected" in verified.findings[0].detail
        assert "recsys-assets repair demo/home --dry-run" in verified.findings[0].detail
        assert (verified.blobs, verified.publications) == (2, 1)

    def test_the_record_of_what_is_live_is_part_of_the_manifest(self, three: Shop) -> None:
        three.store.delete(publication_of(three, 3))

        uri = three.store.uri(layout.manifest(Place("demo", "home")))
        assert found(verify(three)) == [("corrupt", uri)]

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"\xff"])
    def test_a_damaged_staged_reference_is_found(self, three: Shop, data: bytes) -> None:
        key = layout.staged(Place("demo", "home"), "default", "cooc", on(2))
        three.store.replace(key, data)

        verified = verify(three)

        assert found(verified) == [("corrupt", three.store.uri(key))]
        assert verified.findings[0].detail.endswith("; materialize the day again")


class TestOrphans:
    """Blobs that nothing names."""

    def test_one_older_than_the_grace_is_told(self, three: Shop) -> None:
        uris = three.stage(on(4), 7)
        three.stage(on(4), 8)
        three.time.passes(hours=10)

        assert verify(three, grace_hours=10).findings == []
        assert sorted(found(verify(three, grace_hours=9.99))) == sorted(
            ("orphaned", uri) for uri in uris.values()
        )

    def test_what_is_staged_of_any_segment_or_was_ever_published_is_none(self, three: Shop) -> None:
        three.stage(on(4), 4)
        staged = three.root / "staged/demo/home"
        (staged / "default").rename(staged / "another")
        three.time.passes(days=99)

        assert verify(three, last=1).findings == []

    def test_other_surfaces_are_not_looked_at(self, three: Shop) -> None:
        other = Shop(three.root, three.time, name="home2")
        other.stage(on(1), 1)
        other.stage(on(1), 2)
        three.time.passes(days=99)

        assert verify(three).findings == []
        assert len(verify(other).findings) == 2


class TestAStoreThatDoesNotAnswer:
    """Nothing was found then, neither good nor bad."""

    @pytest.mark.parametrize("where", ["manifest", "record", "blob", "staged", "list"])
    def test_that_is_what_is_raised(self, three: Shop, where: str) -> None:
        part = {
            "manifest": "registry/current",
            "record": publication_of(three, 2),
            "blob": "objectstore",
            "staged": "staged",
            "list": "objectstore",
        }[where]

        class Silent(Passing):
            def read(self, key: str) -> Versioned | None:
                self.answer(key)
                return super().read(key)

            def open(self, key: str) -> tuple[BinaryIO, int]:
                self.answer(key, unless=where == "list")
                return super().open(key)

            def list(self, prefix: str) -> Iterator[Stored]:
                self.answer(prefix, unless=where in {"staged", "blob"})
                return super().list(prefix)

            def answer(self, key: str, *, unless: bool = False) -> None:
                if key.startswith(part) and not unless:
                    raise StoreUnavailableError("no answer came in time")

        with pytest.raises(StoreUnavailableError, match="no answer came in time"):
            verify(three, store=Silent(three.store))


def test_a_finding_has_exactly_what_machines_are_told() -> None:
    assert vars(Finding("missing", "file:///x", "why")) == {
        "problem": "missing",
        "uri": "file:///x",
        "detail": "why",
    }


def publication_of(shop: Shop, generation: int) -> str:
    """Return the key of a publication record."""
    folder = "registry/publications/demo/home"
    (key,) = [key for key in shop.files(folder) if f"/{generation:010d}-" in key]
    return key


def current_of(shop: Shop, generation: int) -> dict[str, str]:
    """Return what a generation names."""
    found = shop.store.read(publication_of(shop, generation))
    assert found is not None
    return dict(json.loads(found.data)["current"])


class TestSurfaceBySurface:
    """`verify_each`: in order, each watched, and what is found of one holds back no other."""

    def test_they_are_verified_in_order_and_told_one_by_one(self, shop: Shop) -> None:
        shops = [Shop(shop.root, shop.time, name=name) for name in ("two", "one", "empty")]
        for number, each in enumerate(shops[:2], 1):
            each.day(on(1), number)
        lost = shops[0].live.current["cooc"]
        file_of(lost).unlink()
        told: list[str] = []

        @contextmanager
        def watch(name: str) -> Iterator[None]:
            told.append(f"{name} begins")
            yield
            told.append(f"{name} ends")

        verified = []
        for of_one in verify_each(
            shop.store,
            [each.surface for each in shops],
            last=10,
            grace_hours=24,
            watch=watch,
        ):
            verified.append(of_one)
            told.append(f"{of_one.surface.name} told")

        assert [each.surface for each in verified] == [each.surface for each in shops]
        assert [found(each) for each in verified] == [[("missing", lost)], [], []]
        assert [each.blobs for each in verified] == [2, 2, 0]
        assert told == [
            f"demo/{name} {what}"
            for name in ("two", "one", "empty")
            for what in ("begins", "ends", "told")
        ]

    def test_the_grace_is_in_hours_and_counted_from_now(self, three: Shop) -> None:
        orphan = three.stage(on(3), 7)["cooc"]
        three.stage(on(3), 8)
        two_hours_ago = time.time() - 2 * 3600
        os.utime(file_of(orphan), (two_hours_ago, two_hours_ago))
        surfaces = [three.surface]

        def orphans(hours: int) -> list[str]:
            (verified,) = verify_each(three.store, surfaces, last=1, grace_hours=hours)
            return [finding.uri for finding in verified.findings if finding.problem == "orphaned"]

        assert orphan in orphans(1)
        assert orphan not in orphans(3)
