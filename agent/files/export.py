"""`stedfast export`: a run's raw frames as one OME-TIFF."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from agent.reading import ConfigError
from agent.store.images import ImageStore
from agent.summary import read


def export(folder: Path, out: Path, *, overwrite: bool = False) -> int:
    """Write the measured frames of a run, in order, with axes, pixel size and time.

    Parameters
    ----------
    folder
        A run folder.
    out
        The TIFF to write; axes TYX, physical sizes in µm, a time for every plane.
    overwrite
        Replace a file that is there.

    Returns
    -------
    int
        Frames written.

    Raises
    ------
    ConfigError
        No run, no frames, or a file in the way.
    """
    config, recording = read(folder)
    if not recording.taken:
        raise ConfigError(f"{folder}: has no frames to export")
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise ConfigError(f"{out}: the name must end in .ome.tif or .tif")
    if not out.parent.is_dir():
        raise ConfigError(f"{out}: there is no folder {out.parent}")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out}: is there already; --overwrite replaces it")
    pixel_um = config.microscope.pixel_size_nm * 1e-3
    images = ImageStore(folder, pixel_size_um=pixel_um)
    indices = sorted(recording.taken)
    first = images.read(indices[0])

    def frames() -> Iterator[NDArray[Any]]:
        for index in indices:
            yield images.read(index)

    times = [recording.taken[index].frame["time_s"] for index in indices]
    partial = out.with_name(out.name + ".partial")
    tifffile.imwrite(
        partial,
        frames(),
        shape=(len(indices), *first.shape),
        dtype=first.dtype,
        ome=True,
        photometric="minisblack",
        metadata={
            "axes": "TYX",
            "Name": folder.resolve().name,
            "PhysicalSizeX": pixel_um,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": pixel_um,
            "PhysicalSizeYUnit": "µm",
            "Plane": {"DeltaT": times, "DeltaTUnit": ["s"] * len(times)},
        },
    )
    partial.replace(out)
    return len(indices)
