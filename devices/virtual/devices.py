"""The virtual STED microscope as Micro-Manager devices, for one `UniMMCore`.

Time is simulated: a scan returns as soon as it is computed and moves the sample's clock
(`Clock_s` of the scan engine) on by its exposure. The scan engine reads lasers, shutter and
stages as Python objects, since the core holds a device's lock while the device works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import Device, SimpleCameraDevice

from devices.config import VirtualStedConfig
from devices.virtual.dyes import DYES
from devices.virtual.mounting import Mounting
from devices.virtual.optics import Optics
from devices.virtual.peripherals import Laser, Shutter, XYStage, ZStage, whole
from devices.virtual.sample import Sample, Window

PIXEL_SIZE_NM = Sample.pixel_size_nm
_COUNTS = np.dtype(np.uint16)


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth about a frame, unknown at a real microscope; arrays have the frame's shape.

    Parameters
    ----------
    molecules
        Living molecules per pixel before the scan.
    survivors
        The same after the scan.
    survival
        Fraction of the sample's molecules alive now, of those there at the very start; 1 where
        there never were any.
    psf_fwhm_nm
        Full width at half maximum of the scan's effective PSF in focus (nm); nan without
        excitation.
    """

    molecules: NDArray[np.int64]
    survivors: NDArray[np.int64]
    survival: NDArray[np.float64]
    psf_fwhm_nm: float

    @property
    def bleached(self) -> float:
        """Fraction of the field's molecules that the scan bleached; 0 in an empty field."""
        before = int(self.molecules.sum())
        return 1 - int(self.survivors.sum()) / before if before else 0.0


@dataclass(frozen=True, slots=True)
class _Last:
    """What `ScanEngine.truth` needs of the last scan."""

    window: Window
    survivors: NDArray[np.int64]
    excitation_w: float
    depletion_w: float


class ScanEngine(SimpleCameraDevice):
    """Point scanner and detector: a camera whose frame is a scan of the field at the stage.

    A frame is the sample at the stage's position, the focus and the clock's time at the
    scan's start, in photon counts (clipped at 65535). With the shutter closed neither light
    nor background reaches the detector, which has no dark counts: the frame is zero.
    A frame's noise is drawn from (seed, clock, position) alone, so that a run is reproducible
    and a frame taken again is not the same frame.

    Its exposure is dwell time × pixels × line accumulations and cannot be set.

    Parameters
    ----------
    sample, optics
        The scanned sample, and the optics.
    excitation, depletion, shutter, xy_stage, z_stage
        The other devices, read when a scan starts.
    shape
        Rows × columns of a frame (pixels).
    mounting
        How the camera lies on the stage.
    background_hz
        Detected background while the shutter is open (photons/s).
    seed
        Of photon and bleaching noise, 0 or higher.
    """

    def __init__(
        self,
        sample: Sample,
        optics: Optics,
        *,
        excitation: Laser,
        depletion: Laser,
        shutter: Shutter,
        xy_stage: XYStage,
        z_stage: ZStage,
        shape: tuple[int, int],
        mounting: Mounting,
        background_hz: float,
        seed: int,
    ) -> None:
        super().__init__()
        self._sample = sample
        self._optics = optics
        self._excitation = excitation
        self._depletion = depletion
        self._shutter = shutter
        self._xy_stage = xy_stage
        self._z_stage = z_stage
        self._shape = shape
        self._mounting = mounting
        self._background_hz = background_hz
        self._seed = seed
        self._dwell_us = 10.0
        self._lines = 1
        self._clock_ns = 0
        self._last: _Last | None = None
        self.register_property(
            "DwellTime_us",
            limits=(0.1, 1000.0),
            property_type=float,
            getter=ScanEngine._get_dwell,
            setter=ScanEngine._set_dwell,
        )
        self.register_property(
            "LineAccumulations",
            limits=(1, 64),
            property_type=int,
            getter=ScanEngine._get_lines,
            setter=ScanEngine._set_lines,
        )
        self.register_property(
            "PixelSize_nm",
            property_type=float,
            is_read_only=True,
            getter=ScanEngine._get_pixel_size,
        )
        self.register_property(
            "Clock_s",
            limits=(0.0, 1e9),
            property_type=float,
            getter=ScanEngine._get_clock,
            setter=ScanEngine._set_clock,
        )

    def sensor_shape(self) -> tuple[int, int]:
        """Rows × columns of a frame."""
        return self._shape

    def dtype(self) -> np.dtype[np.uint16]:
        """Tell the type of the counts, uint16."""
        return _COUNTS

    def set_roi(self, x: int, y: int, width: int, height: int) -> None:
        """Only the whole field: cropping its frame would hide where the light was."""
        if (x, y, height, width) != (0, 0, *self._shape):
            raise ValueError(
                f"ROI ({x}, {y}, {width}, {height}): the scan engine only scans its whole field, "
                f"(0, 0, {self._shape[1]}, {self._shape[0]})"
            )

    def get_exposure(self) -> float:
        """Dwell time × pixels × line accumulations (ms)."""
        return self._exposure_ns() * 1e-6

    def set_exposure(self, exposure: float) -> None:
        """Refuse any but the present exposure (ms), with a `ValueError`."""
        if not np.isclose(exposure, self.get_exposure(), rtol=1e-6, atol=1e-6):
            raise ValueError(
                f"exposure {exposure:g} ms: a scan's exposure, now {self.get_exposure():g} ms, "
                "follows from DwellTime_us and LineAccumulations; set those"
            )

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        """Scan the field into `buffer` and move the clock on.

        Parameters
        ----------
        buffer
            Rows × columns, uint16.

        Returns
        -------
        Mapping
            `Clock_s` at the start of the scan.
        """
        started_s = self._get_clock()
        x, y = self._xy_stage.get_position_um()
        z = self._z_stage.get_position_um()
        margin = self._optics.margin
        place = self._mounting.on_sample(x, y)
        window = self._sample.window(*place, started_s, self._shape, margin)
        survivors, excitation_w, depletion_w = window.molecules, 0.0, 0.0
        if self._shutter.get_open():
            excitation_w, depletion_w = self._excitation.power_w, self._depletion.power_w
            scan = self._optics.scan(
                window.molecules,
                excitation_w=excitation_w,
                depletion_w=depletion_w,
                dwell_s=self._dwell_us * 1e-6,
                passes=self._lines,
                z_um=z,
                background_hz=self._background_hz,
                seed=self._noise_seed(x, y, z),
            )
            buffer[:] = np.minimum(scan.counts, np.iinfo(_COUNTS).max)
            if scan.survivors is not window.molecules:
                survivors = scan.survivors
                self._sample.bleach(window, survivors)
        else:
            buffer[:] = 0
        self._clock_ns += self._exposure_ns()
        self._last = _Last(window, survivors, excitation_w, depletion_w)
        return {"Clock_s": f"{started_s:.9f}"}

    def truth(self) -> Truth:
        """Ground truth of the last scan, for tests and benchmarks; never read by the agent.

        Raises
        ------
        RuntimeError
            Before the first scan.
        """
        if self._last is None:
            raise RuntimeError("nothing was scanned yet")
        last, margin = self._last, self._optics.margin
        field = np.s_[margin:-margin, margin:-margin]
        return Truth(
            molecules=last.window.molecules[field],
            survivors=last.survivors[field],
            survival=self._sample.survival(last.window)[field].astype(np.float64),
            psf_fwhm_nm=(
                self._optics.psf_fwhm_nm(last.excitation_w, last.depletion_w)
                if last.excitation_w > 0
                else float("nan")
            ),
        )

    def _exposure_ns(self) -> int:
        return round(self._dwell_us * 1e3 * self._shape[0] * self._shape[1] * self._lines)

    def _noise_seed(self, *position_um: float) -> int:
        place = (round(at * 1e3) % 2**32 for at in position_um)
        entropy = np.random.SeedSequence((self._seed, self._clock_ns, *place))
        return int(entropy.generate_state(1)[0])

    def _get_dwell(self) -> float:
        return self._dwell_us

    def _set_dwell(self, value: float) -> None:
        self._dwell_us = float(value)

    def _get_lines(self) -> int:
        return self._lines

    def _set_lines(self, value: float) -> None:
        self._lines = whole("LineAccumulations", value)

    def _get_pixel_size(self) -> float:
        return self._optics.pixel_size_nm

    def _get_clock(self) -> float:
        return self._clock_ns / 1e9

    def _set_clock(self, value: float) -> None:
        # Whole nanoseconds, so that a time that was read can always be set again.
        clock_ns = round(float(value) * 1e9)
        if clock_ns < self._clock_ns:
            raise ValueError(
                f"Clock_s: {float(value):g} s is before the sample's present time, "
                f"{self._get_clock():.9g} s, and time does not run backwards"
            )
        self._clock_ns = clock_ns


def build_virtual_sted(
    config: VirtualStedConfig, *, seed: int, pixel_size_nm: float
) -> dict[str, Device]:
    """Build the virtual STED microscope's devices, by label in the order to load them.

    Parameters
    ----------
    config
        Sample, dye and field of view.
    seed
        The run's seed, 0 or higher: of the noise, and of the sample unless `config` has one.
    pixel_size_nm
        Asked-for pixel size (nm).

    Returns
    -------
    dict
        `Excitation`, `Depletion`, `Shutter`, `XYStage`, `ZStage`, `Scan`.

    Raises
    ------
    ValueError
        If the pixel size is not 20 nm, or the sample is too small for the field of view.
    """
    if pixel_size_nm != PIXEL_SIZE_NM:
        raise ValueError(
            f"pixel_size_nm: the virtual microscope scans at {PIXEL_SIZE_NM:g} nm only, "
            f"got {pixel_size_nm:g}"
        )
    optics = _optics(config.dye)
    sample = Sample(
        config.structure,
        size_um=config.size_um,
        molecules_per_pixel=config.molecules_per_pixel,
        motion_nm_per_s=config.motion_nm_per_s,
        motion_length_um=config.motion_length_um,
        drift_nm_per_s=config.drift_nm_per_s,
        seed=seed if config.seed is None else config.seed,
    )
    shape = (config.height_px, config.width_px)
    reach_um = sample.reach_um(shape, optics.margin)
    if reach_um < 0:
        raise ValueError(
            f"size_um: a field of {config.width_px} × {config.height_px} pixels needs a sample of "
            f"at least {config.size_um - 2 * reach_um:.2f} µm, got {config.size_um:g}"
        )
    mounting = Mounting(config.stage_rotation_deg, config.stage_mirrored, config.stage_scale)
    excitation, depletion = Laser("Power_uW", 1e-6, 50.0), Laser("Power_mW", 1e-3, 500.0)
    shutter, xy_stage, z_stage = Shutter(), XYStage(reach_um / mounting.spread), ZStage()
    scan = ScanEngine(
        sample,
        optics,
        excitation=excitation,
        depletion=depletion,
        shutter=shutter,
        xy_stage=xy_stage,
        z_stage=z_stage,
        shape=shape,
        mounting=mounting,
        background_hz=config.background_hz,
        seed=seed,
    )
    return {
        "Excitation": excitation,
        "Depletion": depletion,
        "Shutter": shutter,
        "XYStage": xy_stage,
        "ZStage": z_stage,
        "Scan": scan,
    }


@lru_cache(maxsize=len(DYES))
def _optics(dye: str) -> Optics:
    """One light path for each dye in a process: its focus takes a second to compute."""
    return Optics(DYES[dye], PIXEL_SIZE_NM)
