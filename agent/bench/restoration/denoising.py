"""Trainings without a second label against filters that need none."""

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

from agent.bench.measurement import Check, Part
from agent.bench.quality import REAL
from agent.bench.restoration.measures import fitted
from agent.bench.restoration.study import TRAINED, fields, weights
from models.restoration import Recipe, Restorer, train

_THINNED = 0.25
_WIDTHS = (0.6, 0.9, 1.3, 1.8)
_STRENGTHS = (0.4, 0.6, 0.8, 1.1)
_REAL_RECIPE = Recipe(method="n2n", loss="mse", epochs=12, steps_per_epoch=50, register=False)
Image = NDArray[Any]


def measure(folder: Path, *, quick: bool) -> Part:
    """PSNR to the frame of full light: simulated fields, and real frames thinned to a quarter."""
    names = {"care": "care", "n2v": "n2v"}
    runs: dict[str, Callable[[Image], Image]] = {
        name: _network(weights(folder, TRAINED[0], kept)) for name, kept in names.items()
    }
    found: dict[str, list[float]] = {name: [] for name in (*runs, "non-local means", "Gaussian")}
    for field in fields(folder, TRAINED[0]):
        low, full = field["label_a_low"], field["label_a"]
        for name, run in runs.items():
            found[name].append(_psnr(run(low), full))
        found["non-local means"].append(max(_psnr(i, full) for i in _non_local(low)))
        found["Gaussian"].append(max(_psnr(i, full) for i in _gaussian(low)))
    mean = {name: float(np.mean(values)) for name, values in found.items()}
    checks = [
        Check(f"{name} − non-local means", mean[name] - mean["non-local means"], ">=", 0.0, "dB")
        for name in runs
    ]
    raw: dict[str, Any] = {"simulated": mean}
    if REAL.is_dir():
        raw["real"] = real = _real(quick)
        gained = real["n2n on thinnings"] - max(real["Gaussian"], real["non-local means"])
        checks.append(Check("real frames: n2n on thinnings − best filter", gained, ">=", 0.0, "dB"))
    return Part("denoising", checks, raw)


def _real(quick: bool) -> dict[str, float]:
    """Real frames at a quarter of their light, closer to the whole; each left out once."""
    rng = np.random.default_rng(5)
    frames = {
        file.stem: np.maximum(tifffile.imread(file), 0).astype(np.int64)
        for file in sorted(REAL.glob("*.tif"))
    }
    found: dict[str, list[float]] = {
        name: [] for name in ("thinned", "n2n on thinnings", "Gaussian", "non-local means")
    }
    for left_out, full in frames.items():
        others = {name: frame for name, frame in frames.items() if name != left_out}
        with tempfile.TemporaryDirectory(prefix="stedfast-bench-") as place:
            run = _trained_on_thinnings(others, Path(place), rng, quick)
        low = rng.binomial(full, _THINNED)
        found["thinned"].append(_psnr(low, full))
        found["n2n on thinnings"].append(_psnr(run(low), full))
        found["Gaussian"].append(max(_psnr(i, full) for i in _gaussian(low)))
        found["non-local means"].append(max(_psnr(i, full) for i in _non_local(low)))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _trained_on_thinnings(
    frames: dict[str, NDArray[np.int64]], place: Path, rng: np.random.Generator, quick: bool
) -> Callable[[Image], Image]:
    """A network that saw quarters of the light of some frames, two at a time."""
    for number in range(4):
        for name, frame in frames.items():
            first = rng.binomial(frame, _THINNED)
            second = rng.binomial(frame - first, _THINNED / (1 - _THINNED))
            for channel, pixels in (("label_a", first), ("label_a_again", second)):
                file = place / channel / f"{name}_{number}.tif"
                file.parent.mkdir(exist_ok=True)
                tifffile.imwrite(file, pixels.astype(np.uint16))
    recipe = replace(_REAL_RECIPE, epochs=1, steps_per_epoch=3) if quick else _REAL_RECIPE
    train(place, place / "network", recipe)
    return _network(place / "network.safetensors")


def _network(model: Path) -> Callable[[Image], Image]:
    restorer = Restorer(model, device="cpu")
    return lambda frame: restorer.restore(frame).image


def _psnr(image: Image, full: Image) -> float:
    """Peak signal-to-noise ratio (dB) after a fitted line; the peak is the 99.8 percentile."""
    truth = np.asarray(full, float)
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
