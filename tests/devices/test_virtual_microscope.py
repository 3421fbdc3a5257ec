"""The virtual STED microscope, as a real `UniMMCore` sees it. Frames are 64 × 64 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import useq
from numpy.typing import NDArray
from pymmcore_plus import DeviceType, FocusDirection, PropertyType
from pymmcore_plus.experimental.unicore import UniMMCore
from pysted import base as pysted
from useq import PropertyTuple

from devices.sources import VirtualStedConfig
from devices.virtual.build import build_virtual_sted
from devices.virtual.devices import ScanEngine
from devices.virtual.dyes import DYES
from devices.virtual.optics import Optics
from devices.virtual.sample import Sample

SIDE = 64
Frame = NDArray[np.uint16]


class Virtual:
    """A core with the virtual microscope in it, its shutter open, and short ways to use it."""

    def __init__(self, seed: int = 1, **config: Any) -> None:
        defaults = {"size_um": 12.0, "width_px": SIDE, "height_px": SIDE}
        settings = VirtualStedConfig(**(defaults | config))
        devices = build_virtual_sted(settings, seed=seed, pixel_size_nm=20)
        self.core = UniMMCore()
        for label, device in devices.items():
            self.core.loadPyDevice(label, device)
            self.core.initializeDevice(label)
        self.core.setCameraDevice("Scan")
        self.core.setShutterDevice("Shutter")
        self.core.setXYStageDevice("XYStage")
        self.core.setFocusDevice("ZStage")
        self.core.setAutoShutter(False)
        self.core.setShutterOpen(True)
        scan = devices["Scan"]
        assert isinstance(scan, ScanEngine)
        self.scan = scan
        self.light(5, 0)

    def light(self, excitation_uw: float, depletion_mw: float) -> None:
        self.core.setProperty("Excitation", "Power_uW", excitation_uw)
        self.core.setProperty("Depletion", "Power_mW", depletion_mw)

    def snap(self, x: float | None = None, y: float = 0.0) -> Frame:
        if x is not None:
            self.core.setXYPosition(x, y)
        self.core.snapImage()
        return self.core.getImage().copy()

    def wait_until(self, clock_s: float) -> None:
        self.core.setProperty("Scan", "Clock_s", clock_s)


@pytest.fixture
def virtual() -> Iterator[Virtual]:
    microscope = Virtual()
    yield microscope
    microscope.core.unloadAllDevices()


@pytest.mark.slow
def test_foci_are_pysteds_own_to_the_last_bit() -> None:
    """Though each of its integrals is computed once, and not for every pixel."""
    ours = Optics(DYES["atto647n"], pixel_size_nm=60.0)._microscope
    parts = (ours.excitation, ours.sted, ours.detector, ours.objective, ours.fluo)
    plain = pysted.Microscope(*parts).cache(60e-9)
    for found, wanted in zip(ours.cache(60e-9), plain, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_devices_and_properties(virtual: Virtual) -> None:
    core = virtual.core
    kinds = {label: core.getDeviceType(label) for label in core.getLoadedDevices()}
    assert kinds == {
        "Excitation": DeviceType.GenericDevice,
        "Depletion": DeviceType.GenericDevice,
        "Shutter": DeviceType.ShutterDevice,
        "XYStage": DeviceType.XYStageDevice,
        "ZStage": DeviceType.StageDevice,
        "Scan": DeviceType.CameraDevice,
        "Autofocus": DeviceType.AutoFocus,
        "Core": DeviceType.CoreDevice,
    }
    numbers = {
        ("Excitation", "Power_uW"): (0, 50),
        ("Depletion", "Power_mW"): (0, 500),
        ("Scan", "DwellTime_us"): (0.1, 1000),
        ("Scan", "LineAccumulations"): (1, 64),
    }
    for (label, name), (low, high) in numbers.items():
        assert core.getPropertyLowerLimit(label, name) == low
        assert core.getPropertyUpperLimit(label, name) == high
        assert not core.isPropertyReadOnly(label, name)
    assert core.getPropertyType("Scan", "LineAccumulations") == PropertyType.Integer
    assert core.getProperty("Scan", "PixelSize_nm") == 20
    assert core.isPropertyReadOnly("Scan", "PixelSize_nm")
    assert core.getFocusDirection("ZStage") == FocusDirection.TowardSample
    assert (core.getImageBitDepth(), core.getImageHeight(), core.getImageWidth()) == (16, 64, 64)


def test_lasers_start_at_zero_behind_a_closed_shutter() -> None:
    devices = build_virtual_sted(VirtualStedConfig(size_um=12), seed=0, pixel_size_nm=20)
    assert devices["Excitation"].get_property_value("Power_uW") == 0
    assert devices["Depletion"].get_property_value("Power_mW") == 0
    assert devices["Shutter"].get_property_value("State") == 0


def test_unloading_leaves_no_light(virtual: Virtual) -> None:
    virtual.light(5, 100)
    virtual.core.unloadAllDevices()
    assert virtual.scan._excitation[0].power_w == 0
    assert virtual.scan._depletion.power_w == 0
    assert not virtual.scan._shutter.get_open()


def test_exposure_is_dwell_times_pixels_times_lines(virtual: Virtual) -> None:
    core = virtual.core
    core.setProperty("Scan", "DwellTime_us", 2.5)
    core.setProperty("Scan", "LineAccumulations", "4")
    expected_ms = 2.5e-3 * SIDE * SIDE * 4
    assert core.getExposure() == pytest.approx(expected_ms)
    before = core.getProperty("Scan", "Clock_s")
    virtual.snap()
    assert core.getProperty("Scan", "Clock_s") - before == pytest.approx(expected_ms * 1e-3)
    core.setExposure(core.getExposure())
    with pytest.raises(ValueError, match="DwellTime_us and LineAccumulations"):
        core.setExposure(expected_ms * 1.01)
    assert core.getExposure() == pytest.approx(expected_ms)


def test_counts_grow_with_dwell_and_lines(virtual: Virtual) -> None:
    once = virtual.snap().mean()
    virtual.core.setProperty("Scan", "LineAccumulations", 4)
    lines = virtual.snap().mean()
    virtual.core.setProperty("Scan", "LineAccumulations", 1)
    virtual.core.setProperty("Scan", "DwellTime_us", 40)
    dwell = virtual.snap().mean()
    assert lines / once == pytest.approx(4, rel=0.03)
    assert dwell / once == pytest.approx(4, rel=0.03)


def test_counts_are_clipped_not_wrapped() -> None:
    bright = Virtual(molecules_per_pixel=1000)
    bright.light(50, 0)
    bright.core.setProperty("Scan", "DwellTime_us", 1000)
    frame = bright.snap()
    assert frame.max() == 65535
    # Where it is brightest it is clipped: nothing dark lies within.
    assert frame[frame > 60000].size > 10


@pytest.mark.slow
def test_shutter_closed_is_dark_and_time_still_passes(virtual: Virtual) -> None:
    virtual.light(5, 200)
    virtual.core.setShutterOpen(False)
    assert not virtual.snap().any()
    assert virtual.core.getProperty("Scan", "Clock_s") == pytest.approx(0.04096)
    assert virtual.scan.truth().bleached == 0
    virtual.core.setProperty("Shutter", "State", 1)
    assert virtual.core.getShutterOpen()
    assert virtual.snap().any()


def test_background_needs_no_laser(virtual: Virtual) -> None:
    virtual.light(0, 0)
    virtual.core.setProperty("Scan", "DwellTime_us", 100)
    assert virtual.snap().mean() == pytest.approx(3000 * 100e-6, rel=0.1)


@pytest.mark.slow
def test_depletion_narrows_the_psf_and_costs_counts(virtual: Virtual) -> None:
    means: list[float] = []
    widths: list[float] = []
    for depletion_mw in (0, 100, 300):
        virtual.light(5, depletion_mw)
        means.append(virtual.snap(x=0.5 * len(means)).mean())
        widths.append(virtual.scan.truth().psf_fwhm_nm)
    assert widths == pytest.approx([219, 90, 55], abs=3)
    virtual.light(5, 0)
    confocal = virtual.snap(x=-1.0).mean()
    virtual.light(5, 100)
    assert virtual.snap().mean() < 0.5 * confocal


def test_confocal_is_count_for_count_pysteds_raster() -> None:
    optics = Virtual().scan._optics
    sample = Sample(size_um=8, molecules_per_pixel=15, seed=4)
    molecules = sample.window(0, 0, 0, (SIDE, SIDE), optics.margin).molecules
    ours = optics.scan(
        molecules,
        excitation_w=5e-6,
        depletion_w=0.0,
        dwell_s=2e-5,
        background_hz=3000,
        seed=11,
    ).counts
    pixel_m = 20e-9
    datamap = pysted.Datamap(molecules, pixel_m)
    inside = [optics.margin, optics.margin + SIDE - 1]
    psf = optics._microscope.cache(pixel_m)[0]
    datamap.set_roi(psf, {"rows": inside, "cols": inside})
    theirs, _, _ = optics._microscope.get_signal_and_bleach(
        datamap, pixel_m, 2e-5, 5e-6, 0.0, seed=11, bleach=False, update=False
    )
    assert ours.sum() > 10_000
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_bleaching_stays_where_the_light_was(virtual: Virtual) -> None:
    virtual.core.setProperty("Scan", "DwellTime_us", 20)
    far, here = virtual.snap(x=3.0), virtual.snap(x=0.0)
    intact = virtual.scan.truth().molecules
    virtual.light(10, 300)
    for _ in range(3):
        virtual.snap()
        assert 0 < virtual.scan.truth().bleached < 1
    virtual.light(5, 0)
    assert virtual.snap().mean() < 0.7 * here.mean()
    truth = virtual.scan.truth()
    np.testing.assert_allclose(truth.survival * intact, truth.molecules, atol=1e-3)
    assert truth.molecules.sum() < 0.6 * intact.sum()
    again = virtual.snap(x=3.0)
    assert np.all(virtual.scan.truth().survival == 1)
    assert again.mean() == pytest.approx(far.mean(), rel=0.02)


def test_confocal_without_depletion_bleaches_nothing(virtual: Virtual) -> None:
    virtual.light(20, 0)
    virtual.snap()
    truth = virtual.scan.truth()
    np.testing.assert_array_equal(truth.survivors, truth.molecules)
    assert truth.bleached == 0


def test_bleaching_moves_along_with_the_structure() -> None:
    sample = Sample(size_um=12, motion_nm_per_s=500, seed=3)
    start = sample.window(0, 0, 0.0, (SIDE, SIDE))
    left = np.arange(SIDE) < SIDE // 2
    sample.bleach(start, np.where(left, 0, start.molecules))
    edge = start.cols[0, SIDE // 2 - 1]
    later = sample.window(0, 0, 0.5, (SIDE, SIDE))
    assert np.abs(later.cols - start.cols).max() > 3, "nothing has moved"
    survival = sample.survival(later)
    inside = (np.abs(later.rows - start.rows.mean()) < SIDE // 2 - 2) & (
        later.cols > start.cols[0, 0] + 1
    )
    assert (sample.survival(start) == 0).any()
    # The bleached half is empty at both times, wherever it has gone; the other half is whole.
    assert later.molecules[inside & (later.cols < edge - 1)].max() == 0
    assert survival[inside & (later.cols > edge + 2)].min() == pytest.approx(1)


@pytest.mark.parametrize("structure", ["actin", "tubulin", "psd95"])
def test_no_molecule_is_lost_between_pixels(structure: str) -> None:
    sample = Sample(structure, size_um=12, molecules_per_pixel=15, seed=3)  # type: ignore[arg-type]  # parametrized
    whole = sample.window(0, 0, 0.0, (224, 224)).molecules.sum()
    for shift_px in (0.25, 0.5, 0.75):
        between = sample.window(shift_px * 0.02, shift_px * 0.02, 0.0, (224, 224)).molecules.sum()
        assert between == pytest.approx(whole, rel=0.03)


def test_bleaching_between_pixels_leaves_nothing_out() -> None:
    sample = Sample(size_um=12, seed=3)
    window = sample.window(0.01, 0.01, 0.0, (SIDE, SIDE))
    sample.bleach(window, np.zeros_like(window.molecules))
    after = sample.window(0.01, 0.01, 0.0, (SIDE, SIDE)).molecules
    assert after.sum() < 0.05 * window.molecules.sum()


@pytest.mark.slow
def test_drift_carries_the_bleached_field_away() -> None:
    drifting = Virtual(drift_nm_per_s=1000)
    drifting.core.setProperty("Scan", "DwellTime_us", 50)
    drifting.light(10, 300)
    drifting.snap(x=0.0)
    assert drifting.scan.truth().bleached > 0.3
    drifting.light(5, 0)
    drifting.snap()
    assert np.mean(drifting.scan.truth().survival < 0.5) > 0.03
    # By now the field has moved on by more than its own size and the focus.
    drifting.wait_until(3.5)
    drifting.snap()
    assert np.all(drifting.scan.truth().survival == 1)


def test_stage_positions_are_different_fields(virtual: Virtual) -> None:
    virtual.snap(x=0.0, y=0.0)
    first = virtual.scan.truth().molecules
    virtual.snap(x=2.0, y=-1.0)
    second = virtual.scan.truth().molecules
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.2
    virtual.snap(x=0.2, y=0.0)
    # x runs along the columns: 0.2 µm is ten pixels.
    np.testing.assert_array_equal(virtual.scan.truth().molecules[:, :-10], first[:, 10:])


def test_without_motion_or_drift_nothing_moves(virtual: Virtual) -> None:
    virtual.snap()
    first = virtual.scan.truth().molecules
    virtual.wait_until(5000)
    virtual.snap()
    np.testing.assert_array_equal(virtual.scan.truth().molecules, first)


@pytest.mark.parametrize("kind", ["motion_nm_per_s", "drift_nm_per_s"])
def test_with_motion_or_drift_the_field_changes(kind: str) -> None:
    motion: dict[str, Any] = {kind: 100.0}
    moving = Virtual(**motion)
    moving.snap()
    first = moving.scan.truth().molecules
    moving.wait_until(10)
    moving.snap()
    later = moving.scan.truth().molecules
    assert np.corrcoef(first.ravel(), later.ravel())[0, 1] < 0.5


def test_defocus_blurs_and_dims_the_peak(virtual: Virtual) -> None:
    sharp = virtual.snap()
    virtual.core.setPosition(1.0)
    assert virtual.snap().max() < 0.7 * sharp.max()


@pytest.mark.slow
def test_same_seed_same_frames() -> None:
    def run(seed: int) -> list[Frame]:
        microscope, frames = Virtual(seed), []
        for depletion_mw in (0, 100, 100):
            microscope.light(5, depletion_mw)
            frames.append(microscope.snap())
        return frames

    first, again, other = run(7), run(7), run(8)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_sample_may_have_its_own_seed() -> None:
    def field(seed: int) -> tuple[Frame, NDArray[np.int64]]:
        settings = VirtualStedConfig(size_um=12, width_px=SIDE, height_px=SIDE, seed=5)
        scan = build_virtual_sted(settings, seed=seed, pixel_size_nm=20)["Scan"]
        assert isinstance(scan, ScanEngine)
        scan._shutter.set_open(True)
        scan._excitation[0].set_property_value("Power_uW", 5)
        frame = np.empty((SIDE, SIDE), np.uint16)
        scan.snap(frame)
        return frame, scan.truth().molecules

    (frame, molecules), (other_frame, other_molecules) = field(1), field(2)
    np.testing.assert_array_equal(molecules, other_molecules)
    assert not np.array_equal(frame, other_frame)


def test_a_frame_taken_again_has_new_noise(virtual: Virtual) -> None:
    assert not np.array_equal(virtual.snap(), virtual.snap())


@pytest.mark.slow
def test_the_callers_random_numbers_are_left_alone(virtual: Virtual) -> None:
    shared = np.random.mtrand._rand  # the generator behind np.random.seed, which pySTED uses
    before = shared.get_state(legacy=False)
    virtual.snap()
    virtual.light(5, 100)
    virtual.snap()
    after = shared.get_state(legacy=False)
    assert str(after) == str(before)
    np.testing.assert_array_equal(after["state"]["key"], before["state"]["key"])


def test_limits_are_refused_and_nothing_changes(virtual: Virtual) -> None:
    core = virtual.core
    for label, name, value in (
        ("Excitation", "Power_uW", 50.1),
        ("Excitation", "Power_uW", -0.1),
        ("Excitation", "Power_uW", float("nan")),
        ("Depletion", "Power_mW", 501),
        ("Scan", "DwellTime_us", 0.05),
        ("Scan", "LineAccumulations", 0),
        ("Scan", "LineAccumulations", 2.5),
        ("Scan", "PixelSize_nm", 20),
        ("Scan", "Clock_s", -1),
    ):
        before = core.getProperty(label, name)
        with pytest.raises(ValueError, match=name):
            core.setProperty(label, name, value)
        assert core.getProperty(label, name) == before
    reach = 12 / 2 - (SIDE / 2 + 29) * 0.02
    core.setXYPosition(reach, -reach)
    with pytest.raises(
        ValueError, match=r"XYStage: y: -6 µm is outside its limits, -4\.78 … 4\.78"
    ):
        core.setXYPosition(0, -6)
    assert core.getXYPosition() == pytest.approx((reach, -reach))
    with pytest.raises(ValueError, match=r"ZStage: 2\.1 µm is outside its limits, -2 … 2"):
        core.setPosition(2.1)
    with pytest.raises(ValueError, match="whole field"):
        core.setROI(0, 0, 32, 32)


def test_time_never_runs_backwards(virtual: Virtual) -> None:
    virtual.wait_until(10.123456789)
    now = virtual.core.getProperty("Scan", "Clock_s")
    virtual.wait_until(now)
    with pytest.raises(ValueError, match="backwards"):
        virtual.wait_until(now - 1e-6)
    assert virtual.core.getProperty("Scan", "Clock_s") == now


def test_wrong_pixel_size_or_small_sample_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pixel_size_nm: .* 20 nm only, got 25"):
        build_virtual_sted(VirtualStedConfig(), seed=0, pixel_size_nm=25)
    with pytest.raises(ValueError, match=r"size_um: .* at least 21\.6"):
        build_virtual_sted(VirtualStedConfig(size_um=8, width_px=1024), seed=0, pixel_size_nm=20)


def test_truth_needs_a_scan() -> None:
    with pytest.raises(RuntimeError, match="nothing was scanned"):
        Virtual().scan.truth()


@pytest.mark.slow
def test_frames_of_an_mda_run(virtual: Virtual) -> None:
    frames: list[Frame] = []
    virtual.core.mda.events.frameReady.connect(lambda frame, *_: frames.append(frame.copy()))
    events = [
        useq.MDAEvent(
            x_pos=x, y_pos=0.0, properties=[PropertyTuple("Depletion", "Power_mW", power)]
        )
        for x, power in ((0.0, 0.0), (1.0, 0.0), (1.0, 100.0))
    ]
    virtual.core.mda.run(iter(events))
    assert len(frames) == 3
    assert frames[2].mean() < 0.5 * frames[1].mean()


def test_a_burst_is_a_sequence_of_scans(virtual: Virtual) -> None:
    core = virtual.core
    core.startSequenceAcquisition(3, 0, True)
    while core.isSequenceRunning():
        pass
    frames = [core.popNextImage() for _ in range(core.getRemainingImageCount())]
    assert len(frames) == 3
    assert not np.array_equal(frames[0], frames[1])
    assert core.getProperty("Scan", "Clock_s") == pytest.approx(3 * 0.04096)
