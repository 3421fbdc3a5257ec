"""Structures drawn from nothing but random numbers, beside pySTED's few real ones.

A network that has seen six maps of actin knows those six. These give it (and the benchmarks)
as many other structures as it takes: labels on filaments and their bundles, on the rings of axons,
on meshes, in spots and in patches. All are labels on a grid of 20 nm, as in pySTED's maps.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from devices.sources import Structure

Map = NDArray[np.float32]
_PIXEL_UM = 0.02
"""Of the maps (µm), as pySTED's own have it."""
_RING_UM = 0.19
"""Distance of the actin rings along an axon (Xu, Zhong and Zhuang, Science 2013)."""


def draw(kind: Structure, size_px: int, rng: np.random.Generator) -> Map:
    """Density of labels in [0, 1] over `size_px` × `size_px` pixels of 20 nm.

    Parameters
    ----------
    kind
        One of `SYNTHETIC`.
    size_px
        Side (pixels).
    rng
        Where chance comes from.
    """
    density = SYNTHETIC[kind](size_px, rng)
    # A label is some nanometres away from its target, and some structures are not that fine.
    density = gaussian_filter(density, np.exp(rng.uniform(np.log(0.2), np.log(1.2))))
    # A few scattered labels everywhere, specific or not.
    if rng.random() < 0.25:
        level = rng.uniform(0, 0.03) * density.max()
        density = density + level * (rng.random(density.shape) < rng.uniform(0.02, 0.5))
    top = np.percentile(density[density > 0], 99) if (density > 0).any() else 1.0
    scaled: Map = np.clip(density / max(float(top), 1e-6), 0, 1).astype(np.float32)
    return scaled


class _Labels:
    """Labels at places of a field (pixels), collected one structure after another."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float64]] = []

    def add(
        self, y: NDArray[np.float64], x: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> None:
        """Add some more, each with its weight."""
        self._parts.append(np.stack([y, x, weight]))

    def image(self, size_px: int) -> NDArray[np.float64]:
        """Sum of their weights in each pixel; those outside fall away."""
        y, x, weight = np.concatenate(self._parts, axis=1)
        rows, cols = np.rint(y).astype(int), np.rint(x).astype(int)
        inside = (rows >= 0) & (rows < size_px) & (cols >= 0) & (cols < size_px)
        flat = np.ravel_multi_index((rows[inside], cols[inside]), (size_px, size_px))
        total: NDArray[np.float64] = np.bincount(flat, weight[inside], size_px**2).astype(float)
        return total.reshape(size_px, size_px)


def _path(
    size_px: int, stiffness: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A worm-like line through the field: y, x (pixels) and direction, a step of half a pixel."""
    steps = 4 * size_px
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, stiffness, steps))
    y, x = np.cumsum(0.5 * np.sin(angle)), np.cumsum(0.5 * np.cos(angle))
    middle = int(rng.integers(steps))
    at = rng.uniform(0, size_px, 2)
    return y - y[middle] + at[0], x - x[middle] + at[1], angle


def _thinned(count: int, keep: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Weights of labels that bind at random: most places stay empty."""
    return np.where(rng.random(count) < keep, rng.gamma(3.0, 1 / 3.0, count), 0.0)


def _filaments(size_px: int, rng: np.random.Generator) -> NDArray[np.float64]:
    labels = _Labels()
    keep = rng.uniform(0.15, 0.8)
    spread = rng.uniform(0.0, 1.2)
    stiffness = rng.uniform(0.002, 0.04)
    for _ in range(int(np.exp(rng.uniform(np.log(4), np.log(60))))):
        y, x, _ = _path(size_px, stiffness, rng)
        weight = rng.gamma(4.0, 0.25) * _thinned(len(y), keep, rng)
        away = rng.normal(0, spread, (2, len(y)))
        labels.add(y + away[0], x + away[1], weight)
    return labels.image(size_px)


def _axons(size_px: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Bands with rings across them, or bundles along them."""
    labels = _Labels()
    for _ in range(int(rng.integers(2, 9))):
        y, x, angle = _path(size_px, 0.005, rng)
        radius = rng.uniform(0.15, 0.9) / _PIXEL_UM / 2
        if rng.random() < 0.6:
            along = 0.5 * np.arange(len(y)) * _PIXEL_UM
            on = np.abs((along / _RING_UM + 0.5) % 1 - 0.5) * _RING_UM < 0.02
        else:
            on = np.ones(len(y), bool)
        count = int(on.sum() * max(1.0, radius / 4))
        chosen = rng.choice(np.flatnonzero(on), count)
        # Seen from the side a cylinder is brightest at its edges.
        side = radius * np.sin(rng.uniform(-np.pi / 2, np.pi / 2, count))
        rows = y[chosen] + side * np.cos(angle[chosen]) + rng.normal(0, 0.6, count)
        cols = x[chosen] - side * np.sin(angle[chosen]) + rng.normal(0, 0.6, count)
        labels.add(rows, cols, _thinned(count, 0.5, rng))
    return labels.image(size_px)


def _bundles(size_px: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Filaments side by side in bands: microtubules of a neurite, stress fibres."""
    labels = _Labels()
    for _ in range(int(rng.integers(1, 8))):
        y, x, angle = _path(size_px, rng.uniform(0.002, 0.02), rng)
        radius = np.exp(rng.uniform(np.log(2.0), np.log(30.0)))
        number = 1 + rng.poisson(radius * rng.uniform(0.3, 2.0))
        brightness = rng.gamma(3.0, 1 / 3.0)
        for _ in range(number):
            # Filaments swerve within their band and end somewhere along it.
            swerve = np.cumsum(rng.normal(0, 0.02, len(y)))
            side = radius * rng.uniform(-1, 1) + np.clip(swerve, -3, 3)
            first, last = np.sort(rng.integers(0, len(y), 2)) if rng.random() < 0.4 else (0, len(y))
            part = slice(int(first), int(last) + 1)
            weight = brightness * rng.gamma(4.0, 0.25) * _thinned(len(y), rng.uniform(0.5, 1), rng)
            rows, cols = y + side * np.cos(angle), x - side * np.sin(angle)
            labels.add(rows[part], cols[part], weight[part])
    return labels.image(size_px)


def _random_field(size_px: int, length_px: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Gaussian random field of unit variance and one correlation length."""
    noise = rng.normal(size=(size_px, size_px))
    field = gaussian_filter(noise, length_px, mode="wrap", truncate=3)
    unit: NDArray[np.float64] = field / field.std()
    return unit


def _mesh(size_px: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Labels along the lines where a smooth random field is zero, in parts of the field."""
    field = _random_field(size_px, rng.uniform(2.5, 12), rng)
    steep = np.hypot(*np.gradient(field))
    line = np.abs(field) < rng.uniform(0.5, 1.2) * steep
    cell = _random_field(size_px, rng.uniform(15, 50), rng) > rng.uniform(-1.5, 0.3)
    keep = rng.uniform(0.1, 0.7)
    weight = _thinned(size_px**2, keep, rng).reshape(size_px, size_px)
    masked: NDArray[np.float64] = weight * line * cell
    return masked


def _spots(size_px: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Clusters of labels: synapses, vesicles, pores (rings)."""
    labels = _Labels()
    number = int(np.exp(rng.uniform(np.log(20), np.log(700))))
    radius = np.exp(rng.uniform(np.log(0.5), np.log(4.0)))
    ring = rng.random() < 0.3
    for at in rng.uniform(0, size_px, (number, 2)):
        count = 1 + rng.poisson(rng.gamma(2.0, 8.0))
        own = radius * rng.uniform(0.6, 1.4)
        if ring:
            turn = rng.uniform(0, 2 * np.pi, count)
            away = own * np.array([np.sin(turn), np.cos(turn)])
        else:
            away = rng.normal(0, own, (2, count)) * rng.uniform(0.5, 1.0, (2, 1))
        labels.add(at[0] + away[0], at[1] + away[1], np.ones(count))
    return labels.image(size_px)


def _patches(size_px: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Dense regions whose inside is rough at some scale: chromatin, cortex, organelles."""
    region = _random_field(size_px, rng.uniform(12, 50), rng) - rng.uniform(-1.0, 0.7)
    rough = np.exp(rng.uniform(0.3, 1.5) * _random_field(size_px, rng.uniform(0.8, 5.0), rng))
    weight = _thinned(size_px**2, rng.uniform(0.05, 0.6), rng).reshape(size_px, size_px)
    inside: NDArray[np.float64] = np.clip(region * 3, 0, 1) * rough * weight
    return inside


_Draw = Callable[[int, np.random.Generator], NDArray[np.float64]]
SYNTHETIC: MappingProxyType[Structure, _Draw] = MappingProxyType(
    {
        "filaments": _filaments,
        "bundles": _bundles,
        "axons": _axons,
        "mesh": _mesh,
        "spots": _spots,
        "patches": _patches,
    }
)
