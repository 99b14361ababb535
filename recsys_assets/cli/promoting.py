"""The command that takes what is live in one root over into another: `promote`."""

from __future__ import annotations

from typing import Final

import click

from recsys_assets.cli.options import DRY_RUN, JSON, REASON, SURFACE, why
from recsys_assets.cli.printing import days_text, print_json, progress
from recsys_assets.config import load_config, typed_root
from recsys_assets.texts import printable


@click.command("promote")
@SURFACE
@click.option("--from", "source", required=True, help="The root where it is live, or a copy of it.")
@click.option("--to", "target", required=True, help="The root where it is to become live.")
@REASON
@click.option(
    "--force",
    is_flag=True,
    help="Also into a root that was given other versions last, and denied items; say why.",
)
@DRY_RUN
@JSON
def promote_command(
    name: str, source: str, target: str, reason: str, force: bool, dry_run: bool, as_json: bool
) -> None:
    """Make what is live in one root live in another, once every document is verified.

    Documents, their records and the days of events that later windows need are copied, then the
    manifest of the other root flips once. Stopped at any point, the same command finishes it. A
    root is a directory or the URL of an object store; that of surfaces.yaml is not used.

    Exit codes: 0 it is live, or was already; 1 it cannot be, and what is live stays; 2 the command
    line or the configuration is wrong.
    """
    from recsys_assets.operations.promote import plan_promotion, promote
    from recsys_assets.storage import open_store
    from recsys_assets.storage.publications import generation_of

    surface = load_config().surface(name)
    there = open_store(typed_root("--from", source))
    here = open_store(typed_root("--to", target))
    with progress(name):
        plan = plan_promotion(there, here, surface)
        outcome = "unchanged" if plan.is_empty else "dry run"
        live = plan.live
        if not dry_run:
            outcome, live = promote(plan, why(reason), force=force)
    generation = generation_of(live)
    if as_json:
        print_json(plan.to_json() | {"outcome": outcome, "generation_there": generation})
        return
    origin, found = plan.origin, plan.to_json()
    taken = f"generation {origin.generation} of {origin.root}, {plan.taken.window},"
    if plan.is_empty:
        where = f"is live below {found['to']} already, as generation {generation}"
        click.echo(printable(f"{taken} {where}; nothing to do"))
        return
    click.echo(
        f"{'to copy' if dry_run else 'copied'}: {len(plan.new_blobs)} of {len(plan.current)} "
        f"documents and {len(plan.new_days)} days of events ({days_text(plan.new_days)}), "
        f"{plan.size_bytes:,} bytes"
    )
    if dry_run:
        click.echo(printable(f"{taken} would become live below {found['to']}"))
        if plan.refused:
            click.echo(printable(f"needs --force: {plan.refused}"))
        click.echo("dry run: nothing was changed")
        return
    click.echo(printable(f"{taken} is live below {found['to']}, as generation {generation}"))


COMMANDS: Final = (promote_command,)
