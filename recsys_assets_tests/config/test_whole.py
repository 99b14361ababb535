from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.errors import ConfigError
from recsys_assets_tests.config.files import SURFACE, load, problems


@pytest.mark.parametrize(
    ("key", "default", "values"),
    [
        ("publications", 30, [1, 7, 10**9]),
        ("days", 30, [1, 7, 36_500]),
        ("grace_hours", 24, [1, 7, 876_000]),
    ],
)
def test_what_retention_keeps_is_set_up_to_a_hundred_years(
    file: Path, key: str, default: int, values: list[int]
) -> None:
    """Such a time ago is still a date, which no number of days without a limit would be."""
    assert getattr(load(file, SURFACE).retention, key) == default
    for value in values:
        kept = load(file, SURFACE, retention={key: value}).retention
        assert getattr(kept, key) == value
        assert datetime.now(UTC) - timedelta(days=kept.days, hours=kept.grace_hours)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("publications", 0, "greater than or equal to 1"),
        ("days", 0, "greater than or equal to 1"),
        ("days", 36_501, "less than or equal to 36500"),
        ("days", 10**15, "less than or equal to 36500"),
        ("grace_hours", 0, "greater than or equal to 1"),
        ("grace_hours", 876_001, "less than or equal to 876000"),
        ("grace_hours", 1.5, "a valid integer"),
    ],
)
def test_what_retention_cannot_keep_is_refused(
    file: Path, key: str, value: float, message: str
) -> None:
    (problem,) = problems(file, SURFACE, retention={key: value})

    assert problem.startswith(f"retention.{key}: Input should be ")
    assert problem.endswith(f"{message}, got {value}")


def test_failed_runs_are_reported_by_default_with_links_to_this_machine(file: Path) -> None:
    assert load(file, SURFACE).alerts.model_dump() == {
        "webhook_env": "RECSYS_WEBHOOK_URL",
        "ui_url": "http://127.0.0.1:3000",
        "timeout_seconds": 10,
    }


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("webhook_env", "PAGER_2", "PAGER_2"),
        ("ui_url", "https://dagster.example", "https://dagster.example"),
        ("ui_url", "http://host:3001/shop/", "http://host:3001/shop"),
        ("timeout_seconds", 1, 1),
        ("timeout_seconds", 30, 30),
    ],
)
def test_how_people_are_told_is_set(file: Path, key: str, value: Any, read: Any) -> None:
    assert getattr(load(file, SURFACE, alerts={key: value}).alerts, key) == read


def test_addresses_that_the_file_leaves_out_are_those_of_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_DOCS_URL", "http://127.0.0.1:3006/docs/")
    monkeypatch.setenv("RECSYS_UI_URL", "http://127.0.0.1:3005")

    served = load(file, SURFACE)
    assert served.docs_url == "http://127.0.0.1:3006/docs"
    assert served.alerts.ui_url == "http://127.0.0.1:3005"

    named = load(
        file,
        SURFACE,
        docs_url="https://wiki.example.org",
        alerts={"ui_url": "http://127.0.0.1:3000"},
    )
    assert named.docs_url == "https://wiki.example.org"
    assert named.alerts.ui_url == "http://127.0.0.1:3000"


@pytest.mark.parametrize("variable", ["RECSYS_DOCS_URL", "RECSYS_UI_URL"])
def test_an_address_of_the_environment_is_held_to_the_same_rules(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "https://me:T0KEN@example.org")

    with pytest.raises(ConfigError, match=rf"^\${variable}: must be http") as raised:
        load(file, SURFACE)

    assert "T0KEN" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("webhook_env", "https://hooks.example/T0KEN", "must be the name of an environment var"),
        ("webhook_env", "2T0KEN", "must be the name of an environment variable"),
        ("webhook_env", "", "must be the name of an environment variable"),
        ("ui_url", "https://me:T0KEN@dagster.example", "must be http(s)://host[:port][/path]"),
        ("ui_url", "https://dagster.example?key=T0KEN", "must be http(s)://host[:port][/path]"),
        ("ui_url", "dagster.example", "must be http(s)://host[:port][/path]"),
        ("ui_url", "ftp://dagster.example", "must be http(s)://host[:port][/path]"),
        ("timeout_seconds", 0, "greater than or equal to 1"),
        ("timeout_seconds", 31, "less than or equal to 30"),
    ],
)
def test_what_cannot_tell_anybody_is_refused_without_quoting_a_secret(
    file: Path, key: str, value: Any, said: str
) -> None:
    (problem,) = problems(file, SURFACE, alerts={key: value})

    assert problem.startswith(f"alerts.{key}: ")
    assert said in problem
    assert "T0KEN" not in problem


def test_no_surface_at_all_is_refused(file: Path) -> None:
    (problem,) = problems(file)

    assert problem.startswith("surfaces: List should have at least 1 item")


def test_a_surface_that_is_listed_twice_is_refused(file: Path) -> None:
    assert problems(file, SURFACE, SURFACE) == ["surface demo/home is listed twice"]


def test_two_surfaces_that_would_share_a_dagster_group_are_refused(file: Path) -> None:
    first, second = {**SURFACE, "surface": "a-b"}, {**SURFACE, "surface": "a.b"}

    assert problems(file, first, second) == [
        "surfaces demo/a-b and demo/a.b look the same in Dagster, which keeps only letters, "
        "digits and _"
    ]


def test_a_surface_is_known_by_tenant_and_surface(file: Path) -> None:
    config = load(file, SURFACE, {**SURFACE, "tenant": "other"})

    assert config.surface("other/home").tenant == "other"
    with pytest.raises(ConfigError, match=r"no surface 'home' .* there are: demo/home, other/home"):
        config.surface("home")


def test_a_configuration_cannot_be_changed_once_it_is_loaded(file: Path) -> None:
    config = load(file, SURFACE)

    with pytest.raises(ValueError, match="frozen"):
        setattr(config, "root", "elsewhere")  # noqa: B010 (mypy refuses the plain assignment)
