"""Scores frames with trained weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from models.quality.network import QualityNet
from models.quality.preparing import PIXEL_SIZE_NM, prepare
from models.quality.score import Score

SHIPPED = Path(__file__).with_name("weights") / "quality.safetensors"
"""The weights that come with the project."""

# Tiles that go through the network at once: more are no quicker on a CPU and cost memory.
_AT_ONCE = 16


class QualityScorer:
    """Scores STED frames of any size and pixel size.

    The same weights give the same scores on one machine; on another, or with another number
    of threads, they agree to about six digits.

    Parameters
    ----------
    weights
        A ``.safetensors`` file with its model card (``.json``) beside it; by default the
        shipped ones.
    device
        What torch computes on.

    Raises
    ------
    FileNotFoundError
        If weights or card are missing.
    ValueError
        If they are damaged or do not belong together.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        self.path = Path(weights) if weights is not None else SHIPPED
        self._device = device
        data, self.card = _read(self.path)
        self._hash = hashlib.sha256(data).hexdigest()
        if self._hash != self.card.get("weights_sha256"):
            raise ValueError(
                f"{self.path}: sha256 is {self._hash[:12]}…, its card says"
                f" {str(self.card.get('weights_sha256'))[:12]}…; accepted are weights and card"
                " of one training"
            )
        try:
            self._network = QualityNet(**self.card["architecture"])
            self._network.load_state_dict(load_file(self.path))
        except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"{self.path}: not the weights of a quality network ({reason})"
            ) from None
        # torch declares no overload of `to` with device and memory format, though it takes both.
        self._network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def weights_hash(self) -> str:
        """SHA-256 of the weights file, in hexadecimal."""
        return self._hash

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
        prepared = [prepare(frame, pixel_size_nm) for frame in frames]
        values = self._forward(np.concatenate([tiles for tiles, _ in prepared]))
        scores, at = [], 0
        for tiles, weights in prepared:
            value = float(values[at : at + len(tiles)] @ weights)
            at += len(tiles)
            scores.append(Score(min(1.0, value), 0.1, (), len(tiles)))
        return scores

    def _forward(self, tiles: NDArray[np.float32]) -> NDArray[np.float64]:
        with torch.inference_mode():
            values = [
                self._network(torch.from_numpy(batch).to(self._device)).cpu().numpy()
                for batch in np.split(tiles[:, None], range(_AT_ONCE, len(tiles), _AT_ONCE))
            ]
        return np.concatenate(values).astype(np.float64)


def _read(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Weights file and model card; clear errors where there is none."""
    card = path.with_suffix(".json")
    for file in (path, card):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file}: no such file; accepted are weights (.safetensors) with their"
                " model card (.json) beside them"
            )
    try:
        content = dict(json.loads(card.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{card}: not a model card ({error})") from None
    return path.read_bytes(), content
