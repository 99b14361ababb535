"""Every table in a terminal of 80 columns: whatever is left out, no number is cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.text import Text

from recsys_assets import cli
from recsys_assets.cli import tables
from recsys_assets.cli.printing import first_digits, print_result, print_status
from recsys_assets.cli.tables import Cell, Column, print_rows
from recsys_assets.defs.materialize import RangeResult
from recsys_assets.kinds import KINDS
from recsys_assets_tests.cli.conftest import REASON, by_name, use_config
from recsys_assets_tests.cli.terminals import WIDTH, in_terminal, in_terminal_here
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import make_day
from recsys_assets_tests.town import Town, usual

TENANT: Final = "a-tenant-whose-name-takes-a-whole-line-of-a-terminal-and-more-than-that-alone"
SURFACE: Final = "start-page-of-the-shop-in-its-second-edition-2026"
NAME: Final = f"{TENANT}/{SURFACE}"
# Every command that prints a table, as it is called.
TABLES: Final = {
    "materialize": ["--from", str(day(0)), "--to", str(day(1))],
    "status": [],
    "check": [],
    "show": [NAME, "popularity"],
    "history": [NAME],
    "at": [NAME, "--time", "2099-01-01"],
    "diff": [NAME, "1"],
    "trace": [NAME, "cooc", "item-1"],
    "rollback": [NAME, "--dry-run", *REASON],
}
WITHOUT: Final = {
    "metrics",
    "repair",
    "verify",
    "pin",
    "release",
    "retention",
    "land",
    "gates override",
    "promote",
    "erase",
    "find-user",
    "deliver",
    "export",
    "init",
}
# They need more days: a test of its own, below, and test_experiment.py look at their tables. Those
# of the demo are those of other commands.
ELSEWHERE: Final = {"gates calibrate", "experiment", "demo"}
LEFT_OUT: Final = "left out, as the terminal is narrow: "


@pytest.fixture(scope="module")
def long_names(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Publish two days of a surface with long names, and items whose ids are as long."""
    with dg.DagsterInstance.ephemeral() as instance:
        project = Project(tmp_path_factory.mktemp("long"), instance)
        config = project.configure(
            {
                "tenant": TENANT,
                "surface": SURFACE,
                "source": {"path": "raw", "pattern": "{day}.jsonl"},
            }
        )
        for number in (0, 1):
            of = day(number)
            items = ["item-1", *(f"{'an-id-' * 15}{n}" for n in range(number, 1200, 7 + number))]
            events = [
                event(item, of=of, tenant=TENANT, surface=SURFACE, session_id=f"s{n % 40}")
                for n, item in enumerate(items * 3)
            ]
            path = project.land(of, events)
            path.rename(project.folder / f"raw/{of}.jsonl")
            make_day(project.store, config.surfaces[0], of)
    return project


@pytest.fixture
def published(
    long_names: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: None
) -> Project:
    use_config(long_names.config_file, monkeypatch)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    return long_names


def whole(printed: str) -> list[dict[str, str]]:
    """Return the rows of the tables that were printed into a pipe, by heading."""
    found, names = [], list[str]()
    for line in printed.splitlines():
        if line.startswith("┃"):
            names = [cell.strip() for cell in line.strip("┃").split("┃")]
        elif line.startswith("│"):
            cells = [cell.strip() for cell in line.strip("│").split("│")]
            found.append(dict(zip(names, cells, strict=True)))
    assert found
    return found


def is_there(number: str, printed: str) -> bool:
    return bool(re.search(rf"(?<![\w,.-]){re.escape(number)}(?![\w,.-])", printed))


def test_all_commands_are_looked_at() -> None:
    assert by_name(cli.main.commands.values()).keys() == TABLES.keys() | WITHOUT | ELSEWHERE


@pytest.mark.slow
@pytest.mark.parametrize("command", TABLES)
def test_a_command_shows_every_number_in_a_real_terminal(published: Project, command: str) -> None:
    arguments = [command, *TABLES[command]]

    # One in a process of its own, as it is typed.
    _, printed = (in_terminal if command == "status" else in_terminal_here)(*arguments)

    wide = CliRunner().invoke(cli.main, arguments)
    assert LEFT_OUT not in wide.stdout
    table = re.sub(r"\x1b\[[\d;]*m", "", printed)
    told = re.findall(f"{LEFT_OUT}(.*)", table)
    left_out = {name for line in told for name in line.split(", ")}
    assert left_out <= {"flipped", "version", "run", "who", *KINDS, "overlap at 50"}
    assert "…" not in table
    for row in whole(wide.stdout):
        for heading, cell in row.items():
            if re.fullmatch(r"[\d,]+( d)?|\d{4}-\d\d-\d\d", cell) and heading not in left_out:
                assert is_there(cell, table), f"{heading} {cell} of {row}\n{table}"
    lines = table.splitlines()
    tables = [n for n, line in enumerate(lines) if line[:1] in "─┏" and set(line) & {"─", "━"}]
    assert tables
    for start in tables:
        assert cell_len(lines[start]) <= WIDTH
        assert cell_len(lines[start + 1]) <= WIDTH


@pytest.mark.slow
def test_calibrating_shows_every_number_in_a_real_terminal(
    project: Project, monkeypatch: pytest.MonkeyPatch, fast: None
) -> None:
    use_config(project.config_file, monkeypatch)
    town = Town.of(project, mode="warn")
    town.goes_on(0, 7)
    assert town.audit(day(8), usual(day(8), range(12))).passed

    code, printed = in_terminal_here("gates", "calibrate", "demo/home")

    wide = CliRunner().invoke(cli.main, ["gates", "calibrate", "demo/home"])
    assert code == 0
    assert LEFT_OUT not in printed
    for row in whole(wide.stdout):
        for heading, cell in row.items():
            if re.fullmatch(r"[\d,.]+%?|\d{4}-\d\d-\d\d", cell):
                assert is_there(cell, printed), f"{heading} {cell} of {row}\n{printed}"
    plain = re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert all(cell_len(line) <= WIDTH for line in plain.splitlines() if line[:1] in "┏│ ─")


class TestFit:
    """What is printed for a width."""

    @pytest.fixture(autouse=True)
    def narrow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables, "room_of_terminal", lambda: WIDTH)

    def lines(self, capsys: pytest.CaptureFixture[str]) -> list[str]:
        printed = capsys.readouterr().out
        assert "…" not in printed
        return printed.splitlines()

    def test_what_fits_is_printed_whole_with_lines(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        print_rows([Column("day"), Column("n", spare=1)], [["2026-01-01", "1"]], title="t")

        assert [line[0] for line in self.lines(capsys)] == ["t", "┏", "┃", "┡", "│", "└"]

    def test_the_most_spare_columns_go_first_together_and_it_is_told(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        columns = [Column("a"), Column("b", spare=1), Column("c", spare=2), Column("d", spare=2)]

        print_rows(columns, [["1" * 30, "2" * 30, "3" * 30, "4"]])

        heading, _, row, told = self.lines(capsys)
        assert heading.split() == ["a", "b"]
        assert row.split() == ["1" * 30, "2" * 30]
        assert told == "left out, as the terminal is narrow: c, d"

    def test_cells_get_shorter_before_columns_go(self, capsys: pytest.CaptureFixture[str]) -> None:
        columns = [Column("version", short=first_digits), Column("b", spare=1)]

        print_rows(columns, [["f" * 64, "2" * 20]])

        assert self.lines(capsys)[2].split() == ["f" * 8, "2" * 20]

    @pytest.mark.parametrize("room", [20, 40, 80, 200])
    def test_text_is_folded_and_no_number_ever(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, room: int
    ) -> None:
        """Also where nothing fits: then the terminal folds the lines, and all of them is there."""
        monkeypatch.setattr(tables, "room_of_terminal", lambda: room)
        numbers = ["9,223,372,036,854,775,807", "2026-01-01", "12,345,678"]
        columns = [Column("name", is_text=True), *(Column(name) for name in "xyz")]
        rows: list[Sequence[Cell]] = [["ab " * 60 + "c" * 60, *numbers], ["表" * 50, *numbers]]

        print_rows(columns, rows)

        printed = "\n".join(self.lines(capsys))
        assert all(printed.count(number) == 2 for number in numbers)
        assert printed.count("表") == 50
        assert len(re.findall(r"\bab\b", printed)) == 60

    def test_days_versions_and_figures_of_a_year_of_large_days(
        self, project: Project, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The largest numbers that are likely: a billion events and gigabytes."""
        surface = project.configure({"tenant": "t" * 60, "surface": "s" * 60}).surfaces[0]
        kinds = surface.artifacts.kinds
        found = {kind: {"version": "f" * 64, "size_bytes": 10**10} for kind in kinds}
        events = {"dagster/row_count": 10**9, "refused": 10**8}
        metadata: dict[date, dict[str, dict[str, Any]]] = {
            day(0): {"canonical_events": events, **found}
        }

        print_result(RangeResult(surface, [day(0)], metadata=metadata))

        lines = self.lines(capsys)
        row = lines[3].split()
        assert row == [
            "2026-01-01",
            "1,000,000,000",
            "100,000,000",
            f"{10**10 * len(kinds):,}",
            "blocked",
        ]
        assert all(len(line) <= WIDTH for line in lines[1:3])

    def test_a_cell_in_colour_is_as_it_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_rows([Column("state", is_text=True)], [[Text("stale", "red")], []])

        assert "│ stale │" in self.lines(capsys)

    def test_without_a_surface_there_is_an_empty_table(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        print_status([])

        assert self.lines(capsys)[0].startswith(("┏", "surface"))
