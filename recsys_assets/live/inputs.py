"""What a surface would read now: its newest day's raw events and its catalog; nothing is written.

It asks the same questions of the source that materializing does, before anybody materializes.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from recsys_assets.config import Surface, is_object_url
from recsys_assets.engines import open_engine
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.events.catalog import read_catalog
from recsys_assets.events.listed import read_denied
from recsys_assets.events.sources import open_source
from recsys_assets.storage import open_store
from recsys_assets.storage.publications import read_live

_SHOWN: Final = 5


@dataclass
class Sample:
    """What the beginning of a raw file is read as, events of any day.

    Attributes:
        file: which.
        rows: that were read; an entry of a list is one.
        events: of the surface, among them.
        first_events: the first of those, as JSON has them.
        left_out: by `where`, or without an entry.
        other_surface: of another tenant or surface.
        refused: by reason.
        first_refused: `line`, `reason` and `detail` of the first of those.
    """

    file: str
    rows: int
    events: int
    first_events: list[dict[str, Any]]
    left_out: int
    other_surface: int
    refused: dict[str, int]
    first_refused: list[dict[str, Any]]


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
        sample: what the first rows are read as; None where there are none.
        denied_items: ids in the list of withdrawn items; None without one, or where it is broken.
        problems: what cannot be reached or read, in full.
    """

    surface: Surface
    day: date | None
    files: int = 0
    size_bytes: int = 0
    newest_landed: date | None = None
    catalog_items: int | None = None
    sample: Sample | None = None
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
        of = self.surface
        names = {"tenant": of.tenant, "surface": of.surface, "variant_of": of.variant_of}
        return names | {name: of for name, of in asdict(self).items() if name != "surface"}


def inputs_of(surface: Surface, *, now: datetime) -> Inputs:
    """Reach for the source and the catalog of a surface, and count what they hold."""
    found = Inputs(surface, surface.newest_day(now))
    try:
        _count_files(found)
        if not found.problems:
            found.sample = _sample(found)
    except (RecsysAssetsError, OSError) as error:
        found.problems.append(str(error))
    if surface.catalog:
        try:
            found.catalog_items = read_catalog(surface.known_catalog).frame.height
        except (RecsysAssetsError, OSError) as error:
            found.problems.append(str(error))
    try:
        denied = read_denied(surface)
        found.denied_items = None if denied is None else len(denied.items)
    except (RecsysAssetsError, OSError) as error:
        found.problems.append(str(error))
    if surface.engine.type != "polars":
        try:
            open_engine(surface.engine)
        except RecsysAssetsError as error:
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


def _sample(found: Inputs) -> Sample | None:
    """Read the beginning of the first file that has rows, as materializing its day would."""
    source = open_source(found.surface)
    day = found.day if found.files else found.newest_landed
    if day is None:
        return None
    for name in source.inputs(day):
        with source.open(name, [day]) as reading:
            piece = next(iter(reading.pieces()), None)
            parsed = None if piece is None else source.parse(piece, None)
        if parsed is None or not parsed.lines:
            continue
        shown = parsed.events.head(_SHOWN).drop("line")
        moment = shown["ts"].dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
        return Sample(
            file=source.label(name),
            rows=parsed.lines,
            events=parsed.events.height,
            first_events=shown.with_columns(moment).to_dicts(),
            left_out=parsed.left_out,
            other_surface=parsed.other_surface,
            refused=dict(Counter(line.reason for line in parsed.refused).most_common()),
            first_refused=[
                {"line": line.line, "reason": line.reason, "detail": line.detail}
                for line in parsed.refused[:_SHOWN]
            ],
        )
    return None


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
