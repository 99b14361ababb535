"""What a person does in the Dagster UI, with the words and clicks of the documentation."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

_SIZE: Final = ViewportSize(width=1400, height=900)
_PATIENCE_MS: Final = 90_000  # machines are slow at times
_OPTIONS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True)
class Person:
    """Somebody in front of the UI."""

    page: Page
    url: str
    pictures: Path

    def opens(self, place: str) -> None:
        """Click an entry of the main navigation, from the start page."""
        self.page.goto(self.url)
        # The start page is left for another one as soon as the UI knows the jobs, and the entries
        # are complete only then. By its text: the entry "Jobs" is found by the name "Lineage" too.
        self.page.wait_for_url(re.compile(r"://[^/]+/."))
        self.page.get_by_role("link").filter(has_text=re.compile(f"^{place}$")).first.click()

    def opens_asset(self, asset: str, tab: str) -> None:
        """Go to a tab of an asset's page."""
        self.page.goto(f"{self.url}/assets/{asset}")
        self.page.get_by_role("tab", name=tab, exact=True).click()

    def sees(self, *texts: str, whole: bool = False) -> None:
        """Wait until each text is on the page, as a whole text or as a part of one."""
        for text in texts:
            expect(self.page.get_by_text(text, exact=whole).first).to_be_visible()

    def reads(self, asset: str) -> str:
        """Return the text of an asset's page."""
        self.opens_asset(asset, "Overview")
        self.page.wait_for_load_state("networkidle")
        return self.page.inner_text("body")

    def plots(self, asset: str) -> None:
        """Look at the plots of an asset's numbers."""
        self.opens_asset(asset, "Overview")
        self.page.get_by_text("Plots", exact=True).click()

    def plots_by_event(self) -> None:
        """Have the plots drawn by event: what was refused is among these, and no partition."""
        self.page.get_by_role("button", name="Events").click()
        expect(self.page.get_by_text("Loading plots")).to_have_count(0)

    def launches_backfill(self, first: date, last: date, *, picture: str) -> None:
        """Materialize all assets of the lineage for a range of days, and look at the backfill."""
        self.page.get_by_role("button", name="Materialize all").click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("textbox").first.fill(f"[{first}...{last}]")
        dialog.get_by_role("textbox").first.press("Enter")
        expect(dialog).to_contain_text(f"{(last - first).days + 1} partitions")
        self.takes_picture(picture)
        dialog.get_by_role("button", name="Launch backfill").click()
        self.page.get_by_text("View", exact=True).click()

    def selects_day(self, day: date) -> None:
        """Select a day on the Partitions tab."""
        self.page.get_by_text(str(day), exact=True).first.click()

    def selects_check(self, name: str) -> None:
        """Select a check on the Checks tab."""
        self.page.get_by_text(name, exact=True).first.click()

    def starts(self, sensor: str) -> None:
        """Switch a sensor on, on the Automation page."""
        named = self.page.get_by_text(sensor, exact=True)
        box = self.page.locator("input[type=checkbox]")
        row = self.page.locator("div").filter(has=named).filter(has=box).last
        switch = row.locator(box).nth(1)  # the first one selects the row
        expect(switch).to_be_enabled()
        row.locator("label").nth(1).click()
        expect(switch).to_be_checked()
        expect(switch).to_be_enabled()

    def launches_job(self, job: str, config: str | None = None, *, picture: str = "") -> None:
        """Type the configuration of a job into the Launchpad, launch it, and watch its run."""
        self.opens("Jobs")
        self.page.locator(f"a[href$='/jobs/{job}']").first.click()
        self.page.get_by_role("tab", name="Launchpad").click()
        if config is not None:
            editor = self.page.locator(".CodeMirror")
            editor.click()
            self.page.keyboard.press("Control+A")
            self.page.keyboard.insert_text(config)
        launch = self.page.get_by_role("button", name="Launch Run")
        expect(launch).to_be_enabled()
        if picture:
            self.takes_picture(picture)
        launch.click()
        self.page.wait_for_url(re.compile("/runs/"))

    def takes_picture(self, name: str) -> None:
        """Keep what the page shows."""
        self.page.mouse.move(0, 0)  # so that nothing is highlighted
        self.page.wait_for_load_state("networkidle")
        self.page.screenshot(path=self.pictures / f"{name}.png")


@contextmanager
def in_front_of(url: str, chromium: Path, pictures: Path) -> Iterator[Person]:
    """Open a browser; when what is done in it fails, what it showed is kept."""
    pictures.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as profile,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=chromium, args=_OPTIONS, env={"HOME": profile}
        )
        page = browser.new_page(viewport=_SIZE)
        page.set_default_timeout(_PATIENCE_MS)
        expect.set_options(timeout=_PATIENCE_MS)
        person = Person(page, url, pictures)
        try:
            yield person
        except BaseException as error:
            page.screenshot(path=pictures / "failed.png")
            error.add_note(f"{page.url}, {pictures / 'failed.png'}:\n{page.inner_text('body')}")
            raise
        finally:
            browser.close()
