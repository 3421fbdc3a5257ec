"""Filters frames with trained weights, as they come or from a file.

On a CPU it computes in single precision what the network says, to rounding, in the rewritten
form of `folded`: the fastest that was found without a compiler. Time over that of the plain network
(eager, float32, channels first) for the same 512 × 512 frame, medians of 5 to 9 alternating runs
on two busy cores of an AMD EPYC with AVX-512, torch 2.13:

==========================  =========  =========  =========  =========
network, depth 2            3 × 3, 16 filters     5 × 5, 32 filters
threads                     1          2          1          2
==========================  =========  =========  =========  =========
folded                      0.47–0.50  0.63–0.67  0.67–0.71  0.66
channels last alone         0.59–0.60  0.62–0.65  0.80–0.82  0.80
torch.jit, frozen           0.71       0.85       0.80
the same, channels last     0.64       0.83       0.90
folded, in tiles of 256     0.75       1.56       1.10
==========================  =========  =========  =========  =========

`torch.jit` is deprecated besides. oneDNN's own blocked layout is faster than channels last for
the first of these convolutions only, by a tenth. An ensemble's convolutions as one grouped
convolution take 1.1 to 1.6 times as long as one after the other. Windows small enough for the
cache cost more in overlap than they save: tiles are for want of memory only.

The work on a GPU is in `compute.OnGpu`.
"""

from __future__ import annotations

from pathlib import Path

from models.accelerator import Accelerator
from models.cuda import accelerator_of
from models.restoration.compute import Compute
from models.restoration.frame_filter import FrameFilter
from models.restoration.on_cpu import OnCpu
from models.restoration.on_gpu import OnGpu
from models.restoration.tiles import smallest
from models.restoration.weights import read_restoration


class Restorer(FrameFilter):
    """Filters frames with a network of this project; `FrameFilter` says how it goes on.

    Parameters
    ----------
    model
        The name of bundled weights, or a ``.safetensors`` file with its card.
    device
        `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`; or what takes a GPU's place.
    tile
        Longest side (pixels) of a tile that goes through the network, overlap included; by
        default 2048 on a CPU, and on a GPU what its free memory is enough for.

    Attributes
    ----------
    card
        The model card.

    Raises
    ------
    FileNotFoundError
        If weights or card are missing.
    ValueError
        If they cannot be used, there is no such device, or the tile is too small.

    Examples
    --------
    >>> import numpy as np
    >>> restorer = Restorer("actin", device="cpu")
    >>> found = restorer.restore(np.random.default_rng(0).poisson(3, (64, 64)).astype(np.uint16))
    >>> found.image.shape, found.sd.shape
    ((64, 64), (64, 64))
    """

    def __init__(
        self,
        model: str | Path,
        device: str | Accelerator = "auto",
        *,
        tile: int | None = None,
    ) -> None:
        loaded = read_restoration(model)
        network = loaded.members[0]
        if network.channels_in != 1:
            raise ValueError(
                f"{loaded.path}: takes {network.channels_in} channels; accepted: models of one"
            )
        least = smallest(network.reach, network.multiple)
        if tile is not None and tile < least:
            raise ValueError(
                f"tile: found {tile}; accepted: {least} pixels and more, as this network"
                f" looks {network.reach} to each side"
            )
        made_of = loaded.members, loaded.calibration, loaded.normalization
        places: list[Compute] = [OnCpu(*made_of)]
        if (accelerator := accelerator_of(device)) is not None:
            places.insert(0, OnGpu(*made_of, accelerator))
        super().__init__(loaded.card, places, least, tile)
