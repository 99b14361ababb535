"""What a surface would read now: its newest day's raw events and its catalog; nothing is written.

It asks the same questions of the source that materializing does, before anybody materializes.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from recsys_assets.config import Surface, is_object_url
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.events.catalog import read_catalog
from recsys_assets.events.listed import read_denied
from recsys_assets.events.sources import open_source
from recsys_assets.storage import open_store
from recsys_assets.storage.publications import read_live


@dataclass
class Inputs:
    """What a surface would read.

    Attributes:
        surface: whose.
        day: the newest that is over; None before the first is.
        files: raw files of the day.
        size_bytes: of those files, as they are stored.
        newest_landed: the newest day that has files, looked for only when `day` has none.
        catalog_items: rows of the catalog; None without a catalog, or when it cannot be read.
        denied_items: ids in the list of withdrawn items; None without one, or where it is broken.
        problems: what cannot be reached or read, in full.
    """

    surface: Surface
    day: date | None
    files: int = 0
    size_bytes: int = 0
    newest_landed: date | None = None
    catalog_items: int | None = None
    denied_items: int | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def hint(self) -> str | None:
        """Say where files were looked for, when the day has none."""
        if self.files or self.day is None or self.problems:
            return None
        newest = self.newest_landed or "none"
        wanted = open_source(self.surface).wanted(self.day)
        return f"no {wanted}; the newest day with files is: {newest}"

    def to_json(self) -> dict[str, Any]:
        """Return the members for machines."""
        names = {"tenant": self.surface.tenant, "surface": self.surface.surface}
        return names | {name: of for name, of in asdict(self).items() if name != "surface"}


def inputs_of(surface: Surface, *, now: datetime) -> Inputs:
    """Reach for the source and the catalog of a surface, and count what they hold."""
    found = Inputs(surface, surface.newest_day(now))
    try:
        _count_files(found)
    except (RecsysAssetsError, OSError) as error:
        found.problems.append(str(error))
    if surface.catalog:
        try:
            found.catalog_items = read_catalog(surface.catalog_path).frame.height
        except (RecsysAssetsError, OSError) as error:
            found.problems.append(str(error))
    try:
        denied = read_denied(surface)
        found.denied_items = None if denied is None else len(denied.items)
    except (RecsysAssetsError, OSError) as error:
        found.problems.append(str(error))
    return found


def _count_files(found: Inputs) -> None:
    source = open_source(found.surface)
    for name in source.inputs(found.day) if found.day else ():
        size_bytes = source.size_bytes(name)
        if size_bytes is None:
            found.problems.append(f"{source.label(name)} cannot be opened")
        else:
            found.files, found.size_bytes = found.files + 1, found.size_bytes + size_bytes
    if not found.files:
        found.newest_landed = max(source.landed(), default=None)


def problem_of_root(root: str, surface: Surface) -> str | None:
    """Say why a surface cannot be published below a root; None when nothing stands in the way.

    Of a directory it is asked whether it may be written; of a bucket only whether it answers, since
    nothing is written to find out.
    """
    try:
        read_live(open_store(root), surface.place)
    except (RecsysAssetsError, OSError) as error:
        return str(error)
    if is_object_url(root):
        return None
    there = next(path for path in (Path(root), *Path(root).parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return f"root {root}: {there} may not be written"
    return None
