"""Fixtures of several test modules."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

# Tests that run side by side have devices of the same names, each its own.
os.environ["STEDFAST_STATE"] = tempfile.mkdtemp(prefix="stedfast-state-")

# Whoever runs the tests in the background may have signals ignored, and what is ignored stays so
# in the processes that tests start and signal.
for _name, _default in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)

# Their assertions say as much as those of the tests.
pytest.register_assert_rewrite("tests.runs", "tests.stories")


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What stedfast keeps for a user, apart from that of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        place = str(tmp_path_factory.mktemp("state"))
        for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):
            patch.setenv(name, place)
        yield


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
    page.set_default_timeout(60_000)
    yield page
    context.close()
    assert not wrong, wrong
