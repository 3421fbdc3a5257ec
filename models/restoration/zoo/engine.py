"""Filters frames with a model of the BioImage Model Zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.accelerator import Accelerator
from models.devices import gpu
from models.restoration.compute import Compute
from models.restoration.frame_filter import FrameFilter
from models.restoration.zoo.description import read_description
from models.restoration.zoo.geometry import Geometry
from models.restoration.zoo.on_device import OnZoo
from models.restoration.zoo.package import Package, read_package
from models.restoration.zoo.tiling import smallest_tile


def check_zoo(
    model: str | Path, *, pixel_size_nm: float | None = None, trust: bool = False
) -> tuple[Package, Any, Geometry]:
    """A model as far as it is known without its weights: package, description and geometry.

    Parameters
    ----------
    model, pixel_size_nm, trust
        As of `ZooFilter`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It cannot be used; says why, and what is accepted.
    """
    package = read_package(Path(model), trust=trust)
    description, geometry = read_description(package)
    try:
        geometry.check_pixels(pixel_size_nm)
    except ValueError as error:
        raise ValueError(f"{package.path}: {error}") from None
    return package, description, geometry


class ZooFilter(FrameFilter):
    """Filters frames with a model of the BioImage Model Zoo.

    The image is what the model makes of the frame, processed as its description says; its unit is
    that of the description. The model says nothing of its error. `sd` is instead how far its
    results differ for the frame and its three mirror images: what a filter invents differs more,
    but an error that is the same in all of them is not seen. It is not calibrated.

    Parameters
    ----------
    model
        A .zip, or an `rdf.yaml` beside its files.
    device
        As of `Restorer`. ONNX weights are computed on the CPU.
    tile
        Longest side (pixels) of a tile, overlap included; by default 2048.
    pixel_size_nm
        Of the frames (nm); compared with that of the description. None: not compared.
    trust
        Whether Python code of the package may be run.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It cannot be used; says why, and what is accepted.
    """

    def __init__(
        self,
        model: str | Path,
        device: str | Accelerator = "auto",
        *,
        tile: int | None = None,
        pixel_size_nm: float | None = None,
        trust: bool = False,
    ) -> None:
        found = check_zoo(model, pixel_size_nm=pixel_size_nm, trust=trust)
        package, _, geometry = found
        name = gpu(device) if isinstance(device, str) else device.place
        if package.weights == "onnx":
            if name is not None and device != "auto":
                raise ValueError(
                    f"device: found {device!r}; accepted for ONNX weights: auto or cpu"
                )
            name = None
        places: list[Compute] = [OnZoo(found, "cpu")]
        if name is not None:
            places.insert(0, OnZoo(found, name))
        card = {"weights_sha256": package.sha256, "weights": package.weights}
        super().__init__(card, places, smallest_tile(geometry), tile)
