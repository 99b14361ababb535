"""YAML that refuses what the stock loader of PyYAML lets pass, or breaks at."""

from __future__ import annotations

from typing import Any

import yaml

from recsys_assets.config.quoting import quoted_key


def read_strictly(text: str) -> Any:
    """Read YAML of one document into plain values.

    Raises:
        yaml.YAMLError: it is no YAML, repeats a key, or holds a value that its tag cannot be.
    """
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)


class _StrictLoader(yaml.SafeLoader):
    """A loader whose every complaint is a `YAMLError`."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        # PyYAML lets Python's own errors through: of 2026-02-30 as a date, of `!!int x`.
        except (ValueError, TypeError, KeyError, AttributeError):
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"is no valid {kind}", node.start_mark
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is no text", key_node.start_mark
                )
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"repeated key {quoted_key(key)}", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
