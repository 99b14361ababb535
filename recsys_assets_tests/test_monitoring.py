"""`monitoring/`: the alert rules are right, fire when they should, and name what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from recsys_assets.live import metrics
from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.project import Project
from recsys_assets_tests.test_docs import page

ROOT: Final = Path(__file__).parents[1]
MONITORING: Final = ROOT / "monitoring"
RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS: Final = {rule["alert"] for rule in RULES}


@pytest.fixture
def promtool() -> str:
    """Give promtool; without it the test is skipped, or fails where it is required."""
    found = shutil.which("promtool")
    if found is None:
        skip_unless_required(
            "promtool", "promtool is not on the PATH (Debian: apt-get install prometheus)"
        )
    return found


@pytest.mark.parametrize("command", [["check", "alerts.yaml"], ["test", "alerts_test.yaml"]])
def test_promtool_accepts_the_rules_and_their_tests_pass(promtool: str, command: list[str]) -> None:
    what, file = command
    done = subprocess.run(
        [promtool, what, "rules", file], cwd=MONITORING, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_alert_is_shown_to_fire_and_to_stay_silent(alert: str) -> None:
    tests = yaml.safe_load((MONITORING / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    expected = [
        bool(case["exp_alerts"])
        for test in tests
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]

    assert set(expected) == {True, False}


def test_every_metric_of_the_rules_is_one_that_is_given(project: Project) -> None:
    text = metrics.text(project.configure(), clock=lambda: datetime(2026, 1, 3, tzinfo=UTC))
    families = text_string_to_metric_families(text)
    given = {sample.name for family in families for sample in family.samples}
    given |= {family.name for family in text_string_to_metric_families(text)}

    named = {name for rule in RULES for name in re.findall(r"\brecsys_\w+", rule["expr"])}

    assert named
    assert named <= given


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
    assert re.fullmatch(r"docs/runbooks/[a-z-]+\.md", rule["annotations"]["runbook_url"])
    assert (ROOT / rule["annotations"]["runbook_url"]).is_file()


def test_the_page_on_freshness_has_every_alert_and_every_metric(project: Project) -> None:
    text = metrics.text(project.configure(), clock=lambda: datetime(2026, 1, 3, tzinfo=UTC))
    given = {family.name for family in text_string_to_metric_families(text)}
    rows = re.findall(r"^\| `(\w+)` \|", page("freshness.md"), re.MULTILINE)

    assert set(rows) == ALERTS | given


def test_the_page_on_freshness_tells_the_runbook_of_every_alert() -> None:
    for rule in RULES:
        (row,) = re.findall(rf"^\| `{rule['alert']}` \|.*$", page("freshness.md"), re.MULTILINE)
        assert rule["annotations"]["runbook_url"].removeprefix("docs/") in row
        assert f"| {rule['labels']['severity']} |" in row
