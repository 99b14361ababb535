"""The page of the reader in a real browser, served by the command of the documentation."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.ports import free_port
from recsys_assets_tests.reader.published import EXAMPLES, Published
from recsys_assets_tests.shop import unsynced
from recsys_assets_tests.test_docs import ROOT
from recsys_assets_tests.ui.browser import in_front_of

CHROMIUM = Path("/usr/bin/chromium")
ODD = "<img src=x onerror=\"document.title='run'\">"


@pytest.fixture
def published(tmp_path: Path) -> Published:
    published = Published(str(tmp_path / "root"))
    with unsynced():
        published.day(1, EXAMPLES | {"implicit": [(ODD, "tea", 1.0), ("ann", "tea", 2.0)]})
    return published


@pytest.fixture
def url(published: Published, tmp_path: Path) -> Iterator[str]:
    """Serve the root until the test ends."""
    if not CHROMIUM.exists():
        skip_unless_required("browser", f"{CHROMIUM} is absent: install Chromium")
    (tmp_path / "catalog.csv").write_text(f"item_id,title\ntea,Green tea\ncup,{ODD!r}\n")
    port = free_port()
    command = [sys.executable, "-m", "recsys_assets_reader.serve", published.root, "shop/home"]
    command += ["--catalog", str(tmp_path / "catalog.csv"), "--port", str(port), "--every", "0.05"]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) as server:
        try:
            yield ready(f"http://127.0.0.1:{port}", server)
        finally:
            server.terminate()


def ready(url: str, server: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 (of this test)
                return url
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} is not served")


@pytest.mark.slow
def test_a_person_looks_up_items_and_users(url: str, published: Published, tmp_path: Path) -> None:
    with in_front_of(url, CHROMIUM, tmp_path / "pictures") as person:
        page = person.page
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: said.append(request.url))
        page.goto(url)
        person.sees("Popular", "Green tea")
        expect(page).to_have_title("shop/home")
        # The style is let through by the page's own policy.
        assert page.locator("table").evaluate("of => getComputedStyle(of).borderCollapse") == (
            "collapse"
        )

        page.get_by_label("item").fill("tea")
        page.get_by_label("item").press("Enter")
        person.sees("Item tea: Green tea", "Tags: hot, green", "Seen together with it")
        page.get_by_role("link", name="cup", exact=True).click()
        person.sees("Tags: hot, blue")
        page.get_by_label("user").fill(ODD)
        page.get_by_role("button", name="Look up").last.click()
        person.sees(f"User {ODD}", "Was shown", "Nothing is listed.", "Green tea")
        expect(page).to_have_title("shop/home")  # nothing of an id is run
        expect(page.locator("img")).to_have_count(0)

        with unsynced():
            published.day(2, {"popularity": [("jar", 7)]})
        page.goto(url)
        for _ in range(100):
            if page.get_by_text("generation 2").count():
                break
            page.reload()
        person.sees("generation 2", "jar")
        page.goto(f"{url}/?item=tea")
        person.sees("cooc is not live.")

    asked = {of for of in said if not of.startswith(url)}
    # Browsers ask for this by themselves.
    assert all("favicon.ico" in of or "404" in of for of in asked), asked
