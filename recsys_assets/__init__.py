"""The offline factory of a recommender system: raw exposure events to published artifacts."""

import os

# Polars' allocator keeps freed memory for 0.5 to 1.5 s. Giving it back after 0.1 s, from a thread
# of its own, lowers the peak of a large day by a fifth (docs/performance.md). It is read once, when
# Polars is first imported, so it must be said before; what the user set stays.
os.environ.setdefault(
    "_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:100,muzzy_decay_ms:0"
)
