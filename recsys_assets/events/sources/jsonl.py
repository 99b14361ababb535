"""Raw exposure events v1 as JSON lines in files: `source.type: jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from recsys_assets.config import Surface
from recsys_assets.events.chunks import Chunk, Readable
from recsys_assets.events.forms import JsonText, Text
from recsys_assets.events.sources.files import Files
from recsys_assets.events.sources.mapped import identity_of, rules_of
from recsys_assets.events.sources.source import Source

if TYPE_CHECKING:
    from recsys_assets.events.parsed import ParsedChunk


def open_source(surface: Surface) -> Source:
    """Return the source of a surface."""
    return JsonLines(surface)


class JsonLines(Files):
    """Files of JSON, an object a line or in a form that is read as such."""

    @property
    def _is_mapped(self) -> bool:
        return self.surface.source.is_mapped

    @property
    def identity(self) -> Mapping[str, Any]:
        """Nothing of raw events v1: they were the first, and days are stored without a name."""
        return identity_of(self.surface.source) if self._is_mapped else {}

    @property
    def tag(self) -> str:
        """The picture of JSON."""
        return "json"

    @property
    def description(self) -> str:
        """Pattern and path, and what a line holds."""
        if self._is_mapped:
            return f"Events as they land, one JSON object a line: {self.where}."
        return (
            f"Raw exposure events v1 as they land: {self.where}. "
            "One JSON object a line; required are v, ts, tenant, surface, session_id, item_id."
        )

    def text(self, stream: Readable) -> Text:
        """Give each object a line of its own, also those that are joined or in an array."""
        return JsonText(stream)

    def parse(self, piece: Chunk, day: date | None) -> ParsedChunk:
        """Parse lines of raw event v1, or map those of another shape."""
        # Not above: it takes Pandera, which takes a second to import, and listing needs none.
        if self._is_mapped:
            from recsys_assets.events.rows import map_json_lines

            return map_json_lines(
                piece, rules_of(self.surface.source), place=self.surface.place, day=day
            )
        from recsys_assets.events.parse import parse_chunk

        return parse_chunk(piece, place=self.surface.place, day=day)
