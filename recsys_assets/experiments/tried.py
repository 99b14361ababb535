"""Which options there are to try, and the surfaces that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import Any, Final

import yaml

from recsys_assets.audit.settings import settings_of
from recsys_assets.compute.scores import CUTS
from recsys_assets.config import Artifacts, Surface, closest, surface_with
from recsys_assets.config.strict_yaml import read_strictly
from recsys_assets.config.variants import OF_THE_BASE
from recsys_assets.errors import ConfigError
from recsys_assets.kinds import KINDS

_PREFIX: Final = "artifacts."
# It is a file: to try another list, it would have to be another file.
_NOT_TRIED: Final = frozenset({"items.deny"})
_EXAMPLE: Final = "write it as key=value,value: cooc.min_support=2,3"


@dataclass(frozen=True)
class Tried:
    """A set of options that are tried together.

    Attributes:
        options: those that differ, by key without `artifacts.`; none of the current ones.
        surface: with these options.
    """

    options: Mapping[str, Any]
    surface: Surface

    @cached_property
    def name(self) -> str:
        """What people see it under."""
        return ", ".join(f"{key}={_written(value)}" for key, value in self.options.items())

    def changed_kinds(self, current: Surface) -> list[str]:
        """Return the scored kinds whose artifacts may be others than those of a surface."""
        return [
            kind
            for kind in scored_kinds(current)
            if settings_of(self.surface, kind, "") != settings_of(current, kind, "")
        ]


def scored_kinds(surface: Surface) -> list[str]:
    """Return the kinds of a surface that list items that something can happen to."""
    return [kind for kind in surface.artifacts.kinds if is_scored(kind)]


@cache
def is_scored(kind: str) -> bool:
    """Tell whether what a kind lists can be looked up in events."""
    return bool(CUTS[KINDS[kind].layout.outliner().made().form])


def options_to_try(surface: Surface) -> list[str]:
    """Return the keys that decide what the scored kinds of a surface list."""
    found = dict.fromkeys(
        key.removeprefix(_PREFIX)
        for kind in scored_kinds(surface)
        for key in settings_of(surface, kind, "")
        if key not in _NOT_TRIED and not _is_of_the_base(surface, key)
    )
    return sorted(found, key=lambda key: (key.partition(".")[0] not in KINDS, key))


def sets_to_try(
    surface: Surface, texts: Iterable[str], *, grid: bool
) -> tuple[list[Tried], list[str]]:
    """Return the sets of options that are asked for.

    Args:
        surface: with the current options.
        texts: each `key=value,value`; values are those of YAML.
        grid: try every combination of them, not each value alone.

    Returns:
        The sets, and the names of those left out since all is as it is now.

    Raises:
        ConfigError: a text, a key or a value cannot be used, or nothing is left to try.
    """
    given: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, values = _parsed(surface, text)
        given.setdefault(key, {}).update({_written(value): value for value in values})
    asked = {key: [*values.values()] for key, values in given.items()}
    alone = ({key: value} for key, values in asked.items() for value in values)
    combined = (dict(zip(asked, values, strict=True)) for values in product(*asked.values()))
    found = [
        Tried(options, surface_with(surface.name, {_full(k): v for k, v in options.items()}))
        for options in (combined if grid else alone)
    ]
    as_now = [each.name for each in found if not each.changed_kinds(surface)]
    tries = [each for each in found if each.name not in as_now]
    if not tries:
        raise ConfigError(f"nothing to try: {'; '.join(as_now)} is what {surface.name} has")
    return tries, as_now


def _parsed(surface: Surface, text: str) -> tuple[str, Sequence[Any]]:
    key, equals, values = text.partition("=")
    key = key.strip().removeprefix(_PREFIX)
    if not equals or not values.strip():
        raise ConfigError(f"--try {text}: {_EXAMPLE}")
    _refuse_unknown(surface, key)
    try:
        found = read_strictly(f"[{values}]")
    except yaml.YAMLError:
        found = None
    if not isinstance(found, list) or not found:
        raise ConfigError(f"--try {text}: its values cannot be read: {_EXAMPLE}")
    return key, found


def _refuse_unknown(surface: Surface, key: str) -> None:
    known = options_to_try(surface)
    if key in known:
        return
    if _is_of_the_base(surface, key):
        base = surface.variant_of
        raise ConfigError(f"--try {key}: {surface.name} has that of its base: try it with {base}")
    kind = key.partition(".")[0]
    if kind in KINDS and not is_scored(kind):
        raise ConfigError(
            f"--try {key}: {kind} is not scored: it lists no items that users come to. Compare two "
            "publications of it with `recsys-assets diff`"
        )
    if kind in KINDS and kind not in surface.artifacts.kinds:
        raise ConfigError(
            f"--try {key}: {surface.name} builds no {kind}: add it to its artifacts to try options"
        )
    meant = closest(key, known)
    hint = f" (did you mean {meant!r}?)" if meant else ""
    raise ConfigError(
        f"--try {key}: is no option that decides what is listed{hint}; there are: "
        f"{', '.join(known)}"
    )


def _is_of_the_base(surface: Surface, key: str) -> bool:
    return surface.variant_of is not None and key.partition(".")[0] in OF_THE_BASE


def _full(key: str) -> str:
    return f"{_PREFIX}{key}" if key.partition(".")[0] in Artifacts.model_fields else key


def _written(value: Any) -> str:
    """Write a value as YAML does, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...").removesuffix("...").strip()
