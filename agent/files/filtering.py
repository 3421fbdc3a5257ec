"""`stedfast filter`: the frames of a TIFF through a restoration network, into another TIFF."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agent.files.scoring import DEFAULT_NM, pixel_size_nm_of
from agent.files.stacks import Partial, Stack, check_targets, opened, planes_in, write_like
from agent.reading import ConfigError

if TYPE_CHECKING:
    from models.online import Online
    from models.quality import Score
    from models.restoration import Restored, Restorer


@dataclass(frozen=True, slots=True)
class Filtered:
    """What came of filtering a file.

    Parameters
    ----------
    frames
        How many.
    uncertainty
        Each frame's mean standard deviation over its mean signal (`Restored.uncertainty`).
    device
        Where the last frame was computed.
    faults
        What went wrong on the way, with the frame's number before it.
    scores
        Of the raw frames, where they were asked for.
    """

    frames: int
    uncertainty: tuple[float, ...]
    device: str
    faults: tuple[str, ...]
    scores: tuple[Score, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        rows: list[dict[str, Any]] = [{"uncertainty": unsure} for unsure in self.uncertainty]
        for row, score in zip(rows, self.scores, strict=False):
            row |= {"score": score.value, "sd": score.sd, "flags": list(score.flags)}
        return {"frames": rows, "device": self.device, "faults": list(self.faults)}


def filter_file(
    file: Path,
    out: Path,
    model: str,
    *,
    uncertainty: Path | None = None,
    score: bool = False,
    device: str = "auto",
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, frames: None,
) -> Filtered:
    """Filter every frame of a TIFF by itself, one in memory at a time.

    A file of integers stays one, of the same type: values are rounded, and clipped to what the type
    holds, so that both files open with the same look-up table. Anything else becomes float32.
    An OME-TIFF stays one, with its pixel size, times and positions, as does an ImageJ
    stack; other files keep their resolution. Nothing is in the place of `out` before the last
    frame is written.

    Parameters
    ----------
    file
        A grey TIFF of one channel, a frame or a stack of them (T, Z).
    out
        The TIFF to write.
    model
        Name of weights that come along, or a ``.safetensors`` file.
    uncertainty
        Another TIFF to write: the standard deviation of each pixel's error, float32, in the
        frames' units.
    score
        Score the raw frames, too, at the pixel size that the file says (20 nm if it does not).
    device
        `auto`, `cpu`, `cuda` or `cuda:N`.
    overwrite
        Replace files that are there; never `file` itself.
    progress
        Is told the number of frames that are done and of all.

    Raises
    ------
    ConfigError
        The file, the model or the device cannot be used, or a file is in the way.
    """
    targets = [out] if uncertainty is None else [out, uncertainty]
    check_targets(file, targets, overwrite=overwrite)
    with ExitStack() as files:
        tiff = opened(file, files)
        size = (pixel_size_nm_of(tiff) or DEFAULT_NM) if score else None
        engine = _open(model, device, size)
        stack = Stack.of(file, tiff)
        partial = files.enter_context(Partial(out))
        errors = files.enter_context(Partial(uncertainty)) if uncertainty else None
        # Both files grow with the frames, and a TIFF is written in one go: errors wait here.
        spool = files.enter_context(Partial(uncertainty, ".planes")) if uncertainty else None
        work = _Work(stack, engine, progress)
        kept = files.enter_context(spool.path.open("wb")) if spool else None
        try:
            write_like(partial.path, stack, stack.kept_type, work.images(kept), out)
            if errors and spool and kept and uncertainty:
                kept.flush()
                write_like(
                    errors.path,
                    stack,
                    np.dtype(np.float32),
                    planes_in(spool.path, stack.frames, stack.shape),
                    uncertainty,
                )
        except OSError as error:
            raise ConfigError(f"{out}: cannot be written: {error}") from None
        partial.keep()
        if errors:
            errors.keep()
    return Filtered(
        stack.frames,
        tuple(work.uncertainty),
        work.device,
        tuple(work.faults),
        tuple(work.scores),
    )


def _open(model: str, device: str, pixel_size_nm: float | None) -> Restorer | Online:
    """The filter; with a pixel size, one that scores, too."""
    from models.online import Online
    from models.restoration import Restorer

    try:
        if pixel_size_nm is not None:
            return Online(model, pixel_size_nm=pixel_size_nm, device=device)
        return Restorer(model, device)
    except (OSError, ValueError) as error:
        option = "device" if str(error).startswith("device") else "model"
        raise ConfigError(f"--{option}: {str(error).removeprefix(f'{option}: ')}") from None


class _Work:
    """Filters a stack frame by frame, and notes what comes with them."""

    def __init__(
        self, stack: Stack, engine: Restorer | Online, progress: Callable[[int, int], None]
    ) -> None:
        self._stack, self._engine, self._progress = stack, engine, progress
        self.uncertainty: list[float] = []
        self.scores: list[Score] = []
        self.faults: list[str] = []
        self.device = ""
        self._taken = -1

    def _frames(self) -> Iterator[NDArray[Any]]:
        for frame in self._stack:
            self._taken += 1
            yield frame

    def _results(self) -> Iterator[Restored]:
        from models.restoration import Restored

        for one in self._engine.stream(self._frames()):
            if isinstance(one, Restored):
                yield one
            else:
                self.scores.append(one.score)
                yield one.restored

    def images(self, errors: Any) -> Iterator[NDArray[Any]]:
        """Filtered frames in the type they are kept in; their errors go to a file, if any."""
        stack = self._stack
        results = self._results()
        self._progress(0, stack.frames)
        while True:
            try:
                result = next(results, None)
            except ConfigError:
                raise
            except (ValueError, MemoryError) as error:
                raise ConfigError(f"{stack.file}, frame {self._taken}: {error}") from None
            if result is None:
                return
            if result.fault:
                self.faults.append(f"frame {len(self.uncertainty)}: {result.fault}")
            self.uncertainty.append(result.uncertainty)
            self.device = result.device
            if errors is not None:
                errors.write(result.sd.astype(np.float32, copy=False).tobytes())
            yield as_type(result.image, stack.kept_type)
            self._progress(len(self.uncertainty), stack.frames)


def as_type(image: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An image in another type; integers are rounded, and clipped to what the type holds."""
    if dtype.kind not in "ui":
        return image.astype(dtype, copy=False)
    # Single precision cannot hold the limits of 32-bit integers; of 64-bit ones double cannot.
    limits = np.iinfo(dtype)
    most = np.nextafter(float(limits.max), 0) if dtype.itemsize > 4 else float(limits.max)
    return np.clip(np.rint(image.astype(np.float64)), float(limits.min), most).astype(dtype)
