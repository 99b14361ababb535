from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_assets.config import PACKAGED_CONFIG, config_file, load_config, without_secrets
from recsys_assets.config import file as reader
from recsys_assets.errors import ConfigError
from recsys_assets_tests.config.files import (
    SURFACE,
    UNTOLD,
    load,
    load_text,
    locations,
    problems,
    with_knob,
)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("s3://me:secret@bucket/x is gone", "***@bucket/x is gone"),
        ("https://store/x?sig=secret is gone", "https://store/x?*** is gone"),
        ("https://me:secret@store/x?sig=secret is gone", "***@store/x?*** is gone"),
        ("https://me:sec?ret@store/x is gone", "***@store/x is gone"),
        ("is it there? yes", "is it there? yes"),
    ],
)
def test_secrets_of_a_url_are_blanked_and_the_rest_is_left(text: str, left: str) -> None:
    assert without_secrets(text) == left


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        (("window_dys",), "window_days"),
        (("source", "patern"), "pattern"),
        (("catalog", "pth"), "path"),
        (("artifacts", "popularty"), "popularity"),
        (("artifacts", "cooc", "max_neighbors"), "max_neighbours"),
        (("artifacts", "popularity", "topn"), "top_n"),
        (("guardrails", "max_sesions"), "max_sessions"),
        (("freshness", "max_days_behnd"), "max_days_behind"),
    ],
)
def test_an_unknown_key_names_file_surface_key_and_what_was_meant(
    path: tuple[str, ...], suggestion: str, file: Path
) -> None:
    surface = with_knob(path, 1)
    surface.setdefault("catalog", {"path": "c.csv"})
    if path[0] == "catalog":
        surface["catalog"] = {"path": "c.csv", **surface["catalog"]}
    if path[0] == "source":
        surface["source"] = {"path": "raw", **surface["source"]}

    assert problems(file, surface) == [
        f"surface demo/home: {'.'.join(path)}: unknown key (did you mean {suggestion!r}?)"
    ]


def test_an_unknown_key_at_the_top_is_refused(file: Path) -> None:
    assert problems(file, SURFACE, rooot="x") == ["rooot: unknown key (did you mean 'root'?)"]


def test_an_unknown_key_like_no_other_gets_no_suggestion(file: Path) -> None:
    assert problems(file, {**SURFACE, "qqq": 1}) == ["surface demo/home: qqq: unknown key"]


@pytest.mark.parametrize("key", ["start_date", "source", "artifacts"])
def test_a_missing_key_is_named(key: str, file: Path) -> None:
    surface = {name: value for name, value in SURFACE.items() if name != key}

    assert problems(file, surface) == [f"surface demo/home: {key}: is required"]


@pytest.mark.parametrize("key", ["tenant", "surface"])
def test_a_surface_without_its_name_is_told_by_its_number(key: str, file: Path) -> None:
    nameless = {name: value for name, value in SURFACE.items() if name != key}

    assert problems(file, SURFACE, nameless, on_mistake="refuse") == [
        f"surface number 2: {key}: is required"
    ]


def test_a_missing_path_is_named_with_its_section(file: Path) -> None:
    surface = {**SURFACE, "source": {}, "catalog": {}}

    assert problems(file, surface) == [
        "surface demo/home: source.path: is required",
        "surface demo/home: catalog.path: is required",
    ]


@pytest.mark.parametrize("key", ["root", "surfaces"])
def test_a_missing_key_at_the_top_is_named(key: str, file: Path) -> None:
    top = {"root": "var", "surfaces": [SURFACE]}
    del top[key]

    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}:\n  {key}: is required$"):
        load_text(file, yaml.safe_dump(top))


def test_several_mistakes_are_reported_at_once(file: Path) -> None:
    second = {**SURFACE, "surface": "cart", "window_dys": 2, "artifacts": {"cooc": {"top_n": 1}}}

    assert problems(file, {**SURFACE, "window_days": "2"}, second, root=1) == [
        "root: Input should be a valid string, got 1",
        "surface demo/home: window_days: Input should be a valid integer, got '2'",
        "surface demo/cart: artifacts.cooc.top_n: unknown key (did you mean 'top_n'?)",
        "surface demo/cart: window_dys: unknown key (did you mean 'window_days'?)",
    ]


@pytest.mark.parametrize("value", ["2026-01-31", "'2026-01-31'", '"2026-01-31"'])
@pytest.mark.parametrize("key", ["start_date", "end_date"])
def test_a_date_is_a_date_with_quotes_and_without(key: str, value: str, file: Path) -> None:
    surface = {**SURFACE, "end_date": date(2026, 3, 1), key: "THE DAY"}
    text = yaml.safe_dump({"root": "var", "surfaces": [surface]})

    config = load_text(file, text.replace("THE DAY", value))

    assert getattr(config.surfaces[0], key) == date(2026, 1, 31)


def test_json_is_a_configuration(file: Path) -> None:
    surface = {**SURFACE, "start_date": "2026-01-01", "end_date": "2026-02-01"}

    config = load_text(file, json.dumps({"root": "var", "surfaces": [surface]}, indent=1))

    assert config.surfaces[0].start_date == date(2026, 1, 1)
    assert config.surfaces[0].end_date == date(2026, 2, 1)


@pytest.mark.parametrize(
    "value",
    ["20260101", "'20260101'", "2026-01-01T00:00:00Z", "'2026-01-01 00:00'", "soon", "2026-1-1"],
)
def test_what_is_no_date_is_refused(value: str, file: Path) -> None:
    text = yaml.safe_dump({"root": "var", "surfaces": [SURFACE]})

    with pytest.raises(ConfigError, match="surface demo/home: start_date: "):
        load_text(file, text.replace("2026-01-01", value))


def test_a_time_in_place_of_a_date_is_told_what_a_date_is(file: Path) -> None:
    text = yaml.safe_dump({"root": "var", "surfaces": [SURFACE]})

    with pytest.raises(ConfigError, match=r"start_date: must be a date, YYYY-MM-DD$"):
        load_text(file, text.replace("2026-01-01", "2026-01-01T00:00:00Z"))


@pytest.mark.parametrize("value", ["2026-02-30", "2026-13-01", "2026-00-10", "'2026-02-30'"])
def test_a_date_that_does_not_exist_is_refused(value: str, file: Path) -> None:
    text = yaml.safe_dump({"root": "var", "surfaces": [SURFACE]})

    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}:"):
        load_text(file, text.replace("2026-01-01", value))


def top(**changed: Any) -> str:
    return yaml.safe_dump({"root": "var", "surfaces": [SURFACE], **changed})


def of(**changed: Any) -> str:
    return top(surfaces=[{**SURFACE, **changed}])


_SECRETS = [
    f"s3://AKIA:{UNTOLD}@bucket/x",
    f"AKIA:{UNTOLD}@s3://bucket",
    f"//{UNTOLD}@bucket",
    f"{UNTOLD}/+=%2F@bucket",
    f"https://host/x?sig={UNTOLD}&se=2",
    f"az://bucket/{'x' * 200}?{UNTOLD}",
    f"https://hooks.example/services/T0/B0/{UNTOLD}",
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={UNTOLD}==",
    f"{UNTOLD}==",
]


@pytest.mark.parametrize("secret", _SECRETS)
@pytest.mark.parametrize(
    "text",
    [
        lambda url: of(source=url),
        lambda url: of(source=[url]),
        lambda url: of(source={"path": [url]}),
        lambda url: of(source={"path": {"url": url}}),
        lambda url: of(source={"path": "raw", "type": url}),
        lambda url: of(source={"type": "postgres", "dsn_env": url, "time_column": "t"}),
        lambda url: of(source={"type": "postgres", "dsn_env": [url], "table": [url]}),
        lambda url: of(source={"path": "raw", url: 1}),
        lambda url: of(source={"path": "raw", "pattern": f"{url}{{x}}"}),
        lambda url: of(catalog=url),
        lambda url: of(artifacts=url),
        lambda url: of(artifacts={url: {}}),
        lambda url: of(guardrails={"max_events": url}),
        lambda url: of(window_days=url),
        lambda url: of(start_date=url),
        lambda url: of(tenant=url, window_days=0),
        lambda url: top(surfaces=url),
        lambda url: top(surfaces=[url]),
        lambda url: top(root=[url]),
        lambda url: top(root=3, **{url: 1}),
        lambda url: top(retention=url),
        lambda url: top(alerts=url),
        lambda url: top(alerts=[url]),
        lambda url: top(alerts={"webhook_url": url}),
        lambda url: top(alerts={url: 1}),
        lambda url: top(alerts={"timeout_seconds": url}),
        lambda url: top(surfaces=[{**SURFACE, "tenant": url}] * 2),
        lambda url: of(source={"path": "raw", "pattern": f"{{day}}{{{url}}}"}),
        lambda url: of(schedule_at=url),
        lambda url: f"root: {url}\nroot: {url}\n",
        lambda url: f"? {url}\n: 1\n? {url}\n: 1\n",
        lambda url: f"root: {url}: x\n",
        lambda url: f"root: '{url}\n",
        lambda url: f'root: "{url}\\q"\n',
        lambda url: f"root: [{url}\nsurfaces: []\n",
        lambda url: f"root: *{url}\n",
        lambda url: f"root: !{url} x\n",
        lambda url: f"root: !!int '{url}'\n",
        lambda url: f"root: !!float '{url}'\n",
        lambda url: f"root: !!bool '{url}'\n",
        lambda url: f"root: !!timestamp '{url}'\n",
        lambda url: f"root: [&{UNTOLD} {url!r}, &{UNTOLD} x]\n",
        lambda url: f"root: !{UNTOLD}!x {url!r}\n",
        lambda url: f"{url}\nroot: var\n",
    ],
    ids=[
        "source is text", "source is a list", "path is a list", "path is a mapping", "type",
        "variable", "table is a list",
        "key of a source", "pattern", "catalog is text", "artifacts is text", "kind",
        "a number", "window_days", "date", "name", "surfaces is text", "surface is text",
        "root is a list", "key at the top", "retention is text", "alerts is text",
        "alerts is a list", "value of an unknown key", "key of alerts", "number of alerts",
        "name listed twice", "placeholder", "time", "repeated key", "repeated key that is a URL",
        "colon", "open quote", "escape", "open list", "alias", "tag", "tagged int", "tagged float",
        "tagged bool", "tagged timestamp", "anchor twice", "tag handle", "line without key",
    ],
)  # fmt: skip
def test_a_secret_is_not_quoted_wherever_it_stands(
    file: Path, text: Callable[[str], str], secret: str
) -> None:
    """People who put a secret into the file do not always put it where one could belong."""
    with pytest.raises(ConfigError) as error:
        load_text(file, text(secret))

    assert str(error.value).startswith(f"{file}:")
    assert UNTOLD not in str(error.value)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("7", "'7'"),
        ("", "''"),
        ("06:00", "'06:00'"),
        ("2026-01-1", "'2026-01-1'"),
        (7.5, "7.5"),
        (None, "None"),
        (True, "True"),
        (date(2026, 1, 1), "2026-01-01"),
        ("seven", "text"),
        ("4111111111111111", "text"),
        (["7"], "a list"),
        ({"7": 7}, "a mapping"),
        (b"T0KEN", "another value"),
    ],
)
def test_a_value_is_quoted_when_it_reads_as_a_number_or_a_time(
    value: Any, told: str, file: Path
) -> None:
    (problem,) = problems(file, {**SURFACE, "window_days": value})

    assert problem == (
        f"surface demo/home: window_days: Input should be a valid integer, got {told}"
    )


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("qqq", "qqq: unknown key"),
        ("Window_Days", "Window_Days: unknown key (did you mean 'window_days'?)"),
        ("window-days", "window-days: unknown key (did you mean 'window_days'?)"),
        ("T0KEN", "(a key): unknown key"),
        ("window_days=T0KEN", "(a key): unknown key (did you mean 'window_days'?)"),
        ("a8f5f167f44f4964", "(a key): unknown key"),
        (7, "(a key): Keys should be strings, got 7"),
    ],
)
def test_a_key_is_named_when_it_is_a_plain_word_or_close_to_a_known_one(
    key: Any, told: str, file: Path
) -> None:
    assert problems(file, {**SURFACE, key: 1}) == [f"surface demo/home: {told}"]


@pytest.mark.parametrize(
    ("tenant", "told"),
    [("..", "../home"), ("été 1", "été 1/home"), (f"AccountKey={UNTOLD}", "number 1")],
)
def test_a_surface_is_named_when_its_names_are_plain(tenant: str, told: str, file: Path) -> None:
    (problem, *_) = problems(file, {**SURFACE, "tenant": tenant, "window_days": 0})

    assert problem.startswith(f"surface {told}: ")


def test_paths_beside_a_url_are_still_relative_to_the_file(file: Path) -> None:
    config = load(file, {**SURFACE, "catalog": {"path": "s3://bucket/c.csv"}}, root="az://b/var")

    assert locations(config) == ("az://b/var", str(file.parent / "raw"), "s3://bucket/c.csv")


def test_relative_paths_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "conf", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    config = load(
        folder / "surfaces.yaml",
        {**SURFACE, "source": {"path": "../raw"}, "catalog": {"path": "./c.csv"}},
        root="../var",
    )

    assert config.root == str(tmp_path / "var")
    assert config.surfaces[0].source.path == str(tmp_path / "raw")
    assert config.surfaces[0].catalog is not None
    assert config.surfaces[0].catalog.path == str(folder / "c.csv")


def test_absolute_paths_stay(file: Path) -> None:
    config = load(file, {**SURFACE, "source": {"path": "/data/raw"}}, root="/data/var")

    assert (config.root, config.surfaces[0].source.path) == ("/data/var", "/data/raw")


def test_the_environment_names_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(file, {**SURFACE, "tenant": "mine"})
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv("RECSYS_CONFIG", file.name)

    config = load_config()

    assert config.surfaces[0].tenant == "mine"
    assert config.root == str(file.parent / "var")


def test_a_given_file_wins_over_the_environment(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "absent.yaml"))

    assert load(file, SURFACE).surfaces[0].tenant == "demo"


def test_the_root_of_the_environment_wins_and_is_relative_to_the_working_directory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    monkeypatch.setenv("RECSYS_ROOT", "out")
    assert load(file, SURFACE).root == str(elsewhere / "out")

    monkeypatch.setenv("RECSYS_ROOT", "/data/out")
    assert load(file, SURFACE).root == "/data/out"

    monkeypatch.setenv("RECSYS_ROOT", "")
    assert load(file, SURFACE).root == str(tmp_path / "var")


def test_a_missing_file_says_how_to_name_another(tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"

    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read .*\$RECSYS_CONFIG"):
        load_config(absent)


@pytest.mark.parametrize("url", ["s3://AKIA:T0KEN@bucket/surfaces.yaml", "https://x?sig=T0KEN"])
def test_a_url_in_place_of_the_file_is_refused_and_not_quoted(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_CONFIG", url)

    with pytest.raises(ConfigError) as error:
        load_config()

    assert str(error.value).startswith("the configuration is a file on this machine, not a URL")
    assert "T0KEN" not in str(error.value)


def test_a_file_that_is_not_utf8_is_refused(file: Path) -> None:
    file.write_bytes(b"root: \xff\n")

    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(file)


@pytest.mark.parametrize(
    "text", ["root: [1", "root: var\n\tsurfaces: []", "root: !!python/object:os.system x", "a: *b"]
)
def test_a_file_that_is_not_yaml_is_refused(text: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}: is not valid YAML: "):
        load_text(file, text)


@pytest.mark.parametrize("text", ["", "7", "[]", "root: var\nsurfaces: {}", "surfaces: [7]"])
def test_yaml_of_another_shape_is_refused(text: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}:\n"):
        load_text(file, text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("root: [1", "line 1, column 9: expected ',' or ']'"),
        ("root: var\n\tsurfaces: []", "line 2, column 1: found character '\\t'"),
        ("root: var\nsurfaces:\n  - a: b: c", "line 3, column 9: mapping values are not allowed"),
        ("root: var\n  x: *b", "line 2, column 4: mapping values are not allowed here"),
        ("root: var\na: *b", "line 2, column 4: found undefined alias"),
        ("root: 'open\n\n", "line 3, column 1: found unexpected end of stream"),
        ("root: !!python/object:os.system x", "line 1, column 7: could not determine"),
        ("root: var\nday: 2026-02-30", "line 2, column 6: is no valid timestamp"),
        ("root: !!int x", "line 1, column 7: is no valid int"),
        ("? [a]\n: 1", "line 1, column 3: a key is no text"),
        ("a: 1\n<<: {b: 1}\n<<: {b: 2}", "line 3, column 1: repeated key (a key)"),
        ("<<: 7", "line 1, column 5: expected a mapping or list of mappings for merging"),
    ],
)
def test_a_mistake_in_the_yaml_is_told_with_line_and_column(
    text: str, where: str, file: Path
) -> None:
    """Its line is not quoted, since it may hold a secret."""
    with pytest.raises(ConfigError) as error:
        load_text(file, text)

    assert str(error.value).startswith(f"{file}: is not valid YAML: {where}")
    assert len(str(error.value).splitlines()) == 1


def test_a_repeated_key_is_refused_with_its_line(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 2, column 1: repeated key root"):
        load_text(file, "root: a\nroot: b\n")


def test_a_repeated_key_further_down_is_refused(file: Path) -> None:
    text = yaml.safe_dump({"root": "var", "surfaces": [SURFACE]})

    with pytest.raises(ConfigError, match="repeated key popularity"):
        load_text(
            file, text.replace("popularity: {}", "popularity: {}\n    popularity: {top_n: 1}")
        )


@pytest.mark.parametrize("key", ["? [a]\n: 1", "? {a: 1}\n: 1"])
def test_a_key_that_is_no_text_is_refused(key: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}:"):
        load_text(file, key)


def test_the_packaged_configuration_loads() -> None:
    config = load_config()

    assert PACKAGED_CONFIG.is_file()
    assert [surface.name for surface in config.surfaces] == ["grocer/store"]
    assert config.surfaces[0].artifacts.kinds == (
        "popularity",
        "cooc",
        "implicit",
        "session_seq",
        "content_sim",
    )
    assert Path(config.root).is_absolute()


@pytest.mark.parametrize(
    "project",
    [None, "", "no toml [", "[project]\nname = 'other'\n", "[tool.x]\n"],
    ids=["absent", "empty", "no TOML", "of another package", "without a project"],
)
def test_where_the_project_is_installed_the_demo_is_no_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: str | None
) -> None:
    """Its root would be a folder among the installed packages."""
    package = tmp_path / "site-packages" / "recsys_assets"
    package.mkdir(parents=True)
    if project is not None:
        (package.parent / "pyproject.toml").write_text(project)
    monkeypatch.setattr(reader, "PACKAGED_CONFIG", package / "surfaces.yaml")

    with pytest.raises(ConfigError) as error:
        load_config()

    first, _, example = str(error.value).partition("\n\n")
    assert first.startswith("there is no configuration: $RECSYS_CONFIG is not set. Write a file ")
    (tmp_path / "mine.yaml").write_text(example)
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "mine.yaml"))
    assert [surface.name for surface in load_config().surfaces] == ["shop/home"]
    assert config_file() == tmp_path / "mine.yaml"
