"""A file for people to edit: some keys set, all others behind a `#`, each with its meaning.

Meaning and default are those of the models, as in docs/configuration.md.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_WIDTH: Final = 79


def commented(values: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Return values as YAML, with the meaning of every key of the model above it.

    A key that is not set stands behind a `#`, with the value that it has then. What is below a key
    is told only where something of it is set.

    Args:
        values: what is set, as the file has it; of a list, one entry.
        model: what the file is read with.
    """
    return "".join(f"{line}\n" for line in _lines(values, model, ""))


def _lines(values: Mapping[str, Any], model: type[BaseModel], indent: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = field.alias or name
        width = _WIDTH - len(indent) - 2
        yield from (f"{indent}# {line}" for line in textwrap.wrap(field.description or "", width))
        if key not in values:
            yield f"{indent}#{key}: {_flow(_default(field))}"
            continue
        value, below = values[key], _model_of(field.annotation)
        if below is None:
            yield f"{indent}{key}: {_flow(value)}"
        elif isinstance(value, list):
            yield f"{indent}{key}:"
            (entry,) = value
            # The first line that is no comment gets the dash.
            lines = list(_lines(entry, below, f"{indent}    "))
            first = next(n for n, line in enumerate(lines) if line.lstrip()[0] != "#")
            lines[first] = f"{indent}  - {lines[first].lstrip()}"
            yield from lines
        else:
            yield f"{indent}{key}:"
            yield from _lines(value, below, f"{indent}  ")


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a key, or each entry of its list, is read with."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_of(each))), None)


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True)
    return {} if isinstance(value, BaseModel) else value


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()
