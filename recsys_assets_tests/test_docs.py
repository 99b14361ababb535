"""The documentation says what the code does: tables, examples, links and names are checked.

`python -m recsys_assets_tests.test_docs` writes the generated tables of docs/ anew.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import annotated_types
import click
import dagster as dg
import pytest
import yaml
from click.testing import CliRunner, Result
from obstore.exceptions import BaseError, UnknownConfigurationKeyError
from obstore.store import AzureStore, GCSStore, S3Store
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from recsys_assets import config, contracts, pictures
from recsys_assets.audit.checks import CHECKS
from recsys_assets.cli import main as main_command
from recsys_assets.config import Guardrails, load_config, strict_yaml
from recsys_assets.config.values import models_below
from recsys_assets.definitions import build_definitions
from recsys_assets.defs import failures, jobs, reports
from recsys_assets.defs import recoveries as recovery
from recsys_assets.defs.recoveries import Failed, recoveries
from recsys_assets.errors import ConfigError
from recsys_assets.events import catalog, chunks, forms, writers
from recsys_assets.events.sources import compression, files
from recsys_assets.kinds import KINDS
from recsys_assets.live import card
from recsys_assets.operations import publish, retention, webhook
from recsys_assets.storage import answers, flips, objects
from recsys_assets.storage.publications import Publication
from recsys_assets.windows import Window
from recsys_assets_tests import schemas, tables
from recsys_assets_tests.project import DAY, Project, day, event
from recsys_assets_tests.test_layers import LAYERS

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
DECISIONS: Final = DOCS / "decisions"
EXAMPLE: Final = DOCS / "examples/shop"
CODE_FOLDERS: Final = ("recsys_assets", "recsys_assets_tests", "benchmarks")
PAGES: Final = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
TYPE_NAMES: Final = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    date: "date",
}


def models() -> dict[str, type[BaseModel]]:
    """Return every model that surfaces.yaml is read with, by name, found from the outermost."""
    found: dict[str, type[BaseModel]] = {}
    waiting: list[type[BaseModel]] = [config.Config]
    while waiting:
        model = waiting.pop(0)
        found[model.__name__] = model
        for field in model.model_fields.values():
            waiting += [inner for inner in _models_in(field.annotation) if inner not in waiting]
    return found


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def model_table(model: type[BaseModel]) -> str:
    """Return the reference of a model's keys as a Markdown table."""
    rows = [
        f"| `{field.alias or name}` | {_type(field)} | {_default(field)} | "
        f"{_cell(field.description or '')} |"
        for name, field in model.model_fields.items()
    ]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def contract_table(contract: Any) -> str:
    """Return the columns of a contract as a Markdown table."""
    rows = [
        f"| `{name}` | {column.dtype} | {'yes' if column.nullable else 'no'} | "
        f"{_cell(column.description)} |"
        for name, column in contract.columns.items()
    ]
    return "\n".join(["| column | type | null | meaning |", "|---|---|---|---|", *rows])


def _type(field: FieldInfo) -> str:
    bounds: dict[str, Any] = {}
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Gt):
            bounds["above"] = rule.gt
        if isinstance(rule, annotated_types.Ge):
            bounds["least"] = rule.ge
        if isinstance(rule, annotated_types.Le):
            bounds["most"] = rule.le
        if isinstance(rule, annotated_types.MinLen):
            bounds["entries"] = rule.min_length
    if set(bounds) == {"least", "most"}:
        return f"{_type_name(field.annotation)}, {bounds['least']} to {bounds['most']}"
    words = {"above": "above {}", "least": "at least {}", "entries": "at least {} of them"}
    return ", ".join(
        [_type_name(field.annotation), *(words[name].format(of) for name, of in bounds.items())]
    )


def _type_name(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(inner[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in {Union, types.UnionType}:
        return " or ".join("null" if of is type(None) else _type_name(of) for of in inner)
    if origin is dict:
        return f"map of {_type_name(inner[0])} to {_type_name(inner[1])}"
    if origin is list:
        return f"list of {_type_name(inner[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{_anchor(annotation.__name__)})"
    return TYPE_NAMES[annotation]


def _anchor(model: str) -> str:
    """Return the anchor of the heading above a model's table."""
    before = page("configuration.md").split(f"<!-- begin: {model} -->")[0]
    return anchor(re.findall(r"^#+ (.*)$", before, re.MULTILINE)[-1])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "its defaults"
    value = field.default
    return f"`{json.dumps(value) if value is None or isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def generated() -> dict[tuple[str, str], str]:
    """Return every generated text by page and marker."""
    of_models = {("configuration.md", name): model_table(of) for name, of in models().items()}
    return {
        **of_models,
        ("output-layout.md", "canonical_event"): contract_table(contracts.canonical_event(DAY)),
        ("output-layout.md", "kinds"): tables.lists_table(),
        ("../README.md", "kinds"): tables.kinds_table(),
        ("asset-pages.md", "kinds"): tables.pages_table(),
        ("checks.md", "checks"): tables.checks_table(),
        ("gates.md", "numbers"): tables.numbers_table(),
        ("schemas.md", "schemas"): schemas.schemas_table(),
    }


def page(name: str) -> str:
    """Return a page of docs/."""
    return (DOCS / name).read_text(encoding="utf-8")


def between_markers(text: str, marker: str) -> re.Match[str]:
    """Find the generated text of a marker."""
    pattern = rf"(?s)(?<=<!-- begin: {marker} -->\n)(.*?)(?=<!-- end: {marker} -->)"
    found = re.search(pattern, text)
    assert found, f"no markers for {marker}"
    return found


def example(name: str, marker: str) -> str:
    """Return the fenced block below `<!-- marker -->`."""
    found = examples(name, marker)
    assert found, f"no example {marker} in {name}"
    return found[0]


def examples(name: str, marker: str) -> list[str]:
    """Return every fenced block below `<!-- marker -->`."""
    pattern = rf"^( *)<!-- {re.escape(marker)} -->\n\1```\w+\n(.*?)^\1```"
    found = re.findall(pattern, page(name), re.DOTALL | re.MULTILINE)
    return [re.sub(rf"(?m)^{indent}", "", text) for indent, text in found]


def anchor(heading: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def without_code(text: str) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"(?s)^ *```.*?^ *```", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize(("name", "marker"), sorted(generated()))
def test_generated_tables_are_what_the_code_says(name: str, marker: str) -> None:
    """When this fails: python -m recsys_assets_tests.test_docs."""
    assert between_markers(page(name), marker)[0].strip() == generated()[name, marker]


def test_every_key_of_the_configuration_has_a_meaning() -> None:
    for model in models().values():
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


def test_every_model_of_the_configuration_is_found() -> None:
    """Whatever module it is written in; only the bases of others have no keys of their own."""
    written = {model.__name__ for model in models_below() if model.model_fields}
    assert written == set(models())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_resolves(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), f"{path.name}: {target}"
        if fragment:
            text = without_code(linked.read_text(encoding="utf-8"))
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            assert fragment in map(anchor, headings), f"{path.name}: {target}"


def test_the_index_names_every_page() -> None:
    for path in DOCS.rglob("*.md"):
        name = path.relative_to(DOCS).as_posix()
        below_decisions = path.parent == DECISIONS and path.name != "README.md"
        assert name == "README.md" or below_decisions or f"({name})" in page("README.md"), name


def test_the_index_of_decisions_has_title_and_sentence_of_every_page() -> None:
    pages = [path for path in DECISIONS.glob("*.md") if path.name != "README.md"]
    found = {}
    for path in pages:
        title, decided = re.findall(
            r"\A# (.*)\n\n\*\*Decided:\*\* (.*)\.\n", path.read_text(encoding="utf-8")
        )[0]
        found[path.name] = title, decided[0].upper() + decided[1:]
    rows = re.findall(r"^\| \[(.*)\]\((\S+)\) \| (.*) \|$", page("decisions/README.md"), re.M)

    assert pages
    assert {name: (title, decided) for title, name, decided in rows} == found
    assert len(rows) == len(found)


def test_a_decision_that_is_named_in_the_code_has_its_page() -> None:
    files = [
        *(path for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*.py")),
        *(
            ROOT / name
            for name in ("pyproject.toml", "constraints.txt", "Makefile", "dagster.yaml")
        ),
    ]
    named = {
        name
        for path in files
        for name in re.findall(r"docs/decisions/[\w-]+\.md", path.read_text(encoding="utf-8"))
    }

    assert named
    assert all((ROOT / name).exists() for name in named), named


def terms() -> list[str]:
    """Return every term of the glossary, as often as it is defined."""
    return re.findall(r"^\| \*\*(.+?)\*\* \| \S", page("concepts.md"), re.MULTILINE)


def test_a_term_of_the_glossary_is_defined_once() -> None:
    rows = [line for line in page("concepts.md").splitlines() if line.startswith("| ")]
    heads = [line for line in rows if line == "| term | meaning |"]

    assert len(terms()) == len(rows) - len(heads) > 0
    assert len({term.casefold() for term in terms()}) == len(terms())


def test_a_meaning_in_the_glossary_takes_two_sentences_or_three() -> None:
    for meaning in re.findall(r"^\| \*\*.+?\*\* \| (.*) \|$", page("concepts.md"), re.MULTILINE):
        assert len(re.findall(r"[.:] |\.$", meaning)) <= 3, meaning


@pytest.mark.parametrize(
    ("path", "link"), [("README.md", "docs/concepts.md"), ("docs/README.md", "concepts.md")]
)
def test_the_glossary_is_linked_where_people_begin(path: str, link: str) -> None:
    assert f"[glossary]({link})" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.long
def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """All but paths and time: `...` stands for any lines. What is stored keeps its schemas."""
    from recsys_assets_tests.test_schemas import check_root  # which needs this module

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.split("\n1/3  ")[1].split("\n$ make test")[0].splitlines()
    folder = tmp_path / "project"
    (folder / "recsys_assets").mkdir(parents=True)
    config_file = shutil.copy(ROOT / "recsys_assets/surfaces.yaml", folder / "recsys_assets")
    (tmp_path / "home").mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")},
        "RECSYS_CONFIG": str(config_file),
        "DAGSTER_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "160",
    }

    done = subprocess.run(
        [sys.executable, "-m", "recsys_assets.demo"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )

    def without_what_varies(line: str) -> list[str]:
        line = re.sub(r"done in [\d.]+ s", "done in <seconds>", line)
        return cells(
            re.sub(rf"{re.escape(str(folder))}(/recsys_assets/\.\.)?", "...", line).strip()
        )

    lines = iter(map(without_what_varies, done.stdout.splitlines()))
    for wanted in ("1/3  " + shown[0], *shown[1:]):
        if wanted.strip() not in {"", "..."}:
            assert without_what_varies(wanted) in lines, f"{wanted}\n{done.stdout}"
    check_root(folder / "var", of_each=1)
    day_to_day = readme.split("\n## Day to day\n")[1].split("\n## ")[0]
    commands = re.findall(r"^\$ \.venv/bin/recsys-assets (.*)$", day_to_day, re.MULTILINE)
    assert len(commands) > 6
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", "recsys_assets.cli", *shlex.split(command)],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )


def test_every_guardrail_is_on_the_page_of_checks() -> None:
    text = page("checks.md")
    for knob in Guardrails.model_fields:
        assert f"`guardrails.{knob}`" in text, knob
        if knob != "max_items_per_session":  # is part of max_oversized_session_share
            assert f"\n## {knob}\n" in page("runbooks/limit-exceeded.md"), knob


def test_the_page_of_checks_has_exactly_the_checks_of_the_assets(project: Project) -> None:
    graph = build_definitions(project.configure({"window_days": 2})).resolve_asset_graph()
    names = {key.name for key in graph.asset_check_keys}

    assert set(re.findall(r"^\| \[`(\w+)`\]", page("checks.md"), re.MULTILINE)) == names


def test_the_page_of_the_asset_pages_has_exactly_the_artifacts_and_what_is_shown_of_them(
    project: Project,
) -> None:
    config = project.configure()
    project.land(DAY, [event("a"), event("b")])
    report = project.materialize(config, [DAY])
    assert report.succeeded
    text = page("asset-pages.md")

    pictures_and_previews = text.split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", pictures_and_previews, re.MULTILINE)
    assert set(report.metadata[DAY]) == set(rows)
    for asset, metadata in report.metadata[DAY].items():
        for name in metadata:
            assert f"`{name}`" in text, f"{asset}: {name}"


def test_every_check_has_its_place_in_a_runbook(project: Project) -> None:
    graph = build_definitions(project.configure({"window_days": 2})).resolve_asset_graph()
    for name in {key.name for key in graph.asset_check_keys}:
        (where,) = {check.help() for check in CHECKS if check.name == name}
        file, _, place = where.partition("#")
        assert f"\n## {place}\n" in (ROOT / file).read_text(encoding="utf-8"), name


def test_every_reason_for_a_refusal_is_documented() -> None:
    files = (ROOT / "recsys_assets/events").rglob("*.py")
    source = "\n".join(file.read_text(encoding="utf-8") for file in files)
    raised = set(re.findall(r'RefusedError\(\s*"(\w+)"', source))
    recorded = set(re.findall(r'RefusedLine\(\s*[\w. +]+,\s*"(\w+)"', source))
    assert {"invalid_json", "line_too_long", "invalid_utf8"} <= raised | recorded

    documented = re.findall(r"^\| `(\w+)` \|", section("output-layout.md", "Refused lines"), re.M)

    assert set(documented) == raised | recorded


def section(name: str, heading: str) -> str:
    """Return the text below a heading of the second level."""
    return page(name).split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_example_project_gives_the_documented_versions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run of the documented files: the tables, the lists and the snippets all agree with it."""
    monkeypatch.delenv("RECSYS_ROOT", raising=False)
    raw = project.folder / "raw/shop/home/exposure.2026-01-01.jsonl"
    raw.parent.mkdir(parents=True)
    raw.write_text(example("run-locally.md", "example: raw lines"), encoding="utf-8")
    for file in ("surfaces.yaml", "catalog.csv"):
        text = example("run-locally.md", f"example: {file}")
        (project.folder / file).write_text(text, encoding="utf-8")
    loaded = load_config(project.config_file)
    (surface,) = loaded.surfaces
    assert loaded.root == str(project.folder / "var")

    report = project.materialize(loaded, [DAY])

    assert report.succeeded
    for kind in surface.artifacts.kinds:
        version = report.metadata[DAY][kind]["version"]
        blob = project.folder / f"var/objectstore/shop/home/{kind}/{version}.json"
        assert re.search(rf"{kind} +│ {version[:12]} ", page("run-locally.md")), kind
        assert run_snippets(project.folder, blob) == {
            "python": f"{version} ok\n",
            "sh": f"{version}  -\n",
        }


def run_snippets(folder: Path, blob: Path) -> Mapping[str, str]:
    """Run every documented way to recompute a version, and return what it printed, by language."""
    interpreters = {"python": [sys.executable], "sh": ["sh"]}
    printed = {}
    marked = re.findall(
        r"<!-- runnable: version -->\n```(\w+)\n(.*?)```", page("output-layout.md"), re.DOTALL
    )
    for language, code in marked:
        script = folder / f"version.{language}"
        script.write_text(code, encoding="utf-8")
        command = [*interpreters[language], str(script), str(blob)]
        printed[language] = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    return printed


def test_the_documented_documents_hash_to_their_version(tmp_path: Path) -> None:
    documents = re.findall(r'^\{"v":1,"artifact_type".*$', page("output-layout.md"), re.MULTILINE)
    assert documents, "no document is shown: this test would pass by default"
    for document in documents:
        version = re.findall(r'"version":"(\w+)"', document)[0]
        blob = tmp_path / f"{version}.json"
        blob.write_text(document, encoding="utf-8")

        assert run_snippets(tmp_path, blob)["python"] == f"{version} ok\n"


def _options(command: click.Command) -> set[str]:
    """Return the options of a command, and of those that stand below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = {option for parameter in command.params for option in parameter.opts}
    return own.union(*map(_options, below))


COMMANDS: Final = {name: _options(command) for name, command in main_command.commands.items()}
CODE: Final = re.compile(r"`([^`\n]+)`")


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words after `recsys-assets`, wherever a page shows it as code."""
    shown = [line.strip()[2:] for line in text.split("\n") if line.strip().startswith("$ ")]
    shown += CODE.findall(without_code(text))
    for line in shown:
        if re.match(r"\S*recsys-assets( |$)", line):
            yield shlex.split(line)[1:]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_option_that_is_named_exists(path: Path) -> None:
    ours = {option for parameter in main_command.params for option in parameter.opts}
    for words in command_lines(path.read_text(encoding="utf-8")):
        before = [word for word in words if word.startswith("--")]
        named = [word for word in words if word in COMMANDS]
        assert named or set(before) <= ours, f"{path.name}: {words}"
        for option in before:
            assert option in COMMANDS[named[0]] | ours if named else ours, f"{path.name}: {words}"


def shell_commands(path: Path) -> Iterator[list[str]]:
    """Yield the words of each command that a page shows, in a console or as code in its text."""
    text = path.read_text(encoding="utf-8")
    shown = re.findall(r"^ *\$ (.*)$", text, re.MULTILINE)
    for line in [*shown, *CODE.findall(without_code(text))]:
        for command in line.split(" && "):
            words = command.split(" #")[0]
            # Most code in a text is no command: it need not be in order for a shell.
            if re.match(r"(\w+=\S+ )*(\S*/)?(bash|make|pip|pytest|python|ruff|mypy) ", words):
                found = shlex.split(words)
                yield [word for word in found[found.index(_program(found)) :] if word != "..."]


def _program(words: Sequence[str]) -> str:
    return next(word for word in words if "=" not in word)


def test_every_target_of_make_that_a_page_names_can_be_made() -> None:
    """Not made here: `make -n` says what it would do."""
    named = {
        tuple(word for word in words[1:] if not word.startswith("PYTHON="))
        for path in PAGES
        for words in shell_commands(path)
        if words[0] == "make"
    }
    targets = {word for words in named for word in words if "=" not in word}
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True)

    assert targets >= {"demo", "dev", "test", "lint", "docs"}
    assert targets - {"help"} <= set(re.findall(r"^  make ([\w-]+)", shown.stdout, re.MULTILINE))
    for words in named:
        subprocess.run(["make", "-n", *words], cwd=ROOT, check=True, capture_output=True)


def test_every_module_and_script_that_a_page_runs_is_there_and_takes_what_it_is_given() -> None:
    runs = [
        words[1:] for path in PAGES for words in shell_commands(path) if words[0].endswith("python")
    ]

    assert runs
    for first, *words in runs:
        if first == "-m":
            assert importlib.util.find_spec(words[0]), words
        elif first != "-c":
            script = ROOT / first
            # Where the options stand: its own, and those of the day that several scripts share.
            source = script.read_text(encoding="utf-8") + (ROOT / "benchmarks/inputs.py").read_text(
                encoding="utf-8"
            )
            for word in words:
                if word.startswith("-"):
                    assert f'"{word}"' in source, f"{first} {word}"
                else:
                    known = word.isdigit() or (ROOT / word).exists()
                    assert known or re.search(rf"\b{word}\b", source), f"{first} {word}"


def test_what_contributors_are_told_to_run_is_what_ci_runs() -> None:
    commands = list(shell_commands(ROOT / "CONTRIBUTING.md"))
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    ci = re.findall(r"^make (\w+)(?: &)?$", script, re.MULTILINE)  # beside the next one

    assert commands[0] == ["make", *ci]
    # Nothing beside what the other tests look at, and no tool by a way of its own.
    assert {words[0] for words in commands} <= {
        "make", "bash", "python", ".venv/bin/python", "pip",
    }  # fmt: skip
    assert ["bash", ".ci/run"] in commands
    assert (ROOT / ".pre-commit-config.yaml").exists()
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"][
        "strict"
    ]


def test_the_packages_are_drawn_in_the_order_in_which_they_may_import() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (drawn,) = re.findall(r"```text\n(.*?─►.*?)```", text, re.DOTALL)
    left_out = {"__main__", "event_log"}
    in_order = [room for rooms in LAYERS for room in rooms if room not in left_out]
    assert re.findall(r"\w+", drawn) == in_order


def test_every_package_and_every_group_of_tests_is_in_the_table_of_its_page() -> None:
    packages = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Where things")[0]
    tests = section("testing.md", "Groups of tests")
    for text, folder, kind in (
        (packages, ROOT / "recsys_assets", "*.py"),
        (tests, ROOT / "recsys_assets_tests", "test_*.py"),
    ):
        modules = {path.name for path in folder.glob(kind)} - {"__init__.py"}
        rooms = {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
        named = set(CODE.findall("".join(re.findall(r"^\| (.*?) \|", text, re.MULTILINE))))
        assert modules | rooms <= named, folder.name


_BELOW: Final = (".", "recsys_assets", "recsys_assets_tests", "docs")
_FILE_OF_OURS: Final = (
    r"(recsys_assets(_tests)?|benchmarks|docs(_site)?|monitoring|deploy)/[\w./-]*(\.\w+|/)"
)


def test_every_file_of_the_project_that_a_page_names_is_there() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in PAGES}
    by = re.compile(r"<!-- file: (\S+) -->|^\$ cp \S+ (\S+)$", re.MULTILINE)
    made = {name for text in texts.values() for names in by.findall(text) for name in names}
    for path, text in texts.items():
        named = set(re.findall(r"[\w./-]+", " ".join(CODE.findall(without_code(text))))) - made
        for name in named:
            if re.fullmatch(r"[\w./-]+\.py", name) or re.fullmatch(_FILE_OF_OURS, name):
                assert any((ROOT / below / name).exists() for below in _BELOW), f"{path}: {name}"


@pytest.mark.parametrize("name", ["roll-back.md", "retention.md"])
def test_every_option_that_is_named_alone_exists(name: str) -> None:
    known = {option for options in COMMANDS.values() for option in options}
    named = re.findall(r"`(--[\w-]+)`", page(name))
    assert named, "no option is named: this test would pass by default"
    assert set(named) <= known


def test_every_command_is_documented() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert {words[0] for words in command_lines(text) if words} >= set(COMMANDS)


LAUNCHPAD: Final = {
    "rollback": "roll-back.md",
    "pin": "roll-back.md",
    "release": "roll-back.md",
    "override_gates": "gates.md",
    "verify": "roll-back.md",
    "retention": "retention.md",
    "erase": "erase-a-person.md",
    "check_freshness": "freshness.md",
}


def test_every_job_has_an_example_for_the_launchpad(project: Project) -> None:
    jobs = {job.name for job in build_definitions(project.configure()).jobs or ()}
    assert jobs == set(LAUNCHPAD)


@pytest.mark.parametrize("job", LAUNCHPAD)
def test_an_example_for_the_launchpad_is_valid(project: Project, job: str) -> None:
    shop = project.configure({"tenant": "shop"})
    definition = build_definitions(shop).resolve_job_def(job)
    for text in examples(LAUNCHPAD[job], f"launchpad: {job}") or [""]:
        assert dg.validate_run_config(definition, yaml.safe_load(text))


SCHEDULES: Final = {
    "retention_nightly": ("30 3 * * *", "retention.md", "03:30 UTC"),
    "demo__home_daily": ("0 6 * * *", "operate-daily.md", "06:00 UTC"),
    "freshness_hourly": ("5 * * * *", "freshness.md", "minute 5 of every hour, UTC"),
}


def test_every_schedule_is_as_documented(project: Project) -> None:
    schedules = build_definitions(project.configure()).get_repository_def().schedule_defs
    assert {schedule.name for schedule in schedules} == set(SCHEDULES)
    for schedule in schedules:
        cron, name, said = SCHEDULES[schedule.name]
        assert (schedule.cron_schedule, schedule.execution_timezone) == (cron, "UTC")
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
        told = schedule.name.replace("demo__home", "<group>")
        assert f"`{told}` ({said}" in page(name)


KEYS: Final = re.findall(
    r"`([A-Z]+_[A-Z_]+)`",
    "".join(re.findall(r"^\| (?:S3|GCS|Azure) \| `.*$", page("object-stores.md"), re.MULTILINE)),
)


def test_every_variable_that_an_error_advises_is_documented() -> None:
    advised = re.findall(r"[A-Z]+_[A-Z_]+", " ".join(answers.CREDENTIALS.values()))
    assert set(advised) <= set(KEYS)


@pytest.mark.parametrize("variable", KEYS)
def test_a_documented_variable_is_one_that_obstore_takes(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses a key that it does not know, and others only for their value."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    kind: Callable[..., object] = {"AWS": S3Store, "AZURE": AzureStore, "GOOGLE": GCSStore}[
        variable.partition("_")[0]
    ]
    with pytest.raises(UnknownConfigurationKeyError):
        kind("bucket", config={f"{variable}_UNKNOWN": "x"})
    try:
        kind("bucket", config={variable: "x"})
    except UnknownConfigurationKeyError:
        raise
    except BaseError:
        return


MIB: Final = 2**20
RETRY: Final = objects._RETRY
BACKOFF: Final = RETRY["backoff"]
LIMITS: Final = [
    ("object-stores.md", f"up to {RETRY['max_retries']} times within 60 s"),
    ("object-stores.md", f"blocks of {objects._BLOCK_BYTES // MIB} MiB"),
    ("publishing.md", f"multipart upload, {objects._PARTS_AT_ONCE} parts at a time"),
    ("publishing.md", f"over {objects._ONE_PUT_BYTES // MIB} MiB"),
    ("publishing.md", f"`{objects._PROBE}`"),
    ("output-layout.md", f"`{objects._PROBE}`"),
    ("publishing.md", f"up to {flips._ATTEMPTS} times"),
    ("publishing.md", f"at most {flips._LONGEST_PAUSE_S} s"),
    ("retention.md", f"up to {retention._ATTEMPTS} times"),
    ("raw-events.md", f"expand to {compression.MOST_TIMES} times its size"),
    ("raw-events.md", f"or to {chunks.CHUNK_BYTES // MIB} MiB where that is more"),
    ("raw-events.md", f"{chunks.MAX_LINE_BYTES // MIB} MiB a line"),
    ("raw-events.md", f"by the first {forms._HEAD_BYTES // 1024} KiB"),
    ("raw-events.md", f"{writers.MOST_KEPT_LINES:,} refused lines a day"),
    ("raw-events.md", f"or {writers.MOST_KEPT_BYTES // MIB} MiB of them"),
    ("output-layout.md", f"first {writers.MOST_KEPT_LINES:,} lines of a day"),
    ("output-layout.md", f"first {writers.MOST_KEPT_BYTES // MIB} MiB of them"),
    ("decisions/refused-lines-are-counted.md", f"at most {chunks.MAX_CHUNK_LINES:,} lines"),
    ("asset-pages.md", f"over {publish._MAX_COMPARED_BYTES // 10**6} MB"),
    ("asset-pages.md", f"the newest {card.MOST_FLIPS} flips of a surface"),
    ("configuration.md", f"to {catalog._MOST_BYTES // 2**30} GiB at most"),
    ("configuration.md", f"nested {strict_yaml._MOST_LEVELS} deep"),
    ("configuration.md", f"repeat {strict_yaml._MOST_REPEATED:,} values"),
    ("operate-daily.md", f"over {files._MOST_BYTES // 2**30} GiB is told by size and times"),
    ("retention.md", f"the first {jobs._SHOWN} URIs"),
    ("decisions/pictures-as-svg.md", f"{pictures.MAX_CHARACTERS + 1:,} characters or more"),
]


@pytest.mark.parametrize(("name", "text"), LIMITS)
def test_a_limit_is_the_one_in_the_code(name: str, text: str) -> None:
    assert text in " ".join(page(name).split())


def test_mistakes_are_told_as_the_page_shows(tmp_path: Path) -> None:
    """What it shows of two files: one with wrong values, one of whose surfaces each is wrong."""
    shown = section("configuration.md", "What mistakes look like")
    good: dict[str, Any] = {
        "tenant": "shop",
        "surface": "home",
        "start_date": "2026-01-01",
        "source": {"path": "raw"},
        "artifacts": {"popularity": {}},
    }
    values = {
        "window_days": "7",
        "artifacts": {"popularity": {"topn": 3}, "coocs": {}},
        "guardrails": {"max_rejected_share": 2},
    }
    outside = {**good, "tenant": "..", "source": {"path": "raw", "pattern": "x"}}
    del outside["start_date"]
    wrong: list[dict[str, Any]] = [
        {"artifacts": {"content_sim": {}}},
        {"artifacts": {}},
        {"source": {"path": "s3://bucket/prefix?key=secret"}},
    ]
    files: list[tuple[str, list[dict[str, Any]]]] = [
        ("var", [good | values]),
        ("ftp://host", [good, good, outside, *(good | each for each in wrong)]),
    ]
    file = tmp_path / "surfaces.yaml"
    told: list[str] = []
    for root, surfaces in files:
        file.write_text(json.dumps({"root": root, "surfaces": surfaces}), encoding="utf-8")
        with pytest.raises(ConfigError) as raised:
            load_config(file).refuse_mistakes()
        told += str(raised.value).splitlines()[1:]

    assert sorted(told) == sorted(
        re.findall(r"^  (?:root|surface \S*/home)\b.*$", shown, re.MULTILINE)
    )


def test_limits_that_are_written_as_words_are_those_in_the_code() -> None:
    assert RETRY["retry_timeout"].total_seconds() == 60
    assert BACKOFF["init_backoff"].total_seconds() == 0.1
    assert BACKOFF["max_backoff"].total_seconds() == 4
    said = "random pauses that grow from 0.1 s to 4 s"
    assert said in " ".join(page("object-stores.md").split())
    assert flips._UNKNOWN_OUTCOMES == 3
    assert "after three unknown outcomes" in " ".join(page("publishing.md").split())
    assert retention.LONGEST.total_seconds() == 3600
    assert retention.ABANDONED_AFTER.total_seconds() == 2 * 3600


@pytest.mark.parametrize(
    "said",
    [
        "access was denied (",
        "the temporary credentials are no longer valid",
        "the clock of this machine differs too much from the store's",
        "the bucket is in another region",
        "the store does not know this request (",
        "no credentials are set, and this machine has no role",
        "the store answered ",
        "no answer came in time",
        " without an answer",
        " is no URL",
        " does not exist: create it, or correct ",
        "ignores conditional writes",
        "was replaced while it was read",
        "another root wrote it",
    ],
)
def test_a_documented_error_of_an_object_store_is_one_it_says(said: str) -> None:
    files = (ROOT / "recsys_assets/storage" / name for name in ("objects.py", "answers.py"))
    assert any(said in file.read_text(encoding="utf-8") for file in files)
    assert said in section("object-stores.md", "Errors")


def test_the_configuration_of_an_object_store_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECSYS_ROOT", raising=False)
    (text,) = re.findall(r"```yaml\n(root:.*?)```", page("object-stores.md"), re.DOTALL)
    (kept,) = re.findall(r"```yaml\n(retention:.*?)```", page("retention.md"), re.DOTALL)
    file = tmp_path / "surfaces.yaml"
    file.write_text(text + kept, encoding="utf-8")

    loaded = load_config(file)

    assert config.is_object_url(loaded.root)
    assert loaded.retention == config.Retention.model_validate({})


def test_the_policy_grants_what_the_store_asks_for() -> None:
    policy = json.loads(example("object-stores.md", "example: policy"))
    granted: set[str] = set()
    for statement in policy["Statement"]:
        actions = statement["Action"]
        granted |= {actions} if isinstance(actions, str) else set(actions)
    assert granted == {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}


def test_the_publication_record_is_as_documented() -> None:
    record = Publication("publish", Window.ending_with(DAY, days=1), {}).to_json()
    shown = json.loads(example("output-layout.md", "example: publication record"))
    assert list(shown) == list(record)
    text = section("output-layout.md", "Publication record")
    for member in set(record) - {"v", "tenant", "surface", "published_at"}:
        assert re.search(rf"^\| [^|]*`{member}`", text, re.MULTILINE), member


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    of_extras = [
        extras[name]
        for name in ("dev", "docs", "postgres", "postgres-source", "postgres-sink", "redis-sink")
    ]
    wanted = [*project["dependencies"], *chain.from_iterable(of_extras)]
    for requirement in wanted:
        name = re.split(r"[<>=\[]", requirement)[0]
        assert re.search(rf"^\| [^|]*\b{name}\b", page("decisions/dependencies.md"), re.M), name


def leaves(settings: Mapping[str, Any], below: str = "") -> Iterator[tuple[str, str]]:
    """Yield the section of each setting of dagster.yaml, and its last key."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from leaves(value, below or key)
        else:
            yield below or key, key


def test_every_setting_of_the_instance_is_documented() -> None:
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    text = section("operate-instance.md", "The settings")
    for part, key in leaves(settings):
        assert f"`{part}" in text, part
        assert key in {"module", "class"} or re.search(rf"`[\w.]*\b{key}`", text), key


def test_the_report_of_a_failed_run_is_as_documented(project: Project) -> None:
    loaded = project.configure({"guardrails": {"max_rejected_bytes_share": 1.0}})
    project.land(DAY, [event("a"), "{"])
    run_id = project.materialize(loaded, [DAY]).run_ids[0]
    run = project.instance.get_run_by_id(run_id)
    assert run

    report = reports.report_of(run, reports.failures_of(project.instance, run, loaded), loaded)

    written = json.dumps(report).replace(run_id, "0f3e4d7c-5a53-4b7e-93b5-8a1f1f3f7d10")
    written = written.replace("demo/home", "shop/home").replace(str(DAY), str(day(1)))
    assert json.loads(example("operate-instance.md", "example: report")) == json.loads(written)


def test_the_notice_of_what_has_recovered_is_as_documented(project: Project) -> None:
    loaded = project.configure()
    failed = [Failed("demo/home", "demo/home/canonical_events", [str(DAY)], at=0.0)]
    project.land(DAY, [event("a")])
    run_id = project.materialize(loaded, [DAY]).run_ids[0]

    (recovered,) = recoveries(project.instance, failed)

    written = json.dumps(recovered.report(loaded.alerts.ui_url))
    written = written.replace(run_id, "0f3e4d7c-5a53-4b7e-93b5-8a1f1f3f7d10")
    written = written.replace("demo/home", "shop/home").replace(str(DAY), str(day(1)))
    assert json.loads(example("operate-instance.md", "example: recovered")) == json.loads(written)
    text = section("operate-instance.md", "Failed runs reach people")
    assert f"within {recovery.FOLLOWED.days} days" in text
    assert f"over {recovery._MOST_FOLLOWED:,} days" in text


def test_the_bounds_of_a_report_are_as_documented(project: Project) -> None:
    text = " ".join(section("operate-instance.md", "Failed runs reach people").split())
    assert f"At most {reports._MAX_FAILURES} failures, {webhook.MAX_DAYS} days and " in text
    assert f"and {reports._MAX_ROWS} rows are told" in text
    assert f"cut at {reports._MAX_TEXT} characters" in text
    assert f"more than {reports.OLDEST.total_seconds() / 3600:.0f} hours ago" in text
    (sensor,) = failures.build_failure_reports(project.configure()).sensors or ()
    assert isinstance(sensor, dg.SensorDefinition)
    assert f"`{sensor.name}`" in text
    assert f"the next tick, {sensor.minimum_interval_seconds} s later" in text
    for status in webhook._REFUSED:
        assert str(status) in text


@dataclass(frozen=True)
class Step:
    """A command of a page, its exit code, and the lines that it is said to print."""

    command: str
    exit_code: int
    shown: Sequence[str]


def steps(name: str, marker: str) -> list[Step]:
    """Return the commands of every marked block of a page, in order."""
    found: list[Step] = []
    for line in "".join(examples(name, marker)).splitlines():
        if line.startswith("$ "):
            command, _, code = line[2:].partition("  # exits with ")
            found.append(Step(command, int(code or 0), []))
        else:
            found[-1] = replace(found[-1], shown=[*found[-1].shown, line])
    assert found, f"no commands in {name}: this test would pass by default"
    return found


# What differs from run to run.
_VARIES: Final = [
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r"(?<=\d{10}-)[0-9a-f]{4,32}…?"), "<id>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{64}|[0-9a-f]{4,}…"), "<id>"),
    (re.compile(r"\S+@\S+"), "<who>"),
    (re.compile(r"(?<=\(generation \d, )\d{4}-\d\d-\d\d"), "<today>"),
    (re.compile(r"\d+ d$"), "<days>"),
    (re.compile(r"\d+ min ago"), "<age>"),
    (re.compile(r"found \d+: (\S+) is live, \S+ could be$"), r"found <days>: \1 is live"),
]


def cells(line: str) -> list[str]:
    """Return the cells of a line of a table, or the line, without what varies."""
    if line[:1] in {"┏", "┡", "└"}:
        return ["border"]
    found = [cell.strip() for cell in re.split("[│┃]", line)]
    for pattern, name in _VARIES:
        found = [pattern.sub(name, cell) for cell in found]
    return found


def assert_printed(step: Step, printed: str) -> None:
    """Hold what a command printed to what a page shows; `...` stands for any lines."""
    lines = [cells(line) for line in printed.splitlines()]
    may_skip = False
    for line in step.shown:
        if line == "...":
            may_skip = True
            continue
        wanted = cells(line)
        if may_skip:
            assert wanted in lines, f"{step.command}: {line}\n{printed}"
            del lines[: lines.index(wanted)]
        assert lines, f"{step.command} printed no more: {line}"
        assert lines.pop(0) == wanted, f"{step.command}: {line}\n{printed}"
        may_skip = False
    assert not step.shown or may_skip or not lines, f"{step.command} printed more: {lines}"


@dataclass(frozen=True)
class Shop:
    """The project of the pages: `shop/home`, with its folder instead of /tmp/shop."""

    folder: Path

    def land(self, of: date, items: Sequence[str], *, below: str = "raw/shop/home") -> None:
        """Write a raw file: one session of one user."""
        path = self.folder / below / f"exposure.{of}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        events = (
            event(item, of=of, tenant="shop", ts=f"{of}T09:00:0{second}Z")
            for second, item in enumerate(items)
        )
        path.write_text("".join(json.dumps(each) + "\n" for each in events), encoding="utf-8")

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """Make it the project of the command line."""
        patch.setenv("RECSYS_CONFIG", str(self.folder / "surfaces.yaml"))
        patch.setenv("DAGSTER_HOME", str(self.folder))
        # What Dagster records is in memory: on a disk it takes most of the time.
        patch.setattr(dg.DagsterInstance, "get", dg.DagsterInstance.ephemeral)
        patch.delenv("RECSYS_ROOT", raising=False)
        patch.setenv("RECSYS_ERASE_KEY", "a secret that nobody knows")

    def run(self, *arguments: str) -> Result:
        """Run `recsys-assets`."""
        return CliRunner().invoke(main_command, arguments, input="ann\n")  # where it is asked

    def do(self, *arguments: str) -> None:
        """Run `recsys-assets` before the page begins."""
        assert self.run(*arguments).exit_code == 0, arguments

    def popularity(self, of: date) -> Path:
        """Return the popularity blob of a day."""
        blobs = (self.folder / "var/objectstore/shop/home/popularity").iterdir()
        (found,) = (path for path in blobs if f'"start":"{of}' in path.read_text())
        return found

    def follow(self, step: Step) -> None:
        """Run a command of a page and hold it to what the page shows."""
        name, *arguments = shlex.split(step.command.replace("/tmp/shop", str(self.folder)))  # noqa: S108
        if name in {"export", "."}:  # `enter` has
            return
        if name != "recsys-assets":
            done = subprocess.run(
                [name, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
            )
            assert_printed(step, done.stdout)
            return
        result = self.run(*arguments)
        assert result.exit_code == step.exit_code, f"{step.command}: {result.output}"
        printed = result.stdout + (result.stderr if step.exit_code else "")
        assert_printed(step, printed.replace(str(self.folder), "/tmp/shop"))  # noqa: S108


@pytest.fixture(scope="module")
def example_project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Publish three days of the example project of the pages; return its folder and a copy."""
    shop = Shop(tmp_path_factory.mktemp("example") / "shop")
    with pytest.MonkeyPatch.context() as patch:
        shop.enter(patch)
        for step in steps("run-locally.md", "run: shop"):
            shop.follow(step)
    return shop.folder, shutil.copytree(shop.folder, shop.folder.with_name("as it was"))


@pytest.fixture
def shop(example_project: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Give the example project as it was; where it was, since its URIs are absolute."""
    folder, as_it_was = example_project
    shutil.rmtree(folder)
    shutil.copytree(as_it_was, folder)
    shop = Shop(folder)
    shop.enter(monkeypatch)
    return shop


@pytest.mark.parametrize(
    "name",
    [
        "roll-back.md",
        "promote.md",
        "retention.md",
        "erase-a-person.md",
        "freshness.md",
        "operate-daily.md",
        "backfill.md",
        *sorted(f"runbooks/{path.name}" for path in (DOCS / "runbooks").glob("*.md")),
    ],
)
def test_a_page_can_be_followed(shop: Shop, name: str) -> None:
    """From the shop that the page names first, with nothing but the commands of the page."""
    before = page(name).partition(f"<!-- run: {Path(name).stem} -->")[0]
    assert "run-locally.md#the-shop-with-three-days" in before
    for step in steps(name, f"run: {Path(name).stem}"):
        shop.follow(step)
    if name == "freshness.md":
        assert "recsys_surface_stale{" in (shop.folder / "recsys.prom").read_text()


def test_the_files_of_the_example_are_those_of_the_page() -> None:
    for file in ("surfaces.yaml", "catalog.csv"):
        shown = example("run-locally.md", f"example: {file}")
        assert (EXAMPLE / file).read_text(encoding="utf-8") == shown


def test_the_instance_can_be_made_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (step,) = steps("operate-instance.md", "run: operate-instance")

    assert step.command.startswith("python ")
    command = [sys.executable, *step.command.split()[1:]]
    done = subprocess.run(command, check=True, capture_output=True, text=True)

    assert done.stdout == ""
    assert (tmp_path / "history").is_dir()


def test_the_limits_of_the_page_on_freshness_can_be_set() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", page("freshness.md"), re.DOTALL)
    limits = config.Freshness.model_validate(yaml.safe_load(text)["freshness"])
    assert (limits.max_days_behind, limits.max_hours_since_flip) == (1, 36)


def test_what_cannot_be_rolled_back_to_is_said_with_exit_code_1(shop: Shop) -> None:
    manifest = shop.folder / "var/registry/current/shop/home/manifest.json"
    before = manifest.read_bytes()
    shop.popularity(day(0)).write_bytes(b"{}")
    shop.popularity(day(1)).unlink()
    table = section("roll-back.md", "What cannot be rolled back to")

    for arguments, said in (
        (["--to", "9", "--reason", "x"], "has no generation 9; there are 1 to "),
        (["--to", "2025-12-31", "--reason", "x"], "2025-12-31 was never live for shop/home; "),
        (["--to", "2", "--reason", "x"], "is missing"),
        (["--to", "1", "--reason", "x"], "should hash to "),
        (["--to", "3", "--reason", " "], "a reason is required"),
    ):
        result = shop.run("rollback", "shop/home", *arguments)

        assert result.exit_code == 1, arguments
        assert said in result.stderr
        assert said in table
        assert manifest.read_bytes() == before


def test_a_missing_day_can_be_rolled_back_to_once_it_is_materialized_again(shop: Shop) -> None:
    shop.do("pin", "shop/home", "--reason", "a rollback is being prepared")
    shop.popularity(day(0)).unlink()
    rollback = ["rollback", "shop/home", "--to", "1", "--reason", "INC-9"]
    assert shop.run(*rollback).exit_code == 1

    shop.do("materialize", "--from", str(day(0)), "--to", str(day(0)))

    assert shop.run(*rollback).exit_code == 0


def main() -> None:
    """Write every generated text into its page; a new kind gets its heading first."""
    for name, kind in KINDS.items():
        text, marker = page("configuration.md"), kind.options.__name__
        if f"<!-- begin: {marker} -->" not in text:
            heading = (
                f"### `artifacts.{name}`\n\n<!-- begin: {marker} -->\n<!-- end: {marker} -->\n"
            )
            whole = text.replace("\n## `guardrails`\n", f"\n{heading}\n## `guardrails`\n")
            (DOCS / "configuration.md").write_text(whole, encoding="utf-8")
    for (name, marker), table in generated().items():
        text = page(name)
        found = between_markers(text, marker)
        (DOCS / name).write_text(
            text[: found.start()] + table + "\n" + text[found.end() :], encoding="utf-8"
        )
    for name, schema in schemas.schemas().items():
        (DOCS / "schemas" / name).write_text(schemas.text(schema), encoding="utf-8")


if __name__ == "__main__":
    main()


def test_the_names_that_are_passed_over_and_the_compressions_are_those_of_the_page() -> None:
    text = page("raw-events.md")
    begins, ends = files.PASSED_OVER
    (passed_over,) = re.findall(r"^A file is passed over .*?\n\n", text, re.DOTALL | re.MULTILINE)
    (read,) = re.findall(r"^A file is decompressed .*?\n\n", text, re.DOTALL | re.MULTILINE)

    names = [name.lower() for name in re.findall(r"`(.+?)`", passed_over)]
    assert sorted(names) == sorted(begins + ends)
    assert set(re.findall(r"`(\..+?)`", read)) == set(compression.CODECS)
