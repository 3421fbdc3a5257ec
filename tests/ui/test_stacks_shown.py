"""Z-stacks in the page and in the report: a plane, or all planes of a time point as one picture."""

from __future__ import annotations

import io
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agent.record.filtered import By
from agent.record.filtered_frames import FilteredFrames
from agent.record.folder import read_config
from agent.record.layout import Layout
from agent.record.ledger import Ledger
from agent.record.reader import open_run
from agent.ui.report.page import render
from agent.ui.report.run_data import Run
from tests import faulty
from tests.helpers.pages import ask, run_pages
from tests.helpers.runs import mean_score, run_session

CHANNELS = {"channels": ["confocal", "sted"], "z": {"range": 2, "step": 1}, "axis_order": "pzc"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two time points of two fields, each with two channels in turn at each of three planes."""
    devices = faulty.config()["microscope"]["python_devices"]
    result, folder = run_session(
        tmp_path_factory.mktemp("stacks"),
        session={"scorer": mean_score},
        plan="timelapse",
        timelapse={"frames": 2, "interval_s": 0, "fields": 2, **CHANNELS},
        analysis={"score": True},
        microscope={
            "modes": {"confocal": {"depletion_power": 0}, "sted": {}},
            "python_devices": devices | {"Focus": faulty.device("Focus")},
        },
    )
    assert result.status == "completed", result.reason
    return folder


def planes_of(run: Path, index: int) -> list[Any]:
    """Frames of the same time point, field and mode, by what the ledger says of each."""
    table = open_run(run).frames()
    same = [
        number
        for number in range(len(table["mode"]))
        if all(table[key][number] == table[key][index] for key in ("point", "field", "mode"))
    ]
    return [open_run(run).frame(number) for number in same]


@pytest.mark.slow
def test_the_page_gets_a_stack_as_its_maximum_or_its_mean(run: Path) -> None:
    with run_pages(run) as (_, links):
        assert ask(links, "/api/state")[1]["planes"] == 3
        for index in (0, 9, 23):
            planes = planes_of(run, index)
            assert len(planes) == 3
            for name, whole in (
                ("max", np.max(planes, axis=0)),
                ("mean", np.mean(planes, axis=0)),
                ("", planes[0]),
            ):
                low, high = 0, int(np.max(planes)) + 1
                wanted = f"?exact=1&low={low}&high={high}&side=2048&project={name}"
                status, data, headers = ask(links, f"/api/frame/raw/{index}{wanted}")
                assert status == 200
                grey = np.asarray(Image.open(io.BytesIO(data)), float)
                if name:
                    assert headers["x-mode"].endswith("of 3 planes")
                    wanted_grey = np.asarray(whole, float) * 255 / high
                    np.testing.assert_allclose(grey, wanted_grey, atol=1.01)
        status, said, _ = ask(links, "/api/frame/raw/0?project=median")
        assert status == 400 and "max, mean" in str(said)


def test_a_filtered_stack_is_projected_as_far_as_it_is_filtered(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    by = By("ours", Layout.of(read_config(run)), ("sted",))
    store = FilteredFrames(copy, pixel_size_um=0.02, by=by)
    table = open_run(run).frames()
    here = (table["mode"] == "sted") & (table["field"] == 0) & (table["point"] == 0)
    lowest, _, highest = np.flatnonzero(here)
    made = {int(at): 2.0 * open_run(run).frame(int(at)) for at in (lowest, highest)}
    with closing(Ledger(copy)) as ledger:
        for index, image in made.items():
            store.put(index, image, image)
            ledger.add("filtered", {"uncertainty": 0.1, "device": "cpu", "ms": 1.0}, index)
    high = int(max(image.max() for image in made.values()))
    with run_pages(copy) as (_, links):
        assert ask(links, "/api/state")[1]["planes"] == 3
        wanted = f"?exact=1&low=0&high={high}&side=2048&project=max"
        status, data, headers = ask(links, f"/api/frame/filtered/{highest}{wanted}")
        assert status == 200 and headers["x-mode"].endswith("of 2 planes")
        grey = np.asarray(Image.open(io.BytesIO(data)), float)
        whole = np.max([*made.values()], axis=0) * 255 / high
        np.testing.assert_allclose(grey, whole, atol=1.01)


@pytest.mark.slow
def test_the_report_shows_the_maximum(run: Path) -> None:
    read = Run.load(run)
    index = read.watched[0][0]
    found = read.projected(index)
    assert found is not None and found[1] == 3
    np.testing.assert_array_equal(found[0], np.max(planes_of(run, index), axis=0))
    assert "maximum of 3 planes; the middle one has the score" in render(read)


@pytest.mark.slow
def test_a_person_chooses_plane_or_projection(run: Path, page: Any) -> None:
    with run_pages(run) as (_, links):
        page.goto(links.control)
        page.wait_for_selector("canvas[data-frame]")
        # No column is wider than its place.
        for width in (1100, 1300):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.locator("html").evaluate("page => page.scrollWidth") == width
        button = page.locator("#project")
        assert button.inner_text() == "Plane"
        for words in ("maximum of 3 planes", "mean of 3 planes"):
            button.click()
            page.wait_for_selector(f'canvas[data-frame][aria-label*="{words}"]')
        page.keyboard.press("z")
        page.wait_for_selector('canvas[data-frame]:not([aria-label*="planes"])')
        assert button.inner_text() == "Plane"
