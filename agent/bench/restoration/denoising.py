"""Trainings without a second label against filters that need none.

What they are compared with has none of the photons that they were given: the noise-free mean of
simulated fields, and of real frames the photons that were left out when they were thinned.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import denoise_nl_means, estimate_sigma

from agent.bench.measurement import Absent, BenchPart, Check
from agent.bench.quality import REAL
from agent.bench.restoration.measures import fitted
from agent.bench.restoration.study import TRAINED, fields, weights
from models.restoration import Recipe, Restorer, train

_THINNED = 0.25
_THINNINGS = 24
_WIDTHS = (0.6, 0.9, 1.3, 1.8)
_STRENGTHS = (0.4, 0.6, 0.8, 1.1)
_REAL_RECIPE = Recipe(method="n2n", loss="mse", epochs=12, steps_per_epoch=50, register=False)
Image = NDArray[Any]


def measure(folder: Path, *, quick: bool) -> BenchPart:
    """PSNR to the mean of simulated fields, and to the other photons of thinned real frames."""
    names = {"care": "care", "n2v": "n2v"}
    runs: dict[str, Callable[[Image], Image]] = {
        name: _network(weights(folder, TRAINED[0], kept)) for name, kept in names.items()
    }
    found: dict[str, list[float]] = {name: [] for name in (*runs, "non-local means", "Gaussian")}
    for field in fields(folder, TRAINED[0]):
        low, mean = field["label_a_low"], field["mean_a"]
        for name, run in runs.items():
            found[name].append(_psnr(run(low), mean))
        found["non-local means"].append(max(_psnr(i, mean) for i in _non_local(low)))
        found["Gaussian"].append(max(_psnr(i, mean) for i in _gaussian(low)))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    checks = [
        Check(f"{name} − {other}", means[name] - means[other], ">=", 0.0, "dB")
        for name in runs
        for other in ("non-local means", "Gaussian")
    ]
    raw: dict[str, Any] = {"simulated": means}
    if not REAL.is_dir():
        return BenchPart("denoising", checks, raw, [Absent(_ON_REAL, "no real frames")])
    raw["real"] = real = _real(quick)
    filters = max(real["Gaussian"], real["non-local means"])
    checks.append(Check(_ON_REAL, real["n2n on thinnings"] - filters, ">=", 0.0, "dB"))
    return BenchPart("denoising", checks, raw)


_ON_REAL = "real frames: n2n on thinnings − best filter"


def _real(quick: bool) -> dict[str, float]:
    """Real frames at a quarter of their light against the other three; each left out once.

    Photons that are thinned out and those that stay are independent, so that nobody gains by
    keeping the noise of what it was given.
    """
    rng = np.random.default_rng(5)
    frames = {
        file.stem: np.maximum(tifffile.imread(file), 0).astype(np.int64)
        for file in sorted(REAL.glob("*.tif"))
    }
    found: dict[str, list[float]] = {}
    for left_out, full in frames.items():
        others = {name: frame for name, frame in frames.items() if name != left_out}
        low = rng.binomial(full, _THINNED)
        with tempfile.TemporaryDirectory(prefix="stedfast-bench-") as place:
            run = _trained_on_thinnings(others, low, Path(place), rng, quick)
        by = {
            "thinned": [low],
            "n2n on thinnings": [run(low)],
            "Gaussian": _gaussian(low),
            "non-local means": _non_local(low),
        }
        for name, images in by.items():
            found.setdefault(name, []).append(max(_psnr(image, full - low) for image in images))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _trained_on_thinnings(
    frames: dict[str, NDArray[np.int64]],
    low: NDArray[np.int64],
    place: Path,
    rng: np.random.Generator,
    quick: bool,
) -> Callable[[Image], Image]:
    """A network that saw quarters of the light of some frames and halves of a dim one, in pairs."""
    for number in range(2 if quick else _THINNINGS):
        pairs = {}
        for name, frame in frames.items():
            first = rng.binomial(frame, _THINNED)
            second = rng.binomial(frame - first, _THINNED / (1 - _THINNED))
            pairs[name] = first, second
        for half in ("a", "b"):
            first = rng.binomial(low, 0.5)
            pairs[f"itself_{half}"] = first, low - first
        for name, pair in pairs.items():
            for channel, pixels in zip(("label_a", "label_a_again"), pair, strict=True):
                file = place / channel / f"{name}_{number}.tif"
                file.parent.mkdir(exist_ok=True)
                tifffile.imwrite(file, pixels.astype(np.uint16))
    recipe = replace(_REAL_RECIPE, epochs=1, steps_per_epoch=3) if quick else _REAL_RECIPE
    train(place, place / "network", recipe)
    return _network(place / "network.safetensors")


def _network(model: Path) -> Callable[[Image], Image]:
    restorer = Restorer(model, device="cpu")
    return lambda frame: restorer.restore(frame).image


def _psnr(image: Image, target: Image) -> float:
    """Peak signal-to-noise ratio (dB) after a fitted line; the peak is the 99.8 percentile."""
    truth = np.asarray(target, float)
    found: float = peak_signal_noise_ratio(
        truth, fitted(image, truth), data_range=float(np.percentile(truth, 99.8))
    )
    return found


def _gaussian(frame: Image) -> list[Image]:
    """Of several widths; the best for each frame is taken, which favours it."""
    return [gaussian_filter(np.asarray(frame, float), width) for width in _WIDTHS]


def _non_local(frame: Image) -> list[Image]:
    """Of several strengths, after a square root that makes photon noise even (Anscombe)."""
    root = 2 * np.sqrt(np.asarray(frame, float) + 0.375)
    sigma = float(estimate_sigma(root))
    return [
        denoise_nl_means(
            root, patch_size=5, patch_distance=9, h=strength * sigma, sigma=sigma, fast_mode=True
        )
        ** 2
        for strength in _STRENGTHS
    ]
