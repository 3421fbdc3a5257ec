"""Where networks lie, and in which order of memory."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def placed(network: Network, device: str | None = None) -> Network:
    """The network itself, on the device, in the order in which convolutions run fastest.

    Examples
    --------
    >>> network = placed(torch.nn.Conv2d(2, 2, 3))
    >>> network.weight.is_contiguous(memory_format=torch.channels_last)
    True
    """
    # torch declares no overload of `to` with a memory format, though it takes one.
    moved: Network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved
