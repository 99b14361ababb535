"""The artifact of a day: write its document, and find out whether it may be staged."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from recsys_assets.audit.audited import Audited
from recsys_assets.audit.catalog_gate import (
    CATALOG_CHECK,
    CATALOG_FITS,
    CatalogFacts,
    catalog_facts,
    keep_catalog,
)
from recsys_assets.audit.checks import checks_of
from recsys_assets.audit.drafts import Drafts
from recsys_assets.audit.settings import settings_of
from recsys_assets.config import Surface
from recsys_assets.documents import DocumentHead, RenderedDocument, render
from recsys_assets.kind import ArtifactFacts
from recsys_assets.pages import Shown
from recsys_assets.storage import layout
from recsys_assets.storage.store import Store
from recsys_assets.verdicts import judge


def audit_artifact(
    store: Store, surface: Surface, kind: str, day: date, scratch: Path, drafts: Drafts
) -> Audited[RenderedDocument]:
    """Compute and render the artifact of a day.

    Raises:
        InputError: what it is computed from is missing or cannot be read.
    """
    started = time.monotonic()
    draft = drafts(day)
    document = render(
        draft.text,
        DocumentHead.of_day(surface, kind, day),
        scratch / f"{kind}.{day}.json",
        source_hash=draft.source_hash,
        built_at=datetime.now(UTC),
    )
    if (outliner := draft.list.outliner) is not None:
        outline = outliner.made(settings_of(surface, kind, draft.source_hash))
        document = replace(document, outline=outline)
    document = replace(document, details=draft.details)
    contract = draft.list.verdict
    size_bytes = document.size_bytes if contract.passed else None
    facts = ArtifactFacts(surface, contract, draft.found, size_bytes, draft.missing)
    checks = checks_of(surface, kind)
    verdicts = judge(checks, facts)
    if any(check.name == CATALOG_FITS for check in checks):
        compared = (
            catalog_facts(store, surface, kind, day, document)
            if contract.passed
            else CatalogFacts(surface, "the contract is broken, so there is no document")
        )
        verdicts |= judge([CATALOG_CHECK], compared)
        keep_catalog(store, kind, day, compared, verdicts[CATALOG_FITS])
    if not contract.passed:
        document.path.unlink()  # of broken rows, it is meaningless
        return Audited(verdicts)
    shown: dict[str, Shown] = {
        "first_day": str(document.head.window.start),
        "day": str(document.head.window.last_day),
        **draft.list.numbers,
        **draft.shown,
        "dagster/uri": store.uri(layout.blob(surface.place, kind, document.version)),
        "version": document.version,
        "source_hash": draft.source_hash,
        "size_bytes": document.size_bytes,
        "seconds": round(time.monotonic() - started, 3),
    }
    # In this order on the page.
    return Audited(verdicts, document, document.version, {**draft.page(), **shown})
