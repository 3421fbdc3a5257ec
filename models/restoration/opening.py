"""The filter of a model: one of this project, or one of the BioImage Model Zoo."""

from __future__ import annotations

from pathlib import Path

from models.accelerator import Accelerator
from models.restoration.engine import Restorer
from models.restoration.frame_filter import FrameFilter
from models.restoration.weights import read_restoration
from models.restoration.zoo.engine import ZooFilter, check_zoo
from models.restoration.zoo.geometry import PIXEL_FACTOR
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


def unlike_pixels(model: str | Path, pixel_size_nm: float) -> str | None:
    """What is to be said where a network was trained on pixels of another size, else None.

    Models of the zoo refuse such pixels; see `check_model`.

    Parameters
    ----------
    model
        As of `open_filter`; one that can be used.
    pixel_size_nm
        Of the frames (nm).

    Examples
    --------
    >>> unlike_pixels("actin", 30)
    'actin was trained on pixels of 20 nm, and these are 30 nm: it may add or remove structure'
    >>> unlike_pixels("actin", 22)
    """
    if is_zoo(model) or (trained := read_restoration(model).pixel_nm) is None:
        return None
    if max(pixel_size_nm / trained, trained / pixel_size_nm) <= PIXEL_FACTOR:
        return None
    return (
        f"{model} was trained on pixels of {trained:g} nm, and these are {pixel_size_nm:g} nm:"
        " it may add or remove structure"
    )
