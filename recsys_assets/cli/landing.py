"""The command that lands topics: `land`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from recsys_assets.cli.options import DRY_RUN, ONE_SURFACE, each_surface, plain
from recsys_assets.cli.printing import days_text, progress
from recsys_assets.config import load_config
from recsys_assets.errors import ConfigError, RecsysAssetsError
from recsys_assets.texts import printable

if TYPE_CHECKING:
    from recsys_assets.operations.topics import Landing


@click.command("land")
@ONE_SURFACE
@click.option(
    "--skip-lost",
    is_flag=True,
    help="Go on where messages expired before they landed, or the topic was made anew.",
)
@DRY_RUN
def land_command(name: str | None, skip_lost: bool, dry_run: bool) -> None:
    """Land Kafka topics as raw files, each message once, up to what they hold by now.

    A topic is that of `source.landing.kafka`. Surfaces that name the same topic and `path` share
    its files: it is read once, whichever of them is named. It may be stopped and started at any
    time.

    Exit codes: 0 all is landed; 1 a topic could not be landed to its end, and what is landed stays,
    or a surface was passed over since its entry has a mistake; 2 the command line, the
    configuration or the environment is wrong; 130 it was stopped by Ctrl-C.
    """
    config = load_config()
    with each_surface(config, name) as surfaces:
        from recsys_assets.operations.topics import landings_of

        wanted = {surface.events_of.name for surface in surfaces}
        landings = [
            landing
            for landing in landings_of(config.surfaces)
            if not wanted.isdisjoint(surface.name for surface in landing.surfaces)
        ]
        if not landings:
            raise ConfigError(f"{name or 'no surface'} lands no topic: set source.landing.kafka")
        code = 0
        for landing in landings:
            try:
                _look(landing) if dry_run else _land(landing, skip_lost=skip_lost)
            except (RecsysAssetsError, OSError) as error:  # the other topics are landed
                click.echo(plain(error), err=True)
                code = max(code, 2 if isinstance(error, ConfigError) else 1)
        if code:
            sys.exit(code)


def _land(landing: Landing, *, skip_lost: bool) -> None:
    from recsys_assets.operations.topics import land

    topic = landing.kafka.topic
    with progress(f"topic {topic}"):
        landed = land(landing, skip_lost=skip_lost)
    days = [*map(str, sorted(landed.lines))]
    span = f", {days[0]} to {days[-1]}" if days else ""
    left_out = f"; tombstones left out: {landed.tombstones:,}" if landed.tombstones else ""
    click.echo(
        printable(
            f"{topic}: {landed.lines.total():,} messages landed, partitions: {landed.partitions}, "
            f"files: {landed.files:,}{span}{left_out}"
        )
    )
    if landed.complete:
        click.echo(printable(f"{topic}: complete: {days_text(landed.complete)}"))


def _look(landing: Landing) -> None:
    from recsys_assets.operations.topics import look_ahead

    topic, ahead = landing.kafka.topic, look_ahead(landing)
    for partition, of in ahead.partitions.items():
        click.echo(f"{topic}/{partition}: {of.high - of.low:,} from offset {of.low}")
    waiting = days_text(ahead.unmarked) if ahead.unmarked else "none"
    click.echo(f"{topic}: days that are not complete: {waiting}. Nothing was changed")


COMMANDS: Final = (land_command,)
