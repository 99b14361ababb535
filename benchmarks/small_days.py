"""Time many small days in one run, in turns against other versions.

Days of Complete Journey, four kinds, or five with the catalog (`--five`), by the command line in a
process of its own, into a new root and a new instance each time. Each `--base` is a checkout of
another version; one that knows no gates takes its turn once, this one with gates off and as they
are by default.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import yaml

sys.path.append(str(Path(__file__).parents[1]))
import measure

from recsys_assets.demo.complete_journey import SURFACE, TENANT, write_catalog, write_raw_events

_HERE: Final = Path(__file__).parents[1]
_FIRST: Final = date(2017, 1, 1)
_KINDS: Final = ("popularity", "cooc", "implicit", "session_seq")


def materialize(tree: Path, folder: Path, last: date, *, gates: bool) -> measure.Cost:
    """Make all days by a version, in a new root and a new instance."""
    made = folder / "made"
    shutil.rmtree(made, ignore_errors=True)
    (home := made / "home").mkdir(parents=True)
    shutil.copy(tree / "dagster.yaml", home)
    catalog = folder / "catalog.csv"
    kinds = (*_KINDS, "content_sim") if catalog.exists() else _KINDS
    surface = {
        "tenant": TENANT,
        "surface": SURFACE,
        "start_date": _FIRST,
        "source": {"path": str(folder / "raw")},
        "artifacts": {kind: {} for kind in kinds},
        **({"catalog": {"path": str(catalog)}} if catalog.exists() else {}),
        **({} if gates else {"gates": {"mode": "off"}}),
    }
    (made / "surfaces.yaml").write_text(yaml.safe_dump({"root": "var", "surfaces": [surface]}))
    return measure.run(
        [
            sys.executable,
            "-P",
            "-m",
            "recsys_assets.cli",
            "materialize",
            "--from",
            str(_FIRST),
            "--to",
            str(last),
        ],
        env={
            "PYTHONPATH": str(tree),
            "DAGSTER_HOME": str(home),
            "RECSYS_CONFIG": str(made / "surfaces.yaml"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
        },
        log=folder / "log",
    )


def main() -> None:
    """Read the command line, make the raw events, measure in turns, print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--five", action="store_true", help="content_sim too")
    parser.add_argument("--base", type=Path, action="append", default=[], help="a checkout")
    options = parser.parse_args()
    days = [_FIRST + timedelta(days=number) for number in range(options.days)]
    ways = [
        (tree.absolute(), gates)
        for tree in (*options.base, _HERE)
        for gates in (False, True)
        if not gates or (tree / "recsys_assets/config/gates.py").is_file()
    ]
    costs: dict[tuple[Path, bool], list[measure.Cost]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"machine: {measure.environment()}")
        print(f"{write_raw_events(folder / 'raw', days):,} events of {len(days)} days; no seed")
        print(f"{write_catalog(folder / 'catalog.csv'):,} products\n" if options.five else "")
        for _ in range(options.runs):
            for tree, gates in ways:
                has_gates = (tree, True) in costs
                cost = materialize(tree, folder, days[-1], gates=gates or not has_gates)
                costs[tree, gates].append(cost)
                print(f"{tree.name:12} gates {'on ' if gates else 'off'} {cost}", flush=True)
    print("\nmedians; wall, CPU and peak as parts of the first")
    for (tree, gates), each in costs.items():
        found, first = measure.median(each), measure.median(costs[ways[0]])
        print(
            f"{tree.name:12} gates {'on ' if gates else 'off'} {found} "
            f"{measure.ratios(found, first)}"
        )


if __name__ == "__main__":
    main()
