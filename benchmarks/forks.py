"""Fork processes as runs are forked, many times, and let each compute: none may hang.

Each computes with Polars, in both of its engines, and reads a Parquet file with pyarrow. Four are
at work at the same time. Printed is how many failed, and what one took. Exits with 1 if one did.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, Final

sys.path.append(str(Path(__file__).parents[1]))
AT_ONCE: Final = 4


def compute(number: int, folder: str) -> None:
    """Compute, write, read, and end with 0 if it is right."""
    import numpy as np
    import polars as pl
    import pyarrow.parquet as pq

    rows = np.arange(20_000)
    frame = pl.DataFrame({"item": rows % 1_000, "text": (rows % 977).astype(str)})
    counted = frame.lazy().group_by("text").agg(pl.len(), pl.col("item").sum()).sort("text")
    found = counted.collect(engine="streaming" if number % 2 else "in-memory")
    path = Path(folder, f"{number}.parquet")
    frame.write_parquet(path)
    read = pl.scan_parquet(path).select(pl.len()).collect().item()
    sys.exit(
        0 if (found.height, read, pq.read_table(path).num_rows) == (977, 20_000, 20_000) else 3
    )


def main() -> None:
    """Fork, wait, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forks", type=int, default=2_000)
    options = parser.parse_args()
    from measure import environment

    from recsys_assets.defs.internals import IMPORTED_FOR_RUNS, READY

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED_FOR_RUNS])
    forking: Any = forkserver
    forking.ensure_running()
    name = Path(f"/proc/{forking._forkserver._forkserver_pid}/comm")
    while name.read_text().strip() != READY:
        time.sleep(0.1)
    began, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, options.forks, AT_ONCE):
            some = [
                context.Process(target=compute, args=(number, folder))
                for number in range(first, min(first + AT_ONCE, options.forks))
            ]
            for process in some:
                process.start()
            for process in some:
                process.join(60)
                failed += process.exitcode != 0
                process.kill()
    took = (time.monotonic() - began) / options.forks
    print(f"{environment()}; no seed")
    print(f"{options.forks} forks, {failed} failed, {took:.3f} s for each")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
