"""`recsys-assets experiment`: options are tried on stored days, and nothing is written."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import dagster as dg
import pytest
from rich.cells import cell_len

from recsys_assets.cli import tables
from recsys_assets_tests.cli.conftest import NAME, done, refused, rows, run, use_config, wrong
from recsys_assets_tests.cli.terminals import WIDTH, in_terminal_here
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import make_day, unsynced

LAST: Final = 10
SURFACE: Final[dict[str, Any]] = {"window_days": 2, "guardrails": {"min_events": 0}}


def visits(number: int) -> list[dict[str, Any]]:
    """Return the events of a day: each user sees items that lie beside each other."""
    return [
        event(
            f"i{(3 * user + number + step) % 20}",
            of=day(number),
            ts=f"{day(number)}T12:{user:02}:{step:02}Z",
            user_id=f"u{user}",
            session_id=f"{number} {user}",
        )
        for user in range(10)
        for step in range(4)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with dg.DagsterInstance.ephemeral() as instance, unsynced():
        project = Project(tmp_path_factory.mktemp("tried"), instance)
        surface = project.configure(SURFACE).surfaces[0]
        for number in range(LAST + 1):
            project.land(day(number), visits(number))
            make_day(project.store, surface, day(number))
        yield project


@pytest.fixture
def project(made: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    use_config(made.config_file, monkeypatch)
    return made


def tried(*more: str, first: int = 0, last: int = LAST - 1) -> list[str]:
    return ["experiment", NAME, "--days", f"{day(first)}..{day(last)}", *more]


def below(folder: Path) -> dict[str, Any]:
    """Return all that is below a folder, and when it was written."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("kept", [True, False])
def test_figures_are_printed_and_nothing_is_written(
    project: Project, tmp_path: Path, kept: bool
) -> None:
    """Neither where counts of days are kept, nor where they are not."""
    counts = project.folder / "var/counts"
    if not kept:
        counts.rename(tmp_path / "counts")
    before = below(project.folder)
    files = ["--csv", str(tmp_path / "f.csv"), "--picture", str(tmp_path / "f.svg")]

    result = done(run(*tried("--try", "window_days=1,2,3", "--try", "cooc.min_support=2", *files)))

    assert below(project.folder) == before
    if not kept:
        (tmp_path / "counts").rename(counts)
    found = rows(result)
    assert {row[0] for row in found} == {"window_days=1", "window_days=3", "cooc.min_support=2"}
    assert {row[1] for row in found if row[0].startswith("cooc")} == {"cooc@20"}
    assert {row[-1] for row in found} <= {"better", "worse", "same", "unclear"}
    assert "window_days=2 is what demo/home has" in result.stdout
    assert "content_sim is not scored: it lists no items that users come to" in result.stdout
    assert f"{NAME}: 3 tried done in" in result.stderr
    with (tmp_path / "f.csv").open() as file:
        figures = list(csv.DictReader(file))
    assert [(of["options"], f"{of['kind']}@{of['first']}") for of in figures] == [
        (row[0], row[1]) for row in found
    ]
    assert all(float(of["low"]) <= float(of["change"]) <= float(of["high"]) for of in figures)
    drawn = list(ElementTree.parse(tmp_path / "f.svg").getroot())  # noqa: S314 (ours)
    assert sum(part.tag.endswith("circle") for part in drawn) == len(found)


def test_json_has_the_days_and_nothing_else_is_printed(project: Project) -> None:
    found = json.loads(done(run(*tried("--try", "window_days=3", "--json"))).stdout)

    assert (found["tenant"], found["surface"]) == ("demo", "home")
    assert found["days"] == {"from": str(day(0)), "to": str(day(LAST - 1))}
    assert any("content_sim" in note for note in found["notes"])
    for each in found["results"]:
        assert each["options"] == {"window_days": 3}
        assert len(each["by_day"]) == each["days"] >= 7
        changes = [of["tried"] - of["current"] for of in each["by_day"]]
        assert each["change"] == pytest.approx(sum(changes) / len(changes))


def test_a_grid_has_every_combination(project: Project) -> None:
    asked = ["--try", "window_days=2,3", "--try", "cooc.min_support=1,2"]

    alone = json.loads(done(run(*tried(*asked, "--json"))).stdout)["results"]
    grid = json.loads(done(run(*tried(*asked, "--json", "--grid"))).stdout)["results"]

    def options(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [dict(each) for each in {tuple(of["options"].items()): 0 for of in results}]

    assert options(alone) == [{"window_days": 3}, {"cooc.min_support": 2}]
    assert options(grid) == [
        {"window_days": 2, "cooc.min_support": 2},
        {"window_days": 3, "cooc.min_support": 1},
        {"window_days": 3, "cooc.min_support": 2},
    ]


@pytest.mark.parametrize(
    ("tries", "message"),
    [
        (["cooc.min_suport=3"], "is no option that decides what is listed (did you mean 'cooc.min"),
        (["gates.mode=off"], "is no option that decides what is listed; there are: "),
        (["cooc.min_support=0"], "surface demo/home: artifacts.cooc.min_support: Input should be"),
        (["cooc.min_support=2,two"], "artifacts.cooc.min_support: Input should be a valid integer"),
        (["window_days=3661"], "surface demo/home: window_days: Input should be less than or equa"),
        (["content_sim.max_items=5"], "content_sim is not scored: it lists no items that users"),
        (["cooc.min_support"], "write it as key=value,value: cooc.min_support=2,3"),
        (["cooc.min_support="], "write it as key=value,value"),
        (["cooc.min_support=[2"], "its values cannot be read"),
        (["window_days=2"], "nothing to try: window_days=2 is what demo/home has"),
    ],
)
def test_what_cannot_be_tried_is_told_before_anything_is_read(
    project: Project, tries: list[str], message: str
) -> None:
    asked = [word for each in tries for word in ("--try", each)]

    assert message in wrong(run(*tried(*asked)))


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ("2026-01-09..2026-01-01", "2026-01-01 lies before 2026-01-09"),
        ("2026-02-30", "2026-02-30 is no range of days: 2026-01-01..2026-01-31"),
        ("january", "january is no range of days"),
    ],
)
def test_what_is_no_range_of_days_is_told(project: Project, days: str, message: str) -> None:
    result = run("experiment", NAME, "--days", days, "--try", "window_days=3")

    assert message in wrong(result)


def test_values_that_are_given_twice_are_tried_once_and_days_that_are_not_there_cost_nothing(
    project: Project,
) -> None:
    asked = ["--try", "cooc.min_support=2,2", "--try", "cooc.min_support=2", "--json"]

    few = json.loads(done(run(*tried(*asked))).stdout)["results"]
    far = ["experiment", NAME, "--days", "0001-01-01..9999-12-31", *asked]
    every = json.loads(done(run(*far)).stdout)["results"]

    assert [(each["kind"], each["scored"]) for each in few] == [("cooc", "forward")]
    assert every == few


def test_figures_are_printed_where_the_file_of_them_cannot_be_written(
    project: Project, tmp_path: Path
) -> None:
    file = tmp_path / ("x" * 300)  # longer than a name may be

    result = run(*tried("--try", "cooc.min_support=2", "--csv", str(file)))

    assert result.exit_code == 1
    assert "File name too long" in result.stderr
    assert [row[1] for row in rows(result)] == ["cooc@20"]


@pytest.mark.parametrize("option", ["--csv", "--picture"])
def test_a_file_in_no_directory_is_refused_at_once(
    project: Project, tmp_path: Path, option: str
) -> None:
    file = str(tmp_path / "none/f")

    assert "there is no directory" in wrong(run(*tried("--try", "window_days=3", option, file)))


def test_a_kind_that_is_not_built_is_told(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "surfaces.yaml"
    text = project.config_file.read_text().replace("    session_seq: {}\n", "")
    file.write_text(text)
    use_config(file, monkeypatch)

    message = wrong(run(*tried("--try", "session_seq.top_n=5")))

    assert "demo/home builds no session_seq: add it to its artifacts" in message


def test_too_few_days_are_told_with_exit_code_1(project: Project) -> None:
    message = refused(run(*tried("--try", "window_days=3", first=5)), code=1)

    assert "5 of 5 days can be scored, and 7 are needed" in message


def table_of(printed: str) -> list[str]:
    """Return the lines down to the end of the table: what else is said, the terminal folds."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", printed)
    return plain.partition("\nchange: in percentage points")[0].splitlines()


def test_the_table_fits_a_terminal(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "room_of_terminal", lambda: WIDTH)

    printed = done(run(*tried("--try", "artifacts.cooc.max_neighbours=1,2"))).stdout

    assert max(map(cell_len, table_of(printed))) <= WIDTH
    assert "cooc.max_neigh" in printed


@pytest.mark.slow
def test_it_fits_a_real_terminal(project: Project) -> None:
    code, printed = in_terminal_here(*tried("--try", "window_days=3"))

    assert code == 0
    assert max(map(cell_len, table_of(printed))) <= WIDTH
    assert "verdict" in printed
