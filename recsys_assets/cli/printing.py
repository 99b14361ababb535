"""What the commands print of days, of what is live and was, and while they work."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Final

import click
from rich.text import Text

from recsys_assets.cli.tables import Cell, Column, print_rows, room_of_terminal
from recsys_assets.texts import printable
from recsys_assets.windows import span_text

if TYPE_CHECKING:  # imported where they are used: Dagster and Polars take a second each to import
    from recsys_assets.defs.materialize import Complaint, RangeResult
    from recsys_assets.live.compare import Difference
    from recsys_assets.live.sinks import SinkStatus
    from recsys_assets.live.status import SurfaceStatus
    from recsys_assets.live.tables import Table
    from recsys_assets.storage.overrides import Override
    from recsys_assets.storage.publications import Publication

_PROGRESS_EVERY_S = 1.0


def _last_day(window: str) -> str:
    return window.rpartition(" to ")[2]


def _to_the_minute(time: str) -> str:
    return time[:16] + "Z"


def first_digits(version: str) -> str:
    """Return what tells a version from others, at a glance."""
    return version[:8]


_STATUS: Final = (
    Column("surface", is_text=True),
    Column("state", is_text=True),
    Column("live window", is_text=True, short=_last_day),
    Column("behind", spare=2),
    Column("flipped", spare=4),
    Column("gen", spare=1),
    Column("kind", is_text=True),
    Column("version", short=first_digits, spare=3),
    Column("bytes", right=True),
)
_SINKS: Final = (
    Column("surface", is_text=True),
    Column("sink", is_text=True),
    Column("state", is_text=True),
    Column("gen", spare=1),
    Column("delivered", short=_to_the_minute, spare=2),
    Column("failed", is_text=True),
)
_FLIPS: Final = (
    Column("gen"),
    Column("action", is_text=True),
    Column("window", short=_last_day),
    Column("when", short=_to_the_minute),
    Column("who", is_text=True, spare=1),
    Column("reason", is_text=True),
    Column("run", is_text=True, spare=2),
)
_OVERRIDES: Final = (
    Column("day"),
    Column("gates", is_text=True),
    Column("events", short=first_digits),
    Column("baseline", spare=2),
    Column("when", short=_to_the_minute),
    Column("who", is_text=True, spare=1),
    Column("reason", is_text=True),
)
_SPARE_DIFFERENCES: Final = {"overlap at 10": 1, "overlap at 50": 2}


@contextmanager
def progress(label: str) -> Iterator[None]:
    """Show what the assets log, at most once a second; on a terminal in place."""
    started = time.monotonic()
    on_terminal = sys.stderr.isatty()
    clear = "\r\x1b[2K" if on_terminal else ""

    class Show(logging.Handler):
        last = 0.0

        def emit(self, record: logging.LogRecord) -> None:
            if time.monotonic() - self.last < _PROGRESS_EVERY_S:
                return
            self.last = time.monotonic()
            text = f"{self.last - started:6.1f} s  "
            # Its end, which has the figures: a line that is folded cannot be cleared.
            text += printable(record.getMessage())[-max(1, room_of_terminal() - len(text)) :]
            click.echo(f"{clear}{text}", nl=not on_terminal, err=True)

    handler, logger = Show(), logging.getLogger("recsys_assets")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        click.echo(clear, nl=False, err=True)
    click.echo(printable(f"{label} done in {time.monotonic() - started:.1f} s"), err=True)


# What became of a day, in the words of the summary, and their order there.
_OUTCOMES: Final = {
    "published": "published",
    "unchanged": "live already",
    "superseded": "staged only, since a later day is live",
    "pinned": "staged only, since the surface is pinned",
    "blocked": "blocked",
    "no files": "without files",
    "not done": "not done",
}


# Columns of a day, by what its events show.
_OF_EVENTS: Final = {"events": "dagster/row_count", "refused": "refused"}


def print_result(result: RangeResult) -> None:
    """Print a surface's days: events, refused lines, sizes, versions; then what is wrong."""
    kinds = result.surface.artifacts.kinds
    of_events = {} if result.surface.variant_of else _OF_EVENTS  # which its base has
    columns = (
        Column("day"),
        *(Column(name, right=True) for name in (*of_events, "bytes")),
        *(Column(kind, spare=1) for kind in kinds),
        Column("outcome"),
    )
    rows: list[Sequence[Cell]] = []
    for day in result.days:
        found, outcome = result.metadata.get(day, {}), result.outcome(day)
        events = found.get("canonical_events", {})
        sizes = [found[kind]["size_bytes"] for kind in kinds if kind in found]
        rows.append(
            [
                str(day),
                *(f"{events[of]:,}" if events else "" for of in of_events.values()),
                f"{sum(sizes):,}" if sizes else "",
                *(first_digits(found[kind]["version"]) if kind in found else "" for kind in kinds),
                outcome if day in result.done else Text(outcome, "red"),
            ]
        )
    print_rows(columns, rows, title=result.surface.name)
    for failure in result.failures:
        where = f"{result.surface.name}/{failure.asset}"
        check = f"check {failure.check}" if failure.check else "step failed"
        text = " ".join(failure.description.split())
        click.echo(printable(f"{failure.day} {where}: {check}: {text}"), err=True)
    for line in _warnings(result):
        click.echo(line, err=True)
    click.echo(printable(summary(result)), err=True)


def _warnings(result: RangeResult) -> Iterator[str]:
    """Yield a line for each check that warned: of which days, and, in short, why the first."""
    of_check: dict[str, list[Complaint]] = {}
    for warning in result.warnings:
        of_check.setdefault(f"{warning.asset} {warning.check}", []).append(warning)
    for check, warnings in of_check.items():
        first, more = min(warnings, key=lambda each: each.day), len(warnings) - 1
        days = f"{first.day} (+{more})" if more else str(first.day)
        text = printable(" ".join(first.description.split()))
        yield shorten(f"warning: {days} {check}: {text}", 80, placeholder=" ...")


def summary(result: RangeResult) -> str:
    """Say what became of a surface's days, in a line or two."""
    outcomes = Counter(result.outcome(day) for day in result.days)
    shown = [f"{outcomes[each]} {text}" for each, text in _OUTCOMES.items() if outcomes[each]]
    count = len(result.days)
    text = f"{result.surface.name}: {count} {'day' if count == 1 else 'days'}: {', '.join(shown)}"
    if result.succeeded:
        return text
    return (
        f"{text}. What is blocked keeps what it had. Runs, for the UI: {', '.join(result.run_ids)}"
    )


def print_status(statuses: Sequence[SurfaceStatus]) -> None:
    """Print what is live, a line per surface and kind; then of each stale surface, why."""
    from recsys_assets.live.status import stale_because

    rows, reasons = list[Sequence[Cell]](), list[str]()
    for status in statuses:
        live = status.live
        if status.error:
            # In full on standard error: a column as wide as a URI would squeeze the others.
            rows.append([status.surface.name, Text("cannot be read", "red")])
            continue
        because = stale_because(status)
        if because:
            reasons.append(printable(f"{status.surface.name} is stale: {because}"))
        state = Text("stale", "red") if because else Text("fresh")
        if live is None:
            rows.append([status.surface.name, state, "nothing is live yet"])
            continue
        publication = live.publication
        first: list[Cell] = [
            status.surface.name,
            state,
            str(live.window) if live.window else "unknown",
            f"{status.days_behind} d" if status.days_behind is not None else "",
            age_text(status.age) if status.age is not None else "",
            (str(publication.generation) + (" pinned" if publication.pinned else ""))
            if publication
            else "",
        ]
        for kind, of in status.kinds.items():
            size = Text("missing", "red") if of.size_bytes is None else f"{of.size_bytes:,}"
            rows.append([*first, kind, of.version[:12], size])
            first = [""] * len(first)
    print_rows(_STATUS, rows)
    for reason in reasons:
        click.echo(reason)
    sinks = [_sink_row(status.surface.name, sink) for status in statuses for sink in status.sinks]
    if sinks:
        print_rows(_SINKS, sinks, title="sinks, as far as is known")


def _sink_row(surface: str, status: SinkStatus) -> list[Cell]:
    known = status.known
    state = Text("holds what is live")
    if status.behind is not None:
        state = Text(f"behind since {age_text(status.behind)}", "red" if status.is_late else "")
    failure = known.failure
    failed = f"failed {failure.tries}x, last {failure.at[:19]}Z: {failure.error}" if failure else ""
    if failure and failure.dead:
        failed = f"dead letter: generation {failure.dead}, until `deliver` sends it anew; {failed}"
    generation = str(known.held.generation) if known.held else ""
    return [surface, status.sink.name, state, generation, (known.delivered_at or "")[:19], failed]


def print_table(table: Table, *, title: str) -> None:
    """Print an artifact table."""
    columns = []
    for number, name in enumerate(table.columns):
        are_numbers = any(isinstance(row[number], int | float) for row in table.rows)
        columns.append(Column(name, is_text=not are_numbers, right=are_numbers))
    rows = [
        [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in table.rows
    ]
    print_rows(columns, rows, title=title)


def print_csv(table: Table) -> None:
    """Print an artifact table as comma-separated values, with a heading; ids as they are."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    # A file gets ids as they are; a terminal would act on some of them.
    safe = printable if sys.stdout.isatty() else str
    writer.writerows([safe(str(cell)) for cell in row] for row in (table.columns, *table.rows))
    click.echo(lines.getvalue(), nl=False, color=True)  # or it would take escapes out of ids


def days_text(days: Sequence[date]) -> str:
    """Return days in order, those that follow each other as their first and last one."""
    stretches: list[list[date]] = []
    for day in days:
        if stretches and day - stretches[-1][-1] == timedelta(days=1):
            stretches[-1].append(day)
        else:
            stretches.append([day])
    return ", ".join(span_text(stretch[0], stretch[-1]) for stretch in stretches) or "none"


def age_text(age: timedelta) -> str:
    """Return how long ago something was, in a unit that fits."""
    hours = age.total_seconds() / 3600
    if hours < 1:
        return f"{age.total_seconds() / 60:.0f} min ago"
    return f"{hours:.1f} h ago" if hours < 48 else f"{age.days} d ago"


def print_flips(publications: Sequence[Publication], *, title: str) -> None:
    """Print flips, a row each."""
    rows = [
        [
            str(publication.generation),
            publication.action + (" (pinned)" if publication.pinned else ""),
            str(publication.window),
            publication.published_at[:19] + "Z",
            publication.who,
            publication.reason,
            publication.run_id,
        ]
        for publication in publications
    ]
    print_rows(_FLIPS, rows, title=title)


def print_overrides(overrides: Sequence[Override], *, title: str) -> None:
    """Print the overrides of gates, a row each."""
    rows = [
        [
            str(override.day),
            ", ".join(override.checks),
            override.fingerprint or "any",
            "restarted" if override.restart_baseline else "",
            override.recorded_at[:19] + "Z",
            override.who,
            override.reason,
        ]
        for override in overrides
    ]
    print_rows(_OVERRIDES, rows, title=title)


def print_differences(differences: Sequence[Difference], title: str) -> None:
    """Print what differs between two publications."""
    from recsys_assets.live.compare import as_rows

    if differences:
        rows = as_rows(differences)
        columns = [Column(name, spare=_SPARE_DIFFERENCES.get(name, 0)) for name in rows[0]]
        print_rows(columns, [[*row.values()] for row in rows], title=title)
    else:
        click.echo(printable(f"{title}: nothing differs: the same versions are named"))


def print_json(value: Any) -> None:
    """Print a value for machines."""
    click.echo(json.dumps(value, indent=1, default=str))
