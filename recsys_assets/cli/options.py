"""What commands share: arguments, and opening what they are about."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

import click

from recsys_assets.config import Surface, load_config

if TYPE_CHECKING:
    from recsys_assets.storage.publications import Why
    from recsys_assets.storage.store import Store

SURFACE: Final = click.argument("name", metavar="TENANT/SURFACE")
JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
REASON: Final = click.option("--reason", required=True, help="Why; it is kept in the history.")
DRY_RUN: Final = click.option(
    "--dry-run", is_flag=True, help="Show what would change; change nothing."
)
ONE_SURFACE: Final = click.option(
    "--surface", "name", help="tenant/surface.  [default: every surface]"
)


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
