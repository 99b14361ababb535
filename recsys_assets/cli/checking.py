"""The commands that check: before anything is made, and what was published since."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click
from rich.text import Text

from recsys_assets.cli.options import JSON, ONE_SURFACE, each_surface
from recsys_assets.cli.printing import print_json, progress
from recsys_assets.cli.tables import Cell, Column, print_rows
from recsys_assets.config import config_file, load_config
from recsys_assets.texts import printable

if TYPE_CHECKING:
    from recsys_assets.live.inputs import Inputs, Sample

_INPUTS: Final = (
    Column("surface", is_text=True),
    Column("state", is_text=True),
    Column("newest day"),
    Column("files", right=True),
    Column("bytes", right=True),
    Column("catalog items", right=True),
)


@click.command("check")
@ONE_SURFACE
@JSON
def check_command(name: str | None, as_json: bool) -> None:
    """Check the configuration before anything is made, and show what would be read.

    Loads the definitions as Dagster does, reaches for root and for every source and catalog, and
    says what each surface would read for its newest day. Of a surface that is named, or whose rows
    are refused, the first rows are shown as the events they become. Nothing is written.

    Exit codes: 0 all of it can be used, also where no file has landed; 1 root, a source or a
    catalog cannot be reached or read; 2 the command line, the configuration or the definitions are
    wrong.
    """
    config = load_config()
    config.refuse_mistakes()  # whatever `on_mistake` says: this is where they are looked for
    surfaces = config.selected(name)
    # Not above: Dagster takes seconds to import, and a mistake in the file is told without it.
    from recsys_assets.definitions import count_definitions
    from recsys_assets.live.inputs import inputs_of, problem_of_root

    definitions = count_definitions(config)
    now = datetime.now(UTC)
    found = [inputs_of(surface, now=now) for surface in surfaces]
    for inputs in found:
        if problem := problem_of_root(config.root, inputs.surface):
            inputs.problems.append(problem)
    if as_json:
        surfaces_found = [inputs.to_json() for inputs in found]
        head = {"configuration": str(config_file()), "definitions": definitions}
        print_json(head | {"root": config.root, "surfaces": surfaces_found})
    else:
        click.echo(printable(f"configuration: {config_file()}"))
        click.echo(f"definitions: {', '.join(f'{n} {of}' for of, n in definitions.items())}")
        click.echo(printable(f"root: {config.root}"))
        print_rows(_INPUTS, [_row(inputs) for inputs in found])
        for inputs in found:
            if inputs.surface.variant_of:
                of = f"{inputs.surface.name}: a variant of {inputs.surface.variant_of}"
                click.echo(printable(f"{of}, whose events and catalog these are"))
                if not name:  # the rest is said of its base
                    continue
            if inputs.denied_items is not None:
                of = f"{inputs.surface.name}: denied items: {inputs.denied_items:,}"
                click.echo(printable(f"{of}, listed in {inputs.surface.items.deny}"))
            if inputs.hint:
                click.echo(printable(f"{inputs.surface.name}: {inputs.hint}"))
            # Of a surface that was asked for, or whose rows are not as they should be.
            if inputs.sample and (name or not inputs.sample.events or inputs.sample.refused):
                _show_sample(inputs.surface.name, inputs.sample)
    for inputs in found:
        for problem in inputs.problems:
            click.echo(printable(f"Error: {inputs.surface.name}: {problem}"), err=True)
    if any(inputs.problems for inputs in found):
        sys.exit(1)


def _row(inputs: Inputs) -> list[Cell]:
    state: Cell = "ready" if inputs.files else "no files"
    if inputs.problems:
        state = Text("cannot be read", "red")
    elif inputs.day is None:
        state = "no day is over yet"
    return [
        inputs.surface.name,
        state,
        str(inputs.day or ""),
        f"{inputs.files:,}",
        f"{inputs.size_bytes:,}",
        "" if inputs.catalog_items is None else f"{inputs.catalog_items:,}",
    ]


def _show_sample(name: str, sample: Sample) -> None:
    """Show the first rows of a file as events, and why others are none."""
    click.echo(printable(f"{name}: the first rows of {sample.file}"))
    if sample.first_events:
        columns = [
            name
            for name in sample.first_events[0]
            if any(event[name] is not None for event in sample.first_events)
        ]
        print_rows(
            [
                Column(column, is_text=column in {"user_id", "session_id", "item_id"})
                for column in columns
            ],
            [[str(event[column] or "") for column in columns] for event in sample.first_events],
        )
    counts = {"left out": sample.left_out, "of other surfaces": sample.other_surface}
    others = [f"{count:,} {what}" for what, count in counts.items() if count]
    others += [f"{count:,} refused ({reason})" for reason, count in sample.refused.items()]
    click.echo(f"{sample.rows:,} rows: {', '.join([f'{sample.events:,} events', *others])}")
    for line in sample.first_refused:
        click.echo(printable(f"  line {line['line']}: {line['reason']}: {line['detail']}"))


@click.command("verify")
@ONE_SURFACE
@click.option(
    "--last", default=10, show_default=True, type=click.IntRange(1), help="Publications to re-read."
)
@click.option(
    "--grace-hours",
    default=24,
    show_default=True,
    type=click.IntRange(0, 876_000),
    help="Age from which a blob that nothing names is reported.",
)
@JSON
def verify_command(name: str | None, last: int, grace_hours: int, as_json: bool) -> None:
    """Re-read every blob that is live, or was lately, and recompute its version.

    What an erasure took is told as `erased`, and is no finding.

    Exit codes: 0 all is as it was written; 1 something is missing, corrupt or orphaned, or a
    surface was passed over since its entry has a mistake; 2 the command line or the configuration
    is wrong.
    """
    from recsys_assets.live.verify import verify_each
    from recsys_assets.storage import open_store

    config = load_config()
    with each_surface(config, name) as surfaces:
        found = list(
            verify_each(
                open_store(config.root),
                surfaces,
                last=last,
                grace_hours=grace_hours,
                watch=progress,
            )
        )
        if as_json:
            print_json(
                {
                    "surfaces": [
                        {
                            "tenant": verified.surface.tenant,
                            "surface": verified.surface.surface,
                            "blobs": verified.blobs,
                            "publications": verified.publications,
                            "findings": [vars(finding) for finding in verified.findings],
                            "erased": verified.erased,
                        }
                        for verified in found
                    ]
                }
            )
        for verified in found:
            if not as_json:
                click.echo(
                    f"{verified.surface.name}: {verified.blobs} blobs of "
                    f"{verified.publications} publications verified, "
                    f"{len(verified.findings)} findings"
                    + (f", {len(verified.erased)} erased" if verified.erased else "")
                )
            for finding in verified.findings:
                click.echo(
                    printable(f"{finding.problem}: {finding.uri}: {finding.detail}"), err=True
                )
        if any(verified.findings for verified in found):
            sys.exit(1)


COMMANDS: Final = (check_command, verify_command)
