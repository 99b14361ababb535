"""What others wrote does not reach a terminal as more than text: no escape sequence is obeyed."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from click.testing import CliRunner

from recsys_assets.cli import main
from recsys_assets.cli.printing import progress
from recsys_assets_tests.project import DAY, Project, event

CLEAR = "\x1b[2J\x1b]0;title\x07"


def test_progress_spells_out_what_a_terminal_would_obey(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress(f"demo{CLEAR}"):
        logging.getLogger("recsys_assets").info("now %s", f"a{CLEAR}.jsonl")

    said = capsys.readouterr().err
    assert "now a\\x1b[2J\\x1b]0;title\\x07.jsonl" in said
    assert "demo\\x1b[2J\\x1b]0;title\\x07 done in" in said
    assert not {"\x1b", "\x07"} & {*said}


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize(
    ("landed", "said"),
    [
        ({"part": CLEAR, "suffix": ".gz"}, "cannot be read to its end"),
        ({"header": CLEAR}, "no column for item_id"),
        ({"header": "id,tags", "row": f"{CLEAR},x"}, ""),
    ],
    ids=["name of a raw file", "header of a catalog", "id of an item"],
)
def test_errors_and_tables_spell_it_out_too(
    project: Project, monkeypatch: pytest.MonkeyPatch, landed: dict[str, Any], said: str
) -> None:
    project.configure({"artifacts": {"popularity": {}, "content_sim": {}}})
    monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))
    path = project.land(DAY, [event(CLEAR, user_id=CLEAR)], part=landed.get("part", ""))
    path.rename(f"{path}{landed.get('suffix', '')}")
    if "header" in landed:
        rows = landed.get("row", "a,x")
        (project.folder / "catalog.csv").write_text(f"{landed['header']}\n{rows}\n{rows}\n")

    found = [
        CliRunner().invoke(main, arguments)
        for arguments in (
            ["materialize", "--from", str(DAY), "--to", str(DAY)],
            ["status"],
            ["show", "demo/home", "popularity"],
            ["show", "demo/home", "content_sim"],
            ["trace", "demo/home", CLEAR],
        )
    ]

    output = "".join(result.output + result.stderr for result in found)
    assert said in output
    assert not {"\x1b", "\x07"} & {*output}
