"""Tables of the documentation that are made of the tables of the project: kinds and checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

from recsys_assets.audit.checks import CHECKS
from recsys_assets.compute.coded import Piece
from recsys_assets.compute.judging import DAY_GATES, NUMBERS
from recsys_assets.config import Margins
from recsys_assets.contracts import dtypes
from recsys_assets.documents import list_text
from recsys_assets.kind import Kind
from recsys_assets.kinds import KINDS
from recsys_assets.pages import ENTRIES, FIRST_ITEMS, OWNERS
from recsys_assets.verdicts import Check

_OF: Final = {
    "canonical_events": "canonical_events",
    "artifact": "every artifact",
    "manifest": "manifest",
    "live": "live",
}


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, *rows]
    written = [
        "|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines
    ]
    return "\n".join([written[0], "|" + "---|" * len(header), *written[1:]])


def kinds_table() -> str:
    """Return what README says of each kind."""
    return markdown(
        ["kind", "columns", "rule", "what its blocking checks guarantee"],
        [
            [f"`{name}`", ", ".join(kind.contract.columns), kind.rule, kind.guarantee]
            for name, kind in KINDS.items()
        ],
    )


def lists_table() -> str:
    """Return the list of each kind's example as it stands in a document."""
    return markdown(
        ["kind", "its list", "order"],
        [[f"`{name}`", f"`{_list(kind)}`", kind.order] for name, kind in KINDS.items()],
    )


def _list(kind: Kind) -> str:
    frame = pl.DataFrame(kind.example.rows, schema=dtypes(kind.contract), orient="row")
    return b"".join(list_text([Piece(frame)], kind.layout)).decode()


def pages_table() -> str:
    """Return what the asset page of each kind shows."""
    return markdown(
        ["asset", "`picture`", "`preview`"],
        [
            ["`canonical_events`", "events by hour of the UTC day", ""],
            *([f"`{name}`", _picture(kind), _preview(kind)] for name, kind in KINDS.items()),
            ["`manifest`", "", "[what a publish changed](#what-a-publish-changed)"],
        ],
    )


def _picture(kind: Kind) -> str:
    said = (kind.draw.__doc__ or "").split("\n")[0] if kind.draw else ""
    return said.removeprefix("Draw ").removesuffix(".")


def _preview(kind: Kind) -> str:
    owners = kind.layout.owners
    if kind.layout.entry is None:
        return f"the first {FIRST_ITEMS} {owners}"
    return f"the {OWNERS} {owners} with the strongest entry, {ENTRIES} entries each"


def checks_table() -> str:
    """Return every check, with the page that helps."""
    return markdown(
        ["check", "of", "knob", "blocks"],
        [
            [
                f"[`{check.name}`](runbooks/{check.runbook}.md#{check.name})",
                check.where_text or ", ".join(_OF[subject] for subject in check.of),
                ", ".join(f"`{knob}`" for knob in check.knobs),
                _blocks(check),
            ]
            for check in CHECKS
        ],
    )


def numbers_table() -> str:
    """Return the numbers that gates judge."""
    rows = []
    for name, number in NUMBERS.items():
        marks = ["+"] * number.only_more + ["by weekday"] * number.by_weekday
        marks += ["replayed"] * number.is_replayed
        of = Margins.model_fields[name]
        rows.append(
            [
                f"[`{number.gate}`](runbooks/unsound-day.md#{number.gate})",
                f"`{name}`",
                of.description or "",
                f"{of.default}",
                ", ".join(marks),
            ]
        )
    return markdown(["check", "number", "what", "margin", ""], rows)


def _blocks(check: Check) -> str:
    if check.name == "nothing_emptied":
        return "yes; nearly empty kinds as `gates.mode` says"
    if check.name in {*DAY_GATES, "no_worse_than_live", "catalog_fits"}:
        return "as `gates.mode` says; by default it warns"
    if list(check.of) == ["live"]:
        return "nothing is downstream; its run fails"
    return "yes" if check.blocks else "no, it warns"
