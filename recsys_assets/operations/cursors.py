"""What a sensor remembers from one tick to the next, of one root."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def remembered(text: str | None, root: str, read: Callable[[dict[str, Any]], T], *, new: T) -> T:
    """Return what a cursor holds, as `read` makes it of its members.

    Of none, of another root's, or of one that cannot be read, it is `new`: that costs only time.
    Earlier versions named no root.
    """
    try:
        members = json.loads(text or "{}")
        return read(members) if members.get("root", root) == root else new
    except (ValueError, KeyError, TypeError, AttributeError):
        return new
