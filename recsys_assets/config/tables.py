"""Names of tables, and queries in place of them, as they stand in the file."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from recsys_assets.config.values import CONTROL

# What may hold a semicolon that ends nothing, and one that does. An identifier, a text, one in
# dollars, a comment to the end of the line, and one in marks.
_OF_SQL: Final = re.compile(
    r""""(?:[^"]|"")*"|'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/|(?P<end>;)""", re.DOTALL
)


def _table_name(value: str) -> str:
    """Refuse what names no table."""
    if "://" in value:
        # Not quoted back: most likely it is an address with a password.
        raise ValueError("must be the name of a table, not a URL")
    if any(part != part.strip() or not part for part in value.split(".")) or CONTROL.search(value):
        raise ValueError("must be the name of a table, or schema.table, without control characters")
    return value


def _query(value: str) -> str:
    """Refuse what is not one statement: it is read as a table, `from (...)`."""
    ends = [found for found in _OF_SQL.finditer(value) if found["end"]]
    if ends and not value[ends[0].end() :].strip():
        raise ValueError("must end without a semicolon: it is read as a table, from (...)")
    if ends:
        raise ValueError("must be one select, without a semicolon: it is read as a table")
    if not value.strip() or "\0" in value:
        raise ValueError("must be a select")
    return value


TableName = Annotated[str, AfterValidator(_table_name)]
Query = Annotated[str, AfterValidator(_query)]
