"""Variants: entries made of the events of another one, their base. Plain values in, and out.

A variant has of its base what says which events there are, so that these are parsed once. It is an
entry like any other once that is filled in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from recsys_assets.config.quoting import closest, quoted_name

VARIANT_OF: Final = "variant_of"
# Keys that a variant has of its base, and may not set.
OF_THE_BASE: Final = (
    "start_date",
    "end_date",
    "source",
    "catalog",
    "schedule_at",
    "items",
    "guardrails",
)
# What it has of its base unless it says otherwise.
_UNLESS_SET: Final = ("bots", "engine", "gates")


def with_bases(entries: Sequence[Any]) -> list[Any]:
    """Return the entries, with what variants have of their bases filled in."""
    named = _named(entries)
    return [_filled(entry, named) if is_variant(entry) else entry for entry in entries]


def with_what_may_be_set(entries: Sequence[Any]) -> list[Any]:
    """Return the entries, with what variants have of their bases but may say otherwise."""
    named = _named(entries)
    return [
        {**_inherited(entry, named, _UNLESS_SET), **entry} if is_variant(entry) else entry
        for entry in entries
    ]


def _filled(entry: Mapping[str, Any], named: Mapping[str, tuple[int, Any]]) -> dict[str, Any]:
    own = {key: of for key, of in entry.items() if key not in OF_THE_BASE}
    return {**_inherited(entry, named, (*OF_THE_BASE, *_UNLESS_SET)), **own}


def _inherited(
    entry: Mapping[str, Any], named: Mapping[str, tuple[int, Any]], keys: Sequence[str]
) -> dict[str, Any]:
    _, base = named.get(str(entry[VARIANT_OF]), (0, {}))
    return {key: base[key] for key in keys if key in base}


def is_variant(entry: Any) -> bool:
    """Tell an entry that names a base, whether there is such a one or not."""
    return isinstance(entry, dict) and entry.get(VARIANT_OF) is not None


def is_of_the_base(entry: Any, key: Sequence[Any]) -> bool:
    """Tell whether a key of a filled entry, none or one, is one that its base has filled in."""
    if not is_variant(entry):
        return False
    of_the_base = {*OF_THE_BASE, *(each for each in _UNLESS_SET if each not in entry)}
    return not of_the_base.isdisjoint(key)


def mistakes_of_variants(entries: Sequence[Any]) -> Iterator[tuple[int, str]]:
    """Yield what is wrong with an entry as a variant, behind the number of the entry."""
    named = _named(entries)
    for number, entry in enumerate(entries, start=1):
        if not is_variant(entry):
            continue
        problem = _problem_of_base(number, entry, named)
        told = [f"{VARIANT_OF}: {problem}"] if problem else []
        told += [
            f"{key}: a variant has that of its base: take it away here"
            for key in OF_THE_BASE
            if key in entry
        ]
        for text in told:
            yield number, f"surface {_quoted(number, entry)}: {text}"


def without_base(
    entries: Sequence[Any], wrong: Collection[int | None]
) -> Iterator[tuple[int, str]]:
    """Yield the variants whose base is one of the entries with a mistake."""
    named = _named(entries)
    for number, entry in enumerate(entries, start=1):
        if not is_variant(entry) or (found := named.get(str(entry[VARIANT_OF]))) is None:
            continue
        of, base = found
        if of in wrong and of != number:
            told = f"{VARIANT_OF}: {_quoted(of, base)} has a mistake"
            yield number, f"surface {_quoted(number, entry)}: {told}"


def _problem_of_base(
    number: int, entry: Mapping[str, Any], named: Mapping[str, tuple[int, Any]]
) -> str | None:
    name = entry[VARIANT_OF]
    if not isinstance(name, str) or name.count("/") != 1:
        return None  # the model says so
    if name == _name(entry):
        return "is the surface itself: name the one whose events it is made of"
    if name not in named:
        meant = closest(name, [of for of, (_, each) in named.items() if not is_variant(each)])
        hint = f" (did you mean {_quoted(*named[meant])}?)" if meant else ""
        return f"there is no such surface{hint}"
    of, base = named[name]
    return f"{_quoted(of, base)} is a variant itself: name its base" if is_variant(base) else None


def _named(entries: Sequence[Any]) -> dict[str, tuple[int, Any]]:
    """Return number and entry of each surface, by its name; of several, the first."""
    named: dict[str, tuple[int, Any]] = {}
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, dict) and (name := _name(entry)):
            named.setdefault(name, (number, entry))
    return named


def _name(entry: Mapping[str, Any]) -> str | None:
    tenant, surface = entry.get("tenant"), entry.get("surface")
    both = isinstance(tenant, str) and isinstance(surface, str)
    return f"{tenant}/{surface}" if both else None


def _quoted(number: int, entry: Mapping[str, Any]) -> str:
    return quoted_name(entry.get("tenant"), entry.get("surface"), number)
