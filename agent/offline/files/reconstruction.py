"""`stedfast reconstruct`: a movie with a higher frame rate, the measured frames as they were."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.config.reading import UserError
from agent.offline.files.model_choice import AUTO, choose, opened_model, times_of
from agent.offline.files.movies import MovieFile, open_movie
from agent.offline.files.opening import check_interval, check_pixel_size
from agent.offline.files.reconstructed import ENDINGS, Mark, faster, write_movie
from agent.offline.files.reconstruction_result import SCREENED, Reconstruction, adjusted_as
from agent.offline.files.targets import Partial, check_targets, planes_in
from devices.recorded import MEASURED, RECONSTRUCTED, ImageError, Part

# What OME's model has a name for.
_TYPES = ("i1", "i2", "i4", "u1", "u2", "u4", "f4", "f8")
_LARGEST_FACTOR = 16
Progress = Callable[[int, int], None]


def reconstruct_file(
    file: Path,
    out: Path,
    *,
    factor: int = 2,
    model: str = AUTO,
    uncertainty: Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
    pixel_size_nm: float | None = None,
    interval_s: float | None = None,
    part: Part | None = None,
    fit: bool = True,
    progress: Progress = lambda done, frames: None,
) -> Reconstruction:
    """Rebuild frames between the measured ones: T frames become (T − 1) · factor + 1.

    Measured frames stay as they were, bit for bit, and rebuilt ones get their type; see
    `files.reconstructed` for how they are marked. Frames that the file says were rebuilt, and
    those that it does not hold, are rebuilt from those that were measured. Nothing is in the place
    of `out` before all of it is written.

    Parameters
    ----------
    file
        A grey movie: TIFF, OME-Zarr image, or the folder of a run.
    out
        The OME-TIFF (`.tif`) or OME-Zarr (`.zarr`) to write.
    factor
        2 and more.
    model
        `auto` (see `model_choice.choose`), a name of bundled weights, or a
        ``.safetensors`` file.
    uncertainty
        Another movie to write: the standard deviation of each pixel's error, float32, in the
        frames' units; 0 in measured frames, NaN where nothing is known.
    device
        `auto`, `cpu`, `cuda` or `cuda:N`.
    overwrite
        Replace existing files; never `file` itself.
    pixel_size_nm, interval_s
        Instead of what the file says.
    part
        Which image, channel or plane, where the file has several.
    fit
        Adjust rebuilt frames and their uncertainty to what the movie's own frames ask for.
    progress
        Is told the number of frames that are done and of all.

    Raises
    ------
    UserError
        The movie, the model or the device cannot be used, or a file is in the way.
    """
    if not 2 <= factor <= _LARGEST_FACTOR:
        raise UserError(f"--factor: found {factor}; accepted: 2 to {_LARGEST_FACTOR}")
    targets = [out] if uncertainty is None else [out, uncertainty]
    check_targets(file, targets, overwrite=overwrite, endings=ENDINGS)
    check_pixel_size(pixel_size_nm)
    check_interval(interval_s)
    from models.interpolation import LIT, screen_movie

    with ExitStack() as files:
        opened = open_movie(file, files, part, pixel_size_nm, interval_s)
        movie = _checked(file, opened)
        screening = screen_movie(movie.frames())
        judged = choose(movie, model, device, fit=fit)
        interpolation = opened_model(judged.model, device)
        if fit:
            found = judged.adjusted
            interpolation.adjustment = LIT if found is None else found.adjustment
        work = _Work(file, movie, factor, progress)
        partials: list[Partial] = []
        spools = [files.enter_context(Partial(target, ".planes")) for target in targets]
        try:
            work.run(interpolation, [spool.path for spool in spools])
            copies, blends = (
                work.note(numbers, what)
                for numbers, what in zip(
                    (screening.copies, screening.blends), SCREENED, strict=True
                )
            )
            for target, spool, dtype in zip(
                targets, spools, (movie.dtype, np.dtype(np.float32)), strict=False
            ):
                partials.append(files.enter_context(Partial(target)))
                write_movie(
                    partials[-1].path,
                    target.suffix,
                    planes_in(spool.path, len(work.marks), movie.shape, dtype),
                    (len(work.marks), *movie.shape),
                    dtype,
                    faster(movie.scale, work.marks),
                    {
                        **movie.made,
                        "reconstruction": {
                            "model": judged.model,
                            "weights_sha256": judged.sha256,
                            "factor": factor,
                            **adjusted_as(judged),
                            "source": file.name,
                            "shows": "frames" if target is out else "standard deviation",
                        },
                    },
                    work.marks,
                )
            for partial in partials:
                partial.keep()
        except OSError as error:
            raise UserError(f"{out}: cannot be written: {error}") from None
    return Reconstruction(
        len(work.marks),
        movie.count if movie.measured is None else len(movie.measured),
        judged,
        interpolation.device,
        float(np.mean(work.uncertainty)) if work.uncertainty else float("nan"),
        copies,
        blends,
        {mark["point"]: mark["fault"] for mark in work.marks if "fault" in mark},
        _noted(movie),
    )


def _noted(movie: MovieFile) -> str | None:
    """What a person should know of the movie before anything was made of it."""
    notes = [movie.note] if movie.note else []
    if movie.measured is not None:
        absent = movie.count - len(movie.measured)
        notes.append(f"{absent} of its {movie.count} frames were not measured: rebuilt again")
    if "filter" in movie.made:
        notes.append(f"its frames were filtered with {movie.made['filter'].get('model', '?')}")
    return "; ".join(notes) or None


def _checked(file: Path, movie: MovieFile) -> MovieFile:
    """A movie between whose frames there is something to rebuild."""
    if movie.count < 2:
        raise UserError(f"{file}: found {movie.count} frame; accepted: movies of 2 and more")
    if movie.measured is not None and len(movie.measured) < 2:
        raise UserError(
            f"{file}: {len(movie.measured)} of its {movie.count} frames was measured; accepted:"
            " movies of which 2 and more were"
        )
    if movie.dtype.str[1:] not in _TYPES:
        raise UserError(
            f"{file}: pixels of type {movie.dtype}; accepted: integers of 8 to 32 bits and"
            " floating-point numbers of 32 and 64"
        )
    return movie


class _Work:
    """Rebuilds a movie into files of planes, and notes what each is."""

    def __init__(self, file: Path, movie: MovieFile, factor: int, progress: Progress) -> None:
        self._file, self._movie, self._factor, self._progress = file, movie, factor, progress
        self.marks: list[Mark] = []
        self.uncertainty: list[float] = []

    def run(self, interpolation: Any, spools: list[Path]) -> None:
        """Write all frames to the first file and, if there is a second, their errors to it."""
        movie = self._movie
        total = (movie.count - 1) * self._factor + 1
        nothing = np.zeros(movie.shape, np.float32)
        with ExitStack() as files:
            kept, *errors = [files.enter_context(path.open("wb")) for path in spools]
            frames = interpolation.movie(movie.read(), self._factor, times_of(movie))
            self._progress(0, total)
            while True:
                try:
                    frame = next(frames, None)
                except (UserError, ImageError):
                    raise
                except (ValueError, MemoryError) as error:
                    raise UserError(f"{self._file}: {error}") from None
                if frame is None:
                    return
                kept.write(_bytes(frame.image))
                for file in errors:
                    # From a GPU it comes in half precision.
                    sd = nothing if frame.sd is None else np.asarray(frame.sd, np.float32)
                    file.write(_bytes(sd))
                self._mark(frame)
                self._progress(len(self.marks), total)

    def _mark(self, frame: Any) -> None:
        mark: Mark = {
            "point": len(self.marks),
            "kind": MEASURED if frame.measured else RECONSTRUCTED,
            "time": round(frame.time, 6),
        }
        if not frame.measured and math.isfinite(frame.uncertainty):
            mark["uncertainty"] = float(f"{frame.uncertainty:.4g}")
            self.uncertainty.append(frame.uncertainty)
        if frame.fault:
            mark["fault"] = frame.fault
        self.marks.append(mark)

    def note(self, numbers: Sequence[int], what: str) -> tuple[int, ...]:
        """Mark measured frames that may not have been measured, by their number among these.

        Returns
        -------
        tuple of int
            Their numbers in the file.
        """
        known = self._movie.measured
        found = tuple(numbers if known is None else (known[number] for number in numbers))
        for number in found:
            self.marks[number * self._factor].setdefault("fault", what)
        return found


def _bytes(plane: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(plane, plane.dtype.newbyteorder("=")).data
