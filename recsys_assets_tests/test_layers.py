"""How the modules lie: arrows of imports point down only, and there is no circle.

`python -m recsys_assets_tests.test_layers` draws the layers with their sizes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

import recsys_assets

PACKAGE: Final = "recsys_assets"
FOLDER: Final = Path(recsys_assets.__file__).parent
MOST_LINES: Final = 400

# From the top down. A module may import from its own layer and from those below; what stands
# together in a layer is in the order in which it may import, so that no two rooms lean on each
# other. What `python -m` starts is no part of its package, and nothing imports it.
LAYERS: Final = (
    ("__main__",),
    ("cli",),
    ("demo",),
    ("event_log",),
    ("definitions",),
    ("defs",),
    ("operations",),
    ("experiments",),
    ("audit",),
    ("live",),
    ("sinks",),
    ("kinds",),
    ("kind",),
    ("engines",),
    ("events",),
    ("storage",),
    ("pages", "verdicts"),
    ("documents", "pictures", "compute"),
    ("config", "contracts"),
    ("windows", "places", "postgres", "locks", "errors", "texts"),
)
LEVEL: Final = {room: number for number, rooms in enumerate(reversed(LAYERS)) for room in rooms}


def modules() -> dict[str, Path]:
    """Return every module by its dotted name below the package."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        parts = path.relative_to(FOLDER).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:  # the package itself imports nothing
            found[name] = path
    return found


def imports_of(source: str, known: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules of the package that a source imports, wherever it does so."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if not name.startswith(f"{PACKAGE}."):
                continue
            below = name.removeprefix(f"{PACKAGE}.")
            # Of `from a.b import c`, c is a module or something in a.b.
            yield below if below in known else below.rpartition(".")[0]


def graph(known: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return for each module those that it imports."""
    return {
        name: {other for other in imports_of(path.read_text(encoding="utf-8"), known) if other}
        - {name}
        for name, path in known.items()
    }


def room(module: str) -> str:
    """Return the folder, or the single module, that a module lies in."""
    name = module.rpartition(".")[2]
    return name if name == "__main__" else module.partition(".")[0]


def upward(edges: Mapping[str, set[str]]) -> list[str]:
    """Return the imports that point up."""
    return [
        f"{name} imports {other}"
        for name, others in edges.items()
        for other in sorted(others)
        if LEVEL[room(other)] > LEVEL[room(name)]
    ]


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """Return modules that import one another, or nothing."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def rooms(edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return for each room those that it imports."""
    found: dict[str, set[str]] = {}
    for name, others in edges.items():
        found.setdefault(room(name), set()).update({room(other) for other in others} - {room(name)})
    return found


@pytest.fixture(scope="module")
def edges() -> dict[str, set[str]]:
    return graph(modules())


def test_every_room_has_its_layer(edges: dict[str, set[str]]) -> None:
    assert {room(name) for name in edges} == set(LEVEL)


def test_no_import_points_up(edges: dict[str, set[str]]) -> None:
    assert upward(edges) == []


def test_no_modules_import_one_another(edges: dict[str, set[str]]) -> None:
    # A package's own face imports what is in it.
    assert (
        circle(
            {
                name: others
                for name, others in edges.items()
                if name not in {"config", "cli", "events.sources", "sinks"}
            }
        )
        == []
    )


def test_no_rooms_lean_on_each_other(edges: dict[str, set[str]]) -> None:
    assert circle(rooms(edges)) == []


def test_no_module_is_too_long_to_have_one_job() -> None:
    lengths = {
        name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()
    }
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        ("storage.local", "from recsys_assets.kinds import KINDS", "storage.local imports kinds"),
        (
            "compute.cooc",
            "def late():\n    import recsys_assets.defs.assets",
            "compute.cooc imports defs.assets",
        ),
        (
            "live.status",
            "from recsys_assets import operations",
            "live.status imports operations",
        ),
    ],
)
def test_an_import_that_points_up_is_found_wherever_it_stands(
    edges: dict[str, set[str]], module: str, source: str, said: str
) -> None:
    wrong = {**edges, module: edges[module] | set(imports_of(source, modules()))}

    assert upward(wrong) == [said]


def test_a_circle_is_found() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}


def libraries_of(source: str) -> set[str]:
    """Return the top names of all modules that a source imports, also within functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_only_the_wing_of_dagster_imports_dagster() -> None:
    """Everything else can be read, tested and reused without it."""
    knowing = {
        room(name)
        for name, path in modules().items()
        if any(top.startswith("dagster") for top in libraries_of(path.read_text(encoding="utf-8")))
    }

    assert knowing == {"definitions", "defs"}


def draw() -> Iterator[str]:
    """Yield the layers from the top down: the lines of each room, and what it leans on."""
    known = modules()
    lines = dict.fromkeys(LEVEL, 0)
    for name, path in known.items():
        lines[room(name)] += len(path.read_text(encoding="utf-8").splitlines())
    below = rooms(graph(known))
    for layer in LAYERS:
        for each in layer:
            leans = sorted(below[each], key=lambda other: -LEVEL[other])
            yield f"{each:12} {lines[each]:6,}  ->  {', '.join(leans) or 'nothing'}"


if __name__ == "__main__":
    print("\n".join(draw()))
