"""Variants on the command line: bases are made first, and each command knows whose events it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recsys_assets_tests.cli.conftest import REASON, days, done, land, rows, run, wrong
from recsys_assets_tests.project import Project, day

LAB: dict[str, Any] = {"surface": "lab", "variant_of": "demo/home"}
SMALL: dict[str, Any] = {"artifacts": {"popularity": {}}}
PAIR = (SMALL, {**SMALL, **LAB})


def outcomes(*arguments: str) -> dict[str, dict[str, int]]:
    """Return what became of the days of each surface, in the order in which they were made."""
    result = run("materialize", "--json", *arguments)
    found = json.loads(result.stdout)["surfaces"]
    return {of["surface"]: of["summary"] for of in found}


@pytest.mark.usefixtures("in_memory")
class TestMaterialize:
    """`recsys-assets materialize`."""

    def test_bases_are_made_before_their_variants_wherever_they_stand(
        self, project: Project
    ) -> None:
        project.configure(*reversed(PAIR))
        land(project, 0, 1)

        found = outcomes(*days(0, 1))

        assert [*found] == ["home", "lab"]
        assert found == {"home": {"published": 2}, "lab": {"published": 2}}

    def test_of_a_variant_alone_the_base_makes_the_days_that_it_lacks(
        self, project: Project
    ) -> None:
        project.configure(*PAIR)
        land(project, 0, 1, 2)
        done(run("materialize", "--surface", "demo/home", *days(0, 0)))

        found = outcomes("--surface", "demo/lab", *days(0, 2))

        assert found == {"home": {"published": 2}, "lab": {"published": 3}}
        assert outcomes("--surface", "demo/lab", *days(0, 2)) == {
            "lab": {"superseded": 2, "unchanged": 1}
        }

    def test_a_day_that_the_base_cannot_make_is_blocked(self, project: Project) -> None:
        project.configure(*PAIR)
        land(project, 0)

        result = run("materialize", "--surface", "demo/lab", *days(0, 1))

        assert result.exit_code == 1
        assert "2026-01-02 demo/lab/popularity: check inputs: demo/home 2026-01-02" in result.stderr
        assert "demo/home: 2 days: 1 published, 1 without files" in result.stderr
        assert "demo/lab: 2 days: 1 published, 1 blocked" in result.stderr

    def test_events_are_a_column_of_the_base(self, project: Project) -> None:
        project.configure(*PAIR)
        land(project, 0)

        result = done(run("materialize", *days(0, 0)))

        heads = [line.split() for line in result.stdout.splitlines() if line.startswith("┃ day")]
        columns = [[word for word in head if word != "┃"] for head in heads]
        assert columns == [
            ["day", "events", "refused", "bytes", "popularity", "outcome"],
            ["day", "bytes", "popularity", "outcome"],
        ]
        assert rows(result)[0][1] == "3"

    def test_a_variant_has_the_days_of_its_base(self, project: Project) -> None:
        project.configure(*PAIR)

        text = wrong(run("materialize", "--surface", "demo/lab", *days(-1, 0)))

        assert text.startswith("Error: demo/lab has the days 2026-01-01 to 2026-01-31, not")


def test_land_of_a_variant_lands_the_topic_of_its_base(project: Project) -> None:
    kafka = {"brokers_env": "NO_BROKERS", "topic": "events"}
    source = {"source": {"path": "raw", "landing": {"kafka": kafka}}}
    project.configure({**SMALL, **source}, {**SMALL, **LAB})

    results = [run("land", "--surface", name) for name in ("demo/home", "demo/lab")]

    assert [result.exit_code for result in results] == [2, 2]
    assert results[0].stderr == results[1].stderr
    assert "lands no topic" not in results[0].stderr


class TestOthers:
    """The commands that read, check and change."""

    @pytest.fixture(autouse=True)
    def made(self, project: Project, in_memory: None) -> None:
        """Publish a day of both."""
        project.configure(*PAIR)
        land(project, 0)
        done(run("materialize", *days(0, 0)))

    def test_check_says_whose_events_a_variant_has(self, project: Project) -> None:
        result = done(run("check"))

        (_, lab) = [row for row in rows(result) if row[0].startswith("demo/")]
        assert lab[:2] == ["demo/lab", "no files"]
        line = "demo/lab: a variant of demo/home, whose events and catalog these are\n"
        assert line in result.stdout
        assert result.stdout.count("the newest day with files is: 2026-01-01") == 1
        named = done(run("check", "--surface", "demo/lab")).stdout
        assert "exposure.2026-01-01.jsonl" in named
        assert "3 rows: 3 events" in named
        inputs = json.loads(done(run("check", "--json")).stdout)["surfaces"]
        assert [each["variant_of"] for each in inputs] == [None, "demo/home"]

    def test_trace_leads_to_the_raw_files_of_the_base(self) -> None:
        found = json.loads(done(run("trace", "demo/lab", "popularity", "a", "--json")).stdout)

        assert found["is_current"]
        (of_day,) = found["days"]
        assert of_day["uri"].endswith("canonical/demo/home/exposures/2026-01-01.parquet")
        (file,) = of_day["files"]
        assert file["file"]["name"] == "demo/home/exposure.2026-01-01.jsonl"
        assert (file["now"], file["events"], file["first_line"]) == ("there", 2, 1)

    def test_status_and_metrics_tell_variants_apart(self, project: Project) -> None:
        statuses = json.loads(run("status", "--json").stdout)["surfaces"]

        assert [each["variant_of"] for each in statuses] == [None, "demo/home"]
        assert [each["day"] for each in statuses] == [str(day(0)), str(day(0))]
        text = done(run("metrics")).stdout
        assert 'recsys_surface_variant{surface="home"' not in text
        assert 'recsys_surface_variant{surface="lab",tenant="demo"} 1.0' in text

    def test_show_history_verify_and_pin_are_about_its_own(self) -> None:
        assert (
            "demo/lab popularity, 2026-01-01" in done(run("show", "demo/lab", "popularity")).stdout
        )
        done(run("pin", "demo/lab", *REASON))

        actions = [row[1] for row in rows(done(run("history", "demo/lab")))]
        assert actions == ["pin (pinned)", "publish"]
        assert len(rows(done(run("history", "demo/home")))) == 1
        assert (
            "demo/lab: 1 blobs of 2 publications verified, 0 findings" in done(run("verify")).stdout
        )
