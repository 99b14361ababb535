"""What gates found, for Prometheus: of the newest judged day, of refused days, and of a release."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.audit.gates import DayGates
from recsys_assets.audit.shared import Shared
from recsys_assets.config import Config, Retention, load_config
from recsys_assets.live import metrics
from recsys_assets.operations.overrides import override_gates
from recsys_assets.operations.pointer import release
from recsys_assets.operations.retention import retain
from recsys_assets.storage import layout
from recsys_assets.storage.found import refused_days
from recsys_assets.storage.publications import Why
from recsys_assets_tests.live.test_metrics import Figures, parsed
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.town import GATES, SOON, Town, usual

WHY = Why("command-1", "ann@desk", "the sale began")


def figures(project: Project) -> dict[str, dict[str, float]]:
    return of_gates(load_config(project.config_file))


def of_gates(config: Config, name: str = "home") -> dict[str, dict[str, float]]:
    """Return what is told of gates of a surface: by metric, and by its own labels."""
    found: dict[str, dict[str, float]] = {}
    told: Figures = parsed(metrics.text(config, clock=lambda: datetime(2026, 2, 1, tzinfo=UTC)))
    for (metric, labels), value in told.items():
        by = dict(labels)
        if metric.startswith(("recsys_gate_", "recsys_release_")) and by.pop("surface") == name:
            del by["tenant"]
            own = "/".join(by[each] for each in ("check", "kind", "number") if each in by)
            found.setdefault(metric, {})[own] = value
    return found


def begins(number: int) -> dict[str, float]:
    of = day(number)
    return {"": datetime(of.year, of.month, of.day, tzinfo=UTC).timestamp()}


def test_the_numbers_of_the_newest_judged_day_have_level_and_margin(project: Project) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)
    found = town.audit(day(11), usual(day(11), range(36)))

    told = figures(project)

    assert told["recsys_gate_value"]["volume/rows"] == 144
    assert told["recsys_gate_usual_value"]["volume/rows"] == pytest.approx(160)
    for number in ("volume/rows", "shape/top_user", "identity/new_items", "replay/replay_cooc"):
        check, _, name = number.partition("/")
        used = found.verdicts[check].numbers[f"{name}/margin_used"]
        assert told["recsys_gate_margin_used_ratio"][number] == used
    assert told["recsys_gate_failed"] == dict.fromkeys(GATES, 0)
    assert told["recsys_gate_drifting"] == dict.fromkeys(GATES, 0)
    assert told["recsys_gate_day_timestamp_seconds"] == begins(11)
    assert told["recsys_gate_refused_days"] == {"": 0}
    assert "recsys_gate_refused_timestamp_seconds" not in told


def test_a_refused_day_is_told_with_its_time_until_it_is_accepted(project: Project) -> None:
    """Also when it is judged once more meanwhile, and when a later day is sound."""
    town = Town.of(project)
    town.goes_on(0, 10)
    few = usual(day(11))[:40]
    began = datetime.now(UTC)
    town.audit(day(11), few)
    ended = datetime.now(UTC)

    first = figures(project)
    town.audit(day(11), few)
    town.goes_on(12, 12)
    later = figures(project)
    override_gates(town.project.store, town.surface, day(11), ["volume", "shape"], WHY)
    assert town.audit(day(11), few).passed
    accepted = figures(project)

    assert first["recsys_gate_failed"] == dict.fromkeys(GATES, 0) | {"volume": 1, "shape": 1}
    assert first["recsys_gate_day_timestamp_seconds"] == begins(11)
    assert later["recsys_gate_day_timestamp_seconds"] == begins(12)
    assert later["recsys_gate_failed"] == dict.fromkeys(GATES, 0)
    assert first["recsys_gate_refused_days"] == later["recsys_gate_refused_days"] == {"": 1}
    since = first["recsys_gate_refused_timestamp_seconds"]
    assert since == later["recsys_gate_refused_timestamp_seconds"]
    # A file has the time of the clock's last tick.
    assert began.timestamp() - 0.1 <= since[""] <= ended.timestamp()
    assert accepted["recsys_gate_refused_days"] == {"": 0}
    assert accepted["recsys_gate_day_timestamp_seconds"] == begins(12)


def test_an_accepted_day_has_not_failed(project: Project) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)
    few = usual(day(11))[:40]
    town.audit(day(11), few)
    override_gates(town.project.store, town.surface, day(11), ["volume", "shape"], WHY)
    town.audit(day(11), few)

    told = figures(project)

    assert told["recsys_gate_failed"] == dict.fromkeys(GATES, 0)
    assert told["recsys_gate_margin_used_ratio"]["volume/rows"] < -1


def test_a_day_that_gates_only_warn_of_has_failed_and_is_not_refused(project: Project) -> None:
    town = Town.of(project, mode="warn")
    town.goes_on(0, 10)
    town.audit(day(11), usual(day(11))[:40])

    told = figures(project)

    assert told["recsys_gate_failed"]["volume"] == 1
    assert told["recsys_gate_refused_days"] == {"": 0}


def test_a_number_that_is_off_for_three_days_drifts(project: Project) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)
    for number in (11, 12, 13):
        assert town.audit(day(number), usual(day(number), range(32))).passed

    assert figures(project)["recsys_gate_drifting"]["volume"] == 1


def test_days_that_say_nothing_of_what_is_usual_any_more_are_not_counted(
    project: Project,
) -> None:
    town = Town.of(project, history_days=14)
    town.goes_on(0, 8)
    town.audit(day(9), usual(day(9))[:40])

    town.goes_on(23, 23)
    assert figures(project)["recsys_gate_refused_days"] == {"": 1}
    town.goes_on(24, 24)
    assert figures(project)["recsys_gate_refused_days"] == {"": 0}
    assert [*refused_days(town.project.store, town.surface.place)] == [day(9)]


def test_retention_takes_marks_of_days_that_are_not_counted_any_more(project: Project) -> None:
    town = Town.of(project)
    town.goes_on(0, 8)
    town.audit(day(9), usual(day(9))[:40])
    later = datetime.now(UTC) + timedelta(hours=2)

    for days, left in ((36_500, 1), (1, 0)):
        keep = Retention(publications=1, days=days, grace_hours=1)
        retain(project.store, town.surface, keep, WHY, clock=lambda: later)
        assert len(refused_days(project.store, town.surface.place)) == left
    assert figures(project)["recsys_gate_value"]


@pytest.mark.parametrize("days", [0, 3])
def test_what_is_not_known_is_missing(project: Project, days: int) -> None:
    town = Town.of(project)
    town.goes_on(0, days - 1)

    told = figures(project)

    known = ["recsys_gate_day_timestamp_seconds", "recsys_gate_refused_days"] if days else []
    assert sorted(told) == known


def test_where_gates_are_off_nothing_is_read_or_told(project: Project) -> None:
    Town.of(project).goes_on(0, 10)
    Town.of(project, mode="off")

    assert figures(project) == {}


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"v": 1, "day": "soon"}', None])
def test_what_cannot_be_read_takes_nothing_else_with_it(
    project: Project, damage: bytes | None
) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)
    path = Path(project.folder / "var" / layout.found(town.surface.place, "day"))
    path.unlink()
    if damage is None:
        path.mkdir()
    else:
        path.write_bytes(damage)

    assert figures(project) == {}
    if damage is not None:
        town.goes_on(11, 11)
        assert figures(project)["recsys_gate_day_timestamp_seconds"] == begins(11)


def test_reads_do_not_grow_with_days(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many days were judged, refused or compared."""
    town = Town.of(project)
    town.goes_on(0, 10)
    town.audit(day(11), usual(day(11))[:40])
    opened: list[str] = []
    whole = type(project.store).read

    def read(self: Any, key: str) -> Any:
        opened.append(key)
        return whole(self, key)

    monkeypatch.setattr(type(project.store), "read", read)
    figures(project)

    assert sorted(key for key in opened if key.startswith("gates/")) == [
        "gates/demo/home/catalog.json", "gates/demo/home/day.json", "gates/demo/home/release.json",
    ]  # fmt: skip
    assert not [key for key in opened if key.startswith(("profiles/", "comparisons/"))]


class TestReleases:
    """What would become live beside what is."""

    def test_scores_of_both_are_told_by_kind_and_number(self, project: Project, fast: None) -> None:
        gates = SOON | {"release": {"trusted_days": 4}}
        config = project.configure(
            {"gates": gates, "artifacts": {"popularity": {"top_n": 30}}, "catalog": None}
        )
        days = [day(number) for number in range(13)]
        for of in days:
            project.land(of, usual(of))
        project.materialize(config, days)

        told = of_gates(config)

        assert told["recsys_release_share_ratio"].keys() == {
            "popularity/popularity_20", "popularity/popularity_100",
        }  # fmt: skip
        for name in ("recsys_release_live_share_ratio", "recsys_release_margin_used_ratio"):
            assert told[name].keys() == told["recsys_release_share_ratio"].keys()
        assert told["recsys_release_day_timestamp_seconds"] == begins(12)
        assert told["recsys_release_failed"] == {"nothing_emptied": 0, "no_worse_than_live": 0}
        assert "recsys_release_refused_timestamp_seconds" not in told

    def test_a_day_that_is_held_back_is_told_until_it_is_live(
        self, project: Project, fast: None
    ) -> None:
        config = project.configure({"artifacts": {"popularity": {}, "implicit": {}}})
        (surface,) = config.surfaces
        project.land(day(0), [event("a", user_id=f"u{n}") for n in range(30)])
        project.land(day(1), [event("a", of=day(1), user_id=None)])
        began = datetime.now(UTC) - timedelta(seconds=0.1)
        project.materialize(config, [day(0), day(1)])

        held = of_gates(config)
        release(project.store, surface, WHY, force=True)
        forced = of_gates(config)

        assert held["recsys_release_failed"] == {"nothing_emptied": 1}
        assert held["recsys_release_refused_timestamp_seconds"][""] >= began.timestamp()
        assert "recsys_release_refused_timestamp_seconds" not in forced
        assert forced["recsys_release_failed"] == {"nothing_emptied": 0}

    def test_a_drop_that_a_change_explains_has_not_failed(
        self, project: Project, fast: None
    ) -> None:
        surface: dict[str, Any] = {"artifacts": {"popularity": {}, "cooc": {"min_support": 1}}}
        config = project.configure(surface)
        project.land(day(0), usual(day(0)))
        project.land(day(1), usual(day(1)))
        project.materialize(config, [day(0)])
        surface["artifacts"]["cooc"]["min_support"] = 1000
        config = project.configure(surface)
        assert project.materialize(config, [day(1)]).warnings

        assert of_gates(config)["recsys_release_failed"] == {"nothing_emptied": 0}

    def test_a_variant_tells_of_its_releases_alone(self, project: Project, fast: None) -> None:
        base: dict[str, Any] = {"gates": SOON, "artifacts": {"popularity": {}}, "catalog": None}
        variant = {"surface": "other", "variant_of": "demo/home", "artifacts": {"popularity": {}}}
        config = project.configure(base, variant)
        for number in range(2):
            project.land(day(number), usual(day(number)))
        days = [day(0), day(1)]
        project.materialize(config, days)
        project.materialize(config, days, surface=1)

        told = of_gates(config, "other")

        assert told["recsys_release_day_timestamp_seconds"] == begins(1)
        assert not [name for name in told if name.startswith("recsys_gate_")]
        assert of_gates(config)["recsys_gate_day_timestamp_seconds"] == begins(1)


def test_what_was_judged_of_an_older_day_does_not_hide_the_newest(project: Project) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)

    gates = DayGates(project.store, town.surface, Shared())
    assert town.audit(day(5), usual(day(5)), gates).passed

    assert figures(project)["recsys_gate_day_timestamp_seconds"] == begins(10)
