"""Small charts as SVG that takes its colours from the page, in light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise

from agent.ui.report.axis import Axis
from devices.config import Value

_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 14.0, 30.0, 46.0
_MOST_POINTS = 600
_SHAPES = {
    "dot": "M-3.6,0a3.6,3.6 0 1,0 7.2,0a3.6,3.6 0 1,0 -7.2,0z",
    "diamond": "M0,-4.6L4.6,0L0,4.6L-4.6,0z",
    "cross": "M-3.5,-3.5L3.5,3.5M-3.5,3.5L3.5,-3.5",
    "square": "M-4.2,-4.2h8.4v8.4h-8.4z",
    "triangle": "M0,-5.4L5,3.9h-10z",
    "plus": "M-4.6,0H4.6M0,-4.6V4.6",
}


class Chart:
    """One chart; later marks lie above earlier ones.

    Parameters
    ----------
    x, y
        Its axes.
    title
        Read to those who do not see it.
    width, height
        Units of the drawing; a letter is 12 high.
    """

    def __init__(
        self, x: Axis, y: Axis, title: str, *, width: float = 440.0, height: float = 290.0
    ) -> None:
        self._x, self._y, self._title = x, y, title
        self._size = width, height
        self._parts: list[str] = []

    def points(
        self, values: Iterable[tuple[Value, float, str]], kind: str, shape: str = "dot"
    ) -> None:
        """Draw markers at (x, y), each with words that appear under the pointer."""
        for x, y, words in values:
            self._parts.append(
                f'<path class="mark {kind}" d="{_SHAPES[shape]}" '
                f'transform="translate({self._left(x):.1f},{self._top(y):.1f})">'
                f"<title>{escape(words)}</title></path>"
            )

    def bars(self, values: Iterable[tuple[Value, float, float]]) -> None:
        """Draw standard deviations of y, from (x, y, sd)."""
        path = "".join(
            f"M{self._left(x):.1f},{self._top(y - sd):.1f}V{self._top(y + sd):.1f}"
            for x, y, sd in values
            if sd > 0
        )
        if path:
            self._parts.append(f'<path class="line bar" d="{path}"/>')

    def line(
        self, values: Sequence[tuple[Value, float]], kind: str, *, steps: bool = False
    ) -> None:
        """Draw a line through points; with `steps` it stays level until the next one."""
        path = ""
        for x, y in _thin(values):
            left, top = f"{self._left(x):.1f}", f"{self._top(y):.1f}"
            path += (f"H{left}V{top}" if steps else f"L{left},{top}") if path else f"M{left},{top}"
        if path:
            self._parts.append(f'<path class="line {kind}" d="{path}"/>')

    def level(self, y: float, kind: str) -> None:
        """Draw a line across, at y."""
        left, right = _LEFT, self._size[0] - _RIGHT
        self._parts.append(f'<path class="line {kind}" d="M{left},{self._top(y):.1f}H{right}"/>')

    def border(self, x: Value, kind: str, words: str = "") -> None:
        """Draw a line from top to bottom, at x."""
        left = self._left(x)
        self._parts.append(
            f'<path class="line {kind}" d="M{left:.1f},{_TOP}V{self._size[1] - _BOTTOM}"/>'
        )
        if words:
            near_end = left > 0.62 * self._size[0]
            anchor, shift = ("end", -5) if near_end else ("start", 5)
            self._parts.append(
                f'<text x="{left + shift:.1f}" y="{_TOP + 10}" text-anchor="{anchor}">'
                f"{escape(words)}</text>"
            )

    def band(self, low: float, high: float, kind: str) -> None:
        """Shade between two values of y."""
        top, bottom = self._top(high), self._top(low)
        self._parts.append(
            f'<rect class="{kind}" x="{_LEFT}" y="{top:.1f}" '
            f'width="{self._size[0] - _LEFT - _RIGHT}" height="{max(bottom - top, 0):.1f}"/>'
        )

    def area(self, values: Sequence[tuple[Value, float, float]], kind: str) -> None:
        """Shade between two lines, from (x, low, high)."""
        there = [f"{self._left(x):.1f},{self._top(high):.1f}" for x, _, high in values]
        back = [f"{self._left(x):.1f},{self._top(low):.1f}" for x, low, _ in reversed(values)]
        if there:
            path = "L".join(there + back)
            self._parts.append(f'<path class="area {kind}" d="M{path}z"/>')

    def hints(self, values: Sequence[tuple[Value, float, str]]) -> None:
        """Let words appear under the pointer all over the chart, nearest in x."""
        places = [self._left(x) for x, *_ in values]
        edges = [_LEFT, *((a + b) / 2 for a, b in pairwise(places)), self._size[0] - _RIGHT]
        height = self._size[1] - _BOTTOM - _TOP
        for (_, _, words), left, right in zip(values, edges, edges[1:], strict=False):
            self._parts.append(
                f'<rect class="hint" x="{left:.1f}" y="{_TOP}" width="{max(right - left, 0):.1f}" '
                f'height="{height:g}"><title>{escape(words)}</title></rect>'
            )

    def spread(
        self, x: float, y: float, dx: float, dy: float, kind: str, shape: str, words: str
    ) -> None:
        """Draw a marker with its standard deviations."""
        left, top = self._left(x), self._top(y)
        ends = self._left(x - dx), self._left(x + dx), self._top(y - dy), self._top(y + dy)
        self._parts.append(
            f'<path class="line {kind}" d="M{ends[0]:.1f},{top:.1f}H{ends[1]:.1f}'
            f'M{left:.1f},{ends[2]:.1f}V{ends[3]:.1f}"/>'
        )
        self.points([(x, y, words)], kind, shape)

    def svg(self) -> str:
        """The drawing, to be put into a page as it is."""
        width, height = self._size
        bottom, right = height - _BOTTOM, width - _RIGHT
        frame = []
        for value, words in self._y.ticks:
            top = self._top(value)
            frame.append(f'<path class="grid" d="M{_LEFT},{top:.1f}H{right}"/>')
            frame.append(
                f'<text x="{_LEFT - 7}" y="{top + 4:.1f}" text-anchor="end">{escape(words)}</text>'
            )
        for value, words in self._x.ticks:
            left = _LEFT + self._x.place(value) * (right - _LEFT)
            frame.append(f'<path class="axis" d="M{left:.1f},{bottom}v4"/>')
            place = f'x="{left:.1f}" y="{bottom + 17}" text-anchor="middle"'
            frame.append(f"<text {place}>{escape(words)}</text>")
        frame.append(f'<path class="axis" d="M{_LEFT},{bottom}H{right}"/>')
        labels = (
            f'<text class="label" x="0" y="14">{escape(self._y.label)}</text>'
            f'<text class="label" x="{(_LEFT + right) / 2}" y="{height - 8}" '
            f'text-anchor="middle">{escape(self._x.label)}</text>'
        )
        return (
            f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'aria-label="{escape(self._title)}">{"".join(frame + self._parts)}{labels}</svg>'
        )

    def _left(self, x: Value) -> float:
        return _LEFT + _inside(self._x.at(x)) * (self._size[0] - _LEFT - _RIGHT)

    def _top(self, y: float) -> float:
        bottom = self._size[1] - _BOTTOM
        return bottom - _inside(self._y.at(y)) * (bottom - _TOP)


def swatch(kind: str, shape: str | None) -> str:
    """A sign for a legend: a marker, or a line where `shape` is None."""
    if shape is None:
        drawn = f'<path class="line {kind}" d="M1,7H23"/>'
    else:
        drawn = f'<path class="mark {kind}" d="{_SHAPES[shape]}" transform="translate(12,7)"/>'
    return f'<svg class="swatch" viewBox="0 0 24 14" aria-hidden="true">{drawn}</svg>'


def _inside(share: float) -> float:
    """Keep values outside the drawing, and those that are no number, at its edge."""
    return min(max(share, -0.02), 1.02) if share == share else -0.02


def _thin(values: Sequence[tuple[Value, float]]) -> Sequence[tuple[Value, float]]:
    """Leave out points that are closer together than the drawing is fine.

    Of each of many short stretches the first, the lowest, the highest and the last point stay, so
    that no peak is lost (M4: Jugel et al., Proc. VLDB Endow. 7, 797 (2014)).
    """
    if len(values) <= _MOST_POINTS:
        return values
    step = math.ceil(4 * len(values) / _MOST_POINTS)
    kept: list[tuple[Value, float]] = []
    for begin in range(0, len(values), step):
        stretch = range(begin, min(begin + step, len(values)))
        low, high = (end(stretch, key=lambda at: values[at][1]) for end in (min, max))
        kept += [values[at] for at in sorted({stretch[0], low, high, stretch[-1]})]
    return kept
