"""Time pairs and neighbours alone, in turns, against the kernel of implicit, in C++.

Both get what the sessions of a day hold, and list the 50 strongest neighbours of each item, with
nothing else cut. Each turn is a process of its own; what is timed is the computation, without
reading. implicit is no dependency: name a Python that has it, with Polars and SciPy. `--against`
names a checkout of another version, which takes turns too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

NEIGHBOURS = 50
_UNLIMITED = 1_000_000_000


def prepare(folder: Path) -> None:
    """Write what the sessions of raw lines hold, and the items."""
    from recsys_assets.compute.day_counts import DayCounts

    counts = DayCounts(pl.scan_ndjson(sorted((folder / "raw").iterdir())))
    counts.baskets.to_frame().write_parquet(folder / "baskets.parquet")
    counts.items.write_parquet(folder / "items.parquet")


def of_implicit(baskets: pl.Series, items: pl.Series) -> Callable[[], int]:
    """Return what computes the similarities with implicit; an item is among its own neighbours."""
    import numpy as np

    recommenders = import_module("implicit.nearest_neighbours")
    session, item = (
        codes.cast(pl.Int32).to_numpy() for codes in (baskets // 2**32, baskets % 2**32)
    )
    shape = int(session[-1]) + 1, items.len()
    matrix = import_module("scipy.sparse").csr_matrix(
        (np.ones(baskets.len()), (session, item)), shape=shape
    )

    def run() -> int:
        model = recommenders.ItemItemRecommender(K=NEIGHBOURS + 1)
        model.fit(matrix, show_progress=False)
        return int(model.similarity.nnz) - items.len()

    return run


def of_ours(baskets: pl.Series, items: pl.Series, min_support: int) -> Callable[[], int]:
    """Return what computes the lists with the version that is imported."""
    from types import SimpleNamespace

    from recsys_assets.compute.cooc import count_cooccurrence

    counts: Any = SimpleNamespace(baskets=baskets, item_ids=items)

    def run() -> int:
        found = count_cooccurrence(
            counts,
            max_neighbours=NEIGHBOURS,
            min_support=min_support,
            max_items=_UNLIMITED,
            max_items_per_session=_UNLIMITED,
        )
        plan: Any = getattr(found.neighbours, "plan", found.neighbours)  # of earlier versions
        rows = plan.select(pl.col("neighbour_id").is_not_null().sum())
        return int(rows.collect().item())

    return run


def turn(name: str, folder: Path, min_support: int) -> dict[str, float]:
    """Time one contender in this process."""
    baskets = pl.read_parquet(folder / "baskets.parquet").to_series()
    items = pl.read_parquet(folder / "items.parquet")["item_id"]
    run = (
        of_implicit(baskets, items) if name == "implicit" else of_ours(baskets, items, min_support)
    )
    wall, cpu = time.perf_counter(), time.process_time()
    entries = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": wall, "cpu": cpu, "peak": peak, "entries": entries}


def main() -> None:
    """Read the command line, generate, take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turn", nargs=3, help=argparse.SUPPRESS)
    if "--turn" in sys.argv:  # maybe by a Python that has nothing else of ours
        name, of, support = parser.parse_args().turn
        if name == "prepare":
            prepare(Path(of))
            return
        print(json.dumps(turn(name, Path(of), int(support))))
        return
    import inputs
    import measure

    inputs.add_input(parser)
    parser.add_argument("--implicit", type=Path, help="a Python that has implicit")
    parser.add_argument("--against", type=Path, help="a checkout of another version")
    parser.add_argument(
        "--min-support", type=int, default=1, help="of ours: 1 lists what implicit does"
    )
    parser.add_argument("--runs", type=int, default=3, help="the medians are shown")
    options = parser.parse_args()
    ours = str(Path(__file__).parents[1])
    contenders: dict[str, tuple[str, Mapping[str, str]]] = {
        "ours": (sys.executable, {"PYTHONPATH": ours})
    }
    if options.against:
        contenders["the other version"] = (sys.executable, {"PYTHONPATH": str(options.against)})
    if options.implicit:
        contenders["implicit"] = (str(options.implicit), {})
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        raw = folder / "raw/events.jsonl"
        print(f"input: {inputs.prepare(options, raw)}")
        print(f"machine: {measure.environment()}; medians of {options.runs} turns\n")
        # In a process of its own: the peak of memory of those that are measured starts at ours.
        subprocess.check_call([sys.executable, __file__, "--turn", "prepare", folder, "0"])
        found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
        for _ in range(options.runs):
            for name, (python, env) in contenders.items():
                command = [python, __file__, "--turn", name, str(folder), str(options.min_support)]
                inherited = {n: v for n, v in os.environ.items() if n != "_RJEM_MALLOC_CONF"}
                output = subprocess.check_output(command, env={**inherited, **env}, text=True)
                found[name].append(json.loads(output))
    medians = {
        name: {figure: statistics.median(each[figure] for each in turns) for figure in turns[0]}
        for name, turns in found.items()
    }
    assert options.min_support > 1 or len({of["entries"] for of in medians.values()}) == 1, medians
    base = medians["ours"]
    for name, of in medians.items():
        ratios = "  ".join(
            f"{base[figure] / of[figure]:5.2f}" for figure in ("wall", "cpu", "peak")
        )
        print(
            f"{name:20}{of['wall']:8.2f} s wall {of['cpu']:8.2f} s CPU {of['peak']:6.0f} MB"
            f"  ours is {ratios} of it"
        )
    print(f"\n{int(base['entries']):,} entries; ratios of wall, CPU and peak")


if __name__ == "__main__":
    main()
