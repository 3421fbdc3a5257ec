"""Reports that are drawn for a page, and the addresses that they have for a while.

A link cannot carry the token: a browser opens it without. So a page with a token asks for a report,
and gets an address that cannot be guessed and that leads to this one drawing alone.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from pathlib import Path

_KEPT = 4
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox"
)
"""Of a report: it draws itself, runs nothing and fetches nothing."""


class Reports:
    """The latest drawings of one run.

    Parameters
    ----------
    folder
        The run's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._drawn: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def draw(self, version: int) -> str:
        """Draw the run as it stands; the word that its address ends with.

        Parameters
        ----------
        version
            Of the run: one that was drawn already is not drawn again.

        Raises
        ------
        UserError
            The folder cannot be read.
        """
        from agent.ui.report.page import render
        from agent.ui.report.run_data import Run

        for word, (drawn, _) in self._drawn.items():
            if drawn == version:
                return word
        page = render(Run.load(self._folder)).encode("utf-8")
        word = secrets.token_urlsafe(24)
        self._drawn[word] = version, page
        while len(self._drawn) > _KEPT:
            self._drawn.popitem(last=False)
        return word

    def page(self, word: str) -> bytes | None:
        """A drawing; None if there is none, or no longer."""
        found = self._drawn.get(word)
        return None if found is None else found[1]
