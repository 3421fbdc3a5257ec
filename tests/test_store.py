"""Ledger, images, dose gate, analysis worker: what must hold when things go wrong."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from agent.analysis import Analysis
from agent.config import DoseConfig
from agent.dose import BudgetReached, DoseGate
from agent.folder import RunBusy, is_running, lock
from agent.images import ImageStore
from agent.ledger import Ledger
from agent.plan import AnalysisError
from agent.recording import Recording


def test_ledger_keeps_order_and_can_be_read_while_it_grows(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for i in range(5):
        ledger.add("shot", {"n": i}, i)
        ledger.add("frame", {"n": i}, i)
    reader = Ledger(tmp_path, readonly=True)
    assert [(e.kind, e.frame) for e in reader.entries()] == [
        (kind, i) for i in range(5) for kind in ("shot", "frame")
    ]
    ledger.add("fault", {"what": "µ"})
    assert next(reader.entries("fault")).data == {"what": "µ"}
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        Ledger(tmp_path / "nowhere", readonly=True)


def test_a_shot_without_a_frame_is_lost_light_unless_voided(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add("shot", {"dose_J": {}}, 0)
    ledger.add("shot", {"dose_J": {}}, 0)  # tried again
    ledger.add("frame", {}, 0)
    ledger.add("shot", {"dose_J": {}}, 1)
    ledger.add("void", {}, 1)
    ledger.add("shot", {"dose_J": {}}, 1)
    recording = Recording.read(ledger)
    assert list(recording.taken) == [0] and len(recording.lost) == 2


def test_images_open_with_axes_pixel_size_and_time(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, pixel_size_um=0.02, interval_s=30)
    frames = np.random.default_rng(0).integers(0, 1000, (3, 40, 50)).astype(np.uint16)
    frames[1] = 0
    for i, frame in enumerate(frames):
        store.write(i, frame)
    store.trim(3)
    group = zarr.open_group(tmp_path / "raw.ome.zarr", mode="r")
    scale = group.attrs["ome"]["multiscales"][0]  # type: ignore[index,call-overload]  # JSON
    assert [(a["name"], a.get("unit")) for a in scale["axes"]] == [
        ("t", "second"),
        ("y", "micrometer"),
        ("x", "micrometer"),
    ]
    assert scale["datasets"][0]["coordinateTransformations"][0]["scale"] == [30, 0.02, 0.02]
    np.testing.assert_array_equal(np.asarray(group["0"]), frames)
    # Even a dark frame leaves a file of its own.
    assert (tmp_path / "raw.ome.zarr" / "0" / "c" / "1" / "0" / "0").is_file()


def test_images_are_gone_on_with_and_refuse_another_shape(tmp_path: Path) -> None:
    ImageStore(tmp_path, pixel_size_um=0.02).write(0, np.ones((8, 8), np.uint16))
    again = ImageStore(tmp_path, pixel_size_um=0.02)
    again.write(1, np.full((8, 8), 2, np.uint16))
    assert again.read(0).max() == 1 and again.read(1).min() == 2
    with pytest.raises(ValueError, match="those before"):
        again.write(2, np.ones((8, 9), np.uint16))
    with pytest.raises(ValueError, match="those before"):
        again.write(2, np.ones((8, 8), np.float32))


def test_dose_gate_says_no_before_the_budget_is_exceeded() -> None:
    gate = DoseGate(DoseConfig(budget_J={"depletion": 1.0}, per_field_J={"depletion": 0.5}))
    for field in (0, 1):
        gate.admit({"depletion": 0.4}, field)
        gate.count({"depletion": 0.4}, field)
    with pytest.raises(BudgetReached, match=r"per_field_J \(field 1\)\.depletion"):
        gate.admit({"depletion": 0.2}, 1)
    with pytest.raises(BudgetReached, match=r"budget_J\.depletion"):
        gate.admit({"depletion": 0.3}, 2)
    assert gate.total["depletion"] == pytest.approx(0.8)
    assert gate.budget_fraction == pytest.approx(0.8)
    gate.count({"depletion": 0.4}, 1, sign=-1)
    gate.admit({"depletion": 0.5}, 1)


def test_only_one_process_works_in_a_run(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    taken = lock(tmp_path)
    try:
        with pytest.raises(RunBusy):
            lock(tmp_path)
        assert is_running(tmp_path)
    finally:
        taken.release()
    assert not is_running(tmp_path)


FRAME = np.zeros((4, 4), np.uint16)


def test_analysis_never_makes_the_acquisition_wait_and_stays_bounded() -> None:
    release, seen = threading.Event(), []

    def slow(frame: np.ndarray) -> float:
        release.wait(10)
        return 0.5

    work = Analysis(slow, queue=3, timeout_s=5, done=lambda i, value: seen.append(i))
    started = time.monotonic()
    futures = {i: work.submit(i, FRAME) for i in range(50)}
    assert time.monotonic() - started < 1
    assert work.longest <= 4 and work.passed_over >= 45
    release.set()
    # One that was passed over is scored when somebody asks for it.
    assert futures[5].cancelled()
    assert work.result(5, FRAME, futures[5]) == 0.5
    work.close(finish=True)
    assert 49 in seen and 5 in seen


def test_analysis_errors_reach_who_asks_and_do_not_end_the_worker() -> None:
    told: list[tuple[int, object]] = []

    def compute(frame: np.ndarray) -> float:
        if frame.max():
            raise ZeroDivisionError("no structure")
        return 1.0

    work = Analysis(compute, queue=3, timeout_s=5, done=lambda i, value: told.append((i, value)))
    bad = work.submit(0, FRAME + 1)
    with pytest.raises(AnalysisError, match="frame 0 failed: no structure"):
        work.result(0, FRAME + 1, bad)
    assert work.result(1, FRAME, work.submit(1, FRAME)) == 1.0
    work.close(finish=True)
    assert "no structure" in str(told[0][1]) and told[1] == (1, 1.0)


def test_a_score_that_takes_too_long_is_an_error() -> None:
    release = threading.Event()
    work = Analysis(
        lambda frame: float(release.wait(10)), queue=3, timeout_s=0.1, done=lambda i, value: None
    )
    future = work.submit(0, FRAME)
    with pytest.raises(AnalysisError, match=r"within 0\.1 s"):
        work.result(0, FRAME, future)
    release.set()
    work.close(finish=False)


def test_json_of_a_status_is_never_half_written(tmp_path: Path) -> None:
    from agent.folder import write_status

    write_status(tmp_path, {"frames": 0})
    stop = threading.Event()

    def write() -> None:
        for i in range(300):
            write_status(tmp_path, {"frames": i, "padding": "x" * 5000})
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        json.loads((tmp_path / "status.json").read_text())
    writer.join()


def test_tiff_metadata_is_read_for_scoring(tmp_path: Path) -> None:
    from agent.scoring import _read

    image = np.zeros((3, 32, 32), np.uint16)
    ome, imagej, plain, dpi = (tmp_path / f"{n}.tif" for n in ("a", "b", "c", "d"))
    tifffile.imwrite(
        ome,
        image,
        ome=True,
        metadata={"axes": "TYX", "PhysicalSizeX": 0.025, "PhysicalSizeY": 0.025},
    )
    tifffile.imwrite(imagej, image, imagej=True, resolution=(50, 50), metadata={"unit": "um"})
    tifffile.imwrite(
        plain, image, photometric="minisblack", resolution=(5e5, 5e5), resolutionunit="CENTIMETER"
    )
    tifffile.imwrite(
        dpi, image, photometric="minisblack", resolution=(72, 72), resolutionunit="INCH"
    )
    sizes = [_read(file)[1] for file in (ome, imagej, plain, dpi)]
    assert sizes[:3] == pytest.approx([25, 20, 20])
    assert sizes[3] is None
    assert _read(ome)[0].shape == (3, 32, 32)
