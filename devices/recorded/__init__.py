"""Files of images: TIFF, OME-TIFF, ImageJ's, LSM and OME-Zarr, with their metadata.

The one reader for the replay camera and for every command. It lies in this room because the
camera needs it; `models/` gets its frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devices.recorded.errors import ImageError
from devices.recorded.frames import Frames
from devices.recorded.scale import (
    AUDITED,
    MEASURED,
    RECONSTRUCTED,
    About,
    Scale,
)
from devices.recorded.series import Part, Series, chosen
from devices.recorded.units import LENGTHS, SYMBOLS, TIMES, Quantity

__all__ = [
    "AUDITED",
    "LENGTHS",
    "MEASURED",
    "RECONSTRUCTED",
    "SYMBOLS",
    "TIMES",
    "About",
    "Frames",
    "ImageError",
    "Part",
    "Quantity",
    "Scale",
    "Series",
    "images_in",
    "open_frames",
]


def images_in(file: Path, files: ExitStack) -> list[Series]:
    """The images of a TIFF or an OME-Zarr folder, until `files` is left.

    Raises
    ------
    ImageError
        There is no such file, it is neither, or it is damaged.
    """
    from devices.recorded.ngff import open_ngff
    from devices.recorded.tiff import open_tiff

    if not file.exists():
        raise ImageError(f"{file}: no such file")
    return open_ngff(file) if file.is_dir() else open_tiff(file, files)


@contextmanager
def open_frames(file: Path, part: Part | None = None) -> Iterator[Frames]:
    """The grey frames of a file that are meant.

    Raises
    ------
    ImageError
        It cannot be read, or the choice is not clear; names the available ones.
    """
    part = part or Part()
    with ExitStack() as files:
        images = images_in(file, files)
        if not images:
            raise ImageError(f"{file}: holds no image")
        yield Frames(chosen(images, part), part)
