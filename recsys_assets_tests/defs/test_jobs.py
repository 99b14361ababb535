"""The operations as Dagster jobs: what they do, what they show, and how they fail."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.config import Config, Surface
from recsys_assets.definitions import build_definitions
from recsys_assets.live.history import publications
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.flips import actor
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Live, Publication, read_live
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import make_day, verified

OPS = {
    "rollback": "roll_back",
    "pin": "hold",
    "release": "let_go",
    "verify": "verify_publications",
    "retention": "delete_old",
}
UNASKED = {"verify", "retention"}  # no reason is needed
SURFACE = {"surface": "demo/home"}
ASKED: dict[str, Any] = {**SURFACE, "reason": "incident 7", "who": "ada"}
DO_IT = {"dry_run": False}
OLD = 946_684_800  # the year 2000
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


@dataclass(frozen=True)
class Site:
    """A project with two surfaces, three days of the first one published."""

    project: Project
    config: Config

    @property
    def store(self) -> LocalStore:
        return self.project.store

    @property
    def surface(self) -> Surface:
        return self.config.surfaces[0]

    @property
    def live(self) -> Live:
        live = read_live(self.store, Place("demo", "home"))
        assert live is not None
        return live

    @property
    def newest(self) -> Publication:
        assert self.live.publication is not None
        return self.live.publication

    def make(self, number: int, items: str = "ab") -> str:
        of = day(number)
        self.project.land(of, [event(item, of=of) for item in items])
        return make_day(self.store, self.surface, of)

    def files(self) -> dict[str, bytes]:
        root = self.project.folder / "var"
        paths = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]
        return {str(path): path.read_bytes() for path in paths}

    def run(self, job: str, config: dict[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        run_config: dict[str, Any] = {"loggers": QUIET}
        if config is not None:
            run_config["ops"] = {OPS[job]: {"config": config}}
        return (
            build_definitions(self.config)
            .resolve_job_def(job)
            .execute_in_process(
                run_config=run_config, instance=self.project.instance, raise_on_error=False
            )
        )

    def shown(self, job: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run a job that succeeds; return the metadata of its output."""
        result = self.run(job, config)
        assert result.success, failure(result)
        return outputs(result)

    def tags(self, result: dg.ExecuteInProcessResult) -> Mapping[str, str]:
        run = self.project.instance.get_run_by_id(result.run_id)
        assert run is not None
        return run.tags


def outputs(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Return the metadata of the output of a run."""
    (output,) = [
        event.event_specific_data.metadata  # type: ignore[union-attr]
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.STEP_OUTPUT
    ]
    return {name: found.value for name, found in output.items()}


def failure(result: dg.ExecuteInProcessResult) -> Any:
    """Return how a run failed: by a `dg.Failure`, without a retry."""
    assert not result.success
    (data,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert data.user_failure_data is not None, data.error
    assert data.error is not None
    assert data.error.cause is None
    return data.user_failure_data


@pytest.fixture
def site(project: Project, fast: None) -> Site:
    return three_days(project)


@pytest.fixture(scope="module")
def untouched(once: Project) -> Site:
    """Give a site for tests that change nothing."""
    return three_days(once)


def three_days(project: Project) -> Site:
    small = {"artifacts": {"popularity": {}, "cooc": {"min_support": 1}}, "catalog": None}
    site = Site(project, project.configure(small, {**small, "surface": "checkout"}))
    for number in range(3):
        assert site.make(number) == "published"
    return site


class TestRollback:
    """Job `rollback`."""

    def test_it_makes_the_previous_publication_live_and_shows_it(self, site: Site) -> None:
        shown = site.shown("rollback", {**ASKED, **DO_IT})

        assert site.newest.generation == 4
        assert site.newest.window.start == day(1)
        assert verified(site.store, site.live.current)
        changes = shown.pop("changes")
        assert [record["kind"] for record in rows(changes)] == ["popularity", "cooc"]
        assert shown == {
            "outcome": "published",
            "to_generation": 2,
            "to_day": "2026-01-02",
            "action": "rollback",
            "generation": 4,
            "pinned": False,
            "who": "ada",
            "reason": "incident 7",
            "live_day": "2026-01-02",
            "current": dict(site.live.current),
        }

    def test_one_kind_is_rolled_back_and_pinned(self, site: Site) -> None:
        result = site.run("rollback", {**ASKED, "to": "1", "kind": "cooc", "pin": True, **DO_IT})

        assert result.success
        newest = site.newest
        assert (newest.generation, newest.reason, newest.pinned) == (4, "incident 7", True)
        assert newest.run_id == result.run_id
        assert newest.restored == {"cooc": 1}

    def test_a_dry_run_shows_the_same_and_changes_nothing(self, site: Site) -> None:
        before = site.files()

        result = site.run("rollback", {**ASKED, "to": str(day(0))})  # it is the default
        shown = outputs(result)

        assert site.files() == before
        assert shown["outcome"] == (
            "dry run: nothing was changed; launch it with dry_run: false to do it"
        )
        assert site.tags(result)["recsys_assets/dry_run"] == "true"
        assert shown["to_generation"] == 1
        assert len(rows(shown["changes"])) == 2

    def test_who_is_left_out_is_who_the_run_runs_as(self, site: Site) -> None:
        site.shown("rollback", {**SURFACE, "reason": "incident 7", **DO_IT})

        assert site.newest.who == actor()

    def test_to_what_is_live_nothing_changes(self, site: Site) -> None:
        shown = site.shown("rollback", {**ASKED, "to": "live", **DO_IT})

        assert (shown["outcome"], shown["generation"], shown["changes"]) == ("unchanged", 3, "none")

    def test_a_damaged_target_fails_with_the_text_and_changes_nothing(self, site: Site) -> None:
        uri = publications(site.store, site.surface, limit=3)[2].current["cooc"]
        Path(uri.removeprefix("file://")).unlink()
        before = site.files()

        found = failure(site.run("rollback", {**ASKED, "to": "1", **DO_IT}))

        assert found.description.startswith(
            f"cannot roll demo/home back to generation 1: {uri} is missing"
        )
        assert site.files() == before


class TestPinAndRelease:
    """Jobs `pin` and `release`."""

    def test_a_pin_holds_and_a_release_publishes_what_was_held_back(self, site: Site) -> None:
        pinned = site.shown("pin", ASKED)
        assert site.make(3) == "pinned"
        released = site.shown("release", {**ASKED, "reason": "fixed"})

        assert (pinned["outcome"], pinned["generation"], pinned["pinned"]) == ("published", 4, True)
        assert released["outcome"] == "published"
        assert (released["next_day"], released["next_day_outcome"]) == ("2026-01-04", "published")
        assert (site.newest.window.start, site.newest.pinned) == (day(3), False)
        assert verified(site.store, site.live.current)
        actions = [(p.action, p.reason) for p in publications(site.store, site.surface, limit=2)]
        assert actions[1] == ("release", "fixed")

    def test_the_publish_of_a_release_is_on_record_as_the_releasers(self, site: Site) -> None:
        site.shown("pin", ASKED)
        site.make(3)

        result = site.run("release", {**SURFACE, "reason": "fixed", "who": "grace"})

        publish, release = publications(site.store, site.surface, limit=2)
        assert (publish.action, release.action) == ("publish", "release")
        for each in (publish, release):
            assert (each.who, each.reason, each.run_id) == ("grace", "fixed", result.run_id)

    def test_when_nothing_was_held_back_no_day_is_shown(self, site: Site) -> None:
        assert "next_day" not in site.shown("release", ASKED)

    def test_a_dry_run_says_what_the_gates_find_and_changes_nothing(self, site: Site) -> None:
        site.shown("pin", ASKED)
        site.make(3)
        before = site.files()

        shown = site.shown("release", {**ASKED, "dry_run": True})

        assert (shown["pinned"], shown["next_day"]) == (True, "2026-01-04")
        assert shown["next_day_outcome"] == "would be published"
        outcomes = {row.data["check"]: row.data["outcome"] for row in shown["found"].records}
        assert outcomes["nothing_emptied"] == "passed"
        assert site.files() == before

    def test_a_day_that_cannot_be_published_fails_the_run_and_the_surface_is_released(
        self, site: Site
    ) -> None:
        site.shown("pin", ASKED)
        site.make(3)
        site.store.delete(layout.canonical(Place("demo", "home"), day(3)))

        found = failure(site.run("release", ASKED))

        assert found.description.startswith(
            "demo/home is released, but 2026-01-04 is not live: popularity: made of other events"
        )
        assert not site.newest.pinned
        assert (site.newest.action, site.newest.who) == ("release", "ada")


class TestVerify:
    """Job `verify`."""

    def test_all_surfaces_are_verified(self, site: Site) -> None:
        assert site.shown("verify", {}) == {"blobs": 6, "findings": 0}
        assert site.shown("verify") == {"blobs": 6, "findings": 0}
        assert site.shown("verify", {"surface": "demo/checkout"}) == {"blobs": 0, "findings": 0}
        assert site.shown("verify", {**SURFACE, "last": 1}) == {"blobs": 2, "findings": 0}

    def test_findings_fail_the_run_and_are_shown(self, site: Site) -> None:
        uri = site.live.current["cooc"]
        Path(uri.removeprefix("file://")).unlink()

        found = failure(site.run("verify", SURFACE))

        assert found.description == f"1 findings in 6 blobs: missing {uri}"
        (row,) = rows(found.metadata["shown"].value)
        assert (row["surface"], row["problem"], row["uri"]) == ("demo/home", "missing", uri)
        assert (found.metadata["blobs"].value, found.metadata["findings"].value) == (6, 1)

    def test_the_grace_decides_what_is_an_orphan(self, site: Site) -> None:
        site.shown("pin", ASKED)
        site.make(3, "abc")
        site.make(3, "abcd")
        for path in (site.project.folder / "var/objectstore").rglob("*.json"):
            os.utime(path, (path.stat().st_mtime - 7200,) * 2)

        assert site.shown("verify", {"grace_hours": 3})["findings"] == 0
        found = failure(site.run("verify", {"grace_hours": 1}))
        assert found.description.startswith("2 findings in 6 blobs: orphaned file://")


class TestRetention:
    """Job `retention` and its schedule."""

    @pytest.fixture
    def old(self, project: Project, site: Site) -> Site:
        """Keep one publication; four blobs are old and one of them is left over from a run."""
        for path in (project.folder / "var").rglob("*"):
            os.utime(path, (OLD, OLD))
        scratch = project.folder / "var/.scratch/left"
        scratch.mkdir(parents=True)
        (scratch / "behind").write_bytes(b"half")
        os.utime(scratch / "behind", (OLD, OLD))
        keep = site.config.retention.model_copy(update={"publications": 1, "days": 1})
        for number in (3, 4):
            site.make(number)
        old = Site(project, site.config.model_copy(update={"retention": keep}))
        for each in publications(old.store, old.surface, limit=9)[1:]:
            key = layout.publication(Place("demo", "home"), each.generation, each.publish_id)
            path = Path(old.store.location(key))
            path.write_text(path.read_text().replace('"published_at": "2', '"published_at": "1'))
        return old

    def test_it_deletes_what_is_old_and_tells_what(self, old: Site) -> None:
        before = old.files()

        shown = old.shown("retention", {**SURFACE, "who": "ada", **DO_IT})

        gone = before.keys() - old.files().keys()
        assert (shown["outcome"], shown["blobs"], shown["staged"]) == ("deleted", 6, 6)
        assert (shown["rejected"], shown["left_behind"]) == (0, 1)
        assert shown["compared"] == 6  # the outlines of the blobs
        assert len(gone) == 6 + 6 + 6 + 1
        assert {record["uri"] for record in rows(shown["uris"])} == {
            f"file://{path}" for path in gone if "/.scratch/" not in path
        }
        assert shown["size_bytes"] == sum(len(before[path]) for path in gone) - len(b"half")
        assert (old.newest.action, old.newest.who, old.newest.retiring) == ("retention", "ada", ())
        assert verified(old.store, old.live.current)

    def test_without_a_surface_it_is_every_surface(self, old: Site) -> None:
        assert old.shown("retention", DO_IT)["blobs"] == 6
        assert old.newest.who == actor()

    @pytest.mark.parametrize("config", [None, {}, {"dry_run": True}])
    def test_a_dry_run_is_the_default_and_tells_the_same_and_changes_nothing(
        self, old: Site, config: dict[str, Any] | None
    ) -> None:
        before = old.files()

        result = old.run("retention", config)
        shown = outputs(result)

        assert old.files() == before
        assert shown["outcome"].startswith("dry run: nothing was changed")
        assert old.tags(result)["recsys_assets/dry_run"] == "true"
        assert (shown["blobs"], shown["left_behind"]) == (6, 1)
        assert len(rows(shown["uris"])) == 18

    def test_a_surface_that_cannot_be_judged_holds_back_no_other(self, old: Site) -> None:
        first = old.config.surfaces[::-1]
        key = layout.staged(Place("demo", "checkout"), "default", "cooc", day(0))
        old.store.replace(key, b"{")
        swapped = Site(old.project, old.config.model_copy(update={"surfaces": first}))
        before = len(old.files())

        found = failure(swapped.run("retention", DO_IT))

        assert found.description.startswith(f"demo/checkout: {old.store.uri(key)} is damaged")
        assert len(old.files()) == before - 19 + 2
        assert verified(old.store, old.live.current)

    def test_the_schedule_is_stopped_and_runs_every_surface(self, site: Site) -> None:
        repository = build_definitions(site.config).get_repository_def()
        schedule = repository.get_schedule_def("retention_nightly")

        assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
        assert schedule.cron_schedule == "30 3 * * *"
        assert (schedule.job_name, schedule.execution_timezone) == ("retention", "UTC")
        (request,) = schedule.evaluate_tick(dg.build_schedule_context()).run_requests or []
        assert request.run_config == {"ops": {"delete_old": {"config": DO_IT}}}
        assert (
            repository.get_job("retention")
            .execute_in_process(
                run_config={**request.run_config, "loggers": QUIET},
                instance=site.project.instance,
            )
            .success
        )


class TestRefusals:
    """What a person got wrong."""

    @pytest.mark.parametrize("job", ["rollback", "pin", "release"])
    @pytest.mark.parametrize("missing", ["reason", "surface"])
    def test_dagster_asks_for_what_is_required(
        self, untouched: Site, job: str, missing: str
    ) -> None:
        config = {name: value for name, value in ASKED.items() if name != missing}

        with pytest.raises(
            dg.DagsterInvalidConfigError, match=f'required config entry "{missing}"'
        ):
            untouched.run(job, config)

    @pytest.mark.parametrize("job", ["rollback", "pin", "release"])
    def test_an_empty_reason_fails_and_changes_nothing(self, untouched: Site, job: str) -> None:
        before = untouched.files()

        do_it = DO_IT if job == "rollback" else {}
        found = failure(untouched.run(job, {**ASKED, **do_it, "reason": " "}))

        assert found.description.startswith("a reason is required")
        assert untouched.files() == before

    @pytest.mark.parametrize("job", OPS)
    def test_a_surface_is_one_of_those_there_are(self, untouched: Site, job: str) -> None:
        reason = {} if job in UNASKED else {"reason": "incident 7"}
        definition = build_definitions(untouched.config).resolve_job_def(job)
        schema: Any = definition.get_node_named(OPS[job]).definition
        chosen = schema.config_schema.config_type.fields["surface"].config_type
        values = getattr(chosen, "inner_type", chosen).config_values
        assert values == ["demo/home", "demo/checkout"]

        with pytest.raises(dg.DagsterInvalidConfigError, match="not in enum type Surface_"):
            untouched.run(job, {"surface": "demo/attic", **reason})

    @pytest.mark.parametrize("job", ["rollback", "pin", "release"])
    def test_a_surface_on_which_nothing_is_live_is_told(self, untouched: Site, job: str) -> None:
        found = failure(untouched.run(job, {**ASKED, "surface": "demo/checkout"}))

        assert found.description.startswith("nothing is live for demo/checkout yet")

    @pytest.mark.parametrize("job", OPS)
    def test_no_job_is_run_again_by_itself(self, untouched: Site, job: str) -> None:
        """`previous` is another publication by then."""
        definition = build_definitions(untouched.config).resolve_job_def(job)

        asked = {} if job in UNASKED else {**SURFACE, "reason": " "}
        result = untouched.run(job, asked)

        assert definition.tags["dagster/max_retries"] == "0"
        assert result.dagster_run.tags["dagster/max_retries"] == "0"

    @pytest.mark.parametrize("job", OPS)
    def test_every_job_and_every_setting_says_what_it_is(self, untouched: Site, job: str) -> None:
        definition = build_definitions(untouched.config).resolve_job_def(job)
        fields = definition.get_node_named(OPS[job]).definition.config_schema.config_type.fields  # type: ignore[union-attr]

        assert definition.description
        assert all(field.description for field in fields.values())


def rows(table: Any) -> list[dict[str, Any]]:
    assert table != "none"
    return [dict(record.data) for record in table.records]
