"""`stedfast score`: a quality score for every frame of some files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tifffile
from numpy.typing import NDArray

from agent.reading import ConfigError

if TYPE_CHECKING:
    from models.quality import QualityScorer

DEFAULT_NM = 20.0
_NM_PER_UNIT = {"CENTIMETER": 1e7, "INCH": 2.54e7}
_NM = {"nm": 1.0, "µm": 1e3, "um": 1e3, "micron": 1e3, "mm": 1e6}


def score_files(
    files: Sequence[Path], pixel_size_nm: float | None, weights: Path | None = None
) -> list[dict[str, Any]]:
    """Score all frames of TIFF files.

    Parameters
    ----------
    files
        TIFF files; leading axes of more than two-dimensional ones are frames.
    pixel_size_nm
        Instead of what the files say.
    weights
        Other weights than those that come along.

    Returns
    -------
    list of dict
        `file`, `frame`, `frames` (in that file), `score`, `sd`, `flags`, `pixel_size_nm` and
        where that is from (`given`, `file` or `assumed`).

    Raises
    ------
    ConfigError
        A file cannot be read or scored.
    """
    scorer = open_scorer(weights)
    rows = []
    for file in files:
        images, size, source = read_images(file, pixel_size_nm)
        for number, image in enumerate(images):
            try:
                score = scorer.score(image, size)
            except ValueError as error:
                raise ConfigError(f"{file}, frame {number}: {error}") from None
            rows.append(
                {
                    "file": str(file),
                    "frame": number,
                    "frames": len(images),
                    "score": score.value,
                    "sd": score.sd,
                    "flags": list(score.flags),
                    "pixel_size_nm": size,
                    "pixel_size_from": source,
                }
            )
    return rows


def open_scorer(weights: Path | None) -> QualityScorer:
    """A scorer with these weights, or with those that come along.

    Raises
    ------
    ConfigError
        The weights cannot be used.
    """
    from models.quality import QualityScorer

    try:
        return QualityScorer(weights)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--weights: {error}") from None


def read_images(
    file: Path, pixel_size_nm: float | None
) -> tuple[NDArray[Any], float, Literal["given", "file", "assumed"]]:
    """Frames (n × rows × columns) of a TIFF, their pixel size (nm) and where that is from.

    Raises
    ------
    ConfigError
        The file cannot be read, or a pixel size is given that is none.
    """
    if pixel_size_nm is not None and not 0 < pixel_size_nm < 1e5:
        raise ConfigError(f"--pixel-size {pixel_size_nm:g}: a pixel size in nm above 0 is needed")
    images, found = _read(file)
    if pixel_size_nm is not None:
        return images, pixel_size_nm, "given"
    return (images, found, "file") if found else (images, DEFAULT_NM, "assumed")


def _read(file: Path) -> tuple[NDArray[Any], float | None]:
    """Frames (n × rows × columns) of a TIFF file, and its pixel size in nm if it says one."""
    try:
        with tifffile.TiffFile(file) as tiff:
            images, size = tiff.asarray(), pixel_size_nm_of(tiff)
            color = tiff.pages.first.photometric == tifffile.PHOTOMETRIC.RGB
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, tifffile.TiffFileError, ValueError, IndexError) as error:
        raise ConfigError(f"{file}: not a readable TIFF file: {error}") from None
    if images.ndim < 2 or images.size == 0:
        raise ConfigError(f"{file}: shape {images.shape}, an image is needed")
    if color:
        raise ConfigError(
            f"{file}: a colour image of shape {images.shape}; accepted are grey ones, a channel"
            " at a time"
        )
    if images.dtype.kind not in "uif":
        raise ConfigError(f"{file}: pixels of type {images.dtype}; accepted are real numbers")
    return images.reshape(-1, *images.shape[-2:]), size


def pixel_size_nm_of(tiff: tifffile.TiffFile) -> float | None:
    """Pixel size (nm) that a file says it has, if any."""
    if tiff.ome_metadata:
        pixels = _ome_pixels(tifffile.xml2dict(tiff.ome_metadata))
        if pixels and "PhysicalSizeX" in pixels:
            unit = _NM.get(pixels.get("PhysicalSizeXUnit", "µm"))
            return float(pixels["PhysicalSizeX"]) * unit if unit else None
    page = tiff.pages.first
    resolution = page.tags.get("XResolution")
    if resolution is None or resolution.value[0] == 0:
        return None
    per_pixel = resolution.value[1] / resolution.value[0]
    if tiff.imagej_metadata:
        unit = _NM.get(str(tiff.imagej_metadata.get("unit", "")).replace("\\u00B5m", "µm"))
        return per_pixel * unit if unit else None
    tag = page.tags.get("ResolutionUnit")
    nm = _NM_PER_UNIT.get(getattr(tag.value, "name", "")) if tag else None
    size = per_pixel * nm if nm else None
    # 72 dpi and its like are a printer's resolution, not a microscope's.
    return size if size and size < 2000 else None


def _ome_pixels(data: Any) -> dict[str, Any] | None:
    """The first `Pixels` element of OME-XML as a dictionary."""
    stack: list[Any] = [data]
    while stack:
        here = stack.pop()
        if isinstance(here, dict):
            if isinstance(found := here.get("Pixels"), dict):
                return found
            stack += here.values()
        elif isinstance(here, list):
            stack += here
    return None
