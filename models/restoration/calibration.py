"""Predictions of an ensemble, how sure they are, and how well that is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.restoration.network import RestorationNet
from models.restoration.objective import Case

COVERAGE = 0.9
"""Nominal coverage of the intervals that are calibrated; chosen."""
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Nominal coverages that the card has figures of; chosen."""
# Of 100 million pixels no more is learned about one number than of these.
_ENOUGH = 4_000_000


def half_width(coverage: float) -> float:
    """Half of a Laplace distribution's central interval of this coverage, over its sd.

    Examples
    --------
    >>> round(half_width(0.9), 2)
    1.63
    """
    return -math.log(1 - coverage) / math.sqrt(2)


def members(networks: Sequence[RestorationNet], source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean location, mean square of the scales, and variance of the locations of an ensemble.

    Examples
    --------
    >>> networks = [RestorationNet(depth=1, first=4) for _ in range(2)]
    >>> location, square, variance = members(networks, torch.zeros(1, 1, 16, 16))
    >>> tuple(location.shape), bool((variance >= 0).all())
    ((1, 1, 16, 16), True)
    """
    with torch.no_grad():
        told = [network.eval()(source) for network in networks]
    locations = torch.stack([location.float() for location, _ in told])
    scales = torch.stack([scale.float() for _, scale in told])
    return locations.mean(0), scales.square().mean(0), locations.var(0, unbiased=False)


def spread(square: Tensor, variance: Tensor, calibration: float) -> Tensor:
    """Standard deviation per pixel: of the Laplace distributions and of the members' locations.

    Examples
    --------
    >>> spread(torch.tensor(4.0), torch.tensor(1.0), calibration=1.0).item()
    3.0
    """
    return (2 * calibration**2 * square + variance).sqrt()


def calibrate(networks: Sequence[RestorationNet], cases: Sequence[Case]) -> float:
    """Factor on the Laplace scales with which 90% of the targets lie in their 90% interval.

    The quantile over all pixels of the factor that each would need. Never less than 0.01: where
    the members' disagreement alone covers 90%, the scales would vanish.
    """
    needed = []
    keep = _thinning(cases)
    for case in cases:
        location, square, variance = members(networks, case.source)
        missing = (case.target - location).square() / half_width(COVERAGE) ** 2 - variance
        factor = missing.clamp_min(0) / (2 * square)
        needed.append(_counted(factor, case)[::keep])
    return max(0.01, float(np.sqrt(np.quantile(np.concatenate(needed), COVERAGE))))


def figures(
    networks: Sequence[RestorationNet], cases: Sequence[Case], calibration: float
) -> dict[str, float | dict[str, float]]:
    """How far the restored frames are from their targets, and how well that is known.

    Errors and `ssim` (range 1) are of normalized frames, `input_…` those of the raw input;
    `coverage` has the share of the targets in their intervals for each nominal share, and
    `most_uncertain_10` the share of the squared error in the 10% of the pixels with the
    largest standard deviation.
    """
    errors: list[NDArray[np.float32]] = []
    before: list[NDArray[np.float32]] = []
    deviations: list[NDArray[np.float32]] = []
    likeness: list[float] = []
    likeness_before: list[float] = []
    keep = _thinning(cases)
    for case in cases:
        location, square, variance = members(networks, case.source)
        sd = spread(square, variance, calibration)
        for kept, value in (
            (errors, (case.target - location).abs()),
            (before, (case.target - case.source).abs()),
            (deviations, sd),
        ):
            kept.append(_counted(value, case)[::keep])
        if case.counted is None:
            likeness.append(_ssim(location, case.target))
            likeness_before.append(_ssim(case.source, case.target))
    error, sd_all = np.concatenate(errors), np.concatenate(deviations)
    found: dict[str, float | dict[str, float]] = {
        "frames": len(cases),
        "mae": float(error.mean()),
        "input_mae": float(np.concatenate(before).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        "coverage_90": covered(error, sd_all, COVERAGE),
        "coverage": {f"{level:g}": covered(error, sd_all, level) for level in LEVELS},
        "mean_sd": float(sd_all.mean()),
        "most_uncertain_10": _in_the_most_uncertain(error, sd_all),
    }
    if likeness:
        found |= {"ssim": float(np.mean(likeness)), "input_ssim": float(np.mean(likeness_before))}
    return found


def covered(error: NDArray[np.float32], sd: NDArray[np.float32], coverage: float) -> float:
    """Share of the errors within the interval of this nominal coverage.

    Examples
    --------
    >>> errors = np.array([0.1, 5.0], np.float32)
    >>> covered(errors, np.ones(2, np.float32), coverage=0.9)
    0.5
    """
    return float((error <= half_width(coverage) * sd).mean())


def _in_the_most_uncertain(error: NDArray[np.float32], sd: NDArray[np.float32]) -> float:
    tenth = max(1, len(sd) // 10)
    chosen = np.argpartition(sd, -tenth)[-tenth:]
    squares = np.square(error, dtype=np.float64)
    return float(squares[chosen].sum() / max(squares.sum(), 1e-30))


def _counted(values: Tensor, case: Case) -> NDArray[np.float32]:
    chosen = values.flatten() if case.counted is None else values[case.counted]
    found: NDArray[np.float32] = chosen.cpu().numpy()
    return found


def _thinning(cases: Sequence[Case]) -> int:
    return max(1, sum(case.target.numel() for case in cases) // _ENOUGH)


def _ssim(image: Tensor, target: Tensor) -> float:
    # Imports scipy and matplotlib, which take longer than what restores a frame.
    from torchmetrics.functional.image import structural_similarity_index_measure

    found = structural_similarity_index_measure(image, target, data_range=1.0)
    assert isinstance(found, Tensor)
    return float(found)
