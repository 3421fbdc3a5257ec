"""A GPU that is lost in the middle of a stream: `python -m models.gpu_check.lost PLACE SIDE`.

The GPU is left as by a failed assertion in a kernel: no call to it works in this process any more.
The frames must come from the CPU, and the process must end by itself. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray

from models.accelerator import Accelerator
from models.cuda import Cuda
from models.emulated import Emulated
from models.gpu_check.faulty import Faulty
from models.gpu_check.frames import apart, frame
from models.restoration import Restorer

_FILTER = "actin-small"


def main(place: str, side: int) -> int:
    """Lose it after two frames of five."""
    on_gpu = place != "cpu"
    accelerator: Accelerator = Cuda(place) if on_gpu else Faulty(Emulated(tries=False), lost_from=2)
    restorer, cpu = Restorer(_FILTER, accelerator), Restorer(_FILTER, "cpu")
    frames = [frame(side, side, seed) for seed in range(5)]

    def until_lost() -> Iterator[NDArray[Any]]:
        yield from frames[:2]
        if on_gpu:
            _lose(place)
        yield from frames[2:]

    found = list(restorer.stream(until_lost()))
    errors = [
        apart(one.image, cpu.restore(pixels).image)
        for one, pixels in zip(found, frames, strict=True)
    ]
    told = {
        "error": max(errors),
        "devices": [one.device for one in found],
        "faults": [one.fault for one in found if one.fault],
    }
    print(json.dumps(told))
    return 0


def _lose(place: str) -> None:
    """Look beyond the end of an array, which a kernel's assertion forbids for good."""
    beyond = torch.tensor([10], device=place)
    try:
        torch.zeros(1, device=place)[beyond].cpu()
    except RuntimeError:
        return
    raise SystemExit("the GPU could not be lost")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
