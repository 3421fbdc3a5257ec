"""Simulated sessions as hypotheses about the sample of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from agent.optimizer.gaussian import Array
from agent.optimizer.memory.control import Control, obstacle, power_of
from agent.optimizer.memory.store import AXES, PIXEL_NM, Sessions
from devices.config import MicroscopeConfig, Value

CALIBRATIONS: tuple[tuple[float, float], ...] = (
    (1.0, 1.0),
    (2.0, 1.0),
    (0.5, 1.0),
    (1.0, 2.0),
    (1.0, 0.5),
    (2.0, 2.0),
    (0.5, 0.5),
    (3.0, 3.0),
    (1 / 3, 1 / 3),
)
"""By what the power of excitation and depletion may really differ from what the config says."""
_TRUSTED = 0.6
"""Prior probability of the microscope's own calibration; the shifted ones share the rest."""
_THINNED = 3
"""Each shifted calibration has every third session: a third of the time."""


class Library:
    """Simulated sessions as hypotheses.

    Beside the sessions as they are it has copies of some of them, on a microscope whose true powers
    differ from those of its config (`CALIBRATIONS`).

    Parameters
    ----------
    sessions
        The simulated ones.
    controls
        Where excitation, depletion, dwell time and line passes come from, in this order.
    calibrations
        Factors of both powers; the first has most weight and all sessions, the others share the
        rest and every third session.

    Examples
    --------
    >>> controls = [Control(name) for name in ("excitation", "depletion", "dwell", "passes")]
    >>> library = Library(Sessions.read(), controls)
    >>> at = {"excitation": 1e-5, "depletion": 0.1, "dwell": 1e-5, "passes": 2}
    >>> quality, bleaching = library.expect([at])
    >>> quality.shape == (len(library.log_prior), 1)
    True
    """

    def __init__(
        self,
        sessions: Sessions,
        controls: Sequence[Control],
        calibrations: Sequence[tuple[float, float]] = CALIBRATIONS,
    ) -> None:
        self.sessions = sessions
        self.controls = tuple(controls)
        self.calibrations = tuple(calibrations)
        self._axes = [np.log(sessions.axes[axis]) for axis in AXES]
        # Grid × sessions: weights of corners times this is all there is to interpolation.
        self._quality = _by_grid(sessions.quality)
        self._log_exponent = _by_grid(sessions.log_exponent)
        every = np.arange(len(sessions))
        # Each calibration begins elsewhere, so that every session stands in some of them.
        parts = [every, *(every[at % _THINNED :: _THINNED] for at in range(len(calibrations) - 1))]
        self._session = np.concatenate(parts)
        self._calibration = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        self._log_prior = np.concatenate(
            [
                np.full(len(part), np.log(_trust(at, len(parts)) / len(part)))
                for at, part in enumerate(parts)
                if len(part)
            ]
        )
        self._log_prior -= np.log(np.exp(self._log_prior).sum())

    @classmethod
    def for_microscope(
        cls,
        config: MicroscopeConfig,
        tuned: Iterable[str],
        sessions: Sessions | None = None,
        *,
        mode: str = "sted",
    ) -> Library | None:
        """The library in the settings of a microscope; None where it does not fit (`obstacle`).

        Settings that are not tuned stand at what the tuned mode pins, or at their start. A pixel
        unlike the library's is made up for by the dwell time, so that light by area is the same.

        Parameters
        ----------
        config
            The microscope.
        tuned
            Names of the settings that points have.
        sessions
            The simulated ones; by default the bundled library.
        mode
            The one that is tuned.
        """
        if obstacle(config, tuned, mode) is not None:
            return None
        standing = config.start() | config.modes.get(mode, {})

        def control(name: str, si_per_unit: float) -> Control:
            return Control(name, si_per_unit, float(standing[name]))

        dwell, lines = config.exposure.dwell_time, config.exposure.line_accumulations
        assert dwell is not None
        one_unit_s = config.exposure_s({dwell: 1.0, **({lines: 1} if lines else {})}, 1)
        powers = [power_of(config, laser) for laser in ("excitation", "depletion")]
        return cls(
            sessions or Sessions.read(),
            [
                *(control(name, config.settings[name].power_w(1.0)) for name in powers if name),
                control(dwell, one_unit_s * (PIXEL_NM / config.pixel_size_nm) ** 2),
                control(lines, 1.0) if lines else Control(None),
            ],
        )

    def shifted(self, excitation: float, depletion: float, *, way_out: bool = True) -> Library:
        """The library with all its powers wrong by these factors.

        Parameters
        ----------
        excitation, depletion
            Factors.
        way_out
            Whether calibrations are offered as usual, or these factors alone.
        """
        offered = self.calibrations if way_out else ((1.0, 1.0),)
        wrong = [(excitation * a, depletion * b) for a, b in offered]
        return Library(self.sessions, self.controls, wrong)

    def __len__(self) -> int:
        return len(self._session)

    @property
    def log_prior(self) -> Array:
        """Logarithm of the weight of each hypothesis before anything is measured."""
        return self._log_prior

    def expect(
        self, points: Sequence[Mapping[str, Value]], which: Sequence[int] | None = None
    ) -> tuple[Array, Array]:
        """Quality and bleaching, each hypotheses (or `which` of them) × points.

        Multilinear between the grid's points on logarithmic axes; outside of the grid the value at
        its edge.
        """
        chosen = np.arange(len(self)) if which is None else np.asarray(which, dtype=np.intp)
        quality = np.empty((len(chosen), len(points)))
        bleaching = np.empty_like(quality)
        places = [control.log(points) for control in self.controls]
        for calibration in np.unique(self._calibration[chosen]):
            rows = np.flatnonzero(self._calibration[chosen] == calibration)
            sessions = self._session[chosen[rows]]
            shifts = (*np.log(self.calibrations[calibration]), 0.0, 0.0)
            corners = self._corners([p + by for p, by in zip(places, shifts, strict=True)])
            quality[rows] = (corners @ self._quality[:, sessions]).T
            exponent = np.exp(corners @ self._log_exponent[:, sessions])
            bleaching[rows] = -np.expm1(-exponent).T
        return quality, bleaching

    def _corners(self, places: Sequence[Array]) -> csr_matrix:
        """Weights of the grid's points (columns) at each place (rows): sixteen corners each."""
        count = len(places[0])
        ends: list[tuple[tuple[NDArray[np.intp], Array], ...]] = []
        for place, axis in zip(places, self._axes, strict=True):
            at = np.interp(place, axis, np.arange(len(axis)))
            low = np.minimum(at.astype(np.intp), len(axis) - 2)
            ends.append(((low, 1 - (at - low)), (low + 1, at - low)))
        shape = [len(axis) for axis in self._axes]
        columns, weights = [], []
        for corner in product(*ends):
            columns.append(np.ravel_multi_index([index for index, _ in corner], shape))
            weights.append(np.prod([weight for _, weight in corner], axis=0))
        return csr_matrix(
            (
                np.stack(weights, axis=1).ravel().astype(np.float32),
                np.stack(columns, axis=1).ravel(),
                np.arange(count + 1) * len(columns),
            ),
            shape=(count, int(np.prod(shape))),
        )


def _by_grid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.reshape(len(values), -1).T)


def _trust(calibration: int, count: int) -> float:
    """Prior weight of a calibration among so many."""
    if count == 1:
        return 1.0
    return _TRUSTED if calibration == 0 else (1 - _TRUSTED) / (count - 1)
