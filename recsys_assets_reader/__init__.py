"""Read what recsys_assets published: popular items, neighbours, lists of users, tags.

import recsys_assets_reader

with recsys_assets_reader.open("s3://bucket/prefix", "shop/home") as reader:
    reader.popular(10)
    reader.neighbours("tea", 10)
"""

from recsys_assets_reader.errors import (
    DocumentError,
    KindNotReadError,
    ManifestError,
    NotPublishedError,
    ReaderError,
    StoreError,
)
from recsys_assets_reader.reader import KINDS, Reader, Scored, Snapshot, Status, open

__all__ = [
    "KINDS",
    "DocumentError",
    "KindNotReadError",
    "ManifestError",
    "NotPublishedError",
    "Reader",
    "ReaderError",
    "Scored",
    "Snapshot",
    "Status",
    "StoreError",
    "open",
]
__version__ = "0.2.0"
