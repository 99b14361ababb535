"""Numbers to a small picture in Markdown, for the pages that people look at.

The picture is an SVG in a data URI, the words around it are Markdown: they take the colours of the
page, light or dark, which an image is not told.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from math import log, log1p
from typing import Final

# Dagster 1.13 hides Markdown of 1,000 characters or more behind a link ("Show Markdown").
MAX_CHARACTERS: Final = 999

_WIDTH: Final = 360  # pixels
_HEIGHT: Final = 64
_COLOUR: Final = "#4a7dfc"  # seen well on white and on black


def curve(
    title: str, ranks: Sequence[int], values: Sequence[float], *, ends: tuple[str, str]
) -> str:
    """Draw values by rank, both on a log scale; some 40 ranks fit into `MAX_CHARACTERS`.

    Args:
        title: plain text that stands above.
        ranks: ascending, from 1; at least one.
        values: one for each rank, at least 0.
        ends: the first and the last rank in words, which stand below.
    """
    widest, highest = log(ranks[-1]) or 1.0, log1p(max(values)) or 1.0
    points = [
        (round(log(rank) / widest * _WIDTH), _y(log1p(value) / highest))
        for rank, value in zip(ranks, values, strict=True)
    ]
    # The end of the line drawn level to the border: a single rank has a width too.
    line = "L".join(f"{x} {y}" for x, y in [*points, (_WIDTH, points[-1][1])])
    shape = f'<path d="M{line}V{_HEIGHT}H0z" fill="{_COLOUR}"/>'
    return _markdown(title, shape, ends, view=f"0 0 {_WIDTH} {_HEIGHT}")


def bars(
    title: str, values: Sequence[float], *, ends: tuple[str, str], log_scale: bool = False
) -> str:
    """Draw values as bars side by side; some 40 fit into `MAX_CHARACTERS`.

    Args:
        title: plain text that stands above.
        values: at least 0; at least one.
        ends: the first and the last bar in words, which stand below.
        log_scale: draw heights by their logarithm, where few values dwarf the others.
    """
    heights = [log1p(value) for value in values] if log_scale else list(values)
    highest = max(heights) or 1.0
    # A bar is a thick line. What is there is seen, however little it is.
    lines = "".join(
        f"M{at} {_HEIGHT}V{min(_y(height / highest), _HEIGHT - 2)}"
        for at, height in enumerate(heights)
        if height
    )
    ground = f"M-.5 {_HEIGHT}H{len(heights)}"
    shape = f'<path d="{lines}{ground}" stroke="{_COLOUR}" stroke-width=".8"/>'
    return _markdown(title, shape, ends, view=f"-.5 0 {len(heights)} {_HEIGHT}")


def _y(share: float) -> int:
    return round(_HEIGHT * (1 - share))


def _markdown(title: str, shape: str, ends: tuple[str, str], *, view: str) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="{view}" preserveAspectRatio="none">{shape}</svg>'
    )
    uri = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return f"{title}\n\n![{title}]({uri})\n\n{ends[0]} → {ends[1]}"
