"""The commands on gates, and what `history` says of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recsys_assets_tests.cli.conftest import run, use_config
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


def test_a_variant_is_told_whose_gates_judge_its_events(town: Town) -> None:
    own: dict[str, Any] = {"artifacts": {"popularity": {}}}
    town.project.configure({}, {"surface": "lab", "variant_of": "demo/home", **own})
    of_the_variant = ["demo/lab" if word == "demo/home" else word for word in override(3)]

    result = run(*of_the_variant, "--ahead")

    assert result.exit_code == 1
    assert "demo/lab is a variant of demo/home, whose events gates judge" in result.output
    assert not (town.project.folder / "var/registry/overrides").exists()
