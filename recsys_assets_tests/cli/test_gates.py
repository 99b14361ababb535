"""The commands on gates, and what `history` says of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recsys_assets_tests.cli.conftest import done, refused, rows, run, use_config
from recsys_assets_tests.project import Project, day
from recsys_assets_tests.town import Town, usual


@pytest.fixture
def town(project: Project, monkeypatch: pytest.MonkeyPatch, fast: None) -> Town:
    town = Town.of(project)
    use_config(project.config_file, monkeypatch)
    return town


def override(number: int, *more: str, checks: str = "volume") -> list[str]:
    reason = ["--reason", "the sale began"]
    return [
        *("gates", "override", "demo/home", "--day", str(day(number)), "--checks", checks),
        *reason,
        *more,
    ]


def test_an_override_is_recorded_and_history_shows_who_and_why(town: Town) -> None:
    town.goes_on(0, 5)
    few = usual(day(6))[:40]
    assert town.audit(day(6), few).verdicts["volume"].outcome == "failed"

    done = run(*override(6, checks="volume, shape"))
    announced = run(*override(9, "--ahead", "--restart-baseline"))

    assert (done.exit_code, announced.exit_code) == (0, 0), done.output + announced.output
    assert done.stdout == (
        "demo/home 2026-01-07: volume, shape overridden, for the events that failed. Materialize "
        "the day\n"
    )
    assert "for whichever events land" in announced.stdout
    printed = run("history", "demo/home").stdout
    assert "accepted against gates" in printed
    assert printed.index("2026-01-10") < printed.index("2026-01-07")
    assert printed.count("the sale began") == 2
    newest, oldest = json.loads(run("history", "demo/home", "--json").stdout)["overrides"]
    assert (newest["fingerprint"], newest["restart_baseline"]) == (None, True)
    assert oldest["checks"] == ["volume", "shape"]
    assert "@" in oldest["who"]
    assert town.audit(day(6), few).verdicts["volume"].outcome == "warned"


def test_an_override_of_a_catalog_says_that_it_holds_for_the_catalog(
    town: Town,
) -> None:
    town.project.configure()

    now = run(*override(3, checks="catalog_fits"))
    ahead = run(*override(3, "--ahead", checks="catalog_fits"))

    assert now.stdout == (
        "demo/home 2026-01-04: catalog_fits overridden, for the catalog as it is now. Materialize "
        "the day\n"
    )
    assert "for whichever catalog lands" in ahead.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (override(3), 1, "no events of demo/home 2026-01-04 were judged yet"),
        (override(3, checks="volumes"), 1, "no gate 'volumes'; there are: volume, shape"),
        (override(3)[:5], 2, "Missing option '--checks'"),
    ],
)
def test_what_cannot_be_overridden_is_told(
    town: Town, arguments: list[str], code: int, said: str
) -> None:
    result = run(*arguments)

    assert result.exit_code == code
    assert said in result.output
    assert not (town.project.folder / "var/registry/overrides").exists()


def test_calibrating_prints_false_alarms_and_what_would_pass_them_and_faults(
    project: Project, monkeypatch: pytest.MonkeyPatch, fast: None
) -> None:
    town = Town.of(project, mode="warn")
    use_config(project.config_file, monkeypatch)
    town.goes_on(0, 7)
    assert town.audit(day(8), usual(day(8), range(16))).passed

    result = done(run("gates", "calibrate", "demo/home"))

    assert "demo/home, 2026-01-05 to 2026-01-09: 1 of 5 judged days fail as they are" in (
        result.stdout
    )
    printed = {row[2] if len(row) == 7 else row[0]: row for row in rows(result)}
    assert printed["rows"] == ["2026-01-09", "volume", "rows", "64", "160", "0.450", "0.917"]
    assert "All of them pass with gates.margins: {rows: 0.917, sessions: 0.917" in result.stdout
    assert "demo/home, faults put into 1 day: % stopped" in result.stdout
    assert printed["new user ids 100 %"] == [
        *("new user ids 100 %", "", "", "100%", "100%", "100%")
    ]
    assert printed["lose sessions 20 %"][1:] == ["", "", "", "", "0%"]
    assert "of 58 faults are stopped on at least 90 % of days\nmissed: " in result.stdout
    assert "lose sessions 20 %" in result.stdout.splitlines()[-1]
    assert "demo/home: judging 2026-01-01, of the days to 2026-01-09\n" in result.stderr


def test_calibrating_gives_the_same_to_machines(town: Town) -> None:
    town.goes_on(0, 8)

    found = json.loads(done(run("gates", "calibrate", "demo/home", "--days", "1", "--json")).stdout)

    assert (found["tenant"], found["surface"], found["mode"]) == ("demo", "home", "block")
    assert (found["judged"], found["alarms"], found["margins"]) == (["2026-01-09"], [], {})
    assert found["with_faults"] == ["2026-01-09"]
    faults = {fault["fault"]: fault for fault in found["faults"]}
    assert faults["new user ids 100 %"] == {
        "fault": "new user ids 100 %",
        "days": 1,
        "stopped": {"volume": 0, "shape": 0, "identity": 1, "replay": 1, "any": 1},
        "missed": [],
    }
    assert faults["lose sessions 20 %"]["missed"] == ["2026-01-09"]


def test_calibrating_where_all_days_pass_has_no_table_of_them(town: Town) -> None:
    town.goes_on(0, 7)

    lines = done(run("gates", "calibrate", "demo/home")).stdout.splitlines()

    assert lines[0] == ("demo/home, 2026-01-05 to 2026-01-08: 0 of 4 judged days fail as they are")
    assert lines[1] == "demo/home, faults put into 1 day: % stopped"


def test_calibrating_of_too_few_days_is_refused(town: Town) -> None:
    town.goes_on(0, 2)

    message = refused(run("gates", "calibrate", "demo/home"), code=1)

    assert message.endswith("and one to be judged. Materialize 5 more\n")
    assert "Error: demo/home has 3 accepted days, and 8 are needed: " in message


def test_a_fault_that_changes_nothing_says_so(project: Project, town: Town) -> None:
    for number in range(9):
        events = [event | {"user_id": None} for event in usual(day(number))]
        assert town.audit(day(number), events).passed

    result = done(run("gates", "calibrate", "demo/home", "--days", "1"))

    assert ["users swapped 50 % (changes nothing here)", *[""] * 5] in rows(result)


def test_a_variant_is_told_whose_gates_judge_its_events(town: Town) -> None:
    own: dict[str, Any] = {"artifacts": {"popularity": {}}}
    town.project.configure({}, {"surface": "lab", "variant_of": "demo/home", **own})
    of_the_variant = ["demo/lab" if word == "demo/home" else word for word in override(3)]

    result = run(*of_the_variant, "--ahead")

    assert result.exit_code == 1
    assert "demo/lab is a variant of demo/home, whose events gates judge" in result.output
    assert not (town.project.folder / "var/registry/overrides").exists()
