"""What is live, as status and as tables, without Dagster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recsys_assets.config import Surface
from recsys_assets.documents import Window
from recsys_assets.errors import InputError, StorageError
from recsys_assets.operations.freshness import stale_because
from recsys_assets.operations.inspect import (
    artifact_table,
    live_document,
    surface_status,
)
from recsys_assets.storage import layout
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Change, Live, Why, flip, publish
from recsys_assets_tests.project import Project, day

FLIPPED = datetime(2026, 1, 2, 3, tzinfo=UTC)
POPULARITY = {
    "v": 1,
    "artifact_type": "popularity",
    "window": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
    "items": [{"item_id": "a", "count": 12}, {"item_id": "b", "count": 3}],
}
COOC = {
    "artifact_type": "cooc",
    "neighbors": [
        {"item_id": "a", "items": [{"item_id": "b", "count": 2}, {"item_id": "c", "count": 1}]},
        {"item_id": "b", "items": [{"item_id": "a", "count": 2}]},
    ],
}
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


@pytest.fixture
def surface(project: Project) -> Surface:
    return project.configure().surfaces[0]


def put_live(store: LocalStore, documents: Mapping[str, Any]) -> None:
    """Publish documents as they are, without a pipeline."""
    current = {}
    for kind, document in documents.items():
        key = layout.blob("demo", "home", kind, f"version-of-{kind}")
        store.replace(key, json.dumps(document).encode())
        current[kind] = store.uri(key)
    publish(
        store,
        tenant="demo",
        surface="home",
        window=Window.ending_with(day(0), days=1),
        current=current,
        why=Why("run", "somebody", "a test"),
        clock=lambda: FLIPPED,
    )


def pin(store: LocalStore) -> None:
    """Hold publishes back, as `recsys-assets pin` does."""

    def decide(live: Live | None) -> Change:
        assert live
        assert live.window
        return Change("pin", live.window, live.current, pinned=True)

    why, later = Why("run", "somebody", "a test"), FLIPPED + timedelta(hours=6)
    flip(store, tenant="demo", surface="home", decide=decide, why=why, clock=lambda: later)


def put_manifest(store: LocalStore, manifest: object) -> None:
    store.replace(layout.manifest("demo", "home"), json.dumps(manifest).encode())


class TestStatus:
    """What is live, and since when."""

    def test_before_the_first_publish_nothing_is_live_and_nothing_is_written(
        self, project: Project, surface: Surface
    ) -> None:
        status = surface_status(project.store, surface, now=FLIPPED)

        assert status.live is None
        assert status.to_json() == {
            "tenant": "demo",
            "surface": "home",
            "live": False,
            "window": None,
            "generation": None,
            "pinned": False,
            "pin": None,
            "updated_at": None,
            "age_seconds": None,
            "days_behind": None,
            "stale": True,
            "stale_because": "nothing is live, though 2026-01-01, its first day, is over",
            "kinds": {},
            "error": None,
        }
        assert not (project.folder / "var").exists()

    def test_it_names_window_generation_versions_and_sizes(
        self, project: Project, surface: Surface
    ) -> None:
        put_live(project.store, {"popularity": POPULARITY})

        status = surface_status(project.store, surface, now=FLIPPED + timedelta(hours=5))

        uri = project.store.uri("objectstore/demo/home/popularity/version-of-popularity.json")
        assert status.to_json() == {
            "tenant": "demo",
            "surface": "home",
            "live": True,
            "window": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
            "generation": 1,
            "pinned": False,
            "pin": None,
            "updated_at": "2026-01-02T03:00:00.000000Z",
            "age_seconds": 5 * 3600,
            "days_behind": 0,
            "stale": False,
            "stale_because": None,
            "kinds": {
                "popularity": {
                    "version": "version-of-popularity",
                    "uri": uri,
                    "size_bytes": len(json.dumps(POPULARITY)),
                }
            },
            "error": None,
        }

    def test_it_says_that_publishes_are_held_back(self, project: Project, surface: Surface) -> None:
        put_live(project.store, {"popularity": POPULARITY})
        pin(project.store)

        status = surface_status(project.store, surface, now=FLIPPED).to_json()

        assert (status["generation"], status["pinned"]) == (2, True)
        assert status["pin"] == {
            "since": "2026-01-02T09:00:00.000000Z",
            "who": "somebody",
            "reason": "a test",
        }

    @pytest.mark.parametrize(
        ("now", "behind"),
        [
            (datetime(2026, 1, 2, 0, 0, tzinfo=UTC), 0),
            (datetime(2026, 1, 2, 23, 59, tzinfo=UTC), 0),
            (datetime(2026, 1, 3, 0, 0, tzinfo=UTC), 1),
            (datetime.fromisoformat("2026-01-03T00:30:00+02:00"), 0),
            (datetime(2026, 2, 1, tzinfo=UTC), 30),
            (datetime(2026, 2, 2, tzinfo=UTC), 30),  # the surface ends with 31 January
            (datetime(2030, 1, 1, tzinfo=UTC), 30),
            (datetime(2025, 12, 1, tzinfo=UTC), 0),  # a clock that is behind
        ],
    )
    def test_a_surface_is_behind_by_the_whole_utc_days_it_could_have_published(
        self, project: Project, surface: Surface, now: datetime, behind: int
    ) -> None:
        put_live(project.store, {"popularity": POPULARITY})

        assert surface_status(project.store, surface, now=now).days_behind == behind

    def test_what_leaves_the_artifacts_as_they_are_makes_them_no_younger(
        self, project: Project, surface: Surface
    ) -> None:
        """Retention flips the pointer at night: hours counted from there would never run out."""
        put_live(project.store, {"popularity": POPULARITY})
        pin(project.store)

        status = surface_status(project.store, surface, now=FLIPPED + timedelta(hours=7))

        assert status.generation == 2
        assert (status.flipped_at, status.age) == (FLIPPED, timedelta(hours=7))

    def test_an_age_of_zero_is_zero_and_not_unknown(
        self, project: Project, surface: Surface
    ) -> None:
        put_live(project.store, {"popularity": POPULARITY})

        assert surface_status(project.store, surface, now=FLIPPED).to_json()["age_seconds"] == 0

    def test_a_missing_blob_has_no_size_and_the_others_keep_theirs(
        self, project: Project, surface: Surface
    ) -> None:
        put_live(project.store, {"popularity": POPULARITY, "cooc": COOC})
        project.store.delete(layout.blob("demo", "home", "cooc", "version-of-cooc"))

        kinds = surface_status(project.store, surface, now=FLIPPED).kinds

        assert kinds["cooc"].size_bytes is None
        assert kinds["cooc"].version == "version-of-cooc"
        assert kinds["popularity"].size_bytes == len(json.dumps(POPULARITY))

    @pytest.mark.parametrize("updated_at", ["2026-01-02T03:00:00.123456789Z", "2026-01-02T03:00Z"])
    def test_a_manifest_of_another_producer_is_live_without_a_generation(
        self, project: Project, surface: Surface, updated_at: str
    ) -> None:
        put_manifest(
            project.store,
            {"current": {"popularity": "file:///elsewhere/v1.json"}, "updated_at": updated_at},
        )

        status = surface_status(project.store, surface, now=FLIPPED + timedelta(minutes=1))

        assert status.to_json() | {"kinds": None} == {
            "tenant": "demo",
            "surface": "home",
            "live": True,
            "window": None,
            "generation": None,
            "pinned": False,
            "pin": None,
            "updated_at": updated_at,
            "age_seconds": 60,
            "days_behind": None,
            "stale": True,
            "stale_because": stale_because(status),
            "kinds": None,
            "error": None,
        }
        assert status.kinds["popularity"].version == "v1"
        assert status.kinds["popularity"].size_bytes is None

    @pytest.mark.parametrize("updated_at", ["yesterday", "", "2026-01-02T03:00:00"])
    def test_a_time_that_is_none_gives_no_age(
        self, project: Project, surface: Surface, updated_at: str
    ) -> None:
        put_manifest(project.store, {"current": {}, "updated_at": updated_at})

        status = surface_status(project.store, surface, now=FLIPPED)

        assert status.age is None
        assert status.to_json()["age_seconds"] is None

    @pytest.mark.parametrize("manifest", [[], {}, {"current": 3, "updated_at": ""}, "text"])
    def test_a_damaged_manifest_is_an_error_that_names_it_and_nothing_else_is_known(
        self, project: Project, surface: Surface, manifest: object
    ) -> None:
        put_manifest(project.store, manifest)

        status = surface_status(project.store, surface, now=FLIPPED)

        where = project.store.uri(layout.manifest("demo", "home"))
        assert str(status.error).startswith(f"{where} is not a manifest: ")
        assert status.to_json() == {
            "tenant": "demo",
            "surface": "home",
            "live": None,
            "window": None,
            "generation": None,
            "pinned": None,
            "pin": None,
            "updated_at": None,
            "age_seconds": None,
            "days_behind": None,
            "stale": True,
            "stale_because": f"what is live cannot be told: {status.error}",
            "kinds": {},
            "error": status.error,
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
        project.store.delete(layout.blob("demo", "home", "popularity", "version-of-popularity"))

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
        key = layout.blob("demo", "home", "popularity", "version-of-popularity")
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
