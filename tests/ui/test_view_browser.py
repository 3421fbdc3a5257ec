"""The view of a run in a real browser: watched, paused, changed, resumed, stopped, killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agent.config import load
from agent.record.folder import new_folder
from agent.record.summary import summarize
from agent.run import Session
from agent.steering.control_file import FILE
from agent.ui.view.process import ViewProcess
from agent.ui.web.access import Place
from tests import faulty
from tests.helpers.pages import ask, run_pages
from tests.helpers.runs import (
    Work,
    assert_left_well,
    mean_score,
    posix,
    recorded,
    run_session,
    started,
    until,
)
from tests.helpers.searches import config_data_of_a_run
from tests.helpers.stories import completed, drawn

OBJECTIVE = """
from agent.config import ObjectiveSection


class Counts(ObjectiveSection):
    def scale(self):
        return 4, 0

    def unit(self):
        return "kcounts"


def counts(section: Counts, run):
    return lambda before, image, after: image.pixels.mean() / 1000
"""
RING = """() => {
    const ring = document.querySelector(".mark-place:not(.told) i")?.getBoundingClientRect();
    const box = document.querySelector(".screen").getBoundingClientRect();
    const middle = ring && [ring.x + ring.width / 2 - box.x, ring.y + ring.height / 2 - box.y];
    return middle && [middle[0] / box.width, middle[1] / box.height];
}"""
"""Where in the picture the first place is marked, as shares of it."""
ROI_CAMERA = {
    "cfg": "demo",
    "python_devices": {},
    "shutter": "White Light Shutter",
    "pixel_size_nm": 20,
    "exposure": {"camera_ms": 1},
    "settings": {},
    "modes": {"sted": {}},
}
VIRTUAL = {
    "plan": "optimize",
    "seed": 1,
    "analysis": {"score": True},
    "optimize": {
        "trials": 40,
        "engine": "sobol",
        "retest_fields": 1,
        "search": {"excitation_power": [1, 15], "depletion_power": [10, 300]},
    },
    "dose": {"budget_J": {"excitation": 0.01, "depletion": 30}},
}


def virtual(tmp_path: Path) -> Session:
    """A session of the virtual microscope, small and quick."""
    import yaml

    data = yaml.safe_load(Path("configs/optimize.yaml").read_text(encoding="utf-8")) | VIRTUAL
    data["microscope"]["virtual_sted"] |= {"width_px": 48, "height_px": 48, "size_um": 20}
    data["microscope"]["fields"] = {"rows": 7, "columns": 7, "pitch_um": 2.2}
    file = faulty.write(tmp_path / "config.yaml", data)
    config = load(file)

    def score(frames: list[Any]) -> Any:
        time.sleep(0.2)  # no more trials than the page can be looked at
        return mean_score(frames)

    return Session(config, file, new_folder(config, tmp_path, tmp_path / "run"), scorer=score)


def phase(page: Any, *names: str, seconds: float = 240) -> None:
    """Wait until the page says that the run is in one of these phases."""
    wanted = ", ".join(f'#phase[data-phase="{name}"]' for name in names)
    page.wait_for_selector(wanted, timeout=1e3 * seconds)


@pytest.mark.slow
def test_a_virtual_run_is_watched_paused_changed_resumed_and_stopped(
    tmp_path: Path, page: Any
) -> None:
    session = virtual(tmp_path)
    results = []
    thread = threading.Thread(target=lambda: results.append(session.run()), daemon=True)
    with run_pages(session.folder) as (_, links):
        page.goto(links.control)
        phase(page, "waiting")
        thread.start()
        phase(page, "starting", "running")
        page.wait_for_selector("canvas[data-frame]")
        # Live: a later frame appears by itself, with its scale bar.
        first = int(page.get_attribute("canvas[data-frame]", "data-frame"))
        until(lambda: int(page.get_attribute("canvas[data-frame]", "data-frame")) > first)
        assert page.inner_text(".scale").endswith(("nm", "µm"))
        page.wait_for_selector("#chart svg .mark")
        page.wait_for_selector("#trials tbody tr:not(.quiet) td:nth-child(5)")
        assert "of 30 J" in page.inner_text("#spent")

        page.fill("#name", "Ana")
        page.locator("#name").blur()
        page.keyboard.press("p")
        phase(page, "paused")
        assert "lasers safe" in page.inner_text("#banner")
        taken = session.progress.frames
        row = page.locator('[data-setting="depletion_power"]')
        row.locator("input").first.fill("123")
        row.get_by_role("button", name="Fix").click()
        page.wait_for_selector("#toast:has-text('before the next trial')")
        row.locator("input").first.fill("1000")
        row.get_by_role("button", name="Fix").click()
        page.wait_for_selector("#toast[data-tone=bad]:has-text('1000')")
        assert session.progress.frames == taken, "a frame was taken during the pause"

        page.click("#pause")
        row.locator(":text('fixed at 123 mW')").wait_for()
        page.wait_for_selector("#trials tbody tr td:nth-child(5):text-is('123')")
        page.keyboard.press("s")
        page.click("#ask-yes")
        phase(page, "stopped")
        assert page.locator("#acts").is_hidden() and page.locator("#steer").is_hidden()
    thread.join(240)
    (result,) = results
    assert (result.status, result.safe) == ("stopped", True)
    assert result.reason == "told to stop by Ana (127.0.0.1)"
    recording = recorded(session.folder)
    assert [one["told"] for one in recording.commands] == [
        {"pause": True},
        {"resume": True},
        {"stop": True},
    ]
    assert {one["by"] for one in recording.commands} == {"Ana (127.0.0.1)"}
    stamps = [stamp for told in recording.told for stamp in told["stamps"]]
    assert [(one["by"], one["keys"]) for one in stamps] == [
        ("Ana (127.0.0.1)", ["depletion_power"])
    ]
    used = [note["settings"]["depletion_power"] for note in recording.notes_on("trial")]
    assert used[-1] == 123


@pytest.mark.slow
def test_who_may_only_look_sees_the_run_and_no_controls(tmp_path: Path, page: Any) -> None:
    work = Work(tmp_path, live={"frames": 30, "interval_s": 0.05})
    with run_pages(work.run) as (_, links):
        work.start()
        page.goto(links.read)
        page.wait_for_selector("canvas[data-frame]")
        assert page.is_visible("#looking")
        assert page.is_hidden("#acts") and page.is_hidden("#steer") and page.is_hidden("#share")
        page.keyboard.press("p")
        phase(page, "completed")
        assert "Completed." in page.inner_text("#banner")
        assert "#" not in page.url, "the token stays in the address bar"
        page.goto(links.read.partition("#")[0] + "#wrong-token-wrong-token-wrong")
        page.wait_for_selector("#gate:not([hidden])")
        assert page.is_hidden("#app")
    assert work.ended().status == "completed"
    assert not recorded(work.run).commands


def test_frames_of_before_are_looked_at_by_keyboard_with_zoom_and_contrast(
    tmp_path: Path, page: Any
) -> None:
    work = Work(tmp_path, live={"frames": 6}).start()
    assert work.ended().status == "completed"
    with run_pages(work.run) as (_, links):
        page.goto(links.control)
        page.wait_for_selector('canvas[data-frame="5"]')
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector('canvas[data-frame="3"]')
        page.wait_for_selector("#frame-words:has-text('Frame 3')")
        assert "Not live" in page.inner_text(".pane .veil")
        bar = page.inner_text(".scale")
        for _ in range(3):
            page.keyboard.press("+")
        until(lambda: page.inner_text(".scale") != bar)
        page.get_by_label("Raw: black at (counts)").fill("10")
        page.get_by_label("Raw: white at (counts)").fill("20")
        page.keyboard.press("Enter")
        page.wait_for_selector('.pane .limits button[aria-pressed="false"]')
        page.locator("#live").click()
        page.wait_for_selector('canvas[data-frame="5"]')


def test_a_failed_run_says_why_and_an_empty_one_that_it_is(tmp_path: Path, page: Any) -> None:
    work = Work(tmp_path, live={"frames": 6}, camera={"options": {"fail_at": 2}}).start()
    assert work.ended().status == "failed"
    with run_pages(work.run) as (_, links):
        page.goto(links.control)
        phase(page, "failed")
        assert "camera" in page.inner_text("#banner").lower()
        page.wait_for_selector("#log .fault")
    empty = tmp_path / "empty"
    empty.mkdir()
    with run_pages(empty) as (_, links):
        page.goto(links.control)
        phase(page, "waiting")
        assert "no light is on" in page.inner_text("#banner")


@pytest.mark.slow
@posix
def test_a_killed_view_and_a_browser_that_goes_leave_the_run_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Work(tmp_path, live={"frames": 40, "interval_s": 0.05})
    beside = ViewProcess(work.run, Place(port=0))
    links = beside.links()
    work.start()
    address, _, token = links["control"].partition("/#")
    host, _, port = address.split("//")[1].partition(":")
    # A browser that is closed in the middle of a command.
    half = json.dumps({"id": "0123456789", "tell": {"stop": True}}).encode()
    with socket.create_connection((host, int(port)), timeout=10) as browser:
        browser.sendall(
            f"POST /api/command HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {address}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(half)}\r\n\r\n".encode()
            + half[:20]
        )
    until(lambda: work.progress.frames > 5)
    os.kill(beside.pid, signal.SIGKILL)
    assert work.ended().status == "completed"
    assert not (work.run / FILE).exists()
    assert_left_well(capsys, work.run, "completed", acquired=40)


@pytest.mark.process
@pytest.mark.slow
@posix
def test_a_killed_run_is_shown_as_it_was_last_and_as_ended(tmp_path: Path, page: Any) -> None:
    config = faulty.write(
        tmp_path / "config.yaml", faulty.config(live={"frames": 10_000, "interval_s": 0.1})
    )
    run = tmp_path / "run"
    run.mkdir()
    with run_pages(run) as (_, links):
        page.goto(links.control)
        with started(config, run) as process:
            page.wait_for_selector("canvas[data-frame]")
            process.kill()
            process.wait()
        phase(page, "killed")
        assert "was killed" in page.inner_text("#banner")
        assert int(page.get_attribute("canvas[data-frame]", "data-frame")) >= 0
        assert page.is_hidden("#acts")


def a_search(tmp_path: Path, told: threading.Event) -> Session:
    """One whose third trial waits for an instruction."""
    data = config_data_of_a_run()
    data["optimize"] |= {"trials": 6, "bleaching_limit": 1.0}
    file = faulty.write(tmp_path / "config.yaml", data)
    config = load(file)
    scored = 0

    def score(frames: list[Any]) -> Any:
        nonlocal scored
        scored += len(frames)
        if scored == 3:
            assert told.wait(240)
        return mean_score(frames)

    return Session(config, file, new_folder(config, tmp_path, tmp_path / "run"), scorer=score)


@pytest.mark.slow
def test_a_search_is_finished_with_the_settings_of_a_trial_that_a_person_accepts(
    tmp_path: Path, page: Any
) -> None:
    told = threading.Event()
    session = a_search(tmp_path, told)
    thread = threading.Thread(target=session.run, daemon=True)
    with run_pages(session.folder) as (_, links):
        thread.start()
        page.goto(links.control)
        # Not only the one with the star.
        page.click("[aria-label='Accept trial 1']")
        page.click("#ask-yes")
        until(lambda: (session.folder / FILE).exists())
        told.set()
        phase(page, "completed")
        page.wait_for_selector("#result-words:has-text('Trial 1 was accepted by a person')")
        page.wait_for_selector("#trials .v:has-text('accepted')")
        assert page.locator("#trials button").count() == 0
    thread.join(240)
    recording = recorded(session.folder)
    (first, *_) = recording.notes_on("trial")
    (found,) = recording.notes_on("recommendation")
    assert (found["accepted"], found["settings"]) == (1, first["settings"])
    retested = [one for one in recording.notes_on("retest") if one["which"] == "best"]
    assert [one["settings"] for one in retested] == [first["settings"]]
    assert recording.notes_on("told")[0]["key"] == "accept"


def words(text: str) -> str:
    return " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())


@pytest.mark.slow
def test_the_page_of_a_finished_search_shows_start_against_best_as_the_report_does(
    tmp_path: Path, page: Any
) -> None:
    folder = completed(tmp_path / "run")
    result = summarize(folder)["result"]
    report = drawn(folder).words
    with run_pages(folder) as (_, links):
        page.goto(links.read)  # who may only look sees it, too
        page.wait_for_selector("#result:not([hidden])")
        said = [page.inner_text("#result-head"), *result["words"]]
        assert words(said[0]) == words(result["head"])
        assert words(page.inner_text("#result-words")) == words(" ".join(result["words"]))
        rows = page.locator("#compared tbody tr").all_inner_texts()
        table = {row.split("\t")[0]: [words(cell) for cell in row.split("\t")[1:]] for row in rows}
        assert table["score"] == ["0.250 ± 0.040 (n = 3)", "0.600 ± 0.100 (n = 3)"]
        assert table["depletion power"] == ["30 mW", "123 mW"]
        for cell in (words(one) for one in said + table["score"] + table["depletion power"]):
            assert cell in words(report), cell
        assert "settings found" in page.inner_text("#compared th.chosen")
        # The best trial was the luckiest one; what counts is what was measured again.
        assert (page.inner_text("#best-head"), page.inner_text("#best")) == ("Recommended", "0.60")
        assert "★" not in page.inner_text("#trials")

        with page.context.expect_page() as opened:
            page.click("#result-report")
        tab = opened.value
        tab.wait_for_selector("h1")
        assert words(tab.inner_text(".verdict b")) == words(result["head"])
        assert tab.evaluate("getComputedStyle(document.querySelector('h1')).fontWeight") == "700"
        assert ask(links, "/report/" + 32 * "a", token="")[0] == 404
        assert ask(links, "/api/report", token="")[0] == 401


def test_the_values_of_an_objective_of_one_s_own_stand_beside_the_scores(
    tmp_path: Path, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "counts.py").write_text(OBJECTIVE, encoding="utf-8")
    data = config_data_of_a_run()
    del data["analysis"]
    data["optimize"] |= {"engine": "sobol", "trials": 2, "objective": "counts:counts"}
    file = faulty.write(tmp_path / "config.yaml", data)
    config = load(file)
    folder = new_folder(config, tmp_path, tmp_path / "run")
    assert Session(config, file, folder).run().status == "completed"
    with run_pages(folder) as (_, links):
        page.goto(links.control)
        phase(page, "completed")
        page.wait_for_selector("#trials tbody tr + tr")
        head, first = (page.locator(f"#trials {row}").all_inner_texts() for row in ("th", "tr"))
        assert head[:4] == ["trial", "score", "counts (kcounts)", "bleaching"]
        values = recorded(folder).notes_on("trial")[-1]["objectives"]["measured"]
        assert f"{values['counts']:.2f}".rstrip("0") in first[1]
        assert "Scored by counts: 0 at 4" in page.inner_text("#result-words")
        assert "counts\t" in page.inner_text("#compared")
    sys.modules.pop("counts")


def places(run: Path) -> set[tuple[float, float]]:
    """Stage positions at which frames were taken."""
    fields = [taken.shot["field"] for taken in recorded(run).taken.values()]
    return {(field["x_um"], field["y_um"]) for field in fields}


@pytest.mark.slow
def test_a_place_is_added_to_a_time_lapse(tmp_path: Path, page: Any) -> None:
    lapse = {"frames": 500, "interval_s": 0.3}
    limits = {"x_um": [-50, 50], "y_um": [-50, 50]}
    work = Work(tmp_path, plan="timelapse", timelapse=lapse, microscope={"stage_limits": limits})
    with run_pages(work.run) as (_, links):
        work.start()
        page.goto(links.control)
        x, y = page.get_by_label("x of a place (µm)"), page.get_by_label("y of a place (µm)")
        x.fill("80")
        y.fill("-7.5")
        page.click("text=Add this place")
        page.wait_for_selector("#toast:has-text('outside -50 … 50 µm')")
        assert x.input_value() == "80", "what was refused can be corrected"
        x.fill("12")
        y.press("Enter")
        page.wait_for_selector("#log:has-text('place 4 = (12')")
        until(lambda: (12, -7.5) in places(work.run))
        work.tell(stop=True)
        assert work.ended().status == "stopped"


@pytest.mark.slow
def test_a_place_is_added_by_a_click_into_the_image(tmp_path: Path, page: Any) -> None:
    lapse = {"frames": 500, "interval_s": 0.3}
    # A frame is 32 px, of 0.1 µm each; the camera is turned by 90°.
    scope = {"pixel_size_nm": 100, "affine": [0, 0.1, 0, -0.1, 0, 0]}
    work = Work(tmp_path, plan="timelapse", timelapse=lapse, microscope=scope)
    with run_pages(work.run) as (_, links):
        work.start()
        page.goto(links.control)
        page.wait_for_selector("canvas[data-frame]")
        page.click("text=Where the stage is now")
        field = work.microscope.fields[0]
        x, y = page.get_by_label("x of a place (µm)"), page.get_by_label("y of a place (µm)")
        until(lambda: x.input_value() != "")
        assert (float(x.input_value()), float(y.input_value())) == (field.x_um, field.y_um)

        page.click("#point-place")
        assert page.get_attribute("#live", "aria-pressed") == "false", "the frame stays meanwhile"
        screen = page.locator(".screen").first
        across, down = 0.75, 0.375
        box = screen.bounding_box()
        screen.click(position={"x": across * box["width"], "y": down * box["height"]})
        page.wait_for_selector("#log:has-text('place 4 = (')")
        assert page.get_attribute("#point-place", "aria-pressed") == "false"
        # Not in the frames of that place itself, which come in between.
        ring = page.wait_for_function(RING).json_value()
        assert ring == pytest.approx([across, down], abs=0.01)
        page.click("#point-place")
        page.keyboard.press("Escape")
        assert page.get_attribute("#point-place", "aria-pressed") == "false"
        assert page.get_attribute("#live", "aria-pressed") == "true"
        work.tell(stop=True)
        assert work.ended().status == "stopped"
    (note,) = recorded(work.run).notes_on("place")
    rows, columns = 32 * (down - 0.5), 32 * (across - 0.5)
    away = note["x_um"] - field.x_um, note["y_um"] - field.y_um
    assert away == pytest.approx((rows * 0.1, -columns * 0.1), abs=0.02)


@pytest.mark.slow
def test_a_click_adds_no_place_where_nobody_knows_how_the_camera_lies(
    tmp_path: Path, page: Any
) -> None:
    work = Work(tmp_path, plan="timelapse", timelapse={"frames": 500, "interval_s": 0.3})
    with run_pages(work.run) as (_, links):
        work.start()
        page.goto(links.control)
        page.wait_for_selector("canvas[data-frame]")
        page.click("#point-place")
        page.locator(".screen").first.click()
        page.wait_for_selector("#toast[data-tone=bad]:has-text('stedfast calibrate')")
        work.tell(stop=True)
        assert work.ended().status == "stopped"
    assert not recorded(work.run).notes_on("place")


@pytest.mark.slow
def test_a_part_of_the_frame_is_chosen_by_dragging(tmp_path: Path, page: Any) -> None:
    work = Work(tmp_path, live={"frames": None, "interval_s": 0.2}, microscope=ROI_CAMERA)
    with run_pages(work.run) as (_, links):
        work.start()
        page.goto(links.control)
        page.wait_for_selector("canvas[data-frame]")
        page.click("#point-region")
        screen = page.locator(".screen").first
        screen.scroll_into_view_if_needed()
        box = screen.bounding_box()
        page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"])
        page.wait_for_selector(".marks .box:visible")
        page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.75 * box["height"])
        page.mouse.up()
        page.wait_for_selector("#log:has-text('roi')")
        assert page.get_attribute("#point-region", "aria-pressed") == "false"
        # Its shape on the page is that of the part.
        ratio = "getComputedStyle(document.querySelector('.screen')).aspectRatio"
        page.wait_for_function(f"() => {ratio} != '512 / 512'")
        page.click("#whole")
        page.wait_for_function(f"() => {ratio} == '512 / 512'")
        work.tell(stop=True)
        assert work.ended().status == "stopped"
    first, last = [note["value"] for note in recorded(work.run).notes_on("told")]
    assert first["sted"] == pytest.approx([128, 256, 256, 128], abs=4) and last == {"sted": []}


def test_sted_frames_only(tmp_path: Path, page: Any) -> None:
    folder = completed(tmp_path / "run")
    with run_pages(folder) as (_, links):
        page.goto(links.control)
        page.wait_for_selector('canvas[data-frame="35"]')
        page.keyboard.press("m")
        page.wait_for_selector('canvas[data-frame="34"]')
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector('canvas[data-frame="31"]')
        page.wait_for_selector("#frame-words:has-text('sted')")
        until(lambda: page.get_attribute("#strip", "aria-label") == "The last 12 frames")
        page.keyboard.press("l")
        page.wait_for_selector('canvas[data-frame="34"]')
        page.click("#only-one")
        page.wait_for_selector('canvas[data-frame="35"]')


@pytest.mark.slow
def test_the_cameras_of_a_shot_in_turn(tmp_path: Path, page: Any) -> None:
    """The one that is decided on first."""
    class_ = "tests.run.test_camera_channels:Channels"
    scope = {"scored_channel": "far"}
    made = {"camera": {"class": class_}, "microscope": scope, "live": {"frames": 2}}
    _, run = run_session(tmp_path, session={}, **made)
    with run_pages(run) as (_, links):
        page.goto(links.control)
        for frame, name in ((3, "far"), (2, "near"), (3, "far")):
            page.wait_for_selector(f'canvas[data-frame="{frame}"]')
            assert page.inner_text("#camera") == name
            assert f"Frame {frame} · " in (words := page.inner_text("#frame-words"))
            assert f"sted/{name}" in words
            page.click("#camera")
        assert page.inner_text("#progress").startswith("2")


@pytest.mark.slow
def test_a_search_is_finished_with_what_is_predicted_best(tmp_path: Path, page: Any) -> None:
    told = threading.Event()
    session = a_search(tmp_path, told)
    thread = threading.Thread(target=session.run, daemon=True)
    with run_pages(session.folder) as (_, links):
        thread.start()
        page.goto(links.control)
        page.wait_for_selector("#finish:not([disabled])")
        page.click("#finish")
        page.click("#ask-yes")
        until(lambda: (session.folder / FILE).exists())
        told.set()
        phase(page, "completed")
    thread.join(240)
    recording = recorded(session.folder)
    assert len(recording.notes_on("trial")) == 3
    assert recording.notes_on("recommendation")
