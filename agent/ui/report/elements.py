"""Pieces of HTML; all text given to them is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from matplotlib import colormaps

from agent.record import text
from agent.ui.report.picture import COLORMAP, Picture
from agent.ui.report.svg import swatch


def definitions(rows: Iterable[tuple[str, str]], kind: str = "plain") -> str:
    """Names with what they stand for."""
    pairs = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows
    )
    return f'<dl class="{kind}">{pairs}</dl>' if pairs else ""


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Iterable[int] = (),
    kind: str = "",
    first_is_head: bool = False,
) -> str:
    """A table of plain text; columns in `numbers` stand to the right."""
    right = set(numbers)

    def cells(row: Sequence[str], heads: bool) -> str:
        out = []
        for column, words in enumerate(row):
            tag = "th" if heads or (first_is_head and column == 0) else "td"
            side = ' class="n"' if column in right else ""
            out.append(f"<{tag}{side}>{escape(words)}</{tag}>")
        return "".join(out)

    lines = "".join(f"<tr>{cells(row, False)}</tr>" for row in rows)
    style = f' class="{kind}"' if kind else ""
    return (
        f'<div class="scroll"><table{style}><thead><tr>{cells(head, True)}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def shown(made: Picture, caption: str, *, small: bool = False) -> str:
    """A picture with its scale bar; `caption` is HTML."""
    width = 240.0
    height = width * made.height / made.width
    bar = width * made.bar_um / made.width_um
    length = text.length(made.bar_um)
    top = height - 0.05 * width
    words = "" if small else f'<text x="11" y="{top - 6:.1f}">{length}</text>'
    return (
        f'<figure><svg class="frame" viewBox="0 0 {width:g} {height:.1f}" role="img" '
        f'aria-label="frame, {text.length(made.width_um)} wide; scale bar {length}">'
        f'<image width="{width:g}" height="{height:.1f}" href="{made.uri}"/>'
        f'<rect x="11" y="{top:.1f}" width="{bar:.1f}" height="3.6"/>{words}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def limits(made: Picture) -> str:
    """The contrast limits of a picture, with its colours between them."""
    stops = [colormaps[COLORMAP](i / 8, bytes=True)[:3] for i in range(9)]
    ramp = ", ".join(f"rgb({r},{g},{b})" for r, g, b in stops)
    low, high = (text.number(limit) for limit in made.limits)
    reduced = f"; {made.reduced} × {made.reduced} pixels averaged" if made.reduced > 1 else ""
    return (
        f'{low}<span class="ramp" style="background:linear-gradient(90deg,{ramp})"></span>'
        f"{high} counts{reduced}"
    )


def bars(*made: Picture) -> str:
    """What the scale bars of small pictures stand for; empty where each needs its own words."""
    lengths = {one.bar_um for one in made}
    return f"Scale bars: {text.length(lengths.pop())}." if len(lengths) == 1 else ""


def plot(chart: str, caption: str = "") -> str:
    """A chart; `caption` is HTML."""
    words = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="plot">{chart}{words}</figure>'


def legend(signs: Iterable[tuple[str, str | None, str]]) -> str:
    """What marks mean: their kind, their shape (None: a line), and words."""
    items = "".join(
        f"<li>{swatch(kind, shape)}{escape(words)}</li>" for kind, shape, words in signs
    )
    return f'<ul class="legend">{items}</ul>'
