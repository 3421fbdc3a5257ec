"""How well scores agree with labels, and how well their uncertainty says how badly."""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor
from torchmetrics.functional.regression import spearman_corrcoef

_GOOD = 0.5
COVERAGE = 0.9


def rmse(a: Tensor, b: Tensor) -> float:
    """Root-mean-square difference."""
    return float(((a - b) ** 2).mean().sqrt())


def spearman(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation; 0 where there is nothing to rank."""
    if len(a) < 3 or float(a.std()) == 0 or float(b.std()) == 0:
        return 0.0
    return float(spearman_corrcoef(a, b))


def covered(value: Tensor, sd: Tensor, target: Tensor, coverage: float = COVERAGE) -> float:
    """Share of the targets that lie in the interval of this nominal coverage."""
    reach = NormalDist().inv_cdf((1 + coverage) / 2) * sd
    return float(((value - target).abs() <= reach).float().mean())


def calibrate(value: Tensor, sd: Tensor, target: Tensor) -> float:
    """Factor on `sd` with which 90% of the targets lie in their 90% interval.

    A quantile of |error| / sd, with the correction for a small sample of split conformal
    prediction (Lei et al., J. Am. Stat. Assoc. 113, 1094, 2018).
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
    """
    mean = features.double().mean(0)
    centred = features.double() - mean
    covariance = centred.T @ centred / max(1, len(features) - 1)
    diagonal = covariance.diagonal().clamp_min(1e-6).diag()
    shrunk = 0.95 * covariance + 0.05 * diagonal
    values, vectors = torch.linalg.eigh(shrunk)
    return mean.float(), (vectors / values.clamp_min(1e-9).sqrt()).float()
