"""Weight files: safetensors with a model card (JSON) beside them, which has their SHA-256.

A pickle runs the code that it holds when it is opened; safetensors hold numbers only. Nothing else
is ever read here, under any name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.refusals import refused

SUFFIX = ".safetensors"
Network = TypeVar("Network", bound=nn.Module)


def read(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a weights file, and its model card.

    Parameters
    ----------
    path
        The ``.safetensors`` file; its card is beside it, with the ending ``.json``.
    kind
        Their model, for the message when they are of another: `a quality network`.

    Raises
    ------
    FileNotFoundError
        If weights or card are missing.
    ValueError
        If the file is of another kind (a pickle), either is damaged, they do not belong together,
        or a weight is not finite.
    """
    if path.suffix != SUFFIX:
        raise ValueError(
            f"{path}: weights must end in {SUFFIX}; no other file is read, a pickle"
            " (.pt, .pth, .bin) could run anything"
        )
    data, card = _read(path)
    digest = hashlib.sha256(data).hexdigest()
    if digest != card.get("weights_sha256"):
        raise ValueError(
            f"{path}: sha256 is {digest[:12]}…, its card says"
            f" {str(card.get('weights_sha256'))[:12]}…; accepted: weights and card"
            " of one training"
        )
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise not_weights_of(path, kind, error) from None
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path}: {name} has values that are not finite; nothing is loaded")
    return tensors, card


def filled(
    build: Callable[[dict[str, Any]], Network],
    architecture: dict[str, Any],
    tensors: Mapping[str, Tensor],
) -> Network:
    """A network with these weights.

    Shapes are compared before anything is allocated, on torch's `meta` device: a damaged card could
    ask for any amount of memory.

    Parameters
    ----------
    build
        Makes the network of an architecture.
    architecture
        As the model card has it.
    tensors
        The weights by name.

    Raises
    ------
    RuntimeError
        These are not the weights of that architecture; or whatever `build` raises.

    Examples
    --------
    >>> build = lambda sizes: torch.nn.Linear(**sizes)
    >>> weights = {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}
    >>> filled(build, {"in_features": 2, "out_features": 1}, weights).weight.tolist()
    [[1.0, 1.0]]
    """
    with torch.device("meta"), _Undrawn():
        build(architecture).load_state_dict(tensors, assign=True)
    network = build(architecture)
    network.load_state_dict(tensors)
    return network


class _Undrawn(TorchFunctionMode):
    """Draws no normal weights: on `meta` torch imports its compiler for that, for seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in (Tensor.normal_, nn.init.normal_):
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def write(out: Path, tensors: dict[str, Tensor], card: dict[str, Any]) -> Path:
    """Write `<out>.safetensors` and `<out>.json`; either is whole or not there.

    `card` gets the key `weights_sha256`. A crash between the two leaves a card of other weights,
    which `read` refuses.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = write(Path(folder) / "small", {"bias": torch.zeros(1)}, {"architecture": {}})
    ...     tensors, card = read(file, "a small network")
    >>> tensors["bias"].tolist(), sorted(card)
    ([0.0], ['architecture', 'weights_sha256'])
    """
    file = out.with_name(out.name + SUFFIX)
    file.parent.mkdir(parents=True, exist_ok=True)
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    card["weights_sha256"] = hashlib.sha256(data).hexdigest()
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    for target, content in ((file, data), (file.with_suffix(".json"), text.encode())):
        fresh = target.with_name(target.name + ".new")
        fresh.write_bytes(content)
        fresh.replace(target)
    return file


def shipped(folder: Path) -> list[str]:
    """Names of the weights in a folder of those that come with the project.

    Examples
    --------
    >>> shipped(Path(__file__).parent / "quality" / "weights")
    ['quality', 'robitaille']
    """
    return sorted(file.stem for file in folder.glob(f"*{SUFFIX}"))


def find(model: str | Path, folder: Path, *others: str) -> Path:
    """The file of a model: one of `folder` by its name, another by its path.

    Parameters
    ----------
    model, folder
        Its name or file, and where those with names are.
    others
        What is accepted elsewhere, for the message.

    Raises
    ------
    ValueError
        It is neither.

    Examples
    --------
    >>> find("actin", Path(__file__).parent / "restoration" / "weights").name
    'actin.safetensors'
    """
    path = Path(model)
    if path.suffix or path.name != str(model):
        return path
    if path.name not in (names := shipped(folder)):
        raise ValueError(f"model: {refused(path.name, [*names, f'a {SUFFIX} file', *others])}")
    return folder / f"{path.name}{SUFFIX}"


def not_weights_of(path: Path, kind: str, error: Exception) -> ValueError:
    """The error that says these are not the weights of that.

    Examples
    --------
    >>> print(not_weights_of(Path("a.safetensors"), "a quality network", KeyError("head")))
    a.safetensors: not the weights of a quality network ('head')
    """
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ValueError(f"{path}: not the weights of {kind} ({reason})")


def _read(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Weights file and model card; clear errors where there is none."""
    card = path.with_suffix(".json")
    for file in (path, card):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file}: no such file; accepted: weights (.safetensors) with their"
                " model card (.json) beside them"
            )
    try:
        content = dict(json.loads(card.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{card}: not a model card ({error})") from None
    return path.read_bytes(), content
