"""Trusted days: which of those that are stored a release, or an experiment, is scored on."""

from __future__ import annotations

import shutil

from recsys_assets.audit.trusted_days import TrustedDays
from recsys_assets.config import Gates
from recsys_assets_tests.project import Project, day
from recsys_assets_tests.town import SOON, USERS, Town, usual


def test_days_that_gates_found_unsound_are_not_trusted_where_gates_are_on(
    project: Project, fast: None
) -> None:
    town = Town.of(project, mode="warn", release={"trusted_days": 4})
    town.goes_on(0, 9)
    assert town.audit(day(10), usual(day(10), range(USERS // 3))).passed
    off = Gates.model_validate({**SOON, "mode": "off", "release": {"trusted_days": 4}})
    without = town.surface.model_copy(update={"gates": off})

    for surface, wanted in ((town.surface, [6, 7, 8, 9]), (without, [7, 8, 9, 10])):
        trusted = TrustedDays(project.store, surface)
        assert trusted.before(day(11))[0] == [day(number) for number in wanted]
        assert (trusted.on(day(10)) is None) == (surface is town.surface)
        assert trusted.on(day(11)) is None  # it is not there


def test_profiles_that_are_gone_are_made_again_however_far_back_and_kept_where_that_is_wanted(
    project: Project, fast: None
) -> None:
    gates = {"history_days": 14, "release": {"trusted_days": 12}}
    town = Town.of(project, **gates)
    town.goes_on(0, 23)
    kept = TrustedDays(project.store, town.surface).before(day(24))
    profiles = project.folder / "var/profiles"
    assert kept[0] == [day(number) for number in range(12, 24)]
    shutil.rmtree(profiles)

    made = TrustedDays(project.store, town.surface, keeps=False).before(day(24))

    assert made[0] == kept[0]
    assert made[1]
    assert not profiles.exists()
    TrustedDays(project.store, town.surface).before(day(24))
    assert len(list(profiles.rglob("*.arrow"))) == 24
