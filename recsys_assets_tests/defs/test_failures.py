from __future__ import annotations

import html
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import StepMaterializationData

from recsys_assets import documents
from recsys_assets.audit import artifacts, events
from recsys_assets.config import Config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs import failures, recoveries
from recsys_assets.defs.failures import build_failure_reports
from recsys_assets.defs.recoveries import Failed, Progress
from recsys_assets.defs.reports import OLDEST
from recsys_assets.errors import WebhookError
from recsys_assets_tests.project import DAY, Project, day, event

SECRET = "T0KEN"  # noqa: S105 (of a webhook that is not there)
SMALL: dict[str, Any] = {"artifacts": {"popularity": {}}, "catalog": None}


@dataclass
class Webhook:
    """A receiver on this machine: what it was sent, and what it answers to the next posts."""

    url: str
    posts: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.answers.pop(0) if receiver.answers else 200
            if status == 200:
                receiver.posts.append(json.loads(body))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        receiver = Webhook(f"http://127.0.0.1:{server.server_port}/{SECRET}")
        monkeypatch.setenv("RECSYS_WEBHOOK_URL", receiver.url)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


@dataclass
class Sensor:
    """The sensor with its cursor, as the daemon keeps it: a tick that fails does not move it."""

    config: Config
    instance: dg.DagsterInstance
    cursor: str | None = None

    def tick(self) -> str:
        (sensor,) = build_failure_reports(self.config).sensors or ()
        assert isinstance(sensor, dg.SensorDefinition)
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        reason = sensor(context)
        assert isinstance(reason, dg.SkipReason)
        self.cursor = context.cursor
        return str(reason.skip_message)


@pytest.fixture
def started(project: Project) -> Sensor:
    sensor = Sensor(project.configure(SMALL), project.instance)
    assert sensor.tick() == "Reports the runs that fail from now on."
    return sensor


def fail(project: Project, config: Config, *, days: int = 1) -> str:
    """Materialize days that nothing landed for, which is one failed run; return its id."""
    report = project.materialize(config, [day(number) for number in range(days)])
    assert not report.succeeded
    return report.run_ids[0]


def test_a_failed_check_is_reported_with_all_one_needs_to_act(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    project.land(DAY, [event("a"), event("b", v=7), "{"])
    run_id = fail(project, started.config)

    assert started.tick() == "1 failed runs reported."

    (report,) = webhook.posts
    failure, of_bytes = report["failures"]
    assert of_bytes["check"] == "max_rejected_bytes_share"
    sample = failure.pop("sample")
    assert [row["day"] for row in sample] == ["2026-01-01", "2026-01-01"]
    assert all(row["reason"] for row in sample)
    assert failure == {
        "surface": "demo/home",
        "asset": "demo/home/canonical_events",
        "check": "max_rejected_share",
        "days": ["2026-01-01"],
        "more_days": 0,
        "description": "guardrails.max_rejected_share is 0.01, found 0.6667: wrong_version (1), "
        "invalid_json (1)",
        "error": None,
        "url": "http://127.0.0.1:3000/assets/demo/home/canonical_events"
        "?view=checks&checkDetail=max_rejected_share",
        "runbook": "docs/runbooks/limit-exceeded.md#max_rejected_share",
    }
    run_url = f"http://127.0.0.1:3000/runs/{run_id}"
    assert {name: report[name] for name in report if name != "failures"} == {
        "text": "demo/home 2026-01-01: canonical_events failed max_rejected_share: "
        f"{failure['description']} (and 1 more failures) {run_url}",
        "run_id": run_id,
        "job": "__ASSET_JOB",
        "run_url": run_url,
        "will_retry": False,
        "surfaces": ["demo/home"],
        "days": ["2026-01-01"],
        "more_days": 0,
        "more_failures": 0,
    }


def test_each_failed_run_is_reported_once(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    runs = [fail(project, started.config), fail(project, started.config)]
    run = project.instance.get_run_by_id(runs[0])
    assert run
    project.instance.report_run_failed(run, "said by the daemon as well")

    ticks = [started.tick(), started.tick()]

    assert ticks == ["2 failed runs reported.", "No run failed."]
    assert [report["run_id"] for report in webhook.posts] == runs


def test_what_failed_before_the_sensor_was_started_is_not_reported(
    project: Project, webhook: Webhook
) -> None:
    sensor = Sensor(project.configure(SMALL), project.instance)
    fail(project, sensor.config)

    assert [sensor.tick(), sensor.tick()][1] == "No run failed."

    assert webhook.posts == []


def test_a_tick_that_takes_long_leaves_the_rest_to_the_next(
    project: Project, started: Sensor, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_LONGEST_TICK_S", 0)
    runs = [fail(project, started.config), fail(project, started.config)]

    ticks = [started.tick() for _ in range(3)]

    assert ticks == ["1 failed runs reported.", "1 failed runs reported.", "No run failed."]
    assert [report["run_id"] for report in webhook.posts] == runs


def test_what_is_stale_is_reported_with_its_surface(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    build_definitions(started.config).resolve_job_def("check_freshness").execute_in_process(
        instance=project.instance, raise_on_error=False
    )

    started.tick()

    (report,) = webhook.posts
    assert report["surfaces"] == ["demo/home"]
    (failure,) = report["failures"]
    assert (failure["asset"], failure["check"]) == ("demo/home/live", "fresh")
    assert failure["runbook"] == "docs/runbooks/stale-artifacts.md#fresh"


def test_a_run_of_many_bad_days_is_one_bounded_report(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    fail(project, started.config, days=12)

    started.tick()

    (report,) = webhook.posts
    (failure,) = report["failures"]
    for part in (report, failure):
        assert part["days"] == [str(day(number)) for number in range(10)]
        assert part["more_days"] == 2
    assert "2026-01-01 and 11 more days: " in report["text"]
    assert "12 of 12 days failed" in failure["description"]


def test_a_step_that_broke_is_reported_with_its_error_and_without_secrets(
    project: Project, started: Sensor, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no answer from https://me:pass-word@store/x?sig=abcd in time")

    project.land(DAY, [event("a")])
    monkeypatch.setattr(events, "parse_day", broken)
    fail(project, started.config)

    started.tick()

    (report,) = webhook.posts
    (failure,) = report["failures"]
    assert failure["check"] is None
    assert failure["asset"] == "demo/home/canonical_events"
    assert failure["days"] == ["2026-01-01"]
    assert failure["error"] == "RuntimeError: no answer from ***@store/x?*** in time"
    assert failure["runbook"] == "docs/runbooks/pipeline-failed.md"
    assert "canonical_events broke: RuntimeError: no answer" in report["text"]


@pytest.mark.parametrize("answers", [[], [400]], ids=["the report", "its text alone"])
def test_words_of_others_call_nobody_and_name_no_link_in_a_chat(
    project: Project,
    started: Sensor,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[int],
) -> None:
    """Slack obeys what stands in `<...>`: https://api.slack.com/docs/message-formatting."""
    foreign = "<!channel> see <https://evil.example|the runbook> &amp; <!here>"

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(foreign)

    project.land(DAY, [event("a")])
    monkeypatch.setattr(events, "parse_day", broken)
    fail(project, started.config)
    webhook.answers = answers

    started.tick()

    (report,) = webhook.posts
    assert "<" not in report["text"]
    assert ">" not in report["text"]
    assert f"RuntimeError: {foreign} " in html.unescape(report["text"])
    for failure in report.get("failures", ()):
        assert failure["error"] == f"RuntimeError: {foreign}"  # for programs, as it is


def test_a_run_that_was_ended_from_outside_is_reported_with_all_that_was_said(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    job = build_definitions(started.config).resolve_job_def("verify")
    run = project.instance.create_run_for_job(job)
    project.instance.report_engine_event("Finished initialization of resources", run)
    project.instance.report_engine_event("Process 7 was killed", run, cls=Sensor)
    project.instance.report_run_canceling(run, "Canceling after 60 seconds.")
    project.instance.report_run_failed(run, "Marked as failed.")
    project.instance.report_engine_event("Not tried again", run, cls=Sensor)

    started.tick()

    (report,) = webhook.posts
    said = "[Sensor] Process 7 was killed Canceling after 60 seconds. Marked as failed."
    assert report["failures"][0]["error"] == said
    assert report["text"] == f"verify: the run ended: {said} {report['run_url']}"


def test_a_run_that_its_user_stopped_is_not_reported(
    project: Project, started: Sensor, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    project.land(DAY, [event("a")])
    monkeypatch.setattr(events, "parse_day", stops)
    with pytest.raises(KeyboardInterrupt):
        project.materialize(started.config, [DAY])

    assert started.tick() == "No run failed."
    assert webhook.posts == []


def test_a_failed_operation_is_reported_with_its_surface(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    build_definitions(started.config).resolve_job_def("rollback").execute_in_process(
        run_config={"ops": {"roll_back": {"config": {"surface": "demo/home", "reason": "x"}}}},
        instance=project.instance,
        raise_on_error=False,
    )

    started.tick()

    (report,) = webhook.posts
    assert report["surfaces"] == ["demo/home"]
    assert report["job"] == "rollback"
    assert report["text"].startswith("demo/home: roll_back broke: ")
    assert report["failures"][0]["url"] is None


def test_a_run_of_another_configuration_is_not_reported(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    """One code location per tenant: each has its sensor, and all share the instance."""
    fail(project, started.config)
    other = Sensor(project.configure({**SMALL, "tenant": "other"}), project.instance, "0")

    assert other.tick() == "No run failed."

    assert webhook.posts == []


def test_what_a_webhook_did_not_take_is_posted_by_a_later_tick(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    runs = [fail(project, started.config) for _ in range(3)]
    webhook.answers = [500, 200, 503]

    with pytest.raises(WebhookError, match=r"\$RECSYS_WEBHOOK_URL answered 500: run "):
        started.tick()
    assert started.tick().startswith("1 failed runs reported; then the webhook at ")
    assert started.tick() == "2 failed runs reported."

    assert [report["run_id"] for report in webhook.posts] == runs


def test_a_dead_webhook_holds_a_report_back_for_a_day_at_most(
    project: Project, started: Sensor, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert timedelta(hours=24) == OLDEST
    fail(project, started.config)
    monkeypatch.setattr(failures, "OLDEST", timedelta(0))

    assert started.tick() == "No run failed."

    monkeypatch.undo()
    monkeypatch.setenv("RECSYS_WEBHOOK_URL", webhook.url)
    assert started.tick() == "No run failed."
    assert webhook.posts == []


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_receiver_that_refuses_the_fields_gets_the_text(
    project: Project, started: Sensor, webhook: Webhook, status: int
) -> None:
    fail(project, started.config)
    webhook.answers = [status]

    assert started.tick() == "1 failed runs reported."

    (report,) = webhook.posts
    assert set(report) == {"text"}


def test_without_its_variable_the_sensor_says_so_and_reports_later(
    project: Project, started: Sensor, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECSYS_WEBHOOK_URL")
    fail(project, started.config)

    assert started.tick().startswith("$RECSYS_WEBHOOK_URL is not set: set it ")

    monkeypatch.setenv("RECSYS_WEBHOOK_URL", webhook.url)
    assert started.tick() == "1 failed runs reported."


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://127.0.0.1:1/{SECRET}", r"did not answer \(ConnectionRefusedError\)"),
        (f"http://127.0.0.1:1/{SECRET} x\n", r"did not answer \(InvalidURL\)"),
        (f"http://[{SECRET}", r"did not answer \(ValueError\)"),
        (f"ftp://127.0.0.1/{SECRET}", "must hold an http:// or https:// URL"),
        (SECRET, "must hold an http:// or https:// URL"),
        (302, "answered 302"),
        (404, "answered 404"),
    ],
)
def test_the_url_of_the_webhook_is_never_told(
    project: Project,
    started: Sensor,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    url: str | int,
    said: str,
) -> None:
    if isinstance(url, int):
        webhook.answers = [url]
    else:
        monkeypatch.setenv("RECSYS_WEBHOOK_URL", url)
    fail(project, started.config)

    with pytest.raises(WebhookError, match=said) as raised:
        started.tick()

    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_the_webhook_may_have_another_variable_and_the_ui_another_address(
    project: Project, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = project.configure(SMALL)
    alerts = config.alerts.model_copy(
        update={"webhook_env": "PAGER", "ui_url": "https://dagster.example/shop"}
    )
    config = config.model_copy(update={"alerts": alerts})
    sensor = Sensor(config, project.instance)
    sensor.tick()
    run_id = fail(project, config)
    monkeypatch.delenv("RECSYS_WEBHOOK_URL")
    monkeypatch.setenv("PAGER", webhook.url)

    sensor.tick()

    (report,) = webhook.posts
    assert report["run_url"] == f"https://dagster.example/shop/runs/{run_id}"


def repair(project: Project, config: Config, *, days: int = 1) -> str:
    """Land some days and materialize them; return the id of the run."""
    for number in range(days):
        project.land(day(number), [event("a", of=day(number))])
    report = project.materialize(config, [day(number) for number in range(days)])
    assert report.succeeded
    return report.run_ids[0]


def test_a_day_that_was_reported_and_is_made_later_is_told_to_have_recovered_once(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    fail(project, started.config)
    assert [started.tick(), started.tick()] == ["1 failed runs reported.", "No run failed."]
    run_id = repair(project, started.config)

    ticks = [started.tick(), started.tick()]

    assert ticks == ["1 recovered surfaces reported.", "No run failed."]
    run_url = f"http://127.0.0.1:3000/runs/{run_id}"
    assert webhook.posts[1:] == [
        {
            "text": f"demo/home 2026-01-01: recovered: canonical_events succeeded {run_url}",
            "recovered": True,
            "run_id": run_id,
            "run_url": run_url,
            "surfaces": ["demo/home"],
            "assets": ["demo/home/canonical_events"],
            "days": ["2026-01-01"],
            "more_days": 0,
        }
    ]


def test_many_days_that_failed_several_times_recover_in_one_notice(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    for _ in range(2):
        fail(project, started.config, days=12)
    started.tick()
    repair(project, started.config, days=12)

    assert started.tick() == "1 recovered surfaces reported."

    (notice,) = webhook.posts[2:]
    assert notice["text"].startswith("demo/home 2026-01-01 and 11 more days: recovered: ")
    assert (len(notice["days"]), notice["more_days"]) == (10, 2)
    assert started.tick() == "No run failed."


def test_days_recover_by_themselves_and_the_rest_is_waited_for(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    fail(project, started.config, days=3)
    started.tick()

    told = []
    for days in (2, 3):
        repair(project, started.config, days=days)
        started.tick()
        told.append(webhook.posts[-1]["days"])

    assert told == [["2026-01-01", "2026-01-02"], ["2026-01-03"]]


def test_a_day_whose_next_asset_fails_has_not_recovered(
    project: Project, started: Sensor, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no answer")

    fail(project, started.config)
    started.tick()
    project.land(DAY, [event("a")])
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "render", broken)
        assert not project.materialize(started.config, [DAY]).succeeded

    assert started.tick().endswith(" failed runs reported.")
    assert started.tick() == "No run failed."
    repair(project, started.config)
    assert started.tick() == "1 recovered surfaces reported."

    assert webhook.posts[-1]["assets"] == ["demo/home/canonical_events", "demo/home/popularity"]


def test_a_run_that_goes_on_has_not_recovered_anything(
    project: Project, started: Sensor, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(project, started.config)
    started.tick()
    said = []
    real: Any = documents.render

    def looked_at_meanwhile(*args: Any, **options: Any) -> Any:
        said.append(started.tick())
        return real(*args, **options)

    monkeypatch.setattr(artifacts, "render", looked_at_meanwhile)
    repair(project, started.config)

    assert said == ["No run failed."]
    assert started.tick() == "1 recovered surfaces reported."


def test_what_a_run_that_died_had_not_made_is_waited_for(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    """Its report names no asset; what it made before it died is not made again by its retry."""
    keys = [dg.AssetKey(["demo", "home", name]) for name in ("canonical_events", "popularity")]
    job = build_definitions(started.config).resolve_implicit_global_asset_job_def()
    run = project.instance.create_run_for_job(
        job, tags={"dagster/partition": str(DAY)}, asset_selection={*keys}
    )
    made = dg.AssetMaterialization(keys[0], partition=str(DAY))
    project.instance.report_dagster_event(
        dg.DagsterEvent(
            event_type_value="ASSET_MATERIALIZATION",
            job_name=run.job_name,
            event_specific_data=StepMaterializationData(made),
        ),
        run.run_id,
    )
    project.instance.report_run_failed(run, "Process 7 was killed.")
    started.tick()
    repair(project, started.config)
    started.tick()

    assert webhook.posts[0]["failures"][0]["asset"] is None
    assert webhook.posts[1]["assets"] == ["demo/home/popularity"]


def test_what_was_never_reported_recovers_without_a_notice(
    project: Project, webhook: Webhook
) -> None:
    sensor = Sensor(project.configure(SMALL), project.instance)
    fail(project, sensor.config)
    sensor.tick()
    repair(project, sensor.config)

    assert sensor.tick() == "No run failed."
    assert webhook.posts == []


def test_a_notice_that_the_webhook_did_not_take_is_posted_later_and_once(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    fail(project, started.config)
    started.tick()
    repair(project, started.config)
    webhook.answers = [500]

    with pytest.raises(WebhookError, match="answered 500: run "):
        started.tick()
    assert [started.tick(), started.tick()] == ["1 recovered surfaces reported.", "No run failed."]

    assert len(webhook.posts) == 2


def test_notices_that_take_long_are_left_to_the_next_tick(
    project: Project, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {"path": "raw", "pattern": "demo/home/exposure.{day}*"}
    config = project.configure(SMALL, SMALL | {"surface": "other", "source": source})
    sensor = Sensor(config, project.instance)
    sensor.tick()
    for number in range(2):
        assert not project.materialize(config, [DAY], surface=number).succeeded
    assert sensor.tick() == "2 failed runs reported."
    project.land(DAY, [event("a"), event("a", surface="other")])
    for number in range(2):
        assert project.materialize(config, [DAY], surface=number).succeeded
    monkeypatch.setattr(failures, "_LONGEST_TICK_S", 0)

    ticks = [sensor.tick() for _ in range(3)]

    assert ticks == [*["1 recovered surfaces reported."] * 2, "No run failed."]
    assert [notice["surfaces"] for notice in webhook.posts[2:]] == [["demo/home"], ["demo/other"]]


def test_a_cursor_of_an_earlier_version_is_read(
    project: Project, started: Sensor, webhook: Webhook
) -> None:
    started.cursor = "0"
    fail(project, started.config)

    assert started.tick() == "1 failed runs reported."


def test_what_is_not_made_for_long_is_waited_for_no_more(
    project: Project, started: Sensor, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(project, started.config)
    started.tick()
    repair(project, started.config)
    monkeypatch.setattr(recoveries, "FOLLOWED", timedelta(0))

    assert started.tick() == "No run failed."


def test_a_cursor_is_bounded_and_forgets_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recoveries, "_MOST_FOLLOWED", 3)
    progress = Progress(7)

    for at, days in ((1.0, ["a", "b"]), (2.0, ["c", "d"])):
        progress = progress.reported([Failed("demo/home", "demo/home/cooc", days, at)])

    assert Progress.of_cursor(progress.to_cursor()) == progress
    assert [(each.at, each.days) for each in progress.failed] == [(1.0, ["a"]), (2.0, ["c", "d"])]


def test_the_sensor_ships_stopped(project: Project) -> None:
    (sensor,) = build_failure_reports(project.configure(SMALL)).sensors or ()
    assert isinstance(sensor, dg.SensorDefinition)
    assert sensor.name == "report_failures"
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
