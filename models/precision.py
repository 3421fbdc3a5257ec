"""What convolutions are computed in while a network is trained."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def trained_in(asked: str, device: str) -> AbstractContextManager[Any]:
    """What convolutions are computed in within it.

    A CPU with units for bfloat16 takes 0.16 s for a step in it and 0.29 s in single precision (the
    default restoration recipe, one thread). One without emulates it, which takes several times as
    long as single precision.

    Parameters
    ----------
    asked
        `single`; `bfloat16`; or `auto`, which is bfloat16 on CUDA and on CPUs that have it.
    device
        As torch names it.

    Examples
    --------
    >>> with trained_in("single", "cpu"):
    ...     print(torch.is_autocast_enabled("cpu"))
    False
    """
    kind = device.split(":")[0]
    half = asked == "bfloat16" or (asked == "auto" and has_bfloat16(kind))
    return torch.autocast(kind, torch.bfloat16) if half else nullcontext()


def has_bfloat16(kind: str) -> bool:
    """Whether a kind of device computes in bfloat16 itself.

    Examples
    --------
    >>> has_bfloat16("cuda")
    True
    """
    if kind == "cpu":
        # torch has no public question for it; where it has none, single precision is safe.
        asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in asked)
    return kind == "cuda"
