"""Forms of raw text that are read as lines: ends of lines of old; of JSON, joined objects, arrays.

The form of a file is told by its beginning; the lines of a file of no such form stay as they are.
"""

from __future__ import annotations

import io
import re
from functools import partial
from typing import Final

from recsys_assets.events.chunks import BOM, MAX_LINE_BYTES, Readable

_HEAD_BYTES: Final = 2**16
_STRING: Final = rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"'
# A flat object at once, since most are; a string, which ends with its line at the latest; a brace;
# the end of a line. No brace within a string is found.
_TOKENS: Final = re.compile(
    rb'\{(?:[^{}"\n]++|' + _STRING + rb")*+\}|" + _STRING + rb'|"[^\n]*|[{}\n]'
)
_BLANK: Final = b" \t\r"
_IN_ARRAY: Final = _BLANK + b",[]" + BOM


class Text:
    """The text of a file, with newlines where lines end.

    Attributes:
        beginning: its first bytes, as they are.
        form: how it is laid out, in a word or two; "" where lines are lines.
    """

    def __init__(self, stream: Readable) -> None:
        peeked = _Peeked(stream)
        self.beginning = self._head = peeked.head
        self.form = ""
        self._stream: Readable = peeked
        if b"\r" in self._head[:-1] and b"\n" not in self._head:
            self.form = "cr"
            self._stream = _Translated(peeked)
            self._head = self._head.replace(b"\r", b"\n")

    def read(self, size: int, /) -> bytes:
        """Return some bytes, about `size` at most, none at the end."""
        return self._stream.read(size)


class JsonText(Text):
    """The text of a file of JSON, with a line for each object."""

    def __init__(self, stream: Readable) -> None:
        super().__init__(stream)
        if self._head.lstrip(_BLANK + b"\n" + BOM).startswith(b"["):
            form, between = "array", _IN_ARRAY
        elif _Separated.has_joined(self._head):
            form, between = "joined", _BLANK
        else:
            return
        self.form = f"{self.form} {form}".strip()
        self._stream = _Separated(self._stream, between)


class _Peeked:
    """A stream whose beginning is known before it is read."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.head = b""
        while len(self.head) < _HEAD_BYTES and (read := stream.read(_HEAD_BYTES - len(self.head))):
            self.head += read
        self._left = self.head

    def read(self, size: int, /) -> bytes:
        if not self._left:
            return self._stream.read(size)
        data, self._left = self._left[:size], self._left[size:]
        return data + self._stream.read(size - len(data)) if size > len(data) else data


class _Translated:
    """A stream with newlines for carriage returns."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        return self._stream.read(size).replace(b"\r", b"\n")


class _Separated:
    """A stream in which each object has a line of its own; what is no object stays, on its own.

    A newline ends whatever is open: an object that is broken takes no other line with it.
    """

    def __init__(self, stream: Readable, between: bytes) -> None:
        self._stream = stream
        self._between = between  # bytes that may stand between objects and say nothing
        self._carry = b""  # what is not told yet, from where no object was open
        self._on_line = False  # whether something stands on the line already
        self._lost = False  # in a line in which no object ends for too long

    @classmethod
    def has_joined(cls, head: bytes) -> bool:
        """Tell whether some line of a beginning holds more than one object."""
        if not re.search(rb"\}[ \t\r]*\{", head):
            return False
        stream = cls(io.BytesIO(head), _BLANK)
        lines = sum(text.count(b"\n") for text in iter(partial(stream.read, len(head)), b""))
        return lines > head.count(b"\n")

    def read(self, size: int, /) -> bytes:
        while data := self._stream.read(size):
            if self._lost:
                line, newline, rest = data.partition(b"\n")
                if not newline:
                    return data
                self._lost = self._on_line = False
                text, self._carry = self._split(rest)
                return line + newline + text
            text, self._carry = self._split(self._carry + data)
            if len(self._carry) > MAX_LINE_BYTES:
                text, self._carry, self._lost = text + self._alone(self._carry), b"", True
            if text:
                return text
        text, self._carry = self._alone(self._carry), b""
        return text

    def _split(self, block: bytes) -> tuple[bytes, bytes]:
        """Return the lines of a block that begins outside of any object, and what is left open."""
        lines, depth, start = [], 0, 0
        for token in _TOKENS.finditer(block):
            begin, end = token.span()
            what = token.group() if end - begin == 1 else token.group()[:1] + token.group()[-1:]
            if what == b"\n":
                lines += [self._alone(block[start:begin]), b"\n"]
                self._on_line, depth, start = False, 0, end
            elif what in {b"{", b"{}"} and not depth:
                lines.append(self._alone(block[start:begin]))
                start = begin
            depth += (what == b"{") - (what == b"}" and depth > 0)
            if what in {b"{}", b"}"} and not depth:
                lines.append(self._alone(block[start:end]))
                start = end
        return b"".join(lines), block[start:]

    def _alone(self, text: bytes) -> bytes:
        """Return a text on a line of its own, nothing where it says nothing."""
        if not text.strip(self._between):
            return b""
        text = b"\n" + text if self._on_line else text
        self._on_line = True
        return text
