"""What differs between two publications, held to the definitions in plain Python."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import StorageError
from recsys_assets.kinds import KINDS
from recsys_assets.live.compare import Difference, as_rows, compare, compare_up_to
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.store import Stored, Versioned
from recsys_assets_tests.storage.conftest import Passing

WINDOW = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
LISTS = {name: kind.layout for name, kind in KINDS.items() if kind.layout.entry}
ITEMS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)
OWNERS = st.dictionaries(st.sampled_from("uvwxyz"), ITEMS, max_size=6)

Lists = Mapping[str, Sequence[str]]


class Documents(Passing):
    """A store of nothing but documents, by URI."""

    def __init__(self, **documents: Any) -> None:
        self.documents = documents

    def key(self, uri: str) -> str:
        return uri

    def read(self, key: str) -> Versioned | None:
        found = self.documents.get(key)
        return Versioned(json.dumps(found).encode(), "") if found is not None else None

    def stat(self, key: str) -> Stored | None:
        found = self.read(key)
        return Stored(key, len(found.data), datetime.min, "") if found else None


def popularity(items: Sequence[str]) -> dict[str, Any]:
    return document("popularity", items=[{"item_id": item, "count": 1} for item in items])


def content_sim(tags: Lists) -> dict[str, Any]:
    entries = [{"item_id": item, "tags": list(tags)} for item, tags in tags.items()]
    return document("content_sim", items=entries)


def lists(kind: str, of: Lists) -> dict[str, Any]:
    layout = LISTS[kind]
    entries = [
        {layout.owner: name, "items": [{"item_id": item, layout.value: 1} for item in items]}
        for name, items in of.items()
    ]
    return document(kind, **{layout.key: entries})


def document(kind: str, **members: Any) -> dict[str, Any]:
    return {"artifact_type": kind, "window": WINDOW, **members}


def compared(kind: str, before: Any, after: Any) -> list[Difference]:
    store = Documents(old=before, new=after)
    return compare(store, {kind: "old"}, {kind: "new"})


def share(before: Sequence[str], after: Sequence[str], first: int) -> float | None:
    """The oracle of overlap: what both have of their first, by what the longer one has of them."""
    old, new = {*before[:first]}, {*after[:first]}
    return len(old & new) / max(len(old), len(new)) if old or new else None


def mean(values: Sequence[float | None]) -> Any:
    known = [value for value in values if value is not None]
    return pytest.approx(sum(known) / len(known)) if known else None


class TestAgreesWithSets:
    """The oracle is the definition, with sets."""

    @given(ITEMS, ITEMS)
    def test_popularity(self, before: list[str], after: list[str]) -> None:
        (found,) = compared("popularity", popularity(before), popularity(after))

        both = {*before} & {*after}
        assert (found.kind, found.of) == ("popularity", "items")
        assert (found.before, found.after) == (len(before), len(after))
        assert (found.added, found.removed) == (len({*after} - both), len({*before} - both))
        assert found.moved == sum(before.index(item) != after.index(item) for item in both)
        assert found.overlap == {n: share(before, after, n) for n in (10, 50)}
        assert found.is_empty == (before == after)

    @pytest.mark.parametrize("kind", LISTS)
    @given(OWNERS, OWNERS)
    def test_lists(self, kind: str, before: Lists, after: Lists) -> None:
        found, *items = compared(kind, lists(kind, before), lists(kind, after))

        both = before.keys() & after.keys()
        assert (found.kind, found.of) == (kind, LISTS[kind].owners)
        assert (found.before, found.after) == (len(before), len(after))
        assert (found.added, found.removed) == (len({*after} - both), len({*before} - both))
        assert found.moved == sum(before[name] != after[name] for name in both)
        assert found.overlap == {
            n: mean([share(before[name], after[name], n) for name in both]) for n in (10, 50)
        }
        assert len(items) == (LISTS[kind].owners == "users")
        for of_items in items:
            old = {item for each in before.values() for item in each}
            new = {item for each in after.values() for item in each}
            assert (of_items.kind, of_items.of, of_items.moved) == (kind, "items", None)
            assert (of_items.before, of_items.after) == (len(old), len(new))
            assert (of_items.added, of_items.removed) == (len(new - old), len(old - new))
            assert of_items.overlap == {10: None, 50: None}

    @given(OWNERS, OWNERS)
    def test_content_sim(self, before: Lists, after: Lists) -> None:
        (found,) = compared("content_sim", content_sim(before), content_sim(after))

        both = before.keys() & after.keys()
        assert (found.before, found.after) == (len(before), len(after))
        assert (found.added, found.removed) == (len({*after} - both), len({*before} - both))
        assert found.moved == sum(before[name] != after[name] for name in both)
        assert found.overlap == {10: None, 50: None}

    @pytest.mark.parametrize("kind", LISTS)
    @given(OWNERS, OWNERS)
    def test_examples_are_true_and_there_are_some_when_anything_differs(
        self, kind: str, before: Lists, after: Lists
    ) -> None:
        for found in compared(kind, lists(kind, before), lists(kind, after)):
            names = {what: set(found.examples[what]) for what in ("added", "removed", "moved")}
            of_items = found.of == "items" and LISTS[kind].owners == "users"
            old: set[str] = set().union(*before.values()) if of_items else {*before}
            new: set[str] = set().union(*after.values()) if of_items else {*after}
            assert names["added"] <= new - old
            assert names["removed"] <= old - new
            assert names["moved"] <= old & new
            assert [len(each) for each in names.values()] == [
                min(5, count) for count in (found.added, found.removed, found.moved or 0)
            ]


class TestOverlap:
    """Share of the first 10 and 50."""

    @pytest.mark.parametrize(
        ("before", "after", "at_10", "at_50"),
        [
            (range(60), range(60), 1.0, 1.0),
            (range(60), reversed(range(60)), 0.0, 40 / 50),
            (range(60), [*range(1, 60), 0], 9 / 10, 49 / 50),
            (range(10), range(5), 5 / 10, 5 / 10),
            (range(5), range(20), 5 / 10, 5 / 20),
            (range(3), [], 0.0, 0.0),
            ([], [], None, None),
        ],
    )
    def test_of_popularity_is_of_the_longer_one(
        self, before: Any, after: Any, at_10: float | None, at_50: float | None
    ) -> None:
        old, new = [str(n) for n in before], [str(n) for n in after]

        (found,) = compared("popularity", popularity(old), popularity(new))

        assert found.overlap == {10: at_10, 50: at_50}

    def test_of_lists_is_the_mean_over_those_that_are_in_both_and_not_empty(self) -> None:
        before = {"x": "ab", "y": "ab", "empty": "", "gone": "zz"}
        after = {"x": "ab", "y": "ac", "empty": "", "new": "zz"}

        found, _ = compared("implicit", lists("implicit", before), lists("implicit", after))

        assert found.overlap == {10: (1 + 1 / 2) / 2, 50: (1 + 1 / 2) / 2}


class TestWhichKinds:
    """What is compared at all."""

    def test_the_same_uri_is_not_even_read(self) -> None:
        store = Documents(old=popularity("ab"), new=popularity("a"))

        found = compare(
            store,
            {"popularity": "old", "cooc": "missing"},
            {"cooc": "missing", "popularity": "new"},
        )

        assert [each.kind for each in found] == ["popularity"]

    def test_equal_documents_under_two_versions_differ_in_nothing(self) -> None:
        (found,) = compared("popularity", popularity("ab"), popularity("ab"))

        assert found.is_empty
        assert found.examples == {"added": [], "removed": [], "moved": []}

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_kind_in_only_one_is_all_new_or_all_gone(self, kind: str) -> None:
        layout, of = KINDS[kind].layout, {"a": "x", "b": "y"}
        flat = [
            {layout.owner: owner, layout.value: [*of[owner]] if layout.value == "tags" else 1}
            for owner in of
        ]
        it = lists(kind, of) if kind in LISTS else document(kind, **{layout.key: flat})
        store = Documents(it=it)

        came, went = compare(store, {}, {kind: "it"}), compare(store, {kind: "it"}, {})

        assert {(each.before, each.after, each.added, each.removed) for each in came} == {
            (0, 2, 2, 0)
        }
        assert {(each.before, each.after, each.added, each.removed) for each in went} == {
            (2, 0, 0, 2)
        }
        assert not any(each.moved for each in (*came, *went))

    def test_nothing_against_nothing_is_no_difference(self) -> None:
        assert compare(Documents(), {}, {}) == []


class TestDamage:
    """Blobs that cannot be compared."""

    @pytest.mark.parametrize("missing", ["old", "new"])
    def test_a_missing_blob_is_named(self, tmp_path: Path, missing: str) -> None:
        store = LocalStore(tmp_path)
        for name in {"old", "new"} - {missing}:
            store.replace(name, json.dumps(popularity("a")).encode())

        with pytest.raises(StorageError) as caught:
            compare(store, {"popularity": store.uri("old")}, {"popularity": store.uri("new")})

        assert str(caught.value).startswith(f"{store.uri(missing)} is missing")

    @pytest.mark.parametrize(
        "broken",
        [
            document("popularity"),
            document("popularity", items=[{}]),
            document("popularity", items=["a"]),
            document("popularity", items=None),
        ],
    )
    def test_a_document_laid_out_otherwise_is_refused(self, broken: dict[str, Any]) -> None:
        with pytest.raises(StorageError, match="the popularity documents cannot be compared"):
            compared("popularity", popularity("a"), broken)

    def test_a_kind_of_the_future_is_refused(self) -> None:
        with pytest.raises(StorageError, match="the vectors documents cannot be compared"):
            compared("vectors", document("vectors"), document("vectors"))

    def test_a_document_of_another_kind_is_refused(self) -> None:
        with pytest.raises(StorageError, match=r"old is no artifact document: .*holds 'cooc'"):
            compared("popularity", lists("cooc", {}), popularity("a"))


def test_rows_are_text_for_people() -> None:
    old = {f"u{n}": "ab" for n in range(1200)}
    new = {f"u{n}": "a" for n in range(1100)}

    rows = as_rows(compared("implicit", lists("implicit", old), lists("implicit", new)))

    assert rows == [
        {
            "kind": "implicit", "of": "users", "before": "1,200", "after": "1,100", "added": "0",
            "removed": "100", "moved": "1,100", "overlap at 10": "50%", "overlap at 50": "50%",
        },
        {
            "kind": "implicit", "of": "items", "before": "2", "after": "1", "added": "0",
            "removed": "1", "moved": "", "overlap at 10": "", "overlap at 50": "",
        },
    ]  # fmt: skip


def test_json_holds_every_member() -> None:
    (found,) = compared("popularity", popularity("abcdefgh"), popularity("hz"))

    assert json.loads(json.dumps(found.to_json())) == {
        "kind": "popularity",
        "of": "items",
        "before": 8,
        "after": 2,
        "added": 1,
        "removed": 7,
        "moved": 1,
        "overlap": {"10": 1 / 8, "50": 1 / 8},
        "examples": {"added": ["z"], "removed": ["a", "b", "c", "d", "e"], "moved": ["h"]},
    }


class TestWhereNothingMayFail:
    """After a flip: what cannot be compared is told and holds up nothing."""

    BEFORE = popularity("ab")
    AFTER = popularity("ac")

    def differences(
        self, before: Any, after: Any, *, max_bytes: int = 10**6
    ) -> tuple[list[str], dict[str, str]]:
        """Compare two documents of cooc beside two good ones of popularity."""
        store = Documents(p1=self.BEFORE, p2=self.AFTER, c1=before, c2=after)
        found, left_out = compare_up_to(
            store,
            {"popularity": "p1", "cooc": "c1"},
            {"popularity": "p2", "cooc": "c2"},
            max_bytes=max_bytes,
        )
        return [each.kind for each in found], left_out

    def test_what_can_be_compared_is_as_compare_has_it(self) -> None:
        store = Documents(p1=self.BEFORE, p2=self.AFTER)
        uris = {"popularity": "p1"}, {"popularity": "p2"}

        assert compare_up_to(store, *uris, max_bytes=10**6) == (compare(store, *uris), {})

    @pytest.mark.parametrize(
        "damaged",
        [
            None,
            {},
            popularity("a"),
            document("cooc", neighbors=3),
            document("cooc", neighbors=[{"item_id": []}]),
            document("cooc", neighbors=[{"item_id": ["a"], "items": []}]),
        ],
    )
    @pytest.mark.parametrize("side", ["before", "after"])
    def test_a_damaged_document_leaves_the_other_kinds(self, damaged: Any, side: str) -> None:
        good = lists("cooc", {"a": "b"})
        pair = (damaged, good) if side == "before" else (good, damaged)

        kinds, left_out = self.differences(*pair)

        assert kinds == ["popularity"]
        assert set(left_out) == {"cooc"}
        assert left_out["cooc"]

    @pytest.mark.parametrize("side", ["before", "after"])
    def test_a_large_document_is_not_read(self, side: str) -> None:
        large, small = lists("cooc", {"a": "b" * 500}), lists("cooc", {"a": "b"})
        pair = (large, small) if side == "before" else (small, large)

        kinds, left_out = self.differences(*pair, max_bytes=2_000)

        assert kinds == ["popularity"]
        assert left_out["cooc"].endswith(" bytes, compared are at most 2,000")

    def test_a_kind_that_came_or_went_is_compared_with_nothing(self) -> None:
        store = Documents(p=self.AFTER)

        (came,), _ = compare_up_to(store, {}, {"popularity": "p"}, max_bytes=10**6)
        (went,), _ = compare_up_to(store, {"popularity": "p"}, {}, max_bytes=10**6)

        assert (came.before, came.after, went.before, went.after) == (0, 2, 2, 0)

    def test_the_same_document_is_not_even_opened(self) -> None:
        same = {"popularity": "absent"}

        assert compare_up_to(Documents(), same, same, max_bytes=10**6) == ([], {})

    @pytest.mark.parametrize("damaged", [False, True])
    def test_the_collector_runs_again_afterwards(self, damaged: bool) -> None:
        self.differences(None if damaged else lists("cooc", {}), lists("cooc", {"a": "b"}))

        assert gc.isenabled()
