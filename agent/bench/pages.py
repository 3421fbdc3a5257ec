"""What open pages cost the acquisition, and how long a frame takes to a page.

The sessions of `stedfast bench loop`, by turns without any page and with three in a real browser
on the same machine, one of them slowed to a twentieth of its speed and a slow network. Then one
page at 10 frames a second: the time from a frame's row in the ledger to its picture.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from agent.bench.measurement import Check, Measurement
from agent.bench.slowed import processor_s, slowed
from agent.config import RunConfig
from agent.config.reading import UserError
from agent.record.ledger import Ledger
from agent.run import Session
from agent.ui.view.process import ViewProcess
from agent.ui.web.access import Place
from devices.microscope import Microscope

_REPEATS = 7
# So many that opening a page, and the odd disturbance, weigh little.
_FRAMES = 1000
_PAGES = 3
"""Pages that are open at once; chosen."""
_SLOWER = 20
"""Factor by which the first page's processor is slowed; chosen."""
_RATE_HZ = 10
_TIMED = 100
_LISTEN = """
window.drawn = [];
document.addEventListener("drawn", ({ detail }) => window.drawn.push([detail.index, detail.at]));
"""


def measure_pages(
    config: Callable[[int], RunConfig], *, quick: bool, seeds: int | None
) -> Measurement:
    """Alternate sessions without and with pages, and time frames to a page.

    Parameters
    ----------
    config
        Of a live run of a number of frames.
    quick, seeds
        Fewer frames; number of repeats.

    Raises
    ------
    UserError
        There is no browser here.
    """
    repeats = seeds or (3 if quick else _REPEATS)
    frames = 100 if quick else _FRAMES
    raw: dict[str, list[float]] = {"none_s": [], "pages_s": []}
    drawn: list[int] = []
    busy: list[float] = []
    folder = Path(tempfile.mkdtemp(prefix="stedfast-bench-"))
    try:
        with _browser() as browser:
            for repeat in range(repeats):
                # Other load on the machine drifts: neither is always the first.
                names = ["none_s", "pages_s"]
                for name in names if repeat % 2 else names[::-1]:
                    run = folder / f"{repeat}-{name}"
                    shown = browser if name == "pages_s" else None
                    seconds, counts, cores = _session(config(frames), run, shown)
                    raw[name].append(seconds)
                    drawn += counts
                    busy += [cores] if shown else []
                    shutil.rmtree(run)
            late = _latency(config(_TIMED), folder / "latency", browser)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratios = [a / b for a, b in zip(raw["pages_s"], raw["none_s"], strict=True)]
    rows = [
        (
            words,
            f"{1e3 * median(raw[name]) / frames:.2f}",
            f"{1e3 * min(raw[name]) / frames:.2f} … {1e3 * max(raw[name]) / frames:.2f}",
            f"{median(ratios):.3f}" if name == "pages_s" else "1",
        )
        for name, words in (("none_s", "no page"), ("pages_s", f"{_PAGES} pages, one throttled"))
    ]
    rows.append(
        (
            "cores that the browser keeps busy",
            f"{median(busy):.3f}",
            f"{min(busy):.3f} … {max(busy):.3f}",
            "",
        )
    )
    rows.append(
        (
            f"frame to page at {_RATE_HZ} Hz, ms",
            f"{1e3 * median(late):.0f}",
            f"{1e3 * min(late):.0f} … {1e3 * max(late):.0f}",
            "",
        )
    )
    return Measurement(
        columns=("", "ms a frame, median", "spread", "× no page, median"),
        rows=rows,
        checks=[
            Check(f"{_PAGES} open pages, median ratio to none", median(ratios), "<=", 1.05),
            Check("first frame on the page after", late[0], "<=", 1.0, "s"),
            Check("any frame on the page after, most", max(late), "<=", 1.0, "s"),
        ],
        raw={
            **raw,
            "ratios": ratios,
            "frames": frames,
            "drawn": drawn,
            "busy": busy,
            "late_s": late,
        },
        seeds=list(range(repeats)),
    )


@contextmanager
def _browser() -> Iterator[Any]:
    """A headless Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UserError("bench loop --view: needs playwright: pip install playwright") from None
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise UserError("bench loop --view: needs Chromium: apt-get install chromium")
    with sync_playwright() as made:
        browser = made.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


def _session(config: RunConfig, run: Path, browser: Any) -> tuple[float, list[int], float]:
    """Seconds of a session, frames that each page has drawn, cores that the browser kept busy."""
    run.mkdir()
    with ExitStack() as after:
        microscope = after.enter_context(Microscope.open(config.microscope))
        session = Session(config, run.parent / "bench.yaml", run, microscope=microscope)
        pages = []
        if browser is not None:
            beside = ViewProcess(run, Place(port=0))
            after.callback(beside.end)
            link = beside.links()["control"]
            pages = [_page(browser, link, after) for _ in range(_PAGES)]
        with slowed(pages[0], _SLOWER) if pages else nullcontext():
            before = _busy_s(browser)
            started = time.perf_counter()
            result = session.run()
            seconds = time.perf_counter() - started
            busy = _busy_s(browser) - before
        if result.status != "completed":
            raise RuntimeError(f"the benchmark's run ended as {result.status}: {result.reason}")
        return seconds, [len(page.evaluate("window.drawn")) for page in pages], busy / seconds


def _busy_s(browser: Any) -> float:
    """Processor time of all processes of a browser (s)."""
    return sum(busy for _, busy in processor_s(browser).values()) if browser is not None else 0.0


def _page(browser: Any, link: str, after: ExitStack) -> Any:
    """A page that waits for its run."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    after.callback(context.close)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.add_init_script(_LISTEN)
    page.goto(link)
    page.wait_for_selector('#phase[data-phase="waiting"]')
    return page


def _latency(config: RunConfig, run: Path, browser: Any) -> list[float]:
    """Seconds from a frame's row in the ledger to its picture, for all that were drawn."""
    paced = config.live.model_copy(update={"interval_s": 1 / _RATE_HZ})
    config = config.model_copy(update={"live": paced})
    run.mkdir()
    with ExitStack() as after:
        microscope = after.enter_context(Microscope.open(config.microscope))
        session = Session(config, run.parent / "bench.yaml", run, microscope=microscope)
        beside = ViewProcess(run, Place(port=0))
        after.callback(beside.end)
        page = _page(browser, beside.links()["control"], after)
        session.run()
        page.wait_for_selector('#phase[data-phase="completed"]')
        shown = page.evaluate("window.drawn")
    with closing(Ledger(run, readonly=True)) as ledger:
        taken = {entry.frame: datetime.fromisoformat(entry.at) for entry in ledger.entries("frame")}
    return [at / 1e3 - taken[index].timestamp() for index, at in shown]
