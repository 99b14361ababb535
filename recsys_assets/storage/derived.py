"""Objects that can be done without: what is damaged of them is told, and taken for missing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

import pyarrow as pa

from recsys_assets.storage.store import Store

# What reading damaged bytes raises, or looking for a member that should be there.
_DAMAGED: Final = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError)

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


def read_derived(store: Store, key: str, parse: Callable[[bytes], T], *, then: str) -> T | None:
    """Return what an object holds; None where there is none, or none that can be read.

    Args:
        store: where it is.
        key: of the object.
        parse: its bytes.
        then: what becomes of a damaged one, for the log.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """
    stored = store.read(key)
    if stored is None:
        return None
    try:
        return parse(stored.data)
    except _DAMAGED as error:
        _LOG.warning("%s is damaged and %s: %r", store.location(key), then, error)
        return None
