"""`deploy/compose.yaml` as compose reads it: with its variables, and what services share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

FILE: Final = Path(__file__).parents[1] / "deploy/compose.yaml"
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def read(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the file with these variables in it.

    Raises:
        KeyError: one that has no default is not among them; what the file says of it.
    """

    def value(found: re.Match[str]) -> str:
        name, operator, word = found.groups()
        if variables.get(name):
            return variables[name]
        if operator != "-":
            raise KeyError(f"{name}: {word}")
        return str(word)

    text = _VARIABLE.sub(value, FILE.read_text(encoding="utf-8"))
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded
