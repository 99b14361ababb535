"""Text that comes from elsewhere, as a terminal, a page or a chat may show it.

Names of files, headers, ids and raw lines are written by others. Whatever shows them as Markdown,
on a terminal or in a chat goes through here: they are read, and nothing in them is followed or
obeyed. docs/decisions/foreign-text.md says what needs it.
"""

from __future__ import annotations

import html
import re
from typing import Final

# What makes a word more than letters in Markdown: emphasis, code, links, images, HTML, entities.
# And bare addresses, which pages turn into links.
_SPEAKS: Final = re.compile(r"[\\`*\[\]<~@]|&[\w#]+;|https?:|www\.|(?<!\w)_|_(?!\w)", re.IGNORECASE)
_BEGINS_A_BLOCK: Final = re.compile(r">.*|[#+=-]+|\d+[.)]")

# What follows the last character between values, of lines of JSON and of CSV.
_LAST_VALUE: Final = re.compile(r"""[^"',;:|\t]*\Z""")

# White space as Unicode defines it (property White_Space), which is what ids are trimmed of.
# Python's own str.strip() also removes U+001C to U+001F, Polars' strip_chars() removes exactly
# these.
WHITE_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def printable(text: str) -> str:
    """Return a line for a terminal: control characters, as in escape sequences, are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cut_between_values(text: str, most: int) -> str:
    """Cut a raw line so that it ends with a whole value: part of an id would not be found again.

    A value ends where a quote, a comma or the like begins.
    """
    return text if len(text) <= most else f"{_LAST_VALUE.sub('', text[: most - 3])}..."


def as_markdown(text: str) -> str:
    """Return Markdown that shows a text as it is, in one line; words that would do more, as code.

    So no image is fetched, no link made and no HTML inserted, and what has no such words stays as
    it is.
    """
    words = text.split()
    return " ".join(
        as_code(word)
        if _SPEAKS.search(word)
        or not word.isprintable()
        or (number == 0 and _BEGINS_A_BLOCK.fullmatch(word))
        else word
        for number, word in enumerate(words)
    )


def as_code(text: str) -> str:
    """Return Markdown that shows a text as code, whatever is in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text[:1] == "`" or text[-1:] == "`" else ""
    return f"{fence}{space}{printable(text)}{space}{fence}"


def as_chat(text: str) -> str:
    """Return a message that Slack and its like show as the text: it calls nobody, names no link.

    `&`, `<` and `>` are all that Slack wants escaped: https://api.slack.com/docs/message-formatting
    """
    return html.escape(text, quote=False)
