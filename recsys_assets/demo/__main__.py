"""`python -m recsys_assets.demo`: the demo by the configuration at hand, as `make demo` runs it."""

from __future__ import annotations

import click

from recsys_assets.cli.demo import AFTER_MAKE, DAYS, run
from recsys_assets.cli.main import plain_errors


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@DAYS
def demo(days: int | None) -> None:
    """Write the raw days of the demo, materialize them through Dagster, and show the result.

    `recsys-assets demo` does the same in a folder of its own.
    """
    with plain_errors():
        run(days, go_on=AFTER_MAKE)


if __name__ == "__main__":
    demo(prog_name="python -m recsys_assets.demo")
