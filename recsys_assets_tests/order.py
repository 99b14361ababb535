"""In which order the tests run, in the processes side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")
# What takes longest, or waits most: nothing would run beside it in the end. Each group in one
# process, one test after the other: two browsers at once wait too long for what both start. The
# image is behind the extended copy, where there are three processes.
FIRST: Final = ("extended", "browser", "long", "image")


def in_order(items: Sequence[T], groups: Sequence[str | None], processes: int) -> list[T]:
    """Put what takes long where a process begins.

    Each gets as many tests, one after the other, and takes of others in the end
    (`--dist worksteal`).

    Args:
        items: the tests.
        groups: of each, which of `FIRST` it belongs to, if any.
        processes: how many run side by side.
    """
    of_group: dict[str | None, list[T]] = {name: [] for name in (*FIRST, None)}
    for item, group in zip(items, groups, strict=True):
        of_group[group].append(item)
    rest, found = of_group.pop(None), list[T]()
    for number in range(processes):
        mine = [item for name in FIRST[number::processes] for item in of_group[name]]
        share = (len(items) - len(found)) // (processes - number)
        more = max(0, share - len(mine))
        found += [*mine, *rest[:more]]
        rest = rest[more:]
    return found
