"""Least cost of a frame for a restoration network, on any device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.restoration.network import build


@dataclass(frozen=True, slots=True)
class Cost:
    """Operations and memory traffic of one frame through one network.

    Parameters
    ----------
    operations
        Floating-point operations of the convolutions, a multiplication and an addition each one.
    moved
        Bytes read and written when each convolution reads its input and its weights once and
        writes its output once.
    compulsory
        Bytes that must be moved however the layers are joined: frame, weights and both outputs.
    """

    operations: int
    moved: int
    compulsory: int


def cost(architecture: dict[str, Any], shape: tuple[int, int], *, width: int = 4) -> Cost:
    """Count for a frame of this shape, without computing anything.

    Parameters
    ----------
    architecture
        As in the model card.
    shape
        Rows and columns (pixels), multiples of the network's.
    width
        Bytes of a number: 4, or 2 for bfloat16.

    Raises
    ------
    ValueError
        For an architecture that there is not, or a shape that it does not take.

    Examples
    --------
    >>> architecture = {"depth": 2, "first": 32}
    >>> one, four = (cost(architecture, (side, side)).operations for side in (256, 512))
    >>> four == 4 * one
    True
    """
    with torch.device("meta"):
        network = build(architecture)
        frame = torch.empty((1, network.channels_in, *shape))
    numbers: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weights = sum(parameter.numel() for parameter in layer.parameters())
        numbers.append(inputs[0].numel() + weights + output.numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter:
        network(frame)
    weights = sum(parameter.numel() for parameter in network.parameters())
    outputs = 2 * shape[0] * shape[1]
    return Cost(
        counter.get_total_flops(),
        width * sum(numbers),
        width * (frame.numel() + weights + outputs),
    )
