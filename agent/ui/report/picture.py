"""Measured frames as pictures: contrast limits that are stated, a scale bar, no retouching."""

from __future__ import annotations

import math
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from agent.config.reading import UserError
from agent.record import text
from agent.ui.report.contrast import Limits, bar_length, contrast, reduced
from agent.ui.report.measured import Measured
from agent.ui.report.run_data import Run

COLORMAP = "inferno"  # even in lightness, so that it reads without colour vision and in print


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame ready to be shown.

    Attributes
    ----------
    png
        Indexed-colour PNG.
    width, height
        Of the PNG (pixels).
    width_um
        Of the field (µm).
    limits
        Values shown as black and as white.
    reduced
        Side of the square of measured pixels that became one; 1 where nothing was reduced.
    """

    png: bytes
    width: int
    height: int
    width_um: float
    limits: Limits
    reduced: int

    @property
    def uri(self) -> str:
        """The PNG inside an address, so that a page needs no file beside it."""
        return f"data:image/png;base64,{b64encode(self.png).decode()}"

    @property
    def bar_um(self) -> float:
        """A round length for the scale bar."""
        return bar_length(self.width_um)


def picture(
    pixels: NDArray[Any], pixel_um: float, limits: Limits | None = None, side: int = 512
) -> Picture:
    """Show a frame.

    Parameters
    ----------
    pixels
        Rows × columns, as measured.
    pixel_um
        Side of a pixel on the sample (µm).
    limits
        Values shown as black and white; the frame's own where absent.
    side
        Frames larger than this are reduced by averaging squares of pixels.
    """
    low, high = limits or contrast([pixels])
    factor = max(1, math.ceil(max(pixels.shape) / side))
    small = reduced(pixels, factor)
    index = np.clip((small - low) / (high - low), 0, 1) * 255
    image = Image.fromarray(np.round(index).astype(np.uint8))
    image.putpalette(_palette())
    png = BytesIO()
    image.save(png, "PNG", optimize=True)
    height, width = small.shape
    return Picture(png.getvalue(), width, height, width * factor * pixel_um, (low, high), factor)


@cache
def _palette() -> bytes:
    colours = colormaps[COLORMAP](np.arange(256), bytes=True)
    return bytes(colours[:, :3].tobytes())


# ---------------------------------------------------------------------- one picture of a result

_DARK, _INK, _MUTED = "#101216", "#eceef0", "#a6adb5"
_PANEL, _GAP, _MARGIN, _HEAD, _LINE, _FOOT = 376, 16, 20, 42, 21, 46  # pixels; 1200 in all
_LETTERS = 52  # that fit below a panel


def save_picture(folder: Path, target: Path) -> None:
    """Write the result of `plan: optimize` as one PNG: confocal, start, best.

    The frames are those retests that scored closest to the mean of their settings.

    Parameters
    ----------
    folder
        A run folder.
    target
        The PNG to write, 1200 pixels wide.

    Raises
    ------
    UserError
        No run folder, no retested frames in it, or a file that cannot be written.
    """
    run = Run.load(folder)
    start, best = run.typical("start"), run.typical("best")
    if start is None or best is None:
        raise UserError(
            f"{folder}: no picture to make, it needs start and best settings that were retested"
        )
    shown = (best.confocal, start.sted, best.sted)
    frames = [run.pixels(index) for index in shown]
    if run.damaged:
        raise UserError(f"{folder}: no picture to make, frames are damaged: {run.damaged}")
    tuned, reference = run.mode_names()
    words = (
        (f"{reference}, same field as on the right", [f"taken before the {tuned} frame"]),
        (f"{tuned}, starting settings", _caption(run, "start", start)),
        (f"{tuned}, settings found", _caption(run, "best", best)),
    )
    panels = [
        (frame, run.pixel_um_of(index), title, [*lines, _shown(frame)])
        for index, frame, (title, lines) in zip(shown, frames, words, strict=True)
        if index is not None and frame is not None
    ]
    width = 2 * _MARGIN + 3 * _PANEL + 2 * _GAP
    height = _HEAD + _PANEL + 8 + _LINE * max(len(lines) for *_, lines in panels) + _FOOT
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=_DARK)

    def write(left: float, top: float, words: str, size: float, colour: str, **more: Any) -> None:
        # A "$" in a setting's name is no formula.
        more |= {"fontsize": size, "color": colour, "parse_math": False}
        figure.text(left / width, 1 - top / height, words, **more)

    for column, (pixels, pixel_um, title, lines) in enumerate(panels):
        left = _MARGIN + column * (_PANEL + _GAP)
        write(left, 28, title, 11.5, _INK, fontweight="bold")
        bottom = 1 - (_HEAD + _PANEL) / height
        axes = figure.add_axes((left / width, bottom, _PANEL / width, _PANEL / height))
        low, high = contrast([pixels])
        axes.imshow(pixels, cmap=COLORMAP, vmin=low, vmax=high)
        axes.set_axis_off()
        _bar(axes, pixels, pixel_um)
        for row, line in enumerate(lines):
            first = row == 0 and column > 0
            write(
                left,
                _HEAD + _PANEL + 24 + _LINE * row,
                line,
                10.5 if first else 9.5,
                _INK if first else _MUTED,
                fontweight="bold" if first else "normal",
            )
    write(_MARGIN, height - 16, _footnote(run), 9, _MUTED)
    try:
        figure.savefig(target, format="png", facecolor=_DARK)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from None


def _shown(pixels: NDArray[Any]) -> str:
    low, high = contrast([pixels])
    return f"shown from {text.number(low)} to {text.number(high)} counts"


def _caption(run: Run, which: str, shown: Measured) -> list[str]:
    part = run.summary[which]
    return [
        f"score {text.spread_of_scores(part['score'])}",
        f"bleaching {text.spread_of_shares(part['bleaching'])}",
        *wrap(text.settings_line(shown.settings, run.config.microscope.settings), _LETTERS),
    ]


def _footnote(run: Run) -> str:
    return (
        f"{run.origin}. Start and best on different, fresh fields; mean ± sd over n fields; "
        "shown are the frames closest to the mean score."
    )


def _bar(axes: Axes, pixels: NDArray[Any], pixel_um: float) -> None:
    height, width = pixels.shape
    um = bar_length(width * pixel_um)
    left, low = 0.045 * width, 0.955 * height
    # A thin dark edge keeps the bar legible on bright structure.
    axes.add_patch(
        Rectangle((left, low), um / pixel_um, -0.016 * height, fc="white", ec=_DARK, lw=0.6)
    )
    axes.text(
        left,
        low - 0.03 * height,
        text.length(um),
        color="white",
        fontsize=10.5,
        va="bottom",
        path_effects=[withStroke(linewidth=2, foreground=_DARK)],
    )
