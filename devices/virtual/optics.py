"""The virtual microscope's light path: pySTED's physics behind one `Optics.scan`.

pySTED (Turcotte et al., https://github.com/FLClab/pySTED) computes focal intensities,
effective point-spread function, bleaching and photon statistics; nothing of that is written
again here. What this module adds is what a microscope has around it: line accumulations,
defocus, and the quick way for scans that cannot bleach.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.integrate
from numpy.typing import NDArray
from pysted import base as pysted
from scipy.ndimage import affine_transform
from scipy.signal import fftconvolve

from devices.virtual.dyes import DEPLETION_NM, EMISSION_NM, EXCITATION_NM, Dye

_REFRACTIVE_INDEX = 1.5
"""Of immersion oil and sample (ratio)."""
_TRANSMISSION = {EXCITATION_NM: 0.84, EMISSION_NM: 0.82, DEPLETION_NM: 0.77}
"""Of the objective by wavelength in nm (ratio)."""
# pySTED draws molecules with C's rand(), whose state belongs to the whole process.
_ONE_SCAN_AT_A_TIME = threading.Lock()
_ONE_FOCUS_AT_A_TIME = threading.Lock()
_IN_FOCUS: dict[float, tuple[Any, ...]] = {}


@contextmanager
def _numpys_generator_kept() -> Iterator[None]:
    """Numpy's global generator is pySTED's meanwhile, and the caller's again after."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


@contextmanager
def _each_integral_once() -> Iterator[None]:
    """Integrals are remembered meanwhile: pySTED computes them for every pixel of a focus.

    Eight pixels are as far from the axis, and four lie alike but for their signs. The values are
    the same to the last bit.
    """
    quad, nquad = cache(scipy.integrate.quad), cache(scipy.integrate.nquad)

    def mirrored(amplitude: Any, ranges: Any, args: Any) -> Any:
        right = tuple((low, high) if low + high >= 0 else (-high, -low) for low, high in ranges)
        return nquad(amplitude, right, args)

    integrate = SimpleNamespace(quad=quad, nquad=mirrored)
    pysted.scipy = SimpleNamespace(**{**vars(scipy), "integrate": integrate})
    try:
        yield
    finally:
        pysted.scipy = scipy


def _pysteds(seed: int) -> int:
    """A seed that pySTED takes as one: it reads 0 as "seed from the clock"."""
    return max(1, seed % 2**31)


class _Fluorescence(pysted.Fluorescence):  # type: ignore[misc]  # pySTED is untyped
    """pySTED's dye, told that a pixel's dwell was split over several line passes."""

    passes = 1

    def get_k_bleach(self, *args: Any) -> Any:
        """Bleaching rate (1/s) with the triplet build-up of one pass, not of their sum."""
        *before, dwell = args
        return super().get_k_bleach(*before, dwell / self.passes)


class _Microscope(pysted.Microscope):  # type: ignore[misc]  # pySTED is untyped
    """pySTED's microscope with the focus moved.

    pySTED's intensities are those of the focal plane. Out of focus each is widened as a
    Gaussian beam of its wavelength and aperture widens, at constant power: an approximation
    that keeps the vortex donut's zero, which does persist along the axis.
    """

    z_um = 0.0

    def cache(self, datamap_pixelsize: float, save_cache: bool = False) -> tuple[Any, ...]:
        """Excitation and depletion intensity for 1 W (W/m²) and detection PSF, at `z_um`."""
        # They take half a second to compute and are the same for every dye.
        with _ONE_FOCUS_AT_A_TIME:
            if datamap_pixelsize not in _IN_FOCUS:
                with _each_integral_once():
                    _IN_FOCUS[datamap_pixelsize] = super().cache(datamap_pixelsize, save_cache)
        in_focus = _IN_FOCUS[datamap_pixelsize]
        if self.z_um == 0:
            return in_focus
        wavelengths_um = (EXCITATION_NM * 1e-3, DEPLETION_NM * 1e-3, EMISSION_NM * 1e-3)
        return tuple(
            _widened(light, self._widening(wavelength))
            for light, wavelength in zip(in_focus, wavelengths_um, strict=True)
        )

    def _widening(self, wavelength_um: float) -> float:
        """w(z) / w(0) of a Gaussian beam whose waist has the focus's full width λ / 2 NA."""
        waist = wavelength_um / (2 * self.objective.na) / np.sqrt(2 * np.log(2))
        rayleigh = np.pi * waist**2 * self.objective.n / wavelength_um
        return float(np.hypot(1.0, self.z_um / rayleigh))


def _widened(light: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """A focal distribution stretched about its centre by `factor`, its integral kept."""
    centre = (np.array(light.shape) - 1) / 2
    inverse = np.eye(2) / factor
    stretched: NDArray[np.float64] = affine_transform(
        light, inverse, centre - inverse @ centre, order=1
    )
    return stretched / factor**2


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan left behind.

    Parameters
    ----------
    counts
        Detected photons, int64, shape of the field of view.
    survivors
        Molecules after the scan, int64, shape of the window that was handed in.
    """

    counts: NDArray[np.int64]
    survivors: NDArray[np.int64]


class Optics:
    """A STED microscope's optics around one dye.

    Parameters
    ----------
    dye
        Photophysics of the label.
    pixel_size_nm
        Scan and sample pixel (nm).
    """

    def __init__(self, dye: Dye, pixel_size_nm: float = 20.0) -> None:
        self.dye = dye
        self.pixel_size_nm = pixel_size_nm
        fluorescence = _Fluorescence(
            EMISSION_NM * 1e-9,
            sigma_abs={EXCITATION_NM: dye.sigma_abs, DEPLETION_NM: dye.sigma_abs_depletion},
            sigma_ste={DEPLETION_NM: dye.sigma_ste},
            tau=dye.lifetime,
            qy=dye.quantum_yield,
            k0=0,
            k1=dye.bleach_k1,
            b=dye.bleach_b,
            triplet_dynamic_frac=dye.triplet_fraction,
        )
        depletion = pysted.DonutBeam(DEPLETION_NM * 1e-9, zero_residual=0)
        self._microscope = _Microscope(
            pysted.GaussianBeam(EXCITATION_NM * 1e-9),
            depletion,
            pysted.Detector(),
            pysted.Objective(n=_REFRACTIVE_INDEX, transmission=_TRANSMISSION),
            fluorescence,
        )
        self._pixel_m = pixel_size_nm * 1e-9
        self.margin = self._microscope.cache(self._pixel_m)[0].shape[0] // 2
        """Pixels that the focus reaches beyond the field of view, on each side."""

    def scan(
        self,
        molecules: NDArray[np.int64],
        *,
        excitation_w: float,
        depletion_w: float,
        dwell_s: float,
        passes: int = 1,
        z_um: float = 0.0,
        background_hz: float = 0.0,
        seed: int,
    ) -> Scan:
        """Raster the lasers over a window of the sample.

        Parameters
        ----------
        molecules
            Molecules per pixel, shape of the field of view plus `margin` on every side.
        excitation_w, depletion_w
            Mean powers on the sample (W).
        dwell_s
            Pixel dwell time of one pass (s).
        passes
            Line accumulations: every line is scanned that many times, counts add up.
        z_um
            Distance of the sample from the focal plane (µm).
        background_hz
            Mean background that the detector counts (photons/s).
        seed
            Of the photon and bleaching noise; the same seed gives the same frame.

        Returns
        -------
        Scan
        """
        with _ONE_SCAN_AT_A_TIME, _numpys_generator_kept():
            microscope = self._microscope
            microscope.z_um = float(z_um)
            microscope.fluo.passes = passes
            self._set_background(background_hz)
            light = (float(dwell_s * passes), float(excitation_w), float(depletion_w))
            return self._scan(molecules, *light, seed=_pysteds(seed))

    def _set_background(self, background_hz: float) -> None:
        detector = self._microscope.detector
        # pySTED gates the background; asked for is what passes the gate.
        detector.background = background_hz / (detector.det_width * self._microscope.sted.rate)

    def _scan(
        self, molecules: NDArray[np.int64], dwell: float, p_ex: float, p_sted: float, *, seed: int
    ) -> Scan:
        microscope, margin = self._microscope, self.margin
        if p_sted == 0 or p_ex == 0:
            # Without both beams pySTED's dye does not bleach, so that the frame is a plain
            # convolution: same counts as its raster scan, a hundred times sooner.
            psf = microscope.get_effective(self._pixel_m, p_ex, p_sted)
            power = fftconvolve(molecules, psf[::-1, ::-1], mode="same")[
                margin:-margin, margin:-margin
            ]
            return Scan(self._detected(np.maximum(power, 0.0), dwell, seed), molecules)
        datamap = pysted.Datamap(molecules, self._pixel_m)
        lasers = microscope.cache(self._pixel_m)
        rows, cols = (n - margin - 1 for n in molecules.shape)
        datamap.set_roi(lasers[0], {"rows": [margin, rows], "cols": [margin, cols]})
        counts, after, _ = microscope.get_signal_and_bleach(
            datamap, self._pixel_m, dwell, p_ex, p_sted, seed=seed, bleach=True, update=False
        )
        return Scan(counts.astype(np.int64), after["base"])

    def _detected(self, power: NDArray[np.float64], dwell: float, seed: int) -> NDArray[np.int64]:
        microscope = self._microscope
        photons = microscope.fluo.get_photons(power)
        dwells = np.full(photons.shape, dwell)
        counts: NDArray[np.float64] = microscope.detector.get_signal(
            photons, dwells, microscope.sted.rate, seed=seed
        )
        return counts.astype(np.int64)

    def detect(
        self, power_w: NDArray[np.float64], dwell_s: float, background_hz: float, seed: int
    ) -> NDArray[np.int64]:
        """Photons that the detector counts of a mean power (W) at each pixel, with its noise."""
        with _ONE_SCAN_AT_A_TIME, _numpys_generator_kept():
            self._set_background(background_hz)
            return self._detected(power_w, float(dwell_s), _pysteds(seed))

    def photons_counted(self, power_w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean rate (1/s) at which the detector counts photons of a mean power (W)."""
        detector, fluo = self._microscope.detector, self._microscope.fluo
        # pySTED rounds photon rates down, which is nothing to a frame and all to one molecule.
        energy = 1.0 / float(fluo.get_photons(np.array(1.0)))
        rate: NDArray[np.float64] = power_w / energy * (detector.pcef * detector.pdef)
        return rate

    def psf(
        self, excitation_w: float, depletion_w: float, z_um: float = 0.0
    ) -> NDArray[np.float64]:
        """Effective point-spread function: detected power per molecule (W)."""
        with _ONE_SCAN_AT_A_TIME:
            self._microscope.z_um = float(z_um)
            effective: NDArray[np.float64] = self._microscope.get_effective(
                self._pixel_m, float(excitation_w), float(depletion_w)
            )
            return effective

    def bleaching_exponent(
        self,
        excitation_w: float,
        depletion_w: float,
        *,
        dwell_s: float,
        passes: int = 1,
        z_um: float = 0.0,
    ) -> NDArray[np.float64]:
        """Bleaching rate × time in one pixel's dwell, by offset of a molecule from the beam.

        A molecule at that offset survives with the probability exp(−exponent). All 0 where one
        of the two beams is off: without both pySTED's dye does not bleach.
        """
        with _ONE_SCAN_AT_A_TIME:
            microscope = self._microscope
            microscope.z_um = float(z_um)
            microscope.fluo.passes = passes
            excitation, depletion, _ = microscope.cache(self._pixel_m)
            if excitation_w == 0 or depletion_w == 0:
                return np.zeros(excitation.shape)
            duty = microscope.sted.tau * microscope.sted.rate
            fluo, lasers = microscope.fluo, (microscope.excitation, microscope.sted)
            rate: NDArray[np.float64] = fluo.get_k_bleach(
                lasers[0].lambda_,
                lasers[1].lambda_,
                fluo.get_photons(excitation * float(excitation_w), lasers[0].lambda_),
                fluo.get_photons(depletion * float(depletion_w) * duty, lasers[1].lambda_),
                microscope.sted.tau,
                1 / microscope.sted.rate,
                float(dwell_s * passes),
            )
            return rate * float(dwell_s * passes)

    def psf_fwhm_nm(self, excitation_w: float, depletion_w: float) -> float:
        """Full width at half maximum of the effective PSF along x (nm)."""
        psf = self.psf(excitation_w, depletion_w)
        line = psf[psf.shape[0] // 2, psf.shape[1] // 2 :]
        half = line[0] / 2
        below = int(np.argmax(line < half))
        inside = below - 1 + (line[below - 1] - half) / (line[below - 1] - line[below])
        return float(2 * inside * self.pixel_size_nm)
