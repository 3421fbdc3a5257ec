"""A page that is slow as if on a slow computer: its process is stopped most of the time.

Chromium's own `Emulation.setCPUThrottlingRate` keeps the page's thread spinning for the time that
it shall not run: an empty page, throttled to a twentieth, takes a whole core. That would measure
the throttle: what a slow computer does slowly takes nothing from this one.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_PERIOD_S = 0.1
_NETWORK = {
    "offline": False,
    "latency": 200,
    "downloadThroughput": 60_000,
    "uploadThroughput": 20_000,
}
_SPIN = "for (const end = performance.now() + {ms:g}; performance.now() < end;);"
_SPIN_MS, _LONGEST_MS = 300.0, 5000.0


@contextmanager
def slowed(page: Any, times: float) -> Iterator[None]:
    """Slow a page down, and its network.

    Parameters
    ----------
    page
        Playwright's; the renderer that draws it is its own.
    times
        How much longer its work takes.
    """
    tools = page.context.new_cdp_session(page)
    tools.send("Network.enable")
    tools.send("Network.emulateNetworkConditions", _NETWORK)
    renderer = _renderer(page)
    over = threading.Event()
    thread = threading.Thread(target=_stop_and_go, args=(renderer, times, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def processor_s(browser: Any) -> dict[int, tuple[str, float]]:
    """Type and processor time (s) of each process of a browser, by number of the process."""
    found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return {one["id"]: (one["type"], one["cpuTime"]) for one in found}


def _renderer(page: Any) -> int:
    """The process that a page is drawn by: the one that is busy when the page is."""
    last, ms = None, _SPIN_MS
    while True:
        before = processor_s(page.context.browser)
        page.evaluate(_SPIN.format(ms=ms))
        after = processor_s(page.context.browser)
        drawing = [pid for pid, (kind, _) in after.items() if kind == "renderer" and pid in before]
        busy = {pid: after[pid][1] - before[pid][1] for pid in drawing}
        first, *others = sorted(drawing, key=lambda pid: busy[pid], reverse=True)
        clear = busy[first] > 0.1 and all(busy[pid] < busy[first] / 3 for pid in others)
        # Another one may be starting or ending just now: it is not busy each time.
        if clear and first == last:
            return int(first)
        last = first if clear else None
        if not clear:  # on a busy machine it needs longer to be seen
            ms = min(1.5 * ms, _LONGEST_MS)


def _stop_and_go(pid: int, times: float, over: threading.Event) -> None:
    with suppress(ProcessLookupError):
        try:
            began = time.monotonic()
            while not over.wait(_PERIOD_S / times):
                os.kill(pid, signal.SIGSTOP)
                # The time it really had: on a busy machine a sleep takes longer.
                over.wait((time.monotonic() - began) * (times - 1))
                os.kill(pid, signal.SIGCONT)
                began = time.monotonic()
        finally:
            os.kill(pid, signal.SIGCONT)
