"""Rows of values within their ranges, as thermometers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Row:
    """A bar with a part of it that stands out; both are shares in [0, 1]."""

    words: str
    whole: float
    part: float


def thermometers(
    rows: Sequence[Row], title: str, label: str, meaning: tuple[str, str], *, width: float = 440.0
) -> str:
    """Horizontal bars, each under its words and with its numbers at the end.

    Parameters
    ----------
    rows
        From the top on.
    title
        Read to those who do not see it.
    label
        What the bars are a share of.
    meaning
        What the whole of a bar and its part stand for.
    width
        Units of the drawing; a letter is 12 high.
    """
    numbers, step, top = 40.0, 34.0, 22.0
    span = width - numbers
    parts = []
    for at, row in enumerate(rows):
        y = top + at * step
        whole, part = (span * min(max(share, 0.0), 1.0) for share in (row.whole, row.part))
        words = f"{row.words}: {row.whole:.2f} {meaning[0]}, {row.part:.2f} {meaning[1]}"
        parts.append(
            f"<g><title>{escape(words)}</title>"
            f'<text x="0" y="{y + 11:.1f}">{escape(row.words)}</text>'
            f'<rect class="bar back" x="0" y="{y + 16:.1f}" width="{span:g}" height="9"/>'
            f'<rect class="bar whole" x="0" y="{y + 16:.1f}" width="{whole:.1f}" height="9"/>'
            f'<rect class="bar part" x="0" y="{y + 16:.1f}" width="{part:.1f}" height="9"/>'
            f'<text x="{width:g}" y="{y + 24.5:.1f}" text-anchor="end">{row.whole:.2f}</text></g>'
        )
    height = top + step * len(rows) + 8
    said = "; ".join(f"{row.words} {row.whole:.2f}" for row in rows)
    return (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(f"{title}: {said}")}">'
        f'<text class="label" x="0" y="14">{escape(label)}</text>{"".join(parts)}</svg>'
    )
