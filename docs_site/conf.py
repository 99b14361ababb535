"""The site that `make docs` builds of the pages: docs/decisions/docs-as-a-site.md.

The sources stay as a forge shows them; what only a site has, such as navigation, is added here.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.builders.dirhtml import DirectoryHTMLBuilder

project = "recsys_assets"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md"]
exclude_patterns = [".*", "var", "build", "dist", "*.egg-info"]
html_theme = "furo"
html_title = project
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
myst_heading_anchors = 6  # as a forge makes them; a link to one that is not there is a warning

_NAVIGATION: Final = {
    "Guides and reference": ["docs/README", "docs/*"],
    "Runbooks": ["docs/runbooks/*"],
    "Decisions": ["docs/decisions/README", "docs/decisions/*"],
    "Project": ["CONTRIBUTING", "CHANGELOG"],
}


class SiteBuilder(DirectoryHTMLBuilder):
    """Puts each page where its file is, `docs/runbooks/bad-publish.md/`.

    Servers send those who ask without the last slash there. So `docs_url` is one thing, be the
    pages served by this site or by a forge that shows Markdown.
    """

    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        """Return the address of a page."""
        return "" if docname == root_doc else f"{docname}{_ending(docname)}/"

    def get_output_path(self, page_name: str, /) -> Path:
        """Return the file of a page."""
        folder = "" if page_name == root_doc else f"{page_name}{_ending(page_name)}"
        return Path(self.outdir, folder, "index.html")


def _ending(name: str) -> str:
    """Return `.md` for a page of ours; the search and the index have no file."""
    return "" if name in {"search", "genindex"} else ".md"


def _navigate(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Name all pages in the margin, by way of the first one."""
    if docname == root_doc:
        for caption, names in _NAVIGATION.items():
            head = f"```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n"
            source[0] += "\n\n" + "\n".join([head, *names, "```"])


def _give_schemas(app: Sphinx, _error: Exception | None) -> None:
    """Put the JSON Schemas where their files are, too: a link to a file gets a name of Sphinx's."""
    there = Path(app.outdir, "docs/schemas")
    there.mkdir(parents=True, exist_ok=True)
    for path in Path(app.srcdir, "docs/schemas").glob("*.json"):
        shutil.copy(path, there)


def setup(app: Sphinx) -> None:
    """Tell Sphinx what is ours."""
    app.add_builder(SiteBuilder, override=True)
    app.add_lexer("csv", TextLexer)  # Pygments has none
    app.connect("source-read", _navigate)
    app.connect("build-finished", _give_schemas)
