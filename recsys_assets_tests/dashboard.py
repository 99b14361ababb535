"""The Grafana dashboard: its panels as a table, and the JSON that Grafana loads.

`python -m recsys_assets_tests.dashboard` writes deploy/grafana/dashboards/recsys-assets.json anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

FILE: Final = Path(__file__).parents[1] / "deploy/grafana/dashboards/recsys-assets.json"
UID: Final = "recsys-assets"
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
# What a query is about: the surfaces that were chosen above the dashboard.
CHOSEN: Final = 'tenant=~"$tenant", surface=~"$surface"'
_WIDTH: Final = 24  # of Grafana's grid
_NAME: Final = "{{tenant}}/{{surface}}"
_LATENCY: Final = (
    "histogram_quantile({}, sum by (tenant, surface, le) "
    "(increase(recsys_surface_landing_to_live_seconds_bucket{{%}}[7d])))"
)
Kind = Literal["stat", "timeseries"]


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: what it shows.
        queries: by the name of the series, as Grafana writes it; `%` is what was chosen.
        text: what one should know to read it.
        kind: a figure of now, or how it was.
        unit: as Grafana names it.
        width: of 24.
        red_from: the value from which on it is red; None where none is bad.
        stepped: whether a value holds until the next one.
    """

    title: str
    queries: Mapping[str, str]
    text: str
    kind: Kind = "timeseries"
    unit: str = "short"
    width: int = 12
    red_from: float | None = None
    stepped: bool = False

    @property
    def height(self) -> int:
        """How many lines of the grid it takes."""
        return 4 if self.kind == "stat" else 8


def _number(title: str, query: str, text: str, **further: Any) -> Panel:
    """Return a figure of now, which is red when it is not 0."""
    return Panel(title, {title: query}, text, kind="stat", **{"width": 3, "red_from": 1, **further})


ROWS: Final[Mapping[str, Sequence[Panel]]] = {
    "Now": [
        _number(
            "Surfaces",
            "count(recsys_surface_mistake{%})",
            "That the configuration has.",
            red_from=None,
        ),
        _number(
            "Stale",
            "sum(recsys_surface_stale{%})",
            "Surfaces whose live artifacts are older than promised. Runbook: stale-artifacts.",
        ),
        _number(
            "Unreadable",
            "sum(recsys_surface_status_error{%})",
            "Surfaces whose live manifest cannot be read. Runbook: bad-publish.",
        ),
        _number(
            "Mistakes",
            "sum(recsys_surface_mistake{%})",
            "Surfaces whose entry in surfaces.yaml is wrong. Nothing is done for them.",
        ),
        _number(
            "Pinned",
            "sum(recsys_surface_pinned{%})",
            "Surfaces of which nothing new is published until somebody releases them.",
        ),
        _number(
            "Days refused",
            "sum(recsys_gate_refused_days{%}) or vector(0)",
            "Days that gates refuse and nobody has accepted. Runbook: unsound-day.",
        ),
        _number(
            "Sinks behind",
            "sum(recsys_sink_behind{%}) or vector(0)",
            "Sinks that hold other versions than are live. Runbook: late-sink.",
        ),
        _number(
            "Age of these figures",
            "time() - max(recsys_status_timestamp_seconds)",
            "Since what is live was last looked at. Without new figures nothing here is true.",
            unit="s",
            red_from=7200,
        ),
    ],
    "Freshness": [
        Panel(
            "Days behind",
            {_NAME: "recsys_surface_days_behind{%}"},
            "Whole UTC days between the last day that is live and the newest that could be.",
            stepped=True,
        ),
        Panel(
            "Days over what is promised",
            {_NAME: "recsys_surface_days_behind{%} - recsys_surface_max_days_behind{%}"},
            "Above 0 the surface is stale by freshness.max_days_behind.",
            red_from=1,
            stepped=True,
        ),
        Panel(
            "Since the last flip",
            {_NAME: "time() - recsys_surface_flip_timestamp_seconds{%}"},
            "Since a publish or a rollback changed what is live.",
            unit="s",
        ),
        Panel(
            "Flips a day",
            {_NAME: "changes(recsys_surface_flip_timestamp_seconds{%}[1d])"},
            "Times that what is live changed, in the 24 hours before.",
            stepped=True,
        ),
    ],
    "From landing to live": [
        Panel(
            "Nine of ten days, and half of them",
            {f"{_NAME} {share:.0%}": _LATENCY.format(share) for share in (0.9, 0.5)},
            "From the last raw file of a day to its flip, over the week before. A bound of the "
            "histogram, so no exact time.",
            unit="s",
        ),
        Panel(
            "Mean of the day before",
            {
                _NAME: "increase(recsys_surface_landing_to_live_seconds_sum{%}[1d]) / "
                "increase(recsys_surface_landing_to_live_seconds_count{%}[1d])"
            },
            "Nothing where no day became live by itself. The alert LandingToLiveGrows is of this.",
            unit="s",
        ),
    ],
    "Gates": [
        Panel(
            "Margin that is used, the ten most",
            {
                f"{_NAME} {{{{check}}}} {{{{number}}}}": "topk(10, "
                "abs(recsys_gate_margin_used_ratio{%}))"
            },
            "How far numbers of the newest judged day are off their level. From 100 % on the day "
            "is unsound.",
            unit="percentunit",
            red_from=1,
        ),
        Panel(
            "Checks that find the newest day unsound",
            {f"{_NAME} {{{{check}}}}": "recsys_gate_failed{%}"},
            "1 while that day is unsound and nobody has accepted it.",
            red_from=1,
            stepped=True,
        ),
        Panel(
            "Drifting",
            {f"{_NAME} {{{{check}}}}": "recsys_gate_drifting{%}"},
            "1 while a number is off to one side for three days, each time within its margin.",
            red_from=1,
            stepped=True,
        ),
        Panel(
            "Refused since",
            {_NAME: "time() - recsys_gate_refused_timestamp_seconds{%}"},
            "For how long the first refused day waits for somebody; nothing where none is.",
            unit="s",
        ),
    ],
    "Releases": [
        Panel(
            "What would become live, and what is",
            {
                f"{_NAME} {{{{kind}}}} {{{{number}}}}": "recsys_release_share_ratio{%}",
                f"{_NAME} {{{{kind}}}} {{{{number}}}}, live": "recsys_release_live_share_ratio{%}",
            },
            "The share of what happened that each kind holds, when last compared.",
            unit="percentunit",
        ),
        Panel(
            "Margin that is used",
            {f"{_NAME} {{{{kind}}}} {{{{number}}}}": "recsys_release_margin_used_ratio{%}"},
            "How far a kind is below what is usual. From 100 % on it is worse than what is live.",
            unit="percentunit",
            red_from=1,
        ),
        Panel(
            "Checks of the release that failed",
            {f"{_NAME} {{{{check}}}}": "recsys_release_failed{%}"},
            "1 when what became live, or would have, was worse.",
            red_from=1,
            stepped=True,
        ),
        Panel(
            "Held back since",
            {_NAME: "time() - recsys_release_refused_timestamp_seconds{%}"},
            "For how long a day waits that is newer than what is live; nothing where none does.",
            unit="s",
        ),
    ],
    "Artifacts": [
        Panel(
            "Size of live documents",
            {f"{_NAME} {{{{kind}}}}": "recsys_artifact_size_bytes{%}"},
            "A document that is missing has no size.",
            unit="bytes",
        ),
        Panel(
            "Part of the largest size",
            {
                f"{_NAME} {{{{kind}}}}": "recsys_artifact_size_bytes{%} / ignoring (kind) "
                "group_left recsys_surface_max_artifact_size_bytes{%}"
            },
            "Of guardrails.max_artifact_bytes. A day with a larger document is not published.",
            unit="percentunit",
            red_from=0.9,
        ),
    ],
    "Sinks": [
        Panel(
            "Behind for",
            {f"{_NAME} {{{{sink}}}}": "recsys_sink_behind_seconds{%}"},
            "How long a sink has held other versions than are live.",
            unit="s",
        ),
        Panel(
            "Generations behind",
            {
                f"{_NAME} {{{{sink}}}}": "(recsys_surface_generation{%} - on (tenant, surface) "
                "group_right recsys_sink_generation{%})"
            },
            "Flips that it has not been told of. A pin or a release is one too.",
            stepped=True,
        ),
        Panel(
            "Deliveries that failed",
            {f"{_NAME} {{{{sink}}}}": "recsys_sink_failures{%}"},
            "Since the last one that did not.",
            red_from=1,
            stepped=True,
        ),
        Panel(
            "Since the last delivery",
            {f"{_NAME} {{{{sink}}}}": "time() - recsys_sink_delivery_timestamp_seconds{%}"},
            "Nothing where there was none.",
            unit="s",
        ),
    ],
}


def panels() -> Iterator[Panel]:
    """Yield every panel."""
    for row in ROWS.values():
        yield from row


def expression(query: str) -> str:
    """Return a query as Grafana gets it."""
    return query.replace("%", CHOSEN)


def dashboard() -> dict[str, Any]:
    """Return what Grafana loads."""
    return {
        "uid": UID,
        "title": "recsys_assets",
        "description": "What is live of each surface, and how it became so. docs/freshness.md says "
        "what each metric is.",
        "tags": ["recsys_assets"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-14d", "to": "now"},
        "refresh": "1m",
        "timezone": "utc",
        "templating": {"list": [_datasource(), _variable("tenant"), _variable("surface")]},
        "annotations": {"list": []},
        "panels": [*_panels()],
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
    }


def _variable(name: str) -> dict[str, Any]:
    of = 'recsys_surface_mistake{tenant=~"$tenant"}' if name == "surface" else (
        "recsys_surface_mistake"
    )  # fmt: skip
    return {
        "name": name,
        "label": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": f"label_values({of}, {name})", "refId": name},
        "definition": f"label_values({of}, {name})",
        "refresh": 2,  # whenever the range of time changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels() -> Iterator[dict[str, Any]]:
    ids, y = count(1), 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": _WIDTH, "x": 0, "y": y}
        yield {
            "id": next(ids),
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        x, y = 0, y + 1
        for panel in row:
            if x + panel.width > _WIDTH:
                x, y = 0, y + panel.height
            place = {"h": panel.height, "w": panel.width, "x": x, "y": y}
            yield _panel(panel, next(ids), place)
            x += panel.width
        y += row[-1].height


def _panel(panel: Panel, id: int, place: Mapping[str, int]) -> dict[str, Any]:
    red = [] if panel.red_from is None else [{"color": "red", "value": panel.red_from}]
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}, *red]
    custom: dict[str, Any] = {"fillOpacity": 5, "spanNulls": False}
    custom["lineInterpolation"] = "stepAfter" if panel.stepped else "linear"
    custom["thresholdsStyle"] = {"mode": "line" if red else "off"}
    options: dict[str, Any] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    if panel.kind == "stat":
        options = {
            "colorMode": "background" if red else "value",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    return {
        "id": id,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "thresholds": {"mode": "absolute", "steps": steps},
                **({} if panel.kind == "stat" else {"custom": custom}),
            },
            "overrides": [],
        },
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "expr": expression(query),
                "legendFormat": name,
                **({"instant": True} if panel.kind == "stat" else {"range": True}),
            }
            for number, (name, query) in enumerate(panel.queries.items())
        ],
    }


def text() -> str:
    """Return the file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
