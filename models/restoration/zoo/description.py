"""The description of a zoo's model, as `bioimageio.spec` reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from models.restoration.zoo.axes import geometry_of
from models.restoration.zoo.geometry import Geometry
from models.restoration.zoo.package import Package
from models.restoration.zoo.tensors import explain

NEEDED = ('"bioimageio.core>=0.11"', '"onnxruntime>=1.20"')
"""What the extra `bioimageio` installs."""


def check_installed(package: Package) -> None:
    """Make sure that what reads and runs a package is installed.

    Raises
    ------
    ValueError
        It is not; says how to install it.
    """
    needed = {"bioimageio": "bioimageio.core"}
    if package.weights == "onnx":
        needed["onnxruntime"] = "onnxruntime"
    if lacking := [name for module, name in needed.items() if find_spec(module) is None]:
        raise ValueError(
            f"{package.path}: is a model of the BioImage Model Zoo, and {' and '.join(lacking)} is"
            f" not installed: python -m pip install {' '.join(NEEDED)} (the extra `bioimageio`)"
        )


def read_description(package: Package) -> tuple[Any, Geometry]:
    """The description as `bioimageio.spec` reads it, and its geometry; nothing is downloaded.

    Raises
    ------
    ValueError
        It is not valid, its model is not one that filters frames, or the extra is missing.
    """
    check_installed(package)
    from bioimageio.spec import load_model_description

    path = package.path
    try:
        with _never_counted():
            found = load_model_description(
                path.absolute(), format_version="latest", perform_io_checks=False
            )
    except Exception as error:  # of a description that anyone may have written
        raise ValueError(f"{path}: is no valid description ({explain(error)})") from None
    try:
        return found, geometry_of(_plain(found))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


@contextmanager
def _never_counted() -> Iterator[None]:
    """Meanwhile the library does not count how complete a description is.

    For that it writes the description out, which its version 0.5.12 cannot with pydantic 2.14:
    every description would be invalid.
    """
    from bioimageio.spec.model.v0_5 import ModelDescr

    name = "_get_metadata_completeness"
    owners = [one for one in ModelDescr.__mro__ if name in vars(one)]
    kept = [vars(one)[name] for one in owners]
    for owner in owners:
        setattr(owner, name, lambda description: 0.0)
    try:
        yield
    finally:
        for owner, method in zip(owners, kept, strict=True):
            setattr(owner, name, method)


def _plain(description: Any) -> dict[str, Any]:
    """Inputs and outputs as plain data, as far as `Geometry` reads them."""
    return {
        key: [
            {
                "id": str(tensor.id),
                "axes": [axis.model_dump(mode="json") for axis in tensor.axes],
                "data": _dumped(tensor.data),
                "pad": _dumped(getattr(tensor, "pad", None)),
            }
            for tensor in getattr(description, key)
        ]
        for key in ("inputs", "outputs")
    }


def _dumped(part: Any) -> Any:
    first = part[0] if isinstance(part, list | tuple) and part else part
    return None if first is None else first.model_dump(mode="json")
