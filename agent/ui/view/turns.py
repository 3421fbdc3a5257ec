"""How often a page is updated: drawing for all pages shall leave the processor to the run."""

from __future__ import annotations

from collections import OrderedDict

ALONE_S = 0.2
"""Time from one turn to the next, at least, where only one page is open (s)."""
SHARED_S = 0.5
"""The same where there are several (s)."""
MOST_S = 1.0
"""No page waits longer for being slow (s)."""
LONGEST_S = 3.0
"""No page waits longer, however many there are: viewers cannot make each other's stale (s)."""
_SHARE = 1 / 30
"""Of a page's time that it may draw."""
_GONE_S = 4.0
_MOST_PAGES = 200


class Pace:
    """Turns of the pages that are open.

    A page that is open alone has five turns a second, several have two together; fewer where a
    page took more than a thirtieth of that time to draw its last picture, which tells how fast
    and how busy the browser's machine is. So three pages cost no more than one, and on a machine
    that has other work they do less.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()

    def rest_s(self, page: str, took_s: float, now_s: float) -> float:
        """Time until a page, which asks now, gets updates that are not urgent (s).

        Parameters
        ----------
        page
            Its name.
        took_s
            Time that it took to draw its last pictures (s).
        now_s
            Of any clock that never goes back (s).
        """
        self._seen[page] = now_s
        self._seen.move_to_end(page)
        while len(self._seen) > _MOST_PAGES or now_s - next(iter(self._seen.values())) > _GONE_S:
            self._seen.popitem(last=False)
        pages = len(self._seen)
        least = pages * (SHARED_S if pages > 1 else ALONE_S)
        return min(max(least, min(pages * took_s / _SHARE, MOST_S)), LONGEST_S)
