"""Accepted days are read as they are, and never taken for days that are not there."""

from __future__ import annotations

import pytest

from recsys_assets.errors import StorageError
from recsys_assets.events.accepted import accepted_days
from recsys_assets.storage import layout
from recsys_assets_tests.defs.looking import HOME, land
from recsys_assets_tests.project import Project, day


def test_accepted_days_are_read_and_the_others_are_left_out(project: Project) -> None:
    config = project.configure()
    land(project, 0, 2)
    project.materialize(config, [day(0), day(2)])

    found = accepted_days(project.store, HOME, [day(n) for n in range(4)])

    assert list(found) == [day(0), day(2)]
    assert found[day(2)].location == str(project.folder / "var" / layout.canonical(HOME, day(2)))
    assert found[day(2)].frame.select("item_id").collect().rows() == [("a",), ("b",), ("a",)]
    assert found[day(0)].fingerprint != found[day(2)].fingerprint


def test_a_damaged_accepted_day_is_an_error_and_not_left_out(project: Project) -> None:
    """A window without it would be published as if the day had never been."""
    config = project.configure()
    land(project, 0)
    project.materialize(config, [day(0)])
    project.store.replace(layout.canonical(HOME, day(0)), b"damaged")

    with pytest.raises(StorageError, match=f"Materialize canonical_events of {day(0)} again"):
        accepted_days(project.store, HOME, [day(0)])
