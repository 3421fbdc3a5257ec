"""Libraries that are wrong about the sample in ways that no calibration of theirs covers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from agent.bench.optimizer.analytic import AnalyticLibrary
from agent.bench.optimizer.analytic_task import AnalyticTask
from agent.bench.optimizer.sted import StedTask
from agent.bench.optimizer.task import Task
from agent.optimizer.gaussian import Array
from agent.optimizer.hypotheses import Hypotheses
from agent.optimizer.memory import Library
from devices.config import Value

_DWELL = 1.3
"""By what dwell times, or line passes, are longer than the library takes them for."""
_UNLIKE = MappingProxyType(
    {
        "actin": ("spots", "patches"),
        "tubulin": ("spots", "patches"),
        "psd95": ("actin", "axons", "bundles", "filaments", "mesh"),
    }
)
"""Structures of the library that look least like those of the samples."""
_Points = Sequence[Mapping[str, Value]]
_Elsewhere = Callable[[Mapping[str, Value]], Mapping[str, Value]]


class WrongLibrary:
    """Hypotheses of which something is changed before anybody sees it.

    Parameters
    ----------
    library
        The right ones.
    quality
        Of the qualities (hypotheses × points) and the hypotheses' numbers: what is said instead.
    at
        Which settings are looked up where others were asked for.
    bleaches_at
        The same for bleaching alone.
    """

    def __init__(
        self,
        library: Hypotheses,
        *,
        quality: Callable[[Array, Sequence[int]], Array] = lambda found, which: found,
        at: _Elsewhere = lambda point: point,
        bleaches_at: _Elsewhere | None = None,
    ) -> None:
        self._library = library
        self._quality = quality
        self._at, self._bleaches_at = at, bleaches_at

    @property
    def log_prior(self) -> Array:
        """As of `Hypotheses`."""
        return self._library.log_prior

    def expect(self, points: _Points, which: Sequence[int] | None = None) -> tuple[Array, Array]:
        """As of `Hypotheses`."""
        quality, bleaching = self._library.expect([self._at(point) for point in points], which)
        if self._bleaches_at is not None:
            meant = [self._bleaches_at(point) for point in points]
            _, bleaching = self._library.expect(meant, which)
        chosen = range(len(self.log_prior)) if which is None else which
        return self._quality(quality, chosen), bleaching


def mirrored(library: Hypotheses, task: Task) -> Hypotheses:
    """Best where the truth is worst, between the same extremes."""
    found, _ = library.expect(task.space.sobol(256, 0))
    ends = found.min(axis=1) + found.max(axis=1)

    def turned(quality: Array, which: Sequence[int]) -> Array:
        found: Array = np.clip(ends[list(which), None] - quality, 0.0, 1.0)
        return found

    return WrongLibrary(library, quality=turned)


def of_another_label(library: Hypotheses, task: Task) -> Hypotheses:
    """Its label is the square root of ours: much is good enough."""
    return WrongLibrary(library, quality=lambda found, which: np.sqrt(found))


def bleached_by_excitation(library: Hypotheses, task: Task) -> Hypotheses:
    """Depletion does not bleach in it: what bleaches is that of half the greatest power."""
    half = 0.5 * float(task.space.search["depletion_power"][1])
    return WrongLibrary(library, bleaches_at=lambda point: {**point, "depletion_power": half})


def with_wrong_dwell(library: Hypotheses, task: Task) -> Hypotheses:
    """Frames take 30% longer than it takes them to."""
    name = "line_accumulations" if isinstance(task, AnalyticTask) else "dwell_time"
    return WrongLibrary(library, at=lambda point: {**point, name: _DWELL * float(point[name])})


def of_another_structure(library: Hypotheses, task: Task) -> Hypotheses:
    """It knows none that is like the sample's."""
    if isinstance(library, AnalyticLibrary) and isinstance(task, AnalyticTask):
        return library.apart_from(task.structure_nm)
    assert isinstance(library, Library) and isinstance(task, StedTask)
    unlike = _UNLIKE[str(task.about["structure"])]
    sessions = library.sessions
    kept = [at for at, one in enumerate(sessions.about) if one["structure"] in unlike]
    only = replace(
        sessions,
        quality=sessions.quality[kept],
        log_exponent=sessions.log_exponent[kept],
        about=tuple(sessions.about[at] for at in kept),
    )
    return Library(only, library.controls)
