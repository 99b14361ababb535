"""`recsys-assets`: the operations from a shell.

`options` is what commands share, `printing` what they print, as `tables` lay it out; each other
module has some commands.
"""

from recsys_assets.cli import ctrl_c

with ctrl_c.ends_at_once():
    from recsys_assets.cli.main import main

__all__ = ["main"]
