"""The content filter beside the acquisition: raw frames as they were, filtered ones beside them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from agent.config import RunConfig, load
from agent.plan import AnalysisError, Note, Plan
from agent.record import text
from agent.record.filtered import FilteredStore
from agent.record.folder import read_config
from agent.record.images import ImageStore
from agent.record.ledger import Ledger
from agent.run import Progress, Result, Session, opening
from agent.run.replay import replay
from agent.ui.report import live_page
from agent.ui.report.live_page import FILE as LIVE_PAGE
from devices.shot import Shot
from tests import faulty
from tests.doubles.restorers import Doubling, unsure
from tests.faulty import cli
from tests.helpers.runs import (
    assert_left_well,
    cut_after,
    frames_in,
    recorded,
    run_session,
    show,
    until,
)
from tests.helpers.stories import drawn

CONFIGS = faulty.ROOT / "configs"
Frames = list[NDArray[Any]]


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs whose weights are not looked at, where something else filters."""
    monkeypatch.setattr(opening, "check_filter", lambda config, source: None)


def filtered_in(run: Path) -> dict[int, NDArray[Any]]:
    """Filtered frames on disk and their deviations (2 × rows × columns), by number.

    They are those that the ledger names, all others are absent.
    """
    named = recorded(run).filtered()
    array = zarr.open_array(run / "filtered.ome.zarr" / "0", mode="r")
    assert array.shape[0] == len(frames_in(run))
    found = {index: np.asarray(array[index]) for index in range(array.shape[0])}
    assert {index for index, pair in found.items() if not np.isnan(pair).all()} == set(named)
    return {index: found[index] for index in named}


def with_filter(
    tmp_path: Path, restore: Doubling, frames: int = 20, **parts: Any
) -> tuple[Result, Path]:
    """A run of the flaky camera with a filter of ours."""
    asked = {"model": "ours.safetensors", **parts.pop("filter", {})}
    given = {"restore": restore, **parts.pop("session", {})}
    return run_session(tmp_path, session=given, live={"frames": frames}, filter=asked, **parts)


# ---------------------------------------------------------------------- what is filtered


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo_camera", "live"])
def test_every_raw_frame_has_its_filtered_partner(
    name: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Micro-Manager's own demo camera and the virtual microscope, as a person runs them."""
    run, count = tmp_path / "run", 4
    changes = [f"live.frames={count}", f"filter.model={weights}", "filter.frames=all"]
    if name == "demo_camera":
        sides = ", ".join(f"[Camera, OnCameraCCD{axis}Size, 64]" for axis in "XY")
        changes += [f"microscope.properties=[{sides}, [Camera, PixelType, 16bit]]"]
    if name == "live":
        changes += ["microscope.virtual_sted.width_px=48", "microscope.virtual_sted.height_px=40"]
        changes += ["analysis.score=false"]
    given = [word for change in changes for word in ("--set", change)]
    code, _, err = cli(capsys, "run", CONFIGS / f"{name}.yaml", "--out", run, *given)
    assert code == 0, err
    assert str(run / LIVE_PAGE) in err

    from models.restoration import Restorer

    restorer = Restorer(weights, "cpu")
    rows = recorded(run).filtered()
    assert frames_in(run) == list(rows) == list(range(count))
    raw, filtered = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r"), filtered_in(run)
    for index, (image, sd) in filtered.items():
        expected = restorer.restore(np.asarray(raw[index]))
        span = float(np.ptp(expected.image))
        np.testing.assert_allclose(image, expected.image, rtol=1e-5, atol=1e-5 * span)
        np.testing.assert_allclose(sd, expected.sd, rtol=1e-5, atol=1e-5 * span)
        assert rows[index]["uncertainty"] == pytest.approx(expected.uncertainty, rel=1e-4)
        assert rows[index]["device"] == "cpu" and rows[index]["ms"] > 0

    group = zarr.open_group(run / "filtered.ome.zarr", mode="r")
    ome: Any = group.attrs["ome"]
    axes = [(axis["name"], axis.get("unit")) for axis in ome["multiscales"][0]["axes"]]
    assert axes == [("t", None), ("c", None), ("y", "micrometer"), ("x", "micrometer")]
    assert [channel["label"] for channel in ome["omero"]["channels"]] == ["filtered", "sd"]
    scale = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale[2:] == [0.02, 0.02]

    digest = restorer.weights_hash()
    assert (read_config(run).provenance or {})["weights"] == {"filter": digest}
    summary = show(capsys, run)["filtered"]
    assert (summary["frames"], summary["of"], summary["model"]) == (count, count, str(weights))
    assert summary["sha256"] == digest and summary["uncertainty"]["n"] == count
    _, out, _ = cli(capsys, "show", run)
    assert f"filtered   4 of 4 frames by {weights} ({digest[:12]}…) on cpu" in out
    assert cli(capsys, "replay", run)[0] == 0

    page = drawn(run)
    # A few frames of the run, then three frames as raw, filtered and deviation.
    assert len(page.addresses) == count + 3 * 3
    assert "4 of 4 frames were filtered" in page.words and digest[:12] in page.words
    assert page.words.count("by the network, not measured") == 3
    assert "Uncertainty of the filter over time" in page.html
    live = (run / LIVE_PAGE).read_text(encoding="utf-8")
    assert "refresh" not in live and "The run is over" in live and "report.html" in live
    assert live.count("data:image/png") in (0, 3), "what draws is imported meanwhile"


def test_the_live_page_shows_the_newest_frame_until_the_run_is_over(tmp_path: Path) -> None:
    live_page.begin(tmp_path)
    file = tmp_path / LIVE_PAGE
    assert "No frame is filtered yet" in file.read_text(encoding="utf-8")
    page, frame = live_page.LivePage(tmp_path), np.eye(32, dtype=np.float32)
    until(lambda: page._draw is not None)
    page.show(7, frame, 2 * frame, frame / 10, 0.1234, lambda: 0.5)
    drawn = file.read_text(encoding="utf-8")
    assert "Frame 7, uncertainty 0.123." in drawn and 'http-equiv="refresh"' in drawn
    assert drawn.count("data:image/png") == 3
    assert f"scale bar {text.length(2.0)}" in drawn, "at the frame's own pixel size"
    page.show(8, frame, 2 * frame, frame / 10, 0.2, lambda: 0.02)
    assert file.read_text(encoding="utf-8") == drawn, "drawn more than once a second"
    live_page.end(tmp_path, "report.html")
    last = file.read_text(encoding="utf-8")
    assert "refresh" not in last and 'href="report.html"' in last and "continues" not in last
    assert last.count("data:image/png") == 3


@pytest.mark.process
@pytest.mark.slow
def test_only_the_modes_that_were_asked_for(unread: None, tmp_path: Path) -> None:
    def plan(config: RunConfig) -> Plan:
        for number in range(9):
            frame = yield Shot(("sted", "confocal", "widefield")[number % 3])
            if number < 3:
                assert frame is not None and not isinstance(frame, tuple)
                try:
                    yield Note("unsure", {"frame": number, "of it": frame.uncertainty})
                except AnalysisError as error:
                    yield Note("unsure", {"frame": number, "why": str(error)})

    modes: dict[str, Any] = {"modes": {"sted": {}, "confocal": {}, "widefield": {}}}
    asked = {"frames": "all", "modes": ["confocal", "widefield"]}
    result, run = with_filter(
        tmp_path, Doubling(), microscope=modes, filter=asked, session={"make_plan": plan}
    )
    assert result.status == "completed", result.reason
    assert sorted(filtered_in(run)) == [1, 2, 4, 5, 7, 8]
    first, *others = recorded(run).notes_on("unsure")
    assert first == {"frame": 0, "why": "frame 0 (sted) is not filtered"}
    pixels = ImageStore(run, pixel_size_um=0.02).read(2)
    assert others[1] == {"frame": 2, "of it": pytest.approx(unsure(pixels))}
    config = load(run / "config.yaml")
    assert replace_filter(config, modes=()).filtered_modes() == ("sted",)


def replace_filter(config: RunConfig, **changes: Any) -> RunConfig:
    assert config.filter is not None
    return config.model_copy(update={"filter": config.filter.model_copy(update=changes)})


# ---------------------------------------------------------------------- a filter that dawdles


def taking_s(run: Path) -> float:
    """How long the frames took, from the first to the last (s)."""
    times = [taken.frame["time_s"] for taken in recorded(run).taken.values()]
    return float(max(times) - min(times))


@pytest.mark.process
@pytest.mark.slow
def test_a_slow_filter_does_not_slow_the_acquisition(unread: None, tmp_path: Path) -> None:
    """Filtered at 5 frames a second at most, taken at 30: passed over, or left for later."""
    camera = faulty.device("FlakyCamera", frame_s=0.03)
    (tmp_path / "without").mkdir()
    _, without = run_session(tmp_path / "without", session={}, live={"frames": 20}, camera=camera)
    for policy in ("newest", "all"):
        (tmp_path / policy).mkdir()
        shown: list[tuple[int, str, int | None]] = []

        def watch(progress: Progress, shown: list[Any] = shown) -> None:
            shown.append((progress.frames, progress.doing, progress.filtered))

        result, run = run_session(
            tmp_path / policy,
            session={"restore": Doubling(seconds=0.2)},
            watch=watch,
            live={"frames": 20},
            camera=camera,
            filter={"model": "ours.safetensors", "frames": policy},
        )
        assert result.status == "completed", result.reason
        assert taking_s(run) < 1.5 * taking_s(without) + 0.5 < 20 * 0.2
        filtered = filtered_in(run)
        # Both filter the last frame, as it is the newest.
        assert filtered.keys() >= {0, 19}
        raw = ImageStore(run, pixel_size_um=0.02)
        for index, (image, sd) in filtered.items():
            np.testing.assert_array_equal(image, 2.0 * raw.read(index))
            assert (sd == 0.5).all()
        left = [doing for _, doing, _ in shown if doing.startswith("filtering")]
        if policy == "newest":
            assert len(filtered) <= 10, "frames waited in line"
        else:
            assert list(filtered) == list(range(20)), "not in order, or not all"
            assert len(left) > 10, "the backlog was not shown"
        assert shown[0][2] == 0
        status = json.loads((run / "status.json").read_text(encoding="utf-8"))
        assert (status["status"], status["filtered"]) == ("completed", len(filtered))
        assert status["uncertainty"] == pytest.approx(unsure(raw.read(19)))


@pytest.mark.process
@pytest.mark.slow
def test_ctrl_c_gives_the_backlog_up_and_resume_filters_it(
    unread: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.doing.startswith("filtering") and (progress.filtered or 0) > 1:
            signal.raise_signal(signal.SIGINT)

    slow, all_frames = Doubling(seconds=0.3), {"frames": "all"}
    started = time.monotonic()
    result, run = with_filter(
        tmp_path, slow, 12, filter=all_frames, session={"make_plan": cut_after(10)}, watch=interrupt
    )
    assert result.status == "failed" and "power cut" in result.reason
    before = filtered_in(run)
    assert 1 < len(before) < 8, f"{len(before)} in {time.monotonic() - started:.1f} s"
    assert [fault["what"] for fault in recorded(run).faults] == ["RuntimeError: power cut"]

    again = Session(read_config(run), run / "config.yaml", run, restore=Doubling())
    assert again.run().status == "completed"
    after = filtered_in(run)
    assert sorted(after) == list(range(12))
    assert again.progress.filtered == 12
    for index, pair in before.items():
        np.testing.assert_array_equal(after[index], pair)
    with closing(Ledger(run, readonly=True)) as ledger:
        named = [entry.frame for entry in ledger.entries("filtered")]
    assert len(named) == 12, "a frame was filtered twice"
    assert_left_well(capsys, run, "completed", acquired=12)


# ---------------------------------------------------------------------- a filter that fails


@pytest.mark.process
@pytest.mark.slow
def test_a_filter_that_fails_dies_and_hangs(
    unread: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each costs the frame at hand, and says so; its process is started again."""
    restore = Doubling(fail_at=(1,), die_at=(3,), hang_at=(2,), says="cuda:0: out of memory; tiles")
    # After frames 0 … 2 the process hangs, is ended and begins to count anew.
    result, run = with_filter(tmp_path, restore, 6, filter={"frames": "all", "timeout_s": 1})
    assert result.status == "completed", result.reason
    summary = assert_left_well(capsys, run, "completed", acquired=6)
    assert sorted(filtered_in(run)) == [0, 3]
    faults = [fault for fault in summary["faults"] if fault["policy"] == "skip"]
    said = {fault["frame"]: fault["what"] for fault in faults}
    assert said.keys() == {1, 2, 4, 5}
    assert recorded(run).given_up() == {}, "taken for scores that were given up"
    assert said[1] == "filtering frame 1 failed: the network saw a NaN"
    assert "took too long (`filter.timeout_s`)" in said[2] and "took too long" in said[5]
    on_the_way = [fault for fault in summary["faults"] if fault["policy"] == "go on"]
    assert [(fault["frame"], fault["what"]) for fault in on_the_way] == [
        (index, "cuda:0: out of memory; tiles") for index in (0, 3)
    ]
    page = drawn(run)
    assert "the network saw a NaN" in page.words and "cuda:0: out of memory" in page.words


@pytest.mark.process
@pytest.mark.slow
def test_a_filter_whose_process_is_killed(
    unread: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, run = with_filter(tmp_path, Doubling(die_at=(0,)), 12, filter={"frames": "all"})
    assert result.status == "completed", result.reason
    summary = assert_left_well(capsys, run, "completed", acquired=12)
    assert recorded(run).filtered() == {}
    words = [fault["what"] for fault in summary["faults"]]
    assert len(words) == 4, "started for ever, or told of every frame that it is over"
    assert all("its process ended, with exit code 9" in what for what in words[:3])
    assert "3 times in a row; not started again" in words[3]


@pytest.mark.process
@pytest.mark.slow
def test_a_filter_that_must_not_fail(unread: None, tmp_path: Path) -> None:
    result, run = with_filter(
        tmp_path,
        Doubling(fail_at=(2,)),
        300,
        camera=faulty.device("FlakyCamera", frame_s=0.02),
        filter={"frames": "all", "on_error": "stop"},
    )
    assert result.status == "failed" and "the network saw a NaN" in result.reason
    assert len(recorded(run).taken) < 300
    # On a busy machine light may also have been on for longer than it should.
    assert "stop" in [fault["policy"] for fault in recorded(run).faults]
    assert recorded(run).unfiltered() == {}


@pytest.mark.process
@pytest.mark.slow
def test_a_filter_that_does_not_warm_up_still_filters(unread: None, tmp_path: Path) -> None:
    result, run = with_filter(tmp_path, Doubling(warm_up_s=-1), 3, filter={"frames": "all"})
    assert result.status == "completed", result.reason
    assert sorted(filtered_in(run)) == [0, 1, 2]
    assert [(fault["frame"], fault["what"]) for fault in recorded(run).faults] == [
        (None, "warming the filter up failed: CUDA error: no kernel image")
    ]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("policy", ["skip", "stop"])
def test_no_light_before_the_filter_is_warm(
    policy: str, unread: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is stopped, or stops itself, while the filter warms up."""

    def interrupt(progress: Progress) -> None:
        if progress.doing == "warming the filter up" and policy == "skip":
            signal.raise_signal(signal.SIGINT)

    restore = Doubling(warm_up_s=5 if policy == "skip" else -1)
    result, run = with_filter(tmp_path, restore, filter={"on_error": policy}, watch=interrupt)
    assert result.status == {"skip": "interrupted", "stop": "failed"}[policy]
    assert ("no kernel image" in result.reason) == (policy == "stop")
    assert_left_well(capsys, run, result.status, acquired=0)
    assert [power for _, power in faulty.made["Laser"][-1].given if power > 0] == []


# ---------------------------------------------------------------------- plans that look


def looking(frames: int, *, cut: int | None = None) -> Callable[[RunConfig], Plan]:
    """A plan that reads the uncertainty of every other frame, one frame late."""

    def plan(config: RunConfig) -> Plan:
        before = None
        for number in range(frames):
            if number == cut:
                raise RuntimeError("power cut")
            frame = yield Shot("sted")
            assert frame is not None and not isinstance(frame, tuple)
            if before is not None and number % 2:
                try:
                    value: float | str = before.uncertainty
                except AnalysisError as error:
                    value = str(error)
                yield Note("unsure", {"frame": before.index, "value": value})
            before = frame

    return plan


@pytest.mark.process
@pytest.mark.slow
def test_a_plan_reads_the_uncertainty_and_is_told_the_same_again(
    unread: None, tmp_path: Path
) -> None:
    """Frames that the newest one replaced are filtered when they are asked for."""
    restore = Doubling(fail_at=(1,), seconds=0.02)
    result, run = with_filter(
        tmp_path, restore, 12, session={"make_plan": looking(12, cut=7)}, filter={}
    )
    assert "power cut" in result.reason
    before = recorded(run)
    notes = before.notes_on("unsure")
    assert [note["frame"] for note in notes] == [0, 2, 4]
    failed = [note["frame"] for note in notes if isinstance(note["value"], str)]
    assert set(failed) <= set(before.unfiltered()) and len(before.unfiltered()) == 1

    # The filter of the second session does not fail, and finds every frame twice as bright.
    again = Session(
        read_config(run), run / "config.yaml", run, make_plan=looking(12), restore=Doubling()
    )
    result = again.run()
    assert result.status == "completed", result.reason
    after = recorded(run)
    assert after.notes_on("unsure")[:3] == notes
    assert [note["frame"] for note in after.notes_on("unsure")] == [0, 2, 4, 6, 8, 10]
    raw, rows = ImageStore(run, pixel_size_um=0.02), after.filtered()
    for note in after.notes_on("unsure"):
        if isinstance(note["value"], float):
            assert note["value"] == rows[note["frame"]]["uncertainty"]
            assert note["value"] == pytest.approx(unsure(raw.read(note["frame"])))
    found = replay(run, make_plan=looking(12))
    assert (found.difference, found.frames, found.notes) == (None, 12, 6)


# ---------------------------------------------------------------------- on disk, and mistakes


@pytest.mark.slow
def test_images_with_two_channels_leave_gaps(tmp_path: Path) -> None:
    store = FilteredStore(tmp_path, pixel_size_um=0.02, interval_s=30)
    image = np.arange(20, dtype=np.float64).reshape(4, 5)
    for index in (1, 300, 2):
        store.put(index, image + index, image / 10)
    store.erase(2)
    again = FilteredStore(tmp_path, pixel_size_um=0.02)
    again.trim(302)
    np.testing.assert_array_equal(again.read(300), np.float32([image + 300, image / 10]))
    present = [index for index in range(302) if not np.isnan(again.read(index)).all()]
    assert present == [1, 300]
    assert not list(tmp_path.rglob("*.partial"))
    with pytest.raises(ValueError, match="those before"):
        store.put(3, image[:3], image[:3])


@pytest.mark.slow
def test_wrong_weights_are_refused_before_anything_is_opened(
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "devices.microscope.Microscope.open", lambda *given, **more: pytest.fail("was opened")
    )
    (tmp_path / "bad.safetensors").write_bytes(b"not these")
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04.")
    for model, named in (
        ("actn", ["'actn'", "accepted", ".safetensors"]),
        ("gone.safetensors", [str(tmp_path / "gone.safetensors"), "no such file"]),
        ("bad.safetensors", ["bad.json", "no such file"]),
        ("pickle.pt", ["pickle.pt", ".safetensors"]),
    ):
        file = faulty.write(tmp_path / "my.yaml", faulty.config(filter={"model": model}))
        for words in (["check", file], ["run", file, "--out", tmp_path / "run"]):
            code, out, err = cli(capsys, *words)
            assert (code, out) == (2, ""), (code, out, err)
            assert len(err.splitlines()) <= 3 and "Traceback" not in err
            for word in ["my.yaml, line", "`filter.model`", *named]:
                assert word in err, f"{word!r} is not in: {err}"
            assert "`: model: " not in err, "the key was named twice"
        assert not (tmp_path / "run").exists()
    asked = {"model": weights.name, "device": "cuda"}
    here = faulty.write(weights.with_name("my.yaml"), faulty.config(filter=asked))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, err = cli(capsys, "check", here)
    assert code == 2 and "`filter.device`" in err and "accepted: auto or cpu" in err


def test_check_names_the_filter_and_its_disk_space(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = faulty.config(filter={"model": str(weights)}, live={"frames": 1000})
    code, out, err = cli(capsys, "check", faulty.write(tmp_path / "my.yaml", data))
    assert (code, err) == (0, "")
    assert weights.stem in out and "newest frames" in out
    # 32 × 32 pixels of 2 bytes raw and 2 × 4 filtered.
    assert "10.2 MB" in out


def test_a_run_without_a_filter_is_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, run = run_session(tmp_path, session={}, live={"frames": 2})
    assert result.status == "completed"
    assert not (run / "filtered.ome.zarr").exists() and not (run / LIVE_PAGE).exists()
    assert show(capsys, run)["filtered"] is None
    assert "filtered" not in cli(capsys, "show", run)[1]
    assert "<h2>Filtered</h2>" not in drawn(run).html
    assert "weights" in (read_config(run).provenance or {})


@pytest.mark.parametrize(("pixel_nm", "told"), [(30, True), (20, False)])
def test_pixels_that_the_network_was_not_trained_on_are_told_before_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pixel_nm: int, told: bool
) -> None:
    data = faulty.config(filter={"model": "actin-small", "device": "cpu"})
    data["microscope"]["pixel_size_nm"] = pixel_nm
    code, out, err = cli(capsys, "check", faulty.write(tmp_path / "config.yaml", data))
    assert code == 0, err
    said = " ".join(out.split())
    assert ("trained on pixels of 20 nm, and these are 30 nm" in said) == told
