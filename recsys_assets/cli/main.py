"""`recsys-assets`: materialize days, see what is live, and operate on what is published.

Exit codes: 0 done; 1 something was blocked, failed or is not there, and the output says which day,
asset and check; 2 the command line, the configuration or the environment is wrong; 130 it was
stopped by Ctrl-C. Results go to standard output, progress and errors to standard error.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from recsys_assets import __version__
from recsys_assets.cli import (
    changing,
    checking,
    ctrl_c,
    days,
    demo,
    erasing,
    experiment,
    gates,
    landing,
    promoting,
    reading,
    sinks,
    starting,
)
from recsys_assets.cli.options import config_option, plain
from recsys_assets.errors import ConfigError, RecsysAssetsError


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn an error that a user can act on into text and an exit code; a bug keeps its stack.

    Ctrl-C is told too. A second one, while Python still waits for a thread, ends the process.
    """
    try:
        yield
    except RecsysAssetsError as error:
        click.echo(plain(error), err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except OSError as error:
        if error.errno == errno.EPIPE:  # `| head`: click knows what to do
            raise
        click.echo(plain(error), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        ctrl_c.is_left_to_the_system()
        click.echo("Stopped by Ctrl-C", err=True)
        sys.exit(130)


class _Cli(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        with plain_errors():
            return super().invoke(ctx)


@click.group(cls=_Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="recsys-assets")
def main() -> None:
    """Raw exposure events to published recommender artifacts.

    Everything is written below `root` of surfaces.yaml; $RECSYS_ROOT wins over it. Runs are
    recorded on the Dagster instance at $DAGSTER_HOME, the one the UI shows.

    Results go to standard output; progress and errors go to standard error.

    A surface with a mistake in its entry is passed over by commands over all surfaces, unless
    `on_mistake` of surfaces.yaml is refuse: the others are done, and the command exits with 1.

    Exit codes: 0 done; 1 something was blocked, failed, passed over or is not there; 2 the command
    line, the configuration or the environment is wrong; 130 it was stopped by Ctrl-C.
    """


main.params.insert(0, config_option())
for command in (
    *days.COMMANDS,
    *landing.COMMANDS,
    *reading.COMMANDS,
    *checking.COMMANDS,
    *changing.COMMANDS,
    *promoting.COMMANDS,
    *gates.COMMANDS,
    *erasing.COMMANDS,
    *experiment.COMMANDS,
    *sinks.COMMANDS,
):
    for each in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
        each.params.append(config_option())
    main.add_command(command)
# They begin a project with a configuration of its own.
for command in (*starting.COMMANDS, *demo.COMMANDS):
    main.add_command(command)
