"""Scores frames with trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.accelerator import Accelerator
from models.cuda import accelerator_of
from models.devices import exact
from models.layout import placed
from models.quality.network import RatingNet
from models.quality.networks import build
from models.quality.on_gpu import FrameProperties, OnGpu
from models.quality.preparing import accepted, prepare
from models.quality.resampling import PIXEL_SIZE_NM, as_it_is
from models.quality.scope import flags
from models.quality.score import DOUBTFUL_SD, Score, doubtful
from models.weights import filled, not_weights_of, read

SHIPPED = Path(__file__).with_name("weights") / "quality.safetensors"
"""The weights that come with the project."""
PAPERS = SHIPPED.with_name("robitaille.safetensors")
"""The network and recipe of Robitaille et al. (2018), for comparison."""

_KIND = "a quality network"
# Tiles that go through the network at once: more are no quicker on a CPU and cost memory.
_AT_ONCE = 16
# Values between 0 and 1 cannot vary more.
_LARGEST_SD = 0.5


class QualityScorer:
    """Scores STED frames of any size and pixel size.

    The same weights give the same scores on one machine; on another, on a GPU, or with another
    number of threads, they agree to about six digits.

    Parameters
    ----------
    weights
        A ``.safetensors`` file with its model card (``.json``) beside it; by default the
        shipped ones.
    device
        `cpu`, `cuda`, `cuda:N` or `auto`; or what takes a GPU's place.

    Attributes
    ----------
    device
        Where it computes.

    Raises
    ------
    FileNotFoundError
        If weights or card are missing.
    ValueError
        If they are damaged or do not belong together.

    Examples
    --------
    >>> scorer = QualityScorer()
    >>> score = scorer.score(np.random.default_rng(0).poisson(3, (64, 64)), pixel_size_nm=20)
    >>> 0 <= score.value <= 1
    True
    """

    def __init__(self, weights: Path | None = None, device: str | Accelerator = "cpu") -> None:
        self.path = Path(weights) if weights is not None else SHIPPED
        accelerator = accelerator_of(device)
        self.device = accelerator.name if accelerator else "cpu"
        self._place = accelerator.place if accelerator else "cpu"
        self.network, self.card = read_weights(self.path)
        placed(self.network, self._place).eval()
        self._gpu = OnGpu(self.network, accelerator) if accelerator else None

    def weights_hash(self) -> str:
        """SHA-256 of the weights file, in hexadecimal."""
        digest: str = self.card["weights_sha256"]
        return digest

    def warm_up(self, shape: tuple[int, int], pixel_size_nm: float = PIXEL_SIZE_NM) -> None:
        """Do once, before the first frame, what only the first one of a shape (pixels) needs."""
        self.score(np.zeros(shape, np.float32), pixel_size_nm)

    def score(self, frame: NDArray[Any], pixel_size_nm: float = PIXEL_SIZE_NM) -> Score:
        """Score one frame.

        Parameters
        ----------
        frame
            Rows × columns, any real number type, any gain and offset.
        pixel_size_nm
            Its pixel size (nm).

        Raises
        ------
        ValueError
            For a frame or a pixel size that cannot be scored (see `preparing.prepare`).
        """
        return self.score_batch([frame], pixel_size_nm)[0]

    def score_batch(
        self, frames: Sequence[NDArray[Any]], pixel_size_nm: float = PIXEL_SIZE_NM
    ) -> list[Score]:
        """Score several frames of one pixel size, which need not be of one shape."""
        if not len(frames):
            return []
        looked: list[FrameProperties | None] = [None] * len(frames)
        if self._gpu is not None and as_it_is(pixel_size_nm):
            looked = [self._gpu.look(accepted(frame, pixel_size_nm)) for frame in frames]
        rest = [frame for frame, one in zip(frames, looked, strict=True) if one is None]
        by_cpu = iter(self._prepared(rest, pixel_size_nm))
        return [_score(next(by_cpu) if one is None else one) for one in looked]

    def _prepared(
        self, frames: Sequence[NDArray[Any]], pixel_size_nm: float
    ) -> list[FrameProperties]:
        """Properties of frames whose tiles the CPU cuts."""
        if not frames:
            return []
        prepared = [prepare(frame, pixel_size_nm) for frame in frames]
        predicted = self._forward(np.concatenate([tiles for tiles, _ in prepared]))
        found, at = [], 0
        for frame, (tiles, weights) in zip(frames, prepared, strict=True):
            own = tuple(column[at : at + len(tiles)] for column in predicted)
            at += len(tiles)
            found.append(FrameProperties(own, weights, flags(np.asarray(frame), pixel_size_nm)))
        return found

    def score_tiles(self, tiles: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (n) of prepared tiles (n × 224 × 224)."""
        return self._forward(tiles)[0]

    def _forward(self, tiles: NDArray[np.float32]) -> tuple[NDArray[np.float64], ...]:
        """Value, standard deviation and distance of every tile."""
        with torch.inference_mode(), exact():
            parts = [
                self.network(torch.from_numpy(batch).to(self._place))
                for batch in np.split(tiles[:, None], range(_AT_ONCE, len(tiles), _AT_ONCE))
            ]
        return tuple(
            torch.cat(column).cpu().numpy().astype(np.float64)
            for column in zip(*parts, strict=True)
        )


def _score(looked: FrameProperties) -> Score:
    # The tiles of a frame err together, so that its error is their mean one, no less.
    value, sd, distance = (float(column @ looked.weights) for column in looked.predicted)
    reasons = list(looked.flags)
    if distance > 1:
        reasons.append("unfamiliar")
    if doubtful(reasons):
        sd = max(sd, DOUBTFUL_SD)
    tiles = len(looked.weights)
    return Score(min(1.0, value), min(_LARGEST_SD, sd), tuple(reasons), tiles)


def read_weights(path: Path) -> tuple[RatingNet, dict[str, Any]]:
    """The network in a weights file, and its model card.

    Raises
    ------
    FileNotFoundError
        If weights or card are missing.
    ValueError
        If they are damaged or do not belong together.

    Examples
    --------
    >>> network, card = read_weights(SHIPPED)
    >>> card["architecture"]["network"]
    'stedfast'
    """
    tensors, card = read(path, _KIND)
    try:
        network = filled(build, card["architecture"], tensors)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise not_weights_of(path, _KIND, error) from None
    return network, card
