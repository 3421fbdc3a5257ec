"""Files of images, with their metadata: TIFFs, OME-Zarr, Imspector's and Leica's.

The one reader for the replay camera and for every command. It lies in this room because the
camera needs it; `models/` gets its frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from devices.extras import install
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
    "ENDINGS",
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
    "parted",
]

IMSPECTOR, LEICA = (".msr", ".obf"), (".lif",)
ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".lsm", *IMSPECTOR, *LEICA)
"""Of files that are looked for in a folder, in small letters."""


def images_in(file: Path, files: ExitStack) -> list[Series]:
    """The images of a file or an OME-Zarr folder, until `files` is left.

    Raises
    ------
    ImageError
        There is no such file, it is none that can be read, or it is damaged.
    """
    from devices.recorded.imspector import open_imspector
    from devices.recorded.leica import open_leica
    from devices.recorded.ngff import open_ngff
    from devices.recorded.tiff import open_tiff

    if not file.exists():
        raise ImageError(f"{file}: no such file")
    if file.is_dir():
        return open_ngff(file)
    openers = dict.fromkeys(IMSPECTOR, open_imspector) | dict.fromkeys(LEICA, open_leica)
    opener = openers.get(file.suffix.lower(), open_tiff)
    try:
        return opener(file, files)
    except ModuleNotFoundError as error:
        raise ImageError(f"{file}: needs {error.name}; {install('files')}") from None


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
        file, name = parted(file)
        images = images_in(file, files)
        if not images:
            raise ImageError(f"{file}: holds no image")
        yield Frames(*chosen(images, part if name is None else replace(part, series=name)))


def parted(file: Path) -> tuple[Path, str | None]:
    """A file, and the image or channel of it that is named behind a `#`.

    Examples
    --------
    >>> file, name = parted(Path("cell.msr#Ch2"))
    >>> str(file), name
    ('cell.msr', 'Ch2')
    """
    name, _, image = file.name.partition("#")
    if not name or not image or file.exists():
        return file, None
    return file.with_name(name), image
