"""Many Gaussian processes at once: covariances and evidences for a batch of hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_JITTER = 1e-8
"""Variance added to the diagonal, so that Cholesky succeeds (standardized units²)."""


@dataclass(frozen=True, slots=True)
class Covariances:
    """Hyperparameters of B covariance functions: constant + linear + Matérn 5/2.

    Parameters
    ----------
    amplitude
        Standard deviation of the Matérn part (B).
    lengths
        Its length scale along each feature (B × features).
    constant
        Standard deviation of the unknown offset (B).
    slope
        Standard deviation of the unknown slope along each feature (B).
    noise
        Factor on the standard deviation of every measurement (B).

    Examples
    --------
    >>> ones = np.ones(1)
    >>> kernels = Covariances(ones, np.ones((1, 2)), 0 * ones, 0 * ones, ones)
    >>> here, there = np.zeros((1, 2)), np.array([[0.0, 2.0]])
    >>> kernels.covariance(here, here).tolist(), kernels.covariance(here, there).round(2).tolist()
    ([[[1.0]]], [[[0.14]]])
    """

    amplitude: Array
    lengths: Array
    constant: Array
    slope: Array
    noise: Array

    def __len__(self) -> int:
        return len(self.amplitude)

    def take(self, which: NDArray[np.intp]) -> Covariances:
        """Some of them."""
        return Covariances(
            self.amplitude[which],
            self.lengths[which],
            self.constant[which],
            self.slope[which],
            self.noise[which],
        )

    def joined(self, others: Covariances) -> Covariances:
        """These and others."""
        return Covariances(
            *(
                np.concatenate([getattr(self, name), getattr(others, name)])
                for name in ("amplitude", "lengths", "constant", "slope", "noise")
            )
        )

    def covariance(self, a: Array, b: Array) -> Array:
        """Covariance of the functions between points: B × len(a) × len(b)."""
        at, bt = a[None] / self.lengths[:, None], b[None] / self.lengths[:, None]
        square = (at**2).sum(-1)[:, :, None] + (bt**2).sum(-1)[:, None, :]
        square -= 2 * at @ bt.transpose(0, 2, 1)
        distance = np.sqrt(5 * np.maximum(square, 0.0))
        matern: Array = (1 + distance + distance**2 / 3) * np.exp(-distance)
        line = (a - 0.5) @ (b - 0.5).T
        total: Array = (
            self.amplitude[:, None, None] ** 2 * matern
            + self.constant[:, None, None] ** 2
            + self.slope[:, None, None] ** 2 * line
        )
        return total

    def variance(self, a: Array) -> Array:
        """Variance of the functions at points: B × len(a)."""
        line = ((a - 0.5) ** 2).sum(-1)
        offset = (self.amplitude**2 + self.constant**2)[:, None]
        total: Array = offset + self.slope[:, None] ** 2 * line
        return total

    def factors(self, where: Array, sd: Array) -> Array:
        """Cholesky factors of the covariance of measurements with these deviations (B × n × n)."""
        total = self.covariance(where, where)
        at = np.arange(len(where))
        total[:, at, at] += (self.noise[:, None] * sd[None]) ** 2 + _JITTER
        return np.asarray(np.linalg.cholesky(total), dtype=np.float64)


def whiten(lower: Array, columns: Array) -> Array:
    """Solve ``lower @ x = columns`` for each of a batch of lower triangles.

    Examples
    --------
    >>> whiten(np.array([[[2.0, 0.0], [1.0, 1.0]]]), np.array([[[2.0], [3.0]]])).tolist()
    [[[1.0], [2.0]]]
    """
    from scipy.linalg import solve_triangular

    return np.stack(
        [
            solve_triangular(one, part, lower=True, check_finite=False)
            for one, part in zip(
                lower, np.broadcast_to(columns, (len(lower), *columns.shape[-2:])), strict=True
            )
        ]
    )


def log_evidence(lower: Array, white: Array) -> Array:
    """Log likelihood of whitened residuals (… × n × k) under Cholesky factors: B × k.

    Examples
    --------
    >>> log_evidence(np.ones((1, 1, 1)), np.zeros((1, 1, 1))).round(3).tolist()
    [[-0.919]]
    """
    half = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(-1)
    n = lower.shape[-1]
    evidence: Array = -0.5 * (white**2).sum(-2) - half[:, None] - 0.5 * n * np.log(2 * np.pi)
    return evidence
