"""The commands that read: what is live and was, how it came about, and whether it is whole."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from recsys_assets.cli.options import DAY, JSON, ONE_SURFACE, SURFACE, each_surface, open_surface
from recsys_assets.cli.printing import (
    first_digits,
    print_csv,
    print_differences,
    print_flips,
    print_json,
    print_overrides,
    print_status,
    print_table,
)
from recsys_assets.cli.tables import Column, print_rows
from recsys_assets.config import load_config
from recsys_assets.errors import ConfigError
from recsys_assets.texts import printable

if TYPE_CHECKING:
    from recsys_assets.live.trace import Trace
    from recsys_assets.storage.publications import Publication

_ROWS: Final = 20
_RAW_FILES: Final = (
    Column("raw file", is_text=True),
    Column("bytes"),
    Column("sha256", short=first_digits),
    Column("now", is_text=True),
    Column("events"),
    Column("from line"),
)


@click.command("status")
@ONE_SURFACE
@JSON
def status_command(name: str | None, as_json: bool) -> None:
    """Show what is live, and whether it is as new as `freshness` of surfaces.yaml promises.

    Exit codes: 0 every surface is fresh; 1 a surface is stale, has nothing live though a day is
    over, its manifest is damaged, a sink of it is late, or its entry has a mistake, and the other
    surfaces are shown all the same; 2 the command line or the configuration is wrong.
    """
    from recsys_assets.live.status import stale_because, surface_status
    from recsys_assets.storage import open_store

    config = load_config()
    with each_surface(config, name) as surfaces:
        store, now = open_store(config.root), datetime.now(UTC)
        statuses = [surface_status(store, surface, now=now) for surface in surfaces]
        if as_json:
            print_json({"surfaces": [status.to_json() for status in statuses]})
        else:
            print_status(statuses)
        for status in statuses:
            if status.error:
                click.echo(printable(f"Error: {status.surface.name}: {status.error}"), err=True)
        late = any(sink.is_late for status in statuses for sink in status.sinks)
        if late or any(map(stale_because, statuses)):
            sys.exit(1)


@click.command("metrics")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write this file, for node_exporter's textfile collector, instead of standard output.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Serve /metrics until it is stopped.")
@click.option(
    "--host",
    help="The address that --port listens on, 0.0.0.0 for all of them.  [default: 127.0.0.1]",
)
@click.option(
    "--interval",
    type=click.FloatRange(0),
    help=(
        "Seconds for which --port gives the same figures again.  [default: 0, read them at every "
        "scrape]"
    ),
)
def metrics_command(
    output: Path | None, port: int | None, host: str | None, interval: float | None
) -> None:
    """Give the figures of `status` to Prometheus, of every surface.

    A surface that cannot be read has recsys_surface_status_error 1, one whose entry has a mistake
    recsys_surface_mistake 1, and the others their figures.

    Exit codes: 0 done, also when a surface is stale; 1 the file cannot be written, the port not be
    used, or the entry of a surface has a mistake; 2 the command line or the configuration is wrong.
    """
    from recsys_assets.live import metrics

    if output and port:
        raise click.UsageError("--output and --port exclude each other")
    if not port and (host is not None or interval is not None):
        raise click.UsageError("--interval and --host are about --port: add it")
    config = load_config()
    with each_surface(config, None):
        if port:
            metrics.serve(config, host=host or "127.0.0.1", port=port, keep_s=interval or 0)
        elif output:
            metrics.write(config, output)
        else:
            click.echo(metrics.text(config), nl=False)


@click.command("show")
@SURFACE
@click.argument("kind")
@click.argument("id", required=False)
@click.option("--day", type=DAY, help="As it was live for this day last.  [default: as it is live]")
@click.option("--staged", "is_staged", is_flag=True, help="As it would be live after a release.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help=f"Rows shown.  [default: {_ROWS} in a table, all of them in JSON and CSV]",
)
@JSON
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values instead.")
def show_command(
    name: str,
    kind: str,
    id: str | None,
    day: datetime | None,
    is_staged: bool,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Show a live artifact, or the list of one item or user (ID) in it.

    KIND is an artifact kind, such as popularity or cooc. Items of the catalog are shown with their
    title.

    Exit codes: 0 shown; 1 it is not live, not in the artifact, or damaged; 2 the command line or
    the configuration is wrong.
    """
    from recsys_assets.events.labels import item_titles
    from recsys_assets.live.tables import (
        artifact_table,
        document_of_day,
        live_document,
        staged_document,
    )
    from recsys_assets.windows import Window

    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    if day and is_staged:
        raise click.UsageError("--day and --staged exclude each other")
    surface, store = open_surface(name)
    if day:
        document = document_of_day(store, surface, kind, day.date())
    elif is_staged:
        document = staged_document(store, surface, kind)
    else:
        document = live_document(store, surface, kind)
    most = limit or (sys.maxsize if as_json or as_csv else _ROWS)
    table = artifact_table(document, owner=id, limit=most).titled(item_titles(surface))
    window = Window.from_json(document["window"])
    if as_json:
        head = {"tenant": surface.tenant, "surface": surface.surface, "kind": kind, "id": id}
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        of = {"day": str(window.last_day), "window": window.to_json()}
        print_json({**head, **of, "total": table.total, "rows": rows})
        return
    if as_csv:
        print_csv(table)
        return
    title = f"{name} {kind}{f' of {id}' if id else ''}, {window}"
    print_table(table, title=title)
    if table.total > len(table.rows):
        click.echo(f"{len(table.rows)} of {table.total} rows; --limit shows more")


@click.command("history")
@SURFACE
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Flips shown.")
@JSON
def history_command(name: str, limit: int, as_json: bool) -> None:
    """Show the flips that led to what is live, the newest first: what, when, who and why.

    And the days that were accepted against their gates.
    """
    from recsys_assets.live.history import publications
    from recsys_assets.storage.overrides import read_overrides

    surface, store = open_surface(name)
    found = publications(store, surface, limit=limit)
    overrides = read_overrides(store, surface.place)[: -limit - 1 : -1]
    if as_json:
        print_json(
            {
                "publications": [publication.to_json() for publication in found],
                "overrides": [override.to_json() for override in overrides],
            }
        )
        return
    if found:
        print_flips(found, title=name)
    else:
        click.echo(printable(f"nothing of {name} was published here yet"))
    if overrides:
        print_overrides(overrides, title=f"{name}, accepted against gates")


@click.command("at")
@SURFACE
@click.option(
    "--time",
    "moment",
    required=True,
    help="ISO 8601, UTC when it names no offset: 2026-01-05T12:00.",
)
@JSON
def at_command(name: str, moment: str, as_json: bool) -> None:
    """Show what was live at a time: the flip, and the URI of each kind."""
    from recsys_assets.live.history import live_at

    surface, store = open_surface(name)
    publication = live_at(store, surface, _moment(moment))
    if as_json:
        print_json(publication.to_json())
        return
    print_flips([publication], title=name)
    print_rows(
        [Column("kind", is_text=True), Column("uri", is_text=True)],
        [*publication.current.items()],
        title="live then",
    )


@click.command("diff")
@SURFACE
@click.argument("before", metavar="A")
@click.argument("after", metavar="B", default="live")
@JSON
def diff_command(name: str, before: str, after: str, as_json: bool) -> None:
    """Show per kind which items and users came, went and moved from A to B.

    A and B are each a generation of the history, a day that was live, `previous`, `live`, or
    `staged`: what a release would publish.
    """
    from recsys_assets.live.compare import compare
    from recsys_assets.live.history import find
    from recsys_assets.live.staged import StagedDay, staged_day

    surface, store = open_surface(name)

    def named(target: str) -> Publication | StagedDay:
        is_staged = target == "staged"
        return staged_day(store, surface) if is_staged else find(store, surface, target)

    def title_of(one: Publication | StagedDay) -> str:
        return f"staged {one.day}" if isinstance(one, StagedDay) else str(one.generation)

    old, new = named(before), named(after)
    differences = compare(store, old.current, new.current)
    if as_json:
        print_json(
            {
                "before": old.to_json(),
                "after": new.to_json(),
                "differences": [difference.to_json() for difference in differences],
            }
        )
    else:
        first = "" if isinstance(old, StagedDay) else "generation "
        print_differences(differences, f"{name}, {first}{title_of(old)} to {title_of(new)}")


@click.command("trace")
@SURFACE
@click.argument("kind")
@click.argument("id", required=False)
@JSON
def trace_command(name: str, kind: str, id: str | None, as_json: bool) -> None:
    """Show where a live artifact comes from, or one item or user (ID) of it.

    From the flip and the record of its version back to the canonical partitions and the raw files,
    with size and SHA-256; with ID also how many events of it are in which file, from which line on.
    """
    from recsys_assets.live.trace import trace

    surface, store = open_surface(name)
    found = trace(store, surface, kind, owner=id)
    if as_json:
        print_json(found.to_json())
    else:
        _print_trace(found, name)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # OverflowError: an offset from the first or last moment
        raise ConfigError(f"--time {text!r} is no ISO 8601 time, as 2026-01-05T12:00") from None


def _print_trace(found: Trace, name: str) -> None:
    publication, record = found.publication, found.record or {}
    flip = f"generation {publication['generation']}, {publication['action']}"
    print_rows(
        [Column("what", is_text=True), Column("is", is_text=True)],
        [
            ("live since", publication["published_at"]),
            (
                "published by",
                f"{flip}, run {publication['run_id']}, {publication['who']}: "
                f"{publication['reason']}",
            ),
            ("blob", found.uri),
            ("built", f"{record.get('built_at', '?')}, run {record.get('run_id', '?')}"),
            ("source hash", str(record.get("source_hash", "?"))),
            ("inputs", "as they were" if found.is_current else "changed since it was built"),
        ],
        title=f"{name} {found.kind}{f' of {found.owner}' if found.owner else ''}",
    )
    for day in found.days:
        title = f"{day.day}: {day.uri}, fingerprint {day.fingerprint or 'none: it is not there'}"
        rows = [
            (
                file.file.name,
                f"{file.file.size_bytes:,}",
                file.file.sha256,
                file.now,
                "" if file.events is None else f"{file.events:,}",
                "" if file.first_line is None else str(file.first_line),
            )
            for file in day.files
        ]
        if rows:
            print_rows(_RAW_FILES, rows, title=title)
        else:
            click.echo(printable(title))


COMMANDS: Final = (
    status_command,
    metrics_command,
    show_command,
    history_command,
    at_command,
    diff_command,
    trace_command,
)
