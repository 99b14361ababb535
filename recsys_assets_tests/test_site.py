"""The docs as a site: whole, its addresses those of the links, and served by `make dev`."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Final

import pytest

from recsys_assets.audit.checks import CHECKS
from recsys_assets.verdicts import runbook_page
from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.ports import free_port
from recsys_assets_tests.test_docs import DOCS, PAGES, ROOT, anchor, without_code

SERVE: Final = ROOT / "docs_site/serve.py"
Stub = Callable[[str, str], None]


def build(source: Path, built: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as `make docs` does."""
    (command,) = re.findall(
        r"^docs: .*\n\t@\$\(BIN\)/sphinx-build (.*)$",
        (ROOT / "Makefile").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    words = command.replace("$(SITE)", str(built)).split()
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *words], cwd=source, text=True, capture_output=True
    )


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site; return its folder."""
    if any(importlib.util.find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")):
        skip_unless_required("docs", "the extra `docs` is not installed (`make docs` does)")
    built = tmp_path_factory.mktemp("site")
    done = build(ROOT, built)
    assert done.returncode == 0, done.stderr
    return built / "html"


def text_at(site: Path, address: str) -> str:
    """Return the page of an address below the site."""
    return (site / address / "index.html").read_text(encoding="utf-8")


def ids(html: str) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', html))


@pytest.mark.slow
def test_every_page_is_on_the_site_at_its_path_with_every_anchor_that_a_link_may_name(
    site: Path,
) -> None:
    assert "<h1>" in text_at(site, "")
    for path in PAGES:
        if path == ROOT / "README.md":
            continue
        headings = re.findall(
            r"^#+ (.*)$", without_code(path.read_text(encoding="utf-8")), re.MULTILINE
        )
        found = ids(text_at(site, str(path.relative_to(ROOT))))
        for heading in set(headings):
            # What a heading shows: the text of its links.
            shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
            assert anchor(shown) in found, f"{path.name}: {heading}"


@pytest.mark.slow
def test_the_runbook_of_every_check_opens_at_its_place(site: Path) -> None:
    address = "http://127.0.0.1:3001"
    for check in CHECKS:
        url, _, fragment = check.help(f"{address}/docs").partition("#")
        assert fragment in ids(text_at(site, url.removeprefix(f"{address}/"))), check.name
    for page in (DOCS / "runbooks").glob("*.md"):
        url = runbook_page(page.stem, f"{address}/docs")
        assert text_at(site, url.removeprefix(f"{address}/"))


@pytest.mark.slow
def test_links_inside_the_site_lead_to_what_is_there(site: Path) -> None:
    """Also those that leave docs/: README, changelog, the instance's file."""
    for page in site.rglob("*.html"):
        for target in re.findall(r'href="([^"#?]*)[^"]*"', page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.relative_to(site)}: {target}"
    assert "../../dagster.yaml" not in text_at(site, "docs/operate-instance.md")


@pytest.mark.slow
def test_the_schemas_are_on_the_site_at_their_path(site: Path) -> None:
    assert list((DOCS / "schemas").iterdir())
    for path in (DOCS / "schemas").iterdir():
        assert (site / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_nothing_of_the_site_is_fetched_from_elsewhere(site: Path) -> None:
    fetched = r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)"'
    for page in site.rglob("*.html"):
        assert re.findall(fetched, page.read_text(encoding="utf-8")) == [], page


@pytest.mark.slow
@pytest.mark.parametrize("target", ["absent.md", "concepts.md#absent", "../absent.yaml"])
def test_a_dead_link_fails_the_build(site: Path, tmp_path: Path, target: str) -> None:
    source = tmp_path / "source"
    (source / "docs").mkdir(parents=True)
    shutil.copytree(ROOT / "docs_site", source / "docs_site")
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/README.md"):
        (source / name).write_text("# A page\n")
    (source / "docs/concepts.md").write_text(f"# Concepts\n\nSee [this]({target}).\n")

    done = build(source, tmp_path / "built")

    assert done.returncode != 0
    assert "concepts.md:3: WARNING: " in done.stderr


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a site of one page."""
    (tmp_path / "html/docs/page.md").mkdir(parents=True)
    (tmp_path / "html/docs/page.md/index.html").write_text("the page")
    return tmp_path / "html"


def environment(**variables: str) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
    return {**kept, **variables}


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (of this test)
        text: str = answer.read().decode()
        return text


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_gone(url: str) -> bool:
    try:
        get(url)
    except (OSError, HTTPException):  # or it went away in the middle of an answer
        return True
    return False


@pytest.fixture
def beside(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Serve the site beside a command that says what it is told, and stays."""
    told = "import os; print(os.environ['RECSYS_DOCS_URL'], os.getpid(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, str(SERVE), str(folder), str(port), sys.executable, "-c", told],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_site_is_served_for_as_long_as_the_command_runs_however_it_ends(
    beside: subprocess.Popen[str], port: int, ends: signal.Signals
) -> None:
    assert beside.stdout
    url, pid = beside.stdout.readline().split()
    assert url == f"http://127.0.0.1:{port}/docs"
    assert int(pid) == beside.pid  # signals reach the command itself
    # As checks link: without the slash, which the server adds.
    assert get(f"{url}/page.md#place") == "the page"

    beside.send_signal(ends)
    beside.wait(20)

    wait_until(lambda: is_gone(f"{url}/page.md"))


def test_where_the_port_is_taken_the_command_runs_without_the_docs(folder: Path, port: int) -> None:
    told = "import os; print(os.environ.get('RECSYS_DOCS_URL'))"
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()

        done = subprocess.run(
            [sys.executable, str(SERVE), str(folder), str(port), sys.executable, "-c", told],
            env=environment(),
            text=True,
            capture_output=True,
        )

    assert done.stdout == "None\n"
    assert f"The docs are not served: port {port}: " in done.stderr


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    """Return what writes a program of .venv beside a copy of the Makefile."""
    for name in ("Makefile", "dagster.yaml", "workspace.yaml", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docs_site", tmp_path / "docs_site")
    (tmp_path / ".venv/bin").mkdir(parents=True)

    def write(name: str, script: str) -> None:
        program = tmp_path / ".venv/bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    write("python", f'[ "$1" = -m ] || exec {sys.executable} "$@"')
    write("pip", "true")
    write("sphinx-build", "mkdir -p .site/html/docs && touch .site/html/docs/index.html")
    write("dagster", 'echo "dagster $*"; echo "ui $RECSYS_UI_URL docs $RECSYS_DOCS_URL"')
    return write


def make_dev(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "dev", *arguments],
        cwd=folder,
        env={name: value for name, value in environment().items() if name != "MAKEFLAGS"},
        text=True,
        capture_output=True,
    )


def test_make_dev_tells_dagster_where_its_ui_and_the_docs_are(
    stub: Stub, tmp_path: Path, port: int
) -> None:
    done = make_dev(tmp_path, "PORT=3005", f"DOCS_PORT={port}")

    assert done.returncode == 0, done.stderr
    assert "--host 127.0.0.1 --port 3005\n" in done.stdout
    assert f"ui http://127.0.0.1:3005 docs http://127.0.0.1:{port}/docs\n" in done.stdout


@pytest.mark.parametrize("broken", ["pip", "sphinx-build"])
def test_make_dev_starts_the_ui_where_the_docs_cannot_be_built(
    stub: Stub, tmp_path: Path, port: int, broken: str
) -> None:
    stub(broken, 'case "$*" in *docs*) echo "no network" >&2; exit 1;; esac')

    done = make_dev(tmp_path, f"DOCS_PORT={port}")

    assert done.returncode == 0, done.stderr
    assert "The docs are not served: they could not be built." in done.stderr
    assert "ui http://127.0.0.1:3000 docs \n" in done.stdout
