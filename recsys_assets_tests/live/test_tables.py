"""Live documents, and documents as tables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recsys_assets.config import Surface
from recsys_assets.errors import InputError, StorageError
from recsys_assets.live.tables import artifact_table, live_document
from recsys_assets.storage import layout
from recsys_assets_tests.live.conftest import COOC, PLACE, POPULARITY, put_live
from recsys_assets_tests.project import Project

IMPLICIT = {
    "artifact_type": "implicit",
    "users": [
        {"user_id": "u1", "items": [{"item_id": "a", "score": 4}]},
        {"user_id": "u2", "items": []},
    ],
}
CONTENT_SIM = {
    "artifact_type": "content_sim",
    "items": [{"item_id": "a", "tags": ["red", "round"]}, {"item_id": "b", "tags": []}],
}


class TestLiveDocument:
    """The document behind the manifest."""

    def test_it_is_what_was_published(self, project: Project, surface: Surface) -> None:
        put_live(project.store, {"popularity": POPULARITY})

        assert live_document(project.store, surface, "popularity") == POPULARITY

    def test_before_the_first_publish_the_error_says_what_to_do(
        self, project: Project, surface: Surface
    ) -> None:
        with pytest.raises(InputError, match="nothing is live for demo/home yet: materialize"):
            live_document(project.store, surface, "popularity")

    def test_an_unknown_kind_is_refused_with_the_live_ones(
        self, project: Project, surface: Surface
    ) -> None:
        put_live(project.store, {"popularity": POPULARITY, "cooc": COOC})

        with pytest.raises(
            InputError, match="no 'popular' is live for demo/home; there are: cooc, popularity"
        ):
            live_document(project.store, surface, "popular")

    def test_a_missing_blob_is_named(self, project: Project, surface: Surface) -> None:
        put_live(project.store, {"popularity": POPULARITY})
        project.store.delete(layout.blob(PLACE, "popularity", "version-of-popularity"))

        with pytest.raises(StorageError, match=r"version-of-popularity\.json is missing, though"):
            live_document(project.store, surface, "popularity")

    @pytest.mark.parametrize(
        "document",
        [
            [],
            {},
            "text",
            POPULARITY | {"artifact_type": "cooc"},
            POPULARITY | {"window": {}},
            POPULARITY | {"window": {"start": "soon", "end": "late"}},
        ],
    )
    def test_what_is_no_document_of_the_kind_is_refused_by_name(
        self, project: Project, surface: Surface, document: object
    ) -> None:
        put_live(project.store, {"popularity": document})

        with pytest.raises(
            StorageError, match=r"version-of-popularity\.json is no artifact document"
        ):
            live_document(project.store, surface, "popularity")

    def test_a_truncated_blob_is_refused_by_name(self, project: Project, surface: Surface) -> None:
        put_live(project.store, {"popularity": POPULARITY})
        key = layout.blob(PLACE, "popularity", "version-of-popularity")
        project.store.replace(key, json.dumps(POPULARITY).encode()[:-5])

        with pytest.raises(StorageError, match="is no artifact document"):
            live_document(project.store, surface, "popularity")


class TestTable:
    """Documents as tables."""

    @pytest.mark.parametrize(
        ("document", "columns", "rows"),
        [
            (POPULARITY, ["item_id", "count"], [["a", 12], ["b", 3]]),
            (COOC, ["item_id", "entries", "strongest"], [["a", 2, "b"], ["b", 1, "a"]]),
            (IMPLICIT, ["user_id", "entries", "strongest"], [["u1", 1, "a"], ["u2", 0, ""]]),
            (
                IMPLICIT | {"artifact_type": "session_seq"},
                ["user_id", "entries", "strongest"],
                [["u1", 1, "a"], ["u2", 0, ""]],
            ),
            (CONTENT_SIM, ["item_id", "tags"], [["a", "red, round"], ["b", ""]]),
        ],
    )
    def test_each_kind_has_a_row_for_each_entry(
        self, document: dict[str, Any], columns: list[str], rows: list[list[Any]]
    ) -> None:
        table = artifact_table(document, owner=None, limit=10)

        assert (table.columns, table.rows, table.total) == (columns, rows, 2)

    def test_lists_begin_with_the_strongest_and_end_with_the_empty_ones(self) -> None:
        lists: dict[str, list[tuple[str, int]]] = {}
        lists |= {"a": [], "b": [("c", 1)], "c": [("d", 7), ("b", 1)], "d": [("c", 7)], "e": []}
        neighbors = [
            {"item_id": of, "items": [{"item_id": item, "count": count} for item, count in items]}
            for of, items in lists.items()
        ]

        table = artifact_table(
            {"artifact_type": "cooc", "neighbors": neighbors}, owner=None, limit=3
        )

        assert table.rows == [["c", 2, "d"], ["d", 1, "c"], ["b", 1, "c"]]

    @pytest.mark.parametrize(
        ("document", "owner", "columns", "rows"),
        [
            (POPULARITY, "b", ["item_id", "count"], [["b", 3]]),
            (COOC, "a", ["item_id", "count"], [["b", 2], ["c", 1]]),
            (IMPLICIT, "u1", ["item_id", "score"], [["a", 4]]),
            (IMPLICIT, "u2", ["item_id", "score"], []),
            (IMPLICIT | {"artifact_type": "session_seq"}, "u1", ["item_id", "score"], [["a", 4]]),
            (CONTENT_SIM, "a", ["item_id", "tags"], [["a", "red, round"]]),
        ],
    )
    def test_an_id_gives_its_own_list(
        self, document: dict[str, Any], owner: str, columns: list[str], rows: list[list[Any]]
    ) -> None:
        table = artifact_table(document, owner=owner, limit=10)

        assert (table.columns, table.rows) == (columns, rows)

    def test_the_limit_cuts_the_rows_and_not_the_total(self) -> None:
        table = artifact_table(POPULARITY, owner=None, limit=1)

        assert (table.rows, table.total) == ([["a", 12]], 2)

    @pytest.mark.parametrize(
        ("document", "owner", "name"),
        [
            (POPULARITY, "z", "item_id"),
            (COOC, "z", "item_id"),
            (IMPLICIT, "a", "user_id"),
            (CONTENT_SIM, "", "item_id"),
        ],
    )
    def test_an_unknown_id_is_refused(
        self, document: dict[str, Any], owner: str, name: str
    ) -> None:
        with pytest.raises(InputError, match=f"no {name} '{owner}' in the live "):
            artifact_table(document, owner=owner, limit=10)

    @pytest.mark.parametrize(
        "document",
        [
            {"artifact_type": "popularity"},
            {"artifact_type": "popularity", "items": [{"item_id": "a"}]},
            {"artifact_type": "popularity", "items": 3},
            {"artifact_type": "cooc", "neighbors": ["a"]},
            {"artifact_type": "of_the_future", "vectors": []},
        ],
    )
    def test_a_document_laid_out_otherwise_is_refused(self, document: dict[str, Any]) -> None:
        with pytest.raises(StorageError, match="document cannot be shown"):
            artifact_table(document, owner=None, limit=10)

    @pytest.mark.parametrize(
        ("document", "owner", "column"),
        [(COOC, None, "item_id"), (IMPLICIT, None, "strongest"), (IMPLICIT, "u1", "item_id")],
    )
    def test_the_column_that_names_items_is_never_the_one_of_users(
        self, document: dict[str, Any], owner: str | None, column: str
    ) -> None:
        assert artifact_table(document, owner=owner, limit=10).item_column == column
