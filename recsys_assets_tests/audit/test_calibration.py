"""Calibrating the gates of a surface: its stored days, and faults that are put into them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.audit import calibration
from recsys_assets.audit.calibration import Calibration, calibrate
from recsys_assets.compute.faults import FAULTS
from recsys_assets.config import Gates
from recsys_assets.errors import InputError, StorageError
from recsys_assets_tests.project import Project, day
from recsys_assets_tests.town import SOON, USERS, Town, usual


@pytest.fixture
def town(project: Project, fast: None) -> Town:
    """Return a town of eleven days; the eighth is the first that all gates judge."""
    town = Town.of(project)
    town.goes_on(0, 10)
    return town


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put few faults in: for what has nothing to do with which there are."""
    names = ("after noon lost", "one unknown id 50 %", "yesterday's file")
    monkeypatch.setattr(calibration, "FAULTS", {name: FAULTS[name] for name in names})


def calibrated(town: Town, days: int = 100, **gates: Any) -> Calibration:
    config = Gates.model_validate({**SOON, **gates})
    surface = town.surface.model_copy(update={"gates": config})
    return calibrate(town.project.store, surface, days=days)


def files(town: Town) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in town.project.folder.rglob("*") if path.is_file()}


def test_sound_days_pass_faults_are_stopped_and_nothing_is_written(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    before = files(town)

    with caplog.at_level("INFO", "recsys_assets"):
        found = calibrated(town)

    assert found.judged == [day(number) for number in range(4, 11)]
    assert found.alarms == {}
    assert found.with_faults == [day(number) for number in range(7, 11)]
    assert list(found.tried) == list(FAULTS)
    tried = found.tried["one unknown id 50 %"]
    assert (tried.share("identity"), tried.share(), tried.missed) == (1, 1, [])
    # Users of the town come at their own hours: a loss of the evening is one of these.
    assert found.tried["after noon lost"].share("volume") == 1
    missed = found.tried["lose sessions 20 %"]
    assert missed.is_missed
    assert missed.missed == found.with_faults
    assert files(town) == before
    said = "demo/home: faults put into 2026-01-09, day 2 of 4: yesterday's file"
    assert {"demo/home: judging 2026-01-11, of the days to 2026-01-11", said} <= {*caplog.messages}


def test_a_fault_is_judged_as_the_day_would_be_that_has_it(town: Town) -> None:
    found = calibrated(town, days=1)
    early = [event for event in usual(day(10)) if event["ts"][11:13] < "12"]

    verdicts = town.verdicts(10, early)

    assert found.with_faults == [day(10)]
    assert found.tried["after noon lost"].stopped[day(10)] == [
        gate for gate, verdict in verdicts.items() if verdict.outcome == "failed"
    ]


def test_the_same_faults_are_put_in_each_time(town: Town) -> None:
    assert calibrated(town, days=1).tried == calibrated(town, days=1).tried


@pytest.mark.usefixtures("few")
def test_a_false_alarm_names_its_numbers_and_the_margins_with_which_they_pass(
    project: Project, fast: None
) -> None:
    town = Town.of(project, mode="warn")
    town.goes_on(0, 7)
    assert town.audit(day(8), usual(day(8), range(USERS * 2 // 5))).passed
    town.goes_on(9, 11)

    found = calibrated(town)

    assert set(found.alarms) == {day(8)}
    names = {each.name for each in found.alarms[day(8)]}
    assert {"rows", "sessions"} <= names == set(found.margins)
    assert found.margins["rows"] == pytest.approx(0.917, abs=0.002)
    assert day(8) not in found.with_faults
    assert calibrated(town, margins=found.margins).alarms == {}
    closer = {**found.margins, "rows": found.margins["rows"] - 0.002}
    assert [each.name for each in calibrated(town, margins=closer).alarms[day(8)]] == ["rows"]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("mode", ["warn", "off"])
def test_profiles_that_are_missing_change_nothing_and_are_not_made(town: Town, mode: str) -> None:
    kept = calibrated(town, days=2)
    shutil.rmtree(town.project.folder / "var/profiles")

    found = calibrated(town, days=2, mode=mode)

    assert found == kept
    assert not (town.project.folder / "var/profiles").exists()


def test_a_fault_that_changes_no_day_of_the_surface_is_not_counted(
    project: Project, fast: None
) -> None:
    town = Town.of(project)
    for number in range(9):
        events = [event | {"user_id": None} for event in usual(day(number))]
        assert town.audit(day(number), events).passed

    found = calibrated(town, days=1)

    for fault in ("user nulled 100 %", "users swapped 50 %", "new user ids 100 %"):
        assert found.tried[fault].stopped == {}
        assert not found.tried[fault].is_missed
    assert found.tried["all users lack the top 10 groups"].stopped
    assert found.tried["one unknown id 50 %"].share() == 1


@pytest.mark.usefixtures("few")
def test_only_the_newest_days_are_judged_where_that_is_asked(town: Town) -> None:
    assert calibrated(town, days=2).judged == [day(9), day(10)]


@pytest.mark.usefixtures("few")
def test_faults_are_put_into_fewer_days_where_these_are_large(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "_EVENTS", 0)

    found = calibrated(town)

    assert found.with_faults == [day(number) for number in (7, 8, 10)]


@pytest.mark.usefixtures("few")
def test_too_few_days_say_how_many_are_needed(project: Project, fast: None) -> None:
    town = Town.of(project)
    town.goes_on(0, 6)

    with pytest.raises(InputError) as refused:
        calibrated(town)

    assert str(refused.value) == (
        "demo/home has 7 accepted days, and 8 are needed: 3 that a day is replayed against (half "
        "of gates.reference_days), as many as gates.warm_up_days, 4, that were, and one to be "
        "judged. Materialize 1 more"
    )
    town.goes_on(7, 7)
    assert calibrated(town).with_faults == [day(7)]


def test_days_that_lie_too_far_apart_are_told(project: Project, fast: None) -> None:
    town = Town.of(project)
    for number in range(0, 240, 30):
        assert town.audit(day(number), usual(day(number))).passed

    with pytest.raises(
        InputError, match="none of the 8 days of demo/home can be judged: of the 28"
    ):
        calibrated(town)


def test_a_variant_has_no_days_of_its_own(project: Project) -> None:
    config = project.configure({}, {"surface": "other", "variant_of": "demo/home"})

    with pytest.raises(InputError, match="demo/other is made of the days of demo/home, which its"):
        calibrate(project.store, config.surfaces[1], days=1)


@pytest.mark.usefixtures("few")
def test_a_day_that_is_damaged_since_it_was_judged_is_named(town: Town) -> None:
    path = town.project.folder / "var/canonical/demo/home/exposures/2026-01-11.parquet"
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)  # its first column, not its footer
    path.write_bytes(data)

    with pytest.raises(StorageError, match=r"2026-01-11\.parquet is damaged") as refused:
        calibrated(town)

    assert "Materialize canonical_events of 2026-01-11 again." in str(refused.value)


@pytest.mark.usefixtures("few")
def test_other_files_below_canonical_events_are_no_days(town: Town) -> None:
    folder = town.project.folder / "var/canonical/demo/home/exposures"
    (folder / "2026-99-99.parquet").write_bytes(b"")
    (folder / "2026-01-12.parquet.tmp").write_bytes(b"")

    assert calibrated(town, days=1).judged == [day(10)]
