"""The gates of a day: what each stops, what is said, and what becomes of the days after it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from recsys_assets.audit.gates import DayGates
from recsys_assets.audit.shared import Shared
from recsys_assets.compute.judging import DAY_GATES, NUMBERS
from recsys_assets.config import Gates, Margins
from recsys_assets.errors import InputError
from recsys_assets.operations.overrides import override_gates
from recsys_assets.storage import layout
from recsys_assets.storage.overrides import read_overrides
from recsys_assets.storage.publications import Why
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.town import GATES, SOON, USERS, Town, usual

WHY = Why("command-1", "ann@desk", "the sale began")
# Of a town whose users come one by one, what fewer of them do to its shape is not judged.
NO_SHAPE = dict.fromkeys(["hours", "quiet", "top_item", "top_user", "top_session"])
Events = list[dict[str, Any]]


def outcomes(town: Town, number: int, events: Events) -> dict[str, str]:
    return {gate: found.outcome for gate, found in town.verdicts(number, events).items()}


def test_every_number_has_a_margin_and_every_gate_a_check() -> None:
    assert list(NUMBERS) == list(Margins.model_fields)
    assert {number.gate for number in NUMBERS.values()} == set(DAY_GATES) == set(GATES)
    for name, number in NUMBERS.items():
        described = Margins.model_fields[name].description or ""
        assert number.is_log == ("logarithm" in described), name


def half(events: Events) -> Events:
    return events[: len(events) // 3 // 4 * 4]


def twice(events: Events) -> Events:
    return [*events, *[each | {"rank": 1} for each in events]]


def renumbered(events: Events) -> Events:
    return [each | {"item_id": f"new {each['item_id']}"} for each in events]


def without_users(events: Events) -> Events:
    return [each | {"user_id": None} for each in events]


def other_users(events: Events) -> Events:
    return [each | {"user_id": f"new {each['user_id']}"} for each in events]


def shuffled(events: Events) -> Events:
    items = [each["item_id"] for each in events]
    return [each | {"item_id": items[n * 37 % len(items)]} for n, each in enumerate(events)]


def morning_lost(events: Events) -> Events:
    return [each for each in events if each["ts"][11:13] >= "08"]


def bot(events: Events) -> Events:
    crawled = [
        event(f"i{n % 60}", ts=events[n]["ts"], user_id="bot", session_id="bot", rank=n)
        for n in range(60)
    ]
    return [*events, *crawled]


@pytest.mark.parametrize(
    ("fault", "gates", "said"),
    [
        (half, {"volume"}, "events: 52, usually 160; 102 to 251 is sound (rows)"),
        (twice, {"volume", "shape"}, "share of events that show an item again in its session: 50"),
        (
            renumbered,
            {"identity", "replay"},
            "share of events of new items: 100.00%, usually 0.00%",
        ),
        (without_users, {"shape", "identity", "replay"}, "share of events without a user: 100.00%"),
        (other_users, {"identity", "replay"}, "share of users who are new: 100.00%, usually 0.00%"),
        (shuffled, {"replay"}, "share of foretold steps between items"),
        (morning_lost, {"shape"}, "usual share of hours that have no event now: "),
        (bot, {"shape"}, "share of the strongest user: "),
    ],
)
def test_a_fault_is_stopped_by_its_gates_and_said_in_words(
    project: Project, fault: Callable[[Events], Events], gates: set[str], said: str
) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)

    found = town.verdicts(11, fault(usual(day(11))))

    assert {gate for gate, verdict in found.items() if verdict.outcome == "failed"} >= gates
    texts = " ".join(verdict.description for verdict in found.values())
    assert said in texts
    key = layout.canonical(town.surface.place, day(11))
    assert town.project.store.stat(key) is None
    assert town.audit(day(11), usual(day(11))).passed


def test_an_example_names_who_it_is_about(project: Project) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)

    crawled = town.verdicts(11, bot(usual(day(11))))["shape"]
    pushed = [
        *usual(day(11)),
        *(event("i7", of=day(11), rank=n, session_id=f"{n}") for n in range(60)),
    ]
    risen = town.verdicts(11, pushed)["shape"]

    assert {"user": "bot", "events": 60} in crawled.rows
    assert {"session": "bot", "events": 60} in crawled.rows
    assert risen.rows[0]["item"] == "i7"
    assert risen.rows[0]["events"] > 60 > risen.rows[0]["usually"]


def test_numbers_are_told_with_their_level_and_how_much_of_the_margin_is_used(
    project: Project,
) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)

    found = town.audit(day(11), half(usual(day(11))))

    assert found.shown["gate/rows"] == found.observed["gate/rows"] == 52
    assert found.shown["gate/rows/usual"] == pytest.approx(160)
    assert found.verdicts["volume"].numbers["rows/margin_used"] == pytest.approx(
        found.shown["gate/rows/margin_used"]
    )
    assert float(str(found.shown["gate/rows/margin_used"])) < -1


def test_what_is_usual_is_learned_first_and_nothing_is_refused_meanwhile(project: Project) -> None:
    town = Town.of(project)
    town.goes_on(0, 2)

    learning = town.verdicts(3, half(usual(day(3))))

    assert {verdict.outcome for verdict in learning.values()} == {"skipped"}
    assert learning["volume"].description == "learning what is usual: 3 of 4 days"
    # A number that is replayed needs a reference first.
    assert learning["replay"].description == "learning what is usual: 0 of 4 days"
    town.goes_on(3, 3)
    assert outcomes(town, 4, half(usual(day(4))))["volume"] == "failed"


@pytest.mark.parametrize(("mode", "outcome"), [("warn", "warned"), ("block", "failed")])
def test_the_mode_says_whether_an_unsound_day_is_refused(
    project: Project, mode: str, outcome: str
) -> None:
    town = Town.of(project, mode=mode)
    town.goes_on(0, 10)

    found = town.audit(day(11), renumbered(usual(day(11))))

    assert found.verdicts["identity"].outcome == outcome
    assert found.passed == (mode == "warn")


def test_a_refused_day_says_nothing_of_later_ones_and_an_accepted_one_does(
    project: Project,
) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)
    assert not town.audit(day(11), renumbered(usual(day(11)))).passed

    new = town.verdicts(12, renumbered(usual(day(12))))["identity"]

    assert new.numbers["new_items"] == 1.0


def test_only_days_before_a_day_judge_it(project: Project) -> None:
    """A day that is made again is judged as it was, though later ones are there by now."""
    town = Town.of(project)
    town.goes_on(0, 10)
    first = town.audit(day(5), usual(day(5))).shown
    town.goes_on(6, 10)

    again = town.audit(day(5), usual(day(5))).shown

    assert {n: v for n, v in again.items() if n.startswith("gate/")} == {
        n: v for n, v in first.items() if n.startswith("gate/")
    }
    assert "gate/rows/usual" in first


def test_days_that_were_accepted_before_those_before_them_say_what_is_usual_all_the_same(
    project: Project,
) -> None:
    """A backfill from the newest day to the oldest: none of them was replayed when it was made."""
    town = Town.of(project)
    for number in reversed(range(11)):
        assert town.audit(day(number), usual(day(number))).passed

    found = town.verdicts(11, renumbered(usual(day(11))))

    assert found["identity"].outcome == found["replay"].outcome == "failed"
    profiles = {path: path.stat() for path in (project.folder / "var/profiles").rglob("*.arrow")}
    assert town.audit(day(11), usual(day(11))).passed
    now = {path: path.stat() for path in (project.folder / "var/profiles").rglob("*.arrow")}
    assert {p: of.st_mtime_ns for p, of in now.items() if str(day(11)) not in str(p)} == {
        p: of.st_mtime_ns for p, of in profiles.items() if str(day(11)) not in str(p)
    }


def test_few_sessions_are_judged_by_their_volume_alone(project: Project) -> None:
    town = Town.of(project, min_sessions=USERS + 1)
    town.goes_on(0, 10)

    found = town.verdicts(11, renumbered(half(usual(day(11)))))

    assert found["volume"].outcome == "failed"
    assert {found[gate].outcome for gate in GATES[1:]} == {"skipped"}
    assert found["shape"].description == "gates.min_sessions is 41, found 13: too few to tell"


def test_a_surface_without_users_is_judged_by_all_else(project: Project) -> None:
    town = Town.of(project)
    for number in range(11):
        assert town.audit(day(number), without_users(usual(day(number)))).passed

    sound = town.verdicts(11, without_users(usual(day(11))))
    other_items = town.verdicts(12, renumbered(without_users(usual(day(12)))))
    with_users = town.verdicts(12, usual(day(12)))

    assert {found.outcome for found in sound.values()} == {"passed"}
    assert "new_users" not in sound["identity"].numbers
    assert other_items["identity"].outcome == other_items["replay"].outcome == "failed"
    assert with_users["shape"].outcome == "failed"


def test_a_margin_of_null_is_not_judged_and_shown_all_the_same(project: Project) -> None:
    town = Town.of(project, margins={"rows": None, "sessions": None})
    town.goes_on(0, 10)

    found = town.audit(day(11), half(usual(day(11))))

    assert found.verdicts["volume"].outcome == "skipped"
    assert found.shown["gate/rows"] == 52
    assert "gate/rows/usual" not in found.shown


def test_items_that_the_catalog_lacks_are_a_share_of_the_day_where_it_is_read(
    project: Project,
) -> None:
    surface = {"gates": SOON, "artifacts": {"popularity": {}, "content_sim": {}}}
    town = Town(project, project.configure(surface).surfaces[0])
    (project.folder / "catalog.csv").write_text(
        "item_id,tags\n" + "".join(f" i{n} ,red\n" for n in range(60))
    )
    town.goes_on(0, 10)
    pushed = [*usual(day(11)), *(event("other", of=day(11), rank=n) for n in range(8))]
    shutil.rmtree(project.folder / "var/profiles")  # those that are made again have it too

    found = town.verdicts(11, pushed)["identity"]
    (project.folder / "catalog.csv").write_text("no header")
    broken = town.audit(day(11), usual(day(11)))

    assert found.outcome == "failed"
    assert "share of events of items that the catalog lacks: 4.76%, usually 0.00%" in (
        found.description
    )
    assert {"item": "other", "events": 8, "usually": 0.0} in found.rows
    assert broken.passed  # content_sim tells of it
    assert "gate/uncatalogued" not in broken.shown


def test_weekdays_have_levels_of_their_own(project: Project) -> None:
    town = Town.of(project, history_days=28, reference_days=14, warm_up_days=7, margins=NO_SHAPE)
    few = range(USERS // 3)
    sundays = [number for number in range(29) if day(number).weekday() == 6]
    for number in sundays:  # the first ones are told from other days by no one
        override_gates(project.store, town.surface, day(number), ["volume"], WHY, ahead=True)
    gates = DayGates(project.store, town.surface, Shared())
    for number in range(28):
        events = usual(day(number), few if number in sundays else range(USERS))
        assert town.audit(day(number), events, gates).passed, number
    sunday = sundays[-1] + 7

    assert outcomes(town, sunday, usual(day(sunday), few))["volume"] == "passed"
    assert outcomes(town, sunday, usual(day(sunday)))["volume"] == "failed"


def test_an_empty_day_is_no_level_and_is_not_judged(project: Project) -> None:
    surface = {
        "gates": {"mode": "block", "warm_up_days": 3, "min_sessions": 1},
        "guardrails": {"min_events": 0},
        "artifacts": {"popularity": {}},
        "catalog": None,
    }
    town = Town(project, project.configure(surface).surfaces[0])
    for number in range(6):
        events = [] if number % 2 else usual(day(number))
        found = town.audit(day(number), events)
        assert found.passed
        assert (found.verdicts["volume"].description == "the day has no events") == (not events)

    assert outcomes(town, 6, usual(day(6)))["volume"] == "passed"


def test_a_weak_fault_that_stays_is_told_on_the_third_day(project: Project) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)
    fewer = range(USERS * 3 // 4)  # 0.29 of a margin of 0.45

    found = [outcomes(town, number, usual(day(number), fewer))["volume"] for number in (11, 12, 13)]

    assert found == ["passed", "passed", "warned"]
    said = town.verdicts(13, usual(day(13), fewer))["volume"]
    assert said.description.startswith("off to one side for three days, now within the margin: ev")


def test_profiles_that_are_gone_are_made_again_and_say_the_same(project: Project) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)
    kept = town.audit(day(11), usual(day(11))).shown
    shutil.rmtree(project.folder / "var/profiles")

    again = town.audit(day(11), usual(day(11))).shown

    assert {n: v for n, v in again.items() if n.startswith("gate/")} == {
        n: v for n, v in kept.items() if n.startswith("gate/")
    }
    assert len(list((project.folder / "var/profiles").rglob("*.arrow"))) == 12


def test_an_accepted_day_that_is_damaged_costs_its_word_and_nothing_else(project: Project) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)
    (project.folder / f"var/{layout.canonical(town.surface.place, day(10))}").write_bytes(b"no")

    assert town.audit(day(11), usual(day(11))).passed
    assert not town.audit(day(11), half(usual(day(11)))).passed


def test_a_day_that_is_refused_already_is_not_judged(project: Project) -> None:
    town = Town.of(project)
    town.goes_on(0, 10)

    found = town.verdicts(11, [])

    assert {verdict.description for verdict in found.values()} == {"the day is refused already"}


def test_gates_that_are_off_have_no_check_and_keep_nothing(project: Project) -> None:
    config = project.configure({"gates": {"mode": "off"}})
    project.land(day(0), usual(day(0)))

    report = project.materialize(config, [day(0)])

    assert report.succeeded
    assert not (project.folder / "var/profiles").exists()
    assert not any(name.startswith("gate/") for name in report.metadata[day(0)]["canonical_events"])


class TestOverride:
    """An override of gates."""

    def test_accepts_the_events_that_failed_and_no_others(self, project: Project) -> None:
        town = Town.of(project)
        town.goes_on(0, 10)
        assert outcomes(town, 11, renumbered(usual(day(11))))["identity"] == "failed"

        override_gates(project.store, town.surface, day(11), ["identity", "replay"], WHY)
        found = town.verdicts(11, renumbered(usual(day(11))))
        others = town.verdicts(11, renumbered(usual(day(11)))[1:])

        assert found["identity"].outcome == found["replay"].outcome == "warned"
        assert found["identity"].description.startswith(
            "accepted by ann@desk, the sale began: share of events of new items: 100.00%"
        )
        assert others["identity"].outcome == "failed"

    def test_is_about_what_failed_last_though_what_is_accepted_was_made_again_since(
        self, project: Project
    ) -> None:
        town = Town.of(project)
        town.goes_on(0, 11)
        (accepted,) = (project.folder / f"var/profiles/demo/home/{day(11)}").iterdir()
        town.verdicts(11, renumbered(usual(day(11))))
        later = accepted.stat().st_mtime + 60
        os.utime(accepted, (later, later))

        done = override_gates(project.store, town.surface, day(11), ["identity"], WHY)

        assert done.fingerprint != accepted.name.partition("-")[0]
        assert outcomes(town, 11, renumbered(usual(day(11))))["identity"] == "warned"

    def test_passes_over_the_gates_that_it_names(self, project: Project) -> None:
        town = Town.of(project)
        town.goes_on(0, 10)
        town.verdicts(11, renumbered(usual(day(11))))

        override_gates(project.store, town.surface, day(11), ["identity"], WHY)

        assert outcomes(town, 11, renumbered(usual(day(11))))["replay"] == "failed"

    def test_may_be_announced_for_a_holiday(self, project: Project) -> None:
        town = Town.of(project)
        town.goes_on(0, 10)

        override_gates(project.store, town.surface, day(11), ["volume"], WHY, ahead=True)

        assert outcomes(town, 11, half(usual(day(11))))["volume"] == "warned"
        assert outcomes(town, 12, half(usual(day(12))))["volume"] == "failed"

    def test_restarts_the_baseline_of_its_gates_for_good(self, project: Project) -> None:
        town = Town.of(project, margins=NO_SHAPE)
        town.goes_on(0, 10)
        few = range(USERS // 3)
        town.verdicts(11, usual(day(11), few))

        override_gates(project.store, town.surface, day(11), ["volume"], WHY, restart_baseline=True)
        found = [town.verdicts(number, usual(day(number), few)) for number in range(11, 17)]

        assert [each["volume"].outcome for each in found] == [
            "warned", "skipped", "skipped", "skipped", "passed", "passed"
        ]  # fmt: skip
        assert found[1]["volume"].description == "learning what is usual: 1 of 4 days"
        assert "skipped" not in {each["shape"].outcome for each in found}

    def test_is_on_record_with_who_and_why(self, project: Project) -> None:
        town = Town.of(project)

        done = override_gates(project.store, town.surface, day(3), ["shape"], WHY, ahead=True)

        assert read_overrides(project.store, town.surface.place) == [done]
        assert (done.who, done.reason, done.checks) == ("ann@desk", "the sale began", ("shape",))
        assert datetime.fromisoformat(done.recorded_at).utcoffset() == timedelta(0)

    @pytest.mark.parametrize(
        ("checks", "why", "said"),
        [
            (["shape"], Why("r", "w", " "), "a reason is required"),
            (["shap"], WHY, "no gate 'shap'; there are: volume, shape, identity, replay"),
            ([], WHY, "no gate ''; there are"),
            (["volume"], WHY, "failed identity, replay, and passed volume: name those that it"),
        ],
    )
    def test_is_refused_where_it_would_mean_nothing(
        self, project: Project, checks: list[str], why: Why, said: str
    ) -> None:
        town = Town.of(project)
        town.goes_on(0, 10)
        town.verdicts(11, renumbered(usual(day(11))))

        with pytest.raises(InputError, match=said):
            override_gates(project.store, town.surface, day(11), checks, why)

    @pytest.mark.parametrize("of", [day(-1), day(31)])
    def test_of_a_day_that_the_surface_does_not_have_is_refused(
        self, project: Project, of: date
    ) -> None:
        town = Town.of(project)

        with pytest.raises(
            InputError, match=f"demo/home has the days 2026-01-01 to 2026-01-31, not {of}: name one"
        ):
            override_gates(project.store, town.surface, of, ["volume"], WHY, ahead=True)
        override_gates(project.store, town.surface, day(30), ["volume"], WHY, ahead=True)

    def test_of_a_catalog_is_refused_where_it_would_mean_nothing(self, project: Project) -> None:
        without = Town.of(project).surface
        surface = project.configure().surfaces[0]

        with pytest.raises(InputError, match="has no artifact that catalog_fits is a gate of"):
            override_gates(project.store, without, day(3), ["catalog_fits"], WHY, ahead=True)
        with pytest.raises(InputError, match="has no baseline: leave --restart-baseline out"):
            override_gates(
                project.store, surface, day(3), ["catalog_fits"], WHY, restart_baseline=True
            )
        assert not read_overrides(project.store, surface.place)

    def test_of_a_day_that_was_not_judged_has_to_be_announced(self, project: Project) -> None:
        town = Town.of(project)
        off = town.surface.model_copy(update={"gates": Gates.model_validate({"mode": "off"})})

        with pytest.raises(InputError, match="or announce the override with --ahead"):
            override_gates(project.store, town.surface, day(3), ["shape"], WHY)
        with pytest.raises(InputError, match="of demo/home is off: there is nothing to override"):
            override_gates(project.store, off, day(3), ["shape"], WHY, ahead=True)
