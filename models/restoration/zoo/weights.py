"""Runs the weights of a zoo's model: TorchScript, ONNX, or a network of the package's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.restoration.zoo.geometry import Geometry
from models.restoration.zoo.package import Package
from models.restoration.zoo.tensors import tensor_of

Run = Callable[[NDArray[Any]], NDArray[Any]]
"""Takes an array with all axes of the input, and gives one with those of the output."""


def load_weights(package: Package, description: Any, geometry: Geometry, device: str) -> Run:
    """Load the weights onto a device; whatever that raises is the package's fault."""
    load = _onnx if package.weights == "onnx" else _torch
    return load(package, description, geometry, device)


def _torch(package: Package, description: Any, geometry: Geometry, device: str) -> Run:
    from bioimageio.core import create_model_adapter

    weights: Any = package.weights
    adapter = create_model_adapter(
        description, devices=[device], weight_format_priority_order=[weights]
    )
    takes, gives = geometry.takes, geometry.gives

    def run(array: NDArray[Any]) -> NDArray[Any]:
        found = adapter.forward({takes.name: tensor_of(takes, array)})
        return np.asarray(found[gives.name].to_numpy())

    return run


def _onnx(package: Package, description: Any, geometry: Geometry, device: str) -> Run:
    import onnxruntime
    import torch

    weights = description.weights.onnx
    if getattr(weights, "external_data", None) is not None:
        raise ValueError("they lie in several files; accepted: one")
    options = onnxruntime.SessionOptions()
    # Its own choice is all cores, which then wait in a loop: they belong to the acquisition.
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        weights.get_reader().read(), options, providers=["CPUExecutionProvider"]
    )
    (name,) = (one.name for one in session.get_inputs())
    return lambda array: np.asarray(session.run(None, {name: array})[0])
