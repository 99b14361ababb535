"""The operations as Dagster jobs on an object store: one story, its history read back."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from recsys_assets.config import load_config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs.materialize import materialize
from recsys_assets.live.history import publications
from recsys_assets.storage import open_store
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import verified
from recsys_assets_tests.storage.conftest import new_prefix, use
from recsys_assets_tests.storage.servers import Server

QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
ASKED = {"surface": "demo/home", "reason": "incident 7", "who": "ada"}


def test_a_bad_day_from_the_rollback_to_the_release_on_s3(
    project: Project, s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(s3_server, monkeypatch)
    monkeypatch.setenv("RECSYS_ROOT", s3_server.url(new_prefix()))
    project.configure({"artifacts": {"popularity": {}}, "catalog": None})
    config = load_config(project.config_file)
    definitions, store = build_definitions(config), open_store(config.root)
    (surface,) = config.surfaces

    def make(number: int, items: str) -> str:
        of = day(number)
        project.land(of, [event(item, of=of) for item in items])
        report = materialize(definitions, surface, [of], store=store, instance=project.instance)
        return report.outcome(of)

    def run(job: str, op: str, settings: dict[str, Any]) -> dict[str, Any]:
        result = definitions.resolve_job_def(job).execute_in_process(
            run_config={"loggers": QUIET, "ops": {op: {"config": settings}}},
            instance=project.instance,
        )
        (output,) = [
            each.event_specific_data.metadata  # type: ignore[union-attr]
            for each in result.all_events
            if each.event_type == dg.DagsterEventType.STEP_OUTPUT
        ]
        return {name: found.value for name, found in output.items()}

    assert [make(0, "ab"), make(1, "a")] == ["published", "published"]
    dry = run("rollback", "roll_back", {**ASKED, "dry_run": True})
    assert dry["outcome"].startswith("dry run")
    assert dry["to_day"] == str(day(0))
    assert run("rollback", "roll_back", {**ASKED, "pin": True, "dry_run": False})[
        "live_day"
    ] == str(day(0))
    assert make(1, "abc") == "pinned"
    assert run("release", "let_go", {**ASKED, "reason": "fixed"})["next_day"] == str(day(1))
    assert run("pin", "hold", ASKED)["pinned"] is True
    assert run("verify", "verify_publications", {})["findings"] == 0
    assert run("retention", "delete_old", {"dry_run": True})["blobs"] == 0

    newest_first = publications(store, surface, limit=9)
    assert [(each.action, each.reason) for each in newest_first[:4]] == [
        ("pin", "incident 7"),
        ("publish", "fixed"),
        ("release", "fixed"),
        ("rollback", "incident 7"),
    ]
    assert all(uri.startswith("s3://") for uri in newest_first[0].current.values())
    assert verified(store, newest_first[0].current)
