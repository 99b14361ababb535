"""The published JSON Schemas: what is valid of them is what the project reads and writes."""

from __future__ import annotations

import copy
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from recsys_assets.events.parse import _parse_line
from recsys_assets.events.parsed import RefusedError
from recsys_assets.kinds import KINDS
from recsys_assets.operations.pointer import plan_rollback, roll_back
from recsys_assets.storage.publications import Why
from recsys_assets_tests import schemas
from recsys_assets_tests.project import DAY, Project, day, event
from recsys_assets_tests.shop import make_day
from recsys_assets_tests.test_docs import DOCS, ROOT, example
from recsys_assets_tests.test_golden import GOLDEN
from recsys_assets_tests.test_golden import shared as shared  # a fixture
from recsys_assets_tests.test_stored import STORED

SCHEMAS: Final = schemas.schemas()
# The five of the reference system.
REFERENCE: Final = ("popularity", "cooc", "implicit", "session_seq", "content_sim")


def faults(name: str, value: Any) -> list[str]:
    """Return what is wrong with a value, by where it is."""
    errors = Draft202012Validator(SCHEMAS[f"{name}.v1.json"]).iter_errors(value)
    return sorted(f"{error.json_path} {error.validator}" for error in errors)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_file_of_a_schema_is_what_the_code_says(name: str) -> None:
    """When this fails: python -m recsys_assets_tests.test_docs."""
    written = (DOCS / "schemas" / name).read_text(encoding="utf-8")

    assert written == schemas.text(SCHEMAS[name])
    Draft202012Validator.check_schema(json.loads(written))


def test_there_is_a_schema_of_each_kind_and_no_file_of_none() -> None:
    assert {path.name for path in (DOCS / "schemas").iterdir()} == set(SCHEMAS)
    assert {f"{kind}.v1.json" for kind in KINDS} < set(SCHEMAS)
    ids = [schema["$id"] for schema in SCHEMAS.values()]
    assert len(set(ids)) == len(ids)
    for name, schema in SCHEMAS.items():
        assert schema["$id"].endswith(":{}:{}".format(*name.removesuffix(".json").split(".")))
        assert schema["$schema"] == schemas.DIALECT


def raw_lines(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("exposure.*.jsonl")):
        for line in path.read_bytes().splitlines():
            text = line.decode(errors="replace")
            try:
                json.loads(text)
            except (ValueError, RecursionError):
                continue  # no JSON: there is nothing to hold to a schema
            yield text


def is_event(text: str) -> bool:
    try:
        _parse_line(text)
    except RefusedError:
        return False
    return True


_USERS: Final[list[Any]] = [None, "", " ", "u", 1, []]
_TEXTS: Final[list[Any]] = [None, "", " \u3000", "a b", 1]
# What the members of one event may be, and may not.
ODD: Final[list[dict[str, Any]]] = [
    *({"rank": rank} for rank in (None, 0, 7, -1, "1", 1.5, True, 2**63, 2**63 - 1)),
    *({"v": v} for v in (None, 0, 2, "1", True)),
    *({"user_id": user} for user in _USERS),
    *({"request_id": of} for of in _USERS),
    *({name: of} for name in ("item_id", "tenant") for of in _TEXTS),
    *(
        {"ts": ts}
        for ts in (
            "2026-01-01T09:00:00.123456789+05:30",
            "2026-01-01T09:00:00.1234567890Z",
            "2026-01-01t09:00:00z",
            "2026-01-01 09:00:00Z",
            "2026-01-01T09:00:00",
            "2026-01-01T09:00:60Z",
            "",
            None,
            1767258000,
        )
    ),
    {"further": {"fields": []}},
]


@pytest.mark.parametrize("members", ODD, ids=repr)
def test_an_event_is_valid_when_it_is_read(members: dict[str, Any]) -> None:
    one = event("tea") | members

    assert (faults("raw-event", one) == []) == is_event(json.dumps(one))


@pytest.mark.parametrize("name", ["v", "ts", "tenant", "surface", "session_id", "item_id"])
def test_an_event_that_lacks_a_member_is_not_valid(name: str) -> None:
    one = event("tea")
    del one[name]

    assert faults("raw-event", one) == ["$ required"]
    assert not is_event(json.dumps(one))


def check_lines(folder: Path) -> None:
    lines = list(raw_lines(folder))
    assert lines
    for text in lines:
        valid = faults("raw-event", json.loads(text)) == []
        assert valid == is_event(text), text


def test_golden_events_are_valid_when_they_are_read() -> None:
    check_lines(GOLDEN / "exotic")


def check_documents(folder: Path) -> None:
    paths = sorted(folder.rglob("expected/*/*.json"))
    assert paths
    for path in paths:
        document = json.loads(path.read_bytes())
        # The time of the build is left out of them, as it is of the version.
        assert document["build"]["built_at"] == ""
        document["build"]["built_at"] = "2026-01-01T00:00:00Z"
        assert faults(path.stem, document) == [], path


def test_golden_documents_are_valid() -> None:
    check_documents(GOLDEN)


def test_what_only_the_reference_has_is_valid(shared: Path) -> None:
    for case in ("tiny", "ecommerce_mini"):
        check_lines(shared / "conformance" / case)
    check_documents(shared / "conformance")


def check_root(root: Path, *, of_each: int | None = None) -> None:
    """Hold everything of a root that has a schema to it.

    Args:
        root: the root.
        of_each: how many documents of a kind, the largest ones; all without it. One of real days
            takes seconds.
    """
    checked: Counter[str] = Counter()
    for path in sorted(root.rglob("*.json"), key=lambda path: -path.stat().st_size):
        layer, *parts = path.relative_to(root).parts
        if layer == "objectstore":
            name = parts[2]
        elif parts[0] == "publications":
            name = "publication"
        elif path.name == "manifest.json":
            name = "manifest"
        else:
            continue
        checked[name] += 1
        if layer == "objectstore" and of_each is not None and checked[name] > of_each:
            continue
        assert faults(name, json.loads(path.read_bytes())) == [], path
    assert checked.keys() >= {*REFERENCE, "publication", "manifest"}


def test_what_an_earlier_version_stored_is_valid(tmp_path: Path) -> None:
    with tarfile.open(STORED / "0.1.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")

    check_root(tmp_path / "var")


@pytest.fixture(scope="module")
def written(once: Project) -> Path:
    """Publish two days and go back to the first; return the root."""
    config = once.configure()
    for number in (0, 1):
        once.land(day(number), [event("a", of=day(number)), event("b<>", of=day(number))])
        assert make_day(once.store, config.surfaces[0], day(number)) == "published"
    plan = plan_rollback(once.store, config.surfaces[0], to=str(DAY), kind=None, pin=True)
    roll_back(once.store, plan, Why("run", "somebody", "a test"))
    return once.folder / "var"


def test_what_is_written_now_is_valid(written: Path) -> None:
    check_root(written)
    actions = {
        json.loads(path.read_bytes())["action"]
        for path in (written / "registry/publications").rglob("*.json")
    }
    assert actions == {"publish", "rollback"}


@pytest.mark.parametrize(
    ("name", "where", "value", "fault"),
    [
        ("manifest", ["v"], 2, "$.v const"),
        ("manifest", ["generation"], 3, "$ additionalProperties"),
        ("manifest", ["current", "cooc"], "relative/0.json", "$.current.cooc pattern"),
        (
            "manifest",
            ["current", "publication"],
            "file:///x/1.json",
            "$.current.publication pattern",
        ),
        ("manifest", ["updated_at"], "yesterday", "$.updated_at pattern"),
        ("manifest", ["tenant"], "a/b", "$.tenant pattern"),
        ("manifest", ["surface"], "..", "$.surface not"),
        ("publication", ["action"], "guess", "$.action enum"),
        ("publication", ["generation"], 0, "$.generation minimum"),
        ("publication", ["parent"], 3, "$.parent type"),
        ("publication", ["restored"], {"cooc": "1"}, "$.restored.cooc type"),
        ("publication", ["window", "end"], "2026-01-02", "$.window.end pattern"),
        ("popularity", ["items", 0, "count"], 1.5, "$.items[0].count type"),
        ("popularity", ["items", 0, "count"], 0, "$.items[0].count minimum"),
        ("popularity", ["items", 0, "item_id"], " a", "$.items[0].item_id pattern"),
        ("popularity", ["artifact_type"], "cooc", "$.artifact_type const"),
        ("popularity", ["build", "version"], "0", "$.build.version pattern"),
        ("popularity", ["build", "further"], "0", "$.build additionalProperties"),
        (
            "cooc",
            ["neighbors", 0, "items", 0, "score"],
            1,
            "$.neighbors[0].items[0] additionalProperties",
        ),
        ("implicit", ["users", 0, "items"], [], "$.users[0].items minItems"),
        ("session_seq", ["users", 0, "items", 0, "score"], "1", "$.users[0].items[0].score type"),
        ("content_sim", ["items", 0, "tags"], [], "$.items[0].tags minItems"),
        ("content_sim", ["items", 0, "tags"], ["a", "a"], "$.items[0].tags uniqueItems"),
    ],
)
def test_what_breaks_a_format_is_not_valid(
    written: Path, name: str, where: list[Any], value: Any, fault: str
) -> None:
    manifest = json.loads((written / "registry/current/demo/home/manifest.json").read_bytes())
    uri = manifest["current"].get(name, "")
    whole = json.loads(Path(uri.removeprefix("file://")).read_bytes()) if uri else manifest
    broken = copy.deepcopy(whole)
    at = broken
    for step in where[:-1]:
        at = at[step]
    at[where[-1]] = value

    assert faults(name, whole) == []
    assert faults(name, broken) == [fault]


def test_each_member_but_later_ones_is_required(written: Path) -> None:
    record = next((written / "registry/publications").rglob("*.json"))
    whole = json.loads(record.read_bytes())
    for member in whole:
        less = {name: of for name, of in whole.items() if name != member}
        assert (faults("publication", less) == []) == (member in schemas.LATER), member


def test_the_example_of_the_page_prints_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(example("schemas.md", "runnable: schemas"), {})  # noqa: S102

    assert printed.getvalue() == example("schemas.md", "printed: schemas")
