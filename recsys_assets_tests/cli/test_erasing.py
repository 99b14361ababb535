"""The commands about a person: they ask for the id, and say nothing of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from recsys_assets import cli
from recsys_assets.storage.erasures import KEY_VARIABLE
from recsys_assets_tests.cli.conftest import NAME, REASON, done, refused, run
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import make_day

ANN = "ann"
NOW = ("--reader-seconds", "0", "--no-dagster")


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a secret that nobody knows")


@pytest.fixture
def shop(project: Project, fast: None) -> Project:
    """Publish a day of two users."""
    kinds: dict[str, Any] = {"artifacts": {"popularity": {}, "implicit": {}}}
    variant = {"surface": "other", "variant_of": NAME, **kinds}
    sinks = [{"name": "table", "type": "files", "path": "out"}]
    config = project.configure({**kinds, "catalog": None, "sinks": sinks}, variant)
    users = (ANN, "bob")
    project.land(day(0), [event(item, user_id=user) for user in users for item in "ab"])
    make_day(project.store, config.surfaces[0], day(0))
    done(run("deliver", NAME))
    return project


def asked(*arguments: str, answer: str = f" {ANN}\n") -> Result:
    """Run a command and type in an id."""
    return CliRunner().invoke(cli.main, arguments, input=answer)


def test_the_story_of_a_person(shop: Project) -> None:
    before = asked("find-user", NAME, "--no-dagster")
    assert before.exit_code == 1
    assert "canonical: " in before.stdout
    assert f"sink: file://{shop.folder}/out/demo/home/implicit/1-" in before.stdout

    would = done(asked("erase", NAME, *REASON, *NOW, "--dry-run"))
    assert "places would be cleaned. Nothing was changed" in would.stdout
    result = done(asked("erase", NAME, *REASON, *NOW))
    assert "\n2 events of 1 days taken out, " in result.stdout
    assert "nothing is left" in result.stdout

    found = done(asked("find-user", NAME, "--no-dagster", "--json"))
    told = json.loads(found.stdout)
    assert told["found"] == []
    assert [Path(each["uri"]).name for each in told["raw"]] == [f"exposure.{day(0)}.jsonl"]
    shown = done(run("history", NAME)).stdout
    assert "erase" in shown
    assert ANN not in shown
    verified = done(run("verify", "--surface", NAME))
    assert "0 findings, 2 erased" in verified.stdout
    message = refused(run("rollback", NAME, "--to", "1", *REASON), code=1)
    assert "of a person who was erased (generation 2, " in message


def test_a_sink_that_cannot_be_reached_is_told_and_the_same_command_finishes_it(
    shop: Project,
) -> None:
    out = shop.folder / "out"
    out.rename(shop.folder / "elsewhere")
    out.write_text("no directory")

    result = asked("erase", NAME, *REASON, *NOW)

    assert result.exit_code == 1
    assert f"sink: table of {NAME}: " in result.stdout
    assert "mend what these lines say of sinks, and run the same command again" in result.stderr
    assert asked("find-user", NAME, "--no-dagster").exit_code == 1
    out.unlink()
    (shop.folder / "elsewhere").rename(out)
    assert "nothing is left" in done(asked("erase", NAME, *REASON, *NOW)).stdout
    done(asked("find-user", NAME, "--no-dagster"))


def test_dagster_is_looked_through_unless_it_is_left_out(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked("find-user", NAME, answer="nobody\n").exit_code == 0
    monkeypatch.delenv("DAGSTER_HOME")
    for command in (["erase", NAME, *REASON], ["find-user", NAME]):
        result = asked(*command)
        assert result.exit_code == 2
        assert "DAGSTER_HOME is not set" in result.stderr


def test_without_a_key_nobody_is_erased_and_one_can_be_looked_for(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    assert asked("find-user", NAME, "--no-dagster").exit_code == 1
    result = asked("erase", NAME, *REASON, *NOW)
    assert result.exit_code == 1
    assert f"${KEY_VARIABLE} is not set" in result.stderr


def test_ids_of_a_file_and_what_the_job_is_told(shop: Project, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"{ANN}\n\n  bob\n")
    listed = ["--users-file", str(tmp_path / "users")]

    tokens = done(run("erase", NAME, *REASON, *listed, "--print-hash")).stdout.split()

    assert [len(token.partition(":")[0]) for token in tokens] == [64, 64]
    assert [token.partition(":")[2] for token in tokens] == ["xxx", "xxx"]
    result = done(run("erase", NAME, *REASON, *listed, *NOW))
    assert "\n4 events of 1 days taken out, " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "answer", "code", "said"),
    [
        (["erase", "demo/other", *REASON], ANN, 1, f"made of the events of {NAME}"),
        (["find-user", "demo/other"], ANN, 1, f"made of the events of {NAME}"),
        (["erase", NAME, "--reason", f"for {ANN}", *NOW], ANN, 1, "the reason names who"),
        (["erase", NAME, *REASON, "--users-file", "/dev/null"], "", 2, "no id was given"),
    ],
)
def test_what_is_refused(
    shop: Project, arguments: list[str], answer: str, code: int, said: str
) -> None:
    result = asked(*arguments, answer=f"{answer}\n")
    assert result.exit_code == code
    assert said in result.stderr


def test_a_mistake_in_an_entry_is_told_first_since_it_may_be_a_variant(shop: Project) -> None:
    text = shop.config_file.read_text()
    shop.config_file.write_text(f"{text}- {{tenant: demo, surface: broken}}\n")
    result = asked("erase", NAME, *REASON, *NOW)
    assert result.exit_code == 2
    assert "demo/broken" in result.stderr
