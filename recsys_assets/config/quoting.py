"""What of the configuration an error may quote: the one place that decides it.

A secret may stand anywhere: as a value, as a key, in place of a list. It cannot be told from other
text, so the rule goes by kind. Numbers, dates and the like are quoted; of text, only what reads as
one of them. Keys and names are quoted when they are plain words, and all else is named by its kind.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from datetime import date
from typing import Any


def quoted_value(value: Any) -> str:
    """Return a number, a date, true, false or null as it is, of anything else only its kind."""
    if isinstance(value, date):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return repr(value) if re.fullmatch(r"[-+.:0-9]{0,10}", value, re.ASCII) else "text"
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else "another value"


def quoted_key(key: Any, known: Collection[str] = ()) -> str:
    """Return a key that is a word of small letters, or of letters and close to a known one."""
    text = str(key)
    if re.fullmatch(r"[a-z_]{0,40}", text):
        return text
    return text if re.fullmatch(r"[A-Za-z_-]+", text) and closest(text, known) else "(a key)"


def closest(key: str, known: Collection[str]) -> str | None:
    """Return the known key that was meant, if one is close."""
    return next(iter(difflib.get_close_matches(key, known, n=1)), None)


def quoted_name(tenant: Any, surface: Any, number: int) -> str:
    """Return `tenant/surface`, or the number of the surface when these are no plain names.

    What is a plain name is no secret: asset keys and URIs are made of it.
    """
    plain = all(
        isinstance(of, str) and re.fullmatch(r"[\w .-]{1,64}", of) for of in (tenant, surface)
    )
    return f"{tenant}/{surface}" if plain else f"number {number}"


def without_quotes(problem: str) -> str:
    """Return what a parser says with what it quotes left out, but for a character or a token."""

    def shown(found: re.Match[str]) -> str:
        text = found[0]
        return text if len(text) <= 4 or re.fullmatch(r"'<[a-z ]+>'", text) else "..."

    return re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", shown, problem)


def without_secrets(text: str) -> str:
    """Blank what stands before an @ or behind a ? of a URL, wherever somebody has put one."""
    text = re.sub(r"[^\s'\"]*@", "***@", text)
    text = re.sub(r"((?:://|\*@)[^\s'\"?]*\?)[^\s'\"]*", r"\1***", text)
    # And of the part of one that an HTTP client names: /v1/config?token=...
    return re.sub(r"(/[^\s'\"?]*\?)[^\s'\"?]*=[^\s'\"]*", r"\1***", text)
