"""YAML that refuses what the stock loader of PyYAML lets pass, or breaks at."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from typing import Any, Final

import yaml
from yaml.composer import Composer, ComposerError
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.resolver import Resolver

from recsys_assets.config.quoting import quoted_key

# Far above what a file needs, far below what Python's stack and a second can take.
_MOST_LEVELS: Final = 50
# Values that aliases and merge keys may repeat: a few lines of them can stand for billions.
_MOST_REPEATED: Final = 100_000
# What counts or compares has room for it, and no text of it is too long for Python to write.
_LARGEST: Final = 10**15
_MERGE: Final = "tag:yaml.org,2002:merge"
_STR: Final = "tag:yaml.org,2002:str"


def read_strictly(text: str) -> Any:
    """Read YAML of one document into plain values.

    Raises:
        yaml.YAMLError: it is no YAML, repeats a key, holds a value that its tag cannot be or that
            nothing can use, or is deeper or larger than any configuration.
    """
    # What is wrong is said as PyYAML says it, whichever of them found it.
    with suppress(yaml.YAMLError, UnicodeError):
        return yaml.load(text, Loader=_FastLoader)  # noqa: S506 (a safe one)
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)


class _Strict(Composer, SafeConstructor, Resolver):
    """What makes values of what a parser reads; its every complaint is a `YAMLError`."""

    check_event: Any  # of the parser
    peek_event: Any

    def __init__(self) -> None:
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        self._level = 0
        self._repeated = 0
        self._sizes: dict[yaml.Node, int] = {}  # of each node, with all that it repeats

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark
        if self._level == _MOST_LEVELS:
            raise ComposerError(None, None, f"is nested more than {_MOST_LEVELS} deep", mark)
        is_alias = self.check_event(yaml.AliasEvent)
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        if node is None:
            return None
        if not is_alias:
            self._sizes[node] = 1 + sum(self._sizes[inner] for inner in _within(node))
        elif node in self._sizes:
            self._repeated += self._sizes[node]
        else:
            raise ComposerError(None, None, "an alias stands within what it repeats", mark)
        if self._repeated > _MOST_REPEATED:
            raise ComposerError(
                None, None, f"aliases repeat more than {_MOST_REPEATED:,} values", mark
            )
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse a repeated key, which the stock loader would overwrite silently.

        Here and not when values are made: then what is merged stands among the keys already.
        """
        node = super().compose_mapping_node(anchor)
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self._key(key_node)
            if not isinstance(key, Hashable):
                raise ConstructorError(None, None, "a key is no text", key_node.start_mark)
            if key in seen:
                raise ConstructorError(
                    None, None, f"repeated key {quoted_key(key)}", key_node.start_mark
                )
            seen.add(key)
        return node

    def _key(self, node: yaml.Node) -> Any:
        if node.tag == _MERGE:
            return _MERGE
        if node.tag == _STR and isinstance(node, yaml.ScalarNode):
            return node.value
        return self.construct_object(node, deep=True)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
        # PyYAML lets Python's own errors through: of 2026-02-30 as a date, of `!!int x`.
        except (ValueError, TypeError, KeyError, AttributeError):
            kind = node.tag.rpartition(":")[2]
            raise ConstructorError(None, None, f"is no valid {kind}", node.start_mark) from None
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise ConstructorError(None, None, f"is over {_LARGEST:,}", node.start_mark)
        return value


def _within(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [inner for pair in node.value for inner in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


class _StrictLoader(_Strict, yaml.SafeLoader):
    """PyYAML's own parser, and what is made of it."""

    def __init__(self, stream: str) -> None:
        yaml.SafeLoader.__init__(self, stream)
        _Strict.__init__(self)


_FastLoader: Any = _StrictLoader
if yaml.__with_libyaml__:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]

    class _OfLibyaml(_Strict, CParser):
        """The parser of libyaml: a file of thousands of surfaces takes a quarter of the time."""

        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            _Strict.__init__(self)

    _FastLoader = _OfLibyaml
