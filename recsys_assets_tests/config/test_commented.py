"""A file with the meaning of every key: it says what the models say, and is read as they read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from recsys_assets.config import Config, Guardrails, Source, Surface, commented, load_config

VALUES: Final[dict[str, Any]] = {
    "root": "var",
    "surfaces": [
        {
            "tenant": "shop",
            "surface": "home",
            "start_date": "2026-01-01",
            "source": {"path": "raw: # events"},
            "artifacts": {"popularity": {"top_n": 1000}},
            "guardrails": {"min_events": 1},
        }
    ],
}
TEXT: Final = commented(VALUES, Config)


def loaded(text: str, folder: Path) -> Config:
    file = folder / "surfaces.yaml"
    file.write_text(text)
    return load_config(file)


def test_it_is_read_as_the_values_are_with_defaults_where_they_say_nothing(tmp_path: Path) -> None:
    config = loaded(TEXT, tmp_path)

    (surface,) = config.surfaces
    assert (surface.name, surface.source.path) == ("shop/home", str(tmp_path / "raw: # events"))
    assert surface.artifacts.kinds == ("popularity",)
    assert surface.guardrails == Guardrails.model_validate({})


def test_what_stands_behind_a_mark_changes_nothing_when_the_mark_is_taken_away(
    tmp_path: Path,
) -> None:
    uncommented, count = re.subn(r"(?m)^( *)#(?! )", r"\1", TEXT)

    assert count > 50
    assert loaded(uncommented, tmp_path).model_dump() == loaded(TEXT, tmp_path).model_dump()


def test_every_key_is_there_once_below_its_meaning() -> None:
    for model in (Config, Surface, Source, Guardrails):
        for name, field in model.model_fields.items():
            assert field.description
            words = r"\s+(?:# )?".join(map(re.escape, field.description.split()))
            found = re.findall(rf"# {words}\n *(?:- )?#?{field.alias or name}:", TEXT)
            assert len(found) == 1, name


def test_no_line_is_longer_than_a_terminal_is_wide() -> None:
    assert max(map(len, TEXT.splitlines())) <= 80
