"""Tables in a terminal: whole where there is room, otherwise as much of them as can be read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from recsys_assets.texts import printable

_LEAST_TEXT: Final = 12  # columns of a terminal into which text may be folded
_UNLIMITED: Final = 100_000  # a pipe has no width: somebody wants to grep whole lines

Cell = str | Text


@dataclass(frozen=True)
class Column:
    """A column of a table, and what it gives up where a terminal has no room for all.

    Attributes:
        name: its heading.
        is_text: words, names and ids, which may be folded; anything else, such as a number, a day
            or a version, is never cut.
        right: aligned to the right.
        short: makes a shorter cell, for a narrow terminal.
        spare: how easily it is done without; the highest is left out first. 0 always stays.
    """

    name: str
    is_text: bool = False
    right: bool = False
    short: Callable[[str], str] | None = None
    spare: int = 0


def print_rows(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, title: str = ""
) -> None:
    """Print a table below its title, or as much of it as the terminal has room for.

    Where all of it has no room, it goes without lines and with shorter cells; then columns are left
    out, and it is told which. Only text is ever folded, and nothing is cut.

    Args:
        columns: of the table.
        rows: cells, one for each of the first columns. Plain text is made `printable` here.
        title: is not folded to the width of the table.
    """
    room = room_of_terminal()
    for left_out in _ways(columns):
        table, least = _lay_out(columns, rows, left_out)
        if least <= room:
            break
    if title:
        click.secho(printable(title), bold=True)
    # Ids and names are shown as they are: `[b]` is no markup, `:apple:` no emoji.
    console = Console(width=max(room, least), markup=False, emoji=False, highlight=False)
    console.print(table)
    if left_out:
        names = ", ".join(column.name for column in columns if column.spare in left_out)
        click.echo(printable(f"left out, as the terminal is narrow: {names}"))


def room_of_terminal() -> int:
    """Return the columns of the terminal; without one, more than any line has."""
    return Console().width if sys.stdout.isatty() else _UNLIMITED


def _ways(columns: Sequence[Column]) -> Iterator[set[int] | None]:
    """Yield what to leave out, by `spare`: None of a whole table, of narrow ones ever more."""
    yield None
    spare = sorted({column.spare for column in columns} - {0}, reverse=True)
    for number in range(len(spare) + 1):
        yield {*spare[:number]}


def _lay_out(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], left_out: set[int] | None
) -> tuple[RichTable, int]:
    """Return the table, and the least width that it can be printed with."""
    is_narrow = left_out is not None
    table = RichTable(
        header_style="bold",
        box=box.SIMPLE_HEAD if is_narrow else box.HEAVY_HEAD,
        show_edge=not is_narrow,
        pad_edge=not is_narrow,
        padding=(0, 1, 0, 0) if is_narrow else (0, 1),
    )
    cells, least = list[list[Cell]](), 0
    for number, column in enumerate(columns):
        if column.spare in (left_out or ()):
            continue
        cells.append([_cell(column, row, number, is_narrow) for row in rows])
        words = column.name.split() if is_narrow else [column.name]
        widest = max(cell_len(str(cell)) for cell in (*words, *cells[-1]))
        table.add_column(
            column.name,
            overflow="fold",
            justify="right" if column.right else "left",
            width=None if column.is_text else widest,
        )
        least += min(widest, _LEAST_TEXT) if column.is_text else widest
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table, least + (2 * len(cells) if is_narrow else 3 * len(cells) + 1)


def _cell(column: Column, row: Sequence[Cell], number: int, is_narrow: bool) -> Cell:
    cell = row[number] if number < len(row) else ""
    if isinstance(cell, Text):
        return cell
    return printable(column.short(cell) if is_narrow and column.short else cell)
