"""Work of fixed shapes that is captured once and done again for every frame."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor

from models.accelerator import Accelerator

# Each keeps its inputs and results; memory for the steps in between is shared by all.
_PROGRAMS = 8
# Of the free memory: beside what the work needs, captures and libraries take some.
_SHARE = 0.6
_TRIAL = 128
"""Side of the frame whose memory is measured (pixels); chosen."""
Outputs = tuple[Tensor, ...]


class Programs:
    """Captured work by its key; the one that was not used for longest is dropped.

    Parameters
    ----------
    accelerator
        Where it is done.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._known: OrderedDict[Hashable, _Program] = OrderedDict()

    def __call__(
        self, key: Hashable, make: Callable[[], Callable[..., Outputs]], *inputs: Tensor
    ) -> Outputs:
        """Results of the work for these inputs, in memory of their own.

        Parameters
        ----------
        key
            Tells it from other work, and its shapes and types from others.
        make
            Makes the work, which is called with tensors like the inputs; asked once for each key.
        inputs
            Its first inputs.
        """
        program = self._known.get(key)
        if program is None:
            while len(self._known) >= _PROGRAMS:
                self._accelerator.settle()
                self._known.popitem(last=False)
            program = self._known[key] = _Program(self._accelerator, make(), inputs)
        self._known.move_to_end(key)
        return program(inputs)

    def clear(self) -> None:
        """Drop all of them."""
        if self._known:
            self._accelerator.settle()
        self._known.clear()


class _Program:
    def __init__(
        self, accelerator: Accelerator, work: Callable[..., Outputs], inputs: tuple[Tensor, ...]
    ) -> None:
        self._inputs = [one.clone() for one in inputs]
        # A captured graph reads what the work holds, and does not hold it itself.
        self._work = work
        self._launch, self._outputs = accelerator.capture(lambda: work(*self._inputs))

    def __call__(self, inputs: tuple[Tensor, ...]) -> Outputs:
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._launch()
        # The next frame overwrites them, and so may other work: they share their memory.
        return tuple(one.clone() for one in self._outputs)


def affordable(
    accelerator: Accelerator, work: Callable[[int], object], least: int, most: int, multiple: int
) -> int:
    """The side (pixels) of what fits into the memory that is free.

    Parameters
    ----------
    accelerator
        Whose memory.
    work
        Done for a side in pixels, to measure its memory.
    least, most
        Between which sides.
    multiple
        Of the side.

    Examples
    --------
    >>> from models.emulated import Emulated
    >>> accelerator = Emulated(memory=1 << 30, peak_bytes=1 << 24, tries=False)
    >>> affordable(accelerator, lambda side: None, least=64, most=4096, multiple=16)
    784
    """
    trial = max(_TRIAL - _TRIAL % multiple, multiple)
    a_pixel = max(1.0, accelerator.peak(lambda: work(trial)) / trial**2)
    side = math.isqrt(int(_SHARE * accelerator.free() / a_pixel))
    return max(least, min(most, side - side % multiple))
