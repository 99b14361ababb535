"""The gates of a day through Dagster, on real days: blocked, accepted with a reason, published."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from recsys_assets.definitions import build_definitions
from recsys_assets.demo.complete_journey import SURFACE, TENANT, write_raw_events
from recsys_assets.events.accepted import days_of_events
from recsys_assets.operations.overrides import override_gates
from recsys_assets.storage.publications import Why
from recsys_assets_tests.defs.looking import failed
from recsys_assets_tests.grocer import grocer
from recsys_assets_tests.project import Project, day
from recsys_assets_tests.town import SOON, Town, usual

DAYS: Final = [date(2017, 1, 1) + timedelta(days=n) for n in range(30)]
KEY: Final = dg.AssetKey([TENANT, SURFACE, "canonical_events"])
OF_A_MONTH: Final = {"mode": "block", "reference_days": 14, "warm_up_days": 10}
Lines = list[dict[str, Any]]


def after_noon_lost(lines: Lines) -> Lines:
    return [line for line in lines if line["ts"][11:13] < "11"]


def undefined(lines: Lines) -> Lines:
    return [line | ({} if n % 5 else {"item_id": "undefined"}) for n, line in enumerate(lines)]


def other_users(lines: Lines) -> Lines:
    return [line | {"user_id": f"u{line['user_id']}"} for line in lines]


def mixed_up(lines: Lines) -> Lines:
    items = [line["item_id"] for line in lines]
    return [line | {"item_id": items[n * 1009 % len(items)]} for n, line in enumerate(lines)]


# The day of the month, what happened, the gate that is to stop it.
FAULTS: Final[dict[date, tuple[Callable[[Lines], Lines], str]]] = {
    DAYS[24]: (after_noon_lost, "volume"),
    DAYS[26]: (undefined, "shape"),
    DAYS[27]: (other_users, "identity"),
    DAYS[29]: (mixed_up, "replay"),
}


@pytest.mark.long
def test_each_gate_stops_a_day_of_a_real_month_until_somebody_accepts_it(
    project: Project, fast: None
) -> None:
    config = project.configure(grocer(gates=OF_A_MONTH))
    (surface,) = config.surfaces
    write_raw_events(project.folder / "raw", DAYS)
    for of, (fault, _) in FAULTS.items():
        break_day(project.folder / f"raw/{TENANT}/{SURFACE}/exposure.{of}.jsonl", fault)

    report = project.materialize(config, DAYS)

    stopped = {(failure.day, failure.check) for failure in report.failures}
    assert {(of, gate) for of, (_, gate) in FAULTS.items()} <= stopped
    assert {of for of, _ in stopped} == set(FAULTS)
    assert report.published == [of for of in DAYS if of not in FAULTS]
    observed = project.instance.fetch_observations(KEY, limit=10).records
    assert {
        record.asset_observation.partition for record in observed if record.asset_observation
    } == set(map(str, FAULTS))

    for of in FAULTS:
        gates = [gate for at, gate in stopped if at == of and gate]
        why = Why("run", "ann", "it is as it is")
        override_gates(project.store, surface, of, gates, why)
    again = project.materialize(config, list(FAULTS))

    assert again.done == list(FAULTS)
    assert again.published == [DAYS[-1]]  # later days than the others are live
    assert {(warning.day, warning.check) for warning in again.warnings} >= stopped


@pytest.mark.long
def test_three_bad_days_of_a_real_month_change_nothing_of_the_others(
    tmp_path: Path, fast: None
) -> None:
    """No window has them: all else is what it is where their files are lost."""
    bad = [of for of, (_, gate) in FAULTS.items() if gate != "volume"]
    versions = []
    for name in ("broken", "lost"):
        with dg.DagsterInstance.ephemeral() as instance:
            (tmp_path / name).mkdir()
            project = Project(tmp_path / name, instance)
            artifacts: dict[str, Any] = {"popularity": {}, "cooc": {}}
            config = project.configure(grocer(window_days=4, artifacts=artifacts, gates=OF_A_MONTH))
            write_raw_events(project.folder / "raw", DAYS)
            for of in bad:
                path = project.folder / f"raw/{TENANT}/{SURFACE}/exposure.{of}.jsonl"
                if name == "broken":
                    break_day(path, FAULTS[of][0])
                else:
                    path.unlink()

            report = project.materialize(config, DAYS)

            assert {failure.day for failure in report.failures} == set(bad)
            assert report.published == [of for of in DAYS if of not in bad]
            versions.append(
                {
                    (of, kind): report.metadata[of][kind]["version"]
                    for of in report.published
                    for kind in ("popularity", "cooc")
                }
            )
    assert versions[0] == versions[1]


def break_day(path: Path, fault: Callable[[Lines], Lines]) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in fault(lines)))


def test_a_day_that_failed_is_observed_with_its_numbers_and_stays_unmaterialized(
    project: Project, fast: None
) -> None:
    """A run of one day, as the schedule starts it; the plot has the point that failed."""
    town = Town.of(project)
    town.goes_on(0, 10)
    config = project.configure({"gates": SOON, "artifacts": {"popularity": {}}, "catalog": None})
    project.land(day(11), usual(day(11))[:40])

    report = project.materialize(config, [day(11)])

    assert {check for _, _, check in failed(report)} == {"volume", "shape"}
    key = dg.AssetKey(["demo", "home", "canonical_events"])
    (record,) = project.instance.fetch_observations(key, limit=10).records
    observed = record.asset_observation
    assert observed
    assert observed.partition == str(day(11))
    assert observed.metadata["gate/rows"].value == 40
    assert observed.metadata["gate/rows/usual"].value == pytest.approx(160)
    assert not project.instance.get_materialized_partitions(key)


def test_the_job_records_an_override_and_refuses_what_means_nothing(project: Project) -> None:
    config = project.configure({"gates": SOON, "artifacts": {"popularity": {}}, "catalog": None})
    job = build_definitions(config).resolve_job_def("override_gates")

    def launch(**settings: Any) -> dg.ExecuteInProcessResult:
        told = {"surface": "demo/home", "reason": "a sale", "checks": ["volume"], **settings}
        return job.execute_in_process(
            {"ops": {"override_day": {"config": told}}},
            instance=project.instance,
            raise_on_error=False,
        )

    assert launch(day="2026-01-05", ahead=True, who="ann").success
    (record,) = (project.folder / "var/registry/overrides/demo/home").iterdir()
    assert json.loads(record.read_text())["who"] == "ann"
    assert not launch(day="2026-01-05").success
    assert not launch(day="soon", ahead=True).success
    assert len(list(record.parent.iterdir())) == 1


@pytest.mark.long
def test_a_backfill_of_a_year_isolates_its_three_bad_days(project: Project, fast: None) -> None:
    """Of small days; each of the three is bad in its own way."""
    first = date(2025, 1, 1)
    days = [first + timedelta(days=n) for n in range(365)]
    shortest = {"history_days": 14, "reference_days": 4, "release": {"trusted_days": 2}}
    gates = {**SOON, **shortest, "min_sessions": 5}
    config = project.configure(
        {
            "start_date": first,
            "end_date": date(2026, 1, 1),
            "catalog": None,
            "artifacts": {"popularity": {}},
            "gates": gates,
        }
    )
    bad: dict[date, tuple[Callable[[Lines], Lines], str]] = {
        days[70]: (lambda lines: lines[: len(lines) // 3], "volume"),
        days[190]: (lambda lines: [*lines, *(line | {"rank": 1} for line in lines)], "shape"),
        days[310]: (other_users, "identity"),
    }
    for of in days:
        lines = usual(of, range(8))
        project.land(of, bad[of][0](lines) if of in bad else lines)

    report = project.materialize(config, days)

    stopped = {(failure.day, failure.check) for failure in report.failures}
    assert {of for of, _ in stopped} == set(bad)
    assert {(of, gate) for of, (_, gate) in bad.items()} <= stopped
    assert report.published == [of for of in days if of not in bad]
    assert not report.warnings
    accepted = days_of_events(project.store, config.surfaces[0].place)
    assert accepted == report.published
