"""Numbers to a small picture, in Markdown for the pages that people look at, or in a file.

In Markdown, the picture is an SVG in a data URI: what is drawn, and below it two rows of text, what
some of the bars or points are and their numbers. Its one colour is seen well on white and on black,
which an image is not told. The words around it are Markdown, in the colours of the page.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from math import log, log1p
from typing import Final
from xml.sax.saxutils import escape

# Dagster 1.13 hides Markdown of 1,000 characters or more behind a link ("Show Markdown").
MAX_CHARACTERS: Final = 999

_WIDTH: Final = 360  # pixels
_HEIGHT: Final = 64  # of what is drawn
_ROW: Final = 14  # height of a row of text
_LETTER: Final = 7.2  # width of a letter
_LETTERS: Final = 50  # of a row, which is as wide as the picture
_SPACE: Final = "\N{NO-BREAK SPACE}"  # several of the usual one are drawn as one
_COLOUR: Final = "#4a7dfc"
_MOST_DIGITS: Final = 9  # of a number below the picture; longer ones are rounded


def curve(
    title: str, ranks: Sequence[int], values: Sequence[float], *, ends: tuple[str, str]
) -> str:
    """Draw values by rank, both on a log scale; some 40 ranks fit into `MAX_CHARACTERS`.

    Args:
        title: plain text that stands above.
        ranks: ascending, from 1; at least one. They stand below the picture.
        values: one for each rank, at least 0.
        ends: the first and the last rank in words, which stand below.
    """
    widest, highest = log(ranks[-1]) or 1.0, log1p(max(values)) or 1.0
    across = [log(rank) / widest for rank in ranks]
    points = [
        (round(at * _WIDTH), _y(log1p(value) / highest))
        for at, value in zip(across, values, strict=True)
    ]
    # The end of the line drawn level to the border: a single rank has a width too.
    points.append((_WIDTH, points[-1][1]))
    steps = " ".join(
        f"{x - before_x} {y - before}" for (before_x, before), (x, y) in pairwise(points)
    )
    path = f'<path d="M0 {points[0][1]}l{steps}V{_HEIGHT}H0z"/>'
    return _markdown(title, path, _rows(across, list(map(str, ranks)), values), ends)


def bars(
    title: str,
    values: Sequence[float],
    names: Sequence[str],
    *,
    ends: tuple[str, str],
    log_scale: bool = False,
) -> str:
    """Draw values as bars side by side; some 40 fit into `MAX_CHARACTERS`.

    Args:
        title: plain text that stands above.
        values: at least 0; at least one.
        names: what each bar is, in few letters, which stand below the picture.
        ends: the first and the last bar in words, which stand below.
        log_scale: draw heights by their logarithm, where few values dwarf the others.
    """
    heights = [log1p(value) for value in values] if log_scale else list(values)
    highest = max(heights) or 1.0
    # What is there is seen, however little it is.
    tops = [min(_y(height / highest), _HEIGHT - 2) if height else _HEIGHT for height in heights]
    outline = "".join(f"V{top}h{len([*same])}" for top, same in groupby(tops))
    width = f"{_WIDTH / len(tops):.5g}"
    path = f'<path transform="scale({width} 1)" d="M0 {_HEIGHT}{outline}V{_HEIGHT}z"/>'
    middles = [(at + 0.5) / len(tops) for at in range(len(tops))]
    return _markdown(title, path, _rows(middles, names, values), ends)


def intervals(
    title: str, groups: Mapping[str, Sequence[tuple[str, float, float, float]]], *, unit: str
) -> str:
    """Draw intervals below one another, beside a line where zero is; as SVG of its own.

    Args:
        title: plain text that stands above.
        groups: by heading: name, low, middle and high of each row, at least one. Each group has a
            scale of its own: what is little for one is much for another.
        unit: of the numbers, which stand behind the intervals.
    """
    rows = [row for of in groups.values() for row in of]
    left = round(_LETTER * max(map(len, (*groups, *(name for name, *_ in rows))))) + 2 * _ROW
    right = left + _WIDTH + _ROW
    numbers = [f"{low:+.2f}..{high:+.2f}" for _, low, _, high in rows]
    drawn, y, written = [_line(0, 1, f"{title}; {unit}")], 2, iter(numbers)
    for heading, of in groups.items():
        lowest = min(0.0, *(low for _, low, _, _ in of))
        span = (max(0.0, *(high for _, _, _, high in of)) - lowest) or 1.0

        def x(value: float, lowest: float = lowest, span: float = span) -> float:
            return round(left + _WIDTH * (value - lowest) / span, 1)

        drawn.append(_line(0, y + 1, heading))
        drawn.append(f'<path d="M{x(0)} {_ROW * (y + 1)}v{_ROW * len(of)}" class="zero"/>')
        for row, (name, low, middle, high) in enumerate(of, start=y + 2):
            at = _ROW * row - _ROW / 2 + 2
            drawn += [
                _line(_ROW, row, name),
                f'<path d="M{x(low)} {at}H{x(high)}"/>',
                f'<circle cx="{x(middle)}" cy="{at}" r="3"/>',
                _line(right, row, next(written)),
            ]
        y += len(of) + 2
    width = right + round(_LETTER * max(map(len, numbers))) + _ROW
    style = f"path{{stroke:{_COLOUR};stroke-width:1.5}}.zero{{stroke-dasharray:2}}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_ROW * y}" '
    head += f'fill="{_COLOUR}" style="font:12px monospace"><style>{style}</style>'
    return f"{head}{''.join(drawn)}</svg>\n"


def _line(x: float, row: int, text: str) -> str:
    return f'<text x="{x}" y="{_ROW * row}">{escape(text)}</text>'


def _y(share: float) -> int:
    return round(_HEIGHT * (1 - share))


def _rows(across: Sequence[float], names: Sequence[str], values: Sequence[float]) -> str:
    """Write names, and below them numbers, under as many places of the picture as there is room.

    Args:
        across: where a place is, from 0 at the left border to 1 at the right one, ascending.
        names: of the places.
        values: of the places.
    """
    numbers = [_figure(value) for value in values]
    widths = [max(map(len, both)) for both in zip(names, numbers, strict=True)]
    starts = [
        max(0, min(round(at * _LETTERS - width / 2), _LETTERS - width))
        for at, width in zip(across, widths, strict=True)
    ]
    for step in range(1, len(starts) + 1):
        chosen = range(0, len(starts), step)
        if all(starts[a] + widths[a] < starts[b] for a, b in pairwise(chosen)):
            break
    return "".join(
        _row(y, [(starts[at], texts[at].center(widths[at])) for at in chosen])
        for y, texts in ((_HEIGHT + _ROW - 2, names), (_HEIGHT + 2 * _ROW - 2, numbers))
    )


def _row(y: int, texts: Sequence[tuple[int, str]]) -> str:
    line = ""
    for start, text in texts:
        line = line.ljust(start) + text
    line = line.rstrip()
    indent = len(line) - len(line.lstrip())
    # The width is told: letters of one width are not of the same one everywhere.
    width = (len(line) - indent) * _LETTER
    return (
        f'<text x="{indent * _LETTER:.0f}" y="{y}" textLength="{width:.0f}">'
        f"{escape(line.lstrip()).replace(' ', _SPACE)}</text>"
    )


def _figure(value: float) -> str:
    """Write a number as it is where that is short."""
    whole = f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"
    return whole if len(whole) <= _MOST_DIGITS else f"{value:.2e}"


def _markdown(title: str, path: str, rows: str, ends: tuple[str, str]) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT + 2 * _ROW}" '
        f'fill="{_COLOUR}" style="font:12px monospace">{path}{rows}</svg>'
    )
    uri = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return f"{title}\n\n![]({uri})\n\n{ends[0]} → {ends[1]}"
