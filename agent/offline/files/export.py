"""`stedfast export`: a run's images as an OME-TIFF, a series for each field.

Where time points have one frame, each mode has a series of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.config.reading import UserError
from agent.offline.files import export_filtered, export_rebuilt
from agent.offline.files.run_notes import notes_on
from agent.offline.files.run_series import series_of
from agent.offline.files.run_tiff import ExportedRun, Image, Page, write
from agent.record.images import FrameDamaged, checksum
from agent.record.layout import Layout
from agent.record.load import read
from agent.record.recording import Taken


@dataclass(frozen=True, slots=True)
class Exported:
    """The written frames, and the series that they are in."""

    frames: int
    series: int


def export(folder: Path, out: Path, *, images: str = "raw", overwrite: bool = False) -> Exported:
    """Write the frames of a run, with their settings.

    Each field, mode and size of frames and of pixels has a series (axes TYX) with its settings,
    physical pixel sizes, and the resolution tags that plain TIFF readers look at; each frame its
    position, exposure time and true time since the run's birth, which is the series' date. Where
    time points have several channels or planes, each field has a series (axes TCZYX), and frames
    of a time point that was left halfway are series of their own.

    Parameters
    ----------
    folder
        A run folder.
    out
        The TIFF to write.
    images
        Which: a key of `IMAGES`. What was computed says so, frame by frame.
    overwrite
        Replace a file that is there.

    Raises
    ------
    UserError
        No run, no frames, a frame that is not on disk as it was written, or a file in the way.
    """
    if images not in IMAGES:
        raise UserError(f"--images: found {images}; accepted: {', '.join(IMAGES)}")
    config, recording = read(folder)
    if not recording.taken:
        raise UserError(f"{folder}: has no frames to export")
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise UserError(
            f"{out}: found the ending {out.suffix!r}; accepted: .ome.tif, .tif or .tiff"
        )
    if not out.parent.is_dir():
        raise UserError(f"{out}: there is no folder {out.parent}")
    if out.exists() and not overwrite:
        raise UserError(f"{out}: is there already; --overwrite replaces it")
    run = ExportedRun(folder, config, recording)
    made = IMAGES[images](run)
    unfinished = out.with_name(out.name + ".partial")
    try:
        write(unfinished, run, made)
        unfinished.replace(out)
    except FrameDamaged as damage:
        raise UserError(f"{folder}: {damage}; nothing was exported") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return Exported(sum(len(image.pages) // image.each for image in made), len(made))


def _measured(run: ExportedRun) -> list[Image]:
    """All frames as they were measured."""
    layout = Layout.of(run.config)

    def checked(index: int, taken: Taken) -> NDArray[Any]:
        pixels = run.raw.read(index)
        if checksum(pixels) != taken.frame["crc32"]:
            raise FrameDamaged(f"frame {index}: the pixels on disk are not those of the ledger")
        return pixels

    return [
        Image(
            titles=series.titles(),
            channels=series.channels,
            shape=series.shape,
            pages=[
                Page(partial(checked, index, taken), taken, taken.frame["time_s"])
                for index, taken in zip(series.indices, series.taken, strict=True)
            ],
            pixel_um=series.taken[0].pixel_um(run.config),
            step_um=series.step_um,
            interval_s=series.interval_s,
            notes=notes_on(series, run.config, run.states),
        )
        for series in series_of(run.recording.taken, layout, len(layout.channels))
    ]


IMAGES: Mapping[str, Callable[[ExportedRun], list[Image]]] = {
    "raw": _measured,
    "filtered": export_filtered.images,
    "reconstructed": export_rebuilt.images,
}
"""What can be exported."""
