"""A week of an operator, in a real browser, against a real webserver and daemon."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.config.file import PACKAGED_CONFIG
from recsys_assets.kinds import KINDS
from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.project import DAY, Project, event
from recsys_assets_tests.town import SOON, usual
from recsys_assets_tests.ui.browser import Person, in_front_of
from recsys_assets_tests.ui.dagster_servers import ROOT, Dagster, running_dagster, wait_for

CHROMIUM = Path("/usr/bin/chromium")
MADE = ["canonical_events", *KINDS, "manifest"]
OF_CATALOG = {kind.name for kind in KINDS.values() if kind.reads == "catalog"}
BASKETS = ["tea cup", "cup tea milk", "milk tea", "tea honey cup", "honey milk", "lemon tea"]
BASKETS += ["cup honey", "tea lemon honey", "milk cup", "honey tea", "cup"]


@pytest.fixture
def chromium() -> Path:
    if not CHROMIUM.exists():
        skip_unless_required(
            "browser",
            f"{CHROMIUM} is absent: install Chromium (Debian, Ubuntu: apt install chromium)",
        )
    return CHROMIUM


@contextmanager
def deployment(project: Project, chromium: Path) -> Iterator[tuple[Dagster, Person]]:
    """Run a configured project, and sit down in front of it."""
    with (
        running_dagster(project.folder / "home", project.config_file) as dagster,
        in_front_of(dagster.url, chromium, _pictures(project.folder)) as person,
    ):
        yield dagster, person


def _pictures(folder: Path) -> Path:
    return Path(os.environ.get("RECSYS_SCREENSHOTS", folder / "pictures"))


def baskets(of: date) -> list[dict[str, Any]]:
    """Return the events of a day; of ten days in a row, no two are alike."""
    turn = of.toordinal() % len(BASKETS)
    return [
        event(item, of=of, session_id=f"s{number}", user_id=f"u{number}")
        for number, basket in enumerate((BASKETS[turn:] + BASKETS[:turn])[:6])
        for item in basket.split()
    ]


def live_day(project: Project) -> date | None:
    """Return the last day that the live manifest covers, from the files that a reader reads."""
    path = project.folder / "var/registry/current/demo/home/manifest.json"
    if not path.exists():
        return None
    popularity = json.loads(path.read_bytes())["current"]["popularity"]
    window = json.loads(Path(popularity.removeprefix("file://")).read_bytes())["window"]
    return datetime.fromisoformat(window["end"]).date() - timedelta(days=1)


@pytest.mark.slow
@pytest.mark.browser
def test_a_week_is_backfilled_repaired_and_rolled_back(project: Project, chromium: Path) -> None:
    # With an end: a surface that has none gets one more day should midnight come meanwhile.
    week = [DAY + timedelta(days=number) for number in range(7)]
    end = DAY + timedelta(days=10)
    source = {"path": "raw", "landing": {"settle_seconds": 0}}
    project.configure({"start_date": DAY, "end_date": end, "source": source})
    bad = week[3]
    good = [day for day in week if day != bad]
    for day in week:
        project.land(day, baskets(day))
    project.land(bad, [*baskets(bad), '{"v": 1, "item_id": "tea"}', "half a li"])

    with deployment(project, chromium) as (dagster, person):
        person.opens("Lineage")
        person.sees("raw_events", "catalog", *MADE, "live", whole=True)
        person.takes_picture("lineage")

        person.launches_backfill(week[0], week[-1], picture="backfill-dialog")
        wait_for("end of the backfill", lambda: dagster.backfill() not in {None, "REQUESTED"})
        assert dagster.backfill() == "COMPLETED_FAILED"
        person.sees("Failed", whole=True)
        person.takes_picture("backfill-failed")
        for asset in set(MADE) - OF_CATALOG:
            assert dagster.days(f"demo/home/{asset}")["MATERIALIZED"] == good, asset
        assert "content_sim" in OF_CATALOG
        for asset in OF_CATALOG:
            assert dagster.days(f"demo/home/{asset}") == {"MATERIALIZED": week}, asset
        assert live_day(project) == week[-1]

        person.opens_asset("demo/home/popularity", "Partitions")
        person.selects_day(week[-1])
        person.sees("first_day", "unit", "count (exposures)", "item_id", whole=True)
        person.takes_picture("artifact-page")

        person.opens_asset("demo/home/canonical_events", "Partitions")
        person.sees("Failed (1)", "Materialized (6)", "Missing (3)")
        person.selects_day(bad)
        person.sees("failed, and did not materialize this asset.")
        person.takes_picture("bad-day")
        assert dagster.days("demo/home/canonical_events")["FAILED"] == [bad]

        person.opens_asset("demo/home/canonical_events", "Checks")
        person.selects_check("max_rejected_share")
        person.sees("missing_id", "invalid_json", "half a li")
        person.takes_picture("failed-check")
        assert dagster.check("demo/home/canonical_events", "max_rejected_share") == "FAILED"

        runs = dagster.runs()
        person.opens("Automation")
        person.starts("demo__home_materialize")
        wait_for("look at what is to do", lambda: dagster.ticks("demo__home_materialize"))
        project.land(bad, baskets(bad))
        person.starts("demo__home_landing")
        person.takes_picture("automation")
        wait_for("repair", lambda: dagster.days("demo/home/manifest") == {"MATERIALIZED": week})
        for asset in MADE:
            assert dagster.days(f"demo/home/{asset}") == {"MATERIALIZED": week}, asset
        assert dagster.runs() == runs + 1  # of that day alone
        assert dagster.days("demo/home/raw_events") == {"MATERIALIZED": [bad]}
        assert dagster.check("demo/home/canonical_events", "max_rejected_share") == "SUCCEEDED"
        assert live_day(project) == week[-1]
        person.opens_asset("demo/home/manifest", "Partitions")
        person.sees("Materialized (7)", "Missing (3)")
        person.takes_picture("repaired-day")

        config = """
ops:
  roll_back:
    config:
      surface: demo/home
      to: "2"
      pin: true
      dry_run: false
      reason: "INC-7: test items"
      who: ada
"""
        person.launches_job("rollback", config.lstrip(), picture="launchpad-rollback")
        person.sees("Success", "STEP_OUTPUT", "RUN_SUCCESS")
        person.takes_picture("rollback-run")
        assert live_day(project) == week[1]
        told = "rollback by ada: INC-7: test items"
        wait_for("the flip on the card", lambda: dagster.flips("demo/home")[:1] == [told])
        person.opens_asset("demo/home/live", "Events")
        person.sees(told, f"manifest of {week[-1]} was materialized")
        person.takes_picture("rollback-event")
        person.opens_asset("demo/home/live", "Overview")
        person.sees(str(week[1]), "yes: publishes wait for a release", "documents", "history")
        person.takes_picture("live-card")
        assert "Freshness policy" not in person.reads("demo/home/manifest")

        blobs = project.blobs()
        person.launches_job("retention")
        person.sees("RUN_SUCCESS", "dry run: nothing was changed")
        assert project.blobs() == blobs
        person.opens("Runs")
        person.sees("recsys_assets/dry_run: true")


@pytest.mark.slow
@pytest.mark.browser
def test_what_is_live_goes_stale_and_fresh_again(project: Project, chromium: Path) -> None:
    old, last = DAY, DAY + timedelta(days=9)
    config = project.configure({"start_date": old, "end_date": last + timedelta(days=1)})
    for day in (old, last):
        project.land(day, baskets(day))
    project.materialize(config, [old])
    assert live_day(project) == old

    with deployment(project, chromium) as (dagster, person):
        # A flip that is shown later is newer than the check, which Dagster then takes for old.
        wait_for("the flip on the page", lambda: len(dagster.flips("demo/home")) == 1)
        person.launches_job("check_freshness")
        person.sees("RUN_FAILURE")
        person.opens_asset("demo/home/live", "Checks")
        person.sees(f"{old} is live, {last} could be")
        person.takes_picture("freshness-stale")
        assert dagster.check("demo/home/live", "fresh") == "FAILED"

        dagster.run("materialize", "--from", str(last), "--to", str(last))
        assert live_day(project) == last
        wait_for("both flips on the page", lambda: len(dagster.flips("demo/home")) == 2)
        person.launches_job("check_freshness")
        person.sees("RUN_SUCCESS")
        person.opens_asset("demo/home/live", "Checks")
        person.sees("demo/home: fresh")
        person.takes_picture("freshness-fresh")
        assert dagster.check("demo/home/live", "fresh") == "SUCCEEDED"


@pytest.mark.slow
@pytest.mark.browser
def test_an_unsound_day_is_refused_in_words_and_published_once_it_is_accepted(
    project: Project, chromium: Path
) -> None:
    project.configure({"gates": SOON, "artifacts": {"popularity": {}}, "catalog": None})
    days = [DAY + timedelta(days=number) for number in range(10)]
    *sound, bad = days
    for of in days:
        project.land(of, usual(of))
    crawled = [
        event(f"i{n % 60}", of=bad, user_id="bot", session_id="bot", rank=n) for n in range(60)
    ]
    project.land(bad, [*usual(bad), *crawled])

    with deployment(project, chromium) as (dagster, person):
        with pytest.raises(subprocess.CalledProcessError):
            dagster.run("materialize", "--from", str(days[0]), "--to", str(bad))
        assert live_day(project) == sound[-1]
        person.opens_asset("demo/home/canonical_events", "Checks")
        person.selects_check("shape")
        person.sees(
            f"{bad}: events a session: 5.37, usually 4; 3.27 to 4.89 is sound (length); share of "
            "the strongest user: 27.27%, usually 2.50%; up to 5.03% is sound (top_user)"
        )
        person.sees("bot", "docs/runbooks/unsound-day.md#shape", whole=True)
        person.takes_picture("gate-failed")

        person.plots("demo/home/canonical_events")
        person.sees("gate/length", "gate/length/usual", "gate/length/margin_used", whole=True)
        person.plots_by_event()
        person.takes_picture("gate-plots")

        why = ("--checks", "shape,replay", "--reason", "a crawler that was let in")
        dagster.run("gates", "override", "demo/home", "--day", str(bad), *why)
        dagster.run("materialize", "--from", str(bad), "--to", str(bad))
        assert live_day(project) == bad
        person.opens_asset("demo/home/canonical_events", "Checks")
        person.selects_check("shape")
        person.sees(", a crawler that was let in: events a session: 5.37, usually 4; 3.27 to 4.89")
        person.takes_picture("gate-accepted")


@pytest.mark.slow
@pytest.mark.browser
def test_the_demo_shows_what_it_did(tmp_path: Path, chromium: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "recsys_assets"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    folder.mkdir()
    config_file = Path(shutil.copy(PACKAGED_CONFIG, folder))
    environment = {name: value for name, value in os.environ.items() if name != "RECSYS_ROOT"}
    environment |= {"RECSYS_CONFIG": str(config_file), "DAGSTER_HOME": str(home)}
    command = [sys.executable, "-m", "recsys_assets.demo", "--days", "3"]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=300)

    with (
        running_dagster(home, config_file) as dagster,
        in_front_of(dagster.url, chromium, _pictures(tmp_path)) as person,
    ):
        person.opens("Overview")
        person.sees("recsys_assets", "Jobless asset materializations", whole=True)
        person.takes_picture("timeline")
        person.plots("grocer/store/canonical_events")
        person.sees("dagster/row_count", whole=True)
        person.takes_picture("plots")
        person.opens_asset("grocer/store/manifest", "Overview")
        person.sees("changes", "overlap at 10", "generation 2 (2017-01-02) with 3 (2017-01-03)")
        person.takes_picture("changes")
        person.opens_asset("grocer/store/manifest", "Partitions")
        person.sees("Materialized (3)", "Missing (28)")
