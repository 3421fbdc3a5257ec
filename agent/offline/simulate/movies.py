"""Generated movies with their noise-free truth, for networks that interpolate frames.

What moves in a movie say `movie_scenes` and `movie_motion`; here it is bleached, seen through a
Gaussian PSF, and exposed. Time is continuous, so that frames of a fine grid are the truth
between those of a coarse one: of nine frames, a network may see every second or every fourth.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift
from threadpoolctl import threadpool_limits

from agent.offline.simulate.movie_course import Course, draw_course, even
from agent.offline.simulate.movie_facts import DrawnWindow, Facts
from agent.offline.simulate.movie_layers import GRAIN_PX
from agent.offline.simulate.movie_scenes import (
    LEAPS_PX,
    MOVIE_SETS,
    MovieSet,
    Scene,
    draw_scene,
)
from agent.offline.simulate.population import Chance

Map = NDArray[np.float64]

FRAMES = 9
"""Frames of a movie; chosen."""
SIZE_PX = 160
"""Side of a frame (pixels); chosen."""
VALIDATION_EVERY = 10
"""One movie in so many of a training set is for validation."""
BRIGHTEST = 99.9
"""Percentile of a movie's pixels that counts as its brightest."""
_BORDER_PX = 10
"""Drawn beyond each edge and cut off after the blur (pixels); chosen."""
_LEAST_SHOWN, _SHOWN = 0.004, 0.1
"""Share of the pixels that must be brighter than this share of the brightest; chosen."""
_SMOOTHED, _EIGHT_BIT = 0.4, 0.4
"""Shares of the uneven movies whose noise neighbours share, and that have 8 bits; chosen."""
_MOST_SMOOTHED_PX = 0.7
"""Largest standard deviation of the Gaussian behind which noise is shared (px); chosen."""
_MOST_COUNTS = 50_000
"""Brightest pixel of a movie (counts), within 16 bits; chosen."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """How a movie is seen; columns of the table.

    Parameters
    ----------
    sigma_px, sigma_end_px
        Standard deviation of the PSF in the first and the last frame (px): some movies go out
        of focus.
    photons
        Where the movie is brightest (`BRIGHTEST`), without background, if nothing bleached.
    bleaching
        Rate (1/frame): after t frames exp(−bleaching · t) is left.
    background
        Photons everywhere, that do not bleach.
    gain, offset, read_sd
        Counts a photon, counts of no light, and standard deviation of the read noise (counts);
        1, 0 and 0 for a detector that counts photons.
    smoothed_px
        Standard deviation of a Gaussian behind which the noise is (px), as by averaging.
    brightest_level
        Of 8 bits: the counts are scaled so that the brightest is this; 0 for counts as they are.
    """

    sigma_px: float
    sigma_end_px: float
    photons: float
    bleaching: float
    background: float
    gain: float
    offset: float
    read_sd: float
    smoothed_px: float = 0.0
    brightest_level: int = 0


@dataclass(frozen=True, slots=True)
class MovieRow:
    """One row of the table; those of the exposure and of the two layers follow.

    Parameters
    ----------
    name
        File, without its ending.
    split
        `training`, `validation` or `test`.
    set, seed
        What was asked for.
    frames, size_px
        Number of frames, and their side.
    covers, haze
        See `movie_scenes.Scene`.
    unevenness, trembling_px
        See `movie_course.Course`.
    """

    name: str
    split: str
    set: str
    seed: int
    frames: int
    size_px: int
    covers: float
    haze: float
    unevenness: float
    trembling_px: float


COLUMNS = [field.name for part in (MovieRow, Exposure) for field in fields(part)] + [
    f"{layer}_{field.name}" for layer in ("first", "second") for field in fields(Facts)
]


def draw_movie(
    name: MovieSet, seed: int, index: int, *, frames: int = FRAMES, size_px: int = SIZE_PX
) -> tuple[NDArray[np.float32], NDArray[np.uint16], dict[str, Any]]:
    """One random movie, drawn from its arguments alone.

    Parameters
    ----------
    name, seed, index
        Set, its seed, and the movie in it.
    frames, size_px
        How many frames, and their side (px).

    Returns
    -------
    tuple
        Mean of every frame (frames × rows × columns, float32 counts), with bleaching, background
        and offset; the frames as they are measured (uint16 counts); and the row of the table.
    """
    rng = Chance(MOVIE_SETS.index(name), seed, index)
    leaps_px = LEAPS_PX.get(name)
    window = DrawnWindow(size_px + 2 * _BORDER_PX, frames, leaps_px)
    while True:
        exposure = _draw_exposure(rng)
        course = draw_course(rng, frames) if leaps_px else even(frames)
        # Several threads on matrices as small as these are slower than one, sevenfold.
        with threadpool_limits(1, "blas"):
            scene = draw_scene(rng, name, index, window)
            light = _light(scene, exposure, course)
        brightest = float(np.percentile(light, BRIGHTEST))
        if np.mean(light > _SHOWN * brightest) > _LEAST_SHOWN and brightest > 0:
            break
    left = np.exp(-exposure.bleaching * np.arange(frames))[:, None, None]
    photons = exposure.photons / brightest * light * left + exposure.background
    exposure = _with_camera(exposure, float(photons.max()), rng)
    if leaps_px:
        exposure = _as_stored(exposure, rng)
    clean = (exposure.gain * photons + exposure.offset).astype(np.float32)
    noisy = _exposed(clean, exposure, rng)
    if exposure.brightest_level:
        factor = exposure.brightest_level / max(float(noisy.max()), 1.0)
        noisy, clean = np.rint(factor * noisy).astype(np.uint16), np.float32(factor) * clean
    return clean, noisy, _row(name, seed, index, clean, exposure, scene, course)


def _draw_exposure(rng: Chance) -> Exposure:
    sigma = rng.log_uniform(0.8, 3)
    photons = rng.log_uniform(8, 1300)
    return Exposure(
        sigma_px=sigma,
        sigma_end_px=min(3.0, sigma * rng.uniform(1, 1.6)) if rng.happens(0.15) else sigma,
        photons=photons,
        bleaching=0.0 if rng.happens(0.25) else rng.log_uniform(0.003, 0.06),
        background=photons * rng.log_uniform(0.005, 0.3),
        gain=1.0,
        offset=0.0,
        read_sd=0.0,
    )


def _light(scene: Scene, exposure: Exposure, course: Course) -> Map:
    """What each frame shows if nothing bleached, in arbitrary units."""
    inner = slice(_BORDER_PX, -_BORDER_PX)
    shown = []
    frames = len(course.times)
    for t in range(frames):
        part = t / max(frames - 1, 1)
        sigma = exposure.sigma_px + part * (exposure.sigma_end_px - exposure.sigma_px)
        # It continues beyond the window, so that light from just outside shines in.
        density = scene.at(float(course.times[t]))
        if course.stage_px[t].any():
            density = np.maximum(shift(density, course.stage_px[t], order=3, mode="nearest"), 0)
        blurred = gaussian_filter(density, np.sqrt(sigma**2 - GRAIN_PX**2), mode="nearest")
        shown.append(blurred[inner, inner])
    return np.stack(shown)


def _with_camera(exposure: Exposure, most_photons: float, rng: Chance) -> Exposure:
    """The same in front of a camera, for half of them: an offset, read noise, other counts."""
    if rng.happens(0.5):
        return exposure
    # From a few counts for everything, as in 8-bit movies, to many a photon.
    gain = rng.log_uniform(max(0.1, 60 / exposure.photons), 20)
    gain = min(gain, _MOST_COUNTS / most_photons)
    read_sd = gain * rng.uniform(0.3, 1.6)
    offset = 5 * read_sd + rng.log_uniform(1, 500)
    return replace(exposure, gain=gain, offset=offset, read_sd=read_sd)


def _as_stored(exposure: Exposure, rng: Chance) -> Exposure:
    """The same as cameras and converters leave it: smoothed, and in 8 bits, in some."""
    smoothed = rng.happens(_SMOOTHED)
    return replace(
        exposure,
        smoothed_px=float(rng.uniform(0.3, _MOST_SMOOTHED_PX)) if smoothed else 0.0,
        brightest_level=int(rng.integers(100, 256)) if rng.happens(_EIGHT_BIT) else 0,
    )


def _exposed(clean: NDArray[np.float32], exposure: Exposure, rng: Chance) -> NDArray[np.uint16]:
    photons = np.maximum(clean.astype(np.float64) - exposure.offset, 0) / exposure.gain
    counts = exposure.gain * rng.poisson(photons) + exposure.offset
    if exposure.read_sd > 0:
        counts = counts + rng.normal(0, exposure.read_sd, counts.shape)
    if exposure.smoothed_px:
        away = (0, exposure.smoothed_px, exposure.smoothed_px)
        counts = clean + gaussian_filter(counts - clean, away)
    noisy: NDArray[np.uint16] = np.clip(np.rint(counts), 0, np.iinfo(np.uint16).max).astype(
        np.uint16
    )
    return noisy


def _row(
    name: MovieSet,
    seed: int,
    index: int,
    clean: NDArray[np.float32],
    exposure: Exposure,
    scene: Scene,
    course: Course,
) -> dict[str, Any]:
    learned = name in ("training", "uneven")
    validation = learned and index % VALIDATION_EVERY == VALIDATION_EVERY - 1
    movie = MovieRow(
        name=f"{index:05d}",
        split="validation" if validation else "training" if learned else "test",
        set=name,
        seed=seed,
        frames=len(clean),
        size_px=clean.shape[1],
        covers=scene.covers,
        haze=scene.haze,
        unevenness=course.unevenness,
        trembling_px=course.trembling_px,
    )
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    row |= asdict(movie) | asdict(exposure)
    for layer, facts in (("first", scene.first), ("second", scene.second)):
        if facts is not None:
            row |= {f"{layer}_{key}": value for key, value in asdict(facts).items()}
    return row
