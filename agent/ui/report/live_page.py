"""A page that shows the newest filtered frame beside its raw one, and reloads itself.

`live.html` in the run's folder; any browser shows it, and nothing has to be started for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.record.safe_files import replace_text

FILE = "live.html"
_EVERY_S = 1.0
_SHARE = 0.1
"""Of the filter's time that may go into drawing."""
_RELOAD = f'<meta http-equiv="refresh" content="{_EVERY_S:g}">'
_RUNNING = "The run continues."


class LivePage:
    """Draws the page, about once a second.

    Parameters
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._draw: Callable[..., str] | None = None
        self._css = ""
        # Importing the drawing code takes longer than filtering many frames; nothing waits for it.
        threading.Thread(target=self._import, name="import the report", daemon=True).start()
        self._folder = folder
        self._next = 0.0

    def _import(self) -> None:
        from agent.ui.report.comparison import beside
        from agent.ui.report.style import CSS

        self._css = CSS
        self._draw = beside

    def show(
        self,
        index: int,
        raw: NDArray[Any],
        filtered: NDArray[Any],
        sd: NDArray[Any],
        uncertainty: float,
        pixel_um: Callable[[], float],
    ) -> None:
        """Show a frame, unless the last one was shown a moment ago.

        Parameters
        ----------
        index
            Its number.
        raw, filtered, sd
            The frame, what the filter made of it, and its standard deviation (rows × columns).
        uncertainty
            One number for the frame.
        pixel_um
            Asked for the side of its pixels on the sample (µm), if it is shown.

        Raises
        ------
        OSError
            The disk refused.
        """
        started = time.monotonic()
        if self._draw is None or started < self._next:
            return
        shown = self._draw(raw, filtered, sd, pixel_um())
        words = f"Frame {index}, uncertainty {uncertainty:.3g}."
        _write(self._folder, words, shown, self._css)
        took = time.monotonic() - started
        self._next = started + max(_EVERY_S, took / _SHARE)


def begin(folder: Path) -> None:
    """Write a page that waits for the first frame, so that it can be opened at once."""
    with suppress(OSError):
        _write(folder, "No frame is filtered yet.")


def end(folder: Path, report: str) -> None:
    """Let the page stop reloading and lead to the report."""
    file = folder / FILE
    with suppress(OSError):
        page = file.read_text(encoding="utf-8")
        link = f'The run is over: <a href="{escape(report)}">{escape(report)}</a>.'
        replace_text(file, page.replace(f"{_RELOAD}\n", "").replace(_RUNNING, link))


def _write(folder: Path, words: str, shown: str = "", css: str = "") -> None:
    name = escape(folder.resolve().name)
    replace_text(
        folder / FILE,
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_RELOAD}\n'
        f"<title>{name} – live</title>\n<style>{css}</style>\n</head>\n<body>\n"
        f"<h1>{name}</h1>\n<p>{words} {_RUNNING}</p>\n{shown}\n</body>\n</html>\n",
    )
