"""The commands that change what is live or stored: rollback, pin, release, repair, retention."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from recsys_assets.cli.options import (
    DRY_RUN,
    FORCE,
    ONE_SURFACE,
    REASON,
    SURFACE,
    each_surface,
    open_surface,
    why,
)
from recsys_assets.cli.printing import print_differences, progress
from recsys_assets.config import load_config
from recsys_assets.texts import printable

if TYPE_CHECKING:
    from recsys_assets.operations.pointer import HeldBack


@click.command("rollback")
@SURFACE
@click.option(
    "--to",
    default="previous",
    show_default=True,
    help="`previous`, a generation of the history, or a day that was live.",
)
@click.option("--kind", help="The only kind to roll back.  [default: the whole manifest]")
@click.option("--pin", is_flag=True, help="Hold it: later publishes wait for `release`.")
@REASON
@FORCE
@DRY_RUN
def rollback_command(
    name: str, to: str, kind: str | None, pin: bool, reason: str, force: bool, dry_run: bool
) -> None:
    """Make an earlier publication live again, once every blob of it is verified.

    Without --pin the next publish moves the pointer forward again. What lists items that are denied
    now is refused, unless --force is given.

    Exit codes: 0 it is live, or was already; 1 it cannot be, and what is live stays; 2 the command
    line or the configuration is wrong.
    """
    from recsys_assets.operations.pointer import plan_rollback, roll_back

    surface, store = open_surface(name)
    plan = plan_rollback(store, surface, to=to, kind=kind, pin=pin)
    target = f"{kind or 'all'} of generation {plan.target.generation}, {plan.target.window}"
    print_differences(plan.differences, f"{name}, to {target}")
    if dry_run:
        if plan.denied:
            click.echo(printable(f"needs --force: {plan.denied}"))
        click.echo("dry run: nothing was changed")
        return
    outcome, live = roll_back(store, plan, why(reason), force=force)
    done = "was live already" if outcome == "unchanged" else "is live"
    held = live.publication is not None and live.publication.pinned
    then = (
        f"pinned: publishes wait for `recsys-assets release {name}`"
        if held
        else "not pinned: the next publish moves it forward"
    )
    click.echo(printable(f"{target}, {done}; {then}"))


@click.command("pin")
@SURFACE
@REASON
@FORCE
def pin_command(name: str, reason: str, force: bool) -> None:
    """Hold what is live: later publishes are staged, but not live, until `release`.

    What lists items that are denied now is held only with --force.
    """
    from recsys_assets.operations.pointer import pin

    surface, store = open_surface(name)
    outcome, _ = pin(store, surface, why(reason), force=force)
    click.echo(
        printable(f"{name} {'was pinned already' if outcome == 'unchanged' else 'is pinned'}")
    )


@click.command("release")
@SURFACE
@REASON
@click.option(
    "--force", is_flag=True, help="Also where gates find it worse than what is live; say why."
)
@DRY_RUN
def release_command(name: str, reason: str, force: bool, dry_run: bool) -> None:
    """Let publishes through again, and publish the newest complete day that was held back.

    What the gates of a release refuse is held back too, of a surface that is not pinned as well.
    With --dry-run, what they find is printed.

    Exit codes: 0 done; 1 the day that was held back cannot be published, though the surface is
    released; 2 the command line or the configuration is wrong.
    """
    from recsys_assets.operations.pointer import plan_release, release

    surface, store = open_surface(name)
    if dry_run:
        pinned, held = plan_release(store, surface)
        state = "is pinned" if pinned else "is not pinned"
        day = held.day if held else "none"
        click.echo(printable(f"{name} {state}; the day to publish: {day}. Nothing was changed"))
        if held:
            _print_found(held, force=force)
        return
    released = release(store, surface, why(reason), force=force)
    state = "was not pinned" if released.outcome == "unchanged" else "is released"
    if released.next_day is None:
        click.echo(printable(f"{name} {state}; no day was held back"))
        return
    click.echo(printable(f"{name} {state}; {released.next_day}: {released.next_outcome}"))
    if not released.succeeded:
        sys.exit(1)


def _print_found(held: HeldBack, *, force: bool) -> None:
    """Print what each check finds of a day that a release would publish, and what becomes of it."""
    for check, verdict in held.audited.verdicts.items():
        said = ": ".join(filter(None, (verdict.outcome, verdict.description)))
        click.echo(printable(f"{check}: {said}"))
    forced = held.may_go(force=True) and not held.may_go(force=force)
    advice = "; --force accepts it" if forced else ""
    click.echo(f"{held.day} would be {held.would_be(force=force)}{advice}")


@click.command("repair")
@SURFACE
@REASON
@FORCE
@DRY_RUN
def repair_command(name: str, reason: str, force: bool, dry_run: bool) -> None:
    """Mend a history of which a record, or the manifest, is missing or damaged.

    A substitute takes the place of each lost record. The last whole publication becomes live; when
    what is live is whole, it stays. What is replaced is kept beside it. Going back to what lists
    items that are denied now needs --force.

    Exit codes: 0 it is whole, or was already; 1 it cannot be mended, and nothing was changed; 2 the
    command line or the configuration is wrong.
    """
    from recsys_assets.operations.repair import plan_repair, repair

    surface, store = open_surface(name)
    plan = plan_repair(store, surface)
    if plan is None:
        click.echo(f"{name}: manifest and history are whole; nothing to repair")
        return
    for problem in plan.problems:
        click.echo(printable(problem))
    target = f"generation {plan.target.generation}, {plan.target.window},"
    if dry_run:
        would = "would become live" if plan.goes_back else "is live, is whole and would stay"
        if plan.denied:
            click.echo(printable(f"needs --force: {plan.denied}"))
        click.echo(printable(f"{target} {would}. Nothing was changed"))
        return
    _, live = repair(store, plan, why(reason), force=force)
    then = "is live again" if plan.goes_back else "was whole and stays live"
    made = live.publication.generation if live.publication else 0
    click.echo(printable(f"{target} {then}; recorded as generation {made}"))


@click.command("retention")
@ONE_SURFACE
@click.option("--publications", type=click.IntRange(1), help="Instead of retention.publications.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Instead of retention.days.")
@click.option(
    "--grace-hours", type=click.IntRange(1, 876_000), help="Instead of retention.grace_hours."
)
@DRY_RUN
def retention_command(
    name: str | None,
    publications: int | None,
    days: int | None,
    grace_hours: int | None,
    dry_run: bool,
) -> None:
    """Delete blobs, staged references, refused lines and temporary files that are old and unnamed.

    What is kept is set under `retention` in surfaces.yaml. Whatever is live, or a kept publication
    names, stays. Safe to run while days are published.

    Exit codes: 0 done; 1 a surface could not be judged, is in use by another retention or has a
    mistake in its entry, and nothing of it was deleted; 2 the command line or the configuration is
    wrong.
    """
    from recsys_assets.operations.retention import Plan, retain_each, sweep
    from recsys_assets.storage import open_store

    config = load_config()
    store = open_store(config.root)
    changes = {"publications": publications, "days": days, "grace_hours": grace_hours}
    keep = config.retention.model_copy(
        update={key: value for key, value in changes.items() if value is not None}
    )
    failed = False
    with each_surface(config, name) as surfaces:
        for surface, found in retain_each(
            store, surfaces, keep, why("retention"), dry_run=dry_run, watch=progress
        ):
            if not isinstance(found, Plan):
                click.echo(printable(f"Error: {surface.name}: {found}"), err=True)
                failed = True
                continue
            for stored in found.going:
                if dry_run:
                    click.echo(printable(f"{store.uri(stored.key)}  {stored.modified:%Y-%m-%d}"))
            click.echo(
                f"{surface.name}: {len(found.blobs)} blobs, {len(found.staged)} staged references, "
                f"{len(found.rejected)} files of refused lines, {len(found.counts)} of counts, "
                f"{len(found.profiles)} of profiles, {len(found.compared)} of comparisons, "
                f"{found.size_bytes:,} bytes{' would go' if dry_run else ' deleted'}; "
                f"{found.kept_blobs} blobs stay"
            )
        abandoned = sweep(store, keep, dry_run=dry_run, now=datetime.now(UTC))
        click.echo(f"{len(abandoned)} temporary files {'would go' if dry_run else 'deleted'}")
        if failed:
            sys.exit(1)


COMMANDS: Final = (
    rollback_command,
    pin_command,
    release_command,
    repair_command,
    retention_command,
)
