"""The virtual STED microscope as Micro-Manager devices, for one `UniMMCore`.

Time is simulated: a scan returns as soon as it is computed and moves the sample's clock
(`Clock_s` of the scan engine) on by its exposure. The scan engine reads lasers, shutter and
stages as Python objects, since the core holds a device's lock while the device works.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import SimpleCameraDevice

from devices.virtual.label import Field, Label, Light
from devices.virtual.mounting import Mounting
from devices.virtual.peripherals import Laser, Shutter, XYStage, ZStage, whole
from devices.virtual.sample import Sample

PIXEL_SIZE_NM = Sample.pixel_size_nm
_COUNTS = np.dtype(np.uint16)
_SEEDS_EACH = 1000
"""Of a dye's planes: more than there are."""


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

    field: Field
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
    dyes
        Those in the sample, each with the light path that is its own; at least one.
    excitation
        The laser that is made for each dye.
    crosstalk
        Share of a laser's light that excites a dye that another laser is made for.
    depletion, shutter, xy_stage, z_stage
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
        dyes: Sequence[Label],
        *,
        excitation: Sequence[Laser],
        crosstalk: float,
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
        self._dyes = tuple(dyes)
        self._optics = dyes[0].optics
        self._excitation = tuple(excitation)
        self._crosstalk = crosstalk
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
        self._last: list[_Last] = []
        self._light_j: defaultdict[str, float] = defaultdict(float)
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
        place = self._mounting.on_sample(x, y)
        fields = [dye.field(place, z, started_s, self._shape) for dye in self._dyes]
        self._last = [_Last(field, field.window.molecules, 0.0, 0.0) for field in fields]
        counts = np.zeros(self._shape, np.int64)
        if self._shutter.get_open():
            noise, depletion_w = self._noise_seed(x, y, z), self._depletion.power_w
            for laser in (*self._excitation, self._depletion):
                self._light_j[laser.get_label()] += laser.power_w * self._exposure_ns() * 1e-9
            for number, (dye, field, excitation_w) in enumerate(
                zip(self._dyes, fields, self._exciting_w(), strict=True)
            ):
                if number and not excitation_w:
                    continue  # the background came with the first
                light: Light = {
                    "excitation_w": excitation_w,
                    "depletion_w": depletion_w,
                    "dwell_s": self._dwell_us * 1e-6,
                    "passes": self._lines,
                }
                background_hz = 0.0 if number else self._background_hz
                seed = (noise + number * _SEEDS_EACH) % 2**32
                found, survivors = dye.scan(field, light, background_hz=background_hz, seed=seed)
                counts += found
                self._last[number] = _Last(field, survivors, excitation_w, depletion_w)
        buffer[:] = np.minimum(counts, np.iinfo(_COUNTS).max)
        self._clock_ns += self._exposure_ns()
        return {"Clock_s": f"{started_s:.9f}"}

    def truth(self, dye: int = 0) -> Truth:
        """Ground truth of the last scan, for tests and benchmarks; never read by the agent.

        Parameters
        ----------
        dye
            Of which dye, in the plane next to the focus.

        Raises
        ------
        RuntimeError
            Before the first scan.
        """
        if not self._last:
            raise RuntimeError("nothing was scanned yet")
        last, optics = self._last[dye], self._dyes[dye].optics
        margin, window = optics.margin, last.field.window
        field = np.s_[margin:-margin, margin:-margin]
        return Truth(
            molecules=window.molecules[field],
            survivors=last.survivors[field],
            survival=last.field.sample.survival(window)[field].astype(np.float64),
            psf_fwhm_nm=(
                optics.psf_fwhm_nm(last.excitation_w, last.depletion_w)
                if last.excitation_w > 0
                else float("nan")
            ),
        )

    @property
    def clock_s(self) -> float:
        """The sample's time (s)."""
        return self._get_clock()

    def light_j(self) -> dict[str, float]:
        """Energy (J) that fell on the sample until now, by laser; never read by the agent."""
        return dict(self._light_j)

    def _exciting_w(self) -> list[float]:
        """Light that excites each dye (W): of its own laser, and some of the others'."""
        powers = [laser.power_w for laser in self._excitation]
        return [own + self._crosstalk * (sum(powers) - own) for own in powers]

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
