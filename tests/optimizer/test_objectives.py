"""What is measured from frames, against what the virtual microscope knows."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve
from skimage.filters import threshold_otsu

from agent.optimizer.objectives.bleaching import bleaching
from agent.optimizer.objectives.resolution import resolution_nm
from agent.optimizer.objectives.saturation import saturated_share
from agent.optimizer.objectives.signal import signal_to_noise
from devices.sources import Structure
from devices.virtual.dyes import DYES
from devices.virtual.optics import Optics
from devices.virtual.quick import quick_scan
from devices.virtual.sample import Sample


@lru_cache
def optics() -> Optics:
    return Optics(DYES["atto647n"])


@lru_cache
def molecules(structure: Structure, side: int, seed: int = 0) -> NDArray[np.int64]:
    sample = Sample(structure, size_um=7.5, molecules_per_pixel=25, seed=seed)
    found: NDArray[np.int64] = sample.window(0, 0, 0.0, (side, side), optics().margin).molecules
    return found


def seen(sample: NDArray[np.int64]) -> NDArray[np.float64]:
    """A confocal frame without noise."""
    return np.maximum(fftconvolve(sample, optics().psf(5e-6, 0.0), mode="valid"), 0)


def scene(rng: np.random.Generator, counts: float) -> NDArray[np.float64]:
    """Expected counts of some blobs."""
    rows, cols = np.mgrid[:128, :128]
    image = np.zeros((128, 128))
    for y, x in rng.uniform(10, 118, (15, 2)):
        image += np.exp(-((rows - y) ** 2 + (cols - x) ** 2) / 2 / 4**2)
    return counts * image / image.max()


class TestBleaching:
    @pytest.mark.slow
    @pytest.mark.parametrize("counts", [1.4, 5, 20])
    @pytest.mark.parametrize("lost", [0.0, 0.1, 0.4])
    def test_is_unbiased_and_knows_its_error(self, counts: float, lost: float) -> None:
        rng = np.random.default_rng(3)
        errors, sds = [], []
        for structure in ("actin", "tubulin", "filaments"):
            sample = molecules(structure, 160)
            first, second = seen(sample), seen(rng.binomial(sample, 1 - lost))
            bright = first > threshold_otsu(first)
            true = 1 - second[bright].sum() / first[bright].sum()
            scale = counts / (first[bright].mean() - np.quantile(first, 0.02))
            for _ in range(25):
                pair = [rng.poisson(scale * light + 0.5) for light in (first, second)]
                found = bleaching(*pair)
                errors.append(found.value - true)
                sds.append(found.sd)
        standard_error = np.std(errors) / np.sqrt(len(errors))
        assert abs(np.mean(errors)) < 0.005 + 2 * standard_error
        assert abs(np.mean(errors)) < 0.015
        assert 1 / 1.5 < np.std(errors) / np.mean(sds) < 1.5

    @pytest.mark.slow
    def test_finds_what_a_scan_bleached(self) -> None:
        sample = molecules("tubulin", 128)
        light = {"excitation_w": 5e-6, "dwell_s": 1e-5, "background_hz": 3000.0}
        before = optics().scan(sample, depletion_w=0.0, seed=1, **light)
        survivors = optics().scan(sample, depletion_w=0.15, seed=2, **light).survivors
        after = optics().scan(survivors, depletion_w=0.0, seed=3, **light)
        inner = np.s_[12:-12, 12:-12]
        first, second = seen(sample)[inner], seen(survivors)[inner]
        bright = first > threshold_otsu(first)
        true = 1 - second[bright].sum() / first[bright].sum()
        found = bleaching(before.counts, after.counts)
        assert 0.05 < true < 0.9
        assert found.sd < 0.03
        assert abs(found.value - true) < 0.01 + 2 * found.sd

    @pytest.mark.parametrize("background", [0.0, 1.0, 30.0])
    def test_does_not_need_to_know_the_background(self, background: float) -> None:
        rng = np.random.default_rng(1)
        found = []
        for _ in range(20):
            signal = scene(rng, 15)
            before, after = signal + background, 0.3 * signal + background
            found.append(bleaching(rng.poisson(before), rng.poisson(after)))
        error = 0.01 + 2 * np.mean([one.sd for one in found]) / np.sqrt(len(found))
        assert np.mean([one.value for one in found]) == pytest.approx(0.7, abs=error)

    def test_any_gain_and_offset_give_the_same(self) -> None:
        rng = np.random.default_rng(2)
        signal = scene(rng, 10)
        before, after = rng.poisson(signal + 1), rng.poisson(0.8 * signal + 1)
        counted, digitized = bleaching(before, after), bleaching(7 * before + 100, 7 * after + 100)
        assert digitized.value == pytest.approx(counted.value, abs=1e-3)
        assert digitized.sd == pytest.approx(counted.sd)

    def test_dye_beyond_the_scanned_field_does_not_dilute_it(self) -> None:
        sample, margin = molecules("filaments", 160), optics().margin
        inside = np.zeros(sample.shape, bool)
        inside[margin:-margin, margin:-margin] = True
        first, second = seen(sample), seen(np.where(inside, 0.5, 1.0) * sample)
        bright = first > threshold_otsu(first)
        assert second[bright].sum() > 0.515 * first[bright].sum()
        assert bleaching(first, second).value == pytest.approx(0.5, abs=0.01)

    @pytest.mark.parametrize("counts", [0.0, 3.0])
    def test_of_a_field_without_structure_is_unknown(self, counts: float) -> None:
        rng = np.random.default_rng(0)
        for _ in range(10):
            found = bleaching(*rng.poisson(counts, (2, 64, 64)))
            assert (found.value, found.sd) == (0.0, 1.0)

    def test_of_all_there_was_is_one(self) -> None:
        before = np.random.default_rng(0).poisson(scene(np.random.default_rng(0), 15))
        assert bleaching(before, np.zeros_like(before)).value == 1

    def test_of_different_shapes_is_refused(self) -> None:
        with pytest.raises(ValueError, match="differ in shape"):
            bleaching(np.zeros((32, 32)), np.zeros((32, 31)))


class TestSignalToNoise:
    @pytest.mark.parametrize(("signal", "background"), [(5.0, 1.0), (50.0, 1.0), (20.0, 20.0)])
    def test_of_photon_noise_is_known(self, signal: float, background: float) -> None:
        mean = np.full((128, 128), background)
        mean[32:96, 20:50] += signal
        mean[60:100, 80:110] += signal
        frame = np.random.default_rng(0).poisson(mean)
        true = signal / np.sqrt(signal + background)
        # A step is not locally a plane; its edges count as noise.
        assert signal_to_noise(frame) == pytest.approx(true, rel=0.1)
        assert signal_to_noise(7 * frame + 300) == pytest.approx(signal_to_noise(frame))

    def test_grows_with_the_dwell_time_as_photon_noise_does(self) -> None:
        sample = molecules("tubulin", 128)
        psf = optics().psf(5e-6, 0.1)
        light = np.maximum(fftconvolve(sample, psf, mode="valid"), 0)
        bright, dark = light > threshold_otsu(light), light < np.median(light)
        light /= light[bright].mean()
        rng = np.random.default_rng(0)
        for counts in (2, 8, 32):
            frame = rng.poisson(counts * light)
            true = np.sqrt(counts) * (1 - light[dark].mean())
            assert signal_to_noise(frame) == pytest.approx(true, rel=0.1)

    def test_of_nothing_is_nothing(self) -> None:
        assert signal_to_noise(np.full((64, 64), 7, np.uint16)) == 0
        assert signal_to_noise(np.random.default_rng(0).poisson(3, (128, 128))) < 0.1


class TestResolution:
    @staticmethod
    @lru_cache
    def frame(structure: Structure, depletion_w: float, seed: int = 0) -> NDArray[np.int64]:
        return quick_scan(
            optics(),
            molecules(structure, 224, seed),
            excitation_w=8e-6,
            depletion_w=depletion_w,
            dwell_s=2e-5,
            background_hz=3000.0,
            seed=seed + 1,
        )

    @pytest.mark.slow
    def test_is_that_of_the_effective_psf_where_it_answers(self) -> None:
        structures: tuple[Structure, ...] = ("actin", "psd95", "filaments", "mesh", "spots")
        errors, frames = [], 0
        for structure in structures:
            for depletion_w in (0.02, 0.05, 0.1, 0.15):
                for seed in (5, 6):
                    frames += 1
                    found = resolution_nm(self.frame(structure, depletion_w, seed), 20.0)
                    if found is not None:
                        errors.append(found / optics().psf_fwhm_nm(8e-6, depletion_w) - 1)
        assert len(errors) > frames / 3
        assert np.mean(np.abs(errors) < 0.2) >= 0.9
        assert np.max(np.abs(errors)) < 0.35

    def test_falls_with_the_depletion_power(self) -> None:
        found = [resolution_nm(self.frame("spots", power), 20.0) for power in (0.02, 0.05, 0.15)]
        assert None not in found
        assert found == sorted(found, reverse=True)  # type: ignore[type-var]  # no None here

    def test_does_not_depend_on_brightness_gain_or_offset(self) -> None:
        frame = self.frame("mesh", 0.05)
        found = resolution_nm(frame, 20.0)
        assert found is not None
        assert resolution_nm(7 * frame + 300, 20.0) == pytest.approx(found)
        thinned = resolution_nm(np.random.default_rng(0).binomial(frame, 0.3), 20.0)
        assert thinned == pytest.approx(found, rel=0.15)
        assert resolution_nm(frame, 20.0) == found

    def test_says_nothing_rather_than_something_wrong_at_low_counts(self) -> None:
        frame = self.frame("actin", 0.15)
        true = optics().psf_fwhm_nm(8e-6, 0.15)
        rng = np.random.default_rng(0)
        found = [
            resolution_nm(rng.binomial(frame, share), 20.0)
            for share in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
        ]
        assert found[0] is None
        assert all(one is None or abs(one / true - 1) < 0.25 for one in found)

    def test_needs_fine_detail_and_room(self) -> None:
        rng = np.random.default_rng(0)
        frame = self.frame("spots", 0.05)
        assert resolution_nm(frame, 20.0) is not None
        assert resolution_nm(frame[:64, :64], 20.0) is None
        assert resolution_nm(rng.poisson(gaussian_filter(frame.astype(float), 10)), 20.0) is None
        assert resolution_nm(np.zeros((224, 224)), 20.0) is None
        for counts in (0.1, 1, 10, 100):
            assert resolution_nm(rng.poisson(counts, (224, 224)), 20.0) is None


class TestSaturation:
    def test_counts_the_pixels_at_the_ceiling(self) -> None:
        frame = np.random.default_rng(0).poisson(40.0, (128, 128))
        ceiling = int(np.quantile(frame, 0.9))
        true = np.mean(frame >= ceiling)
        clipped = np.minimum(frame, ceiling)
        assert true > 0.05
        assert saturated_share(clipped) == pytest.approx(true)
        assert saturated_share(clipped, ceiling) == pytest.approx(true)
        assert saturated_share(clipped, ceiling + 1) == 0

    def test_an_ordinary_maximum_is_no_ceiling(self) -> None:
        frame = np.random.default_rng(0).poisson(40.0, (128, 128))
        assert saturated_share(frame) == 0
        assert saturated_share(np.random.default_rng(0).poisson(0.5, (128, 128))) == 0
