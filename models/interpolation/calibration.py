"""Frames of a network, how sure it is of them, and how well that is known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.interpolation.interface import Interpolator
from models.interpolation.losses import decibels
from models.restoration.calibration import COVERAGE, LEVELS, covered, half_width

_SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
"""Shares of the blend that are tried; chosen."""
_WORTH = 0.03
"""What a share must gain in peak signal-to-noise ratio to be worth it (dB); chosen."""
# Of 100 million pixels no more is learned about one number than of these.
_ENOUGH = 2_000_000


class Calibration(NamedTuple):
    """What the validation frames say of a network's frames and of how sure it is.

    Parameters
    ----------
    one_way, both_ways
        Factors on the standard deviation with which 90% of the targets lie in their 90% interval:
        of the Laplace scale alone, and of scale and disagreement together.
    blend
        Share of the blurred blend of the two frames in a rebuilt one. Where motion cannot be
        foreseen, a frame half-way between the predicted one and the blend is the nearest
        (shrinkage).
    """

    one_way: float = 1.0
    both_ways: float = 1.0
    blend: float = 0.0


class ValidationFrame(NamedTuple):
    """A validation frame, normalized: images 1 × 1 × rows × columns each, and when it was."""

    before: Tensor
    after: Tensor
    target: Tensor
    t: float


def rebuilt(
    network: Interpolator,
    before: Tensor,
    after: Tensor,
    t: float | Tensor,
    *,
    both_ways: bool,
    blend: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Location and uncalibrated standard deviation of one frame (1 × 1 × rows × columns).

    A Laplace distribution's standard deviation is √2 times its scale. Both ways, the network
    is asked for the same frame with time running backwards, too; the mean of the two is nearer to
    the truth than either, and the variance of the two, each of which may be right, adds to
    their mean variance (law of total variance). For `blend` see `Calibration`. The time may lie on
    the device, as one number.

    Examples
    --------
    >>> from models.interpolation.networks import build
    >>> network = build({"network": "flow", "widths": [4, 8], "synthesis": [4, 8]}).eval()
    >>> before, after = torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)
    >>> location, sd = rebuilt(network, before, after, 0.5, both_ways=True)
    >>> bool(0 < location.mean() < 1), bool((sd > 0).all())
    (True, True)
    """
    location, sd = _asked(network, before, after, t, both_ways=both_ways)
    if blend:
        location = torch.lerp(location, _blurred_blend(before, after, t), blend)
    return location, sd


def _blurred_blend(before: Tensor, after: Tensor, t: float | Tensor) -> Tensor:
    blend = (1 - t) * before.float() + t * after.float()
    return functional.avg_pool2d(blend, 3, 1, 1, count_include_pad=False)


def _asked(
    network: Interpolator, before: Tensor, after: Tensor, t: float | Tensor, *, both_ways: bool
) -> tuple[Tensor, Tensor]:
    if not both_ways:
        location, scale = network(before, after, t)
        return location.float(), math.sqrt(2) * scale.float()
    first, second = torch.cat([before, after]), torch.cat([after, before])
    there_and_back = torch.stack([t, 1 - t]) if isinstance(t, Tensor) else torch.tensor([t, 1 - t])
    location, scale = network(first, second, there_and_back)
    location, scale = location.float(), scale.float()
    variance = 2 * scale.square().mean(0, keepdim=True)
    variance = variance + location.var(0, unbiased=False, keepdim=True)
    return location.mean(0, keepdim=True), variance.sqrt()


def measured(
    network: Interpolator, cases: Sequence[ValidationFrame]
) -> tuple[Calibration, dict[str, float | dict[str, float]]]:
    """Calibration on the validation frames, and figures of the frames rebuilt both ways.

    Errors are in normalized units, PSNR (dB) of a range of 1, means over the frames; `linear_…`
    those of the linear blend. `rank_correlation` is Spearman's, between standard deviation and
    absolute error of all pixels of a frame, the mean over the frames. `intensity` is the mean of
    the rebuilt frames over that of their targets.
    """
    network.eval()
    blend = _blend_of(network, cases)
    errors: dict[bool, list[NDArray[np.float32]]] = {False: [], True: []}
    deviations: dict[bool, list[NDArray[np.float32]]] = {False: [], True: []}
    noted: dict[str, list[float]] = {}
    sums = np.zeros(2)
    for case in cases:
        for both_ways in (False, True):
            with torch.no_grad():
                location, sd = rebuilt(network, *case[:2], case.t, both_ways=both_ways, blend=blend)
            error = (location - case.target).abs().cpu().numpy().ravel()
            spread = sd.cpu().numpy().ravel()
            errors[both_ways].append(error)
            deviations[both_ways].append(spread)
            if both_ways:
                sums += float(location.mean()), float(case.target.mean())
                noted.setdefault("rank_correlation", []).append(_ranked(error, spread))
            noted.setdefault("psnr" if both_ways else "one_way_psnr", []).append(_psnr(error))
        linear = (1 - case.t) * case.before + case.t * case.after
        noted.setdefault("linear_psnr", []).append(
            _psnr((linear - case.target).cpu().numpy().ravel())
        )
    factors = []
    for both_ways in (False, True):
        error, spread = (np.concatenate(part[both_ways]) for part in (errors, deviations))
        keep = max(1, len(error) // _ENOUGH)
        needed = np.quantile((error / spread)[::keep], COVERAGE) / half_width(COVERAGE)
        factors.append(max(0.01, float(needed)))
    calibration = Calibration(factors[0], factors[1], blend)
    sd_all = np.concatenate(deviations[True]) * np.float32(calibration.both_ways)
    error_all = np.concatenate(errors[True])
    return calibration, {
        "frames": len(noted["psnr"]),
        **{name: float(np.mean(values)) for name, values in noted.items()},
        "mae": float(error_all.mean()),
        "intensity": float(sums[0] / sums[1]) if sums[1] else 1.0,
        "mean_sd": float(sd_all.mean()),
        "coverage": {f"{level:g}": covered(error_all, sd_all, level) for level in LEVELS},
    }


def _blend_of(network: Interpolator, cases: Iterable[ValidationFrame]) -> float:
    """The share of the blurred blend that is nearest to the targets; 0 if none is worth it."""
    errors: dict[float, list[float]] = {share: [] for share in (0.0, *_SHARES)}
    for case in cases:
        with torch.no_grad():
            location, _ = rebuilt(network, *case[:2], case.t, both_ways=True)
        blend = _blurred_blend(case.before, case.after, case.t)
        for share, own in errors.items():
            own.append(decibels(torch.lerp(location, blend, share), case.target))
    mean = {share: float(np.mean(own)) for share, own in errors.items()}
    best = min(mean, key=lambda share: mean[share])
    return best if mean[best] < mean[0.0] - _WORTH else 0.0


def _psnr(error: NDArray[np.float32]) -> float:
    return -10 * math.log10(max(float(np.mean(np.square(error, dtype=np.float64))), 1e-10))


def _ranked(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Spearman's rank correlation; 0 where all of one are the same."""
    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    one, other = (
        np.argsort(np.argsort(values, kind="stable")).astype(np.float64)
        for values in (first, second)
    )
    # Ranks are 0 to n − 1 for any values.
    return float(np.mean((one - one.mean()) * (other - other.mean())) / one.var())
