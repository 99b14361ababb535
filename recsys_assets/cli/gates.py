"""The commands on gates: override."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import click

from recsys_assets.cli.options import DAY, REASON, SURFACE, open_surface, why
from recsys_assets.texts import printable


@click.group("gates")
def gates_command() -> None:
    """Accept days against their gates."""


@gates_command.command("override")
@SURFACE
@click.option("--day", type=DAY, required=True, help="The day to accept, YYYY-MM-DD.")
@click.option("--checks", required=True, help="The gates to pass over: volume,shape.")
@REASON
@click.option("--ahead", is_flag=True, help="For events that are not there yet, as of a holiday.")
@click.option(
    "--restart-baseline",
    is_flag=True,
    help="For good: earlier days say nothing of later ones, for these gates.",
)
def override_command(
    name: str, day: datetime, checks: str, reason: str, ahead: bool, restart_baseline: bool
) -> None:
    """Have a day accepted that gates found unsound, once it is materialized again.

    It holds for the events that failed, and for no others that land in their place; with --ahead
    for whichever land. It is recorded for good, and `history` shows it.

    Exit codes: 0 it is recorded; 1 it is not, and the output says why; 2 the command line or the
    configuration is wrong.
    """
    from recsys_assets.operations.overrides import override_gates

    surface, store = open_surface(name)
    gates = [check.strip() for check in checks.split(",") if check.strip()]
    done = override_gates(
        store,
        surface,
        day.date(),
        gates,
        why(reason),
        ahead=ahead,
        restart_baseline=restart_baseline,
    )
    meant = "whichever events land" if done.fingerprint is None else "the events that failed"
    click.echo(
        printable(
            f"{name} {done.day}: {', '.join(done.checks)} overridden, for {meant}. Materialize "
            "the day"
        )
    )


COMMANDS: Final = (gates_command,)
