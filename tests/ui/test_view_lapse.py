"""A time-lapse that skips, in a real browser: what was measured, rebuilt and compared."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.pages import run_pages
from tests.helpers.runs import until
from tests.plans.test_lapse_run import lapse, marks, unread

__all__ = ["unread"]  # a fixture


@pytest.mark.process
@pytest.mark.slow
def test_time_points_are_shown_as_what_they_are(tmp_path: Path, page: Any) -> None:
    result, run = lapse(tmp_path, timelapse__acquire="skip", timelapse__gap=2)
    assert result.status == "completed", result.reason
    kinds = Counter(mark["kind"] for mark in marks(run))
    assert kinds["reconstructed"] >= 4
    with run_pages(run) as (_, links):
        page.goto(links.read)
        page.wait_for_selector('#phase[data-phase="completed"]')
        for kind in ("measured", "reconstructed"):
            page.wait_for_selector(f"#n-{kind}:text-is('{kinds[kind]}')")
        assert f"{kinds['reconstructed']} skipped" in page.inner_text("#banner")
        assert page.is_hidden("#missing-box")
        until(lambda: page.locator(".pane:visible canvas[data-frame]").count() == 2)
        assert "light saved" in page.inner_text("#lapse-words")
        assert page.is_visible('#tabs button[data-chart="gap"]')
        rebuilt = []
        page.keyboard.press("ArrowLeft")  # the last time point, which is shown already
        for words in ("Frame 5", "Time point 9", "Frame 4", "Time point 7"):
            page.keyboard.press("ArrowLeft")
            until(lambda words=words: page.inner_text("#frame-words").startswith(words))
            if words.startswith("Time"):
                rebuilt.append(page.inner_text("#frame-words"))
        assert all("rebuilt" in words and "beside it frame" in words for words in rebuilt)


@pytest.mark.process
@pytest.mark.slow
def test_an_adaptive_one_says_how_good_rebuilt_frames_are(tmp_path: Path, page: Any) -> None:
    result, run = lapse(tmp_path)
    assert result.status == "completed", result.reason
    compared = [mark for mark in marks(run) if mark.get("error") is not None]
    assert compared
    with run_pages(run) as (_, links):
        page.goto(links.read)
        page.wait_for_selector('#phase[data-phase="completed"]')
        page.wait_for_selector("#lapse-words:has-text('bound 0.30')")
        assert "error of rebuilt frames" in page.inner_text("#lapse-words")
        page.click('#tabs button[data-chart="error"]')
        page.wait_for_selector("#chart svg")
        page.wait_for_selector("#chart-words:has-text('the bound')")
        assert page.get_attribute('#tabs button[data-chart="error"]', "aria-selected") == "true"
