"""Bots and withdrawn items: what may be configured, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_assets.config import Artifacts
from recsys_assets_tests.config.files import SCHEMES, SURFACE, load, problems

KINDS = ", ".join(kind for kind in Artifacts.model_fields if Artifacts.reads_of(kind) == "events")


@pytest.mark.parametrize(
    ("bots", "kinds", "beyond"),
    [
        ({}, {"cooc"}, False),
        ({"leave_out_of": ["cooc"]}, {"cooc"}, False),
        ({"leave_out_of": ["cooc", "popularity"]}, {"cooc", "popularity"}, True),
        (
            {"leave_out_of": "all"},
            {"popularity", "cooc", "implicit", "session_seq"},
            True,
        ),
    ],
)
def test_kinds_that_leave_out_bots_are_named_or_all(
    file: Path, bots: dict[str, Any], kinds: set[str], beyond: bool
) -> None:
    found = load(file, {**SURFACE, "bots": bots}).surfaces[0].bots

    of_events = ("popularity", "cooc", "implicit", "session_seq")
    assert {kind for kind in of_events if found.are_left_out_of(kind)} == kinds
    assert found.beyond_cooc == beyond
    assert not found.sessions_are_left_out_of("cooc")


@pytest.mark.parametrize(
    ("bots", "said"),
    [
        ({"leave_out_of": []}, "needs cooc, which never has the sessions of bots"),
        ({"leave_out_of": ["popularity"]}, "needs cooc, which never has the sessions of bots"),
        (
            {"leave_out_of": ["cooc", "content_sim"]},
            f"must be all, or kinds among {KINDS}",
        ),
        (
            {"leave_out_of": ["cooc", "nonsense"]},
            f"must be all, or kinds among {KINDS}",
        ),
    ],
)
def test_kinds_that_cannot_leave_out_bots_are_refused(
    file: Path, bots: dict[str, Any], said: str
) -> None:
    found = problems(file, {**SURFACE, "bots": bots})

    assert found == [f"surface demo/home: bots: leave_out_of: {said}"]


def test_the_list_of_denied_items_is_relative_to_the_file(file: Path) -> None:
    def path(deny: str | None) -> str | None:
        return load(file, {**SURFACE, "items": {"deny": deny}}).surfaces[0].items.deny

    assert path("lists/denied.txt") == str(file.parent / "lists/denied.txt")
    assert path("/lists/denied.txt") == "/lists/denied.txt"
    assert path(None) is None
    for scheme in SCHEMES:
        assert path(f"{scheme}bucket/denied.txt") == f"{scheme}bucket/denied.txt"


def test_a_bucket_is_no_list_and_a_catalog_has_to_be_there(file: Path) -> None:
    assert problems(file, {**SURFACE, "items": {"deny": "s3://bucket"}}) == [
        "surface demo/home: items: deny: must name an object in the bucket, not the bucket"
    ]
    assert problems(file, {**SURFACE, "items": {"only_in_catalog": True}}) == [
        "surface demo/home: items.only_in_catalog needs a catalog: add `catalog: {path: ...}`, or "
        "take it away"
    ]
