"""Lines of JSON by themselves: what is read of one, and why one is not read."""

from __future__ import annotations

import json
from typing import Any, Final

from recsys_assets.events.chunks import MAX_LINE_BYTES, Chunk
from recsys_assets.events.parsed import RefusedError, RefusedLine

JSON_SPACE: Final = " \t\r\n"


def refused_as_too_long(chunk: Chunk) -> list[RefusedLine]:
    """Return the lines of a chunk that nobody reads because of their length."""
    return [
        RefusedLine(
            long.line,
            "line_too_long",
            f"{long.size_bytes} bytes, the limit is {MAX_LINE_BYTES}; the raw text is cut there",
            long.beginning,
            long.size_bytes + 1,
        )
        for long in chunk.oversized
    ]


def decodable(chunk: Chunk) -> tuple[bytes, list[RefusedLine]]:
    """Return a chunk as valid UTF-8, lines that are not taken out and left empty."""
    try:
        if not chunk.data.isascii():
            chunk.data.decode()
    except UnicodeDecodeError:
        pass
    else:
        return chunk.data, []
    lines, refused = chunk.data.split(b"\n"), []
    for number, line in enumerate(lines):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            detail = f"byte {error.start + 1} is not UTF-8: {error.reason}"
            refused.append(RefusedLine(chunk.first_line + number, "invalid_utf8", detail, line))
            lines[number] = b""
    return b"\n".join(lines), refused


def json_object(text: str) -> dict[str, Any]:
    """Return the object that a line is.

    Raises:
        RefusedError: it is none.
    """
    try:
        event = _JSON.decode(text)
    except RecursionError:
        raise RefusedError("invalid_json", "nested too deeply") from None
    except ValueError as error:
        raise RefusedError("invalid_json", str(error)) from None
    if not isinstance(event, dict):
        raise RefusedError("wrong_type", f"the line is {json_type(event)}, not an object")
    return event


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(parse_constant=_no_constant)


def json_type(value: object) -> str:
    """Return what JSON calls a value, for people."""
    names = {bool: "a boolean", str: "a string", list: "an array", dict: "an object"}
    return "null" if value is None else names.get(type(value), "a number")


def whole_text(value: str) -> str:
    """Return a text of JSON with a sign for each half of a surrogate pair, which is no text."""
    try:
        value.encode()
    except UnicodeEncodeError:  # written as \ud83d
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value
