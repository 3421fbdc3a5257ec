"""Stacks: what a scan left, by the names of its channels."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.imspector.labels import ALL

_SUFFIX = re.compile(r"(\s*\{\d+\})?(\s*\[\d+\])?$")
"""Number of the configuration, and of a stack whose name is there already."""
_PREFIX = "ExpControl "


def stacks_of(configuration: Any, channels: Sequence[str], names: Sequence[str]) -> list[int]:
    """Numbers of the stacks that channels were scanned into.

    Parameters
    ----------
    configuration
        The one that was scanned.
    channels
        Names of all that it scans.
    names
        Those that are asked for.

    Raises
    ------
    RuntimeError
        A channel has none.
    """
    found = [plain(name) for name in configuration.stack_names()]
    if not set(found) & set(channels):
        # Where stacks are named after detectors, they are those of the channels, in their order.
        found = [*channels] if len(found) == len(channels) else found
    # What was scanned before may lie there still, of the same names.
    last = {name: number for number, name in enumerate(found)}
    if found:
        last.setdefault(ALL, last[found[0]])
    for name in names:
        if name not in last:
            raise RuntimeError(f"channel {name!r} has no stack; there is {', '.join(found)}")
    return [last[name] for name in names]


def plain(stack: str) -> str:
    """A stack's name without its numbers.

    Examples
    --------
    >>> plain("STED 640 {2}"), plain("ExpControl Ch1 {1}"), plain("STED 640 {2}[1]")
    ('STED 640', 'Ch1', 'STED 640')
    """
    return _SUFFIX.sub("", stack).removeprefix(_PREFIX)


def frame_of(configuration: Any, number: int) -> NDArray[Any]:
    """Rows × columns of a stack.

    Raises
    ------
    RuntimeError
        There is none, or it is no single frame.
    """
    data = configuration.stack(number).data()
    if math.prod(data.shape[:-2]) != 1:
        raise RuntimeError(
            f"stack {number} has the shape {data.shape}; accepted: one frame a scan (scan mode xy)"
        )
    # Reading is over before the next scan writes there.
    frame: NDArray[Any] = np.array(data).reshape(data.shape[-2:])
    return frame
