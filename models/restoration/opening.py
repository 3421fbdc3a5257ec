"""The filter of a model: one of this project, or one of the BioImage Model Zoo."""

from __future__ import annotations

from pathlib import Path

from models.accelerator import Accelerator
from models.restoration.engine import Restorer
from models.restoration.frame_filter import FrameFilter
from models.restoration.weights import read_restoration
from models.restoration.zoo.engine import ZooFilter, check_zoo
from models.restoration.zoo.package import is_zoo


def open_filter(
    model: str | Path,
    device: str | Accelerator = "auto",
    *,
    pixel_size_nm: float | None = None,
    trust: bool = False,
) -> FrameFilter:
    """Load a model.

    Parameters
    ----------
    model
        The name of bundled weights, a ``.safetensors`` file with its card, or a model of the
        BioImage Model Zoo (``.zip``, or ``rdf.yaml`` beside its files).
    device
        `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`; or what takes a GPU's place.
    pixel_size_nm
        Of the frames (nm), for models of the zoo that say for which they are.
    trust
        Whether Python code that comes with a model of the zoo may be run.

    Raises
    ------
    FileNotFoundError
        A file is missing.
    ValueError
        It cannot be used, or there is no such device.

    Examples
    --------
    >>> open_filter("actin-small", "cpu").weights_hash()[:8]
    'dfbf30da'
    """
    if is_zoo(model):
        return ZooFilter(model, device, pixel_size_nm=pixel_size_nm, trust=trust)
    return Restorer(model, device)


def check_model(
    model: str | Path, *, pixel_size_nm: float | None = None, trust: bool = False
) -> None:
    """Read a model as far as that says whether it can be used; parameters as of `open_filter`.

    Raises
    ------
    FileNotFoundError
        A file is missing.
    ValueError
        It cannot be used.

    Examples
    --------
    >>> check_model("actin-small")
    """
    if is_zoo(model):
        check_zoo(model, pixel_size_nm=pixel_size_nm, trust=trust)
    else:
        read_restoration(model)
