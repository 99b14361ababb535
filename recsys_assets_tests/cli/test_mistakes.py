"""The commands where the entry of one surface has a mistake, and those of the others have none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from recsys_assets_tests.cli.conftest import NAME, SMALL, days, land, refused, rows, run
from recsys_assets_tests.cli.test_main import ARGUMENTS, OTHERS
from recsys_assets_tests.project import Project
from recsys_assets_tests.shop import Shop

MISTAKE = "surface demo/cart: window_dys: unknown key (did you mean 'window_days'?)"
# Those that take every surface where none is named; `check` refuses.
OVER_ALL = ["status", "verify", "retention", "metrics", "materialize"]
NAMES_ONE = sorted((ARGUMENTS.keys() | OTHERS.keys()) - {"check", "metrics"})


@pytest.fixture
def file(shop: Shop) -> Path:
    """Give a mistake to a second surface, beside one of which three days are live."""
    file = shop.root.parent / "surfaces.yaml"
    config = yaml.safe_load(file.read_text())
    (home,) = config["surfaces"]
    home["freshness"] = {"max_days_behind": 100_000}
    config["surfaces"] = [{**home, "surface": "cart", "window_dys": 7}, home]
    file.write_text(yaml.safe_dump(config))
    return file


def arguments(command: str, name: str | None) -> list[str]:
    if command in {*OVER_ALL, "check", "land"}:
        rest = days(0, 0) if command == "materialize" else []
        return [command, *rest, *(["--surface", name] if name else [])]
    if command in OTHERS:
        words = (str(name) if word == NAME else word for word in OTHERS[command])
        return [*command.split(), *words]
    return [command, str(name), *ARGUMENTS[command]]


def told(file: Path, *, passed_over: bool = False) -> str:
    return f"Error: {'passed over: ' if passed_over else ''}{file}:\n  {MISTAKE}\n"


@pytest.mark.parametrize("command", sorted({*OVER_ALL} - {"materialize"}))
def test_over_all_the_others_are_done_and_the_mistake_is_told_at_the_end(
    shop: Shop, file: Path, command: str
) -> None:
    result = run(*arguments(command, None))

    assert result.exit_code == 1
    assert result.stderr.endswith(told(file, passed_over=True))
    assert "home" in result.stdout
    assert "cart" not in result.stdout.replace('surface="cart"', "")


def test_days_of_the_others_are_made(project: Project, in_memory: None) -> None:
    project.configure(SMALL | {"surface": "cart", "window_dys": 7}, SMALL)
    land(project, 0)

    result = run("materialize", *days(0, 0), "--json")

    assert result.exit_code == 1
    (home,) = json.loads(result.stdout)["surfaces"]
    assert (home["surface"], home["succeeded"]) == ("home", True)
    assert result.stderr.endswith(told(project.config_file, passed_over=True))


def test_a_mistake_that_only_dagster_finds_is_one_too(project: Project, in_memory: None) -> None:
    """Its first day is a date, and none that Dagster can have a partition of."""
    project.configure(SMALL | {"surface": "cart", "start_date": "0001-01-01"}, SMALL)
    land(project, 0)

    result = run("materialize", *days(0, 0))

    assert result.exit_code == 1
    assert rows(result)[0][-1] == "published"
    assert result.stderr.splitlines()[-2] == f"Error: passed over: {project.config_file}:"
    assert "  surface demo/cart: its definitions do not load: " in result.stderr.splitlines()[-1]
    for asked in (["materialize", *days(0, 0), "--surface", "demo/cart"], ["check"]):
        message = refused(run(*asked), code=2)
        assert "surface demo/cart: its definitions do not load: " in message


@pytest.mark.parametrize("command", NAMES_ONE)
def test_who_names_it_is_refused(shop: Shop, file: Path, command: str) -> None:
    assert refused(run(*arguments(command, "demo/cart")), code=2) == told(file)


@pytest.mark.parametrize("command", ["status", "verify", "retention"])
def test_who_names_another_hears_nothing_of_it(shop: Shop, file: Path, command: str) -> None:
    result = run(*arguments(command, "demo/home"))

    assert (result.exit_code, "cart" in result.output) == (0, False)


@pytest.mark.parametrize(
    "asked", [[], ["--surface", "demo/home"], ["--surface", "demo/cart"], ["--json"]]
)
def test_check_refuses_it_whatever_is_asked(shop: Shop, file: Path, asked: list[str]) -> None:
    file.write_text(file.read_text() + "- {tenant: demo, surface: attic}\n")

    message = refused(run("check", *asked), code=2)

    assert message.startswith(told(file))
    assert "  surface demo/attic: start_date: is required\n" in message


@pytest.mark.parametrize("command", OVER_ALL)
def test_where_mistakes_are_refused_nothing_is_done(shop: Shop, file: Path, command: str) -> None:
    file.write_text(f"on_mistake: refuse\n{file.read_text()}")

    assert refused(run(*arguments(command, None)), code=2) == told(file)


def test_the_figures_tell_of_it(shop: Shop, file: Path, tmp_path: Path) -> None:
    file.write_text(file.read_text() + "- {tenant: demo}\n")

    result = run("metrics", "--output", str(tmp_path / "recsys.prom"))

    assert result.exit_code == 1
    text = (tmp_path / "recsys.prom").read_text()
    found = {
        (sample.name, sample.labels["tenant"], sample.labels["surface"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "tenant" in sample.labels
    }
    assert {name: found[name] for name in found if name[0] == "recsys_surface_mistake"} == {
        ("recsys_surface_mistake", "demo", "home"): 0,
        ("recsys_surface_mistake", "demo", "cart"): 1,
        ("recsys_surface_mistake", "", "number 3"): 1,
    }
    assert {name[2] for name in found if name[0] == "recsys_surface_stale"} == {"home"}
