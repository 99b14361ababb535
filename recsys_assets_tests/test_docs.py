"""The documentation says what the code does: tables, examples, links and names are checked.

`python -m recsys_assets_tests.test_docs` writes the generated tables of docs/ anew.
"""

from __future__ import annotations

import re
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from recsys_assets import config, contracts
from recsys_assets.config import Guardrails, load_config
from recsys_assets.definitions import build_definitions
from recsys_assets_tests.project import DAY, Project

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
PAGES: Final = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
TYPE_NAMES: Final = {int: "integer", float: "number", str: "text", date: "date"}


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
        f"| `{name}` | {_type(field)} | {_default(field)} | {_cell(field.description or '')} |"
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
        if isinstance(rule, annotated_types.Ge):
            bounds["least"] = rule.ge
        if isinstance(rule, annotated_types.Le):
            bounds["most"] = rule.le
        if isinstance(rule, annotated_types.MinLen):
            bounds["entries"] = rule.min_length
    if set(bounds) == {"least", "most"}:
        return f"{_type_name(field.annotation)}, {bounds['least']} to {bounds['most']}"
    words = {"least": "at least {}", "entries": "at least {} of them"}
    return ", ".join(
        [_type_name(field.annotation), *(words[name].format(of) for name, of in bounds.items())]
    )


def _type_name(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in {Union, types.UnionType}:
        return " or ".join("null" if of is type(None) else _type_name(of) for of in inner)
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
    return f"`{'null' if value is None else value}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def generated() -> dict[tuple[str, str], str]:
    """Return every generated text by page and marker."""
    tables = {("configuration.md", name): model_table(model) for name, model in models().items()}
    events = contract_table(contracts.canonical_event(DAY))
    return {**tables, ("output-layout.md", "canonical_event"): events}


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
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```", page(name), re.DOTALL)
    assert found, f"no example {marker} in {name}"
    return found[1]


def anchor(heading: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def without_code(text: str) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"(?s)^```.*?^```", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize(("name", "marker"), sorted(generated()))
def test_generated_tables_are_what_the_code_says(name: str, marker: str) -> None:
    """When this fails: python -m recsys_assets_tests.test_docs."""
    assert between_markers(page(name), marker)[0].strip() == generated()[name, marker]


def test_every_key_of_the_configuration_has_a_meaning() -> None:
    for model in models().values():
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


def test_every_model_of_the_configuration_is_found() -> None:
    written = {
        name
        for name, value in vars(config).items()
        if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel
    }
    assert written - {"_Model"} == set(models())


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
    for path in DOCS.glob("*.md"):
        assert path.name == "README.md" or f"({path.name})" in page("README.md"), path.name


def test_every_guardrail_is_on_the_page_of_checks() -> None:
    text = page("checks.md")
    for knob in Guardrails.model_fields:
        assert f"`guardrails.{knob}`" in text, knob


def test_the_page_of_checks_has_exactly_the_checks_of_the_assets(project: Project) -> None:
    graph = build_definitions(project.configure({"window_days": 2})).resolve_asset_graph()
    names = {key.name for key in graph.asset_check_keys}

    assert set(re.findall(r"^\| \[`(\w+)`\]", page("checks.md"), re.MULTILINE)) == names


def test_every_reason_for_a_refusal_is_documented() -> None:
    source = (ROOT / "recsys_assets/events/parse.py").read_text(encoding="utf-8")
    raised = set(re.findall(r'_RefusedError\(\s*"(\w+)"', source))
    recorded = set(re.findall(r'RefusedLine\(\s*[\w. +]+,\s*"(\w+)"', source))
    assert {"invalid_json", "line_too_long", "invalid_utf8"} <= raised | recorded

    documented = re.findall(r"^\| `(\w+)` \|", section("output-layout.md", "Rejected lines"), re.M)

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
        (shown,) = re.findall(rf"^\| `{kind}` \| `(.*?)` \|", page("output-layout.md"), re.M)
        assert f"{shown}," in blob.read_text(encoding="utf-8"), kind
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


def main() -> None:
    """Write every generated text into its page."""
    for (name, marker), table in generated().items():
        text = page(name)
        found = between_markers(text, marker)
        (DOCS / name).write_text(
            text[: found.start()] + table + "\n" + text[found.end() :], encoding="utf-8"
        )


if __name__ == "__main__":
    main()
