"""`python -m recsys_assets.cli`."""

from recsys_assets.cli.main import main

main(prog_name="recsys-assets")
