from __future__ import annotations

import json
import re
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_assets.config import PACKAGED_CONFIG, strict_yaml
from recsys_assets.config.strict_yaml import read_strictly
from recsys_assets.errors import ConfigError
from recsys_assets_tests.config.files import load_text

_BRANCHES = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
_MERGES = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10))
_TOO_MANY = "aliases repeat more than 100,000 values"
_TOO_DEEP = "is nested more than 50 deep"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 1\nb: [2, c]", {"a": 1, "b": [2, "c"]}),
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
        ("b: {y: 3, <<: {y: 2, x: 1}}", {"b": {"x": 1, "y": 3}}),
        ("b: {<<: [{x: 1}, {x: 2, y: 2}]}", {"b": {"x": 1, "y": 2}}),
        (
            "a: {aa: &a {<<: &c {x: 1}, x: 2}}\nb: {<<: *a}\nc: *c",
            {"a": {"aa": {"x": 2}}, "b": {"x": 2}, "c": {"x": 1}},
        ),
        ("a: &a [1]\nb: [*a, *a]", {"a": [1], "b": [[1], [1]]}),
        ("[" * 50 + "]" * 50, json.loads("[" * 50 + "]" * 50)),
    ],
)
def test_plain_values_aliases_and_merge_keys_are_read(text: str, value: Any) -> None:
    assert read_strictly(text) == value
    for loader in (strict_yaml._FastLoader, strict_yaml._StrictLoader):
        assert yaml.load(text, Loader=loader) == value  # noqa: S506 (safe ones)


def test_a_file_without_a_mistake_is_read_by_the_fast_parser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strict_yaml, "_StrictLoader", None)

    assert read_strictly(PACKAGED_CONFIG.read_text())["surfaces"]


def test_a_mapping_that_is_merged_before_it_is_made_repeats_no_key() -> None:
    """PyYAML makes what is nested deeper later, and has merged into it by then."""
    text = "a: {b: {c: &c {<<: {x: 1}, x: 2}}}\nd: {<<: *c}"

    assert read_strictly(text) == {"a": {"b": {"c": {"x": 2}}}, "d": {"x": 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"a0: &a0 [x]\n{_BRANCHES}surfaces: *a9\n", _TOO_MANY),
        (f"a0: &a0 {{x: 1}}\n{_MERGES}surfaces: *a9\n", _TOO_MANY),
        (f"root: {'[' * 3000}{']' * 3000}\n", _TOO_DEEP),
        (f"root: {'{a: ' * 3000}{'}' * 3000}\n", _TOO_DEEP),
        (f"root: {'[' * 100_000}", _TOO_DEEP),
        ("- " * 3000 + "x", _TOO_DEEP),
        ("? " * 3000 + "x", _TOO_DEEP),
        ("root: &a [*a]\n", "an alias stands within what it repeats"),
        ("root: &a {b: [*a]}\n", "an alias stands within what it repeats"),
        ("root: &a {<<: *a}\n", "an alias stands within what it repeats"),
        (f"root: {'9' * 5000}\n", "is no valid int"),
        (f"root: {'1:' * 5000}1\n", "is over 1,000,000,000,000,000"),
        (f"root: -{10**15 + 1}\n", "is over 1,000,000,000,000,000"),
    ],
    ids=[
        "lists of lists", "merges of merges", "brackets", "braces", "brackets that stay open",
        "dashes", "question marks", "list in itself", "mapping in itself", "merged into itself",
        "digits", "digits of a time", "a number that nothing counts to",
    ],
)  # fmt: skip
def test_a_few_lines_that_would_break_python_are_refused_at_once(
    file: Path, text: str, message: str
) -> None:
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(ConfigError) as error:
            load_text(file, text)
        seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    where = rf"^{re.escape(str(file))}: is not valid YAML: line \d+, column \d+: {message}$"
    assert re.search(where, str(error.value))
    assert seconds < 5  # of a computer that also traces memory; without, it is a tenth
    assert peak < 50_000_000


def test_what_aliases_may_repeat_is_more_than_any_configuration_holds() -> None:
    text = f"a: &a [{', '.join(['x'] * 999)}]\nb: [{', '.join(['*a'] * 100)}]"

    assert len(read_strictly(text)["b"]) == 100
    with pytest.raises(yaml.YAMLError):
        read_strictly(text.replace("b: [", "b: [*a, "))
