"""What commands share: arguments, and opening what they are about."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from recsys_assets.config import CONFIG_VARIABLE, Config, Surface, load_config
from recsys_assets.texts import printable

if TYPE_CHECKING:
    from recsys_assets.storage.publications import Why
    from recsys_assets.storage.store import Store

SURFACE: Final = click.argument("name", metavar="TENANT/SURFACE")
DAY: Final = click.DateTime(["%Y-%m-%d"])
JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
REASON: Final = click.option("--reason", required=True, help="Why; it is kept in the history.")
DRY_RUN: Final = click.option(
    "--dry-run", is_flag=True, help="Show what would change; change nothing."
)
FORCE: Final = click.option(
    "--force", is_flag=True, help="Also where denied items are live afterwards; --reason says why."
)
ONE_SURFACE: Final = click.option(
    "--surface", "name", help="tenant/surface.  [default: every surface]"
)


def config_option() -> click.Option:
    """Return the option that names the configuration: of the program, and of every command."""

    def use(context: click.Context, option: click.Parameter, path: str | None) -> None:
        if path:
            os.environ[CONFIG_VARIABLE] = str(Path(path).absolute())

    return click.Option(
        ["--config"],
        type=click.Path(dir_okay=False),
        expose_value=False,
        callback=use,
        help=f"The surfaces.yaml to use.  [default: ${CONFIG_VARIABLE}; in a checkout, the demo]",
    )


@contextmanager
def each_surface(config: Config, name: str | None) -> Iterator[Sequence[Surface]]:
    """Give the surface that a command names, or every one that has no mistake.

    The mistakes of the others are told at the end, and then the command exits with 1.

    Raises:
        ConfigError: the one that is named is not there, or has a mistake.
    """
    surfaces = config.selected(name)
    skipped = config.skipped(name)
    try:
        yield surfaces
    finally:
        if skipped:
            click.echo(plain(f"passed over: {config.told(skipped)}"), err=True)
    if skipped:
        sys.exit(1)


def plain(error: object) -> str:
    """Return an error as it is printed: its lines as they are, what else would act, spelled out."""
    return "\n".join(map(printable, f"Error: {error}".split("\n")))


def open_surface(name: str) -> tuple[Surface, Store]:
    """Return a surface of the configuration, and the root it is written to."""
    from recsys_assets.storage import open_store

    config = load_config()
    return config.surface(name), open_store(config.root)


def why(reason: str) -> Why:
    """Return who runs this command, and why, for the history."""
    from recsys_assets.storage.flips import actor
    from recsys_assets.storage.publications import Why

    return Why(f"command-{uuid.uuid4()}", actor(), reason)
