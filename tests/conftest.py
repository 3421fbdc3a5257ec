"""Fixtures of several test modules."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import typer.main

from agent.workers import process
from tests.helpers.impatient import shorten

# Rewriting the assertions of all tests takes as long as importing what they test: it is done once,
# and so is compiling in the processes that they start, also where the environment is against it.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The processes that test share the cores: threads of theirs would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A run waits for the disk after each frame, which takes no time where the disk is memory.
_IN_MEMORY = Path("/dev/shm")
if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > 2e9:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_IN_MEMORY))

# Their assertions say as much as those of the tests.
pytest.register_assert_rewrite("tests.helpers.runs", "tests.helpers.stories")


SLOW_S = 0.25
"""Processor time from which a test is marked `slow` (s)."""
_WEIGHTS = {"browser": 100, "slow": 40}
"""How much longer a marked test takes than others, about."""
_BEGAN = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--marks",
        action="store_true",
        help="name the tests whose mark `slow` is not what their processor time says",
    )


def processor_s() -> float:
    """Of this process, and of those that it started and that have ended (s)."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    item.stash[_BEGAN] = processor_s()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    finally:
        item.user_properties.append(("processor_s", processor_s() - item.stash[_BEGAN]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The first test of a module is taken for slow, too, where the module's fixtures are."""
    if not terminalreporter.config.getoption("marks"):
        return
    for report in terminalreporter.getreports("passed"):
        took = dict(report.user_properties).get("processor_s")
        if report.when != "call" or not isinstance(took, float):
            continue
        # Processes that are copies of one, and browsers, are not counted.
        elsewhere = {"process", "browser"} & set(report.keywords)
        if "slow" not in report.keywords and took > SLOW_S:
            terminalreporter.write_line(f"{took:.2f} s, and not slow: {report.nodeid}")
        elif "slow" in report.keywords and took < SLOW_S / 2 and not elsewhere:
            terminalreporter.write_line(f"{took:.2f} s, and slow: {report.nodeid}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a page are those of a browser; files that take long begin first.

    A file stays in one process: one that begins last leaves the others without work.
    """
    takes: Counter[Path] = Counter()
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        takes[item.path] += 1
        for mark, weight in _WEIGHTS.items():
            takes[item.path] += weight * (item.get_closest_marker(mark) is not None)
    items.sort(key=lambda item: takes[item.path], reverse=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """What is imported stays: to look for garbage in it over and over takes a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder for what stedfast keeps of a user and of devices in use, apart from your own.

    Tests that run side by side have devices of the same names, each its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        place = str(tmp_path_factory.mktemp("state"))
        for name in ("STEDFAST_STATE", "XDG_STATE_HOME", "LOCALAPPDATA"):
            patch.setenv(name, place)
        yield


@pytest.fixture(scope="session", autouse=True)
def copied() -> None:
    """On Linux, processes that tests start are copies of one with most of their imports."""
    if sys.platform != "linux":
        return
    simulate = "agent.offline.simulate"
    process._IMPORTED += [f"{simulate}.{name}" for name in ("labels", "movie_set", "table")]
    process._IMPORTED += ["agent.workers.rebuild_process", "agent.workers.shared_process"]
    get_context("forkserver").set_forkserver_preload(process._IMPORTED)


@pytest.fixture(scope="session", autouse=True)
def urgent() -> Iterator[None]:
    """Processes beside a run are waited for by tests, and give way to no other test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_NICER", 0)
        yield


@pytest.fixture(scope="session", autouse=True)
def commands() -> Iterator[None]:
    """The command line as typer makes it of its functions is made once, and not for each call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """No session of a test that failed holds the devices of the next one."""
    runs = sys.modules.get("tests.helpers.runs")
    # Those of fixtures that several tests share go on.
    before = runs.begun() if runs else ()
    yield
    if runs:
        runs.stop_begun(before)


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals that are not ignored, in this process and in those that it starts.

    A command that is over leaves them ignored, as its process is about to end, and so are those
    of a test run in the background.
    """
    monkeypatch.setattr("agent.run.signals._last", False)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
        number = getattr(signal, name, None)  # Windows has the first two
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(
                number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
            )


@pytest.fixture(scope="session", autouse=True)
def tired() -> Iterator[None]:
    """No process for each of hundreds of runs keeps the computer awake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.run.awake._commands", list)
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that hangs is waited for by tenths of a second."""
    shorten(monkeypatch.setattr)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread, so that its sums do not depend on the machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless browser; tests that need one are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if (found := shutil.which("chromium") or shutil.which("chromium-browser")) is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as made:
        browser = made.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """An empty page, on which nothing may go wrong."""
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.set_default_timeout(240_000)
    yield page
    context.close()
    assert not wrong, wrong
