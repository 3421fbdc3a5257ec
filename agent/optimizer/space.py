"""The space of the tuned settings: scikit-optimize's dimensions, and points in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.optimizer.outcome import Settings
from devices.config import SettingConfig, Value

Array = NDArray[np.float64]


class Space:
    """Tuned settings by name, each real, integer or a choice.

    A point is known in three forms: *settings* by name; its place in the *cube* [0, 1]^d, one
    column a setting, on the setting's own scale (linear or logarithmic); and the *features* that
    a kernel compares, where a choice takes a column for each of its values (scikit-optimize's
    transformed space).

    Parameters
    ----------
    settings
        The tuned ones.
    search
        Narrower ranges or choices for some of them.

    Examples
    --------
    >>> power = SettingConfig(device="Laser", property="mW", range=(1, 100), scale="log", start=1)
    >>> space = Space({"power": power}, {"power": (1, 100)})
    >>> space.cube([{"power": 10.0}]).round(3).tolist()
    [[0.5]]
    >>> space.contains({"power": 200})
    False
    """

    def __init__(
        self, settings: Mapping[str, SettingConfig], search: Mapping[str, Sequence[Value]]
    ) -> None:
        self.settings = dict(settings)
        self.names = tuple(settings)
        self.search = {
            name: tuple(search.get(name) or setting.range or setting.choices or ())
            for name, setting in settings.items()
        }
        self.dimensions = [_dimension(settings[name], self.search[name]) for name in self.names]
        self._allowed: dict[str, tuple[Value, ...]] = dict(self.search)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def allowed(self) -> Mapping[str, tuple[Value, ...]]:
        """Ranges or choices that points may be drawn from now."""
        return self._allowed

    def restrict(self, search: Mapping[str, Sequence[Value]]) -> None:
        """Draw points within `search` only; scale and features stay as they are.

        Raises
        ------
        ValueError
            It asks for something outside the space.
        """
        for name, values in search.items():
            if name not in self.settings:
                raise ValueError(f"no tuned setting {name!r}; there are {', '.join(self.names)}")
            edges = self.search[name]
            if self.settings[name].kind == "choice":
                fits = bool(values) and set(values) <= set(edges)
            else:
                low, high = float(values[0]), float(values[1])
                fits = float(edges[0]) <= low <= high <= float(edges[1])
            if not fits:
                raise ValueError(f"{name}: {list(values)} is not within {list(edges)}")
        self._allowed = {**self.search, **{name: tuple(v) for name, v in search.items()}}

    def contains(self, settings: Mapping[str, Value]) -> bool:
        """Whether a point lies within the ranges allowed now."""
        for name, allowed in self._allowed.items():
            if self.settings[name].kind == "choice":
                if settings[name] not in allowed:
                    return False
            elif not float(allowed[0]) <= float(settings[name]) <= float(allowed[1]):
                return False
        return True

    def features(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """What kernels compare: points × features, each in [0, 1]."""
        if not points:
            return np.zeros((0, len(self.owners)))
        columns = [
            np.asarray(part.transform([point[name] for point in points]), dtype=float)
            for name, part in zip(self.names, self.dimensions, strict=True)
        ]
        return np.hstack([column.reshape(len(points), -1) for column in columns])

    @property
    def owners(self) -> tuple[int, ...]:
        """Number of the setting that each feature belongs to."""
        return tuple(
            at for at, part in enumerate(self.dimensions) for _ in range(part.transformed_size)
        )

    def cube(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """Place of points in the cube: points × settings."""
        columns = []
        for name, part in zip(self.names, self.dimensions, strict=True):
            values = [point[name] for point in points]
            if self.settings[name].kind == "choice":
                count = len(self.search[name])
                column = [(self.search[name].index(v) + 0.5) / count for v in values]
            else:
                column = part.transform(values)
            columns.append(np.asarray(column, dtype=float).ravel())
        return np.stack(columns, axis=1) if columns else np.zeros((len(points), 0))

    def at(self, cube: Array) -> list[Settings]:
        """Settings at places of the cube, moved into the ranges allowed now."""
        columns: list[list[Value]] = []
        for at, (name, part) in enumerate(zip(self.names, self.dimensions, strict=True)):
            setting, allowed = self.settings[name], self._allowed[name]
            where = np.clip(cube[:, at], 0.0, 1.0)
            if setting.kind == "choice":
                edges = self.search[name]
                picked = [edges[min(int(u * len(edges)), len(edges) - 1)] for u in where]
                columns.append([v if v in allowed else allowed[0] for v in picked])
                continue
            values = np.asarray(part.inverse_transform(where), dtype=float)
            values = np.clip(values, float(allowed[0]), float(allowed[1]))
            columns.append([setting.plain(float(value)) for value in values])
        return [dict(zip(self.names, row, strict=True)) for row in zip(*columns, strict=True)]

    def sobol(self, count: int, seed: int) -> list[Settings]:
        """Points that fill the allowed ranges evenly (scrambled Sobol sequence)."""
        from scipy.stats import qmc  # reading a run draws none, and importing it takes a while

        sampler = qmc.Sobol(len(self), seed=np.random.default_rng(seed))
        return self.at(self._within(sampler.random_base2(int(np.ceil(np.log2(max(count, 2)))))))[
            :count
        ]

    def random(self, count: int, rng: np.random.Generator) -> list[Settings]:
        """Points drawn at random within the allowed ranges."""
        return self.at(self._within(rng.random((count, len(self)))))

    def _within(self, cube: Array) -> Array:
        """The whole cube shrunk to the part of it that is allowed."""
        out = cube.copy()
        for at, (name, part) in enumerate(zip(self.names, self.dimensions, strict=True)):
            allowed = self._allowed[name]
            if self.settings[name].kind == "choice":
                edges = self.search[name]
                picks = np.minimum((cube[:, at] * len(allowed)).astype(int), len(allowed) - 1)
                places = np.array([(edges.index(value) + 0.5) / len(edges) for value in allowed])
                out[:, at] = places[picks]
            else:
                low, high = np.asarray(part.transform([allowed[0], allowed[1]]), dtype=float)
                out[:, at] = low + (high - low) * cube[:, at]
        return out


def _dimension(setting: SettingConfig, values: Sequence[Value]) -> Any:
    from skopt.space import Categorical, Integer, Real

    if setting.kind == "choice":
        return Categorical(list(values), transform="onehot")
    prior = "log-uniform" if setting.scale == "log" else "uniform"
    if setting.kind == "integer":
        return Integer(int(values[0]), int(values[1]), prior=prior, transform="normalize")
    return Real(float(values[0]), float(values[1]), prior=prior, transform="normalize")
