"""The kinds of source: what may be configured is what can be read."""

from __future__ import annotations

from importlib import import_module
from typing import get_args

import pytest

from recsys_assets.config import Surface
from recsys_assets.config.sources import SourceType
from recsys_assets.events import sources
from recsys_assets.events.sources import Source, open_source
from recsys_assets.events.sources.jsonl import JsonLines
from recsys_assets_tests.events.conftest import Folder


@pytest.mark.parametrize("name", get_args(SourceType))
def test_every_type_of_source_that_may_be_configured_has_its_file(
    folder: Folder, name: str
) -> None:
    found = import_module(f"{sources.__name__}.{name}").open_source(folder.surface())

    asked = {name for name in vars(Source) if not name.startswith("_")}
    assert asked, "a source is asked nothing: this test would pass by default"
    assert asked <= set(dir(found))


def test_a_source_is_opened_by_its_type(folder: Folder) -> None:
    surface: Surface = folder.surface()

    assert isinstance(open_source(surface), JsonLines)
