"""What a check is, and what it finds out about one day.

A check is one row of a table (`audit/checks.py`, or the row of a kind): its name, what it guards,
the page that helps when it fails, and a function that looks at what is known of the day. A declared
check that gives no verdict refuses the day.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from recsys_assets.config import Guardrails, Surface

Outcome = Literal["passed", "warned", "failed", "skipped"]
# What a check is of. An artifact is of any kind.
Subject = Literal["canonical_events", "artifact", "manifest", "live"]


@dataclass(frozen=True)
class Verdict:
    """What one check found about one day; `rows` is a sample of what is wrong.

    A day is refused by a verdict that failed. One that warned is told and holds nothing back, one
    that was skipped had nothing to look at and says why.
    """

    outcome: Outcome
    description: str = ""
    failures: int = 0
    rows: Sequence[Mapping[str, Any]] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.outcome in {"passed", "skipped"}


def passed(**numbers: float) -> Verdict:
    """Return that all is well."""
    return Verdict("passed", numbers=numbers)


def failed(
    description: str, *, failures: int = 1, rows: Sequence[Mapping[str, Any]] = ()
) -> Verdict:
    """Return what is wrong; a check that does not block turns it into a warning."""
    return Verdict("failed", description, failures, rows)


def skipped(reason: str) -> Verdict:
    """Return why there was nothing to look at."""
    return Verdict("skipped", reason)


def _anywhere(_surface: Surface, _asset: str) -> bool:
    return True


@dataclass(frozen=True)
class Check:
    """A check of an asset.

    Attributes:
        name: unique among the checks of an asset.
        of: which assets have it.
        text: what it guards, a sentence or two.
        runbook: the page below docs/runbooks that says what to do, without its ending. It has a
            heading of the check's name.
        look: what it does: given the facts of a day, its verdict.
        blocks: whether a day that fails it is refused. Otherwise it warns.
        knobs: the keys of surfaces.yaml that it goes by.
        where: whether an asset of a surface has it; every one of `of` by default.
        where_text: the same in words, for the documentation.
    """

    name: str
    of: Collection[Subject]
    text: str
    runbook: str
    look: Callable[[Any], Verdict | None]
    blocks: bool = True
    knobs: Sequence[str] = ()
    where: Callable[[Surface, str], bool] = _anywhere
    where_text: str = ""

    def judge(self, facts: Any) -> Verdict | None:
        """Look at the facts of a day."""
        found = self.look(facts)
        if found is not None and found.outcome == "failed" and not self.blocks:
            return replace(found, outcome="warned")
        return found

    def help(self, docs_url: str | None = None) -> str:
        """Return where it is written what to do when it fails: a URL, or a path in the project."""
        return f"{runbook_page(self.runbook, docs_url)}#{self.name}"

    def description(self, docs_url: str | None = None) -> str:
        """Return what it guards, and where its runbook is."""
        where = self.help(docs_url)
        return self.text + (f" [Runbook]({where})" if docs_url else f" Runbook: `{where}`")


def judge(checks: Iterable[Check], facts: Any) -> dict[str, Verdict]:
    """Return the verdict of each check on the facts of a day, by name."""
    verdicts = {check.name: check.judge(facts) for check in checks}
    return {name: verdict for name, verdict in verdicts.items() if verdict is not None}


def complete(checks: Iterable[Check], verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Return a verdict for each declared check: one that has given none fails the day.

    Raises:
        ValueError: there is a verdict of a check that was not declared.
    """
    checks = list(checks)
    if undeclared := verdicts.keys() - {check.name for check in checks}:
        raise ValueError(f"verdicts of checks that are not declared: {sorted(undeclared)}")
    return {
        check.name: verdicts.get(check.name)
        or failed(
            f"check {check.name} gave no verdict, so the day is refused: this is a fault of the "
            "project and not of the day"
        )
        for check in checks
    }


def runbook_page(page: str, docs_url: str | None = None) -> str:
    """Return where a runbook is: a URL below where docs/ is served, or its path."""
    return f"{docs_url or 'docs'}/runbooks/{page}.md"


def guardrail(
    name: str,
    of: Collection[Subject],
    look: Callable[[Any], Verdict],
    *,
    knobs: Sequence[str] = (),
    where: Callable[[Surface, str], bool] = _anywhere,
    where_text: str = "",
) -> Check:
    """Build the check of a guardrail; `knobs` are further keys of `guardrails` that it goes by."""
    meaning = Guardrails.model_fields[name].description
    return Check(
        name,
        of,
        f"Guardrail `guardrails.{name}`: {meaning}",
        "limit-exceeded",
        look,
        knobs=[f"guardrails.{knob}" for knob in (name, *knobs)],
        where=where,
        where_text=where_text,
    )


def at_most(
    limits: Guardrails, name: str, value: float, *, rows: Sequence[Mapping[str, Any]] = ()
) -> Verdict:
    """Hold a value to the upper limit of that name."""
    limit = getattr(limits, name)
    too_much = value > limit
    return Verdict(
        "failed" if too_much else "passed",
        f"guardrails.{name} is {limit:,}, found {_figure(value, limit)}",
        failures=int(too_much),
        rows=rows if too_much else (),
        numbers={"value": value, "limit": limit},
    )


def surely_at_most(limits: Guardrails, name: str, found: int, of: int) -> Verdict:
    """Hold a share to the upper limit of that name; few cases do not exceed it by chance."""
    share = found / of if of else 0.0
    verdict = at_most(limits, name, share)
    if verdict.passed:
        return verdict
    least = surely_at_least(found, of)
    said = f"{verdict.description}: {found:,} of {of:,}"
    if least <= getattr(limits, name):
        return replace(
            verdict, outcome="passed", failures=0, description=f"{said}, too few to tell"
        )
    return replace(verdict, description=f"{said}, surely at least {least:.2g}")


def surely_at_least(found: int, of: int) -> float:
    """Return the lower Wilson bound of a share: 97.5 % sure; 0 of nothing.

    docs/decisions/shares-of-few.md says why.
    """
    if not found:
        return 0.0
    z_squared, share = 1.96**2, found / of
    spread = math.sqrt(z_squared * (share * (1 - share) / of + z_squared / (4 * of * of)))
    return (share + z_squared / (2 * of) - spread) / (1 + z_squared / of)


def at_least(limits: Guardrails, name: str, value: int, *, because: str) -> Verdict:
    """Hold a count to the lower limit of that name; `because` goes on where the number ends."""
    limit = getattr(limits, name)
    return Verdict(
        "passed" if value >= limit else "failed",
        f"guardrails.{name} is {limit:,}, found {value:,}{because}",
        failures=int(value < limit),
        numbers={"value": value, "limit": limit},
    )


def _figure(value: float, limit: float) -> str:
    """Write a value short, but never so short that it looks like a limit it exceeds."""
    if isinstance(value, int):
        return f"{value:,}"
    short = f"{value:.4g}"
    return short if float(short) != limit or value == limit else repr(value)
