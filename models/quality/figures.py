"""How well scores agree with labels, and how well their uncertainty says how badly."""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor

_GOOD = 0.5
"""Label from which a frame counts as good; chosen."""
COVERAGE = 0.9
"""Nominal coverage of the intervals that are calibrated; chosen."""


def rmse(a: Tensor, b: Tensor) -> float:
    """Root-mean-square difference.

    Examples
    --------
    >>> round(rmse(torch.tensor([0.0, 0.0]), torch.tensor([0.3, 0.3])), 3)
    0.3
    """
    return float(((a - b) ** 2).mean().sqrt())


def spearman(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation; 0 where there is nothing to rank.

    Examples
    --------
    >>> round(spearman(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.9])), 3)
    1.0
    """
    if len(a) < 3 or float(a.std()) == 0 or float(b.std()) == 0:
        return 0.0
    # Imports scipy and matplotlib, and few who import this need it.
    from torchmetrics.functional.regression import spearman_corrcoef

    return float(spearman_corrcoef(a, b))


def covered(value: Tensor, sd: Tensor, target: Tensor, coverage: float = COVERAGE) -> float:
    """Share of the targets that lie in the interval of this nominal coverage.

    Examples
    --------
    >>> covered(torch.zeros(4), torch.ones(4), torch.tensor([0.0, 1.0, -1.0, 3.0]))
    0.75
    """
    reach = NormalDist().inv_cdf((1 + coverage) / 2) * sd
    return float(((value - target).abs() <= reach).float().mean())


def calibrate(value: Tensor, sd: Tensor, target: Tensor) -> float:
    """Factor on `sd` with which 90% of the targets lie in their 90% interval.

    A quantile of |error| / sd, with the correction for a small sample of split conformal
    prediction (Lei et al., J. Am. Stat. Assoc. 113, 1094, 2018).

    Examples
    --------
    >>> errors = torch.linspace(-1, 1, 201)
    >>> round(calibrate(torch.zeros(201), torch.ones(201), errors), 2)
    0.55
    """
    ratio = ((value - target).abs() / sd).sort().values
    rank = min(len(ratio), -int(-COVERAGE * (len(ratio) + 1) // 1))
    return float(ratio[rank - 1]) / NormalDist().inv_cdf((1 + COVERAGE) / 2)


def figures(value: Tensor, sd: Tensor, target: Tensor, trained_on: Tensor) -> dict[str, float]:
    """Agreement of scores with labels, beside what knows nothing about the frame.

    `spearman_good` is the rank correlation among frames with a label of 0.5 or more, which
    is what tuning a microscope needs; `coverage_90` the share of labels in their 90% interval;
    `rmse_random` the expected error of the paper's random system, which draws its score from
    the training labels; `rmse_mean` that of always answering their mean.

    Examples
    --------
    >>> target = torch.tensor([0.2, 0.4, 0.6, 0.8])
    >>> found = figures(target + 0.1, torch.full((4,), 0.1), target, trained_on=target)
    >>> round(found["rmse"], 3), round(found["spearman"], 3)
    (0.1, 1.0)
    """
    good = target >= _GOOD
    return {
        "frames": len(target),
        "rmse": rmse(value, target),
        "spearman": spearman(value, target),
        "spearman_good": spearman(value[good], target[good]),
        "coverage_90": covered(value, sd, target),
        "mean_sd": float(sd.mean()) if len(sd) else 0.0,
        "rmse_random": rmse(trained_on[None, :], target[:, None]),
        "rmse_mean": rmse(trained_on.mean(), target),
    }


def whitening(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of features (n × f), and the matrix (f × f) that makes them uncorrelated.

    The root-mean-square of a frame's whitened features is its Mahalanobis distance from the
    training data by the square root of f: about 1 for a frame like them (Lee et al., NeurIPS
    2018). The covariance is shrunk to its diagonal, of which small sets determine no more.

    Examples
    --------
    >>> features = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) * 5 + 1
    >>> mean, matrix = whitening(features)
    >>> ((features - mean) @ matrix).std(0).round(decimals=1).tolist()
    [1.0, 1.0]
    """
    mean = features.double().mean(0)
    centred = features.double() - mean
    covariance = centred.T @ centred / max(1, len(features) - 1)
    diagonal = covariance.diagonal().clamp_min(1e-6).diag()
    shrunk = 0.95 * covariance + 0.05 * diagonal
    values, vectors = torch.linalg.eigh(shrunk)
    return mean.float(), (vectors / values.clamp_min(1e-9).sqrt()).float()
