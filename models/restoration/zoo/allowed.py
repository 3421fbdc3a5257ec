"""What of a zoo's model may be run: no Python code unasked, nothing from the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.restoration.zoo.files import Files

_SAFE = ("torchscript", "onnx")
"""Weights that are run unasked, the first first: they hold a computation and no Python."""
_PYTHON = "pytorch_state_dict"
"""Weights that need the package's Python code, which says what the network is."""
CUSTOM = "custom"
"""Pre- or postprocessing by the package's Python code."""
ALLOW = "allow it by `trust: true` or --trust"


def has_custom(content: Mapping[str, Any]) -> bool:
    """Whether a description asks for Python code before the network or after it.

    Examples
    --------
    >>> has_custom({"inputs": [{"preprocessing": [{"id": "custom"}]}], "outputs": [{}]})
    True
    """
    steps = [
        step
        for key, processing in (("inputs", "preprocessing"), ("outputs", "postprocessing"))
        for tensor in content[key]
        if isinstance(found := tensor.get(processing), list)
        for step in found
        if isinstance(step, dict)
    ]
    return any(CUSTOM in (step.get("id"), step.get("name")) for step in steps)


def choose_weights(path: Path, weights: Mapping[str, Any], *, trust: bool) -> str:
    """Choose which weights of a package are run.

    Raises
    ------
    ValueError
        None may be.
    """
    accepted = (*_SAFE, _PYTHON) if trust else _SAFE
    if found := next((name for name in accepted if name in weights), None):
        return found
    has = ", ".join(weights)
    if _PYTHON in weights:
        raise ValueError(
            f"{path}: has weights as {has}; {_PYTHON} runs Python code of the package, which could"
            f" do anything; accepted: {', '.join(_SAFE)}; or look at that code, then {ALLOW}"
        )
    raise ValueError(f"{path}: has weights as {has}; accepted: {', '.join((*_SAFE, _PYTHON))}")


def check_file(path: Path, files: Files, entry: Mapping[str, Any], weights: str) -> None:
    """Make sure that weights are there, and those that are described.

    Raises
    ------
    ValueError
        They are not, or are to be fetched from the network.
    """
    for about in (entry, entry.get("external_data"), entry.get("architecture")):
        if not isinstance(about, dict) or not isinstance(source := about.get("source"), str):
            continue
        if "://" in source:
            raise ValueError(
                f"{path}: its {weights} weights are at {source}, and nothing is loaded from the"
                " network; accepted: the whole model, downloaded as a .zip"
            )
        if (found := files.digest(source)) is None:
            raise ValueError(f"{path}: has no {source}, of which its {weights} weights are made")
        if (told := about.get("sha256")) and found != told:
            raise ValueError(
                f"{path}: {source} has sha256 {found[:12]}…, its description says"
                f" {str(told)[:12]}…; accepted: the weights that are described"
            )
