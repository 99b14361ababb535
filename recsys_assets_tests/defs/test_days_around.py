"""A shop whose files are cut eight hours behind UTC, through Dagster and through its sensors."""

from __future__ import annotations

from datetime import date

import polars as pl

from recsys_assets.live.trace import trace
from recsys_assets_tests.defs.test_sensors import Factory, factory
from recsys_assets_tests.project import Project, day, event

SOURCE = {"path": "raw", "days_around": 1, "landing": {"settle_seconds": 0}}


def at(time: str, item: str) -> dict[str, object]:
    return event(item, ts=time, session_id=item[0])


FIRST = [
    *(at(f"2026-01-01T{hour}:00:00Z", f"a{hour}") for hour in ("09", "12", "15", "23")),
    *(at(f"2026-01-02T0{hour}:00:00Z", f"b{hour}") for hour in range(4)),
]
SECOND = [at("2026-01-02T20:00:00Z", "b8"), at("2026-01-02T21:00:00Z", "b9")]


def kept(project: Project) -> dict[date, int]:
    """Return the number of events of each day that is stored."""
    files = (project.folder / "var/canonical/demo/home/exposures").glob("*.parquet")
    return {date.fromisoformat(path.stem): pl.read_parquet(path).height for path in files}


def test_ten_of_ten_events_are_kept(project: Project) -> None:
    config = project.configure({"source": SOURCE})
    project.land(day(0), FIRST)
    project.land(day(1), SECOND)

    report = project.materialize(config, [day(0), day(1)])

    assert report.succeeded
    assert kept(project) == {day(0): 4, day(1): 6}
    traced = trace(project.store, config.surfaces[0], "popularity", owner="b0")
    assert [(of.file.name[-16:-6], of.events, of.now) for of in traced.days[0].files] == [
        ("2026-01-01", 1, "there"),
        ("2026-01-02", 0, "there"),
    ]


def test_the_sensor_remakes_the_days_whose_events_land_with_another_day(project: Project) -> None:
    made = factory(project, source=SOURCE)
    found = []
    for number, events in enumerate((FIRST, SECOND)):
        project.land(day(number), events)
        found.append(landed(made))
    project.land(day(1), [*SECOND, at("2026-01-01T23:30:00Z", "a9")])
    found.append(landed(made))

    assert found == [[day(0)], [day(0), day(1)], [day(0), day(1)]]
    assert kept(project) == {day(0): 5, day(1): 6}
    assert made.tick() == []


def landed(made: Factory) -> list[date]:
    """Tick, make what is asked for, and return the days that had landed."""
    raw = [report for report in made.tick() if report.asset_key.path[-1] == "raw_events"]
    if made.runs:
        assert not raw
        assert made.run()
        assert made.requested() == {}
        return made.asked()["canonical_events"]
    days = [date.fromisoformat(str(report.partition)) for report in raw]
    assert made.requested()["canonical_events"] == days
    made.make(*((of - day(0)).days for of in days))
    return days
