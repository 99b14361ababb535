"""Imported last by the process that runs are forked from: it says whether that may be forked.

Threads are not forked. Polars starts those that compute at its first query, so a run that is forked
after one would wait for them for ever. Those of its allocator only give memory back, and the run
does that itself.
"""

from pathlib import Path
from typing import Final

from recsys_assets.defs.internals import READY

# What Polars calls the threads that compute.
_COMPUTES: Final = ("polars-0", "async-executor-", "tokio-rt-worker")

_threads = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
if not any(name.startswith(_COMPUTES) for name in _threads):
    Path("/proc/self/comm").write_text(READY)
