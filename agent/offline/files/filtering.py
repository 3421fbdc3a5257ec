"""`stedfast filter`: frames through a restoration network, into a TIFF."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agent.config.reading import UserError
from agent.offline.files.opening import check_interval, check_pixel_size, opened, pixel_size_of
from agent.offline.files.targets import Partial, check_targets, planes_in
from agent.offline.files.tiffs import write_tiff
from devices.recorded import MEASURED, Frames, ImageError, Part

if TYPE_CHECKING:
    from models.online import Online
    from models.quality import Score
    from models.restoration import Restored
    from models.restoration.frame_filter import FrameFilter

FEWEST_LEVELS = 32
"""Integers of fewer values than this between background and signal are posterized by rounding."""
_LOW, _HIGH = 2.0, 99.8


@dataclass(frozen=True, slots=True)
class FilteredFile:
    """Result of filtering a file.

    Parameters
    ----------
    frames
        How many.
    uncertainty
        Each frame's mean standard deviation over its mean signal (`Restored.uncertainty`).
    device
        Where the last frame was computed.
    faults
        Errors on the way, with the frame's number before each.
    scores
        Of the raw frames, where they were asked for.
    note
        Anything unexpected.
    """

    frames: int
    uncertainty: tuple[float, ...]
    device: str
    faults: tuple[str, ...]
    scores: tuple[Score, ...] = ()
    note: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        rows: list[dict[str, Any]] = [{"uncertainty": unsure} for unsure in self.uncertainty]
        for row, score in zip(rows, self.scores, strict=False):
            row |= {"score": score.value, "sd": score.sd, "flags": list(score.flags)}
        return {
            "frames": rows,
            "device": self.device,
            "faults": list(self.faults),
            "note": self.note,
        }


def filter_file(
    file: Path,
    out: Path,
    model: str,
    *,
    uncertainty: Path | None = None,
    score: bool = False,
    device: str = "auto",
    overwrite: bool = False,
    pixel_size_nm: float | None = None,
    interval_s: float | None = None,
    part: Part | None = None,
    as_float: bool = False,
    trust: bool = False,
    progress: Callable[[int, int], None] = lambda done, frames: None,
) -> FilteredFile:
    """Filter every frame of a file by itself, one in memory at a time.

    A file of integers stays one, of the same type: values are rounded, and clipped to what the type
    holds, so that both files open with the same look-up table; but of fewer than 32 values between
    background and signal rounding leaves steps, and float32 is written. Anything else
    becomes float32, too. An OME-TIFF stays one, with its pixel size, times and positions, as does
    an ImageJ stack with its calibration; other files keep their resolution, and an OME-Zarr image
    becomes an OME-TIFF. All say that they are filtered, with which weights and how surely (see
    `files.tiffs`). Nothing is in the place of `out` before the last frame is written.

    Parameters
    ----------
    file
        Grey frames of one channel: a TIFF or an OME-Zarr image.
    out
        The TIFF to write.
    model
        See `models.restoration.open_filter`.
    uncertainty
        Another TIFF to write: the standard deviation of each pixel's error, float32, in the
        frames' units.
    score
        Score the raw frames, too, at the pixel size that the file says (20 nm if it does not).
    device
        `auto`, `cpu`, `cuda` or `cuda:N`.
    overwrite
        Replace files that are there; never `file` itself.
    pixel_size_nm, interval_s
        Instead of what the file says.
    part
        Which image, channel or plane, where the file has several.
    as_float
        Write float32 for any type of the file.
    trust
        Run Python code that comes with a model of the BioImage Model Zoo.
    progress
        Is told the number of frames that are done and of all.

    Raises
    ------
    UserError
        The file, the model or the device cannot be used, or a file is in the way.
    """
    targets = [out] if uncertainty is None else [out, uncertainty]
    check_targets(file, targets, overwrite=overwrite)
    check_pixel_size(pixel_size_nm)
    check_interval(interval_s)
    with ExitStack() as files:
        frames = files.enter_context(opened(file, part))
        scale, about = frames.scale(pixel_size_nm, interval_s), frames.about()
        engine, sha256 = _open(model, device, frames, pixel_size_nm, score=score, trust=trust)
        unlike = _unlike(model, frames, pixel_size_nm)
        # A TIFF is written in one go, and its description comes first: planes wait here.
        spools = [files.enter_context(Partial(target, ".planes")) for target in targets]
        work = _Work(frames, engine, progress)
        made = about.made
        partials = []
        try:
            work.run([spool.path for spool in spools])
            dtype, note = _type(frames, work.levels, as_float)
            step = {
                "model": model,
                "weights_sha256": sha256,
                "uncertainty": f"{work.mean_uncertainty:.4g}",
                "source": file.name,
            }
            for target, spool in zip(targets, spools, strict=True):
                own = dtype if target is out else np.dtype(np.float32)
                shows = "frames" if target is out else "standard deviation"
                planes = planes_in(spool.path, len(frames), frames.shape)
                partials.append(files.enter_context(Partial(target)))
                write_tiff(
                    partials[-1].path,
                    (as_type(plane, own) for plane in planes),
                    (*frames.lengths, *frames.shape),
                    own,
                    frames.axes + "yx",
                    scale,
                    about,
                    {**made, "filter": step | {"shows": shows}},
                    work.marks(about.kinds),
                    ome=target.name.lower().endswith((".ome.tif", ".ome.tiff"))
                    or frames.description.ome,
                )
            for partial in partials:
                partial.keep()
        except OSError as error:
            raise UserError(f"{out}: cannot be written: {error}") from None
    return FilteredFile(
        len(frames),
        tuple(work.uncertainty),
        work.device,
        tuple(work.faults),
        tuple(work.scores),
        "; ".join(filter(None, (note, unlike))) or None,
    )


def _type(frames: Frames, levels: float, as_float: bool) -> tuple[np.dtype[Any], str | None]:
    """The type to write, and what to say of it."""
    single = np.dtype(np.float32)
    if frames.dtype.kind not in "ui" or as_float:
        return single, None
    if levels >= FEWEST_LEVELS:
        return frames.dtype, None
    return single, (
        f"written as float32: as {frames.dtype} about {max(1, round(levels))} values would be left"
    )


def _open(
    model: str,
    device: str,
    frames: Frames,
    pixel_size_nm: float | None,
    *,
    score: bool,
    trust: bool,
) -> tuple[FrameFilter | Online, str]:
    """The filter, which may score, too, and the SHA-256 of its weights."""
    from models.online import Online
    from models.restoration import open_filter
    from models.restoration.zoo.package import is_zoo

    size: float | None = None
    if score or is_zoo(model):
        size, known = pixel_size_of(frames, pixel_size_nm)
        size = size if score or known != "assumed" else None
    try:
        if score and size is not None:
            both = Online(model, pixel_size_nm=size, device=device, trust=trust)
            return both, both.restorer.weights_hash()
        alone = open_filter(model, device, pixel_size_nm=size, trust=trust)
        return alone, alone.weights_hash()
    except (OSError, ValueError) as error:
        option = "device" if str(error).startswith("device") else "model"
        raise UserError(f"--{option}: {str(error).removeprefix(f'{option}: ')}") from None


def _unlike(model: str, frames: Frames, pixel_size_nm: float | None) -> str | None:
    """What is to be said of the frames' pixels, where their size is known."""
    from models.restoration import unlike_pixels

    try:
        size, known = pixel_size_of(frames, pixel_size_nm)
    except (UserError, ImageError):  # filters need none
        return None
    return None if known == "assumed" else unlike_pixels(model, size)


class _Work:
    """Filters frames one by one into files of planes, and notes their figures."""

    def __init__(
        self, frames: Frames, engine: FrameFilter | Online, progress: Callable[[int, int], None]
    ) -> None:
        self._frames, self._engine, self._progress = frames, engine, progress
        self.uncertainty: list[float] = []
        self.scores: list[Score] = []
        self.faults: list[str] = []
        self.device = ""
        self.levels = 0.0
        """Most values that a frame spans between background and signal."""
        self._taken = -1

    @property
    def mean_uncertainty(self) -> float:
        """Over the frames."""
        return float(np.mean(self.uncertainty))

    def run(self, spools: list[Path]) -> None:
        """Write filtered frames to the first file and, if there is a second, their errors to it."""
        frames, results = self._frames, self._results()
        self._progress(0, len(frames))
        with ExitStack() as files:
            kept, *errors = [files.enter_context(path.open("wb")) for path in spools]
            while True:
                try:
                    result = next(results, None)
                except (UserError, ImageError):
                    raise
                except (ValueError, MemoryError) as error:
                    raise UserError(f"{frames.file}, frame {self._taken}: {error}") from None
                if result is None:
                    return
                self._note(result)
                kept.write(np.ascontiguousarray(result.image, np.float32).data)
                for file in errors:
                    file.write(np.ascontiguousarray(result.sd, np.float32).data)
                self._progress(len(self.uncertainty), len(frames))

    def marks(self, kinds: tuple[str, ...]) -> list[str]:
        """Description of each frame: its source, and how sure the filter is of it."""
        known = kinds or (MEASURED,) * len(self.uncertainty)
        return [
            f"{kind}; filtered; uncertainty {unsure:.4g}"
            for kind, unsure in zip(known, self.uncertainty, strict=True)
        ]

    def _note(self, result: Restored) -> None:
        if result.fault:
            self.faults.append(f"frame {len(self.uncertainty)}: {result.fault}")
        self.uncertainty.append(result.uncertainty)
        self.device = result.device
        low, high = np.percentile(result.image, (_LOW, _HIGH))
        self.levels = max(self.levels, float(high - low))

    def _counted(self) -> Iterator[NDArray[Any]]:
        for frame in self._frames:
            self._taken += 1
            yield frame

    def _results(self) -> Iterator[Restored]:
        from models.restoration import Restored

        for one in self._engine.stream(self._counted()):
            if isinstance(one, Restored):
                yield one
            else:
                self.scores.append(one.score)
                yield one.restored


def as_type(image: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An image in another type; integers are rounded, and clipped to what the type holds."""
    if dtype.kind not in "ui":
        return image.astype(dtype, copy=False)
    # Single precision cannot hold the limits of 32-bit integers; of 64-bit ones double cannot.
    limits = np.iinfo(dtype)
    most = np.nextafter(float(limits.max), 0) if dtype.itemsize > 4 else float(limits.max)
    return np.clip(np.rint(image.astype(np.float64)), float(limits.min), most).astype(dtype)
