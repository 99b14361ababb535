"""Write synthetic exposure events of one day, reproducibly.

Sessions have a geometric number of events. Within one, a bit more than half of the items are close
to a centre that the session has to itself, so that items meet again in other sessions; the others
are drawn from a few popular ones. One session in ten is anonymous.
"""

from __future__ import annotations

import argparse
from datetime import UTC, date, datetime
from pathlib import Path

import inputs
import numpy as np
import polars as pl

DAY = date(2026, 1, 1)
_DAY_MS = 86_400_000
_EVENTS_PER_SESSION = 10
_LONGEST_SESSION = 60
_ANONYMOUS_SHARE = 0.1
_LOCAL_SHARE = 0.6
_LOCAL_SPREAD = 20.0


def generate(
    path: Path,
    *,
    events: int,
    users: int,
    items: int,
    seed: int,
    first_session: int = 0,
    day: date = DAY,
) -> None:
    """Write `events` raw exposure events of `demo/home` to `path`, in time order.

    Args:
        path: a .jsonl file to write.
        events: lines, at least 1.
        users: users to draw from, the active ones far more often.
        items: items to draw from.
        first_session: number of the first session, so that days and parts of them differ in it.
        day: UTC day of the events.
        seed: the same arguments give the same bytes with the same versions of numpy and polars.
    """
    rng = np.random.default_rng(seed)
    count = 1 + events * 2 // _EVENTS_PER_SESSION
    sizes = np.clip(rng.geometric(1 / _EVENTS_PER_SESSION, count), 2, _LONGEST_SESSION)
    session = np.repeat(np.arange(count), sizes)[:events]
    position = np.arange(events) - np.searchsorted(session, session)
    user = (users * rng.power(0.3, count)).astype(np.int64)
    anonymous = rng.random(count) < _ANONYMOUS_SHARE
    start = rng.integers(0, _DAY_MS - _LONGEST_SESSION * 20_000, count)
    centre = rng.integers(0, items, count)
    near = centre[session] + np.rint(rng.normal(0, _LOCAL_SPREAD, events)).astype(np.int64)
    popular = (items * rng.power(0.2, events)).astype(np.int64)
    item = np.where(rng.random(events) < _LOCAL_SHARE, near % items, popular)
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    frame = pl.DataFrame(
        {
            "ms": midnight + start[session] + position * 15_000,
            "user": user[session],
            "anonymous": anonymous[session],
            "session": first_session + session,
            "item": item,
            "rank": position,
        }
    ).sort("ms", "session", "rank")
    known = pl.concat_str(pl.lit(',"user_id":"u'), _digits("user", 8), pl.lit('"'))
    lines = frame.select(
        pl.concat_str(
            pl.lit('{"v":1,"ts":"'),
            pl.from_epoch("ms", "ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
            pl.lit('","tenant":"demo","surface":"home","session_id":"s'),
            _digits("session", 9),
            pl.lit('"'),
            pl.when("anonymous").then(pl.lit("")).otherwise(known),
            pl.lit(',"request_id":"r'),
            _digits("session", 9),
            pl.lit("-"),
            pl.col("rank").cast(pl.String),
            pl.lit('","item_id":"i'),
            _digits("item", 7),
            pl.lit('","rank":'),
            pl.col("rank").cast(pl.String),
            pl.lit("}"),
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    lines.write_csv(path, include_header=False, quote_style="never")


def _digits(column: str, width: int) -> pl.Expr:
    return pl.col(column).cast(pl.String).str.zfill(width)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    inputs.add_sizes(parser)
    parser.add_argument("--first-session", type=int, default=0, help="number of the first session")
    parser.add_argument("--day", type=date.fromisoformat, default=DAY)
    options = parser.parse_args()
    generate(
        options.path,
        **inputs.sizes(options),
        first_session=options.first_session,
        day=options.day,
    )


if __name__ == "__main__":
    main()
